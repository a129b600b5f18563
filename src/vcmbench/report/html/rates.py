"""The section on accuracy over bits per pixel."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.report.content import RateCurve
from vcmbench.report.html import prose
from vcmbench.report.html.charts import rate_chart
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, figure, grid, heading, paragraph
from vcmbench.report.html.tables import Cell, Column, table
from vcmbench.report.text import AGAINST, measures, rate


def curves_section(page: Page) -> Section:
    """Measures over rate: a chart for each measure and each thing that it is held against."""
    curves = page.content.curves
    body: list[Markup | None] = []
    if any(curve.shown for curve in curves):
        body += [
            paragraph(prose.BANDS),
            page.legend(curve.series for curve in curves),
        ]
    for against, words in AGAINST.items():
        there = [found for measure in measures() if (found := page.content.curves_of(against, measure))]
        if there:
            charts = [_chart(page, found) for found in there]
            body += [heading(f"Against the {words}"), paragraph(prose.AGAINST[against]), grid(charts)]
    return Section("accuracy", "Accuracy over rate", body, "no configuration has been measured")


def _chart(page: Page, curves: Sequence[RateCurve]) -> Markup:
    measure, against = measures()[curves[0].measure], AGAINST[curves[0].against]
    caption = f"{measure} against the {against}, over rate"
    ends = [told for curve in curves if (told := _told(curve))]
    chart = rate_chart(curves, page.styles, measure, f"{caption}. {'; '.join(ends)}") if ends else None
    lost = sum(point.value.value is None for curve in curves for point in curve.points)
    note = f" {lost} of {sum(len(c.points) for c in curves)} points are missing; the data say why." if lost else ""
    return figure(chart, f"{caption}.{note}", _data(page, curves, caption))


def _told(curve: RateCurve) -> str:
    """Both ends of a curve in words; nothing where it has none."""
    ends = [f"{value.value:.3f} at {rate(bpp)} bpp" for bpp, value, _ in curve.shown]
    return f"{curve.series.label}: {ends[0]} to {ends[-1]}" if ends else ""


def _data(page: Page, curves: Sequence[RateCurve], caption: str) -> Markup:
    notes = page.notes()
    rows = [
        [
            Cell(element("bdi", curve.series.label)),
            Cell("" if point.quality is None else f"{point.quality:g}", point.quality),
            Cell(rate(point.rate_bpp), point.rate_bpp),
            notes.cell(point.value),
            Cell("" if point.value.n is None else point.value.n, point.value.n),
        ]
        for curve in curves
        for point in sorted(curve.points, key=lambda point: point.rate_bpp)
    ]
    titles = ("Quality", "Rate in bpp", f"{measures()[curves[0].measure]} [95 %]", "n")
    columns = [Column("Codec", numeric=False), *(Column(title) for title in titles)]
    return table(page.id("table"), caption, columns, rows, notes)
