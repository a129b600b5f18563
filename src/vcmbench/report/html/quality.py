"""Sections about quality metrics: how well they follow the machine, and what that looks like."""

from __future__ import annotations

import numpy as np

from vcmbench.data.estimate import Estimate
from vcmbench.report.content import MOST_DOTS, CorrelationRow, CorrelationTable, Scatter
from vcmbench.report.html import prose
from vcmbench.report.html.charts import ForestRow, extent, forest, scatter_chart
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, figure, grid, heading, paragraph
from vcmbench.report.html.tables import Cell, Column, behind, table
from vcmbench.report.styles import Style
from vcmbench.report.text import capital, count, interval, many, number, p_value, significant

_NAMES = {"SROC": "SROCC", "PLCC": "PLCC", "KROCC": "KROCC", "PLCC_fit": "PLCC fitted", "RMSE_fit": "RMSE fitted"}
_PLAIN = Style(8)  # the colour of no codec
_BINS = 8


def correlation_section(page: Page) -> Section:
    """A chart and a table for each level and group."""
    tables, body = [table for table in page.content.correlations if table.rows], []
    if tables:
        body = [
            paragraph(prose.CORRELATION),
            paragraph(prose.NOT_DIFFERENT),
            paragraph(prose.BASELINES) if any(found.baselines for found in tables) else None,
            *(_correlation(page, found) for found in tables),
        ]
    return Section("correlation", "Which metric follows the machine", body, "no correlations were computed")


def _correlation(page: Page, found: CorrelationTable) -> Markup:
    group = "" if found.group == "all" else f", {found.group}"
    of, whole = ("frame", "Whole frames") if page.content.sequences else ("source picture", "Whole images")
    level = {"image": whole, "block": "Blocks"}.get(found.level, capital(found.level))
    level += f" of {found.size}" if found.size else ""
    rows = [ForestRow(row.metric, row.oriented, _PLAIN) for row in [*found.rows, *found.baselines]]
    stands = f"n = {count(found.n)} from {many(found.clusters, of)}"
    caption = f"SROCC of each metric with {found.machine}, above 0 where the metric follows it; {stands}."
    chart = None
    if ends := extent(row.value for row in rows):
        said = [f"{row.label} {number(row.value.value, 2)}" for row in rows if row.value.value is not None]
        name = f"{level}{group}: {caption} {', '.join(said)}"
        chart = forest(rows, "SROCC, 1 is the same order", name, zero=False, limits=(min(0.0, *ends), 1.0))
    note = paragraph(found.note) if found.note else None
    shown = figure(chart, caption, None) if chart else paragraph(caption)
    inside = (note, shown, _correlation_data(page, found, f"{level}{group}"))
    return behind(f"{level}{group}", *inside) if group else element("div", heading(level), inside)


def _correlation_data(page: Page, found: CorrelationTable, title: str) -> Markup:
    notes = page.notes()
    missing = Estimate(reason="not computed")
    rows = [
        [
            Cell(element("bdi", row.metric)),
            *(notes.cell(row.values.get(key, missing), 3) for key in _NAMES),
            Cell(_verdict(row)),
        ]
        for row in [*found.rows, *found.baselines]
    ]
    columns = [
        Column("Metric", numeric=False, best="ascending"),
        *(Column(_NAMES[key], best="ascending" if key == "RMSE_fit" else "descending") for key in _NAMES),
        Column("Against the best", numeric=False, best="ascending"),  # "best" < "not different" < "worse"
    ]
    caption = f"{title}: correlation with {found.machine}, with 95 % intervals"
    return table(page.id("table"), caption, columns, rows, notes)


def _verdict(row: CorrelationRow) -> Markup:
    p = None if row.p_holm is None else element("small", f" p {p_value(row.p_holm)}")
    return element("span", row.verdict, p, class_=f"verdict {row.verdict.replace(' ', '-')}")


def scatter_section(page: Page) -> Section:
    """Small multiples, a chart a metric."""
    scatters, body = page.content.scatters, []
    charts = [chart for scatter in scatters if (chart := _scatter(page, scatter)) is not None]
    if charts:
        body = [
            paragraph(prose.SCATTER.format(most=MOST_DOTS)),
            page.legend(cloud.series for scatter in scatters for cloud in scatter.clouds),
            grid(charts, class_="grid small"),
        ]
    return Section("scatter", "Metric against accuracy", body, "no scores to draw")


def _scatter(page: Page, scatter: Scatter) -> Markup | None:
    total = scatter.sampled()[1]
    value = scatter.srocc
    srocc = ""
    if value is not None and value.value is not None:
        srocc = f"SROCC {number(value.value, 2)} {interval(value, 2)}".strip()
    drawn = min(total, MOST_DOTS)
    some = f"{count(drawn)} of {count(total)} {scatter.level}s" if drawn < total else many(total, scatter.level)
    caption = [element("b", element("bdi", scatter.metric)), " ", srocc, "; " if srocc else "", some]
    chart = scatter_chart(scatter, page.styles, f"{scatter.machine} over {scatter.metric}. {srocc}; {some}.")
    if chart is None:
        return None
    return figure(chart, caption, _binned(page, scatter), "Means of this chart")


def _binned(page: Page, scatter: Scatter) -> Markup:
    """The chart in numbers: the machine's score in parts of equally many samples, by the metric."""
    metric = np.concatenate([np.asarray(cloud.metric, float) for cloud in scatter.clouds])
    machine = np.concatenate([np.asarray(cloud.machine, float) for cloud in scatter.clouds])
    known = np.isfinite(metric) & np.isfinite(machine)
    order = np.argsort(metric[known], kind="stable")
    rows = []
    for part in np.array_split(order, min(_BINS, len(order))):
        x, y = metric[known][part], machine[known][part]
        low, high = np.percentile(y, [10, 90])
        rows.append(
            [
                Cell(f"{significant(float(x.min()))}\u2013{significant(float(x.max()))}", float(x.min())),
                Cell(number(float(y.mean())), float(y.mean())),
                Cell(f"{number(float(low), 2)}\u2013{number(float(high), 2)}", float(low)),
                Cell(len(part), len(part)),
            ]
        )
    columns = [Column(scatter.metric), Column(f"Mean {scatter.machine.lower()}"), Column("10\u201390 %"), Column("n")]
    caption = f"{scatter.machine} in {len(rows)} parts of equally many samples, by {scatter.metric}"
    return table(page.id("table"), caption, columns, rows)
