"""Where a picture's importance comes from: the contract of a source, and the choice of one with its settings.

A source is one file in `sources/`, or in a user's own folder (see `io/plugins`); its name is the file's.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError, RequestError, VcmbenchError
from vcmbench.importance import classes
from vcmbench.importance.qp_map import check_importance
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.io.files import sha256_of
from vcmbench.io.plugins import Plugins, only_subclass
from vcmbench.io.validation import first_mistake

F32 = NDArray[np.float32]
S = TypeVar("S")
_MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class PixelImportance:
    """A picture's importance map, (H, W) float32 in [0, 1], and what there is to note about it."""

    values: F32
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoSettings:
    """Of a source with nothing to choose."""


class SourceOfImportance(ABC, Generic[S]):
    """Says of every picture how much its pixels matter. It keeps nothing from picture to picture."""

    name: str  # set from the file's name when it is discovered
    file: Path
    needs_labels: ClassVar[bool] = False
    """Whether it works in the Cityscapes layout alone, where labels lie beside pictures."""
    settings: ClassVar[type[Any]] = NoSettings
    """A frozen dataclass with a default for each field: the keys of `[importance]` beside `source` and `region`."""
    paths: ClassVar[tuple[str, ...]] = ()
    """Those settings that are paths of files, meant from where the experiment lies."""

    @abstractmethod
    def digest(self, data: DataRoot, source: Source, settings: S) -> str:
        """What a picture's map depends on, as one hash, for jobs' keys. Nothing is decoded. Raises JobError."""

    @abstractmethod
    def read(self, data: DataRoot, source: Source, settings: S) -> PixelImportance:
        """The map of a picture, of its size. Raises JobError with the file and what is wrong with it."""

    def main_file(self, data: DataRoot, source: Source) -> Path | None:
        """The file without which a picture has no importance; None where it needs nothing but the picture."""
        return None

    def lacking(self, data: DataRoot, source: Source, settings: S) -> Path | None:
        """The first file that the map of a picture cannot do without and that is not there."""
        path = self.main_file(data, source)
        return path if path is not None and not path.exists() else None

    def describe(self, tag: str) -> str:
        """In words, for the report; `tag` is what differs from the default settings."""
        return f"{self.name}, {tag or 'by its default settings'}"


def _source_of(module: ModuleType, name: str) -> SourceOfImportance[Any]:
    found = only_subclass(module, SourceOfImportance)()  # type: ignore[type-abstract]
    found.name, found.file = name, Path(str(module.__file__))
    return found


_OURS = Path(__file__).parent / "sources"
_PLUGINS = Plugins("sources", lambda: _OURS, "vcmbench.importance.sources", _source_of)
discover, get = _PLUGINS.found, _PLUGINS.get


@cache
def _table_digest(path: Path) -> str:
    """Eight hexadecimal digits of a class table's content: its name may be anything, and another's as well."""
    return hashlib.sha256(classes.read_bytes(path)).hexdigest()[:8]


@dataclass(frozen=True)
class ImportanceSource:
    """The choice of a source, with its settings.

    Pixels of at least `region` count as the important ones where their PSNR is told apart; 1 is what lies within the
    safe distance.
    """

    source: str = "labels"
    settings: Any = field(default_factory=ImportanceSettings)
    region: float = 1.0

    @property
    def origin(self) -> SourceOfImportance[Any]:
        """Raises RequestError where there is no such source."""
        return get(self.source)

    @property
    def tag(self) -> str:
        """What differs from the defaults, in one word for a folder's name; empty where nothing does."""
        words: list[str] = [] if self.source == "labels" else [self.source]
        for one in fields(self.settings):
            value = getattr(self.settings, one.name)
            if value != one.default:
                words.append(f"{one.name}-{_table_digest(value) if isinstance(value, Path) else value}")
        if self.region != 1:
            words.append(f"region{self.region:g}")
        return "-".join(words)

    def digest(self, data: DataRoot, source: Source) -> str:
        """What the importance of a picture depends on, as one hash for the job's key. Nothing is decoded."""
        found = str(self._called("digest", data, source, self.settings))
        if self.origin.file.parent == _OURS:
            return found
        return hashlib.sha256(f"{found} {sha256_of(self.origin.file, _MAX_FILE_BYTES)}".encode()).hexdigest()

    def main_file(self, data: DataRoot, source: Source) -> Path | None:
        """The file without which a picture has no importance, if there is one."""
        return self.origin.main_file(data, source)

    def lacking(self, data: DataRoot, source: Source) -> Path | None:
        """The first file that the map of a picture cannot do without and that is not there."""
        return self.origin.lacking(data, source, self.settings)

    def read(self, data: DataRoot, source: Source, width: int, height: int) -> PixelImportance:
        """The importance of a picture of that size. Raises JobError with the file and what is wrong with it."""
        path = self.main_file(data, source)
        where = f"labels of {source.name}" if self.origin.needs_labels else str(path or f"{self.source}, {source.name}")
        found = self._called("read", data, source, self.settings)
        try:
            values = check_importance(found.values, where)
        except RequestError as error:
            raise JobError(str(error)) from None
        if values.shape != (height, width):
            rows, columns = values.shape
            raise JobError(f"{where}: importance is {columns}x{rows} px, the picture {width}x{height} px")
        return PixelImportance(values, tuple(found.notes))

    def _called(self, what: str, *arguments: object) -> Any:
        try:
            return getattr(self.origin, what)(*arguments)
        except (VcmbenchError, OSError):
            raise
        except Exception as error:  # a plugin may raise anything
            message = f"source of importance {self.source!r}: {what} failed: {type(error).__name__}: {error}"
            raise JobError(message) from error


def choose(source: str, region: float, values: Mapping[str, Any]) -> ImportanceSource:
    """The choice that an experiment makes. Raises RequestError with the key, the value and what is allowed."""
    origin = get(source)
    known = [one.name for one in fields(origin.settings)]
    for key in values:
        if key not in known:
            raise RequestError(f"{key}: unknown key; source {source!r} knows {', '.join(['source', 'region', *known])}")
    kinds, checked = get_type_hints(origin.settings), {}
    for key, value in values.items():
        given = Path(value) if key in origin.paths and isinstance(value, str) else value
        try:
            checked[key] = TypeAdapter(kinds[key]).validate_python(given, strict=True)
        except ValidationError as error:
            raise RequestError(f"{key}: {first_mistake(error)}") from None
    return ImportanceSource(source, origin.settings(**checked), region)
