// One adapter: its versions, what goes to which, and where each came from.
import { ask, badge, bytes, card, empty, field, h, icon, number, problem, replace, select, shortVersion, table, time, toast } from "./dom.js";
import { download, get, patch, remove, session } from "./api.js";
import { stateBadge } from "./adapters.js";
import { uploader } from "./upload.js";

const digest = (version) => version.replace("sha256:", "");

export async function render(root, name) {
  const path = "/adapters/" + name, stop = new AbortController();
  let adapter = null, jobs = [];

  // A change of what was looked at, and of nothing else: somebody may have been faster.
  async function change(body, done) {
    try {
      adapter = await patch(path, body, { scoped: true, headers: { "If-Match": adapter.version ? `"${adapter.version}"` : '"none"' } });
      toast(done);
    } catch (error) {
      toast(error.code === "version_conflict" ? "Somebody activated another version meanwhile. Look again and decide anew." : error.message, "bad");
      adapter = await get(path, { scoped: true });
    }
    draw();
  }

  async function load() {
    adapter = await get(path, { scoped: true, signal: stop.signal });
    draw();
  }

  function draw() {
    const active = adapter.version, many = adapter.versions.length > 1;
    replace(root,
      h("div.title", h("a.button", { href: "#/adapters", "aria-label": "Back to all adapters" }, icon("back")), h("h1", adapter.name),
        active ? h("code", shortVersion(active)) : badge("no active version", "warn"), adapter.pinned ? badge("pinned", "accent") : null, adapter.expired ? badge("expired", "warn") : null,
        h("div.push"),
        active ? h("a.button", { href: "#/playground?adapter=" + encodeURIComponent(adapter.name) }, icon("play"), "Try it") : null,
        h("button", { type: "button", disabled: adapter.history.length < 2, onclick: () => rollback() }, icon("back"), "Roll back"),
        session.admin ? h("button", { type: "button", "aria-pressed": String(adapter.pinned), onclick: () => change({ pinned: !adapter.pinned }, adapter.pinned ? "No longer pinned." : "Pinned: it stays in memory.") }, icon("pin"), adapter.pinned ? "Unpin" : "Pin") : null,
        h("button.danger", { type: "button", onclick: () => drop() }, "Delete")),
      h("div.grid", canaryCard(), aboutCard()),
      card(`Versions (${number(adapter.versions.length)})`, versionsTable(), many ? null : h("p.muted", "A second version can be tried on a share of the requests before it is activated.")),
      h("div.grid", historyCard(), card("Upload another version", h("p.muted", `Under the name ${adapter.name} it becomes one more version.`), newVersion)));
  }
  const newVersion = uploader(() => load());

  async function rollback() {
    const before = adapter.history.map((entry) => entry.version).find((version, i) => i > 0 && version !== adapter.version && adapter.versions.some((v) => v.version === version));
    if (await ask("Roll back", `${adapter.name} will mean ${before ? "version " + shortVersion(before) : "the version that was active before"} from the next request on.`, "Roll back", false)) change({ rollback: true }, "Rolled back.");
  }

  async function drop() {
    if (!(await ask(`Delete ${adapter.name}?`, `All ${adapter.versions.length} versions go. Requests that run finish.`, "Delete"))) return;
    await remove(path, { scoped: true });
    toast(`${adapter.name} is deleted.`);
    location.hash = "#/adapters";
  }

  // ---- canary ----

  function canaryCard() {
    const others = adapter.versions.filter((v) => v.version !== adapter.version && v.state === "ready");
    if (!others.length || !adapter.version) return card("Canary", empty("Nothing to try", "Upload or train another version without activating it; a share of the requests can go to it."));
    let version = adapter.canary?.version || others[0].version;
    const percent = adapter.canary?.percent ?? 5;
    const exact = h("input", { type: "number", min: 0.01, max: 100, step: 0.01, value: percent, "aria-label": "Percent of the requests" });
    const slider = h("input", { type: "range", min: 0, max: 100, step: 1, value: percent, "aria-label": "Share of the requests" });
    slider.addEventListener("input", () => (exact.value = Math.max(0.01, Number(slider.value))));
    exact.addEventListener("input", () => (slider.value = exact.value));
    return card(["Canary", adapter.canary ? badge(`${adapter.canary.percent} % to ${shortVersion(adapter.canary.version)}`, "accent") : badge("off")],
      h("form.list", { onsubmit: (event) => { event.preventDefault(); change({ canary: { version, percent: Number(exact.value) } }, `${exact.value} % of the requests go to ${shortVersion(version)}.`); } },
        field("Version", select(others.map((v) => [v.version, `${shortVersion(v.version)} · ${new Date(v.created).toLocaleString()}`]), version, (v) => (version = v))),
        h("div.canary", slider, h("span", exact, " %")),
        h("div.actions", h("button.primary", adapter.canary ? "Change share" : "Start canary"),
          adapter.canary ? h("button", { type: "button", onclick: () => change({ canary: null }, "The canary has ended.") }, "End it") : null,
          adapter.canary ? h("button", { type: "button", onclick: () => change({ version: adapter.canary.version }, "The canary is the active version now.") }, "Activate it") : null)));
  }

  // ---- labels, note, end ----

  function aboutCard() {
    const key = h("input", { placeholder: "key", "aria-label": "Key of a new label", pattern: "[a-z0-9._\\-]{1,63}", maxlength: 63, required: true }), value = h("input", { placeholder: "value", "aria-label": "Its value", maxlength: 256 });
    const note = h("textarea", { rows: 2, maxlength: 1024, "aria-label": "Note", value: adapter.note }), ends = h("input", { type: "datetime-local" });
    if (adapter.expires_at) ends.value = new Date(new Date(adapter.expires_at) - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    return card("Labels and note",
      h("div.badges", Object.entries(adapter.labels).map(([k, v]) => h("span.badge", v ? `${k}: ${v}` : k, " ",
        h("button.quiet.small", { type: "button", "aria-label": `Remove the label ${k}`, onclick: () => change({ labels: { [k]: null } }, "The label is gone.") }, "×"))),
      Object.keys(adapter.labels).length ? null : h("span.muted", "No labels")),
      h("form.actions", { onsubmit: (event) => { event.preventDefault(); change({ labels: { [key.value]: value.value } }, "Labelled."); } }, key, value, h("button", "Add label")),
      h("form.list", { onsubmit: (event) => { event.preventDefault(); change({ note: note.value, expires_at: ends.value ? new Date(ends.value).toISOString() : null }, "Saved."); } },
        note, field("Ends at", ends, "From then on requests that name it are refused; nothing is deleted. Empty: never."), h("div.actions", h("button", "Save"))));
  }

  // ---- versions ----

  function versionsTable() {
    return table("Versions", ["Version", "State", "Created", "#Rank", "#Sites", "#Size", "#Largest change", "#Mean change", "From", ""], adapter.versions.map((v) => {
      const job = jobs.find((j) => j.version === v.version), share = adapter.canary?.version === v.version ? adapter.canary.percent : null;
      return h("tr", h("td.nowrap", h("code", { title: v.version }, shortVersion(v.version))),
        h("td.nowrap", v.active ? badge("active", "accent") : stateBadge(v.state), share === null ? null : [" ", badge(`canary ${share} %`, "warn")]),
        h("td.nowrap", time(v.created)), h("td.num", number(v.rank_max)), h("td.num", number(v.sites)), h("td.num.nowrap", bytes(v.bytes)),
        h("td.num", v.proof.max_logit_change.toFixed(2)), h("td.num", v.proof.mean_logit_change.toFixed(3)),
        h("td.nowrap", job ? h("a", { href: "#/fine-tune/" + job.id, title: job.training_file_digest || "" }, "job ", job.id.slice(0, 12)) : h("span.muted", "upload")),
        h("td", h("div.actions",
          v.active ? null : h("button.small", { type: "button", disabled: v.state !== "ready", onclick: () => change({ version: v.version }, `${shortVersion(v.version)} is active.`) }, "Activate"),
          h("button.small", { type: "button", onclick: () => proof(v) }, "Proof"),
          h("button.small", { type: "button", "aria-label": `Download ${shortVersion(v.version)}`, title: "Download", onclick: () => files(v) }, icon("download")),
          h("button.small.danger", { type: "button", "aria-label": `Delete ${shortVersion(v.version)}`, title: "Delete", onclick: () => dropVersion(v) }, icon("close")))));
    }));
  }

  async function files(v) {
    for (const file of v.files) await download(`${path}/versions/${digest(v.version)}/files/${file.name}`, file.name, { scoped: true });
    toast(`${v.files.length} files: the directory that PeftModel.from_pretrained loads.`);
  }

  async function dropVersion(v) {
    if (!(await ask(`Delete version ${shortVersion(v.version)}?`, v.active ? "It is the active one: the name will mean none until another is activated." : "Its files go from the disk.", "Delete"))) return;
    try {
      await remove(`${path}/versions/${digest(v.version)}`, { scoped: true, query: v.active ? { force: "true" } : {} });
      toast("The version is deleted.");
    } catch (error) { toast(error.message, "bad"); }
    await load();
  }

  async function proof(v) {
    const body = h("div.list", "…");
    const dialog = h("dialog", { "aria-label": "Proof", onclose: () => dialog.remove() }, h("form", { method: "dialog" }, h("h2", "Proof of ", h("code", shortVersion(v.version))), body, h("div.actions.end", h("button", { autofocus: true }, "Close"))));
    document.body.append(dialog);
    dialog.showModal();
    try {
      const p = (await get(`${path}/versions/${digest(v.version)}`, { scoped: true })).proof;
      replace(body, h("dl", h("dt", "Largest change of a logit"), h("dd", p.max_logit_change.toFixed(4)), h("dt", "Mean change"), h("dd", p.mean_logit_change.toFixed(4)),
        p.norm_count ? [h("dt", "Norms of the update"), h("dd", `${p.norm_sum.toFixed(2)} over ${number(p.norm_count)} modules`)] : null),
      p.sample ? [h("h3", "Sample"), h("dl", h("dt", "Prompt"), h("dd", p.sample.prompt), h("dt", "Base"), h("dd", p.sample.base), h("dt", "Adapter"), h("dd", p.sample.adapter))]
        : h("p.muted", "No sample: upload the same files with a proof prompt to have one."),
      p.norms?.length ? h("details", h("summary", "Norm by module"), table("Norm by module", ["Module", "#Norm"], p.norms.map((n) => h("tr", h("td", h("code", n.module)), h("td.num", n.norm.toFixed(3)))))) : null);
    } catch (error) { replace(body, problem(error)); }
  }

  function historyCard() {
    return card("History", adapter.history.length ? table("Which version was active from when on", ["From", "Version", "By"],
      adapter.history.slice(0, 20).map((entry) => h("tr", h("td.nowrap", time(entry.time)), h("td", h("code", shortVersion(entry.version))), h("td", h("code", entry.by || "–"))))) : empty("No history", "No version was active yet."));
  }

  await load();
  // Which job made which version: the newest few hundred jobs are looked at.
  (async () => {
    for (let after, turn = 0; turn < 4; turn++) {
      const page = await get("/v1/fine_tuning/jobs", { scoped: true, query: { limit: 100, after }, signal: stop.signal });
      jobs.push(...page.data.filter((j) => j.adapter === name));
      after = page.next;
      if (!after) break;
    }
    if (jobs.length) draw();
  })().catch(() => {});
  return () => stop.abort();
}
