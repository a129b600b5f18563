"""Detection: boxes of objects with classes and scores; what matches is kept, and average precision is made of it.

Whatever else is found as objects with classes and scores (`kinds/instances.py`) says what shapes they have, no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.objects import ANY, LabelledObjects
from vcmbench.errors import JobError
from vcmbench.tasks import precision, ranges
from vcmbench.tasks.boxes import COLUMNS, BoxFiles
from vcmbench.tasks.kind import Answer, AnswerFiles, Array, Kind, Part, Truth, in_short
from vcmbench.tasks.precision import THRESHOLDS

_MOST_CLASSES = 1 << 16
_MEASURES = {
    "ap": "AP", "ap50": "AP50", "ap75": "AP75", "ap_small": "AP of small objects", "ap_medium": "AP of medium objects",
    "ap_large": "AP of large objects",
}  # fmt: skip
_BY_AREA = {f"ap_{area}": area for area in precision.AREAS[1:]}
_AT_IOU = {"ap50": 0, "ap75": 5}
_AREAS = range(len(precision.AREAS))
_OF_RANGES = ("truths", "hits", "ignored")
_RANGES = [[name for by in some for name in ranges.RANGES[by]]
           for some in ((), ("distance",), ("importance",), ("distance", "importance"))]  # fmt: skip
"""What a part may have behind those of areas."""


@dataclass(frozen=True, eq=False)
class ScoredObjects:
    """N objects of a picture: numbers of classes (N,), -1 of any; scores (N,); areas (N,) in px; shapes as
    `precision.shared` takes them; and which are a crowd, (N,). Which of them are `outside` each range, (ranges, N), of
    areas first."""

    classes: NDArray[np.integer]
    scores: Array
    areas: Array
    shapes: NDArray[Any]
    crowd: NDArray[np.bool_]
    outside: NDArray[np.bool_]

    @classmethod
    def found(cls, classes: NDArray[Any], scores: NDArray[Any], areas: Array, shapes: NDArray[Any]) -> ScoredObjects:
        crowd, outside = np.zeros(len(classes), np.bool_), precision.outside(areas)
        return cls(classes.astype(int), scores.astype(np.float64), areas, shapes, crowd, outside)

    def __getitem__(self, chosen: Any) -> ScoredObjects:
        return ScoredObjects(
            self.classes[chosen], self.scores[chosen], self.areas[chosen], self.shapes[chosen], self.crowd[chosen],
            self.outside[:, chosen],
        )  # fmt: skip


class DetectionKind(Kind):
    """An answer is (N, 6) float32: x0, y0, x1, y1 in px, class, score. A part is {"matches": {class: `precision.Kept`}}
    of the classes that occur, and, where the truth has distances or importance, the names of the further ranges that
    matches have behind those of areas. The pseudo ground truth are the pristine picture's boxes of at least
    `Truth.score`."""

    measures = _MEASURES
    curves = ("ap", "ap50")
    are_shares = True
    files: AnswerFiles | None = BoxFiles()
    needs_objects = True
    ranges = ranges.RANGES
    shapes: ClassVar[str] = "boxes"
    """What objects have."""

    def check(self, answer: Any, shape: tuple[int, int], classes: int) -> None:
        if not isinstance(answer, np.ndarray) or answer.dtype != np.float32 or answer.shape[1:] != (COLUMNS,):
            raise JobError(f"its answer is {in_short(answer)}, must be float32 (N, {COLUMNS})")
        which, score = answer[:, 4], answer[:, 5]
        is_class = (which == np.floor(which)) & (which >= 0) & (which < classes)
        is_box = (answer[:, 2:4] >= answer[:, :2]).all(axis=1) & np.isfinite(answer).all(axis=1)
        if not (is_class & is_box & (score >= 0) & (score <= 1)).all():
            raise JobError("its answer must be rows of x0 <= x1, y0 <= y1, a class, and a score of 0..1")

    def objects(self, answer: Answer) -> ScoredObjects:
        """Those of an answer."""
        boxes = xywh(answer)
        return ScoredObjects.found(answer[:, 4], answer[:, 5], boxes[:, 2:].prod(axis=1), boxes)

    def covered(self, values: NDArray[Any], shapes: NDArray[Any]) -> Iterable[NDArray[Any]]:
        """The pixels of (H, W) values that each object lies on."""
        first, last = shapes[:, :2], shapes[:, :2] + shapes[:, 2:]
        corners = np.maximum(np.hstack([np.floor(first), np.ceil(last)]), 0).astype(int).tolist()
        return (values[y0:y1, x0:x1] for x0, y0, x1, y1 in corners)

    def labelled(self, known: LabelledObjects) -> NDArray[Any] | None:
        """The shapes of labelled objects; None where labels do not say them."""
        return xywh(known.boxes)

    def count(self, answer: Answer, pristine: Answer | None, truth: Truth, classes: tuple[str, ...]) -> Part:
        pseudo, before, notes, found = None, None, dict(truth.notes), self._placed(self.objects(answer), truth)
        named = [name for by in ranges.known(truth) for name in self.ranges[by]]
        if pristine is not None:
            before = self.objects(pristine)
            sure = before.scores.astype(np.float32) >= np.float32(truth.score)  # 0.7 is no less than 0.7
            pseudo = _against(found, self._placed(before[sure], truth), named)
        known = truth.objects
        labels = None
        notes.pop("labels", None)
        if known is None:
            notes["labels"] = truth.notes.get("objects", "no objects are labelled")
        elif (shapes := self.labelled(known)) is None:
            notes["labels"] = f"labelled objects have no {self.shapes}"
        else:  # objects of other classes alone are none: what is detected there is wrong
            labels = _against(found, self._placed(_numbered(known, shapes, _lower(classes)), truth), named)
        notes.pop("objects", None)
        seen = {int(which) for part in (pseudo, labels) if part for which in part["matches"]}
        return {
            "pseudo": pseudo,
            "labels": labels,
            self.shapes: [0 if before is None else len(before.scores), len(found.scores)],
            "names": {str(number): classes[number] for number in sorted(seen)},
            "notes": notes,
        }

    def _placed(self, objects: ScoredObjects, truth: Truth) -> ScoredObjects:
        """The same, with what is outside each range that the truth knows, too."""
        more = ranges.outside(truth, objects.shapes, self.covered)
        return replace(objects, outside=np.concatenate([objects.outside, more]))

    def is_part(self, part: Any, classes: int) -> bool:
        matches = part.get("matches") if isinstance(part, dict) else None
        more = part.get("ranges", []) if isinstance(part, dict) else None
        if more not in _RANGES:
            return False
        return (
            isinstance(matches, dict) and len(matches) <= classes < _MOST_CLASSES
            and all(which.isascii() and which.isdecimal() and str(int(which)) == which and int(which) < classes
                    for which in matches)
            and all(precision.is_kept(one, len(precision.AREAS) + len(more)) for one in matches.values())
        )  # fmt: skip

    def reduce(self, parts: Sequence[Part], classes: int, weights: Array) -> dict[str, Array]:
        """Means over the classes that a row has objects of, in that range of areas."""
        found = dict(zip(precision.AREAS, self._of_classes(parts, weights), strict=True))
        return {
            "ap": _mean(found["all"]),
            **{name: _mean(found["all"][..., at : at + 1]) for name, at in _AT_IOU.items()},
            **{name: _mean(found[area]) for name, area in _BY_AREA.items()},
        }

    def _of_classes(self, parts: Sequence[Part], weights: Array, at: Sequence[int] = _AREAS) -> Array:
        """(ranges, classes that occur, rows, thresholds), of the ranges `at` these places."""
        occur = sorted({which for part in parts for which in part["matches"]}, key=int)
        found = [precision.average([part["matches"].get(which) for part in parts], weights, at) for which in occur]
        return np.array(found).reshape(-1, len(at), len(weights), THRESHOLDS).swapaxes(0, 1)

    def has_ranges(self, part: Part | None, by: str) -> bool:
        return part is not None and self.ranges[by][0] in part.get("ranges", ())

    def by_range(self, parts: Sequence[Part], weights: Array, *, by: str) -> dict[str, Array]:
        """AP and AP50 of each range, of parts that have these."""
        names = self.ranges[by]
        found = self._of_classes([_only(part, names) for part in parts], weights, range(len(names)))
        return {f"{measure}_{name}": _mean(one if measure == "ap" else one[..., :1])
                for measure in self.curves for name, one in zip(names, found, strict=True)}  # fmt: skip

    def by_class(self, parts: Sequence[Part], classes: int, weights: Array) -> dict[int, Array]:
        """AP of each class that occurs, (rows,)."""
        occur = sorted({int(which) for part in parts for which in part["matches"]})
        (found,) = self._of_classes(parts, weights, _AREAS[:1])
        return {which: one.mean(axis=1) for which, one in zip(occur, found, strict=True)}

    def row(self, part: Part, classes: int) -> dict[str, float | None]:
        found = self.reduce([part], classes, np.ones((1, 1)))
        return {name: float(one[0]) if np.isfinite(one[0]) else None for name, one in found.items()}

    def correlated_score(self, part: Part, classes: int, measure: str) -> float | None:
        value = float(_mean(self._of_classes([part], np.ones((1, 1)), _AREAS[:1])[0])[0])
        return value if np.isfinite(value) else None

    def correlated(self, measure: str) -> tuple[str, str]:
        return "ap", "AP"

    def answers(self, record: Part) -> tuple[str, str]:
        first, second = record.get(self.shapes, (0, 0))
        return f"{first} {self.shapes}", f"{second} {self.shapes}"

    def facts(self, record: Part) -> list[tuple[str, str]]:
        found = self.row(record["pseudo"], record["classes"])
        return [(_MEASURES[name], "-" if (value := found[name]) is None else f"{value:.3f}") for name in self.curves]


def xywh(boxes: NDArray[np.floating]) -> Array:
    """(N, 4), x, y, width, height of x0, y0, x1, y1, which further columns may follow."""
    wide = boxes.astype(np.float64)
    return np.hstack([wide[:, :2], wide[:, 2:4] - wide[:, :2]])


def _only(part: Part, names: Sequence[str]) -> Part:
    """A part with these ranges alone, whichever it has beside."""
    at = [len(precision.AREAS) + part["ranges"].index(name) for name in names]
    return {"matches": {which: {"scores": one["scores"]} | {name: [one[name][i] for i in at] for name in _OF_RANGES}
                        for which, one in part["matches"].items()}}  # fmt: skip


def _against(found: ScoredObjects, truths: ScoredObjects, named: list[str]) -> Part:
    matches = {}
    for which in sorted({*truths.classes[truths.classes >= 0].tolist(), *found.classes.tolist()}):
        own, true = found[found.classes == which], truths[(truths.classes == which) | (truths.classes == -1)]
        shared = precision.shared(own.shapes, true.shapes, true.crowd)
        matches[str(which)] = precision.match(shared, own.scores, own.outside, true.outside, true.crowd)
    return {"matches": matches, **({"ranges": named} if named else {})}


def _lower(classes: Sequence[str]) -> list[str]:
    return [name.lower() for name in classes]


def _numbered(known: LabelledObjects, shapes: NDArray[Any], classes: list[str]) -> ScoredObjects:
    """Labelled objects of the network's classes, by names without regard to case, and regions not to be counted."""
    numbers = {name: number for number, name in enumerate(classes)} | {ANY: -1}
    chosen = [i for i, name in enumerate(known.names) if name.lower() in numbers]
    which = np.array([numbers[known.names[i].lower()] for i in chosen], np.int64)
    areas = known.areas[chosen]
    outside = precision.outside(areas)
    return ScoredObjects(which, np.ones(len(chosen)), areas, shapes[chosen], known.crowd[chosen], outside)


def _mean(found: Array) -> Array:
    """(rows,) of (classes, rows, thresholds): over the classes that have a figure."""
    is_there = ~np.isnan(found).any(axis=2)
    total = np.where(is_there, np.nan_to_num(found).mean(axis=2), 0).sum(axis=0)
    count = is_there.sum(axis=0)
    mean: Array = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean
