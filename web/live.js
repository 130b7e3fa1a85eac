// The status of the daemon as it changes: one stream for all pages, taken up again whenever it breaks, and let go while
// nobody looks.
import { events, session } from "./api.js";

const listeners = new Set();
let stop = null, wait = 500;

export const live = {
  status: null,
  state: "connecting", // "live", "lost"
  // `f(status, state)`, at once and with each change; gives what ends that.
  listen(f) {
    listeners.add(f);
    f(live.status, live.state);
    return () => listeners.delete(f);
  },
  start() { if (!stop) follow(); },
  stop() { stop?.abort(); stop = null; },
};

function tell(state) {
  live.state = state;
  for (const f of listeners) f(live.status, state);
}

async function follow() {
  const own = (stop = new AbortController());
  while (stop === own) {
    try {
      for await (const event of events("GET", "/status", { query: { stream: "true" }, signal: own.signal })) {
        live.status = JSON.parse(event.data);
        wait = 500;
        tell("live");
      }
    } catch (error) {
      if (own.signal.aborted || error.status === 401) return;
    }
    if (stop !== own) return;
    tell("lost");
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 1.6, 5000);
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) live.stop();
  else if (session.key || session.admin) live.start();
});
