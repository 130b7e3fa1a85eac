// A table of any number of rows of which only those in sight are in the page. Rows are found by search, in the order of a column.
import { h, replace } from "./dom.js";

const ROW = 40, SPARE = 8;

// `columns`: [{title, width, value(row), cell(row), num}]; `text(row)`: what the search looks at.
export function windowed({ label, columns, text, none }) {
  let rows = [], shown = [], sort = 0, down = false, words = "", frame = 0;
  const body = h("tbody"), heads = columns.map((column, i) => {
    const head = h("th", { scope: "col", class: column.num ? "num" : "" }, column.value ? h("button", { type: "button", onclick: () => order(i) }, column.title) : column.title);
    head.style.setProperty("width", column.width);
    return head;
  });
  const grid = h("table", h("caption.hidden", label), h("thead", h("tr", heads)), body);
  const view = h("div.window", { tabindex: "0", role: "region", "aria-label": label }, grid);
  view.addEventListener("scroll", () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); }); });

  function order(i) {
    down = sort === i && !down;
    sort = i;
    refresh();
  }

  function refresh() {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    shown = wanted.length ? rows.filter((row) => { const t = text(row).toLowerCase(); return wanted.every((w) => t.includes(w)); }) : rows.slice();
    const value = columns[sort].value, sign = down ? -1 : 1;
    shown.sort((a, b) => { const x = value(a), y = value(b); return x === y ? 0 : x === null ? 1 : y === null ? -1 : x < y ? -sign : sign; });
    heads.forEach((head, i) => (i === sort ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    grid.setAttribute("aria-rowcount", shown.length + 1);
    view.scrollTop = 0;
    draw();
  }

  function spacer(count) {
    const row = h("tr.spacer", { "aria-hidden": "true" }, h("td", { colspan: columns.length }));
    row.firstChild.style.setProperty("height", count * ROW + "px");
    return row;
  }

  function draw() {
    const from = Math.max(0, Math.floor(view.scrollTop / ROW) - SPARE), to = Math.min(shown.length, from + Math.ceil((view.clientHeight || 600) / ROW) + 2 * SPARE);
    const before = document.activeElement?.closest?.("tr.row")?.ariaRowIndex;
    replace(body, from ? spacer(from) : null,
      shown.slice(from, to).map((row, i) => h("tr.row", { "aria-rowindex": from + i + 2 }, columns.map((c) => h("td", { class: c.num ? "num" : "" }, c.cell(row))))),
      to < shown.length ? spacer(shown.length - to) : null,
      shown.length ? null : h("tr", h("td.muted", { colspan: columns.length }, none)));
    if (before) body.querySelector(`tr[aria-rowindex="${before}"] a`)?.focus({ preventScroll: true });
  }

  return {
    element: view,
    set(all) { rows = all; refresh(); },
    search(what) { words = what; refresh(); },
    get count() { return shown.length; },
  };
}
