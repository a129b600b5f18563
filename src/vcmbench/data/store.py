"""Results on disk: one JSON record a job, written last and atomically. A job is finished when its record exists.

A record lies at `DATA/results/<experiment>/records/<configuration folder>/<picture>.json`, so that its path says what
it is about; the key inside says whether it still holds. The same bitstream may serve several experiments: a run that
codes it anew first removes the records of the old one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, BinaryIO

from vcmbench.data.dataset import RESULTS, DataRoot
from vcmbench.data.record import Record, as_text, read_record, sealed
from vcmbench.errors import RequestError
from vcmbench.io import locks
from vcmbench.io.files import check_inside, named, write_atomically

_AT_WORK = (".tmp", ".leases", ".claims")
"""Folders below the results that hold nothing once all runs have ended."""
_NAME_BYTES = 255


def job_key(parts: dict[str, Any]) -> str:
    """SHA-256 of what decides a job's result: input bytes, configuration, tool identity, argv."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class Store:
    """The records of one experiment below one data root."""

    def __init__(self, data: DataRoot, experiment: str, seed: int = 0) -> None:
        self.data = data
        self.meta = {"experiment": experiment, "seed": seed}
        self.folder = data.root / RESULTS / experiment
        self.records = self.folder / "records"
        self._root_text, self._records_text = str(data.root), str(self.records)
        self._temporaries, self._leases, self._claims = (data.root / RESULTS / name for name in _AT_WORK)

    def prepare(self) -> None:
        """Make the folders, and remove what runs left there that were killed.

        Raises RequestError where nothing can be written, before any work is done in vain.
        """
        try:
            for folder in (self.folder, self.records, self._temporaries, self._leases):
                self._check(folder / "any")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self.folder / ".probe", b"", self.temporary())
            (self.folder / ".probe").unlink(missing_ok=True)  # another run may have the same
            for folder in (self._leases, self._claims):
                folder.mkdir(exist_ok=True)
            self.remove_abandoned()
        except OSError as error:
            raise RequestError(f"{self.folder}: cannot be written: {error.strerror}") from None

    def _check(self, path: Path) -> None:
        """Raises OSError where a link leads out of the data root: nothing of ours is there."""
        check_inside(self.data.root, path)

    def remove_abandoned(self) -> None:
        """What processes left that live no longer: files that they were writing, their leases, their claims.

        Raises OSError.
        """
        for folder in (self._temporaries, self._leases, self._claims):
            self._check(folder / "any")
        if not locks.of_this_process(self._leases).is_real:  # without locks it cannot be known
            return
        for path in self._temporaries.iterdir():
            if not locks.is_held(self._leases / path.name.partition(".")[0]):
                with suppress(OSError):  # another user's, or no file
                    path.unlink(missing_ok=True)
        for folder in (self._leases, self._claims):
            for path in folder.iterdir():
                with suppress(OSError), locks.abandoned(path):  # it goes with the block
                    pass

    def remove_empty(self) -> None:
        """Remove the folders that runs work with, and the results' own, as far as no other process needs what is in
        them; this one lets go of its leases."""
        with suppress(OSError):
            self.remove_abandoned()
        locks.release_all()
        for folder in (self._temporaries, self._leases, self._claims, self._leases.parent):
            with suppress(OSError):
                folder.rmdir()

    def temporary(self) -> Path:
        """A new name in a folder of its own, on the file system of the results: what is there is never a result."""
        self._temporaries.mkdir(parents=True, exist_ok=True)
        owner = locks.of_this_process(self._leases).path.name
        return self._temporaries / f"{owner}.{uuid.uuid4().hex[:12]}"

    def claim(self, name: PurePosixPath) -> locks.Lease | None:
        """The right to make what lies at `name` (relative to the data root), None where another process has it.

        It ends with the process that holds it. Raises OSError.
        """
        self._claims.mkdir(parents=True, exist_ok=True)
        return locks.take(self._claim_path(name))

    def is_claimed(self, name: PurePosixPath) -> bool:
        """Whether a process, this one included, has the claim of what lies at `name`."""
        return locks.is_held(self._claim_path(name))

    def holder(self, name: PurePosixPath) -> str:
        """Which process has the claim of what lies at `name`, in words."""
        return locks.holder(self._claim_path(name))

    def was_abandoned(self, name: PurePosixPath) -> bool:
        """Whether a process died while it had the claim of what lies at `name`."""
        path = self._claim_path(name)
        return path.exists() and not locks.is_held(path)

    def _claim_path(self, name: PurePosixPath) -> Path:
        return self._claims / hashlib.sha256(os.fsencode(name)).hexdigest()[:32]

    def probe(self) -> locks.Lease:
        """A file in the results that is locked as long as a run goes: workers of other machines must see it so."""
        return locks.take_new(self._leases, "run-")

    def is_at_work(self) -> bool:
        """Whether another process makes anything below the data root now, of whatever experiment."""
        if not self._leases.is_dir():
            return False
        own = locks.of_this_process(self._leases).path
        places = (path for folder in (self._claims, self._leases) if folder.is_dir() for path in folder.iterdir())
        return any(locks.is_held(path) for path in places if path != own)

    def record_path(self, bitstream: PurePosixPath) -> Path:
        """Where the record of a bitstream (named relative to the data root) lies."""
        return self.records / bitstream.with_name(bitstream.name + ".json")

    def read(self, bitstream: PurePosixPath) -> Record | None:
        """The record of a bitstream; None where there is none or it cannot be read."""
        return read_record(f"{self._records_text}/{bitstream}.json")  # a run resumes many: no path is made of it

    def finished_here(self, bitstream: PurePosixPath, *keys: str) -> Record | None:
        """The record of a job that this experiment has finished: it has one of the job's keys, and its bitstream lies
        there in full length."""
        record = self.read(bitstream)
        is_it = record is not None and record["key"] in keys and self._bitstream_is_there(record)
        return record if is_it else None

    def finished(self, bitstream: PurePosixPath, *keys: str, adopt: bool = True) -> Record | None:
        """The same, or the record that another experiment made of the very same job; it is taken over, unless `adopt`
        is False. Who takes over has the job's claim: else somebody might replace the bitstream at this moment."""
        if (record := self.finished_here(bitstream, *keys)) is not None:
            return record
        record = next((other for other in self.of_all_experiments(bitstream) if other["key"] in keys), None)
        if record is None or not self._bitstream_is_there(record):
            return None
        record = sealed({**record, **self.meta})
        if adopt:
            with suppress(OSError):  # where there is no room for it now, it is taken over next time
                self._check(self.record_path(bitstream))
                write_atomically(self.record_path(bitstream), as_text(record), self.temporary())
        return record

    def _bitstream_is_there(self, record: Record) -> bool:
        try:
            return bool(os.stat(f"{self._root_text}/{record['bitstream']}").st_size == record["size_bytes"])
        except OSError:
            return False

    def everywhere(self, bitstream: PurePosixPath) -> Iterator[Path]:
        """Where records of a bitstream may lie: below every experiment of the data root."""
        name = bitstream.with_name(bitstream.name + ".json")
        for records in sorted(self.folder.parent.glob("*/records")):
            if records.is_dir():
                yield records / name

    def of_all_experiments(self, bitstream: PurePosixPath) -> Iterator[Record]:
        """The records of a bitstream in every experiment of the data root."""
        for path in self.everywhere(bitstream):
            if (record := read_record(path)) is not None:
                yield record

    def publish(self, files: dict[Path, PurePosixPath], bitstream: PurePosixPath, record: Record) -> Record:
        """Put a job's files and then its record in their places; records of what they replace go first, but for those
        of the very same bitstream.

        Returns the record with its seal.

        All that can fail for want of room, rights or shorter names happens elsewhere, before anything that lies in
        those places is touched.
        """
        renames: list[tuple[Path, Path]] = []
        try:
            for source, name in files.items():
                renames.append((self.temporary(), self._inside(name)))
                with named(renames[-1][1]):
                    _move(source, renames[-1][0])
            renames.append((self.temporary(), self._inside(self.record_path(bitstream))))
            record = sealed(record)
            with named(renames[-1][1]):
                renames[-1][0].write_bytes(as_text(record))
            for _, target in renames:
                if len(os.fsencode(target.name)) > _NAME_BYTES:
                    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), str(target))
                target.parent.mkdir(parents=True, exist_ok=True)
            for path in self.everywhere(bitstream):
                try:
                    self._check(path)
                except PermissionError:  # that of another data root, to which a link leads
                    continue
                if not _is_of(read_record(path), record):
                    path.unlink(missing_ok=True)
            for temporary, target in renames:
                os.replace(temporary, target)
            return record
        finally:
            for temporary, _ in renames:
                temporary.unlink(missing_ok=True)

    def _inside(self, name: PurePath) -> Path:
        target = self.data.root / name
        self._check(target)
        return target

    def all_records(self) -> Iterator[tuple[PurePosixPath, Record]]:
        """Every record of this experiment with the name of its bitstream, sorted."""
        for folder, names, files in os.walk(self.records):
            names.sort()
            for file in sorted(name for name in files if name.endswith(".json")):
                if (record := read_record(Path(folder, file))) is not None:
                    yield PurePosixPath(record["bitstream"]), record

    def any_runner(self) -> str | None:
        """The runner of results that are there: of this experiment, else of any other; None where there are none."""
        for folder in (self.folder, *sorted(self.folder.parent.glob("*"))):
            first = next(Store(self.data, folder.name).all_records(), None)
            if first is not None:
                return str(first[1]["runner"])
        return None

    def write_table(self, name: str, content: bytes | None) -> Path | None:
        """A table of this experiment as a file of that name; None removes what an earlier run left."""
        path = self.folder / name
        self._check(path)
        if content is None:
            path.unlink(missing_ok=True)
            return None
        write_atomically(path, content, self.temporary())
        return path

    @contextmanager
    def writing_table(self, name: str) -> Iterator[BinaryIO]:
        """A table that is written as it comes. At the end it takes the old one's place, all of it; where an exception
        ends it, nothing does."""
        self._check(self.folder / name)
        temporary = self.temporary()
        try:
            with named(self.folder / name):
                with temporary.open("wb") as file:
                    yield file
                os.replace(temporary, self.folder / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _is_of(other: Record | None, record: Record) -> bool:
    """Whether another experiment's record is of the very same job, and of the very same bitstream."""
    same = ("key", "bitstream", "bitstream_sha256")
    return other is not None and all(other[name] == record[name] for name in same)


def probe_path(data_root: Path, name: str) -> Path:
    """Where `Store.probe` lies, by its name."""
    return data_root / RESULTS / _AT_WORK[1] / name


def _move(source: Path, target: Path) -> None:
    if source.stat().st_uid == os.getuid():  # what a container wrote belongs to its user: that is copied
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:  # the scratch folder may lie on another file system
                raise
    shutil.copyfile(source, target)
