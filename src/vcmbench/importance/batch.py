"""Importance maps of many pictures as files: resumable, each picture's files whole or not there."""

from __future__ import annotations

import json
import os
import socket
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vcmbench import __version__
from vcmbench.errors import JobError, RequestError
from vcmbench.files import is_alive, write_atomically
from vcmbench.importance import classes, pictures
from vcmbench.importance.inputs import Files, Inputs, digest_of, digest_of_files, read_inputs
from vcmbench.importance.maps import ImportanceMap
from vcmbench.importance.polygons import read_polygons
from vcmbench.importance.reading import compute
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.progress import Progress

Record = dict[str, Any]
State = Literal["done", "resumed", "failed"]
_SCHEMA_VERSION = 1
_TEMPORARIES = ".tmp"


@dataclass(frozen=True)
class Task:
    """One picture: its name (`<city>/<city>_<seq>_<frame>`), its files, whether pictures of its map are wanted."""

    name: str
    files: Files
    with_pictures: bool


@dataclass(frozen=True)
class Result:
    """What became of a picture: its record, or the error."""

    state: State
    name: str
    record: Record | None = None
    error: JobError | None = None


@dataclass
class Batch:
    """Pictures whose maps are made below `output`."""

    tasks: list[Task]
    output: Path
    settings: ImportanceSettings = field(default_factory=ImportanceSettings)
    jobs: int = 1
    force: bool = False
    quiet: bool = False

    def execute(self, listen: Callable[[Result], None] = lambda _: None) -> list[Result]:
        """Do what is not done, in threads; results in the order of the tasks. `listen` hears of each as it comes.

        A picture that fails leaves nothing half-written and the others finish. Raises RequestError where the output
        folder cannot be written.
        """
        self._prepare()
        results: dict[int, Result] = {}
        with Progress(len(self.tasks), "map", quiet=self.quiet) as progress:
            for number, result in self._results():
                results[number] = result
                if result.error is not None:
                    progress.say(f"failed: {result.name}: {result.error}")
                listen(result)
                progress.advance(result.name)
        return [results[number] for number in range(len(self.tasks))]

    def _results(self) -> Iterator[tuple[int, Result]]:
        with ThreadPoolExecutor(self.jobs) as pool:
            running: dict[Future[Result], int] = {pool.submit(self._do, task): i for i, task in enumerate(self.tasks)}
            try:
                for future in as_completed(running):
                    yield running[future], future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _do(self, task: Task) -> Result:
        try:
            digests = self._digests(task)
            record = None if self.force else self._finished(task, digests)
            if record is not None:
                return Result("resumed", task.name, record)
            return Result("done", task.name, self._make(task, digests))
        except JobError as error:
            return Result("failed", task.name, error=error)
        except Exception as error:  # whatever one picture holds, the others finish
            return Result("failed", task.name, error=JobError(f"internal error: {error!r}", log=traceback.format_exc()))

    def _prepare(self) -> None:
        """Make the output folder, and remove what runs left there that were killed."""
        folder = self.output / _TEMPORARIES
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / f"probe-{uuid.uuid4().hex}", b"", self._temporary())
            for path in folder.iterdir():
                host, _, rest = path.name.rpartition("@")
                pid = rest.split("-")[0]
                is_left = host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid))
                if is_left or path.name.startswith("probe-"):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise RequestError(f"{self.output}: cannot be written: {error.strerror}; choose another folder") from None

    def _temporary(self) -> Path:
        return self.output / _TEMPORARIES / f"{socket.gethostname()}@{os.getpid()}-{uuid.uuid4().hex[:12]}"

    def path(self, task: Task, ending: str) -> Path:
        return self.output / f"{task.name}_{ending}"

    def _digests(self, task: Task) -> dict[str, str | None]:
        """What decides the values, and, where pictures are wanted, what is drawn."""
        drawn = {"picture": task.files.picture, "polygons": task.files.polygons}
        return {
            "digest": digest_of(task.files, self.settings),
            "pictures_digest": digest_of_files("", drawn.items()) if task.with_pictures else None,
        }

    def _finished(self, task: Task, digests: dict[str, str | None]) -> Record | None:
        """The record of a picture that is done with these inputs, if all its files are there."""
        try:
            record: Record = json.loads(self.path(task, "importance.json").read_bytes())
            sizes = record["files"]
            is_same = record["schema_version"] == _SCHEMA_VERSION and all(
                record[key] == digest for key, digest in digests.items() if digest is not None
            )
            has_all = all((self.path(task, ending)).stat().st_size == size for ending, size in sizes.items())
            return record if is_same and has_all and "importance.npy" in sizes else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _make(self, task: Task, digests: dict[str, str | None]) -> Record:
        inputs = read_inputs(task.files, self.settings)
        result = compute(task.files, inputs, self.settings)
        contents = {"importance.png": pictures.as_png(pictures.gray(result.values))}
        notes = list(result.notes)
        if task.with_pictures:
            contents["importance_vis.png"] = pictures.as_png(pictures.heat(result.values))
            annotation = self._annotation(task.files, inputs, result, notes)
            if annotation is not None:
                contents["distance_annotation.png"] = annotation
        contents["importance.npy"] = _as_npy(result.values)
        record = self._record(task, digests, inputs, result, notes)
        record["files"] = {ending: len(content) for ending, content in contents.items()}
        self._write(task, contents, record)
        return record

    def _annotation(self, files: Files, inputs: Inputs, result: ImportanceMap, notes: list[str]) -> bytes | None:
        """The scene with distances as PNG; None, with a note, where something that it shows is missing."""
        if inputs.disparity is None:
            notes.append("no picture of distances: they were switched off")
            return None
        if files.picture is None or files.polygons is None:
            notes.append("no picture of distances: the scene's own picture or its polygons are missing")
            return None
        from vcmbench.dataset import read_picture  # it stands on experiments, which stand on the settings here

        height, width = result.values.shape
        polygons = read_polygons(files.polygons, width, height)
        if polygons is None:
            notes.append(f"no picture of distances: {files.polygons} is missing")
            return None
        outside = sum(len(polygon.points) < 3 for polygon in polygons)
        if outside:
            notes.append(f"polygons outside of the picture: {outside}")
        table = classes.load(self.settings.classes)
        fx_times_baseline = inputs.fx_px * inputs.baseline_m
        rgb = read_picture(files.picture).rgb
        disparity = inputs.disparity.astype(np.uint16, copy=False)
        return pictures.as_png(pictures.annotate(rgb, polygons, disparity, fx_times_baseline, result.d_safe_m, table))

    def _record(
        self, task: Task, digests: dict[str, str | None], inputs: Inputs, result: ImportanceMap, notes: list[str]
    ) -> Record:
        height, width = result.values.shape
        uses_distance = self.settings.use_distance
        return {
            "schema_version": _SCHEMA_VERSION,
            "vcmbench": __version__,
            "image": task.name,
            **digests,
            "settings": self.settings.as_json(),
            "width_px": width,
            "height_px": height,
            "fx_px": inputs.fx_px if uses_distance else None,
            "baseline_m": inputs.baseline_m if uses_distance else None,
            "speed_mps": inputs.speed_mps if uses_distance else None,
            "d_safe_m": result.d_safe_m if uses_distance else None,
            "fallbacks": list(inputs.fallbacks),
            "notes": notes,
            "mean_importance": float(result.values.mean(dtype=np.float64)),
            "share_at_one": float(np.count_nonzero(result.values == 1) / result.values.size),
            "objects": [_object_as_json(asdict(one)) for one in result.objects],
        }

    def _write(self, task: Task, contents: dict[str, bytes], record: Record) -> None:
        """The map goes last, and an older one first: where a map lies, all that lies beside it belongs to it."""
        every = ("importance.npy", "importance.json", "importance.png", "importance_vis.png", "distance_annotation.png")
        values = contents["importance.npy"]
        try:
            for ending in every:
                self.path(task, ending).unlink(missing_ok=True)
            others = {ending: content for ending, content in contents.items() if content is not values}
            others["importance.json"] = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False).encode()
            for ending, content in (*others.items(), ("importance.npy", values)):
                write_atomically(self.path(task, ending), content, self._temporary())
        except OSError as error:
            for ending in every:
                with suppress(OSError):
                    self.path(task, ending).unlink()
            raise JobError(f"{error.filename or self.path(task, '*')}: cannot be written: {error.strerror}") from None


def _as_npy(values: np.ndarray[Any, Any]) -> bytes:
    buffer = BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _object_as_json(one: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, and a distance that is missing says why."""
    distance = one["distance_m"]
    if distance is None:
        return one | {"reason": "too few valid disparities"}
    return one | {"distance_m": None, "reason": "infinitely far"} if np.isinf(distance) else one
