// Jobs and files; a new job; one job; several side by side.
import { badge, card, duration, empty, field, h, icon, number, problem, replace, select, table, time, toast } from "./dom.js";
import { get, post } from "./api.js";
import { live } from "./live.js";
import { filesTable, list as listFiles, preview, sender } from "./files.js";

export async function render(root, { rest, query }) {
  if (rest[0] === "new") return create(root, query);
  if (rest[0] === "compare") return (await import("./job.js")).compare(root, (query.get("ids") || "").split(",").filter(Boolean));
  if (rest[0]) return (await import("./job.js")).show(root, rest[0]);
  return overview(root);
}

const KINDS = { succeeded: "good", failed: "bad", cancelled: "", running: "accent", queued: "", validating_files: "", paused: "warn" };
export const statusBadge = (status) => badge(status.replace("_", " "), KINDS[status]);
export const isOver = (job) => ["succeeded", "failed", "cancelled"].includes(job.status);

// ---- all of them ----

async function overview(root) {
  const stop = new AbortController(), jobsBody = h("div"), filesBody = h("div"), chosen = new Set();
  const compare = h("button", { type: "button", disabled: true, onclick: () => (location.hash = "#/fine-tune/compare?ids=" + [...chosen].join(",")) }, "Compare");
  let last = "", jobs = [], next = null;

  function row(job) {
    const box = h("input", { type: "checkbox", checked: chosen.has(job.id), "aria-label": `Compare ${job.adapter}`, onchange: () => {
      if (box.checked) chosen.add(job.id); else chosen.delete(job.id);
      compare.disabled = chosen.size < 2;
    } });
    const share = job.steps ? job.step / job.steps : 0;
    return h("tr", h("td", box), h("td", h("a", { href: "#/fine-tune/" + job.id }, job.adapter), h("div", h("small.mono", job.id))), h("td", statusBadge(job.status)),
      h("td.num", job.steps ? `${number(job.step)} / ${number(job.steps)}` : "–", job.status === "running" ? h("progress", { max: 1, value: share, "aria-label": "Share done" }) : null),
      h("td.num", number(job.trained_tokens)), h("td.num", String(job.lora?.r ?? "–")), h("td.nowrap", time(job.created_at)));
  }
  async function load(more = false) {
    const page = await get("/v1/fine_tuning/jobs", { scoped: true, query: { limit: 50, after: more ? next : undefined }, signal: stop.signal });
    jobs = more ? [...jobs, ...page.data] : page.data;
    next = page.next;
    const text = JSON.stringify(jobs);
    if (text === last) return;
    last = text;
    replace(jobsBody, jobs.length ? table("Jobs", ["", "Adapter", "Status", "#Step", "#Tokens", "#Rank", "Created"], jobs.map(row))
      : empty("No jobs yet", "A job makes an adapter from a file of examples, on the base that is served.", h("a.button.primary", { href: "#/fine-tune/new" }, "New job")),
    next ? h("button", { type: "button", onclick: () => load(true) }, "Older jobs") : null);
  }
  async function files() { replace(filesBody, filesTable(await listFiles(stop.signal), files)); }
  const off = live.status && !live.status.daemon.trains;
  replace(root, h("div.title", h("h1", "Fine-tune"), h("div.push"), compare, off ? null : h("a.button.primary", { href: "#/fine-tune/new" }, icon("plus"), "New job")),
    off ? h("div.note.warn", "This daemon does not train: it was started with --training-memory 0.") : null,
    card("Jobs", jobsBody), card("Files", sender(files), filesBody));
  await Promise.all([load(), files()]);
  const timer = setInterval(() => document.hidden || jobs.length > 50 || load().catch(() => {}), 3000);
  return () => { clearInterval(timer); stop.abort(); };
}

// ---- a new one ----

const SETTINGS = [
  ["n_epochs", "Epochs", { type: "number", min: 0.001, max: 1000, step: "any", placeholder: "auto (3)" }],
  ["batch_size", "Batch size", { type: "number", min: 1, max: 4096, placeholder: "auto (16)" }],
  ["learning_rate", "Learning rate", { type: "number", min: 0, max: 100, step: "any", value: 0.0002 }],
  ["max_steps", "Steps at most", { type: "number", min: 1, placeholder: "by epochs" }],
  ["warmup_ratio", "Warm-up", { type: "number", min: 0, max: 1, step: "any", value: 0.06 }],
  ["weight_decay", "Weight decay", { type: "number", min: 0, max: 100, step: "any", value: 0 }],
  ["max_grad_norm", "Clip gradients at", { type: "number", min: 0, step: "any", value: 1 }],
  ["max_length", "Tokens of an example", { type: "number", min: 1, placeholder: "what fits" }],
  ["eval_steps", "Evaluate every", { type: "number", min: 1, placeholder: "epoch" }],
  ["early_stopping_patience", "Stop after evaluations without gain", { type: "number", min: 1, placeholder: "never" }],
];

async function create(root, query) {
  const stop = new AbortController();
  const base = live.status?.base.model || "", [files, adapters] = await Promise.all([listFiles(stop.signal), get("/adapters", { scoped: true, query: { limit: 1000 } })]);
  let training = query.get("file") || files.reduce((a, b) => (a && a.examples >= b.examples ? a : b), null)?.id || "", validation = "", model = base, schedule = "cosine", trainOn = "assistant", method = "supervised", estimated = 0, timer = 0;
  const inputs = Object.fromEntries(SETTINGS.map(([name, , attributes]) => [name, h("input", { ...attributes, oninput: estimate })]));
  const name = h("input", { pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", maxlength: 64, placeholder: "support", required: true });
  const rank = h("input", { type: "number", min: 1, max: 1024, value: 16, oninput: estimate }), alpha = h("input", { type: "number", min: 0.001, step: "any", value: 32, oninput: estimate });
  const seed = h("input", { type: "number", min: 0, placeholder: "drawn" }), dora = h("input", { type: "checkbox", onchange: estimate }), rslora = h("input", { type: "checkbox", onchange: estimate }), activate = h("input", { type: "checkbox", checked: true });
  const cost = h("div", { role: "status" }), said = h("div", { "aria-live": "assertive" }), start = h("button.primary", { disabled: true }, icon("play"), "Start training");
  const trainingFile = h("div"), validationFile = h("div");
  const look = preview(() => ({ train_on: trainOn, ...(inputs.max_length.value ? { max_length: Number(inputs.max_length.value) } : {}) }));

  function body() {
    const own = { schedule, train_on: trainOn };
    for (const [key] of SETTINGS) if (inputs[key].value !== "") own[key] = Number(inputs[key].value);
    return { model, training_file: training, ...(validation ? { validation_file: validation } : {}), ...(name.value ? { suffix: name.value } : {}), ...(seed.value ? { seed: Number(seed.value) } : {}),
      method: { type: method, [method]: { hyperparameters: {} } }, ...(model === base ? { lora: { r: Number(rank.value), lora_alpha: Number(alpha.value), use_dora: dora.checked, use_rslora: rslora.checked } } : {}),
      training: own, activate: activate.checked };
  }
  // A moment after the last change.
  function estimate() {
    clearTimeout(timer);
    start.disabled = !training;
    if (!training) return replace(cost, h("p.muted", "Choose a file, and what it takes is worked out here."));
    replace(cost, h("p.muted", "Working out what it takes…"));
    const turn = ++estimated;
    timer = setTimeout(async () => {
      try {
        const e = await post("/train/estimate", body(), { scoped: true, signal: stop.signal });
        if (turn !== estimated) return;
        replace(cost, h("div.tiles", [["Time", duration(e.seconds), e.measured ? "at the speed of earlier jobs" : "by one pass that was computed"], ["Steps", number(e.steps), `${number(e.examples)} examples`],
          ["Tokens", number(e.trained_tokens), `${number(e.target_tokens)} learnt in each epoch`], ["Memory", (e.memory_bytes / 1e6).toFixed(0) + " MB", `${number(e.trainable_parameters)} parameters`]]
          .map(([label, value, note]) => h("div.tile", h("span", label), h("b", value), h("em", note)))));
      } catch (error) { if (turn === estimated && error.name !== "AbortError") replace(cost, problem(error)); }
    }, 400);
  }
  function pickers() {
    const options = files.map((f) => [f.id, `${f.filename} · ${number(f.examples)} examples`]);
    replace(trainingFile, field("Training file", select([...(files.length ? [] : [["", "no file yet"]]), ...options], training, (id) => { training = id; look.show(id, stop.signal); estimate(); })));
    replace(validationFile, field("Validation file", select([["", "none"], ...options], validation, (id) => { validation = id; estimate(); }), "Lines that are never trained on show whether the task was learnt."));
  }
  const models = select([[base, `${base} (base)`], ...adapters.data.filter((a) => a.version).map((a) => [a.name, `${a.name} (train on)`])], base, (id) => { model = id; loraFields.hidden = id !== base; estimate(); });
  const loraFields = h("div.fields", field("Rank", rank), field("Alpha", alpha), h("label.check", dora, "DoRA"), h("label.check", rslora, "Rank-stabilized scale"));
  pickers();
  replace(root, h("div.title", h("a.button", { href: "#/fine-tune", "aria-label": "Back to all jobs" }, icon("back")), h("h1", "New job")),
    h("form.page", { onsubmit: async (event) => {
      event.preventDefault();
      start.disabled = true;
      try {
        const job = await post("/v1/fine_tuning/jobs", body(), { scoped: true });
        toast("The job is made.");
        location.hash = "#/fine-tune/" + job.id;
      } catch (error) { replace(said, problem(error)); start.disabled = false; }
    } },
    h("div.grid", card("1 · Examples", trainingFile, validationFile, sender((file) => { files.unshift(file); if (!training) training = file.id; pickers(); look.show(training, stop.signal); estimate(); })),
      card("2 · What is learnt", h("p.muted", "Each example as the chat template writes it. What is marked is learnt; the rest is read."),
        field("Learn", select([["assistant", "the assistant's turns"], ["last", "its last turn"], ["all", "every token"]], trainOn, (value) => { trainOn = value; look.draw(); estimate(); })), look.element)),
    card("3 · How", h("div.fields", field("Name of the adapter", name, "A name that is there gets one more version."), field("Start from", models), field("Method", select([["supervised", "supervised"], ["dpo", "preferences (DPO)"]], method, (value) => { method = value; estimate(); })),
      field("Schedule", select([["cosine", "cosine"], ["linear", "linear"], ["constant", "constant"]], schedule, (value) => { schedule = value; estimate(); }))), loraFields,
    h("div.fields", SETTINGS.slice(0, 4).map(([key, label]) => field(label, inputs[key]))),
    h("details", h("summary", "More settings"), h("div.fields", SETTINGS.slice(4).map(([key, label]) => field(label, inputs[key])), field("Seed", seed, "The same seed gives the same adapter, to the bit.")))),
    card("4 · What it takes", cost, said, h("div.actions", start, h("label.check", activate, "Activate the version when it is done")))));
  estimate();
  await look.show(training, stop.signal);
  return () => { clearTimeout(timer); stop.abort(); };
}
