// The daemon's HTTP interface. The key is kept for this tab alone and leaves it in the Authorization header alone.

// The console lies at ADDRESS/console/; what it talks to lies one above, whatever a proxy put before it.
const ROOT = new URL("..", import.meta.url);
const KEY = "adapterd.key", TENANT = "adapterd.tenant";

export const session = {
  get key() { return sessionStorage.getItem(KEY) || ""; },
  set key(key) { if (key) sessionStorage.setItem(KEY, key); else sessionStorage.removeItem(KEY); },
  // Whose things an admin looks at.
  get tenant() { return sessionStorage.getItem(TENANT) || ""; },
  set tenant(id) { if (id) sessionStorage.setItem(TENANT, id); else sessionStorage.removeItem(TENANT); },
  admin: false,
  onrefused: () => {}, // the key is not taken any more
  ontenants: async () => {}, // tenants came or went
};

export class ApiError extends Error {
  constructor(status, error) {
    super(error.message || `status ${status}`);
    Object.assign(this, { status, code: error.code, param: error.param, hint: error.hint, current: error.current });
  }
}

// An address of the daemon. `scoped`: an admin says whose things are meant.
export function address(path, query = {}, scoped = false) {
  const url = new URL(path.replace(/^\//, ""), ROOT);
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  if (scoped && session.admin && session.tenant) url.searchParams.set("tenant", session.tenant);
  return url;
}

export function authorization() {
  return session.key ? { Authorization: "Bearer " + session.key } : {};
}

async function refusal(response) {
  let error = {};
  try { error = (await response.json()).error || {}; } catch { /* not the daemon's own answer */ }
  const failure = new ApiError(response.status, error);
  if (response.status === 401) session.onrefused(failure);
  return failure;
}

export async function send(method, path, { query, body, scoped, headers, signal } = {}) {
  let response;
  try {
    response = await fetch(address(path, query, scoped), {
      method, signal, cache: "no-store", credentials: "omit", redirect: "error",
      headers: { ...authorization(), ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: "The daemon does not answer.", hint: "It may be starting again, or the network is down." });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function call(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, options) => call("POST", path, { ...options, body: body === undefined ? {} : body });
export const patch = (path, body, options) => call("PATCH", path, { ...options, body });
export const remove = (path, options) => call("DELETE", path, options);

// All pages of a list, at most `most` rows; `onpage` sees them as they come.
export async function pages(path, { query = {}, scoped, signal, most = 100000, onpage } = {}) {
  const rows = [];
  for (let after; rows.length < most;) {
    const page = await get(path, { query: { limit: 1000, ...query, after }, scoped, signal });
    rows.push(...page.data);
    onpage?.(rows, page);
    after = page.next;
    if (!after) break;
  }
  return rows;
}

// The events of a stream: {event, data}. Ends with the stream.
export async function* events(method, path, options) {
  const response = await send(method, path, options);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      const parts = text.split("\n\n");
      text = parts.pop();
      for (const part of parts) {
        const event = { event: "message", data: "" };
        for (const line of part.split("\n")) {
          if (line.startsWith("data:")) event.data += line.slice(5).trimStart();
          else if (line.startsWith("event:")) event.event = line.slice(6).trim();
        }
        if (event.data) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// A form with files; `onprogress` gets 0..1. Fetch cannot tell how much is sent.
export function upload(path, form, { scoped, onprogress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", address(path, {}, scoped));
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onprogress?.(event.loaded / event.total);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) return resolve({ status: request.status, body: request.response });
      const failure = new ApiError(request.status, request.response?.error || {});
      if (request.status === 401) session.onrefused(failure);
      reject(failure);
    };
    request.onerror = () => reject(new ApiError(0, { code: "unreachable", message: "The connection was lost while the files were sent." }));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

// Saves what an address gives, which a link cannot: links carry no key.
export async function download(path, name, options) {
  const response = await send("GET", path, options);
  save(await response.blob(), name);
}

export function save(content, name, type = "text/plain") {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
