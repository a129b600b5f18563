"""What the sections have in common: ids, legends, figures with the data behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vcmbench.report.content import ReportContent, Series
from vcmbench.report.html import draw
from vcmbench.report.html.markup import Markup, element
from vcmbench.report.html.tables import Notes, behind
from vcmbench.report.styles import Styles, styles_of


@dataclass(frozen=True)
class Section:
    """A part of the report. Without a body it is left out, and `absent` says why among what is missing, if anything."""

    id: str
    title: str
    body: Sequence[Markup | None]
    absent: str = ""

    @property
    def is_there(self) -> bool:
        """Whether anything is to be shown."""
        return any(self.body)


@dataclass
class Page:
    """The content, the looks of its series, and ids that no two elements share."""

    content: ReportContent
    styles: Styles = field(init=False)
    _used: int = 0

    def __post_init__(self) -> None:
        self.styles = styles_of(self.content)

    def id(self, kind: str) -> str:
        """A new id; names from outside are never part of one."""
        self._used += 1
        return f"{kind}-{self._used}"

    def notes(self) -> Notes:
        """Footnotes for a new table."""
        return Notes(self.id("note"))

    def legend(self, series: Iterable[Series]) -> Markup:
        """The series of a section's charts; the page's script makes switches of them."""
        items = []
        for one in dict.fromkeys(series):
            style = self.styles[one]
            label = element("span", draw.swatch(style), element("bdi", one.label), data_series=style.index)
            items.append(element("li", label))
        return element("ul", items, class_="legend", aria_label="Codecs in the charts")


def figure(chart: Markup | None, caption: object, data: Markup | None, summary: str = "Data of this chart") -> Markup:
    """A chart, what it shows, and its numbers."""
    below = behind(summary, data) if data else None
    return element("div", element("figure", chart, element("figcaption", caption)), below, class_="panel")


def paragraph(*words: object, class_: str | None = None) -> Markup:
    """A paragraph."""
    return element("p", words, class_=class_)


def heading(words: object) -> Markup:
    """A heading inside a section."""
    return element("h3", words)


def grid(*children: object, class_: str = "grid") -> Markup:
    """Children beside each other where there is room."""
    return element("div", children, class_=class_)
