/** The report of a finished job: what was kept, and how steady it is. */

import { BASE, get } from "./api.js";
import { find, h, setText, showError, svg } from "./dom.js";
import { baseName, bytes, duration, short, size } from "./format.js";
import { describe, describeStages } from "./job_card.js";

const POLL = 1500;
const [WIDTH, HEIGHT] = [640, 140];
/** Of a chart, in its own units. */

let shown = null;

/** Show the report of a job. */
export async function openJob(identifier) {
  shown = identifier;
  const body = find("job-body");
  body.replaceChildren();
  showError(find("job-error"), "");
  setText(find("job-title"), "Report");
  setText(find("job-facts"), "\u00a0");
  let job;
  try {
    job = await get(`/jobs/${identifier}`);
  } catch (error) {
    if (shown === identifier) showError(find("job-error"), error.message);
    return;
  }
  if (shown !== identifier) return;
  setText(find("job-title"), job.name);
  setText(find("job-facts"), `from ${baseName(job.file)}${describe(job.options)}`);
  if (job.state !== "done") {
    showError(find("job-error"), `The job isn't done: it is ${job.state}.`);
    return;
  }
  const at = `${BASE}/jobs/${identifier}`;
  body.append(
    h("div", { class: "row actions" },
      h("a", { class: "button primary", href: `${at}/output`, download: job.name }, "Download"),
      h("a", { class: "button", href: `${at}/compare`, target: "_blank", rel: "noopener" }, "Compare with the source"),
      h("a", { class: "button plain", href: "#queue" }, "Back to the queue")),
    summary(job),
    verification(identifier),
    flicker(identifier),
  );
}

export function leaveJob() {
  shown = null;
}

function summary(job) {
  const { stages } = job;
  const rows = [
    ["Picture", size(job.width, job.height)],
    ["File", bytes(job.output_bytes)],
    ["Frames", String(job.frames)],
    ["Time", duration(job.seconds)],
    ["Stages", describeStages(stages)],
    ["Model", [job.model, job.backend].filter(Boolean).join(", ")],
  ].filter(([, value]) => value);
  return h("section", { class: "card", "aria-labelledby": "run-title" },
    h("h2", { id: "run-title" }, "Run"),
    h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    lines("What was lost", job.left_out), lines("Messages", job.messages));
}

function lines(title, texts) {
  if (!texts.length) return null;
  return h("div", {}, h("h3", {}, title), h("ul", { class: "lines" }, texts.map((text) => h("li", {}, text))));
}

function verification(identifier) {
  const state = h("p", { class: "faint", role: "status" }, "Comparing the output with the source…");
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const place = h("div", { class: "scroll" });
  get(`/jobs/${identifier}/verify`).then(({ kept, findings }) => {
    setText(state, kept ? "Everything was kept." : "Not everything was kept.");
    state.className = kept ? "good" : "bad";
    place.append(h("table", { class: "verify" },
      h("thead", {}, h("tr", {}, ["What", "Source", "Output", "Kept"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, findings.map((one) => h("tr", { class: one.kept ? null : "bad" },
        h("th", { scope: "row" }, one.what), h("td", {}, one.source), h("td", {}, one.output),
        h("td", { class: "mark" }, one.kept ? "✓ yes" : "✗ no"))))));
  }, (failure) => {
    setText(state, "");
    showError(error, failure.message);
  });
  return h("section", { class: "card", id: "verify", "aria-labelledby": "verify-title" },
    h("h2", { id: "verify-title" }, "What was kept"), state, error, place);
}

function flicker(identifier) {
  const state = h("p", { class: "faint", role: "status" }, "Compares changes over time with those of the source, enlarged bicubically. It takes about as long as playing the film.");
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const place = h("div", {});
  const button = h("button", { type: "button", id: "measure-flicker", onclick: () => measure() }, "Measure");
  const measure = async () => {
    button.disabled = true;
    showError(error, "");
    try {
      for (;;) {
        const found = await get(`/jobs/${identifier}/flicker`);
        if (shown !== identifier) return;
        if (found.state === "failed") throw new Error(found.error);
        if (found.state === "done") {
          button.remove();
          showFlicker(found, state, place);
          return;
        }
        setText(state, found.state === "waiting" ? "Waiting for another report…" : "Measuring…");
        await new Promise((resolve) => setTimeout(resolve, POLL));
      }
    } catch (failure) {
      showError(error, failure.message);
      setText(state, "");
      button.disabled = false;
    }
  };
  return h("section", { class: "card", id: "flicker", "aria-labelledby": "flicker-title" },
    h("div", { class: "row" }, h("h2", { id: "flicker-title" }, "Flicker"), button), state, error, place);
}

function showFlicker(found, state, place) {
  const said = [];
  if (found.flicker !== null) said.push(`Mean flicker ${short(found.flicker)} code values beyond bicubic`);
  if (found.tof !== null) said.push(`mean tOF ${short(found.tof, 3)} pixels`);
  setText(state, said.length ? `${said.join("; ")}. Lower is steadier.` : "The film is too short to measure.");
  if (!said.length) return;
  const cell = (value, digits) => h("td", {}, value === null ? "–" : short(value, digits));
  place.append(
    chart("Flicker, in 8-bit code values", found.seconds.map((one) => one.flicker)),
    chart("tOF, in pixels of the output", found.seconds.map((one) => one.tof)),
    h("details", {}, h("summary", {}, "Values of each second"), h("div", { class: "scroll" }, h("table", { class: "verify" },
      h("thead", {}, h("tr", {}, ["Second", "Flicker", "tOF"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, found.seconds.map((one) => h("tr", {}, h("th", { scope: "row" }, String(one.second)), cell(one.flicker, 2), cell(one.tof, 3))))))));
}

/** A bar for each second; 0 is drawn as a line. */
function chart(title, values) {
  const known = values.filter((value) => value !== null);
  const most = Math.max(...known, 0.001);
  const least = Math.min(...known, 0);
  const y = (value) => ((most - value) / (most - least)) * HEIGHT;
  const step = WIDTH / values.length;
  const bars = values.flatMap((value, index) => {
    if (value === null) return [];
    const [top, bottom] = [Math.min(y(value), y(0)), Math.max(y(value), y(0))];
    const bar = svg("rect", { x: index * step + step * 0.1, y: top, width: step * 0.8, height: Math.max(bottom - top, 0.5) });
    bar.append(svg("title"));
    bar.firstChild.textContent = `second ${index}: ${short(value, 3)}`;
    return [bar];
  });
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  drawing.setAttribute("aria-label", `${title}: from ${short(Math.min(...known), 3)} to ${short(Math.max(...known), 3)}`);
  drawing.append(...bars, svg("line", { x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }));
  return h("figure", { class: "chart" },
    h("figcaption", { class: "row" }, h("span", { class: "grow" }, title), h("span", { class: "faint" }, `0 to ${values.length} s · most ${short(most, 2)}`)),
    drawing);
}
