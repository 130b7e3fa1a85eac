// Elements and texts. Data becomes text nodes and attributes only, never markup.

// h("div.card", {onclick, title, ...}, children...): an element. Children are nodes, texts, arrays; null and false are nothing.
export function h(what, attributes, ...children) {
  const [tag, ...classes] = what.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  if (attributes && (typeof attributes !== "object" || attributes instanceof Node || Array.isArray(attributes))) {
    children.unshift(attributes);
    attributes = null;
  }
  for (const [name, value] of Object.entries(attributes || {})) setAttribute(element, name, value);
  append(element, children);
  return element;
}

function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (name === "class") element.className += (element.className ? " " : "") + value;
  else if (["value", "checked", "disabled", "selected", "hidden", "indeterminate"].includes(name)) element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

const PATHS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  adapters: "M12 3 3 8l9 5 9-5-9-5ZM3 13l9 5 9-5",
  train: "M4 19V5m0 14h16M7 9c3 0 3 7 6 7s4-2 7-3",
  playground: "M4 5h16v11H9l-5 4V5Z",
  tenants: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6 9c0-3.5 2.5-6 6-6s6 2.5 6 6m1-9a3 3 0 1 0-1-5.8M21 20c0-3-1.5-5-4-5.7",
  upload: "M12 16V4m0 0-5 5m5-5 5 5M4 17v3h16v-3",
  download: "M12 4v12m0 0 5-5m-5 5-5-5M4 20h16",
  pin: "m9 4 6 0-1 6 3 3H7l3-3-1-6Zm3 9v7",
  close: "m6 6 12 12M18 6 6 18",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14Zm5-2 5 5",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm0-13v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  auto: "M12 4a8 8 0 1 0 0 16V4Zm0 0a8 8 0 0 1 0 16",
  out: "M10 4H5v16h5m4-12 4 4-4 4m4-4H9",
  check: "m5 12 5 5 9-10",
  alert: "M12 4 2.5 20h19L12 4Zm0 6v4m0 3v.5",
  play: "M7 5v14l11-7L7 5Z",
  stop: "M6 6h12v12H6z",
  plus: "M12 5v14M5 12h14",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  back: "m14 6-6 6 6 6",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

// ---- numbers, times ----

const whole = new Intl.NumberFormat("en");

export const number = (n) => (n === null || n === undefined ? "–" : whole.format(Math.round(n)));

export function rate(n) {
  if (n === null || n === undefined) return "–";
  return n >= 100 ? whole.format(Math.round(n)) : n >= 10 ? n.toFixed(1) : n.toFixed(n === 0 ? 0 : 2);
}

export function ms(n) {
  if (n === null || n === undefined) return "–";
  if (n >= 10000) return (n / 1000).toFixed(0) + " s";
  if (n >= 1000) return (n / 1000).toFixed(1) + " s";
  return n.toFixed(n < 10 && n > 0 ? 1 : 0) + " ms";
}

export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
  return (i === 0 || n >= 100 ? n.toFixed(0) : n.toFixed(1)) + " " + units[i];
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return Math.round(seconds) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + " h";
  return Math.round(seconds / 86400) + " days";
}

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

// `when`: ISO text or seconds since 1970.
export function time(when) {
  if (!when) return "–";
  const date = new Date(typeof when === "number" ? when * 1000 : when);
  return h("time", { datetime: date.toISOString(), title: date.toISOString() }, dateTime.format(date));
}

export const shortVersion = (v) => (v ? v.replace("sha256:", "").slice(0, 10) : "–");

export const shortDigests = (text) => text.replace(/(?:sha256:)?([0-9a-f]{10})[0-9a-f]{54}/g, "$1…");

// ---- small parts ----

export function field(label, input, help) {
  const id = input.id || (input.id = "f" + Math.random().toString(36).slice(2, 9));
  const note = help ? h("small", { id: id + "-help" }, help) : null;
  if (note) input.setAttribute("aria-describedby", note.id);
  return h("div.field", h("label", { for: id }, label), input, note);
}

export function select(options, value, onchange, attributes) {
  return h("select", { onchange: (event) => onchange(event.target.value), ...attributes },
    options.map(([v, text]) => h("option", { value: v, selected: v === value }, text)));
}

// One choice of a few, as buttons that know which of them is pressed.
export function segments(label, options, value, onchange) {
  const group = h("div.segments", { role: "group", "aria-label": label });
  for (const [v, text] of options) {
    const button = h("button", { type: "button", "aria-pressed": String(v === value) }, text);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      onchange(v);
    });
    group.append(button);
  }
  return group;
}

export function badge(text, kind) {
  return h("span.badge", { class: kind || "" }, text);
}

export function empty(title, text, ...actions) {
  return h("div.empty", h("strong", title), h("p", text), actions.length ? h("div.actions", actions) : null);
}

// An error as the daemon said it: what it is about, what was expected and found, what to do.
export function problem(error) {
  return h("div.problem", { role: "alert" }, icon("alert"),
    h("div", h("strong", error.message || String(error)),
      error.param ? h("p", "About: ", h("code", error.param)) : null,
      error.hint ? h("p", error.hint) : null,
      error.code ? h("p.muted", h("code", error.code)) : null));
}

export function card(title, ...content) {
  const [heading, actions] = Array.isArray(title) ? title : [title, null];
  return h("section.card", h("header", h("h2", heading), actions), content);
}

export function copyButton(text, label = "Copy") {
  const button = h("button.quiet", { type: "button" }, icon("copy"), h("span", label));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      button.lastChild.textContent = "Copied";
    } catch {
      button.lastChild.textContent = "Select and copy by hand";
    }
    setTimeout(() => (button.lastChild.textContent = label), 1500);
  });
  return button;
}

// Asks in a dialog; resolves to true, or false.
export function ask(title, text, action, danger = true) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title },
      h("form", { method: "dialog" }, h("h2", title), h("p", text),
        h("div.actions.end",
          h("button", { value: "no", autofocus: true }, "Cancel"),
          h("button", { value: "yes", class: danger ? "danger" : "primary" }, action))));
    dialog.addEventListener("close", () => { resolve(dialog.returnValue === "yes"); dialog.remove(); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

let toasts = null;

// Says that something was done; read aloud, too.
export function toast(text, kind = "") {
  if (!toasts) document.body.append(toasts = h("div.toasts", { role: "status", "aria-live": "polite" }));
  const line = h("div.toast", { class: kind }, icon(kind === "bad" ? "alert" : "check"), text);
  toasts.append(line);
  setTimeout(() => line.remove(), kind === "bad" ? 8000 : 4000);
}

export function table(caption, heads, rows) {
  return h("div.scroll", { tabindex: "0", role: "region", "aria-label": caption },
    h("table", h("caption.hidden", caption),
      h("thead", h("tr", heads.map((head) => h("th", { scope: "col", class: head.startsWith("#") ? "num" : "" }, head.replace("#", ""))))),
      h("tbody", rows)));
}
