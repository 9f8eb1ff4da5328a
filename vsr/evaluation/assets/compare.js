"use strict";

const films = JSON.parse(document.getElementById("data").textContent).films;
const byId = (id) => document.getElementById(id);
const stage = byId("stage"), slider = byId("time"), clock = byId("clock");
const MAX_ZOOM = 64;

/* A film: its video element and the presentation times of its frames. */
class Film {
  constructor(description, video) {
    Object.assign(this, description);
    this.video = video;
    this.times = description.times ??
      Array.from({ length: description.count }, (_, index) => description.first + index * description.step);
  }

  /* The middle of a frame's interval, so that rounding can't select a neighbour. */
  middle(index) {
    const end = this.times[index + 1] ?? this.times[index] + (this.times[index] - (this.times[index - 1] ?? 0) || 0.02);
    return (this.times[index] + end) / 2;
  }

  /* The frame shown at a time since the first frame. */
  frameAt(since) {
    const time = since + this.times[0] + 1e-6;
    let low = 0, high = this.times.length - 1;
    while (low < high) {
      const half = (low + high + 1) >> 1;
      if (this.times[half] <= time) low = half; else high = half - 1;
    }
    return low;
  }

  get since() { return this.video.currentTime - this.times[0]; }

  /* Seek to the frame shown at a time; resolves once it can be drawn. */
  seek(since) {
    const time = this.middle(this.frameAt(since));
    if (Math.abs(this.video.currentTime - time) < 1e-4 && this.video.readyState >= 2) return Promise.resolve();
    const seeked = new Promise((resolve) => this.video.addEventListener("seeked", resolve, { once: true }));
    const presented = this.presented(time);
    this.video.currentTime = time;
    return Promise.all([seeked, presented]);
  }

  /* Resolves once the frame of a time can be drawn; "seeked" may fire while the previous one is still shown.
     Times out after half a second, since a browser need not present a frame that it already shows. */
  presented(time) {
    const { video } = this;
    if (!video.requestVideoFrameCallback) return Promise.resolve();
    const index = this.frameAt(time - this.times[0]);
    return new Promise((resolve) => {
      let request;
      const timer = setTimeout(() => { video.cancelVideoFrameCallback(request); resolve(); }, 500);
      const check = (now, { mediaTime }) => {
        if (this.frameAt(mediaTime + 1e-3 - this.times[0]) === index) { clearTimeout(timer); resolve(); }
        else request = video.requestVideoFrameCallback(check);
      };
      request = video.requestVideoFrameCallback(check);
    });
  }
}

const all = films.map((film, index) => new Film(film, byId(`film-${index}`)));
const master = all[0];
/* The largest size: all films are scaled to it, and zoom 1 shows its pixels one to one. */
const full = { width: Math.max(...all.map((f) => f.width)), height: Math.max(...all.map((f) => f.height)) };

const state = {
  mode: "side", frame: 0, playing: false,
  zoom: 0,                      // device pixels for each pixel of the largest film; 0 fits
  centre: [0.5, 0.5],           // point shown in the middle of a pane, as fractions of the picture
  divider: 0.5, pair: [0, Math.min(1, all.length - 1)],
};

/* ---- panes ---- */

let panes = [];
function addPane(label) {
  const figure = document.createElement("figure");
  figure.className = "pane";
  const canvas = document.createElement("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  const caption = document.createElement("figcaption");
  caption.textContent = label;
  figure.append(canvas, caption);
  stage.append(figure);
  const pane = { figure, canvas, context: canvas.getContext("2d", { alpha: false }), row: 0 };
  canvas.addEventListener("pointerdown", (event) => grab(event, pane));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(event.deltaY < 0 ? 2 : 0.5, pane, event);
  }, { passive: false });
  panes.push(pane);
  return pane;
}

function updateLayout() {
  stage.replaceChildren();
  panes = [];
  const [a, b] = state.pair.map((index) => all[index]);
  const single = state.mode === "divider" || state.mode === "difference";
  const shown = single ? 1 : all.length;
  const columns = Math.ceil(Math.sqrt(shown * (stage.clientWidth * full.height > stage.clientHeight * full.width ? 1.5 : 0.7)));
  const across = Math.min(Math.max(columns, 1), shown);
  stage.style.gridTemplateColumns = `repeat(${across}, 1fr)`;
  stage.style.gridAutoRows = `calc((100% - ${Math.ceil(shown / across) - 1} * 4px) / ${Math.ceil(shown / across)})`;
  if (state.mode === "side") for (const film of all) addPane(film.label);
  if (state.mode === "slice") for (const film of all) addPane(`${film.label}: x-t`);
  if (state.mode === "difference") addPane(`difference of ${a.label} and ${b.label}`);
  if (state.mode === "divider") {
    const pane = addPane(a.label);
    const right = document.createElement("figcaption");
    right.className = "right";
    right.textContent = b.label;
    pane.figure.append(right, dividerHandle(pane));
  }
  byId("pair").hidden = !single || all.length < 3;
  byId("gain-box").hidden = state.mode !== "difference";
  for (const button of document.querySelectorAll("[data-mode]"))
    button.setAttribute("aria-pressed", button.dataset.mode === state.mode);
  draw();
}

function dividerHandle(pane) {
  const handle = document.createElement("div");
  handle.id = "divider";
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", "divider between the two films");
  handle.setAttribute("aria-valuemin", 0);
  handle.setAttribute("aria-valuemax", 100);
  const moveTo = (share) => {
    state.divider = Math.min(Math.max(share, 0), 1);
    handle.style.left = `${state.divider * 100}%`;
    handle.setAttribute("aria-valuenow", Math.round(state.divider * 100));
    draw();
  };
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
    handle.focus();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = pane.figure.getBoundingClientRect();
    moveTo((event.clientX - box.left) / box.width);
  });
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    moveTo(state.divider + step);
  });
  queueMicrotask(() => moveTo(state.divider));
  return handle;
}

/* ---- drawing ---- */

/* Rectangle of the whole picture on a canvas, in canvas pixels. */
function frameOn(canvas) {
  const zoom = state.zoom || Math.min(canvas.width / full.width, canvas.height / full.height);
  const width = full.width * zoom, height = full.height * zoom;
  const [x, y] = state.zoom ? state.centre : [0.5, 0.5];
  return { left: Math.round(canvas.width / 2 - x * width), top: Math.round(canvas.height / 2 - y * height), width, height };
}

function drawPicture(context, film, onto) {
  // Nearest neighbour when magnified, smooth when shrunk.
  context.imageSmoothingEnabled = onto.width < film.width;
  context.drawImage(film.video, onto.left, onto.top, onto.width, onto.height);
}

function clear({ canvas, context }) {
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function fitCanvas(pane) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(pane.canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(pane.canvas.clientHeight * ratio));
  if (pane.canvas.width !== width || pane.canvas.height !== height) {
    pane.canvas.width = width;
    pane.canvas.height = height;
    pane.row = 0;
  }
}

function draw() {
  panes.forEach((pane, index) => {
    fitCanvas(pane);
    const { canvas, context } = pane;
    if (state.mode === "slice") { addRow(pane, all[index]); return; }
    clear(pane);
    const onto = frameOn(canvas);
    const [a, b] = state.pair.map((selected) => all[selected]);
    if (state.mode === "side") drawPicture(context, all[index], onto);
    if (state.mode === "divider") {
      drawPicture(context, b, onto);
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.round(state.divider * canvas.width), canvas.height);
      context.clip();
      context.fillRect(0, 0, canvas.width, canvas.height);
      drawPicture(context, a, onto);
      context.restore();
    }
    if (state.mode === "difference") {
      drawPicture(context, a, onto);
      context.globalCompositeOperation = "difference";
      drawPicture(context, b, onto);
      context.globalCompositeOperation = "lighter";
      for (let gain = 1; gain < Number(byId("gain").value); gain *= 2) context.drawImage(canvas, 0, 0);
      context.globalCompositeOperation = "source-over";
    }
  });
  const seconds = (master.times[state.frame] - master.times[0]).toFixed(3);
  clock.textContent = `frame ${state.frame} of ${master.times.length}, ${seconds} s`;
  slider.value = state.frame;
}

/* The x-t view: each frame adds the row of the picture in the middle of the view. */
function addRow(pane, film) {
  const { canvas, context } = pane;
  if (pane.frame === state.frame && pane.row) return;
  pane.frame = state.frame;
  if (pane.row === 0) clear(pane);
  if (pane.row >= canvas.height) {
    context.drawImage(canvas, 0, -1);
    pane.row = canvas.height - 1;
  }
  const onto = frameOn(canvas);
  const line = Math.min(Math.floor((state.zoom ? state.centre[1] : 0.5) * film.height), film.height - 1);
  context.imageSmoothingEnabled = false;
  context.drawImage(film.video, 0, line, film.width, 1, onto.left, pane.row, onto.width, 1);
  pane.row += 1;
}

/* ---- zoom and pan ---- */

function zoomTo(zoom) {
  state.zoom = zoom;
  if (state.mode === "slice") panes.forEach((pane) => { pane.row = 0; });
  byId("zoom").textContent = zoom ? `${zoom}×` : "fit";
  draw();
}

function zoomAt(factor, pane, event) {
  const onto = frameOn(pane.canvas);
  const current = onto.width / full.width;
  const next = Math.min(Math.max(2 ** Math.round(Math.log2(current * factor)), 1 / 8), MAX_ZOOM);
  if (event) {
    const box = pane.canvas.getBoundingClientRect(), ratio = pane.canvas.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    // Keep the point under the pointer in place.
    const under = [(x - onto.left) / onto.width, (y - onto.top) / onto.height];
    state.centre = [under[0] + (pane.canvas.width / 2 - x) / (full.width * next),
                    under[1] + (pane.canvas.height / 2 - y) / (full.height * next)];
  }
  zoomTo(next);
}

function grab(event, pane) {
  const { canvas } = pane;
  canvas.setPointerCapture(event.pointerId);
  let last = [event.clientX, event.clientY];
  const move = (moved) => {
    if (!state.zoom) return;
    const onto = frameOn(canvas), ratio = window.devicePixelRatio || 1;
    state.centre = [state.centre[0] - ((moved.clientX - last[0]) * ratio) / onto.width,
                    state.centre[1] - ((moved.clientY - last[1]) * ratio) / onto.height];
    last = [moved.clientX, moved.clientY];
    if (state.mode === "slice") panes.forEach((each) => { each.row = 0; });
    draw();
  };
  canvas.addEventListener("pointermove", move);
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => canvas.removeEventListener("pointermove", move), { once: true });
}

/* ---- time ---- */

let seeking = Promise.resolve();
function goTo(index) {
  const frame = Math.min(Math.max(index, 0), master.times.length - 1);
  const since = master.times[frame] - master.times[0];
  // Seek one at a time: an interrupted seek fires no event.
  seeking = seeking.then(() => Promise.all(all.map((film) => film.seek(since)))).then(() => {
    state.frame = frame;
    draw();
  });
  return seeking;
}

function step(by) {
  pause();
  return goTo(state.frame + by);
}

function play() {
  if (state.frame >= master.times.length - 1) goTo(0);
  seeking.then(() => {
    state.playing = true;
    byId("play").textContent = "Pause";
    for (const film of all) film.video.play().catch(() => pause());
    requestAnimationFrame(follow);
  });
}

function pause() {
  if (!state.playing) return;
  state.playing = false;
  byId("play").textContent = "Play";
  for (const film of all) { film.video.pause(); film.video.playbackRate = 1; }
  goTo(master.frameAt(master.since));
}

/* While playing, synchronise all films with the first by playback rate, or by seeking if far off. */
function follow() {
  if (!state.playing) return;
  state.frame = master.frameAt(master.since);
  for (const film of all.slice(1)) {
    const late = master.since - film.since;
    if (Math.abs(late) > 0.25) film.video.currentTime = master.since + film.times[0];
    else film.video.playbackRate = 1 + Math.min(Math.max(late, -0.1), 0.1);
  }
  draw();
  if (master.video.ended) pause();
  else requestAnimationFrame(follow);
}

/* ---- controls ---- */

for (const button of document.querySelectorAll("[data-mode]"))
  button.addEventListener("click", () => { state.mode = button.dataset.mode; updateLayout(); });
byId("play").addEventListener("click", () => (state.playing ? pause() : play()));
byId("back").addEventListener("click", () => step(-1));
byId("on").addEventListener("click", () => step(1));
byId("in").addEventListener("click", () => zoomAt(2, panes[0]));
byId("out").addEventListener("click", () => zoomAt(0.5, panes[0]));
byId("fit").addEventListener("click", () => zoomTo(0));
byId("gain").addEventListener("change", draw);
slider.max = master.times.length - 1;
slider.addEventListener("input", () => { pause(); goTo(Number(slider.value)); });
["a", "b"].forEach((side, position) => {
  const select = byId(side);
  all.forEach((film, index) => select.append(new Option(film.label, index)));
  select.value = state.pair[position];
  select.addEventListener("change", () => { state.pair[position] = Number(select.value); updateLayout(); });
});

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  const action = {
    " ": () => (state.playing ? pause() : play()),
    ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-Infinity), End: () => step(Infinity),
    "+": () => zoomAt(2, panes[0]), "=": () => zoomAt(2, panes[0]), "-": () => zoomAt(0.5, panes[0]), 0: () => zoomTo(0),
    1: () => byId("mode-side").click(), 2: () => byId("mode-divider").click(),
    3: () => byId("mode-difference").click(), 4: () => byId("mode-slice").click(),
  }[event.key];
  if (!action || (event.key === " " && event.target.matches("button"))) return;
  event.preventDefault();
  action();
});
new ResizeObserver(() => draw()).observe(stage);

/* ---- start ---- */

const loaded = all.map((film) => new Promise((resolve, reject) => {
  const fail = () => reject(new Error(`${film.label} can't be played by this browser`));
  if (film.video.error) fail();
  else if (film.video.readyState >= 2) resolve();
  film.video.addEventListener("loadeddata", resolve, { once: true });
  film.video.addEventListener("error", fail, { once: true });
}));
Promise.all(loaded).then(() => { updateLayout(); return goTo(0); }).then(() => {
  document.body.dataset.ready = "yes";
}).catch((error) => {
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
});
