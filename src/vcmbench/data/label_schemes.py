"""What the pixels of a data set's label pictures stand for: ids or colours, and the classes that they are of.

A scheme is one TOML file in `schemes/`, or a user's own. Several names of a class go from the most special one to the
most general one: a network, or a class table, takes the first that it knows.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, ValidationError, model_validator

from vcmbench.data import images
from vcmbench.data.labels import CLASSES, LABELS, VOID
from vcmbench.errors import JobError, RequestError
from vcmbench.io import documents, validation
from vcmbench.io.files import read_bounded
from vcmbench.io.validation import Strict

IGNORE = "ignore"
"""The class of what is not counted."""
Names = tuple[str, ...]
_FOLDER = Path(__file__).with_name("schemes")
_MAX_BYTES = 1 << 20
_LAST_ID = (1 << 16) - 1
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_PLATE_OF_GTA5 = 34
_GRAY, _PALETTE, _RGB = ("L", "I;16", "I"), "P", ("RGB", "RGBA")
_SHOWN = 5
ClassName = Annotated[str, Field(min_length=1, max_length=80)]
_Classes = dict[str, ClassName | Annotated[list[ClassName], Field(min_length=1)]]


class _Table(Strict):
    """A scheme's file: `ids`, `colours` or `names`. The last are those of a JSON file of the data set, whose `labels`
    are in the order of their ids; without one of `names_in` they are in the order in which they stand here."""

    images: str | None = None
    labels: str | None = None
    splits: dict[str, str] = Field(default={})
    ids: _Classes | Literal["label-ids", "train-ids", "network"] | None = None
    colours: _Classes | None = None
    names: _Classes | None = None
    names_in: list[str] = Field(default=[])

    @model_validator(mode="after")
    def _has_one_table(self) -> _Table:
        if sum(one is not None for one in (self.ids, self.colours, self.names)) != 1:
            raise ValueError("one of ids, colours and names must be there: a table of what pixels hold, and classes")
        for key in self.ids if isinstance(self.ids, dict) else ():
            if not (key.isascii() and key.isdecimal() and str(int(key)) == key and int(key) <= _LAST_ID):
                raise ValueError(f"ids: {documents.short(key)} is no id, 0..{_LAST_ID}")
        for key in self.colours or ():
            if not _COLOUR.fullmatch(key):
                raise ValueError(f'colours: {documents.short(key)} is no colour, such as "#804080"')
        return self


@dataclass(frozen=True)
class LabelScheme:
    """`known` are ids, or colours as 0xRRGGBB, each with its class as a place in `classes`, or VOID. `classes` are None
    where ids are the numbers of the network's own, whatever it calls them."""

    name: str
    known: tuple[tuple[int, int], ...]
    classes: tuple[Names, ...] | None
    by_colour: bool = False
    images: str | None = None
    labels: str | None = None
    splits: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """SHA-256 (hex) of what decides a pixel's class."""
        return hashlib.sha256(json.dumps([self.known, self.classes, self.by_colour]).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class LabelPicture:
    """Places in the scheme's classes, (H, W) uint8, VOID where nothing is to be counted; `unknown` says in words which
    pixels the scheme does not know, empty where it knows all."""

    ids: NDArray[np.uint8]
    unknown: str


@dataclass(frozen=True)
class LabelFile:
    """The labels of a picture, and by which scheme they are read."""

    path: Path
    scheme: LabelScheme

    def read(self, width: int, height: int) -> LabelPicture:
        """Raises JobError where the file is missing, damaged, of another size or kind, or the scheme knows none of its
        pixels."""
        with images.complaints(self.path), images.opened(images.read(self.path)) as image:
            if image.size != (width, height):
                found, wanted = (f"{size[0]}x{size[1]} px" for size in (image.size, (width, height)))
                raise JobError(f"{self.path}: is {found}, its picture {wanted}")
            if images.count(image) > 1 or (image.mode == "L" and any(images.depths(image))):
                raise JobError(f"{self.path}: must be one picture of 8 bits a sample, or of 16 bits and gray")
            pixels = self._colours(image) if self.scheme.by_colour else self._ids(image)
        keys, places = (np.array(one) for one in zip(*self.scheme.known, strict=True))
        at = np.minimum(np.searchsorted(keys, pixels), len(keys) - 1)
        is_known = keys[at] == pixels
        if not is_known.any():
            raise JobError(f"{self.path}: scheme {self.scheme.name!r} knows none of its pixels: {self._some(pixels)}")
        unknown = "" if is_known.all() else self._some(pixels[~is_known])
        return LabelPicture(np.where(is_known, places[at], VOID).astype(np.uint8), unknown)

    def _ids(self, image: Image.Image) -> NDArray[Any]:
        if image.mode not in (*_GRAY, _PALETTE):
            raise JobError(f"{self.path}: has colour mode {image.mode}; scheme {self.scheme.name!r} is of ids, "
                           "so a gray or palette picture is needed, or a scheme of colours")  # fmt: skip
        return np.asarray(image).astype(np.int64)

    def _colours(self, image: Image.Image) -> NDArray[Any]:
        if image.mode not in (*_RGB, _PALETTE):
            raise JobError(f"{self.path}: has colour mode {image.mode}; scheme {self.scheme.name!r} is of colours, "
                           "so RGB or a palette is needed, or a scheme of ids")  # fmt: skip
        rgb = np.asarray(image.convert("RGB")).astype(np.int64)
        return np.asarray(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])

    def _some(self, pixels: NDArray[Any]) -> str:
        values, counts = np.unique(pixels, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_SHOWN]
        shown = [f"{f'#{values[i]:06x}' if self.scheme.by_colour else values[i]} ({counts[i]} px)" for i in order]
        what = "colours" if self.scheme.by_colour else "ids"
        return f"{what} {', '.join(shown)}{', ...' if len(values) > _SHOWN else ''}"


def built_in() -> list[str]:
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def find(scheme: str, data_root: Path | None = None) -> LabelScheme:
    """The scheme of a name, or of a path that ends in .toml. Without `data_root` names are taken in the order of the
    scheme's own file. Raises RequestError."""
    path = Path(scheme) if scheme.endswith(".toml") else _FOLDER / f"{scheme}.toml"
    if not scheme.endswith(".toml") and scheme not in (ours := built_in()):
        near = "".join(f" did you mean {one}?" for one in difflib.get_close_matches(scheme, ours, 1))
        raise RequestError(f"scheme {documents.short(scheme)}: there is no such one;{near} there are "
                           f"{', '.join(ours)}, or the path of a .toml file")  # fmt: skip
    try:
        content = read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise RequestError(f"{path}: label scheme cannot be read: {error.strerror}") from None
    table = _parse(path, content)
    known: dict[int, Names] = {key: (one,) if isinstance(one, str) else tuple(one) for key, one in
                               _values(table, data_root).items()}  # fmt: skip
    if table.ids == "network":
        classes, places = None, {number: number for number in range(VOID + 1)}
    else:
        classes = tuple(dict.fromkeys(names for names in known.values() if names != (IGNORE,)))
        if not classes or len(classes) > VOID:
            raise RequestError(f"{path}: names {len(classes)} classes; 1 to {VOID} are possible")
        numbers = {names: place for place, names in enumerate(classes)} | {(IGNORE,): VOID}
        places = {key: numbers[names] for key, names in known.items()}
    return LabelScheme(
        path.stem, tuple(sorted(places.items())), classes, table.colours is not None,
        table.images, table.labels, tuple(table.splits.items()),
    )  # fmt: skip


def _values(table: _Table, data_root: Path | None) -> Mapping[int, str | list[str]]:
    """What pixels hold, and its classes; colours as 0xRRGGBB. Raises RequestError."""
    if table.colours is not None:
        return {int(key[1:], 16): names for key, names in table.colours.items()}
    if table.names is not None:
        return _by_names(table, table.names, data_root)
    if isinstance(table.ids, dict):
        return {int(key): names for key, names in table.ids.items()}
    if table.ids == "train-ids":
        return {**dict(enumerate(CLASSES)), VOID: IGNORE}
    if table.ids == "label-ids":
        ids = {one.label_id % 256: one.name if one.category != "void" else IGNORE for one in LABELS}
        return ids | {_PLATE_OF_GTA5: "license plate"}
    return {}


@lru_cache(maxsize=32)
def _parse(path: Path, content: bytes) -> _Table:
    try:
        return _Table.model_validate(documents.parse_toml(content))
    except ValidationError as error:
        raise RequestError(f"{path}: {validation.one_line(error, _Table, {})}") from None
    except ValueError as error:
        raise RequestError(f"{path}: not TOML: {error}") from None


def _by_names(table: _Table, given: _Classes, data_root: Path | None) -> Mapping[int, str | list[str]]:
    """Classes by ids, where the data set's own file gives the order of names."""
    paths = [data_root / name for name in table.names_in] if data_root is not None else []
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return dict(enumerate(given.values()))
    try:
        names = [str(one["name"]) for one in documents.read_json(path, _MAX_BYTES)["labels"]]
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise RequestError(f'{path}: must be JSON with "labels", a list of objects with a "name"') from None
    return {number: given[name] for number, name in enumerate(names) if name in given}
