/** Try: a moment of the film before and after upscaling, still or moving. */

import { find, h } from "./dom.js";
import { Filmstrip } from "./filmstrip.js";
import { follow } from "./follow.js";
import { clock, duration, short, size } from "./format.js";
import { Viewer } from "./viewer.js";

const SECONDS = 2;
/** Of the moving preview. */
const DIVIDER = 4;
/** Pixels between the sides of a clip. */

export class Trial {
  /** `options` gives the current options; `onFrame` is called with each finished frame preview. */
  constructor({ options, onFrame, onMoment, onView }) {
    Object.assign(this, { options, onFrame, onMoment });
    this.time = 0;
    this.kind = "frame";
    this.end = () => {};
    this.turn = 0;
    this.viewer = new Viewer(onView);
    this.strip = new Filmstrip((time) => this.go(time));
    this.slider = h("input", {
      type: "range", min: "0", max: "1", step: "0.001", value: "0", class: "grow",
      "aria-label": "Moment in seconds",
      oninput: () => this.go(Number(this.slider.value)),
    });
    this.clock = h("output", { class: "clock" }, clock(0));
    this.video = h("video", { muted: true, loop: true, playsinline: true, preload: "auto" });
    this.play = h("button", { type: "button", hidden: true, onclick: () => this.toggle() }, "Pause");
    this.caption = h("p", { class: "caption faint" }, "\u00a0");
    const choice = (kind, label) => h(
      "label", {},
      h("input", { type: "radio", name: "preview-kind", value: kind, checked: kind === "frame", class: "unseen", onchange: () => this.setKind(kind) }),
      h("span", {}, label),
    );
    const step = (direction, label, sign) => h(
      "button", { type: "button", "aria-label": label, title: label, onclick: () => this.go(this.time + direction / this.rate) }, sign,
    );
    const kinds = h("div", { class: "segmented", role: "radiogroup", "aria-label": "Preview" }, choice("frame", "Frame"), choice("clip", "Moving, 2 s"));
    find("trial").replaceChildren(
      this.viewer.stage,
      h("div", { class: "row controls" }, kinds, this.play, this.viewer.controls),
      this.caption,
      this.strip.element,
      h("div", { class: "row moment" }, step(-1, "One frame back", "‹"), this.slider, step(1, "One frame forward", "›"), this.clock),
      this.viewer.help,
    );
  }

  /** Start with a film; its filmstrip comes later. */
  open(info) {
    this.stop();
    this.file = info.file;
    this.rate = info.frame_rate || 25;
    this.seconds = info.seconds ?? 0;
    this.slider.max = String(Math.max(0, this.seconds - 1 / this.rate));
    this.slider.step = "0.001";
    this.viewer.clear();
    this.viewer.setRatio(info.display_width / info.display_height);
    this.viewer.setNote("Looking through the film…", true);
    const { file } = this;
    this.strip.load(file).then(
      (times) => this.file === file && this.go(times[Math.floor(times.length / 2)]),
      (error) => this.file === file && this.viewer.setNote(error.message, false, true),
    );
  }

  /** Show another moment. */
  go(time) {
    const last = Math.max(0, Number(this.slider.max) || 0);
    this.time = Math.round(1000 * Math.min(Math.max(time, 0), last || time)) / 1000;
    this.slider.value = String(this.time);
    this.slider.setAttribute("aria-valuetext", clock(this.time));
    this.clock.textContent = clock(this.time);
    this.strip.mark(this.time);
    this.onMoment(this.time);
    this.request(150);
  }

  setKind(kind) {
    this.kind = kind;
    this.request();
  }

  /** Ask for the preview of the current moment and options. */
  request(milliseconds = 0) {
    if (!this.file) return;
    this.end();
    clearTimeout(this.timer);
    this.turn += 1;
    const { turn } = this;
    this.viewer.setNote(this.kind === "clip" ? "Computing two seconds…" : "Computing the frame…", true);
    this.timer = setTimeout(() => {
      const body = { file: this.file, time: this.time, kind: this.kind, options: this.options() };
      this.end = follow("previews", body, (found) => this.turn === turn && this.changed(found, turn));
    }, milliseconds);
  }

  async changed(found, turn) {
    if (found.state === "waiting") this.viewer.setNote("Waiting for another preview…", true);
    if (found.state === "running") {
      this.viewer.setNote(found.kind === "clip" ? "Computing two seconds…" : "Computing the frame…", true);
    }
    if (found.state === "failed") this.viewer.setNote(found.error, false, true);
    if (found.state !== "done") return;
    try {
      await (found.kind === "clip" ? this.showClip(found, turn) : this.showFrame(found, turn));
    } catch {
      if (this.turn === turn) this.viewer.setNote("The preview can't be loaded.", false, true);
    }
  }

  async showFrame(found, turn) {
    const images = [found.before, found.after].map((address) => Object.assign(new Image(), { src: address }));
    await Promise.all(images.map((image) => image.decode()));
    if (this.turn !== turn) return;
    this.pause();
    this.play.hidden = true;
    const { width, height } = found;
    const sources = images.map((image) => ({ image, x: 0, y: 0, width, height }));
    const shown = this.show(sources, width, height, found, `Frame at ${clock(found.time)}, before and after`);
    const detail = found.detail === null ? "" : `, detail ${short(found.detail)}`;
    this.caption.textContent = `${shown} · ${found.model}${detail} · computed in ${duration(found.seconds)}`;
    this.onFrame(found, images[1]);
  }

  async showClip(found, turn) {
    this.pause();
    this.video.src = found.clip;
    await new Promise((resolve, reject) => {
      this.video.onloadeddata = resolve;
      this.video.onerror = reject;
    });
    if (this.turn !== turn) return;
    const width = Math.floor((found.width - DIVIDER) / 2);
    const { height } = found;
    const sources = [0, found.width - width].map((x) => ({ image: this.video, x, y: 0, width, height }));
    const shown = this.show(sources, width, height, found, `${SECONDS} seconds from ${clock(found.time)}, before and after`);
    this.caption.textContent = `${shown} · ${SECONDS} seconds from ${clock(found.time)}`;
    this.play.hidden = false;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.play.textContent = "Play";
    else this.toggle();
  }

  /** Show sources; returns the size in words. */
  show([before, after], width, height, found, label) {
    const aspect = found.pixel_aspect || 1;
    this.viewer.show(before, after, width * aspect, height, label);
    this.viewer.setNote("", false);
    return size(width, height);
  }

  async toggle() {
    if (!this.video.paused) {
      this.pause();
      return;
    }
    this.play.textContent = "Pause";
    const draw = () => {
      if (this.video.paused) return;
      this.viewer.draw();
      requestAnimationFrame(draw);
    };
    try {
      await this.video.play();
      draw();
    } catch {
      this.play.textContent = "Play"; // the browser doesn't allow it without a click, or another clip follows
    }
  }

  pause() {
    this.video.pause();
    this.play.textContent = "Play";
  }

  /** End what is computed and played: another view is shown. */
  stop() {
    this.end();
    clearTimeout(this.timer);
    this.turn += 1;
    this.pause();
  }
}
