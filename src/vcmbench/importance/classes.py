"""The class table: what each label id is called, and whether its importance is none, fixed, or a matter of distance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vcmbench.data import labels
from vcmbench.errors import RequestError
from vcmbench.io import documents, validation
from vcmbench.io.files import read_bounded

DEFAULT = Path(__file__).with_name("classes.toml")
Named = Literal["seed000"]
Table = Path | Named | None
"""The path of a class table, the name of one that lies here, or None for our own."""
VOID, FIXED, DISTANCE, UNKNOWN = 0, 1, 2, 3
# how id -1 (license plate) stands in 8 bits; no other class may have it
MINUS_ONE = 255
# instanceIds hold id * 1000 + n in 16 bits
_LAST_WITH_INSTANCES = 64
_LAST_TRAIN_ID = 18
_FEWEST_TRAIN_IDS = 6
"""A street of so many classes has one above 18 in label ids, such as sky, vegetation or a car."""
_MAX_BYTES = 1 << 18
_MOST_CLASSES = 256
_KINDS = {"void": VOID, "fixed": FIXED, "distance": DISTANCE}


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    id: Annotated[int, Field(ge=-1, le=254)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Literal["void", "fixed", "distance"]
    importance: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _importance_goes_with_kind(self) -> _Row:
        if (self.importance is not None) != (self.kind == "fixed"):
            raise ValueError(f'class {self.name!r}: importance stands where kind is "fixed", and only there')
        if self.kind == "distance" and self.id > _LAST_WITH_INSTANCES:
            raise ValueError(f"class {self.name!r}: a distance class has an id up to {_LAST_WITH_INSTANCES}")
        return self


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: Annotated[list[_Row], Field(min_length=1, max_length=_MOST_CLASSES, alias="class")]

    @model_validator(mode="after")
    def _all_differ(self) -> _Table:
        for key in ("id", "name"):
            values = [getattr(row, key) for row in self.rows]
            twins = [value for value in values if values.count(value) > 1]
            if twins:
                raise ValueError(f"{key} {twins[0]!r} stands in it twice")
        return self


_NESTED: dict[str, type[BaseModel]] = {"class": _Row}


@dataclass(frozen=True, eq=False)
class Classes:
    """A class table as look-up tables over 8-bit ids, in which -1 stands at 255.

    `names`: id -> name. `kinds` (256,) uint8: VOID, FIXED, DISTANCE or UNKNOWN. `values` (256,) float32: importance of
    fixed classes, else 0.
    """

    names: dict[int, str]
    kinds: NDArray[np.uint8]
    values: NDArray[np.float32]

    def name(self, byte: int) -> str:
        """The name of the class at a place of the look-up tables."""
        return self.names[-1 if byte == MINUS_ONE else byte]

    def by_name(self, names: Iterable[str]) -> int | None:
        """The id of the first of these names that is here, without regard to case."""
        ids = {name.lower(): number for number, name in self.names.items()}
        return next((ids[name.lower()] for name in names if name.lower() in ids), None)

    def void(self) -> int | None:
        """The first id of a class that is not part of the scene."""
        return next((number for number in sorted(self.names) if self.kinds[number] == VOID), None)


def wrong_ids(label_ids: NDArray[Any], table: Classes) -> str:
    """What is wrong with the ids of a label picture, integers of any shape; empty where they are the table's.

    Train ids are known by their 255, or where many classes are there and none above 18.
    """
    if label_ids.dtype == np.uint8:
        found = set(np.flatnonzero(np.bincount(label_ids.ravel(), minlength=256)).tolist())
    else:
        found = set(np.unique(label_ids).tolist())
    unknown = sorted(found - set(table.names))
    has_own = set(table.names) != set(labels.BY_ID)
    known = found - {labels.VOID}
    may_be_train_ids = bool(known) and max(known) <= _LAST_TRAIN_ID and min(known) >= 0
    if not has_own and may_be_train_ids and (unknown or len(known) >= _FEWEST_TRAIN_IDS):
        return "holds train ids (0..18, and 255 for void); label ids are needed, as in *_gtFine_labelIds.png"
    if not unknown:
        return ""
    shown = ", ".join(map(str, unknown[:10])) + (", .." if len(unknown) > 10 else "")
    return f"unknown ids {shown}; labelIds are needed (not trainIds), or a table by --classes"


def _file(table: Table) -> Path:
    return DEFAULT.with_name(f"{table}.toml") if isinstance(table, str) else table or DEFAULT


def read_bytes(table: Table) -> bytes:
    """The bytes of a class table. Raises RequestError."""
    path = _file(table)
    try:
        return read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise RequestError(f"{path}: class table cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in its name
        raise RequestError(f"{documents.short(str(path))}: class table cannot be read: {error}") from None


def table_digest(table: Table) -> str:
    """SHA-256 (hex) of the bytes of a class table as it is now. Raises RequestError."""
    return hashlib.sha256(read_bytes(table)).hexdigest()


def load(table: Table = None) -> Classes:
    """Read and check a class table. Raises RequestError with the file and what is wrong."""
    return _parse(_file(table), read_bytes(table))


@lru_cache(maxsize=8)
def _parse(path: Path, content: bytes) -> Classes:
    try:
        rows = _Table.model_validate(documents.parse_toml(content)).rows
    except ValidationError as error:
        raise RequestError(f"{path}: {validation.one_line(error, _Table, _NESTED)}") from None
    except ValueError as error:
        raise RequestError(f"{path}: not TOML: {error}") from None
    kinds = np.full(256, UNKNOWN, np.uint8)
    values = np.zeros(256, np.float32)
    for row in rows:
        kinds[row.id] = _KINDS[row.kind]  # -1 is the last one, 255
        values[row.id] = row.importance or 0.0
    kinds.flags.writeable = values.flags.writeable = False
    return Classes({row.id: row.name for row in rows}, kinds, values)
