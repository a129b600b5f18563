"""The section on Bjontegaard differences: a table for each measure, the interpolations beside each other."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.data.estimate import Estimate
from vcmbench.report.content import BdRow
from vcmbench.report.html import prose
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, paragraph
from vcmbench.report.html.tables import Cell, Column, table
from vcmbench.report.text import AGAINST, measure_words, measures

_METHODS = {"pchip": "PCHIP", "akima": "Akima"}


def bd_section(page: Page) -> Section:
    """What each codec costs in rate or gains in accuracy, and why those are missing that are."""
    rows = page.content.bd
    groups = list(dict.fromkeys((row.against, row.measure) for row in rows))
    tables = [_table(page, [row for row in rows if (row.against, row.measure) == group]) for group in groups]
    body = [paragraph(prose.BD), *tables] if rows else []
    return Section("bd", "Bits saved at equal accuracy", body, "no two curves to compare")


def _table(page: Page, rows: Sequence[BdRow]) -> Markup:
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
