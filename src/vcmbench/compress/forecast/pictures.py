"""The pictures that a plan is about: those of a data root by their headers, or a set that is only named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from vcmbench.data import images
from vcmbench.data.dataset import DataRoot, find_sources
from vcmbench.data.selection import Selection
from vcmbench.errors import RequestError

CITYSCAPES_VAL = (("frankfurt", 267), ("lindau", 59), ("munster", 174))
CITYSCAPES_SIZE = (2048, 1024)
LARGEST_SIDE_PX = 65_535
MOST_PICTURES = 1_000_000


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture by its name below the pristine folder, without suffix, and its size in pixels.

    `octave` is the binary logarithm of its file's size, rounded down: the order of work goes by it.
    """

    name: PurePosixPath
    width: int
    height: int
    octave: int = 0

    @property
    def group(self) -> PurePosixPath:
        """The folder whose pictures are stacked together."""
        return self.name.parent

    @property
    def mpx(self) -> float:
        return self.width * self.height / 1e6


@dataclass(frozen=True)
class Pictures:
    """What is planned for, in words, and how many files could not be read."""

    found: tuple[Picture, ...]
    what: str
    unreadable: int = 0


def of_data(data: DataRoot, wanted: Selection) -> Pictures:
    """The pictures of a data root. Only headers are read, nothing is hashed or decoded."""
    found, unreadable = [], 0
    for source in find_sources(data, wanted):
        try:
            width, height = images.size_of(source.path)
            octave = source.path.stat().st_size.bit_length()
        except Exception:  # whatever a hostile header makes the decoder raise; the run itself says what it is
            unreadable += 1
            continue
        found.append(Picture(source.name, width, height, octave))
    return Pictures(tuple(found), f"{len(found)} pictures of the data root", unreadable)


def cityscapes(wanted: Selection, size: tuple[int, int] = CITYSCAPES_SIZE) -> Pictures:
    """As many pictures in as many cities as the validation set of Cityscapes has."""
    names = [city for city, _ in CITYSCAPES_VAL]
    if unknown := [city for city in wanted.cities or [] if city not in names]:
        raise RequestError(f"dataset.cities: no city {unknown[0]!r} in Cityscapes' val; there are: {', '.join(names)}")
    cities = [(city, count) for city, count in CITYSCAPES_VAL if city in (wanted.cities or names)]
    note = "" if wanted.split == "val" else f" (in place of the split {wanted.split}, whose pictures are not here)"
    return _made(cities, size, wanted, f"as Cityscapes' val{note}")


def any_set(count: int, wanted: Selection, size: tuple[int, int] = CITYSCAPES_SIZE) -> Pictures:
    """`count` pictures in one folder."""
    return _made([("pictures", count)], size, wanted, "in one folder")


def _made(cities: Sequence[tuple[str, int]], size: tuple[int, int], wanted: Selection, where: str) -> Pictures:
    found = [Picture(PurePosixPath("leftImg8bit", wanted.split, city, f"{city}_{number:06}"), *size)
             for city, count in cities for number in range(count)][: wanted.limit]  # fmt: skip
    return Pictures(tuple(found), f"{len(found)} pictures of {size[0]}x{size[1]} px {where}")
