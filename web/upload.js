// What PEFT wrote, dropped here: directories are looked through, each with an adapter in it becomes an upload.
import { badge, bytes, field, h, icon, problem, replace, shortVersion } from "./dom.js";
import { upload } from "./api.js";

const PARTS = { "adapter_config.json": "config", "adapter_model.safetensors": "weights", "tokenizer_config.json": "tokenizer_config", "chat_template.jinja": "chat_template", "generation_config.json": "generation_config" };

// ---- finding the files ----

function entries(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

// [path, File] of all that lies under an entry, a few thousand at most.
async function walk(entry, found = [], depth = 0) {
  if (found.length > 5000 || depth > 6) return found;
  if (entry.isFile) found.push([entry.fullPath, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
  else {
    const reader = entry.createReader();
    for (let some; (some = await entries(reader)).length;) for (const one of some) await walk(one, found, depth + 1);
  }
  return found;
}

const base = (path) => path.split("/").pop();
const folder = (path) => path.split("/").slice(0, -1).join("/");

export function nameOf(text) {
  return text.toLowerCase().replace(/\.(gguf|safetensors)$/, "").replace(/[^a-z0-9._-]+/g, "-").replace(/^[^a-z0-9]+/, "").slice(0, 64) || "adapter";
}

// One upload for each folder with a config, and for each GGUF file.
function group(files) {
  const folders = new Map(), found = [];
  for (const [path, file] of files) {
    if (file.name.toLowerCase().endsWith(".gguf")) found.push({ name: nameOf(file.name), parts: { weights: file } });
    if (!PARTS[base(path)]) continue;
    if (!folders.has(folder(path))) folders.set(folder(path), {});
    folders.get(folder(path))[PARTS[base(path)]] = file;
  }
  for (const [path, parts] of folders) if (parts.config || parts.weights) found.push({ name: nameOf(base(path)), parts });
  return found;
}

// ---- the form ----

function row(one, done) {
  const name = h("input", { value: one.name, pattern: "[a-z0-9][a-z0-9._\\-]{0,63}", required: true, maxlength: 64 });
  const activate = h("input", { type: "checkbox", checked: true });
  const prompt = h("input", { maxlength: 4096, placeholder: "optional: base and adapter answer it" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Sent" }), said = h("div", { "aria-live": "polite" });
  const size = Object.values(one.parts).reduce((sum, file) => sum + file.size, 0);
  const missing = !one.parts.weights ? "adapter_model.safetensors is missing in this folder." : !one.parts.config && !one.parts.weights.name.toLowerCase().endsWith(".gguf") ? "adapter_config.json is missing in this folder." : "";
  const button = h("button.primary", { disabled: Boolean(missing) }, icon("upload"), "Upload");
  let stop = null;
  const form = h("form.list", {
    onsubmit: async (event) => {
      event.preventDefault();
      const data = new FormData();
      data.append("name", name.value);
      data.append("activate", String(activate.checked));
      if (prompt.value) data.append("proof_prompt", prompt.value);
      for (const part of ["config", "tokenizer_config", "chat_template", "generation_config", "weights"]) if (one.parts[part]) data.append(part, one.parts[part]);
      replace(said);
      button.disabled = true;
      bar.hidden = false;
      stop = new AbortController();
      try {
        const { status, body } = await upload("/adapters", data, { scoped: true, signal: stop.signal, onprogress: (share) => {
          bar.value = share;
          if (share === 1) { bar.removeAttribute("value"); replace(said, h("p.muted", "Sent. It is checked tensor by tensor and proved…")); }
        } });
        replace(form, h("div.note.good", h("strong", body.name), ` is ${status === 200 ? "here already, " : ""}version `, h("code", shortVersion(body.version)), body.active ? ", active. " : ", not active. ",
          `It changes logits by up to ${body.proof.max_logit_change.toFixed(2)}. `, h("a", { href: "#/adapters/" + body.name }, "Show it")),
        (body.warnings || []).map((w) => h("div.note.warn", w)));
        done(body);
      } catch (error) {
        if (error.name !== "AbortError") replace(said, problem(error));
        button.disabled = false;
      }
      bar.hidden = true;
    },
  }, h("div.fields", field("Name", name), field("Proof prompt", prompt)),
  h("div.actions", button, h("label.check", activate, "Activate at once"), h("span.muted", `${Object.keys(one.parts).length} files, ${bytes(size)}`),
    Object.keys(one.parts).filter((p) => p !== "weights" && p !== "config").map((p) => badge(p)),
    h("div.push"), h("button.quiet", { type: "button", onclick: () => { stop?.abort(); form.remove(); } }, "Remove")),
  missing ? problem({ message: missing }) : null, bar, said);
  return form;
}

// The place to drop things; `done` is called after each upload.
export function uploader(done) {
  const rows = h("div.list"), said = h("div", { "aria-live": "polite" });
  const take = (files) => {
    const found = group(files);
    replace(said, found.length ? null : problem({ message: "There is no adapter in this: neither adapter_config.json nor a .gguf file was found.", hint: "Drop the directory that PEFT's save_pretrained wrote." }));
    rows.append(...found.map((one) => row(one, done)));
  };
  const chosen = (event) => { take([...event.target.files].map((f) => [f.webkitRelativePath || "chosen/" + f.name, f])); event.target.value = ""; };
  const directory = h("input.hidden", { type: "file", webkitdirectory: true, id: "choose-directory", tabindex: "-1", "aria-label": "Directory of an adapter", onchange: chosen });
  const single = h("input.hidden", { type: "file", multiple: true, id: "choose-files", tabindex: "-1", "aria-label": "Files of an adapter", onchange: chosen });
  const drop = h("div.drop", icon("upload"), h("strong", "Drop a PEFT directory here"), h("span", "adapter_config.json and adapter_model.safetensors, with what lies beside them; or a LoRA in GGUF"),
    h("div.actions", h("button", { type: "button", onclick: () => directory.click() }, "Choose a directory"), h("button", { type: "button", onclick: () => single.click() }, "Choose files")), directory, single);
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const dropped = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const files = [];
    for (const entry of dropped) await walk(entry, files);
    // Files of several at once belong together.
    take(dropped.length && dropped.every((e) => e.isFile) ? files.map(([path, f]) => ["/dropped/" + base(path), f]) : files);
  });
  return h("div.list", drop, said, rows);
}
