"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000, HEIGHT = 110, EDGE = 6;

function element(name, attributes, namespace) {
  const created = namespace ? document.createElementNS(namespace, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) created.setAttribute(key, value);
  return created;
}

/* Chart of one metric over a film, read with the pointer or the arrow keys. */
class Chart {
  constructor(film, curve, moved) {
    this.frames = film.frames;
    this.curve = curve;
    this.box = element("div", {
      class: "chart", tabindex: 0, role: "img",
      "aria-label": `${curve.title} of ${film.name}, frame by frame; arrow keys move the cursor`,
    });
    const head = element("p", {});
    head.append(Object.assign(element("strong", {}), { textContent: curve.title }));
    this.reading = element("span", { class: "faint reading", "aria-live": "polite" });
    head.append(this.reading);
    const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" }, SVG);
    const known = [...curve.ours, ...(curve.bicubic || []), ...(curve.reference || [])].filter((value) => value !== null);
    this.low = Math.min(...known);
    this.high = Math.max(...known);
    for (const series of ["reference", "bicubic", "ours"]) if (curve[series]) svg.append(...this.lines(curve[series], series));
    this.cursor = element("line", { y1: 0, y2: HEIGHT, x1: -9, x2: -9 }, SVG);
    svg.append(this.cursor);
    this.box.append(head, svg);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      moved(Math.round(((event.clientX - box.left) / box.width) * (this.frames.length - 1)));
    });
    this.box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); moved((this.at ?? -step) + step); }
    });
    this.showRange();
  }

  x(index) { return (index / Math.max(this.frames.length - 1, 1)) * WIDTH; }

  y(value) {
    const span = this.high - this.low || 1;
    return HEIGHT - EDGE - ((value - this.low) / span) * (HEIGHT - 2 * EDGE);
  }

  /* A line for each run without a gap; temporal metrics have gaps at cuts. */
  lines(values, series) {
    const runs = [[]];
    values.forEach((value, index) => {
      if (value === null) runs.push([]);
      else runs.at(-1).push(`${this.x(index).toFixed(1)},${this.y(value).toFixed(1)}`);
    });
    return runs.filter((points) => points.length)
      .map((points) => element("polyline", { class: series, points: points.join(" ") }, SVG));
  }

  showRange() {
    const show = (value) => value.toFixed(this.curve.digits);
    this.reading.textContent = Number.isFinite(this.low) ? `${show(this.low)} to ${show(this.high)}` : "no value";
  }

  show(index) {
    this.at = index;
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(index));
    const format = (values) => (values[index] === null ? "–" : values[index].toFixed(this.curve.digits));
    const others = ["bicubic", "reference"].filter((name) => this.curve[name])
      .map((name) => `, ${name} ${format(this.curve[name])}`).join("");
    this.reading.textContent = `frame ${this.frames[index]}: ${format(this.curve.ours)}${others}`;
  }
}

const data = JSON.parse(document.getElementById("data").textContent);
data.films.forEach((film, index) => {
  const container = document.getElementById(`curves-${index}`);
  const charts = film.curves.map((curve) => new Chart(film, curve, moved));
  function moved(to) {
    const clamped = Math.min(Math.max(to, 0), film.frames.length - 1);
    for (const chart of charts) chart.show(clamped);
  }
  container.append(...charts.map((chart) => chart.box));
});

const pause = document.getElementById("pause");
pause?.addEventListener("click", () => {
  const still = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", still);
  document.body.classList.toggle("still", still);
  document.body.classList.toggle("moving", !still);
});
