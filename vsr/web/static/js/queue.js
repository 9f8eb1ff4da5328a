/** Do: the queue, live. */

import { get } from "./api.js";
import { announce, debounce, find } from "./dom.js";
import { on } from "./events.js";
import { percent } from "./format.js";
import { JobCard } from "./job_card.js";

const UNFINISHED = ["waiting", "running", "paused"];

const cards = new Map();
let order = [];

/** Follow all jobs. */
export function startQueue() {
  on("snapshot", replaceAll);
  on("removed", ({ job }) => {
    cards.get(job)?.close();
    cards.delete(job);
    order = order.filter((identifier) => identifier !== job);
    arrange();
  });
  on("job", changed);
}

const reload = debounce(60, async () => {
  try {
    replaceAll(await get("/jobs"));
  } catch {
    // the snapshot after the next connection replaces all
  }
});

function replaceAll(jobs) {
  const kept = new Set(jobs.map((job) => job.job));
  for (const [identifier, card] of cards) {
    if (kept.has(identifier)) continue;
    card.close();
    cards.delete(identifier);
  }
  order = jobs.map((job) => job.job);
  for (const job of jobs) {
    if (!cards.has(job.job)) cards.set(job.job, new JobCard(job));
  }
  const count = jobs.filter(isUnfinished).length;
  for (const job of jobs) cards.get(job.job).update(job, count);
  arrange();
}

function changed(job) {
  const card = cards.get(job.job);
  const last = card?.job;
  if (!last || isUnfinished(last) !== isUnfinished(job) || last.position !== job.position) reload();
  if (!card) return;
  if (last.state !== job.state) announce(`${job.name}: ${job.state}`);
  card.update(job, unfinished().length);
  showCount();
}

const isUnfinished = (job) => UNFINISHED.includes(job.state);

const unfinished = () => [...cards.values()].map((card) => card.job).filter(isUnfinished);

/** Put the cards in order; the focus stays where it is. */
function arrange() {
  const focused = document.activeElement;
  for (const [id, isWanted] of [["jobs-unfinished", true], ["jobs-finished", false]]) {
    const list = find(id);
    const wanted = order.map((identifier) => cards.get(identifier)).filter((card) => isUnfinished(card.job) === isWanted);
    wanted.forEach(({ element }, index) => {
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
  }
  if (focused !== document.activeElement && focused?.isConnected && focused.closest(".job")) {
    if (focused.disabled) focused.closest(".job").focus();
    else focused.focus();
  }
  find("queue-empty").hidden = cards.size > 0;
  find("finished-title").hidden = !find("jobs-finished").childElementCount;
  showCount();
}

/** Show the count of unfinished jobs, and the progress in the title. */
function showCount() {
  const jobs = unfinished();
  const badge = find("queue-count");
  badge.hidden = !jobs.length;
  badge.textContent = String(jobs.length);
  badge.setAttribute("aria-label", `${jobs.length} unfinished`);
  const running = jobs.find((job) => job.state === "running" && job.frame_count);
  document.title = running ? `${percent(running.frames / running.frame_count)} · vsr` : "vsr";
}
