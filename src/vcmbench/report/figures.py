"""Figures for a paper: the report's charts by matplotlib, as SVG and PDF with letters that stay letters.

The data, colours, markers and dashes are those of the page; text is kept as text (PDF font type 42, SVG text elements),
so that figures can be searched and edited. Files are the same each time: no dates, no random ids.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vcmbench.data.estimate import Estimate
from vcmbench.io.files import hidden_beside, write_atomically
from vcmbench.io.progress import counted
from vcmbench.io.text import visible
from vcmbench.report.content import (
    BdRow,
    CorrelationTable,
    Losses,
    MapComparison,
    RateCurve,
    ReportContent,
    Scatter,
    by_measure,
    pristine_levels,
)
from vcmbench.report.styles import COLOURS, Style, Styles, styles_of
from vcmbench.report.text import AGAINST, capital, measure_words, measures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMN_IN = 3.5  # a column of a two-column paper
_RC: Any = {
    "font.family": "sans-serif", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6, "lines.linewidth": 1.1, "lines.markersize": 3.6,
    "grid.linewidth": 0.4, "grid.color": "#d5d9de", "axes.spines.top": False, "axes.spines.right": False,
    "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "vcmbench", "text.parse_math": False,
    "axes.unicode_minus": True, "axes.formatter.use_mathtext": False,
}  # fmt: skip
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def write_figures(content: ReportContent, folder: Path) -> list[Path]:
    """Write all figures that the content has data for; `folder` is made. Returns the files, each whole or not there.

    Names are made of what is known ("accuracy_pseudo.svg"), and of codecs' names only where they are plain letters.
    """
    import matplotlib  # here, because it takes longer to import than most commands take

    written = []
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box is shown in the PDF
        figures = list(_figures(content))
        for name, figure in counted(figures, len(figures), "figure", lambda one: one[0]):
            for kind, metadata in _METADATA.items():
                data = io.BytesIO()
                figure.savefig(data, format=kind, bbox_inches="tight", pad_inches=0.02, metadata=metadata)
                path = folder / f"{name}.{kind}"
                write_atomically(path, data.getvalue(), hidden_beside(path))
                written.append(path)
    return written


def _figures(content: ReportContent) -> Iterator[tuple[str, Figure]]:
    styles = styles_of(content)
    for against in AGAINST:
        for measure in measures():
            curves = [curve for curve in content.curves_of(against, measure) if curve.shown]
            if curves:
                yield f"{measure}_{against}", rate_figure(curves, styles)
    named: Counter[str] = Counter()
    for table in content.correlations:
        if any(row.values.get("SROC", _NOTHING).value is not None for row in table.rows):
            name = "_".join(["correlation", *map(_safe, filter(None, (table.level, table.size, table.group)))])
            named[name] += 1
            yield name if named[name] == 1 else f"{name}_{named[name]}", correlation_figure(table)
    drawn = [scatter for scatter in content.scatters if scatter.sampled()[1]]
    if drawn:
        yield "scatter", scatter_figure(drawn, styles)
    damages: Counter[str] = Counter()
    for by, damage in [("class", one) for one in content.class_damage] + [(one.by, one) for one in content.band_damage]:
        damages[by] += 1
        if any(cell.value is not None for row in damage.losses for cell in row):
            yield f"damage_{by}_{damages[by]}", damage_figure(damage, styles)
    if any(effect.difference.value is not None for one in content.comparisons for effect in one.effects):
        yield "mapped_uniform", map_figure(content.comparisons, styles)
    for against, measure in dict.fromkeys((row.against, row.measure) for row in content.headroom):
        rows = [row for row in content.headroom if (row.against, row.measure) == (against, measure)]
        if any(row.bd_rate_percent.value is not None for row in rows):
            yield f"headroom_{_safe(measure)}_{against}", headroom_figure(rows, styles)


_NOTHING = Estimate(reason="not computed")


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name)[:40]


def _new(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)  # without pyplot, which keeps every figure and looks for a screen
    return figure


def _look(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "marker": style.mpl_marker,
        "markerfacecolor": "white" if style.hollow else style.colour,
        "linestyle": (0, tuple(length / 1.6 for length in style.dash)) if style.dash else "-",
    }


def _legend(target: Any, labelled: Sequence[tuple[Any, str]], **place: Any) -> None:
    """A legend whose labels may start with "_", which matplotlib would leave out."""
    legend = target.legend([handle for handle, _ in labelled], ["x"] * len(labelled), frameon=False, **place)
    for words, (_, label) in zip(legend.get_texts(), labelled, strict=True):
        words.set_text(visible(label))


def rate_figure(curves: Sequence[RateCurve], styles: Styles) -> Figure:
    """A measure over rate, with bands."""
    figure = _new(_COLUMN_IN, 2.6)
    axes = figure.add_subplot()
    labelled = []
    for curve in curves:
        points, style = curve.shown, styles[curve.series]
        (drawn,) = axes.plot([p[0] for p in points], [p[1].value or 0.0 for p in points], **_look(style))
        ends = [value.interval or (math.nan, math.nan) for _, value, _ in points]
        low, high = [low for low, _ in ends], [high for _, high in ends]
        axes.fill_between([p[0] for p in points], low, high, color=style.colour, alpha=0.14, linewidth=0)
        labelled.append((drawn, curve.series.label))
    for value in pristine_levels(curves):
        axes.axhline(value, color="black", linewidth=0.6, linestyle=(0, (4, 3)))
        axes.annotate("pristine", (0.01, value), xycoords=("axes fraction", "data"), va="bottom", fontsize=6.5)
    axes.set_xscale("log")
    _log_labels(axes)
    axes.set_xlabel(f"Rate in {curves[0].unit}")
    axes.set_ylabel(f"{measures()[curves[0].measure]}, {AGAINST[curves[0].against]}")
    axes.grid(axis="y")
    _legend(axes, labelled, loc="lower right")
    return figure


def _log_labels(axes: Axes) -> None:
    """0.05, 0.1, 0.2 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _rows(axes: Axes, rows: Sequence[tuple[str, Estimate, Style]], label: str) -> None:
    """Values with intervals below each other."""
    for place, (_, value, style) in enumerate(rows):
        if value.value is None:
            continue
        if value.interval:
            axes.plot(value.interval, (place, place), color=style.colour, linewidth=1.0)
        axes.plot([value.value], [place], **_look(style))
    axes.set_yticks(range(len(rows)), [visible(name) for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(axis="x")


def correlation_figure(table: CorrelationTable) -> Figure:
    """Oriented SROCC of each metric with its interval."""
    shown = [*table.rows, *table.baselines]
    figure = _new(_COLUMN_IN, 0.7 + 0.17 * len(shown))
    plain = Style(len(COLOURS) - 1)
    rows = [(row.metric, row.oriented, plain) for row in shown]
    _rows(figure.add_subplot(), rows, f"SROCC, n = {table.n} of {table.clusters} pictures")
    return figure


def scatter_figure(scatters: Sequence[Scatter], styles: Styles) -> Figure:
    """Small multiples of all metrics, at most as many dots as on the page."""
    columns = min(4, len(scatters))
    rows = math.ceil(len(scatters) / columns)
    figure = _new(2 * _COLUMN_IN, 0.4 + 1.7 * rows)
    handles: dict[str, Any] = {}
    for index, scatter in enumerate(scatters):
        axes = figure.add_subplot(rows, columns, index + 1)
        for cloud, dots in zip(scatter.clouds, scatter.sampled()[0], strict=True):
            style = styles[cloud.series]
            look = _look(style) | {"linestyle": "none", "markersize": 1.6, "markeredgewidth": 0.2, "alpha": 0.7}
            (drawn,) = axes.plot(dots[:, 0], dots[:, 1], rasterized=False, **look)
            handles.setdefault(cloud.series.label, drawn)
        if scatter.fit is not None:
            axes.plot(scatter.fit[:, 0], scatter.fit[:, 1], color="black", linewidth=0.9)
        axes.set_xlabel(visible(scatter.metric) + (f" in {visible(scatter.unit)}" if scatter.unit else ""))
        axes.set_ylabel(visible(scatter.machine) if index % columns == 0 else "")
    _legend(figure, [(handle, label) for label, handle in handles.items()], loc="outside lower center", ncols=5,
            markerscale=2.5)  # fmt: skip
    return figure


def damage_figure(damage: Losses, styles: Styles) -> Figure:
    """Damage of each row, the series beside each other."""
    figure = _new(2 * _COLUMN_IN if len(damage.rows) > 8 else _COLUMN_IN, 2.6)
    axes = figure.add_subplot()
    step = 0.8 / max(len(damage.columns), 1)
    labelled = []
    for column, series in enumerate(damage.columns):
        cells = [row[column] for row in damage.losses]
        x = np.arange(len(cells)) - 0.4 + step * (column + 0.5)
        for place, cell in zip(x, cells, strict=True):
            if cell.interval:
                axes.plot((place, place), cell.interval, color=styles[series].colour, linewidth=0.9)
        values = [math.nan if cell.value is None else cell.value for cell in cells]
        (drawn,) = axes.plot(x, values, **(_look(styles[series]) | {"linestyle": "none"}))
        labelled.append((drawn, series.label))
    axes.axhline(0, color="black", linewidth=0.6)
    many = len(damage.rows) > 8
    axes.set_xticks(range(len(damage.rows)), [visible(row) for row in damage.rows], rotation=90 if many else 0)
    axes.set_ylabel(f"Loss of {measure_words(damage.measure)}")
    axes.grid(axis="y")
    _legend(figure, labelled, loc="outside upper center", ncols=8 if many else 5)
    return figure


def headroom_figure(rows: Sequence[BdRow], styles: Styles) -> Figure:
    """What maps save of each codec's bits, by one measure."""
    figure = _new(_COLUMN_IN, 0.7 + 0.17 * len(rows))
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=0.6)
    words = f"BD-rate in %, {measure_words(rows[0].measure)} against the {AGAINST[rows[0].against]}"
    _rows(axes, [(row.test.label, row.bd_rate_percent, styles[row.test]) for row in rows], words)
    return figure


def map_figure(comparisons: Sequence[MapComparison], styles: Styles) -> Figure:
    """Mapped minus uniform, a panel a measure on one axis."""
    found = by_measure(comparisons)
    columns = min(3, len(found))
    rows = math.ceil(len(found) / columns)
    figure = _new(2 * _COLUMN_IN, rows * (0.8 + 0.14 * len(comparisons)))
    shared: Axes | None = None
    for index, (name, effects) in enumerate(found.items()):
        axes = figure.add_subplot(rows, columns, index + 1, sharex=shared)
        shared = shared or axes
        lines = [(one.name, effect.difference, styles[one.series]) for one, effect in effects]
        axes.axvline(0, color="black", linewidth=0.6)
        _rows(axes, lines, "Mapped minus uniform")
        axes.set_title(visible(capital(name)), loc="left")
    return figure
