/** Start the page: views by the address's fragment, connection, machine. */

import { get } from "./api.js";
import { showFolder, startChoose } from "./choose.js";
import { find, setText } from "./dom.js";
import { connect, on } from "./events.js";
import { describeFilmOptions, leaveFilm, openFilm, startFilm } from "./film.js";
import { startQueue } from "./queue.js";
import { leaveJob, openJob } from "./result.js";

const VIEWS = ["choose", "film", "queue", "job"];
let view = null;
let about = null;
let wasConnected = false;

function route(isFirst) {
  const [name, value] = decode(location.hash.slice(1));
  const next = VIEWS.includes(name) && (value || !["film", "job"].includes(name)) ? name : "choose";
  if (view === "film" && next !== "film") leaveFilm();
  if (view === "job" && next !== "job") leaveJob();
  view = next;
  for (const one of VIEWS) find(`view-${one}`).hidden = one !== view;
  for (const one of ["choose", "film", "queue"]) {
    const isHere = one === view || (one === "queue" && view === "job");
    if (isHere) find(`nav-${one}`).setAttribute("aria-current", "page");
    else find(`nav-${one}`).removeAttribute("aria-current");
  }
  if (view === "choose") showFolder();
  if (view === "job") openJob(value);
  if (view === "film") {
    const link = find("nav-film");
    link.href = location.hash;
    link.removeAttribute("aria-disabled");
    openFilm(value);
  }
  if (isFirst) return;
  scrollTo(0, 0);
  find(`${view}-title`).focus({ preventScroll: true });
}

function decode(fragment) {
  const [name, ...rest] = fragment.split("=");
  try {
    return [name, decodeURIComponent(rest.join("="))];
  } catch {
    return ["choose", ""];
  }
}

async function describe() {
  if (about) return;
  try {
    about = await get("/about");
  } catch (error) {
    showConnection(error.status === 401 ? "Open the address that `vsr serve` printed: it holds the token." : "");
    return;
  }
  setText(find("machine"), `vsr ${about.version}`);
  describeFilmOptions(about);
  try {
    const { name } = await get("/device");
    setText(find("machine"), `${name} · vsr ${about.version}`);
  } catch {
    // the page works without the name
  }
}

function showConnection(text) {
  const line = find("connection");
  line.hidden = !text;
  setText(line, text);
}

function connectionChanged(isConnected) {
  showConnection(isConnected ? "" : "The server can't be reached. Trying again…");
  if (!isConnected) return;
  describe();
  if (wasConnected && view === "choose") showFolder();
  wasConnected = true;
}

startFilm();
startQueue();
startChoose((file) => {
  location.hash = `film=${encodeURIComponent(file)}`;
});
on("connection", connectionChanged);
find("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment is the view's
  find("main").focus();
});
window.addEventListener("hashchange", () => route(false));
route(true);
connect();
document.body.dataset.ready = "yes";
