"""The sections on accuracy over bits per pixel, and on what that means in bits: Bjontegaard differences."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.data.estimate import Estimate
from vcmbench.report.content import BdRow, RateCurve
from vcmbench.report.findings import time_warning
from vcmbench.report.html import prose
from vcmbench.report.html.charts import ForestRow, extent, forest, rate_chart
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, figure, grid, heading, paragraph
from vcmbench.report.html.tables import Cell, Column, table
from vcmbench.report.text import AGAINST, MISSING, measure_words, measures, number, rate

_NO_CURVES = "neither a machine nor a quality metric has looked at the pictures"
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
    of_metrics = any(curve.against == "pristine" for curve in curves)
    return Section("accuracy", f"{'Quality' if of_metrics else 'Accuracy'} over rate", body, _NO_CURVES)


def opening_chart(page: Page) -> Markup | None:
    """The first chart that has something to show, with its legend; None where none has."""
    shown = [curve for curve in page.content.curves if curve.shown]
    if not shown:
        return None
    curves = page.content.curves_of(shown[0].against, shown[0].measure)
    chart, caption = _drawn(page, curves)
    return element("div", figure(chart, f"{caption}.", None), page.legend(curve.series for curve in curves))


def _drawn(page: Page, curves: Sequence[RateCurve]) -> tuple[Markup | None, str]:
    """The chart, None where no point can be drawn, and what it shows."""
    first, measure = curves[0], measures()[curves[0].measure]
    caption = f"{measure} against the {AGAINST[first.against]}, over rate"
    label = measure if first.higher_is_better else f"{measure}, less is better"
    ends = [words for curve in curves if (words := _ends(curve))]
    return rate_chart(curves, page.styles, label, f"{caption}. {'; '.join(ends)}") if ends else None, caption


def _chart(page: Page, curves: Sequence[RateCurve]) -> Markup:
    chart, caption = _drawn(page, curves)
    lost = sum(point.value.value is None for curve in curves for point in curve.points)
    note = f" {lost} of {sum(len(c.points) for c in curves)} points are missing; the data say why." if lost else ""
    return figure(chart, f"{caption}.{note}", _data(page, curves, caption))


def _ends(curve: RateCurve) -> str:
    """Both ends of a curve in words; nothing where it has none."""
    ends = [f"{value.value:.3f} at {rate(at)} {curve.unit}" for at, value, _ in curve.shown]
    return f"{curve.series.label}: {ends[0]} to {ends[-1]}" if ends else ""


def _data(page: Page, curves: Sequence[RateCurve], caption: str) -> Markup:
    notes = page.notes()
    rows = [
        [
            Cell(element("bdi", curve.series.label)),
            Cell("" if point.quality is None else f"{point.quality:g}", point.quality),
            Cell(rate(point.rate), point.rate),
            notes.cell(point.value),
            Cell("" if point.value.n is None else point.value.n, point.value.n),
        ]
        for curve in curves
        for point in sorted(curve.points, key=lambda point: point.rate)
    ]
    titles = ("Quality", f"Rate in {curves[0].unit}", f"{measures()[curves[0].measure]} [95 %]", "n")
    columns = [Column("Codec", numeric=False), *(Column(title) for title in titles)]
    return table(page.id("table"), caption, columns, rows, notes)


def bd_section(page: Page) -> Section:
    """What each codec costs in rate or gains in accuracy or quality, and why those are missing that are."""
    rows = page.content.bd
    groups = list(dict.fromkeys((row.against, row.measure) for row in rows))
    tables = [_bd_table(page, [row for row in rows if (row.against, row.measure) == group]) for group in groups]
    apart = [paragraph(warning, class_="caution")] if (warning := time_warning(rows)) else []
    body = [paragraph(prose.BD), *apart, *tables] if rows else []
    equal = "quality" if any(row.against == "pristine" for row in rows) else "accuracy"
    return Section("bd", f"Bits saved at equal {equal}", body, "no two curves of four points to compare")


def headroom_section(page: Page) -> Section:
    """What each codec's maps save, a chart a measure: rows of one codec lie together, and have its colour."""
    rows = page.content.headroom
    groups = list(dict.fromkeys((row.against, row.measure) for row in rows))
    charts = [_headroom(page, [row for row in rows if (row.against, row.measure) == group]) for group in groups]
    body = [paragraph(prose.HEADROOM, page.content.judged), grid(charts)] if rows else []
    return Section("headroom", "Bits that maps save", body)


def _headroom(page: Page, rows: Sequence[BdRow]) -> Markup:
    names = _apart([row.test.label for row in rows])
    shown = [ForestRow(name, row.bd_rate_percent, page.styles[row.test]) for name, row in zip(names, rows, strict=True)]
    measure, against = measure_words(rows[0].measure), AGAINST.get(rows[0].against, rows[0].against)
    caption = (
        f"Rate at equal {measure} against the {against}, in % of the same codec\u2019s without a map (below: which)."
    )
    chart = None
    if extent(row.value for row in shown):
        said = [f"{row.label} {number(row.value.value, 1, True)}" for row in shown if row.value.value is not None]
        chart = forest(shown, "BD-rate in %, less is better", f"{caption} {', '.join(said)}", zero=True)
    return figure(chart, caption, _bd_table(page, rows))


def _apart(labels: Sequence[str]) -> list[str]:
    """Labels without the words that they all have, for the little room of a chart; a codec's name stays."""
    shared = set.intersection(*(set(label.split()[1:]) for label in labels)) if len(labels) > 1 else set()
    return [" ".join([*words[:1], *(word for word in words[1:] if word not in shared)])
            for words in (label.split() for label in labels)]  # fmt: skip


def _bd_table(page: Page, rows: Sequence[BdRow]) -> Markup:
    """A row for each pair of codecs, for one measure."""
    methods = list(dict.fromkeys(row.method for row in rows))
    pairs = list(dict.fromkeys((row.test, row.anchor) for row in rows))
    found = {(row.test, row.anchor, row.method): row for row in rows}
    notes, missing = page.notes(), Estimate(reason="not computed")
    per_sequence = any(row.of_sequences for row in rows)
    cells = []
    for test, anchor in pairs:
        known = [found.get((test, anchor, method)) for method in methods]
        overlap = next((row.overlap for row in known if row and row.overlap), "")
        cells.append(
            [
                Cell([element("bdi", test.label), " against ", element("bdi", anchor.label)]),
                *(notes.cell(row.bd_rate_percent if row else missing, 1, signed=True) for row in known),
                *(
                    [notes.cell((known[0].of_sequences if known[0] else None) or missing, 1, signed=True)]
                    if per_sequence
                    else []
                ),
                *(notes.cell(row.bd_value if row else missing, 3, signed=True) for row in known),
                Cell(_efforts(known)),
                Cell(overlap),
            ]
        )
    measure, against = rows[0].measure, AGAINST.get(rows[0].against, rows[0].against)
    names = [_METHODS.get(method, method) for method in methods]
    columns = [
        Column("Codecs", numeric=False, best="ascending"),
        *(Column(f"BD-rate in %, {name}", best="ascending") for name in names),
        *([Column(f"BD-rate in %, {names[0]}, mean of sequences", best="ascending")] if per_sequence else []),
        *(Column(f"BD-{measure_words(measure)}, {name}") for name in names),
        Column("Preset, time", numeric=False),
        Column("Shared range", numeric=False),
    ]
    caption = f"{measures().get(measure, measure)} against the {against}: differences, with 95 % intervals"
    return table(page.id("table"), caption, columns, cells, notes, dense=True)


def _efforts(rows: Sequence[BdRow | None]) -> str:
    """The efforts of both encoders, where they are known: "fast, 1.2 s against medium, 0.31 s (3.9 times)"."""
    row = next((row for row in rows if row), None)
    if row is None or row.test_effort is None or row.anchor_effort is None:
        return MISSING
    words = f"{row.test_effort.words} against {row.anchor_effort.words}"
    return f"{words}: {row.times} times" if row.differs_in_time else words
