// Tenants, their keys, quotas and usage; and who changed what.
import { ask, badge, bytes, card, copyButton, empty, field, h, icon, number, problem, replace, segments, shortDigests, table, time, toast } from "./dom.js";
import { get, pages, patch, post, remove, save, session } from "./api.js";
import { chart } from "./charts.js";
import { byDay } from "./overview.js";
import { windowed } from "./window.js";

const QUOTAS = [["adapters_max", "Adapters", 100000], ["adapter_bytes_max", "Bytes of adapters"], ["files_bytes_max", "Bytes of files"], ["tokens_per_minute", "Tokens per minute", 1e9], ["requests_in_flight_max", "Requests in flight", 100000],
  ["training_jobs_max", "Training jobs", 1000], ["training_tokens_per_day", "Trained tokens per day"], ["training_rank_max", "Rank in training", 1024], ["weight", "Weight", 1000]];

export async function render(root, { rest, query }) {
  if (rest[0]) return one(root, rest[0]);
  return all(root, query);
}

// ---- all of them ----

const columns = [
  { title: "Tenant", width: "240px", value: (t) => t.id, cell: (t) => h("a", { href: "#/tenants/" + t.id }, t.id) },
  { title: "Adapters", width: "100px", num: true, value: (t) => t.adapters, cell: (t) => number(t.adapters) },
  { title: "Stored", width: "110px", num: true, value: (t) => t.adapter_bytes, cell: (t) => bytes(t.adapter_bytes) },
  { title: "Default adapter", width: "180px", value: (t) => t.default_adapter, cell: (t) => t.default_adapter || "–" },
  { title: "Quotas", width: "170px", value: (t) => Object.values(t.quota).filter((v) => v !== null).length, cell: (t) => { const set = Object.values(t.quota).filter((v) => v !== null).length; return set ? badge(`${set} set`) : h("span.muted", "none"); } },
  { title: "Created", width: "200px", value: (t) => t.created, cell: (t) => time(t.created) },
];

async function all(root) {
  const stop = new AbortController(), body = h("div"), count = h("small.muted", { role: "status" }), said = h("div");
  const rows = windowed({ label: "Tenants", columns, none: "No tenant matches.", text: (t) => t.id });
  const search = h("input", { type: "search", placeholder: "Name", "aria-label": "Search tenants", oninput: () => rows.search(search.value) });
  const id = h("input", { placeholder: "acme", pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", maxlength: 64, required: true, "aria-label": "Id of a new tenant" });
  async function load() {
    const found = await pages("/tenants", { signal: stop.signal });
    count.textContent = found.length ? number(found.length) : "";
    if (found.length) { replace(body, rows.element); rows.set(found); } else replace(body, empty("No tenants yet", "A tenant has its own adapters, keys, quotas and usage, and sees nothing of others."));
  }
  const create = h("form.actions", { onsubmit: async (event) => {
    event.preventDefault();
    try {
      await post("/tenants", { id: id.value });
      await session.ontenants();
      location.hash = "#/tenants/" + id.value;
    } catch (error) { replace(said, problem(error)); }
  } }, id, h("button.primary", icon("plus"), "Create"));
  const audit = auditTrail({});
  replace(root, h("div.title", h("h1", "Tenants"), count, h("div.push"), search, create), said, body, audit.element);
  await Promise.all([load(), audit.load()]);
  return () => stop.abort();
}

// ---- who changed what ----

function auditTrail(query) {
  const body = h("tbody"), more = h("button", { type: "button", hidden: true, onclick: () => load() }, "Older");
  let after;
  async function load() {
    const page = await get("/audit", { query: { ...query, order: "newest", limit: 25, after } });
    after = page.next;
    more.hidden = !after;
    body.append(...page.data.map((a) => h("tr", h("td.nowrap", time(a.time)), h("td.nowrap", h("code", a.actor), a.actor_tenant ? ` of ${a.actor_tenant}` : ""), h("td.nowrap", a.action), h("td", a.tenant), h("td.nowrap", a.target), h("td", h("small.mono.wrap", { title: a.detail }, shortDigests(a.detail))))));
    if (!body.childElementCount) body.append(h("tr", h("td.muted", { colspan: 6 }, "Nothing was changed yet.")));
  }
  return {
    load,
    element: card("Audit trail", h("div.scroll", { tabindex: "0", role: "region", "aria-label": "Audit trail" }, h("table", h("thead", h("tr", ["When", "Who", "What", "Tenant", "On", "Detail"].map((x) => h("th", { scope: "col" }, x)))), body)), h("div.actions", more)),
  };
}

// ---- one ----

async function one(root, id) {
  const stop = new AbortController(), keysBody = h("div.list"), quotaBody = h("div"), usageBody = h("div.list"), said = h("div", { "aria-live": "polite" });
  let tenant = await get("/tenants/" + id), plot = null;

  // ---- keys ----
  async function keys() {
    const found = await pages(`/tenants/${id}/keys`, { signal: stop.signal });
    replace(keysBody, found.length ? table("Keys", ["Key", "Label", "Created", "Last used", "State", ""], found.map((k) => h("tr", h("td", h("code", k.kid)), h("td", k.label || "–"), h("td.nowrap", time(k.created)), h("td.nowrap", time(k.last_used)),
      h("td", k.revoked ? badge("revoked") : k.expires_at ? (new Date(k.expires_at) < new Date() ? badge("expired") : [badge("ends ", "warn"), time(k.expires_at)]) : badge("in force", "good")),
      h("td", k.revoked ? null : h("div.actions.end", h("button.small", { type: "button", onclick: async () => shown(await post(`/tenants/${id}/keys/${k.kid}/rotate`, {}), "The old one goes on for an hour.") }, "Rotate"),
        h("button.small.danger", { type: "button", onclick: () => revoke(k) }, "Revoke")))))) : empty("No keys", "A tenant asks with a key. It is shown once, when it is made."));
  }
  async function revoke(k) {
    if (!(await ask(`Revoke ${k.kid}?`, `${k.label || "The key"} stops working at once. What runs goes on to its end.`, "Revoke"))) return;
    await remove(`/tenants/${id}/keys/${k.kid}`);
    toast("The key is revoked.");
    await keys();
  }
  function shown(made, more = "") {
    const text = h("input.mono", { value: made.key, readonly: true, "aria-label": "The new key", onfocus: () => text.select() });
    replace(said, h("div.note.good", h("strong", "The key, shown this once. "), more, h("div.actions", text, copyButton(made.key))));
    text.style.setProperty("flex", "1 1 320px");
    keys();
  }
  const label = h("input", { placeholder: "what it is for", maxlength: 128, "aria-label": "Label of a new key" });
  const make = h("form.actions", { onsubmit: async (event) => {
    event.preventDefault();
    try { shown(await post(`/tenants/${id}/keys`, { label: label.value })); label.value = ""; } catch (error) { replace(said, problem(error)); }
  } }, label, h("button.primary", icon("plus"), "Create a key"));

  // ---- quotas, with what is used of them ----
  async function quotas() {
    const today = new Date().toISOString().slice(0, 10), [rows, files, jobs] = await Promise.all([pages("/usage", { query: { tenant: id, from: today } }),
      pages("/v1/files", { query: { tenant: id } }), get("/v1/fine_tuning/jobs", { query: { tenant: id, limit: 100 } })]);
    const used = { adapters_max: tenant.adapters, adapter_bytes_max: tenant.adapter_bytes, files_bytes_max: files.reduce((sum, f) => sum + f.bytes, 0), training_tokens_per_day: rows.reduce((sum, r) => sum + r.trained_tokens, 0),
      training_jobs_max: jobs.data.filter((j) => ["queued", "running", "validating_files"].includes(j.status)).length };
    const inputs = Object.fromEntries(QUOTAS.map(([name, , max]) => [name, h("input", { type: "number", min: ["adapters_max", "adapter_bytes_max", "files_bytes_max", "training_jobs_max", "training_tokens_per_day"].includes(name) ? 0 : 1, max, placeholder: name === "weight" ? "100" : "no limit", value: tenant.quota[name] ?? "" })]));
    replace(quotaBody, h("form.list", { onsubmit: async (event) => {
      event.preventDefault();
      try {
        tenant = await patch("/tenants/" + id, { quota: Object.fromEntries(QUOTAS.map(([name]) => [name, inputs[name].value === "" ? null : Number(inputs[name].value)])) });
        toast("The quotas are in force.");
        await quotas();
      } catch (error) { toast(error.message, "bad"); }
    } }, h("div.fields", QUOTAS.map(([name, text]) => {
      const amount = name.includes("bytes") ? bytes : number, limit = tenant.quota[name];
      const bar = h("i", { class: limit && used[name] / limit > 0.9 ? "warn" : "" });
      if (limit) bar.style.setProperty("width", Math.min(100, (100 * used[name]) / limit) + "%");
      return h("div.meter", field(text, inputs[name]), used[name] === undefined ? null : h("small", `${amount(used[name])} used`, limit ? ` of ${amount(limit)}` : ""), used[name] === undefined || !limit ? null : h("div.bar", bar));
    })), h("div.actions", h("button.primary", "Save quotas"))));
  }

  // ---- usage ----
  async function usage(days) {
    const from = new Date(Date.now() - (days - 1) * 86400000).toISOString().slice(0, 10), rows = await pages("/usage", { query: { tenant: id, from }, signal: stop.signal });
    plot?.destroy();
    plot = null;
    const csv = h("button", { type: "button", disabled: !rows.length, onclick: () => save(toCsv(rows), `usage-${id}-${from}.csv`, "text/csv") }, icon("download"), "CSV");
    const bar = h("div.actions", segments("Days", [[7, "7 days"], [30, "30 days"], [90, "90 days"]], days, usage), h("div.push"), csv);
    if (!rows.length) return replace(usageBody, bar, empty("No usage", "Nothing was asked in these days."));
    const by = byDay(rows, days), sum = (name) => by.values(name).reduce((a, b) => a + b, 0), names = new Map();
    for (const r of rows) { const key = r.adapter || "base"; names.set(key, (names.get(key) || 0) + r.prompt_tokens + r.completion_tokens); }
    plot = chart({ title: "Tokens by day", x: by.x, times: true, format: number, series: [{ label: "answers", colour: "--c1", values: by.values("completion_tokens"), points: true }, { label: "prompts", colour: "--c2", values: by.values("prompt_tokens"), points: true },
      { label: "trained", colour: "--c4", values: by.values("trained_tokens"), points: true }] });
    replace(usageBody, bar, h("div.tiles", [["Requests", sum("requests"), `${number(sum("errors"))} failed or refused`], ["Prompts", sum("prompt_tokens"), `${number(sum("cached_tokens"))} cached`], ["Answers", sum("completion_tokens"), "tokens"], ["Trained", sum("trained_tokens"), "tokens"]]
      .map(([text, value, note]) => h("div.tile", h("span", text), h("b", number(value)), h("em", note)))), plot.element,
    table("Tokens by adapter", ["Adapter", "#Tokens"], [...names].sort((a, b) => b[1] - a[1]).slice(0, 10).map(([name, tokens]) => h("tr", h("td", name === "*" ? "several at once" : name), h("td.num", number(tokens))))));
  }

  async function drop() {
    if (!(await ask(`Delete ${id}?`, `Its ${number(tenant.adapters)} adapters, its files and keys go with it, at once.`, "Delete the tenant"))) return;
    await remove("/tenants/" + id);
    if (session.tenant === id) session.tenant = "";
    await session.ontenants();
    toast(`${id} is deleted.`);
    location.hash = "#/tenants";
  }

  const audit = auditTrail({ tenant: id });
  replace(root, h("div.title", h("a.button", { href: "#/tenants", "aria-label": "Back to all tenants" }, icon("back")), h("h1", id), h("div.push"),
    h("button", { type: "button", onclick: async () => { session.tenant = id; await session.ontenants(); location.hash = "#/adapters"; } }, "Show its adapters"), h("button.danger", { type: "button", onclick: drop }, "Delete")),
  card("Keys", make, said, keysBody), card("Quotas", quotaBody), card("Usage", usageBody), audit.element);
  await Promise.all([keys(), quotas(), usage(30), audit.load()]);
  return () => { stop.abort(); plot?.destroy(); };
}

// Cells that a spreadsheet would take for a formula are texts.
function toCsv(rows) {
  const names = ["day", "tenant", "adapter", "version", "requests", "errors", "prompt_tokens", "completion_tokens", "cached_tokens", "trained_tokens"];
  const cell = (value) => { const text = String(value ?? ""); return /[",\n]|^[=+\-@]/.test(text) ? `"${/^[=+\-@]/.test(text) ? "'" : ""}${text.replaceAll('"', '""')}"` : text; };
  return [names.join(","), ...rows.map((r) => names.map((n) => cell(r[n])).join(","))].join("\n") + "\n";
}
