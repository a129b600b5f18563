"""Importance maps of many pictures as files: resumable, each picture's files whole or not there."""

from __future__ import annotations

import errno
import json
import os
import re
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vcmbench.data.dataset import read_picture
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import classes, pictures
from vcmbench.importance import record as records
from vcmbench.importance.compute import compute
from vcmbench.importance.inputs import Files, Inputs, digest_of, digest_of_files, read_inputs
from vcmbench.importance.maps import ImportanceMap
from vcmbench.importance.polygons import read_polygons
from vcmbench.importance.record import Record
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.io import locks
from vcmbench.io.files import check_inside, sha256_of
from vcmbench.io.progress import Progress

State = Literal["done", "resumed", "failed"]
_TEMPORARIES, _OURS = ".tmp", re.compile(r"[0-9a-f]{32}(\.[0-9a-f]{12})?")
_RECORD = "importance.json"
_ENDINGS = ("importance.npy", "importance.png", "importance_vis.png", "distance_annotation.png", _RECORD)
_LOG_CHARACTERS = 4000


@dataclass(frozen=True)
class MapTask:
    """One picture: its name (`<city>/<city>_<seq>_<frame>`), its files, whether pictures of its map are wanted."""

    name: str
    files: Files
    with_pictures: bool


@dataclass(frozen=True)
class MapTasks:
    """`count` tasks that are made when their turn comes: thousands of them would take more memory than a picture."""

    count: int
    make: Callable[[int], MapTask]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[MapTask]:
        return map(self.make, range(self.count))


@dataclass(frozen=True, slots=True)
class MapResult:
    """What became of a picture whose files lie below `output`: `error` where it failed."""

    state: State
    name: str
    output: Path
    error: JobError | None = None

    @property
    def map_path(self) -> Path:
        """Where the map lies, or would lie."""
        return _path(self.output, self.name, "importance.npy")

    @property
    def record_path(self) -> Path:
        """Where the record lies, or would lie."""
        return _path(self.output, self.name, _RECORD)


Listener = Callable[[MapResult, Record | None], None]
"""Hears what became of a picture, and its record where it did not fail."""


@dataclass
class ImportanceBatch:
    """Pictures whose maps are made below `output`."""

    tasks: Sequence[MapTask] | MapTasks
    output: Path
    settings: ImportanceSettings = field(default_factory=ImportanceSettings)
    jobs: int = 1
    force: bool = False
    quiet: bool = False
    _lease: locks.Lease = field(init=False, repr=False)

    def execute(self, listen: Listener = lambda *_: None) -> list[MapResult]:
        """Do what is not done, in threads; results in the order of the tasks. `listen` hears of each as it comes.

        A picture that fails leaves nothing half-written and the others finish. Records are heard of and not kept.
        Raises RequestError where the output folder cannot be written.
        """
        results: list[MapResult | None] = [None] * len(self.tasks)
        with (
            self._temporaries(),
            Progress(len(self.tasks), "map", quiet=self.quiet) as progress,
            closing(self._results()) as ended,
        ):
            for number, result, record in ended:
                results[number] = result
                if result.error is not None:
                    progress.failed(f"{result.name}: {result.error}")
                listen(result, record)
                progress.advance(result.name)
        return [result for result in results if result is not None]

    def _results(self) -> Generator[tuple[int, MapResult, Record | None]]:
        """What became of each, by its number. Only as many are under way as keep the threads busy."""
        waiting = enumerate(self.tasks)
        running: dict[Future[tuple[MapResult, Record | None]], int] = {}
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while True:
                    for number, task in islice(waiting, 2 * self.jobs - len(running)):
                        running[pool.submit(self._do, task)] = number
                    if not running:
                        return
                    for future in sorted(wait(running, return_when=FIRST_COMPLETED).done, key=running.__getitem__):
                        yield running.pop(future), *future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _do(self, task: MapTask) -> tuple[MapResult, Record | None]:
        try:
            _check_name(task)
            digests = self._digests(task)
            record = None if self.force else self._finished(task, digests)
            if record is not None:
                return MapResult("resumed", task.name, self.output), record
            record = self._make(task, digests)
            return MapResult("done", task.name, self.output), record
        except JobError as error:
            # anew: the one that was raised holds on to all arrays on its way
            failure = JobError(str(error), error.command, error.log)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever one picture holds, the others finish
            failure = JobError(f"internal error: {error!r}", log=traceback.format_exc()[-_LOG_CHARACTERS:])
        return MapResult("failed", task.name, self.output, failure), None

    @contextmanager
    def _temporaries(self) -> Iterator[None]:
        """The folder of temporary files: first without what killed runs left there, and in the end gone if empty.

        A lease of ours lies there meanwhile, whose name temporary files begin with: by it other runs see that we live,
        and do not take the folder away. Raises RequestError where nothing can be written.
        """
        folder = self.output / _TEMPORARIES
        try:
            for _ in range(9):
                folder.mkdir(parents=True, exist_ok=True)
                check_inside(self.output, folder / "any", str(self.output))
                with suppress(FileNotFoundError):  # another run has just ended, and removed it in between
                    self._lease = locks.take_new(folder)
                    break
            for path in folder.iterdir() if self._lease.is_real else ():  # without locks it cannot be known
                if _OURS.fullmatch(path.name) and not locks.is_held(folder / path.name.partition(".")[0]):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise RequestError(f"{self.output}: cannot be written: {error.strerror}; choose another folder") from None
        try:
            yield
        finally:
            with suppress(OSError):  # there may be others
                self._lease.release()
                folder.rmdir()

    def _temporary(self) -> Path:
        return self._lease.path.with_name(f"{self._lease.path.name}.{uuid.uuid4().hex[:12]}")

    def path(self, task: MapTask, ending: str) -> Path:
        return _path(self.output, task.name, ending)

    def _digests(self, task: MapTask) -> dict[str, str | None]:
        """What decides the values, and, where pictures are wanted, what is drawn."""
        return {
            "digest": digest_of(task.files, self.settings),
            "pictures_digest": _digest_of_drawn(task.files) if task.with_pictures else None,
        }

    def _finished(self, task: MapTask, digests: dict[str, str | None]) -> Record | None:
        """The record of a picture that is done with these inputs, if all its files are there as they were written."""
        record = records.read(self.path(task, _RECORD))
        if record is None or "importance.npy" not in (sizes := record["files"]) or not sizes.keys() <= set(_ENDINGS):
            return None
        is_same = all(record.get(key) == digest for key, digest in digests.items() if digest is not None)
        try:
            has_all = all(self.path(task, ending).stat().st_size == size for ending, size in sizes.items()) and all(
                sha256_of(self.path(task, ending), sizes[ending]) == digest
                for ending, digest in record.get("sha256", {}).items() if ending in sizes
            )  # fmt: skip
        except OSError:
            return None
        return record if is_same and has_all else None

    def _make(self, task: MapTask, digests: dict[str, str | None]) -> Record:
        inputs = read_inputs(task.files, self.settings)
        result = compute(task.files, inputs, self.settings)
        contents = {"importance.npy": _as_npy(result.values)}
        contents["importance.png"] = pictures.as_png(pictures.gray(result.values))
        notes, faults = list(result.notes), list[str]()
        if task.with_pictures:
            contents["importance_vis.png"] = pictures.as_png(pictures.heat(result.values))
            annotation = self._annotation(task.files, inputs, result, notes, faults)
            if annotation is not None:
                contents["distance_annotation.png"] = annotation
        record = records.made(task.name, digests, inputs, result, self.settings, notes, faults)
        record = records.with_files(record, contents)
        self._write(task, contents, record)
        return record

    def _annotation(
        self, files: Files, inputs: Inputs, result: ImportanceMap, notes: list[str], faults: list[str]
    ) -> bytes | None:
        """The scene with distances as PNG; None, with a note, where something that it shows is missing.

        What is wrong with the polygons is a fault, which is said at the end, and not the map's: they are only drawn.
        """
        if inputs.disparity is None:
            notes.append("no picture of distances: they were switched off")
            return None
        if files.picture is None or files.polygons is None:
            notes.append("no picture of distances: the scene's own picture or its polygons are missing")
            return None
        height, width = result.values.shape
        try:
            polygons = read_polygons(files.polygons, width, height)
        except JobError as error:
            faults.append(f"no picture of distances: {error}")
            return None
        if polygons is None:
            notes.append(f"no picture of distances: {files.polygons} is missing")
            return None
        outside = sum(len(polygon.points) < 3 for polygon in polygons)
        if outside:
            faults.append(f"{files.polygons}: polygons outside of the picture: {outside}")
        fx_times_baseline = inputs.fx_px * inputs.baseline_m
        rgb = read_picture(files.picture).rgb
        disparity = inputs.disparity.astype(np.uint16, copy=False)
        try:
            table = classes.load(self.settings.classes)
        except RequestError as error:  # it went while the run was on
            raise JobError(str(error)) from None
        return pictures.as_png(pictures.annotate(rgb, polygons, disparity, fx_times_baseline, result.d_safe_m, table))

    def _write(self, task: MapTask, contents: dict[str, bytes], record: Record) -> None:
        """All files of a picture, or none where there is no room for them: then what lay there before stays.

        The record is renamed last, and an older one goes first: where a record lies, what lies beside it belongs to it.
        """
        text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)
        renames: dict[Path, Path] = {}
        target = self.path(task, _RECORD)
        try:
            for ending, content in (contents | {_RECORD: text.encode()}).items():
                target = self.path(task, ending)
                check_inside(self.output, target, str(self.output))
                if target.is_dir():
                    raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
                temporary = self._temporary()
                renames[temporary] = target
                temporary.write_bytes(content)
            target.parent.mkdir(parents=True, exist_ok=True)
            for ending in reversed(_ENDINGS):
                if ending == _RECORD or ending not in contents:
                    target = self.path(task, ending)
                    target.unlink(missing_ok=True)
            for temporary, target in renames.items():  # the error names it
                os.replace(temporary, target)
        except OSError as error:
            raise JobError(f"{target}: cannot be written: {error.strerror}") from None
        finally:
            for temporary in renames:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)


def _check_name(task: MapTask) -> None:
    try:
        task.name.encode()
    except UnicodeEncodeError:
        raise JobError(f"{task.files.labels}: its name is not UTF-8; rename it") from None


def _path(output: Path, name: str, ending: str) -> Path:
    return output / f"{name}_{ending}"


def _digest_of_drawn(files: Files) -> str:
    picture = ("picture", files.picture)
    try:
        return digest_of_files("", [picture, ("polygons", files.polygons)])
    except JobError as error:  # where it is the polygons, they are a fault of the drawing alone
        return digest_of_files(str(error), [picture])


def _as_npy(values: np.ndarray[Any, Any]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()
