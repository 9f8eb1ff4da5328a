/** A job in the queue. */

import { BASE, post, put, remove } from "./api.js";
import { ask, h, setText, showError } from "./dom.js";
import { baseName, bytes, duration, number, percent, plural, short, size, speed } from "./format.js";

const STATES = { waiting: "Waiting", running: "Running", paused: "Paused", done: "Done", failed: "Failed", cancelled: "Cancelled" };
const FRAME_SECONDS = 4;
/** Least time between two pictures of a running job. */

export class JobCard {
  constructor(job) {
    this.identifier = job.job;
    this.badge = h("span", { class: "state" });
    this.title = h("h3", {});
    this.source = h("p", { class: "faint source" });
    this.bar = h("progress", { max: 1, value: 0 });
    this.facts = h("p", { class: "numbers" });
    this.stages = h("p", { class: "numbers faint" });
    this.error = h("p", { class: "error", role: "alert", hidden: true });
    this.picture = h("img", { class: "thumb", alt: "", width: "160", height: "90" });
    this.thumb = h("div", { class: "thumb-box" }, this.picture);
    this.buttons = {};
    this.actions = h("div", { class: "row actions" });
    this.picture.hidden = true;
    this.picture.addEventListener("load", () => (this.picture.hidden = false));
    this.picture.addEventListener("error", () => (this.picture.hidden = true));
    this.element = h("li", { class: "job card", "data-job": job.job, tabindex: "-1" },
      this.thumb,
      h("div", { class: "job-main" },
        h("div", { class: "row job-head" }, this.title, this.badge),
        this.source, this.bar, this.facts, this.stages, this.error, this.actions));
    this.update(job);
  }

  update(job, count = 1) {
    const { name, state, stopping, frames, frame_count: all } = job;
    const isChanged = this.job?.state !== state;
    this.job = job;
    setText(this.title, name);
    setText(this.badge, stopping ? { pause: "Pausing…", cancel: "Cancelling…" }[stopping] : STATES[state]);
    this.badge.className = `state ${state}`;
    setText(this.source, `from ${baseName(job.file)}${describe(job.options)}`);
    const share = state === "done" ? 1 : all ? Math.min(frames / all, 1) : 0;
    this.bar.value = share;
    this.bar.hidden = state === "done" || state === "cancelled";
    this.bar.setAttribute("aria-label", `Progress of ${name}`);
    setText(this.facts, facts(job, share));
    setText(this.stages, describeStages(job.stages) || "\u00a0");
    this.stages.hidden = !["running", "paused"].includes(state);
    if (isChanged || job.error) showError(this.error, job.error);
    this.showActions(job, count);
    this.showPicture(job, isChanged);
  }

  showActions(job, count) {
    const { state, stopping, position } = job;
    const wanted = [];
    if (state === "done") wanted.push("download", "compare", "report");
    if (state === "waiting" || state === "running") wanted.push(stopping === "pause" ? "now" : "pause");
    if (state === "paused" || stopping === "pause") wanted.push("resume");
    if (state === "failed" || state === "cancelled") wanted.push("retry");
    if (position !== null && count > 1) wanted.push("up", "down");
    if (stopping !== "cancel" && ["waiting", "running", "paused"].includes(state)) wanted.push("cancel");
    if (["done", "failed", "cancelled"].includes(state)) wanted.push("remove");
    for (const key of wanted) this.buttons[key] ??= this.action(key);
    const nodes = wanted.map((key) => this.buttons[key]);
    const isSame = nodes.length === this.actions.childElementCount && nodes.every((node, index) => this.actions.children[index] === node);
    if (!isSame) {
      const hadFocus = this.actions.contains(document.activeElement);
      this.actions.replaceChildren(...nodes);
      if (hadFocus) (nodes.find((node) => node === document.activeElement) ?? nodes[0])?.focus();
    }
    if (this.buttons.up) this.buttons.up.disabled = position === 0;
    if (this.buttons.down) this.buttons.down.disabled = position === count - 1;
  }

  action(key) {
    const at = `${BASE}/jobs/${this.identifier}`;
    const { name } = this.job;
    const button = (label, act, values = {}) => h("button", { type: "button", "aria-label": `${label}: ${name}`, onclick: () => this.run(act), ...values }, values.sign ?? label);
    const link = (label, href, values) => h("a", { class: "button", href, "aria-label": `${label}: ${name}`, ...values }, label);
    const send = (verb) => () => post(`/jobs/${this.identifier}/${verb}`);
    const move = (by) => () => put(`/jobs/${this.identifier}/position`, { position: this.job.position + by });
    return {
      download: () => link("Download", `${at}/output`, { class: "button primary", download: name }),
      compare: () => link("Compare", `${at}/compare`, { target: "_blank", rel: "noopener" }),
      report: () => link("Report", `#job=${this.identifier}`),
      pause: () => button("Pause", send("pause")),
      now: () => button("Pause now", send("pause"), { title: "Without waiting for the end of the segment" }),
      resume: () => button("Resume", send("resume")),
      retry: () => button("Retry", send("retry")),
      up: () => button("Move up", move(-1), { sign: "↑", title: "Move up" }),
      down: () => button("Move down", move(1), { sign: "↓", title: "Move down" }),
      cancel: () => button("Cancel", () => this.cancel(), { class: "plain" }),
      remove: () => button("Remove", () => this.remove(), { class: "plain" }),
    }[key]();
  }

  async run(act) {
    showError(this.error, "");
    try {
      await act();
    } catch (error) {
      showError(this.error, error.message);
    }
  }

  async cancel() {
    if (this.job.frames > 0) {
      const answer = await ask(`Cancel ${this.job.name}? The ${plural(this.job.frames, "finished frame")} will be discarded.`, [["", "Keep it", "plain"], ["cancel", "Cancel the job", "danger"]]);
      if (answer !== "cancel") return;
    }
    await post(`/jobs/${this.identifier}/cancel`);
  }

  async remove() {
    let output = false;
    if (this.job.state === "done") {
      const answer = await ask(`Remove ${this.job.name} from the list?`, [["", "Cancel", "plain"], ["delete", "Delete the file too", "danger"], ["list", "Keep the file"]]);
      if (!answer) return;
      output = answer === "delete";
    }
    await remove(`/jobs/${this.identifier}${output ? "?output=true" : ""}`);
  }

  /** Show the last frame of a running job, or one of the film. */
  showPicture(job, isChanged) {
    if (job.state === "running" && job.frames > 0) {
      const now = performance.now();
      if (job.frames === this.shownFrames || now - (this.shownAt ?? -Infinity) < FRAME_SECONDS * 1000) return;
      Object.assign(this, { shownAt: now, shownFrames: job.frames });
      this.load("last-frame.jpg", "Last finished frame");
    } else if (job.state === "done" ? isChanged : !this.hasStill && job.state !== "failed") {
      this.hasStill = true;
      this.load("still.jpg", "");
    }
  }

  /** Show a picture of the job in its present state. The answer is empty where there is none. */
  async load(name, alt) {
    const { state } = this.job;
    try {
      const answer = await fetch(`${BASE}/jobs/${this.identifier}/${name}`);
      if (answer.status !== 200) return;
      const address = URL.createObjectURL(await answer.blob());
      if (this.job.state !== state || !this.element.isConnected) {
        URL.revokeObjectURL(address);
        return;
      }
      if (this.address) URL.revokeObjectURL(this.address);
      Object.assign(this, { address });
      Object.assign(this.picture, { src: address, alt });
    } catch {
      // the server is gone: a later event asks again
    }
  }

  /** The card is removed. */
  close() {
    if (this.address) URL.revokeObjectURL(this.address);
    this.element.remove();
  }
}

/** Options that differ from the defaults, in words. */
export function describe(options) {
  const parts = [];
  if (options.profile) parts.push(options.profile);
  if (options.model) parts.push(options.model);
  if (options.scale) parts.push(`${short(options.scale)}×`);
  if (options.size) parts.push(options.size);
  if (options.width) parts.push(`${options.width} wide`);
  for (const name of ["detail", "denoise", "steady", "deblock", "grain"]) {
    if (options[name] !== null && options[name] !== undefined) parts.push(`${name} ${short(options[name])}`);
  }
  if (options.start || options.end) parts.push(`${options.start ?? "start"} to ${options.end ?? "end"}`);
  return parts.length ? ` · ${parts.join(", ")}` : "";
}

/** Seconds that each stage computed, in words. */
export function describeStages(stages) {
  if (!stages) return "";
  return `decode ${duration(stages.decode)}, upscale ${duration(stages.upscale)}, encode ${duration(stages.encode)}`;
}

function facts(job, share) {
  const { state, frames, frame_count: all } = job;
  if (state === "done") {
    const parts = [job.width ? size(job.width, job.height) : "", bytes(job.output_bytes), plural(frames, "frame"), `in ${duration(job.seconds)}`];
    return parts.filter(Boolean).join(" · ");
  }
  if (state === "cancelled") return "Unfinished work is removed.";
  const done = all ? `${percent(share)} · ${number(frames)} of ${plural(all, "frame")}` : plural(frames, "frame");
  if (state === "running") {
    if (!job.frames_per_second) return frames ? done : "Starting…";
    const left = job.seconds_left === null ? "" : ` · ${duration(job.seconds_left)} left`;
    return `${done} · ${speed(job.frames_per_second)}${left}`;
  }
  return frames ? done : "\u00a0";
}
