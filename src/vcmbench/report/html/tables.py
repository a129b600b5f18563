"""Tables: with a caption, header cells, keys to sort by, and the reasons of what is missing below them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vcmbench.data.estimate import Estimate
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.text import MISSING, interval, number

_MOST_NOTES = 26
_DENSE = 5  # numeric columns from which intervals stand below their values


@dataclass(frozen=True)
class Cell:
    """What is shown, and the number to sort by (None: by its text; missing ones come last)."""

    shown: object
    key: float | None = None
    class_: str | None = None


@dataclass(frozen=True)
class Column:
    """A column's title; `numeric` sets it to the right, `best` is the direction that the first click sorts in."""

    title: object
    numeric: bool = True
    best: str = "descending"


@dataclass
class Notes:
    """Reasons, each written once below the table and referred to by a letter."""

    prefix: str
    reasons: list[str] = field(default_factory=list)

    def mark(self, reason: str) -> Markup:
        """The letter that refers to a reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        index = self.reasons.index(reason)
        name = _letter(index)
        return element("sup", element("a", name, href=f"#{self.prefix}-{name}", aria_label=f"note {name}"))

    def listed(self) -> Markup | None:
        """All reasons, as a list."""
        if not self.reasons:
            return None
        items = [
            element("li", element("b", _letter(index)), " ", reason, id=f"{self.prefix}-{_letter(index)}")
            for index, reason in enumerate(self.reasons)
        ]
        return element("ul", items, class_="notes")

    def cell(self, estimate: Estimate, digits: int = 3, signed: bool = False, class_: str | None = None) -> Cell:
        """An estimate with its interval; a dash and a letter where it is missing, a letter where its interval is."""
        mark = self.mark(estimate.reason) if estimate.reason else None
        if estimate.value is None:
            return Cell([element("span", MISSING, aria_label="missing", role="img"), mark], class_="missing")
        ends = interval(estimate, digits, signed)
        shown = [number(estimate.value, digits, signed), element("small", f" {ends}") if ends else None, mark]
        return Cell(shown, estimate.value, class_)


def _letter(index: int) -> str:
    before = _letter(index // _MOST_NOTES - 1) if index >= _MOST_NOTES else ""
    return before + chr(ord("a") + index % _MOST_NOTES)


def table(
    id_: str,
    caption: object,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    notes: Notes | None = None,
    dense: bool = False,
) -> Markup:
    """A table in a box that scrolls by itself where the page is narrow; the first cell of a row is its header.

    `dense` sets intervals below their values, as tables of many columns have them anyway.
    Columns are sorted by the page's script, which makes buttons of their titles; without it nothing is lost.
    """
    head = [
        element("th", column.title, scope="col", class_="number" if column.numeric else None, data_first=column.best)
        for column in columns
    ]
    body = [
        element(
            "tr", [_cell(cell, column, index) for index, (cell, column) in enumerate(zip(row, columns, strict=True))]
        )
        for row in rows
    ]
    inside = element(
        "table",
        element("caption", element("span", caption), id=f"{id_}-caption"),
        element("thead", element("tr", head)),
        element("tbody", body),
        id=id_,
        class_="sortable dense" if dense or sum(column.numeric for column in columns) >= _DENSE else "sortable",
    )
    box = element("div", inside, class_="scroll", tabindex="0", role="group", aria_labelledby=f"{id_}-caption")
    return element("div", box, notes.listed() if notes else None, class_="table")


def _cell(cell: Cell, column: Column, index: int) -> Markup:
    classes = " ".join(filter(None, ("number" if column.numeric else None, cell.class_))) or None
    key = None if cell.key is None else f"{cell.key:.9g}"
    if index == 0:
        return element("th", cell.shown, scope="row", class_=classes, data_key=key)
    return element("td", cell.shown, class_=classes, data_key=key)


def facts(rows: Sequence[tuple[str, str]], class_: str = "facts") -> Markup | None:
    """Names and values, as a list of definitions; None where there are none."""
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in rows]
    return element("dl", pairs, class_=class_) if pairs else None


def behind(summary: str, *children: object) -> Markup:
    """Something that opens, such as the data of a chart."""
    return element("details", element("summary", summary), children)
