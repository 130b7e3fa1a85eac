// Sign in, navigation, and which page is shown.
import { h, icon, problem, replace, toast } from "./dom.js";
import { get, pages as listPages, session } from "./api.js";
import { live } from "./live.js";
import { redraw } from "./charts.js";

const PAGES = [
  { path: "overview", title: "Overview", icon: "overview", load: () => import("./overview.js") },
  { path: "adapters", title: "Adapters", icon: "adapters", load: () => import("./adapters.js"), scoped: true },
  { path: "fine-tune", title: "Fine-tune", icon: "train", load: () => import("./finetune.js"), scoped: true },
  { path: "playground", title: "Playground", icon: "playground", load: () => import("./playground.js"), scoped: true },
  { path: "tenants", title: "Tenants", icon: "tenants", load: () => import("./tenants.js"), admin: true },
];
const app = document.getElementById("app");
let shell = null, leave = null, shown = 0, tenants = [];

// ---- theme ----

const THEMES = ["auto", "light", "dark"];

function themeButton() {
  const button = h("button.quiet.square", { type: "button" });
  const say = () => {
    const theme = localStorage.getItem("adapterd.theme") || "auto";
    button.replaceChildren(icon({ auto: "auto", light: "sun", dark: "moon" }[theme]));
    button.setAttribute("aria-label", `Theme: ${theme}. Change`);
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    const theme = THEMES[(THEMES.indexOf(localStorage.getItem("adapterd.theme") || "auto") + 1) % THEMES.length];
    localStorage.setItem("adapterd.theme", theme);
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    say();
    redraw();
  });
  say();
  return button;
}

// ---- sign in ----

async function who() {
  const status = await get("/status");
  session.admin = status.caller.role === "admin";
  live.status = status;
  return status.caller;
}

function signIn(error) {
  live.stop();
  leave?.();
  leave = shell = null;
  const key = h("input", { type: "password", name: "key", autocomplete: "off", spellcheck: "false", required: true, placeholder: "ad_…" });
  const said = h("div", error ? problem(error) : null);
  const form = h("form", {
    onsubmit: async (event) => {
      event.preventDefault();
      session.key = key.value.trim();
      try {
        await begin(await who());
      } catch (failure) {
        session.key = "";
        replace(said, problem(failure));
        key.focus();
      }
    },
  }, h("label", { for: "key" }, "Key"), key, h("small", { id: "key-help" }, "A tenant's key shows what is the tenant's own, an admin key everything. It stays in this tab and is forgotten with it."),
  said, h("button.primary", "Sign in"));
  key.id = "key";
  key.setAttribute("aria-describedby", "key-help");
  document.title = "Sign in · adapterd";
  replace(app, h("main.sign-in", { id: "main" }, h("div.brand", brand(), themeButton()), h("h1", "Sign in"), form));
  key.focus();
}

function signOut() {
  session.key = session.tenant = "";
  session.admin = false;
  location.hash = "";
  signIn();
}

session.onrefused = (error) => {
  if (!shell) return;
  session.key = session.tenant = "";
  session.admin = false;
  signIn({ message: "This key is not valid any more.", hint: "It was revoked, or its time has come. Sign in with another one.", code: error.code });
};

// ---- the frame around pages ----

function brand() {
  return h("span.name", h("img", { src: new URL("icon.svg", import.meta.url), alt: "", width: 22, height: 22 }), "adapterd");
}

function tenantPicker() {
  const picker = h("select", { "aria-label": "Tenant whose things are shown", onchange: () => { session.tenant = picker.value; show(); } });
  const fill = () => replace(picker, tenants.length ? null : h("option", { value: "" }, "no tenant yet"),
    [...new Set([...tenants, session.tenant].filter(Boolean))].map((id) => h("option", { value: id, selected: id === session.tenant }, id)));
  fill();
  return { element: h("label.tenant", h("span", "Tenant"), picker), fill };
}

async function tenantsChanged() {
  tenants = (await listPages("/tenants", { most: 1000 })).map((t) => t.id);
  if (!tenants.includes(session.tenant)) session.tenant = tenants[0] || "";
  shell?.picker?.fill();
}

function stateLine() {
  const line = h("span.state", { role: "status" });
  const words = { live: "Live", lost: "Connection lost, trying again", connecting: "Connecting" };
  let before = "";
  live.listen((_, state) => {
    if (state === before) return;
    before = state;
    line.className = "state " + state;
    replace(line, h("i"), words[state]);
  });
  return line;
}

function frame(caller) {
  const picker = session.admin ? tenantPicker() : null;
  const links = PAGES.filter((p) => session.admin || !p.admin).map((p) =>
    h("a", { href: "#/" + p.path, "data-page": p.path }, icon(p.icon), h("span", p.title)));
  const main = h("main", { id: "main", tabindex: "-1" });
  replace(app, h("div.frame",
    h("header.top", brand(), stateLine(), h("div.push"), picker?.element,
      h("span.who", { title: "Signed in as" }, caller.role === "admin" ? "admin" : caller.tenant), themeButton(),
      session.key ? h("button.quiet.square", { type: "button", "aria-label": "Sign out", title: "Sign out", onclick: signOut }, icon("out")) : null),
    h("nav.side", { "aria-label": "Pages" }, links), main));
  shell = { main, links, picker };
}

// ---- pages ----

async function show() {
  if (!shell) return;
  const [path, query] = (location.hash.replace(/^#\/?/, "") || "overview").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const page = PAGES.find((p) => p.path === name && (session.admin || !p.admin)) || PAGES[0];
  const turn = ++shown;
  for (const link of shell.links) {
    if (link.dataset.page === page.path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave?.();
  leave = null;
  document.title = `${page.title} · adapterd`;
  const root = h("div.page", { "data-ready": "no" });
  replace(shell.main, root);
  try {
    const module = await page.load();
    if (turn !== shown) return;
    if (page.scoped && session.admin && !session.tenant) {
      replace(root, h("h1", page.title), h("div.empty", h("strong", "No tenant yet"), h("p", "Adapters, files and jobs belong to a tenant. Create one first."),
        h("div.actions", h("a.button.primary", { href: "#/tenants" }, "Create a tenant"))));
    } else {
      leave = (await module.render(root, { rest, query: new URLSearchParams(query || "") })) || null;
    }
    if (turn !== shown) { leave?.(); leave = null; return; }
  } catch (error) {
    if (turn === shown && shell) replace(root, h("h1", page.title), problem(error));
  }
  root.dataset.ready = "yes";
}

session.ontenants = tenantsChanged;

async function begin(caller) {
  if (session.admin) await tenantsChanged();
  frame(caller);
  live.start();
  await show();
}

window.addEventListener("hashchange", () => { show(); shell?.main.focus({ preventScroll: true }); window.scrollTo(0, 0); });
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError" || event.reason?.status === 401) return;
  toast(event.reason?.message || "Something went wrong.", "bad");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

// With --no-auth nobody needs a key.
who().then(begin).catch((error) => {
  const asked = session.key !== "";
  session.key = "";
  signIn(error.status === 401 && !asked ? null : error);
});
