// Files to train with: sent, checked line by line, and looked into.
import { ask, badge, bytes, empty, h, icon, number, problem, replace, table, time, toast } from "./dom.js";
import { get, pages, post, remove, send, upload } from "./api.js";

const LOOK_BYTES = 256 << 10;

export const list = (signal) => pages("/v1/files", { scoped: true, query: { purpose: "fine-tune" }, signal });

// The line that an error is about, from the file that was sent.
async function lineOf(file, error) {
  const found = /^line (\d+):/.exec(error.message);
  if (!found || file.size > 64 << 20) return null;
  const line = (await file.text()).split("\n")[Number(found[1]) - 1];
  return line === undefined ? null : h("pre", line.slice(0, 2000));
}

// A place to drop files; `done` gets each that was taken.
export function sender(done) {
  const said = h("div.list", { "aria-live": "polite" });
  async function take(files) {
    for (const file of files) {
      const bar = h("progress", { max: 1, value: 0, "aria-label": `${file.name} is sent` }), line = h("div", h("p.muted", `${file.name}, ${bytes(file.size)}`), bar);
      replace(said, line);
      const form = new FormData();
      form.append("purpose", "fine-tune");
      form.append("file", file);
      try {
        const { body } = await upload("/v1/files", form, { scoped: true, onprogress: (share) => (share === 1 ? bar.removeAttribute("value") : (bar.value = share)) });
        replace(said, h("div.note.good", `${body.filename}: ${number(body.examples)} lines checked, all good.`));
        done(body);
      } catch (error) {
        replace(said, problem(error), await lineOf(file, error), h("p.muted", "Nothing was stored. Mend the line and send the file again."));
      }
    }
  }
  const input = h("input.hidden", { type: "file", id: "choose-training-file", tabindex: "-1", "aria-label": "File to train with", accept: ".jsonl,.json,.txt", onchange: (event) => { take([...event.target.files]); event.target.value = ""; } });
  const drop = h("div.drop", icon("upload"), h("strong", "Drop a file of examples"), h("span", "One JSON object a line: messages, prompt and completion, or text"),
    h("button", { type: "button", onclick: () => input.click() }, "Choose a file"), input);
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); take([...event.dataTransfer.files]); });
  return h("div.list", drop, said);
}

export function filesTable(files, changed) {
  if (!files.length) return empty("No files yet", "Examples of what goes in and what should come out. 50 show whether it can work, 200 to 500 are enough for most tasks.");
  return table("Files", ["File", "#Examples", "#Size", "Added", ""], files.map((f) => h("tr", h("td", h("span", f.filename), h("div", h("small.mono", f.id))),
    h("td.num", f.status === "processed" ? number(f.examples) : badge(f.status, "bad")), h("td.num.nowrap", bytes(f.bytes)), h("td.nowrap", time(f.created_at)),
    h("td", h("div.actions.end", h("button.small.danger", { type: "button", "aria-label": `Delete ${f.filename}`, onclick: async () => {
      if (!(await ask(`Delete ${f.filename}?`, "Its bytes go from the disk. Jobs that were made of it stay.", "Delete"))) return;
      await remove("/v1/files/" + f.id, { scoped: true });
      toast(`${f.filename} is deleted.`);
      changed();
    } }, icon("close")))))));
}

// ---- a look into it ----

// The first lines, without reading a gigabyte.
async function firstLines(id, signal) {
  const stop = new AbortController();
  signal?.addEventListener("abort", () => stop.abort());
  const response = await send("GET", `/v1/files/${id}/content`, { scoped: true, signal: stop.signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "", whole = false;
  while (text.length < LOOK_BYTES) {
    const { value, done } = await reader.read();
    if (done) { whole = true; break; }
    text += value;
  }
  reader.cancel().catch(() => {});
  const lines = text.replace(/^\uFEFF/, "").split("\n");
  if (!whole) lines.pop();
  return lines.filter((line) => line.trim()).slice(0, 200);
}

function pieces(some) {
  const text = h("pre");
  for (const piece of some) text.append(h("span", { class: piece.learnt ? "learnt" : "masked" }, piece.text));
  return text;
}

// The examples of a file one by one, as training reads them. `settings()` gives train_on and max_length.
export function preview(settings) {
  const body = h("div.list", { "aria-live": "polite" });
  let lines = [], at = 0, turn = 0;
  async function draw() {
    const own = ++turn;
    if (!lines.length) return replace(body);
    const bar = h("div.actions", h("button.small", { type: "button", disabled: at === 0, onclick: () => { at--; draw(); } }, "Previous"), h("button.small", { type: "button", disabled: at + 1 >= lines.length, onclick: () => { at++; draw(); } }, "Next"),
      h("span.muted", `Example ${at + 1}${lines.length > 1 ? ` of the first ${lines.length}` : ""}`));
    let shown;
    try {
      const found = await post("/train/preview", { example: JSON.parse(lines[at]), ...settings() }, { scoped: true });
      shown = [h("div.legend", h("span", h("span.learnt", "learnt"), ` ${number(found.target_tokens)} of ${number(found.tokens)} tokens`), h("span", h("span.masked", "read only")),
        found.cut ? badge("cut at max_length", "warn") : null, found.last_turn_only ? badge("only the last turn is learnt", "warn") : null),
      pieces(found.pieces), found.rejected_pieces ? [h("h3", "Not preferred"), pieces(found.rejected_pieces)] : null];
    } catch (error) {
      shown = error.code === "input_unsupported" ? h("pre", lines[at]) : [problem(error), h("pre", lines[at].slice(0, 2000))];
    }
    if (own === turn) replace(body, bar, shown);
  }
  return {
    element: body,
    draw,
    async show(id, signal) {
      at = 0;
      try { lines = id ? await firstLines(id, signal) : []; } catch (error) { lines = []; if (error.name !== "AbortError") return replace(body, problem(error)); }
      await draw();
    },
  };
}
