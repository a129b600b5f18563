"""Whether results are still what was written: records by their seals, tables by their lists, all other files by
the hashes in records."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from vcmbench.compress import coded_sequence
from vcmbench.data import sums
from vcmbench.data.dataset import PREDICTIONS
from vcmbench.data.record import Record, read_record
from vcmbench.data.store import Store
from vcmbench.io.sealed import BrokenSealError, read_sealed
from vcmbench.measure import records
from vcmbench.measure.blocks.state import FOLDER, MAX_BYTES, SUFFIX
from vcmbench.measure.predictions import key_of, pristine_key_of
from vcmbench.measure.records import SCORES, Score
from vcmbench.tasks.kind import answer_files
from vcmbench.tasks.predictions import prediction_path

T = TypeVar("T")

_AT_ONCE = 64
_MAKERS = {sums.COMPRESSION: "run_compression.py", sums.MEASURED: "run_metrics.py"}


@dataclass(frozen=True)
class Damaged:
    """A file that is not what was written. `bitstream` is whose job has to be done again, None where it is no job's."""

    path: Path
    why: str
    bitstream: PurePosixPath | None = None
    sha256: str | None = None
    """What the bitstream was, where a sound record says so."""
    maker: str = "run_metrics.py"
    """What makes it again where it is no job's."""


@dataclass
class Verified:
    """What was looked at, and what was found."""

    jobs: int = 0
    scores: int = 0
    predictions: int = 0
    size_bytes: int = 0
    not_done: int = 0
    damages: list[Damaged] = field(default_factory=list)


def verify(store: Store, wanted: Iterable[PurePosixPath], jobs: int, advance: Callable[[str], None]) -> Verified:
    """Read everything that an experiment has on disk and hold it against what was recorded. Nothing is changed.

    `wanted` are the bitstreams that the experiment asks for: what has no record yet is counted, and where a bitstream
    lies there without one, the record is missed.
    """
    found = Verified()
    for bitstream in wanted:
        path = store.record_path(bitstream)
        if path.is_dir():
            found.damages.append(Damaged(path, "is a folder; move it away", bitstream))
        elif not os.path.lexists(path):
            found.not_done += 1
            if (store.data.root / bitstream).exists() and not _is_at_work(store, bitstream):
                found.damages.append(Damaged(path, "is missing, though its bitstream is there", bitstream))
    homes = _Homes(store)
    with ThreadPoolExecutor(jobs) as pool:
        for path, size_bytes, damages in _mapped(pool, lambda path: _job(store, path), _files_below(store.records)):
            found.jobs += 1
            found.size_bytes += size_bytes
            found.damages += damages
            advance(path.name)
        for path, score in _mapped(pool, lambda path: (path, records.read(path)), _files_below(store.folder / SCORES)):
            found.scores += 1
            if score is None or path.suffix != ".json":
                found.damages.append(Damaged(path, _broken_seal(path) or "is no whole score record"))
            else:
                homes.add(score)
            advance(path.name)
        for path, damage in _mapped(pool, _block_state, _block_states(store)):
            found.damages += damage
            advance(path.name)
        for path, damage in _mapped(pool, homes.look, _predictions(store)):
            found.predictions += 1
            found.damages += damage
            advance(path.name)
    seen = {damage.path for damage in found.damages}
    found.damages += [Damaged(path, why, maker=_MAKERS[name]) for name, path, why in sums.damages(store.folder)
                      if path not in seen]  # fmt: skip
    return found


def count(store: Store) -> int:
    """Of how many files `verify` calls `advance`."""
    scores = _files_below(store.folder / SCORES)
    return sum(1 for _ in chain(_files_below(store.records), scores, _block_states(store), _predictions(store)))


def _mapped(pool: ThreadPoolExecutor, look: Callable[[Path], T], paths: Iterable[Path]) -> Iterator[T]:
    """In order, a bounded number at a time: there may be 100,000."""
    waiting = iter(paths)
    while some := list(islice(waiting, _AT_ONCE)):
        yield from pool.map(look, some)


def _files_below(folder: Path) -> Iterator[Path]:
    for below, names, files in os.walk(folder):
        names.sort()
        yield from (Path(below, name) for name in sorted(files) if name.endswith((".json", ".png")))


# --- jobs


def _job(store: Store, path: Path) -> tuple[Path, int, list[Damaged]]:
    """What is wrong with a record and with the files that it speaks of."""
    bitstream = _bitstream_of(store, path)
    if path.is_symlink():
        return path, 0, [Damaged(path, "is a link; records are files", bitstream)]
    record = read_record(path)
    if record is None:
        return path, 0, [] if _is_at_work(store, bitstream) else [Damaged(path, _why_no_record(path), bitstream)]
    damages = list(_of_record(store, path, bitstream, record))
    if damages and (_is_at_work(store, bitstream) or read_record(path) != record):
        return path, 0, []  # a run is at it just now
    return path, record["size_bytes"], damages


def _bitstream_of(store: Store, path: Path) -> PurePosixPath:
    name = PurePosixPath(path.relative_to(store.records))
    return name.with_name(name.name.removesuffix(".json"))


def _is_at_work(store: Store, bitstream: PurePosixPath) -> bool:
    return store.is_claimed(bitstream)


def _why_no_record(path: Path) -> str:
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"was changed or cut off after it was written ({size} bytes): its seal does not hold"


def _of_record(store: Store, path: Path, bitstream: PurePosixPath, record: Record) -> Iterator[Damaged]:
    if record["bitstream"] != str(bitstream):
        yield Damaged(path, f"is the record of another bitstream, {record['bitstream']}", bitstream)
        return
    sha256 = record["bitstream_sha256"]
    target = store.data.root / bitstream
    if why := _differs(target, sha256, record["size_bytes"]):
        yield Damaged(target, why + _lacking(target, record), bitstream, sha256)
    beside = record.get("files")
    for name, wanted in beside.items() if isinstance(beside, dict) else ():
        if why := _differs(target.with_name(name), wanted):
            yield Damaged(target.with_name(name), why, bitstream, sha256)


def _lacking(path: Path, record: Record) -> str:
    """Which frame of a sequence is the first that is missing in what was cut off."""
    with suppress(OSError):
        if not path.is_symlink() and path.is_file() and path.stat().st_size < record["size_bytes"]:
            return coded_sequence.lacking_of(path, record)
    return ""


def _differs(path: Path, sha256: str, size_bytes: int | None = None) -> str:
    """Why a file is not the one of that hash; empty where it is."""
    try:
        if path.is_symlink() or not path.is_file():
            return "is missing" if not os.path.lexists(path) else "is no regular file"
        size = path.stat().st_size
        if size_bytes is not None and size != size_bytes:
            return f"has {size} bytes, its record says {size_bytes}"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "" if found == sha256 else "its SHA-256 is not the one in its record"


# --- what was measured


def _block_states(store: Store) -> Iterator[Path]:
    return (path for path in _files_below(store.folder / FOLDER) if path.name.endswith(SUFFIX))


def _block_state(path: Path) -> tuple[Path, list[Damaged]]:
    why = _broken_seal(path)
    return path, [Damaged(path, why)] if why else []


def _broken_seal(path: Path) -> str:
    """What is wrong with a file's seal; empty where it holds, or something else is wrong."""
    try:
        read_sealed(path, MAX_BYTES)
    except BrokenSealError as error:
        return str(error)
    except (OSError, ValueError):
        pass
    return ""


def _predictions(store: Store) -> Iterator[Path]:
    """The predictions on this experiment's pictures. Those on pristine pictures are all experiments' together."""
    folders = [store.data.root / PREDICTIONS[0]]
    scored = store.folder / SCORES
    if not scored.is_dir():
        return
    folders += [store.data.root / PREDICTIONS[1] / path.name for path in sorted(scored.iterdir())]
    for folder in folders:
        yield from (path for path in _files_below(folder) if any(path.suffix == one.suffix for one in answer_files()))


class _Homes:
    """Where the predictions that score records speak of belong, by the keys inside: one may lie in another's place."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, set[Path]] = {}

    def add(self, score: Score) -> None:
        record = self._store.read(PurePosixPath(score["bitstream"])) if "bitstream" in score else None
        identity, index = (score["machine"] or {}).get("identity"), score.get("frame", 0)
        if record is None or not identity or not 0 <= index < len(record["sources"]):
            return
        source, sha256 = PurePosixPath(score["source"]), record["sources"][index]["sha256"]
        decoded = key_of(identity, record["key"], record["bitstream_sha256"], index, sha256)
        for key, folder in ((decoded, score["configuration"]), (pristine_key_of(identity, sha256), None)):
            for files in answer_files():
                place = prediction_path(self._store.data.root, source, folder, files.suffix)
                self._places.setdefault(f"{files.suffix} {key}", set()).add(place)

    def look(self, path: Path) -> tuple[Path, list[Damaged]]:
        files = next(one for one in answer_files() if one.suffix == path.suffix)
        if not files.is_whole(path):
            what = (
                "is no whole picture: its checksums do not hold" if files.suffix == ".png" else "was changed or cut off"
            )
            return path, [Damaged(path, what)]
        places = self._places.get(f"{files.suffix} {files.key(path)}", {path})
        return path, [] if path in places else [Damaged(path, f"is the prediction that belongs at {min(places)}")]
