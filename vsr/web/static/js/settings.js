/** The form of options: those of `vsr upscale`, without the ones that stay at their defaults. */

import { debounce, find, h, setText } from "./dom.js";
import { short, size } from "./format.js";

const PICTURE = [
  "model", "scale", "width", "height", "size", "detail", "denoise", "steady", "deblock", "grain",
  "profile", "deinterlace", "rotate", "inverse_telecine", "video", "backend",
];
/** Options that change frames. */
const SCALES = [["1", "1× (restore only)"], ["1.5", "1.5×"], ["2", "2×"], ["3", "3×"], ["4", "4×"]];

export class Settings {
  /** `onChange` is called with whether frames change. */
  constructor(onChange) {
    this.form = find("settings");
    this.ranges = {};
    this.build();
    this.last = "{}";
    this.tell = debounce(200, () => {
      const now = JSON.stringify(this.pictureOptions());
      onChange(now !== this.last);
      this.last = now;
    });
    this.form.addEventListener("input", () => {
      this.adapt();
      this.tell();
    });
    this.form.addEventListener("submit", (event) => event.preventDefault());
  }

  build() {
    const more = (title, ...fields) => h("details", {}, h("summary", {}, title), h("div", { class: "fields" }, fields));
    this.form.append(
      h("div", { class: "fields" },
        this.select("profile", "Type of source", [["", "No profile"]], "profile-hint"),
        this.select("model", "Model", [["", "Default (fast)"], ["fast", "fast"], ["best", "best"]], "model-hint"),
        this.select("size", "Size", [["", "Automatic"]]),
        this.input("width", "Width in pixels", { type: "number", min: "1", max: "65536", inputmode: "numeric" }),
        this.range("detail", "Detail", "0 is faithful; towards 1, texture is added, some of it invented."),
      ),
      more("Clean up",
        this.range("denoise", "Denoise", "Removes noise and flicker."),
        this.range("steady", "Steady", "Reduces flicker of models of single pictures alone."),
        this.range("deblock", "Deblock", "Removes blocks of compression; 0.25 for compressed film."),
        this.range("grain", "Grain", "Adds film grain."),
        this.select("deinterlace", "Deinterlace", [
          ["", "Automatic: flagged frames"], ["on", "All frames"], ["double", "All, a frame for each field"], ["off", "Off"],
        ]),
        this.checkbox("inverse_telecine", "Restore film from 3:2 pulldown"),
      ),
      more("Output",
        this.select("container", "Format", [["", "mp4"]]),
        this.select("codec", "Codec", [["", "Default"]]),
        this.input("crf", "Rate factor (CRF)", { type: "number", min: "0", max: "63", inputmode: "numeric" }, "Lower is better and larger."),
        this.select("preset", "Encoder preset", [["", "Default"]]),
        this.select("audio", "Sound", [["", "Copy, or convert where necessary"], ["copy", "Copy only"], ["none", "None"]]),
        this.select("subtitles", "Subtitles", [["", "Copy"], ["none", "None"]]),
        this.select("rotate", "Rotation", [["", "Keep the tag"], ["apply", "Rotate the frames"]]),
      ),
      more("Part and computing",
        this.input("start", "From", { placeholder: "0:00", maxlength: "60" }, "Such as 1:30, 90 (seconds) or 120f (frames)."),
        this.input("end", "To", { placeholder: "end", maxlength: "60" }),
        this.select("video", "Video stream", [["", "Default"]]),
        this.select("backend", "Software", [["", "Automatic"], ["torch", "torch"], ["openvino", "OpenVINO"], ["onnx", "ONNX Runtime"]]),
      ),
      h("button", { type: "button", class: "plain", onclick: () => this.reset() }, "Reset to defaults"),
    );
    this.adapt();
  }

  /** Offer what the server can do. */
  describe(about) {
    this.about = about;
    const { profile, model, size: sizes, container, codec } = this.form.elements;
    profile.append(...about.profiles.map(({ name }) => h("option", { value: name }, name)));
    model.append(...about.models.map(({ name }) => h("option", { value: name }, name)));
    sizes.append(
      ...SCALES.map(([value, label]) => h("option", { value: `x${value}` }, label)),
      ...about.screens.map(({ name, width, height }) => h("option", { value: name }, `Fits ${name} (${size(width, height)})`)),
      h("option", { value: "width" }, "Width…"),
    );
    const [first, ...others] = about.containers;
    container.options[0].textContent = first;
    container.append(...others.map((name) => h("option", { value: name }, name)));
    codec.append(...about.codecs.map(({ name }) => h("option", { value: name }, name)));
    this.adapt();
  }

  /** Start with a film: what belongs to the last one alone is reset. */
  open(info) {
    const { start, end, video } = this.form.elements;
    start.value = end.value = "";
    const streams = Array.from({ length: info.videos ?? 1 }, (_, index) => h("option", { value: String(index + 1) }, String(index + 1)));
    video.replaceChildren(h("option", { value: "" }, "Default"), ...streams);
    video.closest(".field").hidden = (info.videos ?? 1) < 2;
    this.last = JSON.stringify(this.pictureOptions());
  }

  /** Tell what the server chose for options that aren't set. */
  resolved({ model, detail }) {
    const range = this.ranges.detail;
    this.model = this.about?.models.find(({ name }) => name === model);
    range.fallback = this.model ? short(this.model.default_detail) : null;
    if (range.isDefault) range.show(detail ?? null);
    this.adapt();
  }

  /** The options, as the API takes them. */
  options() {
    const chosen = {};
    const { size: sizes, width, crf, video, inverse_telecine: telecine } = this.form.elements;
    for (const name of ["profile", "model", "deinterlace", "container", "codec", "preset", "audio", "subtitles", "rotate", "start", "end", "backend"]) {
      const value = this.form.elements[name].value.trim();
      if (value) chosen[name] = value;
    }
    if (sizes.value === "width") {
      if (width.value) chosen.width = Number(width.value);
    } else if (/^x[\d.]+$/.test(sizes.value)) chosen.scale = Number(sizes.value.slice(1));
    else if (sizes.value) chosen.size = sizes.value;
    for (const [name, range] of Object.entries(this.ranges)) {
      if (!range.isDefault) chosen[name] = Number(range.input.value);
    }
    if (crf.value) chosen.crf = Number(crf.value);
    if (video.value) chosen.video = Number(video.value);
    if (telecine.checked) chosen.inverse_telecine = true;
    return chosen;
  }

  pictureOptions() {
    return Object.fromEntries(Object.entries(this.options()).filter(([name]) => PICTURE.includes(name)));
  }

  /** Set model and detail. */
  set({ model, detail }) {
    this.form.elements.model.value = model;
    this.ranges.detail.set(detail);
    this.adapt();
    this.tell();
  }

  reset() {
    this.form.reset();
    Object.values(this.ranges).forEach((range) => range.clear());
    this.adapt();
    this.tell();
  }

  /** Fit hints and choices to the values of other fields. */
  adapt() {
    const { profile, model, size: sizes, width, codec, container, crf, preset } = this.form.elements;
    width.closest(".field").hidden = sizes.value !== "width";
    model.options[0].textContent = profile.value ? "From the profile" : "Default (fast)";
    const { about } = this;
    if (!about) return;
    const summary = about.profiles.find(({ name }) => name === profile.value)?.summary;
    setText(find("profile-hint"), summary ?? "Options for a type of source; those below take precedence.");
    const wanted = model.value || (profile.value ? "" : "fast");
    const isIt = ({ name, quality }) => !wanted || name === wanted || quality === wanted;
    const found = this.model && isIt(this.model) ? this.model : wanted && about.models.find(isIt);
    setText(find("model-hint"), found ? `${found.name}: ${found.summary} ${found.cost}.` : "As the profile says.");
    this.ranges.detail.input.disabled = Boolean(found) && !found.has_twin;
    setText(find("option-detail-hint"), found && !found.has_twin
      ? `${found.name} has no twin for detail: it is always faithful.`
      : "0 is faithful; towards 1, texture is added, some of it invented.");
    const suffix = container.value || about.containers[0];
    for (const option of codec.options) {
      const known = about.codecs.find(({ name }) => name === option.value);
      option.disabled = Boolean(known) && !known.containers.includes(suffix);
    }
    const coded = about.codecs.find(({ name }) => name === (codec.value || (suffix === "webm" ? "av1" : about.codecs[0].name)));
    crf.placeholder = coded.default_crf === null ? "none" : String(coded.default_crf);
    crf.disabled = coded.default_crf === null;
    crf.max = String(coded.most_crf);
    if (preset.dataset.codec !== coded.name) {
      preset.dataset.codec = coded.name;
      const names = coded.presets.map((name) => h("option", { value: name }, name));
      const first = coded.default_preset ? `Default (${coded.default_preset})` : "Default";
      preset.replaceChildren(h("option", { value: "" }, first), ...names);
    }
  }

  select(name, label, choices, hint) {
    const id = `option-${name}`;
    const values = { id, name };
    if (hint) values["aria-describedby"] = hint;
    return h("div", { class: "field" },
      h("label", { for: id }, label),
      h("select", values, choices.map(([value, text]) => h("option", { value }, text))),
      hint ? h("p", { class: "hint", id: hint }, "\u00a0") : null);
  }

  input(name, label, values, hint) {
    const id = `option-${name}`;
    return h("div", { class: "field" },
      h("label", { for: id }, label),
      h("input", { id, name, autocomplete: "off", "aria-describedby": hint ? `${id}-hint` : null, ...values }),
      hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null);
  }

  checkbox(name, label) {
    return h("label", { class: "check" }, h("input", { type: "checkbox", name }), label);
  }

  /** A number from 0 to 1, or the default of the model. */
  range(name, label, hint) {
    const id = `option-${name}`;
    const input = h("input", { id, type: "range", min: "0", max: "1", step: "0.05", value: "0", "aria-describedby": `${id}-hint` });
    const output = h("output", { for: id });
    const back = h("button", { type: "button", class: "plain", "aria-label": `${label}: use the default` }, "Default");
    const range = {
      input,
      isDefault: true,
      fallback: null,
      show(value) {
        if (value !== null) input.value = String(value);
        const known = range.fallback === null ? "default" : `default, ${range.fallback}`;
        const text = range.isDefault ? known : short(Number(input.value));
        setText(output, text);
        input.setAttribute("aria-valuetext", text);
        input.classList.toggle("unset", range.isDefault);
        back.hidden = range.isDefault;
      },
      set(value) {
        range.isDefault = false;
        range.show(value);
      },
      clear() {
        range.isDefault = true;
        range.show(range.fallback ?? 0);
      },
    };
    input.addEventListener("input", () => range.set(null));
    back.addEventListener("click", () => {
      range.clear();
      input.focus();
      this.tell();
    });
    range.show(null);
    this.ranges[name] = range;
    return h("div", { class: "field range" },
      h("label", { for: id }, label), output, back, input,
      h("p", { class: "hint", id: `${id}-hint` }, hint));
  }
}
