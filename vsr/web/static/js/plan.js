/** Plan: time, memory and disk for the whole film; then add it to the queue. */

import { post } from "./api.js";
import { announce, find, h, setText, showError } from "./dom.js";
import { follow } from "./follow.js";
import { bytes, duration, short, size, speed } from "./format.js";

export class Plan {
  constructor({ options }) {
    this.options = options;
    this.end = () => {};
    this.values = h("dl", { class: "facts" });
    this.state = h("p", { class: "faint", role: "status" });
    this.error = h("p", { class: "error", role: "alert", hidden: true });
    this.button = h("button", { type: "button", onclick: () => this.measure() }, "Estimate");
    this.name = h("input", { id: "output-name", maxlength: "200", autocomplete: "off" });
    this.suffix = h("span", { class: "faint" });
    this.add = h("button", { type: "submit", class: "primary big", id: "add" }, "Add to queue");
    this.added = h("p", { class: "good", role: "status" });
    find("plan").append(
      h("div", { class: "row" }, h("h2", { id: "plan-title" }, "Plan"), this.button),
      this.state,
      this.values,
      h("form", { class: "fields", novalidate: true, onsubmit: (event) => this.queue(event) },
        h("div", { class: "field" },
          h("label", { for: "output-name" }, "Name of the output"),
          h("div", { class: "row tight" }, this.name, this.suffix)),
        this.error,
        this.add,
        this.added),
    );
  }

  /** Start with a film. */
  open(info) {
    this.file = info.file;
    this.name.value = "";
    this.name.placeholder = info.name.replace(/\.[^.]+$/, "");
    setText(this.added, "");
    showError(this.error, "");
    this.clear();
  }

  /** Other options: the last plan no longer applies. */
  clear() {
    this.end();
    this.button.disabled = false;
    setText(this.suffix, `.${this.options().container ?? "mp4"}`);
    setText(this.added, "");
    const wasMeasured = this.values.childElementCount > 0;
    if (!wasMeasured || this.shownFor !== this.file) {
      this.values.replaceChildren();
      setText(this.state, "Measures some frames on this machine, and estimates time, memory and disk for the whole film.");
    } else setText(this.state, "These figures are for earlier settings.");
    this.values.classList.toggle("old", wasMeasured);
  }

  measure() {
    this.button.disabled = true;
    setText(this.state, "Waiting for previews…");
    this.end = follow("plans", { file: this.file, options: this.options() }, (found) => {
      if (found.state === "running") setText(this.state, "Measuring…");
      if (found.state === "failed") setText(this.state, found.error);
      if (found.state === "done") this.show(found.result);
      if (found.state === "done" || found.state === "failed") this.button.disabled = false;
    });
  }

  show(plan) {
    this.shownFor = this.file;
    const rows = [
      ["Time", duration(plan.seconds)],
      ["Speed", speed(plan.frames_per_second)],
      ["Output", size(plan.width, plan.height)],
      ["Memory", `about ${bytes(plan.memory_bytes)}`],
      ["Size of the output", plan.output_bytes === null ? "unknown" : `about ${bytes(plan.output_bytes)}`],
      ["Disk while it runs", plan.disk_bytes === null ? "unknown" : `about ${bytes(plan.disk_bytes)}`],
      ["Model", `${plan.model}, detail ${short(plan.detail)}, ${plan.backend}`],
      ...plan.alternatives.map((other) => [
        `With ${other.quality}`,
        `${other.seconds === null ? "" : `${duration(other.seconds)}, `}${speed(other.frames_per_second)}`,
      ]),
    ];
    if (plan.left_out.length) rows.push(["What would be lost", plan.left_out.join("; ")]);
    if (plan.notes.length) rows.push(["Notes", plan.notes.join("; ")]);
    this.values.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    this.values.classList.remove("old");
    setText(this.state, plan.frames === null ? "The length of the film is unknown." : `For ${plan.frames} frames, measured on ${plan.tried_frames}.`);
    announce(`Estimated time: ${duration(plan.seconds)}`);
  }

  async queue(event) {
    event.preventDefault();
    this.add.disabled = true;
    showError(this.error, "");
    const body = { file: this.file, options: this.options() };
    if (this.name.value.trim()) body.name = this.name.value.trim();
    try {
      const job = await post("/jobs", body);
      this.added.replaceChildren(`Added as ${job.name}. `, h("a", { href: "#queue" }, "Show the queue"));
    } catch (error) {
      showError(this.error, error.message);
    }
    this.add.disabled = false;
    this.add.focus();
  }
}
