/** A filmstrip: a group of radio buttons, each a moment of the film. */

import { get, query } from "./api.js";
import { h } from "./dom.js";
import { clock } from "./format.js";

const COUNT = 12;
const HEIGHT = 64;
/** Of a tile on the page, in pixels. */

export class Filmstrip {
  /** `onPick` is called with the time of a tile. */
  constructor(onPick) {
    this.onPick = onPick;
    this.times = [];
    this.element = h("div", { class: "filmstrip", role: "radiogroup", "aria-label": "Moments of the film" });
  }

  /** Load the strip of a film; returns its times. Throws an `ApiError`. */
  async load(file) {
    this.times = [];
    this.element.replaceChildren();
    const strip = await get(`/filmstrip?${query({ file, count: COUNT })}`);
    const width = Math.round((strip.tile_width * HEIGHT) / strip.tile_height);
    const all = width * strip.times.length;
    this.times = strip.times;
    this.element.replaceChildren(
      ...strip.times.map((time, index) => {
        const picture = h("span", { class: "tile" });
        picture.style.width = `${width}px`;
        picture.style.backgroundImage = `url("${strip.image}")`;
        picture.style.backgroundSize = `${all}px ${HEIGHT}px`;
        picture.style.backgroundPosition = `${-index * width}px 0`;
        const input = h("input", {
          type: "radio",
          name: "moment",
          class: "unseen",
          "aria-label": `Moment at ${clock(time)}`,
          onchange: () => this.onPick(time),
        });
        return h("label", {}, input, picture, h("span", { class: "time" }, clock(time)));
      }),
    );
    return this.times;
  }

  /** Scroll the strip, and not the page, to a tile. */
  reveal(tile) {
    const [strip, box] = [this.element.getBoundingClientRect(), tile.getBoundingClientRect()];
    if (box.left < strip.left) this.element.scrollLeft -= strip.left - box.left + box.width / 2;
    if (box.right > strip.right) this.element.scrollLeft += box.right - strip.right + box.width / 2;
  }

  /** Mark the tile of a moment, if it is that of one. */
  mark(time) {
    this.element.querySelectorAll("input").forEach((input, index) => {
      input.checked = Math.abs(this.times[index] - time) < 0.002;
      if (input.checked) this.reveal(input.parentElement);
    });
  }
}
