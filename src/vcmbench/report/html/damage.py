"""Sections about where the machine loses: classes, distance, and what importance maps change about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vcmbench.report.content import Losses, MapComparison, MapEffect, by_measure
from vcmbench.report.html import prose
from vcmbench.report.html.charts import ForestRow, damage_chart, extent, forest
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.parts import Page, Section, figure, grid, heading, paragraph
from vcmbench.report.html.tables import Cell, Column, Notes, behind, table
from vcmbench.report.text import AGAINST, capital, count, measure_words, rate

HEAT_LEVELS = 10
_MAP_TEXTS = ("Codec and quality", "Map by", "Options", "Measure")
_MAP_NUMBERS = ("Rate in bpp", "Bytes, difference in % [95 %]", "Uniform", "Mapped", "Difference [95 %]", "n")

_NO_MAPS = "no configuration with a map has a uniform one beside it, coded to the same rate"


Effects = Mapping[str, Sequence[tuple[MapComparison, MapEffect]]]


def damage_section(page: Page) -> Section:
    """Heat tables by class, charts by distance."""
    body: list[Markup | None] = []
    if page.content.class_damage:
        body.append(paragraph(prose.DAMAGE))
    for damage in page.content.class_damage:
        body += [heading(f"By class, {_words(damage)}"), _heat(page, damage, "Class")]
    for damage in page.content.band_damage:
        body += [heading(f"By {damage.by}, {_words(damage)}"), _by_range(page, damage)]
    return Section("damage", "What is lost, and where", body, "nothing was segmented on pristine and decoded pictures")


def _words(damage: Losses) -> str:
    return f"against the {AGAINST.get(damage.against, damage.against)}, {damage.condition}"


def _heat(page: Page, damage: Losses, first: str) -> Markup:
    notes = page.notes()
    known = [cell.value for row in damage.losses for cell in row if cell.value is not None]
    most = max([value for value in known if value > 0], default=1.0)
    columns = [
        Column(first, numeric=False, best="ascending"),
        *(Column(element("bdi", series.label)) for series in damage.columns),
    ]
    if damage.pixels is not None:
        columns.append(Column("Pixels"))
    rows = []
    for index, name in enumerate(damage.rows):
        cells = [notes.cell(cell, 3, class_=_heat_class(cell.value, most)) for cell in damage.losses[index]]
        if damage.pixels is not None:
            cells.append(Cell(count(damage.pixels[index]), damage.pixels[index]))
        rows.append([Cell(element("bdi", name)), *cells])
    return table(
        page.id("table"),
        f"Loss of {measure_words(damage.measure)}, {_words(damage)}, with 95 % intervals",
        columns,
        rows,
        notes,
    )


def _heat_class(value: float | None, most: float) -> str | None:
    if value is None:
        return None
    return f"heat heat-{round(max(0.0, min(value / most, 1.0)) * (HEAT_LEVELS - 1))}"


def _by_range(page: Page, damage: Losses) -> Markup:
    data = _heat(page, damage, capital(damage.by))
    if not extent(cell for row in damage.losses for cell in row):
        return data
    measure = measure_words(damage.measure)
    name = f"Loss of {measure} by {damage.by}, {_words(damage)}. The table below has every value."
    chart = damage_chart(damage, page.styles, f"Loss of {measure}", name)
    return element(
        "div", page.legend(damage.columns), figure(chart, f"Loss of {measure} by {damage.by}, {_words(damage)}.", data)
    )


def maps_section(page: Page) -> Section:
    """Differences between an importance map and uniform coding, a chart a measure."""
    found = by_measure(page.content.comparisons)
    body = [
        paragraph(prose.MAPS),
        grid(_effects(page, found, name) for name in found),
        behind("Data of these charts", _map_data(page, found)),
    ]
    return Section("maps", "Bits where they matter", body if page.content.comparisons else [], _NO_MAPS)


def _effects(page: Page, found: Effects, name: str) -> Markup:
    rows = [ForestRow(one.name, effect.difference, page.styles[one.series]) for one, effect in found[name]]
    if not extent(row.value for row in rows):
        return figure(None, f"{name}: no configuration has this; the data say why.", None)
    # one axis for all charts, so that they can be compared
    known = extent(effect.difference for effects in found.values() for _, effect in effects)
    air = 0.06 * (max(*known, 0.0) - min(*known, 0.0)) or 0.01
    limits = (min(*known, 0.0) - air, max(*known, 0.0) + air)
    better = sum(row.value.interval is not None and row.value.interval[0] > 0 for row in rows)
    worse = sum(row.value.interval is not None and row.value.interval[1] < 0 for row in rows)
    caption = f"{capital(name)}: {better} of {len(rows)} better, {worse} worse beyond their intervals."
    chart = forest(rows, "Mapped minus uniform", f"Mapped minus uniform. {caption}", zero=True, limits=limits)
    return element(
        "figure", element("div", element("b", capital(name)), class_="label"), chart, element("figcaption", caption)
    )


def _map_data(page: Page, found: Effects) -> Markup:
    notes = page.notes()
    columns = [*(Column(title, numeric=False) for title in _MAP_TEXTS), *(Column(title) for title in _MAP_NUMBERS)]
    rows = [_map_row(one, effect, notes) for one in page.content.comparisons for name in found for effect in one.effects
            if effect.measure == name]  # fmt: skip
    caption = "Mapped against uniform at equal rate: accuracy, with 95 % intervals"
    return table(page.id("table"), caption, columns, rows, notes)


def _map_row(one: MapComparison, effect: MapEffect, notes: Notes) -> list[Cell]:
    n = effect.difference.n
    return [
        Cell(element("bdi", one.name)),
        Cell(one.method),
        Cell(one.options),
        Cell(effect.measure),
        Cell("" if one.rate_bpp is None else rate(one.rate_bpp), one.rate_bpp),
        notes.cell(one.size_difference.scaled(100), 2, signed=True),
        notes.cell(effect.uniform),
        notes.cell(effect.mapped),
        notes.cell(effect.difference, signed=True),
        Cell("" if n is None else n, n),
    ]
