"""A curve as an SVG: panels one below the other over one logarithmic axis, every point with its value. It has its own
background, dark where the viewer says that it is."""

import math
from dataclasses import dataclass
from xml.sax.saxutils import escape

from .results import number

WIDTH, LEFT, RIGHT, TOP, PANEL, GAP, BOTTOM = 720, 76, 32, 58, 180, 46, 56
STYLE = """
  .back { fill: #ffffff } text { fill: #24292f; font: 12px sans-serif } .title { font-size: 15px; font-weight: bold }
  .grid { stroke: #d0d7de; stroke-width: 1 } .curve { fill: none; stroke: #0969da; stroke-width: 2 } .point { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d } .curve { stroke: #58a6ff } .point { fill: #58a6ff }
  }
"""


@dataclass(frozen=True)
class Panel:
    """One figure over the axis; from zero up, or logarithmic where it spans more than one can see so."""

    figure: str
    words: str
    logarithmic: bool = False


def draw(title, axis, panels, points, bytes=False, note=""):
    """The file's text. `points` are pairs of where on the axis and figures by name; a panel leaves out points without its
    figure."""
    height = TOP + len(panels) * (PANEL + GAP) - GAP + BOTTOM
    places = across([at for at, _ in points])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        text(LEFT, 24, title, "start", "title"),
    ]
    for at, panel in enumerate(panels):
        parts += drawn(panel, points, places, TOP + at * (PANEL + GAP))
    floor = height - BOTTOM
    parts += [text(spot, floor + 18, place(at, bytes)) for at, spot in places.items()]
    parts += [text((LEFT + WIDTH - RIGHT) / 2, floor + 36, axis), text(WIDTH - 8, floor + 50, note, "end"), "</svg>"]
    return "\n".join(parts) + "\n"


def drawn(panel, points, places, top):
    """One panel whose upper edge is there."""
    here = [(at, figures[panel.figure]) for at, figures in points if figures.get(panel.figure)]
    ticks = decades([value for _, value in here]) if panel.logarithmic else steps([value for _, value in here])
    down = heights(ticks, panel.logarithmic, top)
    parts = [text(LEFT, top - 8, panel.words, "start")]
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {down(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(text(LEFT - 8, down(tick) + 4, short(tick), "end"))
    spots = [(places[at], down(value), value) for at, value in here]
    if spots:
        line = "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in spots)
        parts.append(f'<path class="curve" d="M{line}"/>')
    for x, y, value in spots:
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        # Where there is no room above, below.
        parts.append(text(x, y - 8 if y - top > 14 else y + 18, number(value)))
    return parts


def across(values):
    """Where on the logarithmic axis each is."""
    least, most = min(values), max(values)
    span = math.log(most / least) or 1
    inner = (LEFT + 24, WIDTH - RIGHT - 24)
    return {value: inner[0] + (inner[1] - inner[0]) * math.log(value / least) / span for value in values}


def heights(ticks, logarithmic, top):
    """A function from a value to where it is."""
    scale = math.log if logarithmic else float
    least, most = scale(ticks[0]), scale(ticks[-1])
    return lambda value: top + PANEL * (most - scale(value)) / (most - least)


def steps(values):
    """From zero to above all of them, in four to eight equal steps of 1, 2 or 5."""
    most = max(values, default=1)
    ten = 10.0 ** math.floor(math.log10(most / 4))
    step = next(ten * factor for factor in (1, 2, 5, 10) if most / (ten * factor) <= 8)
    return [step * n for n in range(math.ceil(most / step) + 1)]


def decades(values):
    """Powers of ten, from below all of them to above."""
    low, high = math.floor(math.log10(min(values, default=1))), math.ceil(math.log10(max(values, default=10)))
    return [10.0**n for n in range(low, max(high, low + 1) + 1)]


def text(x, y, words, anchor="middle", kind=""):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def short(value):
    """30000 as 30k."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def place(value, bytes):
    """A point on the axis in words; bytes as they are counted in memory."""
    if not bytes:
        return short(value)
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= unit:
            return f"{value // unit} {name}"
    return f"{value} B"
