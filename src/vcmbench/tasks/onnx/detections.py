"""A detector's outputs as boxes of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import class_names
from vcmbench.tasks.boxes import Boxes, inside
from vcmbench.tasks.onnx.keys import BoxOutput, NetworkOutput
from vcmbench.tasks.onnx.pixels import Size
from vcmbench.tasks.onnx.session import text_of

Array = NDArray[np.float64]
_BOX = 4


@dataclass(frozen=True)
class Detections:
    """The keys, with all that the file says filled in. `names` are the outputs that are read: rows, or boxes, scores
    and, where they are apart, labels. `columns` is what rows hold behind their box; `void` is the class of none."""

    names: tuple[str, ...]
    columns: str
    classes: tuple[str, ...]
    void: int | None
    keys: BoxOutput

    def read(self, outputs: Sequence[NDArray[Any]], padded: Size, part: Size, size: Size) -> Boxes:
        """(N, 6) of a picture of `size` (H, W), whose input had the size `padded`, of which `part` was picture; highest
        scores first. Raises JobError where the outputs are none."""
        return inside(self.chosen(outputs, padded, part, size)[0], size)

    def chosen(
        self, outputs: Sequence[NDArray[Any]], padded: Size, part: Size, size: Size
    ) -> tuple[Array, NDArray[np.intp]]:
        """The same before they are cut off at the picture's edges, and which rows of the outputs they are."""
        corners, scores, labels = self._apart(self._plain(outputs))
        if not (np.isfinite(corners).all() and np.isfinite(scores).all()):
            raise JobError(f"the output {self.names[0]!r} holds numbers that are not finite")
        if scores.size and not 0 <= scores.min() <= scores.max() <= 1:
            raise JobError(
                f"scores of the output {self.names[-1]!r} are {scores.min():g}..{scores.max():g}, not in 0..1 "
                "(task.output.boxes.columns, scores)"
            )
        is_kept = (scores >= float(np.float32(self.keys.threshold))) & (
            labels != (-1 if self.void is None else self.void)
        )
        rows = np.flatnonzero(is_kept)
        corners, scores, labels = _corners(corners[is_kept], self.keys.corners), scores[is_kept], labels[is_kept]
        if self.void is not None:
            labels = labels - (labels > self.void)
        if labels.size and not (labels.min() >= 0 and labels.max() < len(self.classes)):
            raise JobError(f"a box has the class {labels.max():g}; there are {len(self.classes)} (task.classes, void)")
        scale = np.array([size[1], size[0]] * 2, np.float64)
        scale /= np.array([1, 1] * 2 if self.keys.unit == "relative" else [part[1], part[0]] * 2)
        if self.keys.unit == "relative":  # of the whole input, padding and all
            scale *= np.array([padded[1] / part[1], padded[0] / part[0]] * 2)
        order = np.argsort(-scores, kind="stable")
        found = np.column_stack([corners * scale, labels, scores])[order]
        is_box = (found[:, 2:4] > found[:, :2]).all(axis=1)  # before they suppress others
        found, rows = found[is_box], rows[order][is_box]
        if self.keys.nms is None:
            return found, rows
        left = suppressed(found, self.keys.nms)
        return found[left], rows[left]

    @property
    def width(self) -> int:
        """Of a row of the first output."""
        kinds = len(self.classes) + (self.void is not None)
        within = {"score-class": 2, "class-score": 2, "scores": kinds, "objectness": 1 + kinds}
        return _BOX + (within[self.columns] if len(self.names) == 1 else 0)

    @property
    def needed(self) -> str:
        """The same in words."""
        why = f'columns = "{self.columns}", task.classes' if len(self.names) == 1 else "scores; task.output.name"
        return f"{self.width} columns are needed (task.output.boxes.{why})"

    def _plain(self, outputs: Sequence[NDArray[Any]]) -> list[Array]:
        """Without the side of the one picture, which all have or none."""
        first = outputs[0]
        is_batch = first.ndim == 3 and all(one.shape[:1] == (1,) for one in outputs)
        found = [(one[0] if is_batch else one).astype(np.float64) for one in outputs]
        if found[0].ndim != 2 or any(one.ndim not in (1, 2) for one in found[1:]):
            raise JobError(f"the output {self.names[0]!r} is {text_of(first.shape)}, which are no boxes of one picture")
        return found

    def _apart(self, outputs: Sequence[Array]) -> tuple[Array, Array, Array]:
        """Boxes (N, 4), scores (N,) and labels (N,)."""
        rows, rest = outputs[0], None
        if len(outputs) > 1:
            count, scores = len(rows), outputs[1]
            if rows.shape[1] != _BOX or any(len(one) != count for one in outputs[1:]):
                shapes = ", ".join(text_of(one.shape) for one in outputs)
                raise JobError(f"the outputs {', '.join(self.names)} are {shapes}, which are not alike")
            if len(outputs) == 3:
                return rows, scores.reshape(count), outputs[2].reshape(count)
            rest = scores.reshape(count, -1)
        if rest is None:
            if rows.shape[1] != self.width:
                rows = rows.T
            if rows.shape[1] != self.width:
                raise JobError(f"the output {self.names[0]!r} is {text_of(outputs[0].shape)}; {self.needed}")
            rest = rows[:, _BOX:]
        if self.columns in ("score-class", "class-score"):
            score, label = (0, 1) if self.columns == "score-class" else (1, 0)
            return rows[:, :_BOX], rest[:, score], rest[:, label]
        of_classes = rest[:, 1:] * rest[:, :1] if self.columns == "objectness" else rest
        return rows[:, :_BOX], of_classes.max(axis=1, initial=0), of_classes.argmax(axis=1).astype(np.float64)


def _corners(boxes: Array, kind: str) -> Array:
    """x0, y0, x1, y1; what is turned becomes empty, and goes."""
    first, second = boxes[:, :2], boxes[:, 2:]
    if kind == "cxcywh":
        return np.hstack([first - second / 2, first + second / 2])
    return np.hstack([first, first + second]) if kind == "xywh" else boxes


def suppressed(boxes: Array, most: float) -> NDArray[np.intp]:
    """Which of (N, 6) boxes, highest scores first, are left where each suppresses those of its class behind it that
    share more than `most` of their union with it."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left, kept = np.arange(len(boxes)), []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:4], boxes[left, 2:4])
        shared = (high - low).clip(0).prod(axis=1)
        union = areas[best] + areas[left] - shared
        left = left[(shared <= most * union) | (boxes[left, 4] != boxes[best, 4])]
    return np.array(kept, np.intp)


def of(keys: NetworkOutput, name: str, outputs: Sequence[Any], named: list[str] | None, more: int = 0) -> Detections:
    """What the keys and outputs say together; `name` is that of the boxes, `named` the names of classes, `more` how
    many columns follow that are not the boxes'. Raises RequestError that says which key contradicts, or is missing."""
    if named is None:
        raise RequestError(f"the output {name!r}: boxes do not say what their classes are: name them (task.classes)")
    how = keys.boxes or BoxOutput()
    names = [name]
    for key in ("scores", "labels"):
        if (other := getattr(how, key)) is not None:
            if other not in (there := [one.name for one in outputs]):
                raise RequestError(f"task.output.boxes.{key} = {other!r}: the network has {', '.join(there)}")
            names.append(other)
    if how.labels is not None and how.scores is None:
        raise RequestError("task.output.boxes.labels: say which output has the scores, too (task.output.boxes.scores)")
    columns = how.columns
    if columns is None:
        columns = "score-class" if how.scores is None else "scores"
    shapes = {one.name: one.shape for one in outputs}
    other = more + (keys.void is not None)
    count = None if how.labels else _count(shapes[names[-1]], columns, len(named), other, apart=len(names) > 1)
    found = Detections(tuple(names), columns, class_names.fitting(named, count or len(named)), keys.void, how)
    sides = [side for side in shapes[name][-2:] if isinstance(side, int)]
    if sides and found.width + more not in sides:
        raise RequestError(f"the output {name!r} is {text_of(shapes[name])}; {found.needed}")
    return found


def _count(shape: Sequence[Any], columns: str, named: int, more: int, *, apart: bool) -> int | None:
    """How many classes an output with a score of each, and `more` columns, has; None where its shape does not say."""
    before = {"scores": 0 if apart else _BOX, "objectness": _BOX + 1}.get(columns)
    sides = [side for side in shape[-1 if apart else -2 :] if isinstance(side, int)]
    if before is None or not sides:
        return None
    other = before + more
    return named if named + other in sides else max(min(sides) - other, 0)
