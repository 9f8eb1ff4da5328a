/** Before and after under a divider, with zoom and pan. */

import { h, setText } from "./dom.js";

const ZOOMS = [0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16];
/** Pixels of the screen for a pixel of the output. */
const SHARP_FROM = 2;
/** Zoom from which pixels keep their edges. */
const PAN = 40;
/** Pixels of the screen that an arrow key moves. */

export class Viewer {
  /** `onView` is called when zoom or centre change. */
  constructor(onView) {
    this.onView = onView;
    this.frame = null; // {before, after, width, height}: two sources with crops, and the shown size
    this.zoom = null; // null: the whole frame
    this.centre = [0.5, 0.5];
    this.divider = 0.5;
    this.pointers = new Map();
    this.canvas = h("canvas", {
      tabindex: "0",
      role: "img",
      "aria-label": "No frame yet",
      "aria-describedby": "viewer-help",
    });
    this.handle = h("div", {
      class: "divider",
      role: "slider",
      tabindex: "0",
      "aria-label": "Divider between before and after",
      "aria-orientation": "horizontal",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    });
    this.labels = [h("span", { class: "tag left" }, "Before"), h("span", { class: "tag right" }, "After")];
    this.note = h("p", { class: "viewer-note", role: "status" });
    this.spinner = h("span", { class: "spinner", hidden: true });
    this.stage = h("div", { class: "viewer" }, this.canvas, ...this.labels, this.handle, this.note, this.spinner);
    this.zoomText = h("output", { class: "zoom", "aria-live": "polite" }, "Fit");
    this.controls = h(
      "div",
      { class: "row zooms", role: "group", "aria-label": "Zoom" },
      h("button", { type: "button", "aria-label": "Zoom out", title: "Zoom out (−)", onclick: () => this.step(-1) }, "−"),
      this.zoomText,
      h("button", { type: "button", "aria-label": "Zoom in", title: "Zoom in (+)", onclick: () => this.step(1) }, "+"),
      h("button", { type: "button", title: "Whole frame (0)", onclick: () => this.zoomTo(null) }, "Fit"),
      h("button", { type: "button", title: "Pixel for pixel (1)", onclick: () => this.zoomTo(1) }, "1:1"),
    );
    this.help = h(
      "p",
      { class: "unseen", id: "viewer-help" },
      "Arrow keys move the view, plus and minus zoom, 0 shows the whole frame, 1 shows it pixel for pixel.",
    );
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.moveDivider(0.5);
  }

  /** Reserve the room of a film with sides of this ratio. */
  setRatio(ratio) {
    this.stage.style.aspectRatio = String(Math.min(Math.max(ratio, 0.8), 2.4));
  }

  /** Show two sources `{image, x, y, width, height}` at a size in pixels of the output. */
  show(before, after, width, height, label) {
    const isOther = !this.frame || this.frame.width !== width || this.frame.height !== height;
    this.frame = { before, after, width, height };
    this.canvas.setAttribute("aria-label", label);
    if (isOther) this.changed();
    else this.draw();
  }

  clear() {
    this.frame = null;
    this.zoom = null;
    this.centre = [0.5, 0.5];
    this.canvas.setAttribute("aria-label", "No frame yet");
    this.changed();
  }

  /** Show a line over the picture, and whether something is being computed. */
  setNote(text, isBusy, isError = false) {
    setText(this.note, text);
    this.note.classList.toggle("bad", isError);
    this.spinner.hidden = !isBusy;
    this.stage.setAttribute("aria-busy", String(isBusy));
  }

  /** The region that is shown: zoom, at least 1:1, and centre. */
  get view() {
    return { zoom: Math.max(this.zoom ?? 1, 1), centre: this.centre };
  }

  get ratio() {
    return window.devicePixelRatio || 1;
  }

  /** Pixels of the screen for a pixel of the output that show the whole frame. */
  get fitting() {
    const { clientWidth, clientHeight } = this.canvas;
    return Math.min(clientWidth / this.frame.width, clientHeight / this.frame.height) * this.ratio;
  }

  get scale() {
    return (this.zoom ?? this.fitting) / this.ratio;
  }

  draw() {
    const { canvas, frame } = this;
    const width = Math.round(canvas.clientWidth * this.ratio);
    const height = Math.round(canvas.clientHeight * this.ratio);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!frame) return;
    const scale = this.scale * this.ratio;
    const left = Math.round(width / 2 - this.centre[0] * frame.width * scale);
    const top = Math.round(height / 2 - this.centre[1] * frame.height * scale);
    const split = Math.round(this.divider * width);
    context.imageSmoothingEnabled = scale < SHARP_FROM;
    context.imageSmoothingQuality = "high";
    for (const [source, from, to] of [[frame.before, 0, split], [frame.after, split, width]]) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      const { image, x, y } = source;
      context.drawImage(image, x, y, source.width, source.height, left, top, frame.width * scale, frame.height * scale);
      context.restore();
    }
  }

  /** Set the zoom; the point of the frame at (x, y), as shares of the canvas, stays in place. */
  zoomTo(zoom, x = 0.5, y = 0.5) {
    if (!this.frame) return;
    const before = this.scale;
    this.zoom = zoom !== null && zoom > this.fitting ? Math.min(zoom, ZOOMS.at(-1)) : null;
    if (zoom === 1 && this.fitting > 1) this.zoom = 1;
    const { clientWidth, clientHeight } = this.canvas;
    const shift = 1 / before - 1 / this.scale;
    this.centre = [
      this.centre[0] + ((x - 0.5) * clientWidth * shift) / this.frame.width,
      this.centre[1] + ((y - 0.5) * clientHeight * shift) / this.frame.height,
    ];
    this.changed();
  }

  step(direction, x, y) {
    if (!this.frame) return;
    const now = this.zoom ?? this.fitting;
    const next = direction > 0 ? ZOOMS.find((zoom) => zoom > now * 1.01) : ZOOMS.findLast((zoom) => zoom < now * 0.99);
    this.zoomTo(next ?? (direction > 0 ? ZOOMS.at(-1) : null), x, y);
  }

  /** Move the picture by pixels of the page. */
  pan(x, y) {
    if (!this.frame) return;
    this.centre = [
      this.centre[0] - x / (this.frame.width * this.scale),
      this.centre[1] - y / (this.frame.height * this.scale),
    ];
    this.changed();
  }

  changed() {
    if (this.frame) {
      const shown = [this.canvas.clientWidth / this.frame.width, this.canvas.clientHeight / this.frame.height];
      this.centre = this.centre.map((value, axis) => {
        const half = shown[axis] / this.scale / 2;
        return half >= 0.5 ? 0.5 : Math.min(Math.max(value, half), 1 - half);
      });
    }
    setText(this.zoomText, this.zoom === null ? "Fit" : `${Math.round(this.zoom * 100)} %`);
    this.canvas.classList.toggle("zoomed", this.zoom !== null);
    this.draw();
    this.onView(this.view);
  }

  moveDivider(share) {
    this.divider = Math.min(Math.max(share, 0), 1);
    this.handle.style.left = `${this.divider * 100}%`;
    const value = Math.round(this.divider * 100);
    this.handle.setAttribute("aria-valuenow", String(value));
    this.handle.setAttribute("aria-valuetext", `${value} % before, ${100 - value} % after`);
    this.labels[0].classList.toggle("away", this.divider < 0.12);
    this.labels[1].classList.toggle("away", this.divider > 0.88);
    this.draw();
  }

  listen() {
    const { canvas, handle } = this;
    const share = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      handle.focus();
    });
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) this.moveDivider(share(event)[0]);
    });
    handle.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.moveDivider(this.divider + steps[event.key]);
    });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", (event) => this.dragged(event, share(event)));
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("dblclick", (event) => {
      const [x, y] = share(event);
      this.zoomTo(this.zoom === null ? Math.max(2, this.fitting * 2) : null, x, y);
    });
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && this.zoom === null) return; // the wheel scrolls the page
      event.preventDefault();
      this.step(event.deltaY < 0 ? 1 : -1, ...share(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.pressed(event));
  }

  /** Move the divider over a whole frame; move a frame that is zoomed; zoom by two fingers. */
  dragged(event, [x, y]) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    const other = [...this.pointers].find(([key]) => key !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const far = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      if (this.frame) this.zoomTo(((this.zoom ?? this.fitting) * far(now)) / far(last), x, y);
    } else if (this.zoom === null) this.moveDivider(x);
    else this.pan(now[0] - last[0], now[1] - last[1]);
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => this.pan(PAN, 0),
      ArrowRight: () => this.pan(-PAN, 0),
      ArrowUp: () => this.pan(0, PAN),
      ArrowDown: () => this.pan(0, -PAN),
      "+": () => this.step(1),
      "=": () => this.step(1),
      "-": () => this.step(-1),
      0: () => this.zoomTo(null),
      1: () => this.zoomTo(1),
    };
    if (!(event.key in actions) || (event.key.startsWith("Arrow") && this.zoom === null)) return;
    event.preventDefault();
    actions[event.key]();
  }
}
