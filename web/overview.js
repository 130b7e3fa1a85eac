// What serves now, live, and the last hour and day.
import { badge, bytes, card, duration, empty, h, ms, number, rate, replace, segments, shortVersion, table } from "./dom.js";
import { get, pages, session } from "./api.js";
import { live } from "./live.js";
import { chart } from "./charts.js";

function tile(label) {
  const value = h("b", "–"), more = h("em", " ");
  return { element: h("div.tile", h("span", label), value, more), set(text, note = "") { replace(value, text); replace(more, note || " "); } };
}

export async function render(root) {
  const parts = session.admin ? whole() : own();
  replace(root, h("div.title", h("h1", "Overview"), parts.title), parts.content);
  const ends = [live.listen((status) => status && parts.show(status)), await parts.start()];
  return () => ends.forEach((end) => end?.());
}

// ---- what everybody sees ----

function tilesOf(admin) {
  const tiles = {
    tokens: tile("Tokens per second"), running: tile(admin ? "Batch" : "Requests running"),
    queue: admin ? tile("Queue") : null, first: tile("Time to first token"), between: tile("Between tokens"), requests: tile("Requests per second"),
  };
  return {
    element: h("div.tiles", Object.values(tiles).map((t) => t?.element)),
    show(s) {
      const p = (l) => [ms(l.p50), l.count ? `p99 ${ms(l.p99)} · last minute` : "none in the last minute"];
      tiles.tokens.set(rate(s.rates.decode_tokens_per_s), admin ? `${rate(s.rates.prefill_tokens_per_s)} of prompts` : "over the last minute");
      tiles.running.set(admin ? [number(s.batch.running), h("small", ` of ${number(s.batch.running_max)}`)] : number(s.batch.running), admin ? "sequences" : "at this moment");
      tiles.queue?.set(number(s.batch.waiting), `of ${number(s.batch.waiting_max)} that may wait`);
      tiles.first.set(...p(s.latency_ms.first_token));
      tiles.between.set(...p(s.latency_ms.between_tokens));
      tiles.requests.set(rate(s.rates.requests_per_s), s.rates.errors_per_s > 0 ? `${rate(s.rates.errors_per_s)} failed or refused` : "none failed");
    },
  };
}

function runningCard(admin) {
  const body = h("div");
  let before = "";
  return {
    element: card("Running requests", body),
    show(s) {
      const text = JSON.stringify(s.running);
      if (text === before) return;
      before = text;
      if (!s.running.length) return replace(body, empty("Nothing runs", "Requests that are being answered appear here as they come."));
      replace(body, table("Running requests", [...(admin ? ["Tenant"] : []), "Adapter", "Version", "#Requests", "#Tokens in a minute"],
        s.running.map((r) => h("tr", admin ? h("td", r.tenant) : null,
          h("td", r.adapter === null ? badge("base") : r.adapter === "*" ? badge("several") : r.adapter), h("td.nowrap", h("code", r.version ? shortVersion(r.version) : "–")),
          h("td.num", number(r.requests)), h("td.num", number(r.tokens))))),
        s.running_more ? h("p.muted", `and ${number(s.running_more)} more`) : null);
    },
  };
}

function baseCard() {
  const list = h("dl");
  let before = "";
  return {
    element: card("Base model", list),
    show(s) {
      const b = s.base, rows = [["Model", b.model], ["Family", b.family], ["Precision", b.precision], ["Parameters", number(b.parameters)],
        ...(b.numeric ? [] : [["Context", `${number(b.context_length)} tokens`]]), [b.numeric ? "Outputs" : "Vocabulary", number(b.vocab_size)], ["adapterd", s.daemon.version],
        ...(s.daemon.uptime_s === undefined ? [] : [["Up for", duration(s.daemon.uptime_s)], ["Connections", number(s.daemon.connections)]])];
      const text = JSON.stringify(rows);
      if (text === before) return;
      before = text;
      replace(list, rows.map(([name, value]) => [h("dt", name), h("dd", value)]));
    },
  };
}

// ---- an admin's ----

function memoryCard() {
  const body = h("div.list");
  return {
    element: card("Memory", body),
    show(s) {
      const m = s.memory;
      const known = m.weights + m.kv_max + m.adapters + m.combined + m.training, other = Math.max(0, m.resident - m.weights - m.kv_used - m.adapters - m.combined - m.training);
      const parts = [["Base weights", m.weights, null, "--c1"], ["Keys and values", m.kv_used, m.kv_max, "--c2"], ["Adapters", m.adapters + m.combined, m.adapters_max, "--c3"],
        ["Training", m.training, m.training_max, "--c4"], ["Everything else", other, null, "--line-strong"]];
      const stack = h("div.stack", { role: "img", "aria-label": "Shares of the memory" });
      const sum = parts.reduce((total, part) => total + part[1], 0) || 1;
      for (const [, used, , colour] of parts) {
        if (!used) continue;
        const share = h("i");
        share.style.setProperty("width", (100 * used) / sum + "%");
        share.style.setProperty("background", `var(${colour})`);
        stack.append(share);
      }
      replace(body, h("div.legend", h("span", "Process ", h("b", bytes(m.resident))), h("span", "Budgets together ", h("b", bytes(known + m.adapters_max)))), stack,
        parts.map(([name, used, max, colour]) => {
          const key = h("i");
          key.style.setProperty("background", `var(${colour})`);
          return h("div.legend", h("span", key, name), h("span.at", h("b", bytes(used)), max === null ? "" : max ? ` of ${bytes(max)}` : " · off"));
        }));
    },
  };
}

function storedTiles() {
  const tiles = { tenants: tile("Tenants"), adapters: tile("Adapters"), versions: tile("Versions"), jobs: tile("Training jobs") };
  return {
    element: h("div.tiles", Object.values(tiles).map((t) => t.element)),
    show(s) {
      const bad = s.stored.broken + s.stored.other_base;
      tiles.tenants.set(number(s.stored.tenants));
      tiles.adapters.set(number(s.stored.adapters));
      tiles.versions.set(number(s.stored.versions), bad ? `${number(bad)} cannot be served` : "all can be served");
      tiles.jobs.set(number(s.stored.jobs_running), s.daemon.trains ? `${number(s.stored.jobs_waiting)} waiting` : "training is off");
    },
  };
}

// The hour is read once, and goes on with what the stream says.
function timeline() {
  const body = h("div.list");
  let span = "hour", history = null, charts = [];
  function draw() {
    charts.forEach((c) => c.destroy());
    charts = [];
    const ring = history?.[span];
    if (!ring || ring.points < 2) {
      const every = span === "hour" ? "every ten seconds" : "every five minutes";
      return replace(body, empty("Too early to tell", `The daemon notes how it is doing ${every}. The first lines appear after two of these.`));
    }
    const x = Array.from({ length: ring.points }, (_, i) => ring.end - (ring.points - 1 - i) * ring.every_s), c = ring.columns;
    charts = [
      chart({ title: "Tokens per second", x, times: true, format: rate, series: [
        { label: "generated", colour: "--c1", values: c.decode_tokens_per_s, fill: true }, { label: "of prompts", colour: "--c2", values: c.prefill_tokens_per_s }] }),
      chart({ title: "Latency", x, times: true, format: ms, series: [
        { label: "first token p50", colour: "--c1", values: c.first_token_ms_p50 }, { label: "p99", colour: "--c1", dash: [4, 3], values: c.first_token_ms_p99 },
        { label: "between tokens p50", colour: "--c3", values: c.between_tokens_ms_p50 }, { label: "p99", colour: "--c3", dash: [4, 3], values: c.between_tokens_ms_p99 }] }),
      chart({ title: "Requests running and waiting", x, times: true, format: (n) => String(Math.round(n * 100) / 100), height: 120, least: 1, series: [
        { label: "running", colour: "--c1", values: c.running, fill: true }, { label: "waiting", colour: "--c4", values: c.waiting }] }),
    ];
    replace(body, charts.map((one) => one.element));
  }
  async function refresh() {
    try { history = await get("/status/history"); } catch { return; }
    draw();
  }
  return {
    element: card(["Timeline", segments("Span", [["hour", "Last hour"], ["day", "Last day"]], span, (value) => { span = value; draw(); })], body),
    async start() {
      await refresh();
      const timer = setInterval(() => document.hidden || refresh(), 10000);
      return () => { clearInterval(timer); charts.forEach((c) => c.destroy()); };
    },
  };
}

function whole() {
  const warning = h("div"), title = h("span");
  const tiles = tilesOf(true), running = runningCard(true), base = baseCard(), memory = memoryCard(), stored = storedTiles(), line = timeline();
  return {
    title,
    content: [warning, tiles.element, h("div.grid.wide", line.element, h("div.stacked", base.element, memory.element)), running.element, stored.element],
    start: line.start,
    show(s) {
      const words = s.daemon.storage_failed ? "The disk reported an error: the daemon is about to end." : s.daemon.registry_replaced ? "registry.db was changed by another program: no change is accepted until a restart."
        : s.daemon.draining ? "The daemon is stopping and takes no new requests." : "";
      replace(warning, words ? h("div.note.warn", { role: "alert" }, words) : null);
      warning.hidden = !words;
      for (const part of [tiles, running, base, memory, stored]) part.show(s);
    },
  };
}

// ---- a tenant's ----

export function byDay(rows, days = 30) {
  const labels = [], sums = {};
  for (let i = days - 1; i >= 0; i--) labels.push(new Date(Date.now() - i * 86400000).toISOString().slice(0, 10));
  for (const label of labels) sums[label] = { requests: 0, errors: 0, prompt_tokens: 0, completion_tokens: 0, cached_tokens: 0, trained_tokens: 0 };
  for (const row of rows) for (const name of Object.keys(sums[row.day] || {})) sums[row.day][name] += row[name];
  return { labels, x: labels.map((day) => Date.parse(day) / 1000), values: (name) => labels.map((day) => sums[day][name]) };
}

function own() {
  const tiles = tilesOf(false), running = runningCard(false), base = baseCard(), body = h("div");
  return {
    title: null,
    content: [tiles.element, h("div.grid.wide", card("Tokens by day", body), base.element), running.element],
    async start() {
      const from = new Date(Date.now() - 29 * 86400000).toISOString().slice(0, 10);
      const rows = await pages("/usage", { query: { from }, most: 20000 });
      if (!rows.length) return void replace(body, empty("No usage yet", "Tokens of prompts and answers are counted by day from the first request on.", h("a.button", { href: "#/playground" }, "Try the playground")));
      const days = byDay(rows);
      const c = chart({ title: "Tokens by day", x: days.x, times: true, format: number, series: [
        { label: "answers", colour: "--c1", values: days.values("completion_tokens"), points: true }, { label: "prompts", colour: "--c2", values: days.values("prompt_tokens"), points: true }] });
      replace(body, c.element);
      return c.destroy;
    },
    show(s) { for (const part of [tiles, running, base]) part.show(s); },
  };
}
