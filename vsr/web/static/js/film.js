/** The view of one film: what it holds, try, plan, add to the queue. */

import { get, query } from "./api.js";
import { find, h, showError } from "./dom.js";
import { filmFacts, filmTable } from "./film_table.js";
import { baseName } from "./format.js";
import { Plan } from "./plan.js";
import { Settings } from "./settings.js";
import { Trial } from "./trial.js";
import { Variants } from "./variants.js";

let file = null;
let settings, trial, variants, plan;

export function startFilm() {
  settings = new Settings((changesFrames) => {
    if (!file) return;
    plan.clear();
    if (!changesFrames) return;
    trial.request();
    variants.check();
  });
  const options = () => settings.options();
  variants = new Variants({
    request: () => ({ file, time: trial.time, options: settings.pictureOptions() }),
    onPick: (values) => settings.set(values),
  });
  trial = new Trial({
    options: () => settings.pictureOptions(),
    onFrame: (found) => settings.resolved(found),
    onMoment: () => variants.check(),
    onView: (view) => variants.follow(view),
  });
  plan = new Plan({ options });
}

/** Offer what the server can do. */
export function describeFilmOptions(about) {
  settings.describe(about);
}

/** Show a film; one that is shown already stays as it is. */
export async function openFilm(reference) {
  if (reference === file) {
    trial.request();
    return;
  }
  file = reference;
  find("film-title").textContent = baseName(reference);
  find("film-facts").textContent = "Reading the file…";
  showError(find("film-error"), "");
  const body = find("film-body");
  body.classList.add("loading");
  body.hidden = false;
  find("film-notes").hidden = true;
  variants.clear();
  let info;
  try {
    info = await get(`/film?${query({ file: reference })}`);
  } catch (error) {
    if (file !== reference) return;
    file = null;
    showError(find("film-error"), error.message);
    find("film-facts").textContent = "\u00a0";
    body.hidden = true;
    return;
  }
  if (file !== reference) return;
  find("film-facts").textContent = filmFacts(info);
  find("holds-title").textContent = `What the ${info.kind} holds`;
  find("holds").replaceChildren(filmTable(info));
  showNotes(info);
  const isFilm = info.kind === "film";
  for (const id of ["trial", "variants", "settings", "plan"]) find(id).hidden = !isFilm;
  body.classList.remove("loading");
  if (!isFilm) {
    const names = [info.name, `${info.name.replace(/\.[^.]+$/, "")}-large.png`].map(quoted);
    showError(find("film-error"), `This page upscales films. Upscale this picture in a terminal: vsr image ${names.join(" ")}`);
    return;
  }
  settings.open(info);
  plan.open(info);
  trial.open(info);
}

/** A name as a word of a shell. */
const quoted = (name) => (/^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

/** Show what matters before any choice: advice, and what a default output can't keep. */
function showNotes({ notes, left_out: losses = [] }) {
  const lines = [...notes, ...losses.map((loss) => `Would be lost: ${loss}`)];
  const list = find("film-notes");
  list.replaceChildren(...lines.map((line) => h("li", {}, line)));
  list.hidden = !lines.length;
}

/** Another view is shown: end what is computed for this one. */
export function leaveFilm() {
  trial.stop();
}
