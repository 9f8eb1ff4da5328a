/** Ask for a preview or a plan, and follow its state until it is done. */

import { post } from "./api.js";
import { on } from "./events.js";

const KEYS = { previews: "preview", plans: "plan" };

/**
 * Post `body` to `previews` or `plans`, and call `onChange` with each state.
 *
 * After a restart of the server, the request is repeated. Returns a function that ends it.
 */
export function follow(path, body, onChange) {
  const key = KEYS[path];
  let identifier = null;
  let early = new Map(); // an event may arrive before the answer to the request
  const receive = (found) => {
    if (identifier === null) early.set(found[key], found);
    else if (found[key] === identifier) show(found);
  };
  const ends = [on(key, receive), on("snapshot", () => identifier !== null && ask())];
  const end = () => ends.splice(0).forEach((call) => call());
  const show = (found) => {
    if (!ends.length) return;
    if (found.state === "done" || found.state === "failed") end();
    onChange(found);
  };
  const ask = async () => {
    identifier = null;
    early = new Map();
    let found;
    try {
      found = await post(`/${path}`, body);
    } catch (error) {
      if (error.status === 0) identifier = ""; // ask again once the server is back
      else show({ state: "failed", error: error.message });
      return;
    }
    identifier = found[key];
    show(early.get(identifier) ?? found);
  };
  ask();
  return end;
}
