"""Drawing in SVG: the frame of a chart, its markers, lines, bands and error bars.

A chart is 400 px wide in its own units, because that is what a phone shows without shrinking the letters below 10 px.
Colours are classes, so that the page's variables decide them, in the light and in the dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vcmbench.report.html.axes import Axis
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.styles import Style

WIDTH = 400
LEFT, RIGHT, TOP, BOTTOM = 46.0, 10.0, 26.0, 42.0
_RADIUS = 4.2
_TICK_GAP = 44  # px between ticks of x


def svg(name: str, height: float, *children: object, width: float = WIDTH, class_: str = "chart") -> Markup:
    """A picture with a name for those who do not see it. Its parts are decoration to a screen reader: role img."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", *children, viewBox=box, role="img", aria_label=name, class_=class_)


def text(x: float, y: float, words: object, anchor: str = "start", class_: str | None = None) -> Markup:
    """Letters with their baseline at y."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def frame(x: Axis, y: Axis, x_label: str, y_label: str, y_ticks: int = 5) -> Markup:
    """Lines at the ticks of y, ticks of x, both labels. The label of y stands above it, to be read without turning."""
    parts = []
    ticks = y.ticks(y_ticks)
    for tick, label in zip(ticks, y.labels(ticks), strict=True):
        parts.append(line(x.start, y(tick), x.end, y(tick), "grid"))
        parts.append(text(x.start - 6, y(tick) + 4, label, "end", "tick"))
    parts += [bottom_axis(x, y.start, x_label), text(2, 13, y_label, class_="title")]
    return element("g", parts)


def bottom_axis(x: Axis, y: float, label: str) -> Markup:
    """The line below a chart with its ticks and its label."""
    ticks = x.ticks(max(2, int((x.end - x.start) / _TICK_GAP)))
    marks = [line(x(tick), y, x(tick), y + 4, "axis") for tick in ticks]
    words = [text(x(tick), y + 17, word, "middle", "tick") for tick, word in zip(ticks, x.labels(ticks), strict=True)]
    title = text((x.start + x.end) / 2, y + 35, label, "middle", "label")
    return element("g", line(x.start, y, x.end, y, "axis"), marks, words, title)


def marker(x: float, y: float, style: Style, title: str | None = None, radius: float = _RADIUS) -> Markup:
    """A marker of the series' shape and colour; `title` is shown by pointing at it."""
    kind = "mark hollow" if style.hollow else "mark"
    name = element("title", title) if title else None
    return element("path", name, d=_shape(style.marker, x, y, radius), class_=f"{kind} s{style.slot}")


def polyline(points: Sequence[tuple[float, float]], style: Style) -> Markup:
    """A line in the series' colour and dash."""
    dash = " ".join(str(length) for length in style.dash) or None
    return element("path", d=_path(points), class_=f"line s{style.slot}", stroke_dasharray=dash)


def band(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], style: Style) -> Markup:
    """The area between two lines, as a light shade; over a single point, an error bar."""
    if len(upper) == 1:
        return error_bar(*upper[0], *lower[0], style)
    return element("path", d=_path([*upper, *reversed(lower)]) + "Z", class_=f"band s{style.slot}")


def error_bar(x1: float, y1: float, x2: float, y2: float, style: Style) -> Markup:
    """A 95 % interval of one value."""
    return line(x1, y1, x2, y2, f"error s{style.slot}")


def swatch(style: Style) -> Markup:
    """Line and marker of a series, for a legend. A text stands beside it, so it has no name of its own."""
    parts = polyline([(1, 8), (31, 8)], style), marker(16, 8, style)
    return element("svg", parts, viewBox="0 0 32 16", class_="swatch", aria_hidden="true", width=32, height=16)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _polygon(x: float, y: float, radius: float, corners: int, turn: float) -> str:
    angles = [turn + 2 * math.pi * corner / corners for corner in range(corners)]
    return _path([(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]) + "Z"


def _shape(name: str, x: float, y: float, radius: float) -> str:
    """Outlines of about equal area."""
    quarter = math.pi / 2
    if name == "circle":
        return (
            f"M{x - radius:.1f} {y:.1f}a{radius} {radius} 0 1 0 {2 * radius} 0a{radius} {radius} 0 1 0 {-2 * radius} 0Z"
        )
    if name == "plus":
        return _cross(x, y, radius * 1.15, 0.0)
    if name == "cross":
        return _cross(x, y, radius * 1.15, quarter / 2)
    corners, turn, size = {
        "square": (4, quarter / 2, 1.25),
        "triangle": (3, -quarter, 1.4),
        "diamond": (4, 0.0, 1.35),
        "nabla": (3, quarter, 1.4),
        "hexagon": (6, 0.0, 1.1),
        "bar": (4, 0.0, 1.0),
    }[name]
    return _polygon(x, y, radius * size, corners, turn)


def _cross(x: float, y: float, radius: float, turn: float) -> str:
    arm = radius * 0.36
    outline = [(radius, -arm), (radius, arm), (arm, arm)]
    points = []
    for quarter in range(4):
        angle = turn + quarter * math.pi / 2
        cos, sin = math.cos(angle), math.sin(angle)
        points += [(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in outline]
    return _path(points) + "Z"
