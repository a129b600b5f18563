"""The section on one sequence over time: bits, QP, accuracy and stability frame by frame, and a clip that plays."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise

from vcmbench.report.content import Timeline
from vcmbench.report.html import draw, prose
from vcmbench.report.html.axes import Axis, padded
from vcmbench.report.html.draw import BOTTOM, LEFT, RIGHT, WIDTH
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, figure, grid, heading, paragraph
from vcmbench.report.html.tables import Cell, Column, behind, table
from vcmbench.report.styles import Style
from vcmbench.report.text import MISSING, number

_PANEL, _GAP = 84.0, 30.0

_Values = Sequence[float | None]


def over_time_section(page: Page) -> Section:
    """A chart of each way of coding that is shown; all but the first, which has a clip, are to be opened."""
    body: list[Markup | None] = []
    for timeline in page.content.timelines:
        caption = f"{timeline.title}: frame by frame"
        chart = _chart(timeline, page.styles[timeline.series], caption)
        shown = figure(chart, f"{caption}.", _data(page, timeline, caption))
        if body:
            body.append(behind(timeline.title, shown))
        else:
            body += [paragraph(prose.OVER_TIME), heading(timeline.title), grid([shown, _clip(timeline)])]
    return Section("time", "Over time", body)  # pictures on their own lack nothing


def _chart(timeline: Timeline, style: Style, caption: str) -> Markup:
    """Panels below each other that share an axis of frames."""
    rows: list[tuple[str, _Values, _Values, bool]] = [
        ("kbit a frame", timeline.kbit, [], True),
        ("QP", timeline.qp, [], False),
        ("Accuracy", timeline.accuracy, [], False),
        ("Pixels that change class, %; dashed: pristine", _percent(timeline.changed),
         _percent(timeline.changed_pristine), False),
    ]  # fmt: skip
    rows = [row for row in rows if any(value is not None for value in row[1])]
    last = max(len(timeline.times_s) - 1, 1)
    x = Axis(-0.5, last + 0.5, LEFT, WIDTH - RIGHT)
    parts, top = [], 24.0
    for label, values, beside, are_bars in rows:
        known = [value for value in (*values, *beside) if value is not None]
        low, high = padded([0.0, *known] if are_bars else known, 0.0)
        y = Axis(0.0 if are_bars else low, high, top + _PANEL, top)
        parts += [_grid(x, y, label), _keys(timeline, x, y)]
        parts += [_lines(beside, x, y, None), _bars(values, x, y) if are_bars else _lines(values, x, y, style)]
        top += _PANEL + _GAP
    height = top - _GAP + BOTTOM
    parts.append(draw.bottom_axis(x, top - _GAP, "Frame"))
    return draw.svg(caption, height, parts, class_="chart timeline")


def _percent(values: _Values) -> _Values:
    return [None if value is None else 100 * value for value in values]


def _grid(x: Axis, y: Axis, label: str) -> Markup:
    ticks = y.ticks(3)
    parts = [draw.line(x.start, y(tick), x.end, y(tick), "grid") for tick in ticks]
    parts += [draw.text(x.start - 6, y(tick) + 4, word, "end", "tick")
              for tick, word in zip(ticks, y.labels(ticks), strict=True)]  # fmt: skip
    return element("g", parts, draw.text(2, y.end - 8, label, class_="title"))


def _keys(timeline: Timeline, x: Axis, y: Axis) -> Markup:
    """A line at every intra picture, where they are not all intra."""
    types = timeline.types
    keys = [place for place, kind in enumerate(types) if kind == "I"] if set(types) != {"I"} else []
    return element("g", (draw.line(x(place), y.start, x(place), y.end, "reference") for place in keys))


def _bars(values: _Values, x: Axis, y: Axis) -> Markup:
    width = max(1.0, 0.8 * (x(1) - x(0)))
    bars = [element("rect", element("title", f"frame {place}: {number(value)} kbit"), x=round(x(place) - width / 2, 2),
                    y=round(y(value), 2), width=round(width, 2), height=round(y(0) - y(value), 2), class_="bar")
            for place, value in enumerate(values) if value is not None]  # fmt: skip
    return element("g", bars)


def _lines(values: _Values, x: Axis, y: Axis, style: Style | None) -> Markup:
    """The values as lines, broken where one is not known; in gray without a style."""
    runs: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((x(place), y(value)))
    if style is not None:
        return element("g", (draw.polyline(run, style) for run in runs if run), class_=f"series-{style.index}")
    segments = [(*one, *other) for run in runs for one, other in pairwise(run)]
    return element("g", (draw.line(*ends, "reference") for ends in segments))


def _clip(timeline: Timeline) -> Markup | None:
    if not timeline.clip:
        return None
    address = f"data:image/webp;base64,{base64.b64encode(timeline.clip).decode('ascii')}"
    words = f"{timeline.title}, the first frames: pristine, decoded, and lost pixels, from top to bottom"
    picture = element("img", src=address, alt=words, loading="lazy", class_="clip")
    return element("details", element("summary", "The clip: pristine, decoded, lost pixels"), picture, open="open")


def _data(page: Page, timeline: Timeline, caption: str) -> Markup:
    """The numbers of the chart."""
    columns = (timeline.kbit, timeline.qp, timeline.accuracy, _percent(timeline.changed),
               _percent(timeline.changed_pristine))  # fmt: skip
    rows = []
    for place, time_s in enumerate(timeline.times_s):
        cells = [values[place] if place < len(values) else None for values in columns]
        kind = timeline.types[place] if place < len(timeline.types) else MISSING
        rows.append([Cell(place, place), Cell(f"{time_s:.3f}", time_s), Cell(kind),
                     *(Cell(MISSING if cell is None else number(cell), cell) for cell in cells)])  # fmt: skip
    titles = ("Time in s", "Type", "kbit", "QP", "Accuracy", "Changed in %", "Changed in %, pristine")
    return table(page.id("table"), caption, [Column("Frame"), *(Column(title) for title in titles)], rows, page.notes())
