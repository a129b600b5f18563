"""Where a picture's importance comes from: the contract of a source, and the choice of one with its settings.

A source is one file in `sources/`, or in a user's own folder (see `io/plugins`); its name is the file's.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError, RequestError
from vcmbench.importance.qp_map import check_importance
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.io.files import sha256_of
from vcmbench.io.plugins import Plugins, only_its_job, only_subclass
from vcmbench.io.validation import first_mistake

F32 = NDArray[np.float32]
S = TypeVar("S")
_MAX_SETTING_BYTES = 1 << 33  # of a file that a setting names, such as a network's weights
_WORD = re.compile(r"[A-Za-z0-9_.+-]{1,40}")


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
    words: ClassVar[tuple[str, ...]] = ()
    """What such a setting may say instead, and is no path."""
    is_asked: ClassVar[bool] = False
    """Whether there is no map before a picture is coded: the experiment's task is asked meanwhile."""
    by_rate: ClassVar[bool] = False
    """Whether a map depends on how coarsely the picture is coded: `read` takes `bpp`, about how many bits a pixel it
    will have, too."""
    weighs_pixels: ClassVar[bool] = True
    """Whether its maps, where it has any, say how much pixels matter to users, so that scores count pixels by them."""
    has_whole_digest: ClassVar[bool] = False
    """Whether `digest` speaks for the settings and the code, too; else they are added to it."""

    @abstractmethod
    def digest(self, data: DataRoot, source: Source, settings: S) -> str:
        """The files that a picture's map depends on, as one hash, for keys. Nothing is decoded. Raises JobError."""

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


_PLUGINS = Plugins("sources", lambda: Path(__file__).parent / "sources", "vcmbench.importance.sources", _source_of)
discover, get = _PLUGINS.found, _PLUGINS.get


@cache
def _file_digest(path: Path) -> str:
    """Eight hexadecimal digits of a file's content: its name may be anything, and another's as well."""
    try:
        return sha256_of(path, _MAX_SETTING_BYTES)[:8]
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None


def _sha256(path: Path) -> str:
    """Of a file as it is now, wherever it lies."""
    now = path.stat()
    return _sha256_of(path, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:
    """Kept, since it is the same for all pictures, and may be a network's weights."""
    return sha256_of(path, _MAX_SETTING_BYTES)


def _word(value: object) -> str:
    """A setting's value as part of a folder's name."""
    if isinstance(value, Path):
        return _file_digest(value)
    text = str(value)
    return text if _WORD.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class ImportanceSource:
    """The choice of a source, with its settings.

    Pixels of at least `region` count as the important ones where their PSNR is told apart; 1 is what lies within the
    safe distance. With `hold`, a picture of a sequence that has no map keeps the last one before it.
    """

    source: str = "labels"
    settings: Any = field(default_factory=ImportanceSettings)
    region: float = 1.0
    hold: bool = False

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
            if value != (one.default if one.default_factory is MISSING else one.default_factory()):
                words.append(f"{one.name}-{_word(value)}")
        if self.region != 1:
            words.append(f"region{self.region:g}")
        if self.hold:
            words.append("hold")
        return "-".join(words)

    def digest(self, data: DataRoot, source: Source) -> str:
        """What the importance of a picture depends on, as one hash for keys. Nothing is decoded. Raises JobError."""
        found = str(self._called("digest", data, source, self.settings))
        if self.origin.has_whole_digest:
            return found
        with only_its_job(f"{self._title}: its settings"):
            return self._whole(found)

    def _whole(self, found: str) -> str:
        """A source's digest with what it does not speak for: settings, files that they name, and its own file."""
        values = {one.name: getattr(self.settings, one.name) for one in fields(self.settings)}
        settings = {name: _sha256(one) if isinstance(one, Path) else repr(one) for name, one in values.items()}
        parts = [found, settings, _sha256(self.origin.file)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def main_file(self, data: DataRoot, source: Source) -> Path | None:
        """The file without which a picture has no importance, if there is one. Raises JobError."""
        return self._file("main_file", data, source)

    def lacking(self, data: DataRoot, source: Source) -> Path | None:
        """The first file that the map of a picture cannot do without and that is not there. Raises JobError."""
        return self._file("lacking", data, source, self.settings)

    def _file(self, method: str, *given: Any) -> Path | None:
        found = self._called(method, *given)
        if found is not None and not isinstance(found, Path):
            raise JobError(f"{self._title}: {method} gave {type(found).__name__}, must give a Path or None")
        return found

    def over_time(self, data: DataRoot, sources: Sequence[Source]) -> list[Source]:
        """Whose map each picture of a sequence has, in order: its own, or with `hold` the last before it that has one;
        those before the first have that of the first. Raises JobError where one has none."""
        lacking = [self.lacking(data, source) for source in sources]
        known = [number for number, path in enumerate(lacking) if path is None]
        if len(known) < len(sources) and not (self.hold and known):
            at = next(number for number, path in enumerate(lacking) if path is not None)
            advice = "no picture of its sequence has any" if self.hold else (
                f"{len(known)} of {len(sources)} pictures of its sequence have theirs; [importance] hold = true keeps "
                "the last known one"
            )  # fmt: skip
            raise JobError(f"importance of {sources[at].name}: no {lacking[at]}; {advice}")
        last, found = known[0], []
        for number, path in enumerate(lacking):
            last = number if path is None else last
            found.append(sources[last])
        return found

    def read(
        self, data: DataRoot, source: Source, width: int, height: int, bpp: float | None = None
    ) -> PixelImportance:
        """The importance of a picture of that size, where it matters when it is coded with about `bpp` bits a pixel.
        Raises JobError with the file and what is wrong with it."""
        path = self.main_file(data, source)
        where = f"labels of {source.name}" if self.origin.needs_labels else str(path or f"{self.source}, {source.name}")
        rate = (bpp,) if self.origin.by_rate and bpp is not None else ()
        found = self._called("read", data, source, self.settings, *rate)
        if not isinstance(found, PixelImportance):
            raise JobError(f"{self._title}: read gave {type(found).__name__}, must give a PixelImportance")
        try:
            values = check_importance(found.values, where)
        except RequestError as error:
            raise JobError(str(error)) from None
        if values.shape != (height, width):
            rows, columns = values.shape
            raise JobError(f"{where}: importance is {columns}x{rows} px, the picture {width}x{height} px")
        return PixelImportance(values, tuple(found.notes))

    def _called(self, what: str, *arguments: object) -> Any:
        with only_its_job(f"{self._title}: {what} failed"):
            return getattr(self.origin, what)(*arguments)

    @property
    def _title(self) -> str:
        return f"source of importance {self.source!r}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes find the class of the settings by the source's name: its file may be no module there."""
        values = {one.name: getattr(self.settings, one.name) for one in fields(self.settings)}
        return _again, (self.source, values, self.region, self.hold)


def _again(source: str, values: dict[str, Any], region: float, hold: bool) -> ImportanceSource:
    """What was checked once is not checked again: a file that settings name may be gone, which its jobs report."""
    settings = object.__new__(get(source).settings)
    for name, value in values.items():
        object.__setattr__(settings, name, value)
    return ImportanceSource(source, settings, region, hold)


def choose(source: str, region: float, values: Mapping[str, Any], hold: bool = False) -> ImportanceSource:
    """The choice that an experiment makes. Raises RequestError with the key, the value and what is allowed."""
    origin = get(source)
    known = [one.name for one in fields(origin.settings)]
    for key in values:
        if key not in known:
            words = ", ".join(["source", "region", *known, "hold"])
            raise RequestError(f"{key}: unknown key; source {source!r} knows {words}")
    try:
        return ImportanceSource(source, _settings(origin, values), region, hold)
    except (RequestError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin may raise anything
        raise RequestError(f"source {source!r}: its settings failed: {type(error).__name__}: {error}") from error


def _settings(origin: SourceOfImportance[Any], values: Mapping[str, Any]) -> Any:
    """The settings of these values, each of which must be of its field's type."""
    kinds, checked = get_type_hints(origin.settings), {}
    for key, value in values.items():
        is_path = key in origin.paths and isinstance(value, str) and value not in origin.words
        given = Path(value) if is_path else value
        try:
            checked[key] = TypeAdapter(kinds[key]).validate_python(given, strict=True)
        except ValidationError as error:
            raise RequestError(f"{key}: {first_mistake(error)}") from None
    return origin.settings(**checked)
