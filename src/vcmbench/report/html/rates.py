"""The sections on accuracy over bits per pixel, and on what that means in bits: Bjontegaard differences."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.data.estimate import Estimate
from vcmbench.report.content import BdRow, RateCurve
from vcmbench.report.html import prose
from vcmbench.report.html.charts import rate_chart
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, figure, grid, heading, paragraph
from vcmbench.report.html.tables import Cell, Column, table
from vcmbench.report.text import AGAINST, measure_words, measures, rate

_METHODS = {"pchip": "PCHIP", "akima": "Akima"}


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
    ends = [words for curve in curves if (words := _ends(curve))]
    chart = rate_chart(curves, page.styles, measure, f"{caption}. {'; '.join(ends)}") if ends else None
    lost = sum(point.value.value is None for curve in curves for point in curve.points)
    note = f" {lost} of {sum(len(c.points) for c in curves)} points are missing; the data say why." if lost else ""
    return figure(chart, f"{caption}.{note}", _data(page, curves, caption))


def _ends(curve: RateCurve) -> str:
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


def bd_section(page: Page) -> Section:
    """What each codec costs in rate or gains in accuracy, and why those are missing that are."""
    rows = page.content.bd
    groups = list(dict.fromkeys((row.against, row.measure) for row in rows))
    tables = [_bd_table(page, [row for row in rows if (row.against, row.measure) == group]) for group in groups]
    body = [paragraph(prose.BD), *tables] if rows else []
    return Section("bd", "Bits saved at equal accuracy", body, "no two curves to compare")


def _bd_table(page: Page, rows: Sequence[BdRow]) -> Markup:
    """A row for each pair of codecs, for one measure."""
    methods = list(dict.fromkeys(row.method for row in rows))
    pairs = list(dict.fromkeys((row.test, row.anchor) for row in rows))
    found = {(row.test, row.anchor, row.method): row for row in rows}
    notes, missing = page.notes(), Estimate(reason="not computed")
    cells = []
    for test, anchor in pairs:
        known = [found.get((test, anchor, method)) for method in methods]
        overlap = next((row.overlap for row in known if row and row.overlap), "")
        cells.append(
            [
                Cell([element("bdi", test.label), " against ", element("bdi", anchor.label)]),
                *(notes.cell(row.bd_rate_percent if row else missing, 1, signed=True) for row in known),
                *(notes.cell(row.bd_value if row else missing, 3, signed=True) for row in known),
                Cell(overlap),
            ]
        )
    measure, against = rows[0].measure, AGAINST.get(rows[0].against, rows[0].against)
    names = [_METHODS.get(method, method) for method in methods]
    columns = [
        Column("Codecs", numeric=False, best="ascending"),
        *(Column(f"BD-rate in %, {name}", best="ascending") for name in names),
        *(Column(f"BD-{measure_words(measure)}, {name}") for name in names),
        Column("Shared range", numeric=False),
    ]
    caption = f"{measures().get(measure, measure)} against the {against}: differences, with 95 % intervals"
    return table(page.id("table"), caption, columns, cells, notes, dense=True)
