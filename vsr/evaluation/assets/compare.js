"use strict";

const films = JSON.parse(document.getElementById("data").textContent).films;
const byId = (id) => document.getElementById(id);
const stage = byId("stage"), slider = byId("time"), clock = byId("clock");
const MOST_ZOOM = 64;

/* A film: its video element, and when each of its frames is shown. */
class Film {
  constructor(described, video) {
    Object.assign(this, described);
    this.video = video;
    this.times = described.times ??
      Array.from({ length: described.count }, (_, number) => described.first + number * described.step);
  }

  /* The middle of a frame's time: rounding can't lead to a neighbour. */
  middle(number) {
    const end = this.times[number + 1] ?? this.times[number] + (this.times[number] - (this.times[number - 1] ?? 0) || 0.02);
    return (this.times[number] + end) / 2;
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

  /* Go to the frame shown at a time; resolves once it can be drawn. */
  seek(since) {
    const time = this.middle(this.frameAt(since));
    if (Math.abs(this.video.currentTime - time) < 1e-4 && this.video.readyState >= 2) return Promise.resolve();
    const sought = new Promise((resolve) => this.video.addEventListener("seeked", resolve, { once: true }));
    const presented = this.presented(time);
    this.video.currentTime = time;
    return Promise.all([sought, presented]);
  }

  /* Resolves once the frame of a time can be drawn: "seeked" may be told while the one before still is.
     Half a second at most, since a browser need not present a frame that it shows already. */
  presented(time) {
    const { video } = this;
    if (!video.requestVideoFrameCallback) return Promise.resolve();
    const number = this.frameAt(time - this.times[0]);
    return new Promise((resolve) => {
      let asked;
      const timer = setTimeout(() => { video.cancelVideoFrameCallback(asked); resolve(); }, 500);
      const look = (now, { mediaTime }) => {
        if (this.frameAt(mediaTime + 1e-3 - this.times[0]) === number) { clearTimeout(timer); resolve(); }
        else asked = video.requestVideoFrameCallback(look);
      };
      asked = video.requestVideoFrameCallback(look);
    });
  }
}

const all = films.map((film, number) => new Film(film, byId(`film-${number}`)));
const master = all[0];
/* The longest sides: all films are shown at this size, pixel for pixel at zoom 1 of the largest. */
const full = { width: Math.max(...all.map((f) => f.width)), height: Math.max(...all.map((f) => f.height)) };

const state = {
  mode: "side", frame: 0, playing: false,
  zoom: 0,                      // device pixels to a pixel of the largest film; 0 fits
  centre: [0.5, 0.5],           // what lies in the middle of a pane, as shares of the picture
  divider: 0.5, pair: [0, Math.min(1, all.length - 1)],
};

/* ---- panes ---- */

let panes = [];
function pane(label) {
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
  const made = { figure, canvas, context: canvas.getContext("2d", { alpha: false }), row: 0 };
  canvas.addEventListener("pointerdown", (event) => grab(event, made));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(event.deltaY < 0 ? 2 : 0.5, made, event);
  }, { passive: false });
  panes.push(made);
  return made;
}

function layOut() {
  stage.replaceChildren();
  panes = [];
  const [a, b] = state.pair.map((number) => all[number]);
  const single = state.mode === "divider" || state.mode === "difference";
  const shown = single ? 1 : all.length;
  const columns = Math.ceil(Math.sqrt(shown * (stage.clientWidth * full.height > stage.clientHeight * full.width ? 1.5 : 0.7)));
  const across = Math.min(Math.max(columns, 1), shown);
  stage.style.gridTemplateColumns = `repeat(${across}, 1fr)`;
  stage.style.gridAutoRows = `calc((100% - ${Math.ceil(shown / across) - 1} * 4px) / ${Math.ceil(shown / across)})`;
  if (state.mode === "side") for (const film of all) pane(film.label);
  if (state.mode === "slice") for (const film of all) pane(`${film.label}: x-t`);
  if (state.mode === "difference") pane(`difference of ${a.label} and ${b.label}`);
  if (state.mode === "divider") {
    const made = pane(a.label);
    const right = document.createElement("figcaption");
    right.className = "right";
    right.textContent = b.label;
    made.figure.append(right, dividerHandle(made));
  }
  byId("pair").hidden = !single || all.length < 3;
  byId("gain-box").hidden = state.mode !== "difference";
  for (const button of document.querySelectorAll("[data-mode]"))
    button.setAttribute("aria-pressed", button.dataset.mode === state.mode);
  draw();
}

function dividerHandle(made) {
  const handle = document.createElement("div");
  handle.id = "divider";
  handle.tabIndex = 0;
  handle.setAttribute("role", "slider");
  handle.setAttribute("aria-label", "divider between the two films");
  handle.setAttribute("aria-valuemin", 0);
  handle.setAttribute("aria-valuemax", 100);
  const place = (share) => {
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
    const box = made.figure.getBoundingClientRect();
    place((event.clientX - box.left) / box.width);
  });
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    place(state.divider + step);
  });
  queueMicrotask(() => place(state.divider));
  return handle;
}

/* ---- drawing ---- */

/* Where the whole picture lies on a canvas, in its pixels. */
function frameOn(canvas) {
  const zoom = state.zoom || Math.min(canvas.width / full.width, canvas.height / full.height);
  const width = full.width * zoom, height = full.height * zoom;
  const [x, y] = state.zoom ? state.centre : [0.5, 0.5];
  return { left: Math.round(canvas.width / 2 - x * width), top: Math.round(canvas.height / 2 - y * height), width, height };
}

function picture(context, film, onto) {
  // Crisp where pixels are magnified, smooth where they are gathered.
  context.imageSmoothingEnabled = onto.width < film.width;
  context.drawImage(film.video, onto.left, onto.top, onto.width, onto.height);
}

function clear({ canvas, context }) {
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function sized(made) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(made.canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(made.canvas.clientHeight * ratio));
  if (made.canvas.width !== width || made.canvas.height !== height) {
    made.canvas.width = width;
    made.canvas.height = height;
    made.row = 0;
  }
}

function draw() {
  panes.forEach((made, number) => {
    sized(made);
    const { canvas, context } = made;
    if (state.mode === "slice") { addRow(made, all[number]); return; }
    clear(made);
    const onto = frameOn(canvas);
    const [a, b] = state.pair.map((index) => all[index]);
    if (state.mode === "side") picture(context, all[number], onto);
    if (state.mode === "divider") {
      picture(context, b, onto);
      context.save();
      context.beginPath();
      context.rect(0, 0, Math.round(state.divider * canvas.width), canvas.height);
      context.clip();
      context.fillRect(0, 0, canvas.width, canvas.height);
      picture(context, a, onto);
      context.restore();
    }
    if (state.mode === "difference") {
      picture(context, a, onto);
      context.globalCompositeOperation = "difference";
      picture(context, b, onto);
      context.globalCompositeOperation = "lighter";
      for (let gain = 1; gain < Number(byId("gain").value); gain *= 2) context.drawImage(canvas, 0, 0);
      context.globalCompositeOperation = "source-over";
    }
  });
  const seconds = (master.times[state.frame] - master.times[0]).toFixed(3);
  clock.textContent = `frame ${state.frame} of ${master.times.length}, ${seconds} s`;
  slider.value = state.frame;
}

/* The x-t view: each frame adds one row of the picture, that in the middle of the view. */
function addRow(made, film) {
  const { canvas, context } = made;
  if (made.frame === state.frame && made.row) return;
  made.frame = state.frame;
  if (made.row === 0) clear(made);
  if (made.row >= canvas.height) {
    context.drawImage(canvas, 0, -1);
    made.row = canvas.height - 1;
  }
  const onto = frameOn(canvas);
  const line = Math.min(Math.floor((state.zoom ? state.centre[1] : 0.5) * film.height), film.height - 1);
  context.imageSmoothingEnabled = false;
  context.drawImage(film.video, 0, line, film.width, 1, onto.left, made.row, onto.width, 1);
  made.row += 1;
}

/* ---- zoom and pan ---- */

function zoomTo(zoom) {
  state.zoom = zoom;
  if (state.mode === "slice") panes.forEach((made) => { made.row = 0; });
  byId("zoom").textContent = zoom ? `${zoom}×` : "fit";
  draw();
}

function zoomAt(factor, made, event) {
  const onto = frameOn(made.canvas);
  const now = onto.width / full.width;
  const next = Math.min(Math.max(2 ** Math.round(Math.log2(now * factor)), 1 / 8), MOST_ZOOM);
  if (event) {
    const box = made.canvas.getBoundingClientRect(), ratio = made.canvas.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    // What lies under the pointer stays there.
    const under = [(x - onto.left) / onto.width, (y - onto.top) / onto.height];
    state.centre = [under[0] + (made.canvas.width / 2 - x) / (full.width * next),
                    under[1] + (made.canvas.height / 2 - y) / (full.height * next)];
  }
  zoomTo(next);
}

function grab(event, made) {
  const { canvas } = made;
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

let going = Promise.resolve();
function goTo(number) {
  const frame = Math.min(Math.max(number, 0), master.times.length - 1);
  const since = master.times[frame] - master.times[0];
  // One after another: a seek that is overtaken would never be told of.
  going = going.then(() => Promise.all(all.map((film) => film.seek(since)))).then(() => {
    state.frame = frame;
    draw();
  });
  return going;
}

function step(by) {
  pause();
  return goTo(state.frame + by);
}

function play() {
  if (state.frame >= master.times.length - 1) goTo(0);
  going.then(() => {
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

/* While playing: all follow the first film's clock, nudged rather than sought. */
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
  button.addEventListener("click", () => { state.mode = button.dataset.mode; layOut(); });
byId("play").addEventListener("click", () => (state.playing ? pause() : play()));
byId("back").addEventListener("click", () => step(-1));
byId("on").addEventListener("click", () => step(1));
byId("in").addEventListener("click", () => zoomAt(2, panes[0]));
byId("out").addEventListener("click", () => zoomAt(0.5, panes[0]));
byId("fit").addEventListener("click", () => zoomTo(0));
byId("gain").addEventListener("change", draw);
slider.max = master.times.length - 1;
slider.addEventListener("input", () => { pause(); goTo(Number(slider.value)); });
["a", "b"].forEach((side, place) => {
  const select = byId(side);
  all.forEach((film, number) => select.append(new Option(film.label, number)));
  select.value = state.pair[place];
  select.addEventListener("change", () => { state.pair[place] = Number(select.value); layOut(); });
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

/* ---- begin ---- */

const loaded = all.map((film) => new Promise((resolve, reject) => {
  const fail = () => reject(new Error(`${film.label} can't be played by this browser`));
  if (film.video.error) fail();
  else if (film.video.readyState >= 2) resolve();
  film.video.addEventListener("loadeddata", resolve, { once: true });
  film.video.addEventListener("error", fail, { once: true });
}));
Promise.all(loaded).then(() => { layOut(); return goTo(0); }).then(() => {
  document.body.dataset.ready = "yes";
}).catch((error) => {
  byId("problem").textContent = error.message;
  byId("problem").hidden = false;
});
