"""Where a picture's importance comes from: computed from labels, distance and speed, or maps that lie in files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import classes
from vcmbench.importance.compute import read_importance
from vcmbench.importance.inputs import files_of, importance_path, inputs_digest
from vcmbench.importance.qp_map import load_importance
from vcmbench.importance.settings import ImportanceSettings

F32 = NDArray[np.float32]


@cache
def _table_digest(path: Path) -> str:
    """Eight hexadecimal digits of a class table's content: its name may be anything, and another's as well."""
    return hashlib.sha256(classes.read_bytes(path)).hexdigest()[:8]


@dataclass(frozen=True)
class ImportanceSource:
    """Where a picture's importance comes from: computed from labels and distances, or maps that lie in files.

    Pixels of at least `region` count as the important ones where their PSNR is told apart; 1 is what lies within the
    safe distance.
    """

    source: Literal["labels", "files"] = "labels"
    settings: ImportanceSettings = field(default_factory=ImportanceSettings)
    region: float = 1.0

    @property
    def tag(self) -> str:
        """What differs from the defaults, in one word for a folder's name; empty where nothing does."""
        words: list[str] = [] if self.source == "labels" else [self.source]
        for one in fields(ImportanceSettings):
            value = getattr(self.settings, one.name)
            if value != one.default:
                words.append(f"{one.name}-{_table_digest(value) if one.name == 'classes' else value}")
        if self.region != 1:
            words.append(f"region{self.region:g}")
        return "-".join(words)

    def digest(self, data: DataRoot, source: Source) -> str:
        """What the importance of a picture depends on, as one hash for the job's key. Nothing is decoded."""
        if self.source == "labels":
            return inputs_digest(data, source, self.settings)
        path = importance_path(data, source)
        try:
            return Source(source.name, path).sha256()
        except OSError:  # what lies there and is no map is told when it is read
            return "missing"

    def main_file(self, data: DataRoot, source: Source) -> Path:
        """The file without which a picture has no importance: its labels, or its map."""
        if self.source == "files":
            return importance_path(data, source)
        return files_of(data, source).labels

    def read(self, data: DataRoot, source: Source, width: int, height: int) -> PixelImportance:
        """The importance of a picture of that size. Raises JobError with the file and what is wrong with it."""
        if self.source == "labels":
            found = read_importance(data, source, self.settings)
            result = PixelImportance(found.values, found.notes)
            where = f"labels of {source.name}"
        else:
            path = importance_path(data, source)
            result, where = PixelImportance(_read_file(path), ()), str(path)
        if result.values.shape != (height, width):
            rows, columns = result.values.shape
            raise JobError(f"{where}: importance is {columns}x{rows} px, the picture {width}x{height} px")
        return result


@dataclass(frozen=True)
class PixelImportance:
    """A picture's importance map, (H, W) float32 in [0, 1], and what there is to note about it."""

    values: F32
    notes: tuple[str, ...]


def _read_file(path: Path) -> F32:
    try:
        return load_importance(path)
    except RequestError as error:
        raise JobError(str(error)) from None
