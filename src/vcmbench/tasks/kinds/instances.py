"""Instance segmentation: masks of objects with classes and scores; what matches by the IoU of masks is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import masks
from vcmbench.data.masks import Mask
from vcmbench.data.objects import LabelledObjects
from vcmbench.errors import JobError
from vcmbench.tasks.kind import Answer, in_short
from vcmbench.tasks.kinds.detection import DetectionKind, ScoredObjects
from vcmbench.tasks.segments import SegmentFiles, unpacked


class InstancesKind(DetectionKind):
    """An answer is `tasks.segments.Segments`. Parts are those of a detection, by masks in place of boxes."""

    files = SegmentFiles()
    needs_masks = True
    shapes = "masks"

    def check(self, answer: Any, shape: tuple[int, int], classes: int) -> None:
        if not isinstance(answer, np.ndarray) or answer.dtype != np.uint8 or answer.ndim != 1:
            raise JobError(f"its answer is {in_short(answer)}, must be what tasks.segments.packed makes")
        try:
            for which, score, one in unpacked(answer):
                if type(which) is not int or not 0 <= which < classes:
                    raise ValueError(f"there is no class {which}")
                if not 0 <= score <= 1:
                    raise ValueError(f"a score is {score}, not in 0..1")
                masks.of_coco(one, shape)
        except (ValueError, TypeError, AttributeError) as error:
            raise JobError(f"its answer is none of tasks.segments.packed: {error}") from None

    def objects(self, answer: Answer) -> ScoredObjects:
        found = unpacked(answer)
        shapes = [one for *_, one in found]
        classes, scores = (np.array([one[i] for one in found], np.float64) for i in (0, 1))
        return ScoredObjects.found(classes, scores, masks.areas(shapes), _each(shapes))

    def covered(self, values: NDArray[Any], shapes: NDArray[Any]) -> Iterable[NDArray[Any]]:
        return (masks.covered(values, one) for one in shapes)

    def labelled(self, known: LabelledObjects) -> NDArray[Any] | None:
        found = known.masks()
        return None if found is None else _each(found)


def _each(found: Sequence[Mask]) -> NDArray[Any]:
    """(N,) of objects."""
    shapes = np.empty(len(found), object)
    shapes[:] = found
    return shapes
