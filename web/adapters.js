// All adapters of a tenant.
import { badge, bytes, card, empty, h, icon, number, replace, shortVersion, time } from "./dom.js";
import { pages } from "./api.js";
import { windowed } from "./window.js";
import { uploader } from "./upload.js";

export async function render(root, { rest }) {
  if (rest[0]) return (await import("./adapter.js")).render(root, rest[0]);
  return list(root);
}

export const stateBadge = (state) => (state === null || state === undefined ? badge("not active") : state === "ready" ? badge("ready", "good") : badge(state.replace("_", " "), "bad"));

const columns = [
  { title: "Name", width: "220px", value: (a) => a.name, cell: (a) => [h("a", { href: "#/adapters/" + a.name, title: a.name }, a.name), a.pinned ? [" ", badge("pinned", "accent")] : null] },
  { title: "Version", width: "118px", value: (a) => a.version, cell: (a) => h("code", shortVersion(a.version)) },
  { title: "State", width: "112px", value: (a) => (a.expired ? "expired" : a.state), cell: (a) => (a.expired ? badge("expired", "warn") : stateBadge(a.state)) },
  { title: "Rank", width: "70px", num: true, value: (a) => a.rank_max ?? null, cell: (a) => number(a.rank_max) },
  { title: "Size", width: "90px", num: true, value: (a) => a.bytes ?? null, cell: (a) => bytes(a.bytes) },
  { title: "Versions", width: "90px", num: true, value: (a) => a.versions, cell: (a) => number(a.versions) },
  { title: "Effect", width: "90px", num: true, value: (a) => a.proof?.max_logit_change ?? null, cell: (a) => (a.proof ? a.proof.max_logit_change.toFixed(2) : "–") },
  { title: "Labels", width: "200px", cell: (a) => h("span.badges", Object.entries(a.labels).map(([k, v]) => badge(v ? `${k}: ${v}` : k))) },
  { title: "Created", width: "180px", value: (a) => a.created, cell: (a) => time(a.created) },
];

async function list(root) {
  const stop = new AbortController(), count = h("small.muted", { role: "status" }), body = h("div");
  const search = h("input", { type: "search", placeholder: "Name or label", "aria-label": "Search adapters" });
  const rows = windowed({ label: "Adapters", columns, none: "No adapter matches.", text: (a) => a.name + " " + Object.entries(a.labels).map(([k, v]) => k + ":" + v).join(" ") });
  const form = h("div", { hidden: true });
  const button = h("button.primary", { type: "button", "aria-expanded": "false", onclick: () => show(form.hidden) }, icon("upload"), "Upload");
  let timer = 0, all = [];

  function show(open) {
    if (open && !form.firstChild) form.append(card("Upload", uploader(() => load())));
    form.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
  }
  function say() {
    count.textContent = all.length ? (rows.count === all.length ? number(all.length) : `${number(rows.count)} of ${number(all.length)}`) : "";
  }
  async function load() {
    all = await pages("/adapters", { scoped: true, signal: stop.signal, onpage: (some, page) => { if (page.next) count.textContent = `${number(some.length)}, reading on…`; } });
    if (!all.length) {
      replace(body, empty("No adapters yet", "Upload what PEFT's save_pretrained wrote, or train one from examples.", h("a.button", { href: "#/fine-tune" }, "Fine-tune")));
      show(true);
    } else {
      replace(body, rows.element);
      rows.set(all);
    }
    say();
  }
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => { rows.search(search.value); say(); }, 120); });
  replace(root, h("div.title", h("h1", "Adapters"), count, h("div.push"), search, button), form, body);
  await load();
  return () => stop.abort();
}
