// Lines over time or steps, by uPlot, in the colours of the page.
import { h } from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const all = new Set();

// `series`: [{label, colour: "--c1", values, dash, points}] over `x`. `format` writes a value; `times`: x is seconds since 1970.
export function chart({ title, x, series, format = String, times = false, height = 180, xLabel, least = 0 }) {
  const box = h("div.plot");
  const legend = h("div.legend", { "aria-hidden": "true" });
  const figure = h("figure.chart", { role: "img", "aria-label": title }, legend, box);
  const own = { x, series, plot: null, watcher: null };

  function draw() {
    own.plot?.destroy();
    const width = box.clientWidth || 300;
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const options = {
      width, height, cursor: { points: { size: 6 }, drag: { x: false, y: false } }, legend: { show: false }, padding: [8, 8, 0, 0],
      scales: { x: { time: times }, y: { range: (_, low, high) => [Math.min(0, low), Math.max(least, high > 0 ? high * 1.1 : 1)] } },
      axes: [{ ...axis, size: 26, space: times ? 70 : 50, values: times ? (_, ticks) => ticks.map((t) => clock(t, own.x)) : undefined }, { ...axis, size: 56, values: (_, ticks) => ticks.map((t) => (t === null ? "" : format(t))) }],
      series: [{}, ...own.series.map((s) => ({ stroke: colour(s.colour), width: 1.75, dash: s.dash, spanGaps: Boolean(s.points), points: { show: Boolean(s.points), size: 5, fill: colour(s.colour) },
        fill: s.fill ? colour(s.colour) + "1f" : undefined }))],
      hooks: { setCursor: [(plot) => say(plot.cursor.idx)] },
    };
    own.plot = new uPlot(options, [own.x, ...own.series.map((s) => s.values)], box);
    say(null);
  }

  // What stands under the cursor; without one each line's last value.
  function say(at) {
    const value = (s) => { const i = at ?? lastIndex(s.values), v = s.values[i]; return v === null || v === undefined ? "–" : format(v); };
    legend.replaceChildren(...own.series.map((s) => {
      const key = h("i");
      key.style.setProperty("background", colour(s.colour));
      return h("span", key, s.label, " ", h("b", value(s)));
    }), h("span.at", at === null || at === undefined || own.x[at] === undefined ? "" : times ? clock(own.x[at], own.x) : `${xLabel || "at"} ${own.x[at]}`));
    if (at === null || at === undefined) figure.setAttribute("aria-label", `${title}. ` + own.series.map((s) => `${s.label}: now ${value(s)}`).join(", "));
  }

  own.watcher = new ResizeObserver(() => {
    if (own.plot && box.clientWidth && own.plot.width !== box.clientWidth) own.plot.setSize({ width: box.clientWidth, height });
    else if (!own.plot && box.clientWidth) draw();
  });
  own.watcher.observe(box);
  own.draw = () => own.plot && draw();
  all.add(own);
  return {
    element: figure,
    update(newX, values) {
      own.x = newX;
      values.forEach((v, i) => (own.series[i].values = v));
      if (own.plot) { own.plot.setData([newX, ...values]); say(null); }
    },
    destroy() { own.watcher.disconnect(); own.plot?.destroy(); all.delete(own); },
  };
}

// The day where the line is of many, the time of day otherwise.
function clock(t, x) {
  const date = new Date(t * 1000), span = x[x.length - 1] - x[0];
  if (span > 3 * 86400) return date.toLocaleDateString(undefined, { month: "short", day: "numeric", timeZone: "UTC" });
  return date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(span < 300 ? { second: "2-digit" } : {}), hourCycle: "h23" });
}

function lastIndex(values) {
  let i = values.length - 1;
  while (i > 0 && (values[i] === null || values[i] === undefined)) i--;
  return i;
}

// The colours have changed.
export function redraw() {
  for (const own of all) own.draw();
}
