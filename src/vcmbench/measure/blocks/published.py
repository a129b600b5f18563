"""The files of the published block data: which blocks were drawn, and their scores.

`*_val_blocks.json` is `{"0": [image, [codec, quality, "420", factor], [x, y], [width, height], accuracy], ...}`, the
codec being a number (`published_scores.CODECS`), or a name where the published code knows none. `*_val_metrics.json` is
`{"0": {"acc": ..., "PSNR": ...}, ...}`; `published_scores.read_scores` reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.encoder import plugins
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import RequestError
from vcmbench.io.documents import short as _short
from vcmbench.io.files import hidden_beside, write_atomically
from vcmbench.io.validation import is_number
from vcmbench.measure.blocks.published_scores import CODECS, read_object
from vcmbench.measure.blocks.sampler import Block

_MOST_BYTES = 256 * 2**20  # of a million blocks, with names that are twice as long as those of Cityscapes
_MOST_VALUES = 20_000_000
_MOST_SIDE_PX = 2**20
_MOST_LETTERS = 1024
_CITYSCAPES = "_leftImg8bit"


@dataclass(frozen=True)
class PublishedCoding:
    """A coding configuration as the published files have it.

    `codec` is the encoder's name in folders, followed by its options in brackets where it has any that the four
    published ones do not hold. `quality` is None where the encoder has none, or a rate was asked for instead.
    """

    codec: str
    quality: float | None
    color_subsampling: str
    subsampling_factor: float

    def __str__(self) -> str:
        quality = "" if self.quality is None else f" quality {self.quality:g}"
        return f"{self.codec}{quality} {self.color_subsampling} factor {self.subsampling_factor:g}"


@dataclass(frozen=True)
class PublishedBlock:
    """A block as the published files have it: `image` is `<city>/<city>_<sequence>_<frame>`; x to height in px."""

    image: str
    coding: PublishedCoding
    x: int
    y: int
    width: int
    height: int
    accuracy: float


def coding_of(coding: CodingConfiguration) -> PublishedCoding:
    """How the published files write one of our configurations; different ones are written differently."""
    tool = plugins.get(coding.encoder)
    options = tool.folder_name(coding).removeprefix(f"{tool.label}(").removesuffix(")").split(", ")
    known = ("quality=", "color_subsampling=", "subsampling_factor=")
    more = ", ".join(option for option in options if not option.startswith(known))
    codec = f"{tool.label}({more})" if more else tool.label
    return PublishedCoding(codec, coding.quality, coding.color_subsampling, float(coding.subsampling_factor))


def image_id(source: str) -> str:
    """The published name of a picture that is named by its place below the pristine folder, as results are.

    `leftImg8bit/val/lindau/lindau_000000_000019_leftImg8bit` is `lindau/lindau_000000_000019`. Others keep theirs.
    """
    parts = PurePosixPath(source).parts
    if len(parts) > 3 and parts[0] == "leftImg8bit" and source.endswith(_CITYSCAPES):
        return "/".join(parts[2:]).removesuffix(_CITYSCAPES)
    return source


def to_published(blocks: Iterable[Block], codings: Mapping[str, PublishedCoding]) -> dict[str, PublishedBlock]:
    """Sampled blocks, numbered from "0"; `codings` has the coding of each of their configurations."""
    return {
        str(number): PublishedBlock(
            image_id(block.image), codings[block.configuration], *block.box, accuracy=block.accuracy
        )
        for number, block in enumerate(blocks)
    }


def from_published(
    path: Path, table: Mapping[str, PublishedBlock], images: Iterable[str], codings: Mapping[str, PublishedCoding]
) -> dict[str, Block]:
    """The blocks of a file, read from `path`, among these pictures and configurations, which keep their own names.

    Raises RequestError where a block's image or coding is none of them.
    """
    sources = _inverse(path, ((image_id(image), image) for image in images), "image")
    configurations = _inverse(path, ((coding, name) for name, coding in codings.items()), "coding")
    found = {}
    for number, block in table.items():
        if block.image not in sources:
            raise RequestError(
                f"{path}: block {_short(number)}: image {_short(block.image)} is none of the {len(sources)} of this "
                f"experiment{_for_example(sources)}; take the data set and split that the blocks were drawn from"
            )
        if block.coding not in configurations:
            raise RequestError(
                f"{path}: block {_short(number)}: {_short(str(block.coding))} is none of the {len(configurations)} "
                f"configurations of this experiment{_for_example(configurations)}; add it there, or take its own blocks"
            )
        found[number] = Block(
            sources[block.image], configurations[block.coding], block.x, block.y, block.width, block.height,
            block.accuracy,
        )  # fmt: skip
    return found


def _inverse(path: Path, pairs: Iterable[tuple[Any, str]], what: str) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for key, name in pairs:
        if found.setdefault(key, name) != name:
            raise RequestError(f"{path}: {found[key]} and {name} are both the {what} {str(key)!r}; leave one out")
    return found


def _for_example(table: Mapping[Any, str]) -> str:
    return f", such as {_short(str(next(iter(table))))}" if table else ""


def write_blocks(path: Path, table: Mapping[str, PublishedBlock]) -> None:
    """Write a blocks file in the published form: the whole of it, or nothing."""
    rows = {
        number: [
            block.image,
            [
                CODECS.index(block.coding.codec) if block.coding.codec in CODECS else block.coding.codec,
                block.coding.quality, block.coding.color_subsampling, block.coding.subsampling_factor,
            ],
            [block.x, block.y], [block.width, block.height], block.accuracy,
        ]
        for number, block in table.items()
    }  # fmt: skip
    _write(path, json.dumps(rows, allow_nan=False))


def write_metrics(path: Path, table: Mapping[str, Mapping[str, float | None]]) -> None:
    """Write a metrics file in the published form: a score that is None or absent becomes a bare NaN, as published."""
    names = dict.fromkeys(name for scores in table.values() for name in scores)
    rows = {
        number: {name: math.nan if scores.get(name) is None else scores[name] for name in names}
        for number, scores in table.items()
    }
    _write(path, json.dumps(rows))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode(), hidden_beside(path))


def read_blocks(path: Path) -> dict[str, PublishedBlock]:
    """The blocks of a file by their numbers, in its order.

    Raises RequestError where it is no such file: too large, not JSON, a number twice, or a block that cannot be.
    """
    table = read_object(path, _MOST_BYTES, _MOST_VALUES)
    if not table:
        raise RequestError(f"{path}: holds no block")
    return {number: _block(f"{path}: block {_short(number)}", entry) for number, entry in table.items()}


def _block(where: str, entry: Any) -> PublishedBlock:
    match entry:
        case [image, [codec, quality, chroma, factor], [x, y], [width, height], accuracy]:
            pass
        case _:
            raise RequestError(
                f"{where}: must be [image, [codec, quality, chroma, factor], [x, y], [width, height], accuracy], "
                f"not {_short(entry)}"
            )
    return PublishedBlock(
        _image(where, image),
        PublishedCoding(_codec(where, codec), _quality(where, quality), _chroma(where, chroma), _factor(where, factor)),
        _pixels(where, "x", x, 0), _pixels(where, "y", y, 0),
        _pixels(where, "width", width, 1), _pixels(where, "height", height, 1),
        _share(where, accuracy),
    )  # fmt: skip


def _image(where: str, value: Any) -> str:
    """The name may come to be part of a path, so it must lead nowhere else and be printable."""
    if (
        isinstance(value, str)
        and 0 < len(value) <= _MOST_LETTERS
        and value.isprintable()
        and "\\" not in value
        and not {"", ".", ".."} & set(value.split("/"))
    ):
        return value
    raise RequestError(f"{where}: the image must be a name such as city/city_000000_000019, not {_short(value)}")


def _codec(where: str, value: Any) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MOST_LETTERS and value.isprintable():
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(CODECS):
        return CODECS[value]
    known = ", ".join(f"{number} {name}" for number, name in enumerate(CODECS))
    raise RequestError(f"{where}: codec {_short(value)} is none of {known}, and no name")


def _quality(where: str, value: Any) -> float | None:
    if value is None or (is_number(value) and abs(value) <= 2**31):
        return value  # an int stays one
    raise RequestError(f"{where}: the quality must be a number or null, not {_short(value)}")


def _chroma(where: str, value: Any) -> str:
    if isinstance(value, str) and value in CHROMA_FORMATS:
        return value
    raise RequestError(f"{where}: the chroma format must be one of {', '.join(CHROMA_FORMATS)}, not {_short(value)}")


def _factor(where: str, value: Any) -> float:
    if is_number(value) and 0 < value <= 1:
        return float(value)
    raise RequestError(f"{where}: the subsampling factor must be in (0, 1], not {_short(value)}")


def _share(where: str, value: Any) -> float:
    if is_number(value) and 0 <= value <= 1:
        return float(value)
    raise RequestError(f"{where}: the accuracy must be in [0, 1], not {_short(value)}")


def _pixels(where: str, name: str, value: Any, least: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= _MOST_SIDE_PX:
        return value
    raise RequestError(f"{where}: {name} must be a whole number, {least} to {_MOST_SIDE_PX}, not {_short(value)}")
