"""How each series looks: one colour, marker and dash an encoder, the same in all charts and in the figures for print.

No two encoders differ by colour alone. The colours are near those of P. Tol's and of M. Okabe's and K. Ito's palettes
for colour-blind readers, darkened until each has a contrast of 3 : 1 to the page (WCAG 2.2, 1.4.11); `page.css` has
them once more, as variables, with lighter ones for a dark page, and tests hold both to that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vcmbench.report.content import ReportContent, Series

COLOURS = ("#c8510a", "#0067a8", "#117733", "#9a3fa0", "#8a6a00", "#3b3399", "#00807a", "#8c1d4f", "#5f6368")
DASHES = ((), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2), (12, 3), (5, 2, 1, 2), (1, 3), (3, 3))
MARKERS = ("circle", "square", "triangle", "diamond", "nabla", "plus", "hexagon", "cross", "bar")
MPL_MARKERS = ("o", "s", "^", "D", "v", "P", "h", "X", "d")
_SLOTS = {"jpeg": 0, "x264": 1, "x265": 2, "vvenc": 3, "svtav1": 4, "kvazaar": 5, "jm": 6, "hm": 7}
_NEUTRAL = {"none", "png", "lossless", ""}


@dataclass(frozen=True)
class Style:
    """A slot of the palette, and which of an encoder's series this is: every second is hollow. `index` is unique."""

    slot: int
    variant: int = 0
    index: int = 0

    @property
    def colour(self) -> str:
        """Hex colour on white, for figures."""
        return COLOURS[self.slot]

    @property
    def marker(self) -> str:
        """The name of the marker's shape."""
        return MARKERS[(self.slot + 4 * (self.variant // 2)) % len(MARKERS)]

    @property
    def mpl_marker(self) -> str:
        """The same for matplotlib."""
        return MPL_MARKERS[MARKERS.index(self.marker)]

    @property
    def dash(self) -> tuple[int, ...]:
        """Lengths of strokes and gaps; () is a solid line."""
        return DASHES[(self.slot + self.variant) % len(DASHES)]

    @property
    def hollow(self) -> bool:
        """Whether the marker is an outline."""
        return self.variant % 2 == 1


class Styles:
    """The styles of all series, by order of appearance where an encoder is not one of the known."""

    def __init__(self, series: Iterable[Series]) -> None:
        self.all: dict[Series, Style] = {}
        slots: dict[str, int] = {}
        count: dict[str, int] = {}
        found = list(dict.fromkeys(series))
        taken = {_SLOTS[name] for name in (one.encoder.lower() for one in found) if name in _SLOTS}
        free = [slot for slot in range(8) if slot not in taken] + list(range(8))
        for one in found:
            name = one.encoder.lower()
            if name not in slots:
                unknown = sum(1 for other in slots if other not in _SLOTS and other not in _NEUTRAL)
                slots[name] = 8 if name in _NEUTRAL else _SLOTS.get(name, free[unknown % len(free)])
            self.all[one] = Style(slots[name], count.get(name, 0), len(self.all))
            count[name] = count.get(name, 0) + 1

    def __getitem__(self, series: Series) -> Style:
        return self.all[series]


def styles_of(content: ReportContent) -> Styles:
    """The styles of everything that a report shows; curves come first, because they have every codec."""
    series = [curve.series for curve in content.curves]
    series += [cloud.series for scatter in content.scatters for cloud in scatter.clouds]
    series += [one for damage in (*content.class_damage, *content.band_damage) for one in damage.columns]
    series += [comparison.series for comparison in content.comparisons]
    series += [one for row in content.bd for one in (row.anchor, row.test)]
    return Styles(series)
