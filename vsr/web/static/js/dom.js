/** Create and find elements. */

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "textContent", "max", "min", "step", "open", "muted", "loop"]);

/** Create an element: `on…` keys are listeners, other keys properties or attributes. */
export function h(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Create an SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const find = (id) => document.getElementById(id);

/** Set text, unless it is there already. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show an error line, or hide it for an empty one. */
export function showError(element, text) {
  setText(element, text || "");
  element.hidden = !text;
}

/** Tell screen readers. */
export function announce(text) {
  find("announcer").textContent = text;
}

/** Ask in a dialog; the value of the chosen button, or "" if it is dismissed. */
export function ask(question, choices) {
  const dialog = find("question");
  find("question-text").textContent = question;
  const buttons = choices.map(([value, label, kind]) => h("button", { value, class: kind }, label));
  find("question-buttons").replaceChildren(...buttons);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}

/** Call a function once, some time after the last of several calls. */
export function debounce(milliseconds, call) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(call, milliseconds, ...values);
  };
}
