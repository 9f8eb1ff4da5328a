/** Choose: drop files, or browse the folders of the server. */

import { get, query } from "./api.js";
import { find, h, showError } from "./dom.js";
import { bytes } from "./format.js";
import { sendFiles, startUploads } from "./uploads.js";

let path = "";
let turn = 0;

/** `open` is called with the reference of a film that was dropped. */
export function startChoose(open) {
  const drop = find("drop");
  const input = find("files");
  input.addEventListener("change", () => {
    sendFiles(input.files);
    input.value = "";
  });
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (change) => {
    depth = Math.max(0, depth + change);
    drop.classList.toggle("over", depth > 0);
  };
  window.addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
  window.addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault(); // a file that misses the box doesn't replace the page
    mark(-depth);
    if (!hasFiles(event)) return;
    location.hash = "choose";
    sendFiles(event.dataTransfer.files);
  });
  startUploads((file, isLast) => {
    if (isLast && location.hash.replace("#", "") in { "": 1, choose: 1 }) open(file);
  });
}

/** Show the folder that was shown last. */
export function showFolder(other = path) {
  path = other;
  list();
}

async function list() {
  const mine = ++turn;
  let listing;
  try {
    listing = await get(`/folders?${query({ path })}`);
  } catch (error) {
    if (mine === turn) showError(find("browser-error"), error.message);
    return;
  }
  if (mine !== turn) return;
  showError(find("browser-error"), "");
  showCrumbs(listing.path);
  const folders = listing.folders.filter((folder) => folder.path !== "uploads");
  const rows = [
    ...folders.map(({ path: at, name }) => entry("folder", h("button", { type: "button", class: "entry", onclick: () => go(at) }, name), "")),
    ...listing.files.map(({ file, name, bytes: size, kind }) => entry(kind, h("a", { class: "entry", href: `#film=${encodeURIComponent(file)}` }, name), bytes(size))),
  ];
  if (listing.is_cut) rows.push(h("li", { class: "faint" }, "There are more files than a listing shows."));
  if (!rows.length) rows.push(h("li", { class: "faint" }, "No films or pictures here."));
  if (!path && folders.length < 2) {
    rows.push(h("li", { class: "faint" }, "Start the server with ", h("code", {}, "--root DIR"), " to list the films of a folder here."));
  }
  find("entries").replaceChildren(...rows);
}

async function go(at) {
  path = at;
  await list();
  find("entries").querySelector("button, a")?.focus();
}

function entry(kind, name, size) {
  return h("li", { class: "row file" }, h("span", { class: `icon ${kind}`, "aria-hidden": "true" }), h("span", { class: "grow name" }, name), h("span", { class: "faint" }, size));
}

function showCrumbs(reference) {
  const parts = reference ? reference.split("/") : [];
  const crumb = (label, at, isLast) => h("li", {}, isLast ? h("span", { "aria-current": "location" }, label) : h("button", { type: "button", class: "plain", onclick: () => go(at) }, label));
  find("crumbs").replaceChildren(
    crumb("All folders", "", !parts.length),
    ...parts.map((part, index) => crumb(part, parts.slice(0, index + 1).join("/"), index === parts.length - 1)),
  );
}
