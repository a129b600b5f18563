"""Which jobs of a data root are done, by what lies there: names are listed, and only a sample of records is read.

A plan asks whether a record and its bitstream are there. Whether the key inside still holds, a run finds out: that
needs every picture's hash.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from vcmbench.data.dataset import RESULTS, DataRoot
from vcmbench.data.record import Record, read_record
from vcmbench.data.store import Store

SAMPLED_RECORDS = 24
"""Records of one configuration that figures are taken from, spread evenly over its pictures."""


class Results:
    """What lies in a data root, of one experiment and of the others, whose records count, too."""

    def __init__(self, data: DataRoot, store: Store, folders: Iterable[str]) -> None:
        """`folders` are the configuration folders that are asked about."""
        self._data, self._store = data, store
        experiments = (path / "records" for path in sorted((data.root / RESULTS).glob("*")) if path.is_dir())
        # this experiment's own records are the ones that count where several speak of one bitstream
        self._records = sorted(experiments, key=lambda path: path != store.records)
        self._of_folder: dict[str, dict[str, Path]] = {}
        self._there: dict[str, set[str]] = {}
        for folder in dict.fromkeys(folders):
            found: dict[str, Path] = {}
            for records in self._records:
                for name in _files(records / folder):
                    if name.endswith(".json"):
                        found.setdefault(name.removesuffix(".json"), records / folder / name)
            self._of_folder[folder] = found
            self._there[folder] = set(_files(data.root / folder)) if found else set()

    def is_done(self, folder: str, name: str) -> bool:
        """Whether a bitstream, named below its configuration folder, and a record of it are there."""
        return name in self._of_folder[folder] and name in self._there[folder]

    def read(self, folder: str, name: str) -> Record | None:
        """The record of a bitstream; None where there is none that can be read."""
        path = self._of_folder[folder].get(name)
        return read_record(path) if path else None

    def sample(self) -> Iterator[Record]:
        """Some records of each configuration."""
        for found in self._of_folder.values():
            names = sorted(found)
            step = max(1, -(-len(names) // SAMPLED_RECORDS))
            for name in names[::step]:
                if (record := read_record(found[name])) is not None:
                    yield record


def scores(store: Store, folders: Iterable[str]) -> dict[str, set[str]]:
    """For each configuration folder the pictures, by name below it, that have a record of scores."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for folder in folders:
        names = _files(store.folder / "scores" / folder)
        found[folder] = {name.removesuffix(".json") for name in names if name.endswith(".json")}
    return found


def _files(folder: Path) -> list[str]:
    """Every file below a folder, as names relative to it with slashes; nothing where there is no such folder."""
    found: list[str] = []
    waiting = [("", str(folder))]
    while waiting:
        before, place = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                waiting.append((f"{before}{entry.name}/", entry.path))
            elif not entry.is_symlink():
                found.append(before + entry.name)
    return found
