"""How each series looks: one colour, marker and dash an encoder, the same in all charts and in the figures for print.

No two encoders differ by colour alone. The colours are near those of P. Tol's and of M. Okabe's and K. Ito's palettes
for colour-blind readers, darkened until each has a contrast of 3 : 1 to the page (WCAG 2.2, 1.4.11); `page.css` has
them once more, as variables, with lighter ones for a dark page, and tests hold both to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from vcmbench.encoder import plugins
from vcmbench.report.content import ReportContent, Series

COLOURS = ("#c8510a", "#0067a8", "#117733", "#9a3fa0", "#8a6a00", "#3b3399", "#00807a", "#8c1d4f", "#5f6368")
DASHES = ((), (7, 3), (2, 2), (9, 3, 2, 3), (4, 2), (12, 3), (5, 2, 1, 2), (1, 3), (3, 3))
MARKERS = ("circle", "square", "triangle", "diamond", "nabla", "plus", "hexagon", "cross", "bar")
MPL_MARKERS = ("o", "s", "^", "D", "v", "P", "h", "X", "d")
_NEUTRAL = 8


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
    """The styles of all series. Each group is the series of one chart; the first group has every codec.

    A series keeps the style that it got first. In a later group a new series of an encoder looks like that encoder's
    first, unless another of the group does; then dash and marker set it apart.
    """

    def __init__(self, groups: Iterable[Sequence[Series]]) -> None:
        self._all: dict[Series, Style] = {}
        distinct = [list(dict.fromkeys(group)) for group in groups]
        slots = _slots([series.encoder.lower() for group in distinct for series in group])
        for group in distinct:
            used = {(style.slot, style.variant) for one in group if (style := self._all.get(one))}
            for one in group:
                if one not in self._all:
                    slot = slots[one.encoder.lower()]
                    variant = next(number for number in count() if (slot, number) not in used)
                    used.add((slot, variant))
                    self._all[one] = Style(slot, variant, len(self._all))

    def __getitem__(self, series: Series) -> Style:
        return self._all[series]


def _slots(encoders: Sequence[str]) -> dict[str, int]:
    """A slot of the palette for each encoder as they come, then from the first again; a neutral one for lossless ones
    and for none."""
    known = plugins.discover()
    coded = [name for name in dict.fromkeys(encoders) if name and not (name in known and known[name].lossless)]
    return dict.fromkeys(encoders, _NEUTRAL) | {name: number % _NEUTRAL for number, name in enumerate(coded)}


def styles_of(content: ReportContent) -> Styles:
    """The styles of everything that a report shows."""
    groups = [[curve.series for curve in content.curves]]
    groups += [[cloud.series for cloud in scatter.clouds] for scatter in content.scatters]
    groups += [list(damage.columns) for damage in (*content.class_damage, *content.band_damage)]
    groups += [[comparison.series] for comparison in content.comparisons]
    groups += [[row.test for row in content.headroom]]
    return Styles(groups)
