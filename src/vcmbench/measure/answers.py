"""Where the machine's answers come from: a network that is asked, or files of predictions that lie there.

An answer of a segmentation is (H, W) uint8 class ids; it is kept as a palette PNG in the published places, `P_GT/` and
`P_hat_C/`, with the key of what made it inside. An answer of a classification is (K,) float32 and stays in the records.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import labels
from vcmbench.dataset import Source
from vcmbench.errors import JobError
from vcmbench.measure.units import Unit
from vcmbench.store import job_key
from vcmbench.tasks.base import Task
from vcmbench.tasks.predictions import prediction_key, prediction_path, read_prediction, write_prediction

Answer = NDArray[Any]
Rgb = NDArray[np.uint8]
Frame = tuple[Unit, int, Rgb | None]
"""Frame `index` of a unit, and its decoded picture (H, W, 3) uint8 RGB where it was decoded."""


class Answers(ABC):
    """What a machine makes of pictures. `needs_pictures`: whether it has to see them."""

    kind: str
    classes: tuple[str, ...]
    needs_pictures: bool

    @abstractmethod
    def key(self, unit: Unit, index: int) -> str:
        """What decides the answers on a decoded picture and on its pristine one."""

    @abstractmethod
    def is_kept(self, unit: Unit, index: int) -> bool:
        """Whether the files are there that later steps read."""

    @abstractmethod
    def pristine(self, unit: Unit, index: int, rgb: Rgb | None) -> Answer:
        """The answer on a frame's pristine picture; `rgb` is None where no pictures are needed. Raises JobError."""

    @abstractmethod
    def decoded(self, frames: Sequence[Frame]) -> list[Answer]:
        """The answers on decoded pictures, of which none is None where they are needed. Raises JobError."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What is said of them in a report."""


class NetworkAnswers(Answers):
    """Asks a network, once for each picture."""

    needs_pictures = True

    def __init__(self, task: Task, root: Path) -> None:
        self._task, self._root = task, root
        self.kind, self.classes = task.kind, task.classes

    def identity(self) -> dict[str, Any]:
        return self._task.identity()

    def _pristine_key(self, sha256: str) -> str:
        return job_key({"picture": sha256, "task": self.identity()})

    def key(self, unit: Unit, index: int) -> str:
        record = unit.record
        return job_key({
            "task": self.identity(), "record": record["key"], "bitstream": record["bitstream_sha256"], "frame": index,
            "pristine": record["sources"][index]["sha256"],
        })  # fmt: skip

    def is_kept(self, unit: Unit, index: int) -> bool:
        if self.kind != "segmentation":
            return True
        source = unit.sources[index]
        pristine = self._pristine_key(unit.record["sources"][index]["sha256"])
        return (
            prediction_key(prediction_path(self._root, source.name)) == pristine
            and prediction_key(prediction_path(self._root, source.name, unit.folder)) == self.key(unit, index)
        )

    def pristine(self, unit: Unit, index: int, rgb: Rgb | None) -> Answer:
        path = prediction_path(self._root, unit.sources[index].name)
        key = self._pristine_key(unit.record["sources"][index]["sha256"])
        if self.kind == "segmentation" and prediction_key(path) == key:
            return read_prediction(path, _shape(unit), len(self.classes))
        if rgb is None:
            raise JobError("internal error: a network was asked without a picture")
        answer = self._task.predict([rgb])[0]
        if self.kind == "segmentation":
            write_prediction(path, answer, key)
        return answer

    def decoded(self, frames: Sequence[Frame]) -> list[Answer]:
        answers = self._task.predict([rgb for _, _, rgb in frames if rgb is not None])
        if self.kind == "segmentation":
            for (unit, index, _), answer in zip(frames, answers, strict=True):
                path = prediction_path(self._root, unit.sources[index].name, unit.folder)
                write_prediction(path, answer, self.key(unit, index))
        return answers


class FileAnswers(Answers):
    """Reads predictions of other people: `DATA/P_GT` and `DATA/P_hat_C/<configuration>`, 19 classes of Cityscapes."""

    kind = "segmentation"
    classes = labels.CLASSES
    needs_pictures = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def identity(self) -> dict[str, Any]:
        return {"predictions": "files of P_GT and P_hat_C"}

    def missing(self, units: Sequence[Unit]) -> list[Path]:
        """The files that are not there."""
        wanted = dict.fromkeys(path for unit in units for source in unit.sources for path in self._paths(unit, source))
        return [path for path in wanted if not path.is_file()]

    def _paths(self, unit: Unit, source: Source) -> tuple[Path, Path]:
        return prediction_path(self._root, source.name), prediction_path(self._root, source.name, unit.folder)

    def key(self, unit: Unit, index: int) -> str:
        try:
            digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self._paths(unit, unit.sources[index])]
        except OSError as error:
            raise JobError(f"{error.filename}: no such prediction; lay it there, or take the network's") from None
        return job_key({"files": digests})

    def is_kept(self, unit: Unit, index: int) -> bool:
        return True

    def pristine(self, unit: Unit, index: int, rgb: Rgb | None) -> Answer:
        return read_prediction(self._paths(unit, unit.sources[index])[0], _shape(unit))

    def decoded(self, frames: Sequence[Frame]) -> list[Answer]:
        return [read_prediction(self._paths(unit, unit.sources[i])[1], _shape(unit)) for unit, i, _ in frames]


def _shape(unit: Unit) -> tuple[int, int]:
    return unit.record["height_px"], unit.record["width_px"]
