// The base beside adapters and versions: the same request to each, streamed, compared word by word.
import { badge, card, copyButton, empty, field, h, icon, ms, number, problem, replace, segments, select, shortVersion } from "./dom.js";
import { events, get, session } from "./api.js";
import { live } from "./live.js";
import { differences } from "./words.js";
import { snippets } from "./snippets.js";

const ROLES = [["system", "system"], ["user", "user"], ["assistant", "assistant"]], KEEP = "adapterd.playground";

export async function render(root, { query }) {
  const base = live.status?.base || {};
  if (base.numeric) return void replace(root, h("h1", "Playground"), empty("This base takes numbers", "The playground is for language models. POST /infer takes rows of numbers as input."));
  const adapters = (await get("/adapters", { scoped: true, query: { limit: 1000 } })).data.filter((a) => a.version);
  const kept = JSON.parse(sessionStorage.getItem(KEEP) || "{}");
  const known = (name) => name === "" || name.includes("@") || adapters.some((a) => a.name === name);
  let targets = query.get("adapter") ? ["", query.get("adapter")] : (kept.targets || ["", adapters[0]?.name ?? ""]).filter(known), form = kept.form || "chat", running = null, view = "text";
  targets = [...new Set(targets)].slice(0, 4);
  if (!targets.length) targets = [""];
  const messages = kept.messages || [{ role: "user", content: "" }];

  // ---- what is asked ----

  const prompt = h("textarea", { rows: 6, "aria-label": "Prompt", placeholder: "Once upon a time", oninput: changed, value: kept.prompt || "" });
  const numbers = { max_tokens: h("input", { type: "number", min: 1, max: 1048576, value: 128 }), temperature: h("input", { type: "number", min: 0, max: 100, step: "any", value: 0 }),
    top_p: h("input", { type: "number", min: 0.01, max: 1, step: "any", value: 1 }), seed: h("input", { type: "number", min: 0, placeholder: "drawn" }) };
  const schema = h("textarea.mono", { rows: 6, "aria-label": "JSON schema", placeholder: '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}', value: kept.schema || "" });
  const structured = select([["", "as the model likes"], ["json", "a JSON object"], ["schema", "JSON under a schema"]], kept.structured || "", (value) => { schema.hidden = value !== "schema"; changed(); });
  schema.hidden = (kept.structured || "") !== "schema";
  for (const input of [...Object.values(numbers), schema]) input.addEventListener("input", changed);
  const asked = h("div.list"), columns = h("div.answers"), code = h("div.list"), said = h("div", { "aria-live": "assertive" });
  const run = h("button.primary", { type: "button", onclick: () => (running ? stopAll() : go()) }, icon("play"), h("span", "Run"));

  function body(target) {
    const out = { adapter: target === "" ? null : target };
    if (session.admin && session.tenant) out.tenant = session.tenant;
    if (form === "chat") out.messages = messages.filter((m) => m.content !== "" || m.role === "assistant").map(({ role, content }) => ({ role, content }));
    else out.prompt = prompt.value;
    for (const [name, input] of Object.entries(numbers)) if (input.value !== "") out[name] = Number(input.value);
    if (structured.value === "json") out.response_format = { type: "json_object" };
    if (structured.value === "schema") out.response_format = { type: "json_schema", json_schema: { schema: JSON.parse(schema.value) } };
    return { ...out, logprobs: 5, stream: true };
  }

  function changed() {
    sessionStorage.setItem(KEEP, JSON.stringify({ targets, form, messages, prompt: prompt.value, schema: schema.value, structured: structured.value }));
    drawCode();
  }

  function drawAsked() {
    replace(asked, segments("Form of the request", [["chat", "Chat"], ["prompt", "Prompt"]], form, (value) => { form = value; drawAsked(); changed(); }),
      form === "prompt" ? prompt : [messages.map((m, i) => {
        const text = h("textarea", { rows: 2, "aria-label": `Message ${i + 1}`, value: m.content, oninput: () => { m.content = text.value; changed(); } });
        text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); go(); } });
        return h("div.message", select(ROLES, m.role, (role) => { m.role = role; changed(); }, { "aria-label": `Role of message ${i + 1}` }), text,
          h("button.quiet.square", { type: "button", "aria-label": `Remove message ${i + 1}`, disabled: messages.length === 1, onclick: () => { messages.splice(i, 1); drawAsked(); changed(); } }, icon("close")));
      }), h("div.actions", h("button.small", { type: "button", onclick: () => { messages.push({ role: messages.at(-1).role === "user" ? "assistant" : "user", content: "" }); drawAsked(); changed(); } }, icon("plus"), "Message"))]);
  }

  // ---- whom ----

  const picks = h("div.actions");
  let versions = [];
  function drawPicks() {
    const options = [["", `${base.model || "base"} (base)`], ...adapters.map((a) => [a.name, a.name]), ...versions, ...targets.filter((t) => t.includes("@") && !versions.some(([v]) => v === t)).map((t) => [t, t])];
    replace(picks, targets.map((target, i) => h("span.actions", select(options.filter(([v]) => v === target || !targets.includes(v)), target, async (value) => { targets[i] = value; await moreVersions(value); drawPicks(); drawColumns(); changed(); }, { "aria-label": `Answer ${i + 1} by` }),
      targets.length > 1 ? h("button.quiet.square", { type: "button", "aria-label": `Without answer ${i + 1}`, onclick: () => { targets.splice(i, 1); drawPicks(); drawColumns(); changed(); } }, icon("close")) : null)),
    targets.length < 4 && options.length > targets.length ? h("button.small", { type: "button", onclick: () => { targets.push(options.find(([v]) => !targets.includes(v))[0]); drawPicks(); drawColumns(); changed(); } }, icon("plus"), "Compare with") : null);
  }
  // Older versions of what was chosen can be chosen, too.
  async function moreVersions(target) {
    const name = target.split("@")[0];
    if (!name || versions.some(([v]) => v.startsWith(name + "@"))) return;
    const a = await get("/adapters/" + name, { scoped: true }).catch(() => null);
    if (a && a.versions.length > 1) versions.push(...a.versions.slice(0, 20).map((v) => [`${name}@${v.version.slice(7, 23)}`, `${name} @ ${shortVersion(v.version)}${v.active ? " (active)" : ""}`]));
  }

  // ---- answers ----

  let answers = [];
  function drawColumns() {
    answers = targets.map((target) => {
      const text = h("div.text", { tabindex: "0", "aria-label": `Answer of ${target || "the base"}` }), foot = h("small.muted", " ");
      return { target, text, foot, tokens: [], done: "", error: null, element: h("section.answer", h("header", h("h3", target || `${base.model || "base"} (base)`), target ? badge("adapter", "accent") : badge("base")), text, foot) };
    });
    replace(columns, answers.map((a) => a.element));
  }

  // The whole is drawn again at most once a frame; while it streams new tokens are added alone.
  function drawAnswer(a) {
    if (a.error) return replace(a.text, problem(a.error));
    const first = answers[0], other = a !== first && running === null && first.done && a.done ? differences(first.done, a.done) : null;
    let place = 0;
    replace(a.text, a.tokens.length ? a.tokens.map((t) => { const from = place; place += t.text.length; return piece(t, other && other(from, place)); }) : a.done);
  }
  function piece(t, differs) {
    const span = h("span.token", { class: differs ? "differs" : "" }, t.text);
    span.tokenData = t;
    return span;
  }

  async function answer(a, signal) {
    a.tokens = [];
    a.done = "";
    a.error = null;
    replace(a.text);
    replace(a.foot, "…");
    const began = performance.now();
    try {
      for await (const event of events("POST", "/infer", { body: body(a.target), signal })) {
        if (event.data === "[DONE]") break;
        const one = JSON.parse(event.data);
        if (event.event === "error") throw Object.assign(new Error(one.error.message), one.error);
        a.done += one.text;
        // Text that was held back belongs to the tokens that come with it.
        const some = one.logprobs || [];
        if (some.map((l) => l.text).join("") === one.text) for (const l of some) a.tokens.push(l);
        else if (one.text) a.tokens.push({ text: one.text, top: some[0]?.top, logprob: some[0]?.logprob });
        a.text.append(...a.tokens.slice(a.text.childElementCount).map((t) => piece(t, false)));
        if (one.finish_reason) replace(a.foot, `${number(one.usage.completion_tokens)} tokens · ${ms(performance.now() - began)} · ${one.finish_reason} · `, h("code", shortVersion(one.adapter?.version)));
      }
    } catch (error) {
      if (error.name === "AbortError") replace(a.foot, "stopped");
      else { a.error = error; replace(a.foot, " "); }
    }
  }

  async function go() {
    replace(said);
    try { targets.forEach(body); } catch (error) { return void replace(said, problem({ message: "The schema is not JSON: " + error.message })); }
    drawColumns();
    const own = (running = new AbortController());
    run.lastChild.textContent = "Stop";
    root.dataset.running = "yes";
    await Promise.all(answers.map((a) => answer(a, own.signal)));
    if (running === own) running = null;
    run.lastChild.textContent = "Run";
    root.dataset.running = "no";
    answers.forEach(drawAnswer);
    answers.forEach((a) => { if (a !== answers[0] && !a.error && a.done === answers[0].done) a.foot.append(" · the same words"); });
  }
  function stopAll() { running?.abort(); }

  // ---- probabilities on hover, and by keyboard ----

  const tip = h("div.tip", { role: "tooltip", hidden: true });
  function showTip(span) {
    const t = span?.tokenData;
    tip.hidden = !t?.top;
    if (tip.hidden) return;
    const share = (logprob) => (logprob === null ? "–" : (100 * Math.exp(logprob)).toFixed(1) + " %");
    replace(tip, h("table", t.top.map((o) => h("tr", h("td.num", share(o.logprob)), h("td.mono", JSON.stringify(o.text).slice(1, -1) || "␣")))));
    const box = span.getBoundingClientRect();
    tip.style.setProperty("left", Math.max(8, Math.min(box.left, innerWidth - 230)) + "px");
    tip.style.setProperty("top", (box.bottom + 160 > innerHeight ? Math.max(8, box.top - tip.offsetHeight - 6) : box.bottom + 6) + "px");
  }
  columns.addEventListener("pointerover", (event) => showTip(event.target.closest(".token")));
  columns.addEventListener("pointerout", () => showTip(null));
  columns.addEventListener("focusout", () => showTip(null));
  columns.addEventListener("keydown", (event) => {
    const text = event.target.closest(".text"), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!text || !step || !text.childElementCount) return;
    event.preventDefault();
    text.at = Math.max(0, Math.min(text.childElementCount - 1, (text.at ?? -1) + step));
    showTip(text.children[text.at]);
  });

  // ---- the very request ----

  let language = "curl";
  function drawCode() {
    let text;
    try { text = snippets[language](body(targets.at(-1)), new URL(".", location.href)); } catch { text = "The schema is not JSON."; }
    replace(code, h("div.actions", segments("Language", [["curl", "curl"], ["python", "Python"], ["node", "Node"]], language, (value) => { language = value; drawCode(); }), h("div.push"), copyButton(text)), h("pre", { tabindex: "0", "aria-label": "The request" }, text));
  }

  drawAsked();
  drawPicks();
  drawColumns();
  drawCode();
  for (const target of targets) moreVersions(target).then(drawPicks);
  replace(root, h("div.title", h("h1", "Playground"), h("div.push"), run), h("div.grid.wide",
    h("div.stacked", card("Request", asked, said), card(["Answers", picks], columns, h("p.muted", "Words that differ from the first answer are marked. Hover a token, or walk through it with the arrow keys, for its probabilities."))),
    h("div.stacked", card("Settings", h("div.fields", field("Tokens at most", numbers.max_tokens), field("Temperature", numbers.temperature), field("Top p", numbers.top_p), field("Seed", numbers.seed)), field("The answer has to be", structured), schema),
      card("This request", code))), tip);
  return () => stopAll();
}
