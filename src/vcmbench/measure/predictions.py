"""Where the machine's answers come from: a network that is asked, or files of predictions that lie there.

Answers of kinds that have files (`Kind.files`), as palette PNGs of a segmentation, are kept in the published places,
`P_GT/` and `P_hat_C/`, with the key of what made them inside. Those of others stay in the records.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import tasks
from vcmbench.data import images, labels
from vcmbench.data.store import Store, job_key
from vcmbench.errors import JobError, RequestError
from vcmbench.io.files import check_inside, sha256_of
from vcmbench.io.plugins import only_its_job
from vcmbench.measure.bitstreams import Unit
from vcmbench.tasks import class_names
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.base import Task, TaskSettings
from vcmbench.tasks.kind import Answer, AnswerFiles, Kind
from vcmbench.tasks.predictions import prediction_path

Rgb = NDArray[np.uint8]
Identity = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Question:
    """A picture that a machine is asked about: frame `index` of a unit, decoded or pristine, (H, W, 3) uint8 RGB; None
    where it need not be seen."""

    unit: Unit
    index: int
    picture: Rgb | None
    is_pristine: bool = False


_MAX_FILE_BYTES = 1 << 20
_SCORE, _USUAL_SCORE = "pseudo_score", 0.5
OF_FILES: Identity = {"predictions": "files of P_GT and P_hat_C"}


def pristine_key(identity: Identity, unit: Unit, index: int) -> str:
    """What decides a network's prediction on a pristine picture: the same for all configurations and experiments."""
    return pristine_key_of(identity, unit.pristine_sha256(index))


def pristine_key_of(identity: Identity, sha256: str) -> str:
    """The same by the picture's SHA-256."""
    return job_key({"picture": sha256, "task": _asked(identity)})


def _asked(identity: Identity) -> Identity:
    """Without the score from which detections are a truth: it decides no answer, but stood in keys once."""
    return identity | {_SCORE: _USUAL_SCORE} if _SCORE in identity else identity


def decoded_key(identity: Identity, unit: Unit, index: int) -> str:
    """What decides a network's predictions on a decoded picture and on its pristine one."""
    record = unit.record
    return key_of(identity, record["key"], record["bitstream_sha256"], index, unit.pristine_sha256(index))


def key_of(identity: Identity, record: str, bitstream: str, index: int, pristine: str) -> str:
    """The same by a record's key and the SHA-256 of its bitstream and of the pristine picture."""
    return job_key({
        "task": _asked(identity), "record": record, "bitstream": bitstream, "frame": index, "pristine": pristine,
    })  # fmt: skip


def is_of(root: Path, unit: Unit, index: int, identity: Identity, files: AnswerFiles) -> bool:
    """Whether the predictions that lie there are of that network: other experiments may have put theirs there."""
    keys = pristine_key(identity, unit, index), decoded_key(identity, unit, index)
    return tuple(map(files.key, _paths(root, unit, index, files))) == keys


class Predictor(ABC):
    """What a machine makes of pictures. `needs_pictures`: whether it has to see them; `at_once`: how many calls of
    `answer` may be made at the same time, `together`: about how many pictures a call should be about."""

    kind: Kind
    classes: tuple[str, ...]
    _root: Path
    needs_pictures: bool
    at_once: int = 1
    together: int = 1

    @abstractmethod
    def key(self, unit: Unit, index: int) -> str:
        """What decides the answers on a decoded picture and on its pristine one, and how they are counted."""

    @abstractmethod
    def pristine_key(self, unit: Unit, index: int) -> str:
        """The same of the answer on the pristine picture."""

    @abstractmethod
    def is_kept(self, unit: Unit, index: int) -> bool:
        """Whether the files are there that later steps read."""

    @abstractmethod
    def lying_there(self, unit: Unit, index: int) -> Answer | None:
        """The answer on a frame's pristine picture where it is known without asking. Raises JobError."""

    def kept_answer(self, unit: Unit, index: int, *, is_pristine: bool) -> Answer:
        """The answer that lies there on a picture, of kinds that have files. Raises JobError."""
        files = self._files
        return files.read(_paths(self._root, unit, index, files)[not is_pristine], _shape(unit), self.classes)

    @property
    def _files(self) -> AnswerFiles:
        if self.kind.files is None:
            raise JobError(f"internal error: answers of a {self.kind.name} lie in no files")
        return self.kind.files

    @abstractmethod
    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers, in order. Raises JobError."""

    @abstractmethod
    def keep(self, question: Question, answer: Answer) -> None:
        """Write what later steps read of an answer. Raises JobError or OSError."""

    @abstractmethod
    def identity(self) -> Identity:
        """What is said of them in a report."""

    @property
    def score(self) -> float | None:
        """From which score on detections are a truth; None of other kinds."""
        return float(self.identity()[_SCORE]) if self.kind.needs_objects else None


class RecordedPredictor(Predictor):
    """Those of a network that other processes ask, by what they reported of it: all that its files and keys say."""

    needs_pictures = True

    def __init__(self, kind: str, classes: tuple[str, ...], identity: Identity, store: Store) -> None:
        self.kind, self.classes, self._identity = kinds.get(kind), classes, identity
        self._store, self._root = store, store.data.root

    def identity(self) -> Identity:
        return dict(self._identity)

    def key(self, unit: Unit, index: int) -> str:
        return self._counted(decoded_key(self.identity(), unit, index))

    def pristine_key(self, unit: Unit, index: int) -> str:
        return self._counted(pristine_key(self.identity(), unit, index))

    def _counted(self, answer: str) -> str:
        how, score = _how(self.kind, self.classes), self.identity().get(_SCORE, _USUAL_SCORE)
        how |= {} if score == _USUAL_SCORE else {_SCORE: score}
        return job_key({"answer": answer, **how}) if how else answer

    def is_kept(self, unit: Unit, index: int) -> bool:
        if (files := self.kind.files) is None:
            return True
        paths = _paths(self._root, unit, index, files)
        return is_of(self._root, unit, index, self.identity(), files) and all(map(files.is_whole, paths))

    def lying_there(self, unit: Unit, index: int) -> Answer | None:
        if (files := self.kind.files) is None:
            return None
        path = _paths(self._root, unit, index, files)[0]
        if files.key(path) != pristine_key(self.identity(), unit, index) or not files.is_whole(path):
            return None
        return self.kept_answer(unit, index, is_pristine=True)

    def foreign(self, units: Sequence[Unit]) -> list[Path]:
        """Files in the places of predictions that no network of vcmbench wrote: they must not be lost."""
        if (files := self.kind.files) is None:
            return []
        places = dict.fromkeys(path for unit in units for i in range(len(unit.sources))
                               for path in _paths(self._root, unit, i, files))  # fmt: skip
        return [path for path in places if files.key(path) is None and files.is_whole(path)]

    def keep(self, question: Question, answer: Answer) -> None:
        if (files := self.kind.files) is None:
            return
        unit, index = question.unit, question.index
        pristine, decoded = _paths(self._root, unit, index, files)
        path, key = (pristine, pristine_key) if question.is_pristine else (decoded, decoded_key)
        check_inside(self._root, path)
        # among the store's: what a run that was killed leaves there is removed by the next one
        files.write(path, answer, self.classes, key(self.identity(), unit, index), self._store.temporary())

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        raise JobError("internal error: the network is in another process")


class NetworkPredictor(RecordedPredictor):
    """Asks a network, once for each picture, and keeps what it predicts in the data root of a store."""

    def __init__(self, task: Task, store: Store, score: float = 0.5) -> None:
        """`score` as `[task] score`, which decides what detectors are held against."""
        scored = {_SCORE: score} if kinds.get(task.kind).needs_objects else {}
        super().__init__(task.kind, task.classes, task.identity() | _files_of(task) | scored, store)
        self._task, self.at_once, self.together = task, task.at_once, task.together
        self._name = str(self._identity.get("task", task.kind))

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        pictures = [one.picture for one in questions if one.picture is not None]
        if len(pictures) < len(questions):
            raise JobError("internal error: a network was asked without a picture")
        with only_its_job(f"task {self._name}"):
            found = list(self._task.predict(pictures))
        if len(found) != len(pictures):
            raise JobError(f"task {self._name}: {len(found)} answers on {len(pictures)} pictures")
        for answer, picture in zip(found, pictures, strict=True):
            try:
                with only_its_job(f"kind of task {self.kind.name!r}: check failed"):
                    self.kind.check(answer, (picture.shape[0], picture.shape[1]), len(self.classes))
            except JobError as error:
                raise JobError(f"task {self._name}: {error}") from None
        return found


class FilePredictor(Predictor):
    """Reads predictions of other people: `DATA/P_GT` and `DATA/P_hat_C/<configuration>`, of these classes."""

    needs_pictures = False

    def __init__(
        self, root: Path, classes: list[str] | str | None = None, kind: str = kinds.DEFAULT, score: float = 0.5
    ) -> None:  # fmt: skip
        """`classes` as `[task] classes` gives them; None: the 19 of Cityscapes. Raises RequestError where that is a
        file that cannot be read, or answers of that kind lie in no files."""
        self.kind, self._root, self._score = kinds.get(kind), root, score
        if self.kind.files is None:
            raise RequestError(f'task.predictions = "files": answers of a {kind} lie in no files; leave it out')
        self.classes = tuple(class_names.given(classes) or labels.CLASSES)

    def identity(self) -> Identity:
        return dict(OF_FILES)

    @property
    def score(self) -> float | None:
        return self._score if self.kind.needs_objects else None

    def missing(self, units: Sequence[Unit]) -> list[Path]:
        """The files that are not there."""
        wanted = dict.fromkeys(path for unit in units for i in range(len(unit.sources))
                               for path in _paths(self._root, unit, i, self._files))  # fmt: skip
        return [path for path in wanted if not path.is_file()]

    def key(self, unit: Unit, index: int) -> str:
        return self._key(_paths(self._root, unit, index, self._files))

    def pristine_key(self, unit: Unit, index: int) -> str:
        return self._key(_paths(self._root, unit, index, self._files)[:1])

    def _key(self, paths: Sequence[Path]) -> str:
        named: dict[str, Any] = {} if self.classes == labels.CLASSES else {"classes": self.classes}
        named |= {} if self.kind.name == kinds.DEFAULT else {"kind": self.kind.name, "score": self.score}
        return job_key({"files": [_digest(path) for path in paths], **named, **_how(self.kind, self.classes)})

    def is_kept(self, unit: Unit, index: int) -> bool:
        return True

    def lying_there(self, unit: Unit, index: int) -> Answer | None:
        return self.kept_answer(unit, index, is_pristine=True)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return [self.kept_answer(one.unit, one.index, is_pristine=one.is_pristine) for one in questions]

    def keep(self, question: Question, answer: Answer) -> None:
        """They lie there."""


def of_files(root: Path, task: TaskSettings) -> FilePredictor:
    """Predictions that lie there, of the task that `[task]` names."""
    return FilePredictor(root, task.classes, tasks.get(task.name).kind, task.score)


def _how(kind: Kind, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a record's key says of how answers are counted; nothing where that is as it always was."""
    return {"version": version} if (version := kind.version(classes)) else {}


def _files_of(task: Task) -> Identity:
    """What a user's own files for a task and its kind hold, which decides what is predicted and counted."""
    files = {"task_file": getattr(task, "file", None), "kind_file": kinds.get(task.kind).file}
    return {f"{name}_sha256": sha256_of(path, _MAX_FILE_BYTES) for name, path in files.items() if path is not None}


def _paths(root: Path, unit: Unit, index: int, files: AnswerFiles) -> tuple[Path, Path]:
    """Where the predictions on the pristine and on the decoded picture lie."""
    name = unit.sources[index].name
    return prediction_path(root, name, None, files.suffix), prediction_path(root, name, unit.folder, files.suffix)


def _digest(path: Path) -> str:
    try:
        return sha256_of(path, images.MAX_BYTES)
    except OSError as error:
        raise JobError(f"{path}: cannot be read: {error.strerror}; lay it there, or take the network's") from None


def _shape(unit: Unit) -> tuple[int, int]:
    return unit.record["height_px"], unit.record["width_px"]
