/** Server-sent events, with reconnection when the server restarts. */

import { BASE } from "./api.js";

const NAMES = ["snapshot", "job", "removed", "preview", "plan"];
const FIRST_DELAY = 500;
const LONGEST_DELAY = 4000;

/** Dispatches a `CustomEvent` for each event, and `connection` with whether the server is there. */
const events = new EventTarget();

let delay = FIRST_DELAY;
let isConnected = null;

export function connect() {
  const source = new EventSource(`${BASE}/events`);
  source.addEventListener("open", () => {
    delay = FIRST_DELAY;
    setConnected(true);
  });
  for (const name of NAMES) {
    source.addEventListener(name, (event) => emit(name, JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    source.close();
    setConnected(false);
    setTimeout(connect, delay);
    delay = Math.min(2 * delay, LONGEST_DELAY);
  });
}

/** Listen; returns a function that ends it. */
export function on(name, listener) {
  const call = (event) => listener(event.detail);
  events.addEventListener(name, call);
  return () => events.removeEventListener(name, call);
}

function setConnected(value) {
  if (value === isConnected) return;
  isConnected = value;
  emit("connection", value);
}

function emit(name, detail) {
  events.dispatchEvent(new CustomEvent(name, { detail }));
}
