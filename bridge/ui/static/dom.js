// Small helpers to build the page. Text always goes in as text, never as markup: names and messages come from strangers.

/** Make an element: `h("a", {href: "#/x", onclick: f}, "text", child)`. Attributes that are null or false are left out. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A table whose cells carry their column's name, so that a phone can show them as cards. `rows` are arrays of cells. */
export function table(columns, rows, caption) {
  const cells = (row) => row.map((cell, at) => {
    const label = columns[at];
    return h("td", {"data-label": label || null, class: label ? null : "actions"}, cell ?? "–");
  });
  return h("table", {"aria-label": caption},
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", {scope: "col"}, column)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, cells(row)))));
}

/** A list of names and values; absent values are left out. */
export function facts(pairs) {
  return h("dl", {}, Object.entries(pairs).filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** A form field with its label. */
export function field(label, attributes, ...options) {
  const {element = "input", ...rest} = attributes;
  return h("label", {}, label, h(element, rest, ...options));
}

/** A button that is busy, and cannot be pressed again, until what it does is done; failures are shown. */
export function button(text, action, kind = null) {
  const made = h("button", {type: "button", class: kind, onclick: async () => {
    made.disabled = true;
    try { await action(made); } catch (error) { complain(error); } finally { made.disabled = false; }
  }}, text);
  return made;
}

/** A form that calls `action(values, form)` when it is sent. */
export function form(attributes, action, ...children) {
  const made = h("form", {...attributes, onsubmit: async (event) => {
    event.preventDefault();
    const sender = made.querySelector("button[type=submit]");
    if (sender) sender.disabled = true;
    try { await action(Object.fromEntries(new FormData(made)), made); } catch (error) { complain(error); }
    finally { if (sender) sender.disabled = false; }
  }}, ...children);
  return made;
}

export const submit = (text) => h("button", {type: "submit"}, text);

/** Say something for a few seconds, also to screen readers. */
export function notice(text) {
  const shown = h("p", {}, text);
  document.getElementById("notices").append(shown);
  setTimeout(() => shown.remove(), 8000);
}

export const complain = (error) => { if (error.name !== "AbortError") notice(error.message || String(error)); };

/** Ask before something that cannot be taken back; resolves to whether it was confirmed. */
export function confirmed(question, verb) {
  return new Promise((resolve) => {
    const dialog = h("dialog", {"aria-label": question, onclose: () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    }}, h("form", {method: "dialog"}, h("p", {}, question), h("div", {class: "row"},
      h("button", {value: "no", class: "quiet", autofocus: true}, "Cancel"),
      h("button", {value: "yes", class: "danger"}, verb))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Buttons to turn the pages of a list by its cursors; `turn(cursor)` shows one, `shown(next)` is called with the next cursor. */
export function pager(turn) {
  let cursors = [null];
  const go = (text, change) => button(text, async () => { change(); await turn(cursors.at(-1)); }, "quiet");
  return {
    first: () => { cursors = [null]; },
    shown: (next) => h("p", {class: "row"}, cursors.length > 1 ? go("Previous", () => cursors.pop()) : null,
      next ? go("Next", () => cursors.push(next)) : null),
  };
}

const GOOD = new Set(["online", "active", "delivered", "available"]);
const BAD = new Set(["logged_out", "failed", "restricted", "conflict", "dead", "disabled", "expired"]);

/** A state as a coloured word; the colour says nothing that the word does not. */
export function pill(state) {
  const kind = GOOD.has(state) ? "good" : BAD.has(state) ? "bad" : "warn";
  return h("span", {class: `pill ${kind}`}, state.replaceAll("_", " "));
}

/** A time as a person says it; the exact one in the tooltip. */
export function when(text) {
  if (!text) return null;
  const at = new Date(text);
  const seconds = Math.round((at - Date.now()) / 1000);
  const [amount, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]]
    .map(([size, name]) => [Math.trunc(seconds / size), name]).find(([count]) => count !== 0) ?? [0, "second"];
  const words = new Intl.RelativeTimeFormat("en", {numeric: "auto"}).format(amount, unit);
  return h("time", {datetime: text, title: at.toLocaleString()}, words);
}
