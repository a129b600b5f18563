"""The charts of the report, each a function from data to one SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.estimate import Estimate
from vcmbench.io.text import visible
from vcmbench.report.content import Losses, RateCurve, Scatter, pristine_levels
from vcmbench.report.html import draw
from vcmbench.report.html.axes import Axis, padded, padded_log
from vcmbench.report.html.draw import BOTTOM, LEFT, RIGHT, TOP, WIDTH
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.styles import Style, Styles
from vcmbench.report.text import interval, number
from vcmbench.report.text import rate as rate_words

_UNITS = {"bpp": "bits per pixel"}
_HEIGHT, _ROW = 290.0, 22.0


def rate_label(unit: str) -> str:
    """What the axis of rates is called."""
    return f"Rate in {_UNITS.get(unit, visible(unit))}, logarithmic"


def rate_chart(curves: Sequence[RateCurve], styles: Styles, y_label: str, name: str) -> Markup:
    """A measure over rate, a line with its band a series. At least one point must be there to be drawn."""
    points = [point for curve in curves for point in curve.shown]
    pristine = pristine_levels(curves)
    is_share = curves[0].against != "pristine" and curves[0].higher_is_better
    limits = (0.0, 1.0) if is_share else (None, None)  # metrics have scales of their own, and differences are signed
    low, high = padded(extent(value for _, value, _ in points) + pristine, *limits)
    x = Axis(*padded_log([rate for rate, _, _ in points]), LEFT, WIDTH - RIGHT, log=True)
    y = Axis(low, high, _HEIGHT - BOTTOM, TOP)
    parts = [draw.frame(x, y, rate_label(curves[0].unit), y_label)]
    for value in pristine:
        parts.append(draw.line(x.start, y(value), x.end, y(value), "reference"))
        parts.append(draw.text(x.start + 4, y(value) - 4, f"pristine {number(value)}", class_="tick"))
    parts += [_bands(curve, x, y, styles[curve.series]) for curve in curves]
    parts += [_line(curve, x, y, styles[curve.series]) for curve in curves]
    return draw.svg(name, _HEIGHT, parts)


def _bands(curve: RateCurve, x: Axis, y: Axis, style: Style) -> Markup:
    """The 95 % band: one piece for each run of points that have an interval."""
    runs: list[list[tuple[float, float, float]]] = [[]]
    for rate, value, _ in curve.shown:
        if value.interval is None:
            runs.append([])
        else:
            runs[-1].append((x(rate), y.inside(value.interval[1]), y.inside(value.interval[0])))
    pieces = [draw.band([(a, b) for a, b, _ in run], [(a, c) for a, _, c in run], style) for run in runs if run]
    return element("g", pieces, class_=f"series-{style.index}")


def _line(curve: RateCurve, x: Axis, y: Axis, style: Style) -> Markup:
    places = [(x(rate), y(value.value)) for rate, value, _ in curve.shown if value.value is not None]
    marks = [
        draw.marker(*place, style, _hint(curve, rate, value, quality))
        for place, (rate, value, quality) in zip(places, curve.shown, strict=True)
    ]
    drawn = draw.polyline(places, style) if len(places) > 1 else None
    return element("g", drawn, marks, class_=f"series-{style.index}")


def _hint(curve: RateCurve, rate: float, value: Estimate, quality: float | None) -> str:
    at = "" if quality is None else f" at quality {quality:g}"
    return f"{curve.series.label}{at}: {number(value.value or 0.0)} {interval(value)}, {rate_words(rate)} {curve.unit}"


@dataclass(frozen=True)
class ForestRow:
    """A row of a forest plot. Estimates without a value leave their row empty, with the word "missing"."""

    label: str
    value: Estimate
    style: Style


def extent(estimates: Iterable[Estimate]) -> list[float]:
    """All values and limits; empty where nothing is known."""
    return [end for one in estimates if one.value is not None for end in (one.value, *(one.interval or ()))]


def forest(
    rows: Sequence[ForestRow], x_label: str, name: str, zero: bool, limits: tuple[float, float] | None = None
) -> Markup:
    """Values with their intervals below each other, on one axis; `zero` draws a line there. Needs one value."""
    known = extent(row.value for row in rows)
    low, high = limits or padded([*known, 0.0] if zero else known)
    left = min(150.0, 12 + 6.6 * max(len(_short(row.label)) for row in rows))
    x = Axis(low, high, left, WIDTH - RIGHT)
    bottom = 8 + _ROW * len(rows)
    parts = [draw.line(x(tick), 4, x(tick), bottom, "grid") for tick in x.ticks(max(2, int((x.end - left) / 48)))]
    if zero:
        parts.append(draw.line(x(0.0), 4, x(0.0), bottom, "reference"))
    parts += [_forest_row(row, 8 + _ROW * (index + 0.5), x) for index, row in enumerate(rows)]
    return draw.svg(name, bottom + BOTTOM, parts, draw.bottom_axis(x, bottom, x_label))


def _forest_row(row: ForestRow, y: float, x: Axis) -> Markup:
    label = draw.text(x.start - 8, y + 4, _short(row.label), "end", "tick")
    if row.value.value is None:
        return element("g", label, draw.text(x.start + 6, y + 4, "missing", class_="tick"))
    ends = row.value.interval
    bar = draw.error_bar(x(ends[0]), y, x(ends[1]), y, row.style) if ends else None
    title = f"{row.label}: {number(row.value.value)} {interval(row.value)}"
    return element("g", label, bar, draw.marker(x(row.value.value), y, row.style, title))


def _short(label: str, most: int = 21) -> str:
    label = visible(label)
    return label if len(label) <= most else f"{label[: most - 1]}\u2026"


def damage_chart(damage: Losses, styles: Styles, y_label: str, name: str) -> Markup:
    """Damage of a few rows (distance bands), the series beside each other within each. Needs one value."""
    y = Axis(*padded([*extent(cell for row in damage.losses for cell in row), 0.0]), _HEIGHT - BOTTOM, TOP)
    x = Axis(0.0, float(len(damage.rows)), LEFT, WIDTH - RIGHT)
    parts = []
    for tick, label in zip(y.ticks(5), y.labels(y.ticks(5)), strict=True):
        parts += [draw.line(x.start, y(tick), x.end, y(tick), "reference" if tick == 0 else "grid")]
        parts += [draw.text(x.start - 6, y(tick) + 4, label, "end", "tick")]
    parts += [draw.text(x(i + 0.5), y.start + 17, _short(row), "middle", "tick") for i, row in enumerate(damage.rows)]
    parts += [draw.line(x(float(i)), y.end, x(float(i)), y.start, "grid") for i in range(1, len(damage.rows))]
    step = 0.8 / max(len(damage.columns), 1)
    for column, series in enumerate(damage.columns):
        style, marks = styles[series], []
        for row, name_ in enumerate(damage.rows):
            cell, place = damage.losses[row][column], x(row + 0.1 + step * (column + 0.5))
            if cell.value is not None:
                ends = cell.interval
                marks += [draw.error_bar(place, y(ends[0]), place, y(ends[1]), style)] if ends else []
                hint = f"{series.label}, {name_}: {number(cell.value)} {interval(cell)}"
                marks += [draw.marker(place, y(cell.value), style, hint)]
        parts.append(element("g", marks, class_=f"series-{style.index}"))
    parts += [draw.text(2, 13, y_label, class_="title")]
    parts += [draw.text((x.start + x.end) / 2, y.start + 35, "Distance", "middle", "label")]
    return draw.svg(name, _HEIGHT, parts)


def scatter_chart(scatter: Scatter, styles: Styles, name: str) -> Markup | None:
    """Machine's score over metric, a marker a sample; None where nothing is finite. Narrower than other charts."""
    clouds, total = scatter.sampled()
    if not total:
        return None
    width, height = 300.0, 240.0
    dots = np.concatenate(clouds)
    x = Axis(*padded([float(dots[:, 0].min()), float(dots[:, 0].max())]), LEFT, width - RIGHT)
    y = Axis(*padded([float(dots[:, 1].min()), float(dots[:, 1].max())], 0.0, 1.0), height - BOTTOM, TOP)
    unit = f" in {scatter.unit}" if scatter.unit else ""
    better = "more is better" if scatter.higher_is_better else "less is better"
    parts: list[Markup | None] = [draw.frame(x, y, f"{visible(scatter.metric)}{unit} ({better})", scatter.machine)]
    for cloud, found in zip(scatter.clouds, clouds, strict=True):
        style = styles[cloud.series]
        marks = [draw.marker(x(float(a)), y(float(b)), style, radius=2.4) for a, b in found]
        parts.append(element("g", marks, class_=f"dots series-{style.index}"))
    if scatter.fit is not None:
        parts.append(_fit(scatter.fit, x, y))
    return draw.svg(name, height, parts, width=width, class_="chart small")


def _fit(fit: NDArray[np.float64], x: Axis, y: Axis) -> Markup | None:
    """The part of the fitted curve that lies within the chart."""
    inside = [(a, b) for a, b in fit.tolist() if x.low <= a <= x.high and y.low <= b <= y.high]
    if len(inside) < 2:
        return None
    return element("path", d="M" + "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in sorted(inside)), class_="fit")
