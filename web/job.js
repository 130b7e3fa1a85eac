// A job while it runs and afterwards; and runs side by side.
import { ask, badge, card, duration, empty, h, icon, number, problem, replace, shortDigests, shortVersion, table, time, toast } from "./dom.js";
import { download, events, get, patch, post } from "./api.js";
import { chart } from "./charts.js";
import { isOver, statusBadge } from "./finetune.js";

const loss = (n) => (n === null || n === undefined ? "–" : n < 0.01 && n > 0 ? n.toExponential(1) : n.toFixed(3));

// What the events of a job tell, as columns.
function ledger() {
  const steps = [], train = [], valid = [], norm = [];
  const at = (step) => {
    let i = steps.length;
    while (i > 0 && steps[i - 1] > step) i--;
    if (i > 0 && steps[i - 1] === step) return i - 1;
    for (const [column, value] of [[steps, step], [train, null], [valid, null], [norm, null]]) column.splice(i, 0, value);
    return i;
  };
  return {
    steps, train, valid, norm, last: null, samples: null, messages: [],
    take(event) {
      const d = event.data;
      if (d?.train_loss !== undefined) { const i = at(d.step); train[i] = d.train_loss; norm[i] = d.grad_norm ?? null; this.last = d; }
      if (d?.valid_loss !== undefined) valid[at(d.step)] = d.valid_loss;
      if (d?.samples) this.samples = d.samples;
      if (event.type !== "metrics") this.messages.push(event);
    },
  };
}

function lossChart(book, title = "Loss") {
  return chart({ title, x: book.steps, format: loss, xLabel: "step", height: 240, series: [
    { label: "training", colour: "--c1", values: book.train }, { label: "validation", colour: "--c3", values: book.valid, points: true }] });
}

export async function show(root, id) {
  const path = "/v1/fine_tuning/jobs/" + id, stop = new AbortController(), book = ledger();
  let job = await get(path, { scoped: true }), plot = null, dirty = false;
  const head = h("div.title"), numbers = h("div.tiles"), curves = h("div"), log = h("div"), after = h("div.stacked"), facts = h("div.stacked");

  const act = (what, done) => async () => {
    if (what === "cancel" && !(await ask("Cancel this job?", "Nothing of it stays but its rows: no version is made.", "Cancel the job"))) return;
    try { job = await post(`${path}/${what}`, {}, { scoped: true }); toast(done); } catch (error) { toast(error.message, "bad"); }
    drawHead();
  };

  async function use() {
    try {
      await patch("/adapters/" + job.adapter, { version: job.version }, { scoped: true });
      toast(`${job.adapter} is version ${shortVersion(job.version)} from now on.`);
      location.hash = "#/playground?adapter=" + encodeURIComponent(job.adapter);
    } catch (error) { toast(error.message, "bad"); }
  }

  function drawHead() {
    replace(head, h("a.button", { href: "#/fine-tune", "aria-label": "Back to all jobs" }, icon("back")), h("h1", job.adapter), statusBadge(job.status), h("small.mono", job.id), h("div.push"),
      ["queued", "running", "validating_files"].includes(job.status) ? h("button", { type: "button", onclick: act("pause", "Paused; its state is on the disk.") }, "Pause") : null,
      job.status === "paused" ? h("button.primary", { type: "button", onclick: act("resume", "It goes on.") }, icon("play"), "Resume") : null,
      isOver(job) ? null : h("button.danger", { type: "button", onclick: act("cancel", "Cancelled.") }, icon("stop"), "Cancel"),
      job.status === "succeeded" && job.version ? [h("a.button", { href: "#/adapters/" + job.adapter }, "Show the adapter"), h("button.primary", { type: "button", onclick: use }, icon("check"), "Use it")] : null);
    const config = { ...job.lora, ...job.training };
    replace(facts, card("Job", job.error?.message ? problem(job.error) : null, h("dl",
      [["Trained on", job.model], ["File", h("code", job.training_file)], ["Its SHA-256", h("code", (job.training_file_digest || "").slice(0, 23) + "…")], ["Validation", job.validation_file ? h("code", job.validation_file) : "none"],
        ["Version", job.version ? h("code", shortVersion(job.version)) : "–"], ["Seed", String(job.seed)], ["Created", time(job.created_at)], ["Started", time(job.started_at)], ["Finished", time(job.finished_at)]].map(([k, v]) => [h("dt", k), h("dd", v)])),
    h("details", h("summary", "Configuration"), h("dl", Object.entries(config).filter(([, v]) => v !== null && typeof v !== "object").map(([k, v]) => [h("dt", h("code", k)), h("dd", String(v))]))),
    job.result_files?.length ? h("button", { type: "button", onclick: () => download(`/v1/files/${job.result_files[0]}/content`, `${job.adapter}-${job.id}.csv`, { scoped: true }) }, icon("download"), "Curve as CSV") : null));
  }

  function drawNumbers() {
    const d = book.last, valid = book.valid.filter((v) => v !== null);
    const left = job.status === "running" && d?.estimated_finish ? Math.max(0, d.estimated_finish - Date.now() / 1000) : null;
    replace(numbers, [["Step", d ? `${number(d.step)} / ${number(d.total_steps)}` : job.steps ? `${number(job.step)} / ${number(job.steps)}` : "–", d?.epoch !== undefined ? `epoch ${d.epoch.toFixed(2)}` : ""],
      ["Training loss", loss(d?.train_loss), d?.train_accuracy !== undefined && d?.train_accuracy !== null ? `${(100 * d.train_accuracy).toFixed(1)} % of tokens right` : ""], ["Validation loss", loss(valid.at(-1)), valid.length > 1 ? `best ${loss(Math.min(...valid))}` : ""],
      ["Tokens per second", number(d?.tokens_per_second), `${number(job.trained_tokens)} trained`], [isOver(job) ? "Took" : "Left", isOver(job) ? duration(job.finished_at && job.started_at ? job.finished_at - job.started_at : null) : duration(left), ""]]
      .map(([label, value, note]) => h("div.tile", h("span", label), h("b", value), h("em", note || " "))));
    if (book.steps.length && !plot) replace(curves, (plot = lossChart(book)).element);
    else if (plot) plot.update(book.steps, [book.train, book.valid]);
    else replace(curves, empty("No step yet", job.status === "queued" ? "The job waits for its turn." : "The curve begins with the first step."));
    replace(log, table("What the job said", ["When", "What"], book.messages.slice(-60).reverse().map((e) => h("tr", h("td.nowrap", time(e.created_at)), h("td", e.level === "error" ? badge("error", "bad") : null, " ", shortDigests(e.message))))));
    if (book.samples?.length) replace(after, card("Before and after", h("p.muted", "Up to three validation prompts, as base and adapter answer them."), book.samples.map((s) => h("div.list", h("pre", s.prompt),
      h("div.compare", [["Base", s.base], ["Adapter", s.adapter], ["Expected", s.expected]].map(([label, text]) => h("div.answer", h("h3", label), h("div.text", text))))))));
  }

  replace(root, head, numbers, h("div.grid.wide", h("div.stacked", card("Loss", curves), after, card("Events", log)), facts));
  drawHead();
  drawNumbers();
  const timer = setInterval(() => { if (dirty) { dirty = false; drawNumbers(); } }, 250);

  async function follow() {
    for (let last, tries = 0; !stop.signal.aborted; tries++) {
      try {
        for await (const event of events("GET", path + "/events", { scoped: true, query: { stream: "true", after: last }, signal: stop.signal })) {
          if (event.data === "[DONE]") { job = await get(path, { scoped: true }); drawHead(); dirty = true; return; }
          const one = JSON.parse(event.data);
          last = one.id;
          book.take(one);
          dirty = true;
          if (one.type !== "metrics") { job = await get(path, { scoped: true }); drawHead(); }
        }
      } catch (error) { if (error.name === "AbortError" || error.status) return; }
      await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 500 * 2 ** tries)));
    }
  }
  follow();
  return () => { clearInterval(timer); stop.abort(); plot?.destroy(); };
}

// ---- side by side ----

async function allEvents(id) {
  const book = ledger();
  for (let after, turn = 0; turn < 20; turn++) {
    const page = await get(`/v1/fine_tuning/jobs/${id}/events`, { scoped: true, query: { limit: 1000, after } });
    page.data.reverse().forEach((e) => book.take(e));
    after = page.next;
    if (!after) break;
  }
  return book;
}

export async function compare(root, ids) {
  const runs = await Promise.all(ids.slice(0, 4).map(async (id) => ({ job: await get("/v1/fine_tuning/jobs/" + id, { scoped: true }), book: await allEvents(id) })));
  const x = [...new Set(runs.flatMap((r) => r.book.steps))].sort((a, b) => a - b);
  const column = (book, name) => { const by = new Map(book.steps.map((s, i) => [s, book[name][i]])); return x.map((s) => by.get(s) ?? null); };
  const make = (title, name, points) => chart({ title, x, xLabel: "step", format: loss, height: 220, series: runs.map((r, i) => ({ label: `${r.job.adapter} ${r.job.id.slice(6, 12)}`, colour: `--c${i + 1}`, values: column(r.book, name), points })) });
  const plots = [make("Training loss", "train", x.length < 60), make("Validation loss", "valid", true)];
  const flat = (job) => ({ model: job.model, file: job.training_file, seed: job.seed, ...job.lora, ...job.training, trained_tokens: job.trained_tokens, steps: job.steps, took: job.finished_at && job.started_at ? duration(job.finished_at - job.started_at) : "–" });
  const all = runs.map((r) => flat(r.job)), keys = [...new Set(all.flatMap(Object.keys))].filter((k) => all.some((one) => JSON.stringify(one[k]) !== JSON.stringify(all[0][k])));
  const best = (r) => Math.min(...r.book.valid.filter((v) => v !== null)), final = (r) => r.book.train.findLast((v) => v !== null);
  const row = (label, values) => h("tr", h("td", label), values.map((v) => h("td", v)));
  replace(root, h("div.title", h("a.button", { href: "#/fine-tune", "aria-label": "Back to all jobs" }, icon("back")), h("h1", "Compare runs")),
    h("div.grid", card("Training loss", plots[0].element), card("Validation loss", plots[1].element)),
    card("What differs", table("What differs", ["", ...runs.map((r) => r.job.adapter)], [
      row("Job", runs.map((r) => h("a", { href: "#/fine-tune/" + r.job.id }, r.job.id.slice(0, 14)))), row("Status", runs.map((r) => statusBadge(r.job.status))),
      row("Last training loss", runs.map((r) => loss(final(r)))), row("Best validation loss", runs.map((r) => (Number.isFinite(best(r)) ? loss(best(r)) : "–"))),
      ...keys.map((k) => row(h("code", k), all.map((one) => (one[k] === null || one[k] === undefined ? "–" : typeof one[k] === "object" ? JSON.stringify(one[k]) : String(one[k])))))])));
  return () => plots.forEach((p) => p.destroy());
}
