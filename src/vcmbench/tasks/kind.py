"""The contract of a kind of task: all that depends on what a machine answers, a picture of classes or anything else.

A kind is one file in `kinds/`, or in a user's own folder (see `io/plugins`); its name is the file's, and that by which
tasks name it. Counts, not scores, are kept of every picture: what is reported is reduced from sums of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.labels import CLASSES
from vcmbench.data.objects import LabelledObjects
from vcmbench.errors import JobError
from vcmbench.io.documents import short
from vcmbench.io.plugins import Plugins, only_its_job, only_subclass
from vcmbench.tasks import confusion

DEFAULT = "segmentation"
Answer = NDArray[Any]
Part = dict[str, Any]
Array = NDArray[np.float64]


class AnswerFiles(Protocol):
    """How answers lie in files of one `suffix`, each with the key of what made it inside."""

    suffix: str

    def key(self, path: Path) -> str | None:
        """The key inside; None where there is no file, or no key."""

    def is_whole(self, path: Path) -> bool:
        """Whether all of it is there, undamaged."""

    def read(self, path: Path, shape: tuple[int, int], classes: Sequence[str]) -> Answer:
        """The answer on a picture of `shape` (H, W). Raises JobError where it is missing, damaged, or of another."""

    def write(self, path: Path, answer: Answer, classes: Sequence[str], key: str, temporary: Path | None) -> None:
        """All of a file or none of it; `temporary` is a free name on the same file system, for while it is written."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Of one picture: ids of labelled classes (H, W) uint8, 255 void; distance (H, W) float32 in metres, NaN where not
    measured; importance (H, W) float32 in [0, 1]. None where not known; `notes` says why, by name. `folder` is the name
    of the folder that it lies in, empty in the Cityscapes layout."""

    train_ids: NDArray[np.uint8] | None = None
    distance_m: NDArray[np.float32] | None = None
    importance: NDArray[np.float32] | None = None
    notes: dict[str, str] = field(default_factory=dict)
    folder: str = ""
    objects: LabelledObjects | None = None
    """Of kinds that need them."""
    score: float = 0.5
    """What is detected on a pristine picture is part of the pseudo ground truth from this score on."""
    classes: tuple[tuple[str, ...], ...] | None = tuple((name,) for name in CLASSES)
    """By id, the names that a labelled class may go by: a network's is the first that it knows, without regard to case.
    None: ids are the network's own."""
    region: float = 1.0
    """From which importance on objects are the important ones."""


class Kind(ABC):
    """What answers of one kind are, and what they are worth.

    A *part* is what is kept of one answer held against one truth: JSON of counts, whose sums mean something. The record
    of a picture has one against `pseudo`, the answer on the pristine picture, and one against `labels`, or None.
    """

    name: str  # set from the file's name when it is discovered
    file: Path | None = None
    """The file of a user's own kind; its content is part of scores' keys."""
    measures: ClassVar[dict[str, str]]
    """The measures of a picture or of many, by name, in words as a heading has them. The first is the main one."""
    curves: ClassVar[tuple[str, ...]] = ()
    """Those that have curves and BD-rates in the report; empty: all."""
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    has_label_pictures: ClassVar[bool] = False
    """Whether an answer is (H, W) uint8 class ids: then it is kept as a PNG, shown, and blocks can be drawn of it."""
    has_confusions: ClassVar[bool] = False
    """Whether parts hold `confusion` counts, from which measures, IoU, classes and distances are reported."""
    are_shares: ClassVar[bool] = False
    """Whether measures lie between 0 and 1, and their intervals are to stay in there."""
    needs_objects: ClassVar[bool] = False
    """Whether it is held against labelled objects, and answers are scored: `Truth.objects`, `Truth.score`."""
    needs_masks: ClassVar[bool] = False
    """Whether it looks at the masks of these objects, too: they are part of scores' keys."""
    ranges: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The names of the ranges that `by_range` tells apart, by what: "distance", "importance"."""
    files: AnswerFiles | None = None
    """How answers are kept in files and read from those of others; None: they stay in the records."""

    def check(self, answer: Any, shape: tuple[int, int], classes: int) -> None:
        """Raises JobError unless a task may answer so on a picture of `shape` (H, W)."""
        if not isinstance(answer, np.ndarray) or not answer.size or not np.isfinite(answer).all():
            raise JobError(f"its answer is {in_short(answer)}, must be an array of finite numbers")

    @abstractmethod
    def count(self, answer: Answer, pristine: Answer | None, truth: Truth, classes: tuple[str, ...]) -> Part:
        """What is kept of an answer: `pseudo` and `labels`, each a part or None, and `notes`, which say why by name.
        `pristine` is None for the pristine picture itself. Whatever else is in there is kept, too."""

    def version(self, classes: tuple[str, ...]) -> int:
        """To be raised with every change of what `count` makes of answers of such classes: answers that are kept are
        counted anew then."""
        return 0

    @abstractmethod
    def is_part(self, part: Any, classes: int) -> bool:
        """Whether a JSON value is a part as `count` makes them: files may have been damaged or edited."""

    def sums(self, part: Part, classes: int) -> dict[str, tuple[float, float]]:
        """By measure, a numerator and a denominator, which are added up over pictures before they are divided. A kind
        whose measures are no such quotients overrides `reduce` instead."""
        raise NotImplementedError("neither sums nor reduce is there")

    def reduce(self, parts: Sequence[Part], classes: int, weights: Array) -> dict[str, Array]:
        """Every measure, (rows,), of the pictures by their `parts`: `weights` is (rows, pictures), how often a row has
        each. The first row has all of them, the others are resamples. NaN where there is nothing to measure."""
        if self.has_confusions:
            return confusion.reduced(parts, classes, weights)
        sums = [self.sums(part, classes) for part in parts]
        table = np.array([[one[name] for name in self.measures] for one in sums], np.float64)
        above, below = weights @ table[..., 0], weights @ table[..., 1]
        quotients = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
        return dict(zip(self.measures, quotients.T, strict=True))

    @property
    def is_additive(self) -> bool:
        """Whether measures are quotients of `sums`."""
        return type(self).reduce is Kind.reduce and not self.has_confusions

    def by_class(self, parts: Sequence[Part], classes: int, weights: Array) -> dict[int, Array]:
        """The main measure of each class that occurs, (rows,), in a table of its own; of kinds that have one."""
        return {}

    def has_ranges(self, part: Part | None, by: str) -> bool:
        """Whether `by_range` can tell apart the `ranges` of that in a part."""
        return False

    def by_range(self, parts: Sequence[Part], weights: Array, *, by: str) -> dict[str, Array]:
        """Measures of each of these ranges, (rows,), by `measure_range`."""
        return {}

    def score(self, part: Part, classes: int, measure: str) -> float | None:
        """One picture by a measure of its own; None where it has nothing to count."""
        found = self.reduce([part], classes, np.ones((1, 1)))
        value = float(found[measure if measure in found else self.main][0])
        return value if math.isfinite(value) else None

    @property
    def main(self) -> str:
        return next(iter(self.measures))

    def correlated(self, measure: str) -> tuple[str, str]:
        """What quality metrics are held against where an experiment says `measure`: its name, and in words."""
        name = measure if measure in self.measures else self.main
        words = self.measures[name]
        return name, words[:1].lower() + words[1:]

    def correlated_score(self, part: Part, classes: int, measure: str) -> float | None:
        """That, of one picture."""
        return self.score(part, classes, measure)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a picture's row, against each truth."""
        return tuple(self.measures)

    def row(self, part: Part, classes: int) -> dict[str, float | None]:
        """The cells of those columns."""
        return {name: self.score(part, classes, name) for name in self.measures}

    def heading(self, measure: str) -> tuple[str, str]:
        """A measure's name in the report, and how charts and tables call it."""
        return measure, self.measures[measure]

    def answers(self, record: Part) -> tuple[str, str]:
        """In a few words, the answers on the pristine and on the decoded picture, of a record that has `pseudo`."""
        found = self.score(record["pseudo"], record["classes"], self.main)
        return "", f"{self.measures[self.main]} {found:.3f}" if found is not None else ""

    def facts(self, record: Part) -> list[tuple[str, str]]:
        """What is said of a decoded picture beside it, as (name, value)."""
        found = [(words, self.score(record["pseudo"], record["classes"], name))
                 for name, words in self.measures.items()]  # fmt: skip
        return [(words, "-" if value is None else f"{value:.3f}") for words, value in found]


def _kind_of(module: ModuleType, name: str) -> Kind:
    found = only_subclass(module, Kind)()  # type: ignore[type-abstract]
    found.name = name
    if Path(str(module.__file__)).parent != _OURS:
        found.file = Path(str(module.__file__))
        for method, types in _REDUCING.items():
            what = f"kind of task {name!r}: {method} failed"
            setattr(found, method, _by_name(what, getattr(found, method), types))
    return found


def _by_name(what: str, method: Callable[..., Any], types: tuple[type, ...]) -> Callable[..., Any]:
    """The same, but that whatever it raises, or returns of other types, is a JobError that names it."""

    def named(*given: Any) -> Any:
        with only_its_job(what):
            found = method(*given)
            if not isinstance(found, types):
                raise TypeError(f"gives {short(found)}, which is no {types[0].__name__}")
            return found

    return named


_REDUCING: dict[str, tuple[type, ...]] = {
    "sums": (dict,), "reduce": (dict,), "by_class": (dict,),
    "score": (Real, NoneType), "correlated": (tuple,), "correlated_score": (Real, NoneType),
    "row": (dict,), "heading": (tuple,), "answers": (tuple,), "facts": (list,),
}  # fmt: skip
"""What reduces and shows parts, when all is measured, and what it returns."""
_OURS = Path(__file__).parent / "kinds"
_PLUGINS = Plugins("kinds", lambda: _OURS, "vcmbench.tasks.kinds", _kind_of)
discover, get = _PLUGINS.found, _PLUGINS.get


def count(kind: Kind, answer: Answer, pristine: Answer | None, truth: Truth, classes: tuple[str, ...]) -> Part:
    """`Kind.count`, with what every record has. Raises JobError that names the kind, whatever it raises, and where it
    gives no parts that the kind itself knows and can add up: the tables rely on that."""
    with only_its_job(f"kind of task {kind.name!r}: count failed"):
        found = kind.count(answer, pristine, truth, classes)
        if not isinstance(found, dict) or not {"pseudo", "labels"} <= found.keys():
            raise TypeError(f"gives {short(found)}, must give a dict with pseudo and labels")
        for part in (found[name] for name in ("pseudo", "labels") if found[name] is not None):
            if not kind.is_part(part, len(classes)):
                raise ValueError(f"gives {short(part)}, which is no part by its own is_part")
            if not kind.is_additive:
                known = kind.reduce([part], len(classes), np.ones((1, 1))) if kind.file is not None else kind.measures
                if lacking := kind.measures.keys() - known.keys():
                    raise ValueError(f"gives a part without {' and '.join(sorted(lacking))}")
                continue
            sums = kind.sums(part, len(classes))
            if not kind.measures.keys() <= sums.keys() or not all(
                math.isfinite(value) for pair in sums.values() for value in pair
            ):
                raise ValueError(f"gives a part whose sums are {short(sums)}")
    return {"kind": kind.name, "classes": len(classes), **found}


def is_part(kind: Kind, part: Any, classes: int) -> bool:
    """`Kind.is_part`; what it cannot even look at is none."""
    try:
        return bool(kind.is_part(part, classes))
    except KeyboardInterrupt:
        raise
    except BaseException:  # a plugin may raise anything
        return False


def answer_files() -> list[AnswerFiles]:
    """How answers lie in files, of all kinds that keep them there."""
    return [kind.files for kind in discover().values() if kind.files is not None]


def in_short(answer: Any) -> str:
    """What an answer is, for messages: its dtype and shape."""
    return f"{answer.dtype} {answer.shape}" if isinstance(answer, np.ndarray) else type(answer).__name__


def headings() -> dict[str, str]:
    """All measures that a report can show, by its names for them."""
    return {name: words for kind in discover().values() for name, words in map(kind.heading, kind.measures)}
