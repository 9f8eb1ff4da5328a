/** Several models and detail settings side by side, at the place that the viewer shows. */

import { find, h, setText } from "./dom.js";
import { follow } from "./follow.js";
import { short } from "./format.js";

const QUALITIES = ["fast", "best"];
const DETAILS = [0, 0.5, 1];

export class Variants {
  /** `request` gives the file, time and options of the viewer; `onPick` gets other options. */
  constructor({ request, onPick }) {
    Object.assign(this, { request, onPick });
    this.tiles = [];
    this.ends = [];
    this.view = { zoom: 1, centre: [0.5, 0.5] };
    this.button = find("compare-variants");
    this.button.addEventListener("click", () => this.compare());
  }

  /** Start with another film or moment: tiles of the last one are removed. */
  clear() {
    this.ends.splice(0).forEach((end) => end());
    this.tiles = [];
    find("variant-tiles").replaceChildren();
    this.button.disabled = false;
  }

  compare() {
    this.clear();
    const { file, time, options } = this.request();
    this.isFor = JSON.stringify([file, time, without(options)]);
    for (const model of QUALITIES) {
      for (const detail of DETAILS) this.add({ file, time, kind: "frame", options: { ...options, model, detail } });
    }
    this.mark(options);
  }

  add(body) {
    const { model, detail } = body.options;
    const canvas = h("canvas", { "aria-hidden": "true" });
    const label = h("span", { class: "variant-label" }, `${model}, detail ${short(detail)}`);
    const state = h("span", { class: "variant-state faint" }, "Waiting…");
    const button = h(
      "button",
      { type: "button", class: "variant", "aria-pressed": "false", onclick: () => this.onPick({ model, detail }) },
      canvas, label, state,
    );
    const tile = { model, detail, canvas, button, image: null };
    this.tiles.push(tile);
    find("variant-tiles").append(button);
    this.ends.push(follow("previews", body, async (found) => {
      if (found.state === "running") setText(state, "Computing…");
      if (found.state === "failed") {
        setText(state, found.error);
        button.classList.add("failed");
      }
      if (found.state !== "done") return;
      const image = Object.assign(new Image(), { src: found.after });
      await image.decode();
      setText(state, found.model);
      Object.assign(tile, { image, aspect: found.pixel_aspect || 1 });
      this.draw(tile);
    }));
  }

  /** Keep tiles only while the film, the moment and the other options stay the same. */
  check() {
    if (!this.tiles.length) return;
    const { file, time, options } = this.request();
    if (JSON.stringify([file, time, without(options)]) !== this.isFor) this.clear();
    else this.mark(options);
  }

  mark(options) {
    for (const { button, model, detail } of this.tiles) {
      const isChosen = (options.model ?? "fast") === model && options.detail === detail;
      button.setAttribute("aria-pressed", String(isChosen));
    }
  }

  /** Show the place that the viewer shows. */
  follow(view) {
    this.view = view;
    this.tiles.forEach((tile) => this.draw(tile));
  }

  draw({ canvas, image, aspect }) {
    if (!image) return;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    if (!width || !height) return;
    Object.assign(canvas, { width, height });
    const { zoom, centre } = this.view;
    const [wide, high] = [image.naturalWidth * aspect * zoom, image.naturalHeight * zoom];
    const place = (share, whole, room) => (whole <= room ? (room - whole) / 2 : Math.min(0, Math.max(room - whole, room / 2 - share * whole)));
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = zoom < 2;
    context.drawImage(image, place(centre[0], wide, width), place(centre[1], high, height), wide, high);
  }
}

function without({ model, detail, ...others }) {
  return others;
}
