"""Small SVG charts: lines over a logarithmic axis, and grouped bars. Colours for light and dark pages."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 780, 360, 70, 240, 44, 56
COLOURS = ["#3b82c4", "#d9822b", "#3a9a5b", "#b5559b", "#8a7a2f", "#c0504d"]
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px }
.grid { stroke: #8c959f; stroke-opacity: .3 } .axis { stroke: #57606a } .limit { stroke: #57606a; stroke-dasharray: 6 4 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .axis, .limit { stroke: #9198a1 } }
</style>"""


def ticks(top):
    """Round steps from 0 to at least `top`, five or so."""
    raw = max(top, 1e-9) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def number(value):
    return f"{value:.10g}"


class Chart:
    def __init__(self, title, x_label, y_label, top):
        self.ticks, self.parts = ticks(top), []
        self.right, self.bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        self.text((LEFT + self.right) / 2, 22, title, "middle", "title")
        self.text((LEFT + self.right) / 2, HEIGHT - 14, x_label, "middle")
        self.parts.append(f'<text transform="translate(18 {(TOP + self.bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
                          f"{escape(y_label)}</text>")
        for t in self.ticks:
            self.line(LEFT, self.y(t), self.right, self.y(t), "grid")
            self.text(LEFT - 8, self.y(t) + 4, number(t), "end")
        self.line(LEFT, self.bottom, self.right, self.bottom, "axis")

    def y(self, value):
        return self.bottom - (self.bottom - TOP) * value / self.ticks[-1]

    def text(self, x, y, text, anchor="start", kind=""):
        kind = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, kind):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def legend(self, names):
        for i, name in enumerate(names):
            y = TOP + 8 + 22 * i
            self.parts.append(f'<rect x="{self.right + 16}" y="{y - 9}" width="14" height="10" rx="2" fill="{COLOURS[i % 6]}"/>')
            self.text(self.right + 36, y, name)

    def save(self, path):
        with open(path, "w") as f:
            f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n{STYLE}\n')
            f.write("\n".join(self.parts) + "\n</svg>\n")


def lines(path, title, x_label, y_label, series, limit=None):
    """series: name -> [(x, y)], x on a logarithmic axis; limit: (name, y), a broken line."""
    xs = sorted({x for points in series.values() for x, _ in points})
    top = max([y for points in series.values() for _, y in points] + ([limit[1]] if limit else []))
    chart = Chart(title, x_label, y_label, top)
    low, high = math.log(xs[0]), math.log(xs[-1]) if xs[-1] > xs[0] else math.log(xs[0]) + 1
    place = lambda x: LEFT + 14 + (chart.right - LEFT - 28) * (math.log(x) - low) / (high - low)
    for x in xs:
        chart.text(place(x), chart.bottom + 18, number(x), "middle")
    if limit:
        chart.line(LEFT, chart.y(limit[1]), chart.right, chart.y(limit[1]), "limit")
        chart.text(chart.right + 6, chart.y(limit[1]) + 4, limit[0])
    for i, points in enumerate(series.values()):
        path_points = " ".join(f"{place(x):.1f},{chart.y(y):.1f}" for x, y in points)
        chart.parts.append(f'<polyline points="{path_points}" fill="none" stroke="{COLOURS[i % 6]}" stroke-width="2"/>')
        chart.parts += [f'<circle cx="{place(x):.1f}" cy="{chart.y(y):.1f}" r="3" fill="{COLOURS[i % 6]}"/>' for x, y in points]
    chart.legend(series)
    if limit:  # the legend may not cover the limit's name
        chart.parts = shift_legend(chart, limit)
    chart.save(path)


def shift_legend(chart, limit):
    """Move legend entries below the limit's name where both stand at the top."""
    edge = chart.y(limit[1]) + 26
    if edge - 26 > TOP + 60:
        return chart.parts
    moved, legend = [], False
    for part in chart.parts:
        legend = legend or part.startswith(f'<rect x="{chart.right + 16}"')
        moved.append(f'<g transform="translate(0 {edge - TOP:.0f})">{part}</g>' if legend else part)
    return moved


def bars(path, title, x_label, y_label, groups, limit=None):
    """groups: [(group, {name: value})], every group with some of the same names."""
    names = list(dict.fromkeys(n for _, values in groups for n in values))
    top = max(v for _, values in groups for v in values.values())
    chart = Chart(title, x_label, y_label, max(top, limit[1] if limit else 0))
    room = (chart.right - LEFT) / len(groups)
    for i, (group, values) in enumerate(groups):
        width = room * 0.8 / len(values)
        for k, (name, value) in enumerate(values.items()):
            x = LEFT + room * (i + 0.1) + width * k
            chart.parts.append(f'<rect x="{x + 1:.1f}" y="{chart.y(value):.1f}" width="{width - 2:.1f}" '
                               f'height="{chart.bottom - chart.y(value):.1f}" fill="{COLOURS[names.index(name) % 6]}"/>')
        chart.text(LEFT + room * (i + 0.5), chart.bottom + 18, str(group), "middle")
    if limit:
        chart.line(LEFT, chart.y(limit[1]), chart.right, chart.y(limit[1]), "limit")
        chart.text(chart.right + 6, chart.y(limit[1]) + 4, limit[0])
        chart.legend(names)
        chart.parts = shift_legend(chart, limit)
    else:
        chart.legend(names)
    chart.save(path)
