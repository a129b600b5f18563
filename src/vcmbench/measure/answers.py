"""Where the machine's answers come from: a network that is asked, or files of predictions that lie there.

An answer of a segmentation is (H, W) uint8 class ids; it is kept as a palette PNG in the published places, `P_GT/` and
`P_hat_C/`, with the key of what made it inside. An answer of a classification is (K,) float32 and stays in the records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench import images, labels
from vcmbench.errors import JobError
from vcmbench.files import check_inside, hidden_stem, is_alive, open_regular, sha256_of
from vcmbench.measure.units import Unit
from vcmbench.store import job_key
from vcmbench.tasks.base import Task
from vcmbench.tasks.predictions import prediction_key, prediction_path, read_prediction, write_prediction

Answer = NDArray[Any]
Rgb = NDArray[np.uint8]
Identity = dict[str, Any]
Frame = tuple[Unit, int, Rgb | None]
"""Frame `index` of a unit, and its decoded picture (H, W, 3) uint8 RGB where it was decoded."""


OF_FILES: Identity = {"predictions": "files of P_GT and P_hat_C"}


def pristine_key(identity: Identity, unit: Unit, index: int) -> str:
    """What decides a network's prediction on a pristine picture: the same for all configurations and experiments."""
    return job_key({"picture": unit.pristine_sha256(index), "task": identity})


def decoded_key(identity: Identity, unit: Unit, index: int) -> str:
    """What decides a network's predictions on a decoded picture and on its pristine one."""
    record = unit.record
    return job_key({
        "task": identity, "record": record["key"], "bitstream": record["bitstream_sha256"], "frame": index,
        "pristine": unit.pristine_sha256(index),
    })  # fmt: skip


def is_of(root: Path, unit: Unit, index: int, identity: Identity) -> bool:
    """Whether the predictions that lie there are of that network: other experiments may have put theirs there."""
    keys = pristine_key(identity, unit, index), decoded_key(identity, unit, index)
    return tuple(map(prediction_key, _paths(root, unit, index))) == keys


class Answers(ABC):
    """What a machine makes of pictures. `needs_pictures`: whether it has to see them."""

    kind: str
    classes: tuple[str, ...]
    needs_pictures: bool

    @abstractmethod
    def key(self, unit: Unit, index: int) -> str:
        """What decides the answers on a decoded picture and on its pristine one."""

    @abstractmethod
    def pristine_key(self, unit: Unit, index: int) -> str:
        """What decides the answer on the pristine picture."""

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
    def identity(self) -> Identity:
        """What is said of them in a report."""


class NetworkAnswers(Answers):
    """Asks a network, once for each picture."""

    needs_pictures = True

    def __init__(self, task: Task, root: Path) -> None:
        self._task, self._root = task, root
        self.kind, self.classes = task.kind, task.classes

    def identity(self) -> Identity:
        return self._task.identity()

    def key(self, unit: Unit, index: int) -> str:
        return decoded_key(self.identity(), unit, index)

    def pristine_key(self, unit: Unit, index: int) -> str:
        return pristine_key(self.identity(), unit, index)

    def is_kept(self, unit: Unit, index: int) -> bool:
        if self.kind != "segmentation":
            return True
        return is_of(self._root, unit, index, self.identity()) and all(map(_is_whole, _paths(self._root, unit, index)))

    def pristine(self, unit: Unit, index: int, rgb: Rgb | None) -> Answer:
        path = _paths(self._root, unit, index)[0]
        key = self.pristine_key(unit, index)
        if self.kind == "segmentation" and prediction_key(path) == key and _is_whole(path):
            return read_prediction(path, _shape(unit), len(self.classes))
        if rgb is None:
            raise JobError("internal error: a network was asked without a picture")
        answer = self._task.predict([rgb])[0]
        if self.kind == "segmentation":
            _keep(self._root, path, answer, key)
        return answer

    def foreign(self, units: Sequence[Unit]) -> list[Path]:
        """Files in the places of predictions that no network of vcmbench wrote: they must not be lost."""
        if self.kind != "segmentation":
            return []
        places = dict.fromkeys(path for unit in units for i in range(len(unit.sources))
                               for path in _paths(self._root, unit, i))  # fmt: skip
        return [path for path in places if prediction_key(path) is None and _is_whole(path)]

    def decoded(self, frames: Sequence[Frame]) -> list[Answer]:
        answers = self._task.predict([rgb for _, _, rgb in frames if rgb is not None])
        if self.kind == "segmentation":
            for (unit, index, _), answer in zip(frames, answers, strict=True):
                _keep(self._root, _paths(self._root, unit, index)[1], answer, self.key(unit, index))
        return answers


class FileAnswers(Answers):
    """Reads predictions of other people: `DATA/P_GT` and `DATA/P_hat_C/<configuration>`, 19 classes of Cityscapes."""

    kind = "segmentation"
    classes = labels.CLASSES
    needs_pictures = False

    def __init__(self, root: Path) -> None:
        self._root = root

    def identity(self) -> Identity:
        return dict(OF_FILES)

    def missing(self, units: Sequence[Unit]) -> list[Path]:
        """The files that are not there."""
        wanted = dict.fromkeys(path for unit in units for i in range(len(unit.sources))
                               for path in _paths(self._root, unit, i))  # fmt: skip
        return [path for path in wanted if not path.is_file()]

    def key(self, unit: Unit, index: int) -> str:
        return job_key({"files": [_digest(path) for path in _paths(self._root, unit, index)]})

    def pristine_key(self, unit: Unit, index: int) -> str:
        return job_key({"files": [_digest(_paths(self._root, unit, index)[0])]})

    def is_kept(self, unit: Unit, index: int) -> bool:
        return True

    def pristine(self, unit: Unit, index: int, rgb: Rgb | None) -> Answer:
        return read_prediction(_paths(self._root, unit, index)[0], _shape(unit))

    def decoded(self, frames: Sequence[Frame]) -> list[Answer]:
        return [read_prediction(_paths(self._root, unit, i)[1], _shape(unit)) for unit, i, _ in frames]


def _paths(root: Path, unit: Unit, index: int) -> tuple[Path, Path]:
    """Where the predictions on the pristine and on the decoded picture lie."""
    name = unit.sources[index].name
    return prediction_path(root, name), prediction_path(root, name, unit.folder)


def _digest(path: Path) -> str:
    try:
        return sha256_of(path, images.MAX_BYTES)
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}; lay it there, or take the network's") from None


def _is_whole(path: Path) -> bool:
    """Whether a PNG's checksums hold, which is found out without decoding it."""
    try:
        with images.complaints(path), open_regular(path, images.MAX_BYTES) as file:
            Image.open(file, formats=images.FORMATS).verify()
    except JobError:
        return False
    return True


def _keep(root: Path, path: Path, answer: Answer, key: str) -> None:
    """Write a prediction, and remove what a run that was killed left of it. Raises OSError."""
    check_inside(root, path)
    write_prediction(path, answer, key)
    for left in path.parent.glob(f"{hidden_stem(path)}*"):
        pid = left.name.rpartition(".")[2].split("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            left.unlink(missing_ok=True)


def _shape(unit: Unit) -> tuple[int, int]:
    return unit.record["height_px"], unit.record["width_px"]
