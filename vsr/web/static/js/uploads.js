/** Resumable uploads in chunks, one file after another, with progress. */

import { get, patch, post, remove } from "./api.js";
import { announce, find, h, setText, showError } from "./dom.js";
import { on } from "./events.js";
import { bytes, duration, percent } from "./format.js";

const LEAST_CHUNK = 1 << 20;
const MOST_CHUNK = 64 << 20;
const CHUNK_SECONDS = [0.5, 3];
/** Chunks grow below the first time, and shrink above the second. */
const STORE = "vsr-uploads";
/** Marks of the files of incomplete uploads, so that only the same file continues one. */

const sending = [];
let isBusy = false;
let onComplete = () => {};

/** `whenComplete` is called with the reference of each film that was sent. */
export async function startUploads(whenComplete) {
  onComplete = whenComplete;
  on("connection", (isConnected) => isConnected && work());
  await showEarlier();
}

/** Send files. */
export function sendFiles(files) {
  for (const file of files) sending.push(new Sending(file));
  work();
}

async function showEarlier() {
  const list = find("upload-list");
  let uploads = [];
  try {
    uploads = await get("/uploads");
  } catch {
    return; // shown again after the next reload
  }
  for (const upload of uploads) list.append(earlierRow(upload));
  find("uploads").hidden = !list.childElementCount;
}

function earlierRow(upload) {
  const error = h("p", { class: "error", role: "alert", hidden: true });
  const name = upload.complete ? h("a", { href: `#film=${encodeURIComponent(upload.file)}` }, upload.name) : h("span", {}, upload.name);
  const state = upload.complete ? bytes(upload.bytes) : `${percent(upload.offset / upload.bytes)} of ${bytes(upload.bytes)} received; select the same file to continue`;
  const row = h("li", { class: "upload", "data-upload": upload.upload },
    h("div", { class: "row" }, h("span", { class: "grow name" }, name), h("span", { class: "faint" }, state),
      h("button", { type: "button", class: "plain", "aria-label": `Remove ${upload.name}`, onclick: async () => {
        try {
          await remove(`/uploads/${upload.upload}`);
          row.remove();
          find("uploads").hidden = !find("upload-list").childElementCount;
        } catch (failure) {
          showError(error, failure.message);
        }
      } }, "Remove")),
    error);
  return row;
}

async function work() {
  if (isBusy) return;
  isBusy = true;
  for (let next; (next = sending.find((one) => one.isWaiting));) await next.send();
  isBusy = false;
}

/** A file that is being sent. */
class Sending {
  constructor(file) {
    this.file = file;
    this.isWaiting = true;
    this.chunk = LEAST_CHUNK;
    this.bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    this.state = h("span", { class: "faint" }, "Waiting…");
    this.error = h("p", { class: "error", role: "alert", hidden: true });
    this.name = h("span", { class: "grow name" }, file.name);
    this.pause = h("button", { type: "button", onclick: () => this.toggle() }, "Pause");
    this.cancel = h("button", { type: "button", class: "plain", "aria-label": `Cancel the upload of ${file.name}`, onclick: () => this.end() }, "Cancel");
    this.row = h("li", { class: "upload" },
      h("div", { class: "row" }, this.name, this.state, this.pause, this.cancel), this.bar, this.error);
    find("uploads").hidden = false;
    find("upload-list").prepend(this.row);
  }

  get mark() {
    return `${this.file.name}|${this.file.size}|${this.file.lastModified}`;
  }

  /** Send all chunks; returns when the file is complete, paused or refused. */
  async send() {
    this.isWaiting = false;
    this.isPaused = false;
    showError(this.error, "");
    try {
      let upload = this.upload ? await get(`/uploads/${this.upload}`) : await this.create();
      this.upload = upload.upload;
      this.started = performance.now();
      this.first = upload.offset;
      while (!upload.complete && !this.isPaused) upload = await this.sendChunk(upload);
      if (upload.complete) this.complete(upload);
    } catch (error) {
      if (this.isEnded) return;
      if (error.status === 0) {
        setText(this.state, "Waiting for the server…");
        this.isWaiting = true;
        await new Promise((resolve) => setTimeout(resolve, 1000));
        return;
      }
      if (error.status === 404) this.upload = undefined;
      showError(this.error, error.message);
      this.paused();
    }
  }

  /** Resume the unfinished upload of this file, or announce a new one. */
  async create() {
    const marks = readMarks();
    const uploads = await get("/uploads");
    const found = uploads.find((one) => !one.complete && one.bytes === this.file.size && marks[one.upload] === this.mark);
    if (found) {
      find("upload-list").querySelector(`[data-upload="${found.upload}"]`)?.remove();
      return found;
    }
    const upload = await post("/uploads", { name: this.file.name, bytes: this.file.size });
    writeMarks({ ...marks, [upload.upload]: this.mark }, uploads);
    return upload;
  }

  async sendChunk(upload) {
    const chunk = this.file.slice(upload.offset, upload.offset + this.chunk);
    const started = performance.now();
    let next;
    try {
      next = await patch(`/uploads/${upload.upload}`, chunk, { "Upload-Offset": String(upload.offset) });
    } catch (error) {
      if (error.status !== 409) throw error;
      next = await get(`/uploads/${upload.upload}`); // a break: the server knows how much it has
    }
    const seconds = (performance.now() - started) / 1000;
    if (seconds < CHUNK_SECONDS[0]) this.chunk = Math.min(2 * this.chunk, MOST_CHUNK);
    if (seconds > CHUNK_SECONDS[1]) this.chunk = Math.max(this.chunk / 2, LEAST_CHUNK);
    this.show(next);
    return next;
  }

  show({ offset, bytes: all }) {
    this.bar.value = offset / all;
    const rate = (offset - this.first) / ((performance.now() - this.started) / 1000);
    const left = rate > 0 ? `, ${duration((all - offset) / rate)} left` : "";
    setText(this.state, `${percent(offset / all)} of ${bytes(all)}${left}`);
  }

  complete(upload) {
    this.bar.remove();
    this.pause.remove();
    this.row.replaceWith(earlierRow(upload));
    sending.splice(sending.indexOf(this), 1);
    announce(`${upload.name} is uploaded`);
    onComplete(upload.file, sending.length === 0);
  }

  toggle() {
    if (this.isPaused) {
      this.isWaiting = true;
      setText(this.pause, "Pause");
      setText(this.state, "Waiting…");
      work();
    } else this.paused();
  }

  paused() {
    this.isPaused = true;
    this.isWaiting = false;
    setText(this.pause, "Continue");
    setText(this.state, `${percent(this.bar.value)} received`);
  }

  async end() {
    this.isEnded = this.isPaused = true;
    this.isWaiting = false;
    this.row.remove();
    const index = sending.indexOf(this);
    if (index >= 0) sending.splice(index, 1);
    find("uploads").hidden = !find("upload-list").childElementCount;
    if (this.upload) await remove(`/uploads/${this.upload}`).catch(() => {}); // is listed after a reload
  }
}

function readMarks() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

/** Write marks of uploads that the server still has. */
function writeMarks(marks, uploads) {
  const kept = new Set(uploads.map((one) => one.upload));
  const newest = Object.keys(marks).at(-1);
  const entries = Object.entries(marks).filter(([key]) => kept.has(key) || key === newest);
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(entries)));
  } catch {
    // without storage, uploads resume until the page is closed
  }
}
