"""Groups of pictures as the common test conditions of HEVC and VVC have them: QP offsets by layer, and references."""

from __future__ import annotations

import math
from typing import NamedTuple

from vcmbench.encoder.structure import Structure
from vcmbench.errors import RequestError


class QpLayer(NamedTuple):
    """A layer's QP offset. A part of it, 0 to 3, follows the QP (JCTVC-X0038): `scale` x QP + `shift`, rounded."""

    offset: int
    shift: float = 0.0
    scale: float = 0.0

    def at(self, quality: int) -> float:
        """The whole offset from the QP `quality`."""
        more = math.floor(self.scale * (quality + self.offset) + self.shift + 0.5)
        return float(self.offset + min(max(more, 0), 3))


class CodedPicture(NamedTuple):
    """A picture of a group: its number from 1 in display order, its layer, and how far back and how far ahead those
    lie that it may refer to, nearest first. It names those, too, that only later ones refer to: others are dropped."""

    number: int
    layer: int
    back: list[int]
    ahead: list[int]


PYRAMID = (QpLayer(1), QpLayer(1, -4.8848, 0.2061), QpLayer(4, -5.7476, 0.2286), QpLayer(5, -5.9, 0.2333),
           QpLayer(6, -7.1444, 0.3))  # fmt: skip
"""Random access in groups of 16 pictures, from the lowest layer up; shorter groups have the first of them."""
LOW_DELAY = (QpLayer(1), QpLayer(4, -6.5, 0.259), QpLayer(5, -6.5, 0.259))
"""Low delay: the last picture of a group, the other even ones, the odd ones."""
INTRA = {"lowdelay": -1, "randomaccess": -3}


def group(structure: Structure) -> list[CodedPicture]:
    """The pictures of a group in coding order."""
    return _low_delay(8) if structure.kind == "lowdelay" else _pyramid(structure.gop)


def layers(structure: Structure) -> tuple[QpLayer, ...]:
    """The layers of `group`, all without an offset where the structure has none."""
    found = LOW_DELAY if structure.kind == "lowdelay" else PYRAMID[: structure.gop.bit_length()]
    return found if structure.layer_offsets else (QpLayer(0),) * len(found)


def offsets(structure: Structure, quality: int) -> dict[str, float]:
    """What `Encoder.layer_offsets` gives for these groups."""
    if structure.kind == "intra":
        return {"I": 0.0}
    intra = float(INTRA[structure.kind]) if structure.layer_offsets else 0.0
    return {"I": intra} | {str(number): one.at(quality) for number, one in enumerate(layers(structure))}


def check(name: str, structure: Structure) -> None:
    """Raises RequestError where a pyramid is none of these, or an intra picture would cut one."""
    gop, period = structure.gop, structure.intra_period
    if structure.kind != "randomaccess":
        return
    if gop not in (2, 4, 8, 16):
        raise RequestError(f"gop {gop}: {name} takes 2, 4, 8 or 16")
    if period is not None and period % gop:
        raise RequestError(f"intra_period {period}: {name} takes multiples of gop, {gop}")


def _low_delay(size: int) -> list[CodedPicture]:
    """Each picture refers to the one before it and to three that end groups."""
    return [
        CodedPicture(number, 0 if number == size else 1 + number % 2, [1, *_group_ends(number, size)][:4], [])
        for number in range(1, size + 1)
    ]


def _group_ends(number: int, size: int) -> list[int]:
    return [number + more for more in range(0, 4 * size, size) if number + more > 1]


def _pyramid(gop: int) -> list[CodedPicture]:
    """Each picture refers to the nearest coded ones, those of the highest layer apart, and to the group before."""
    found = [CodedPicture(gop, 0, [gop, 2 * gop], [])]

    def split(low: int, high: int, layer: int) -> None:
        if high - low < 2:
            return
        middle = (low + high) // 2
        ahead = sorted(one.number - middle for one in found if one.number > middle)
        found.append(CodedPicture(middle, layer, sorted({middle - low, middle}), ahead))
        split(low, middle, layer + 1)
        split(middle, high, layer + 1)

    split(0, gop, 1)
    return found
