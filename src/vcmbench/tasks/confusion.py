"""What a segmentation network still sees: confusion counts, and the measures that come from them.

Everything starts from raw counts, (K, K + 1) int64 for K classes: rows are the truth, columns the prediction, the last
column what was predicted as no class (void, or an id that is none). Pixels whose truth is void are not counted. Counts
of parts add up to those of the whole, so measures of pictures, cities and bands are computed from sums, never averaged.

The truth is either the labels, or the prediction on the pristine picture ("pseudo ground truth"). Against the latter
`accuracy` is the "acc" of A. Marie et al., QoMEX 2023: the share of pixels that are predicted alike; their IoU is
`micro_iou`.

Class ids are uint8, 0..K-1; everything else is void (255, as a rule). A measure without a single pixel to rest on is
None. Arrays whose sizes differ are a JobError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.labels import CLASSES
from vcmbench.errors import JobError

Ids = NDArray[np.uint8]
Counts = NDArray[np.int64]
Figures = NDArray[np.float64]
Box = tuple[int, int, int, int]
"""x, y, width, height in px; (x, y) is the top left pixel."""
T = TypeVar("T", bound=np.generic)

BANDS_M = ((0.0, 15.0), (15.0, 30.0), (30.0, 60.0), (60.0, math.inf))
"""Distance bands: from, inclusive, to, exclusive; the last one has no end."""
BANDS = tuple(f"{low:g}_{high:g}m" if math.isfinite(high) else f"{low:g}m_up" for low, high in BANDS_M)
"""Their names in tables."""


def confusion(prediction: Ids, truth: Ids, classes: int = len(CLASSES)) -> Counts:
    """Confusion counts of two pictures of class ids, uint8 of one shape: (classes, classes + 1) int64."""
    _check(prediction, "prediction", truth)
    counts: Counts = _tally(_codes(prediction, truth, classes), 1, classes)[0]
    return counts


def distance_confusions(
    prediction: Ids, truth: Ids, distance_m: NDArray[np.floating[Any]], classes: int = len(CLASSES)
) -> Counts:
    """Confusion counts for each of BANDS_M: (bands, classes, classes + 1) int64.

    `distance_m` has the shape of the pictures. Where it is NaN or negative the distance is unknown, and the pixel is in
    no band.
    """
    _check(prediction, "prediction", truth)
    _check(distance_m, "distance", truth)
    band = np.zeros(truth.shape, np.uint8)  # 0: none; comparisons with NaN are false
    for start_m, _ in BANDS_M:
        band += distance_m >= start_m
    codes = _codes(prediction, truth, classes).astype(np.uint32)
    codes += band.astype(np.uint32) * (classes + 1) ** 2
    return _tally(codes, len(BANDS_M) + 1, classes)[1:]


def sparse(counts: NDArray[np.int64]) -> list[list[int]]:
    """Counts (K, K + 1) as triplets: row, column, count."""
    return [[int(i), int(j), int(counts[i, j])] for i, j in np.argwhere(counts)]


def dense(triplets: list[list[int]] | NDArray[np.int32], classes: int) -> NDArray[np.int64]:
    """The counts (classes, classes + 1) int64 that `sparse` made triplets of."""
    counts = np.zeros((classes, classes + 1), np.int64)
    if len(triplets):
        rows, columns, values = np.array(triplets, np.int64).T
        np.add.at(counts, (rows, columns), values)
    return counts


def crop(picture: NDArray[T], box: Box) -> NDArray[T]:
    """The block of a picture (H, W) or (H, W, 3), as a view. Raises JobError where it is not wholly inside."""
    x, y, width, height = box
    rows, columns = picture.shape[:2]
    if width < 1 or height < 1 or x < 0 or y < 0 or x + width > columns or y + height > rows:
        raise JobError(f"block of {width}x{height} px at ({x}, {y}): not inside the picture of {columns}x{rows} px")
    return picture[y : y + height, x : x + width]


def weighted(
    prediction: Ids, truth: Ids, importance: NDArray[np.floating[Any]], classes: int = len(CLASSES)
) -> tuple[float, float]:
    """Importance of the pixels that are predicted right, and of all: their quotient is the weighted accuracy.

    `importance` is >= 0 and has the shape of the pictures; void pixels of the truth are left out. Sums of parts add up.
    Raises JobError where an importance is negative or NaN.
    """
    _check(prediction, "prediction", truth)
    _check(importance, "importance", truth)
    if not bool((importance >= 0).all()) or not bool(np.isfinite(importance).all()):
        raise JobError("importance: holds values that are negative or not finite; make the map again")
    counted = truth < classes
    right = counted & (prediction == truth)
    return (
        float(importance.sum(where=right, dtype=np.float64)),
        float(importance.sum(where=counted, dtype=np.float64)),
    )


def accuracy(counts: Counts) -> float | None:
    """Share of pixels that are predicted right."""
    return _ratio(_right(counts).sum(), counts.sum())


def class_ious(counts: Counts) -> list[float | None]:
    """Intersection over union of each class; None for one that neither truth nor prediction has."""
    return [_ratio(right, union) for right, union in zip(_right(counts), _unions(counts), strict=True)]


def mean_iou(counts: Counts) -> float | None:
    """Mean of `class_ious` over the classes that occur in truth or prediction (M. Cordts et al., CVPR 2016)."""
    found = [value for value in class_ious(counts) if value is not None]
    return math.fsum(found) / len(found) if found else None


def micro_iou(counts: Counts) -> float | None:
    """Intersections of all classes over their unions: torchmetrics' JaccardIndex with average="micro"."""
    return _ratio(_right(counts).sum(), _unions(counts).sum())


def _right(counts: Counts) -> Counts:
    return np.diagonal(counts)


def _unions(counts: Counts) -> Counts:
    """Pixels that have the class in truth or prediction, (K,). Void predictions are of no class, yet miss theirs."""
    unions: Counts = counts.sum(axis=1) + counts.sum(axis=0)[:-1] - _right(counts)
    return unions


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return int(part) / int(whole) if whole else None


def _codes(prediction: Ids, truth: Ids, classes: int) -> NDArray[np.uint16]:
    """Truth and prediction of each pixel as one number: all that is no class becomes `classes`."""
    if not 1 <= classes <= 255:
        raise JobError(f"{classes} classes: 1 to 255 can be counted, ids are 8 bit")
    codes: NDArray[np.uint16] = np.minimum(truth, classes).astype(np.uint16)
    codes *= classes + 1
    codes += np.minimum(prediction, classes)
    return codes


def _tally(codes: NDArray[Any], groups: int, classes: int) -> Counts:
    """How often each code occurs, (groups, classes, classes + 1) int64: the row of void truth is dropped."""
    side = classes + 1
    counts = np.bincount(codes.ravel(), minlength=groups * side * side)
    return counts.astype(np.int64, copy=False).reshape(groups, side, side)[:, :-1]


def _check(picture: NDArray[Any], name: str, truth: Ids) -> None:
    if picture.shape != truth.shape:
        raise JobError(f"{name}: has the size {_size(picture)}, the truth {_size(truth)}; they must be of one picture")
    for ids in (picture, truth) if name == "prediction" else (truth,):
        if ids.dtype != np.uint8:
            raise JobError(f"{name}: class ids must be uint8, not {ids.dtype}")


def _size(picture: NDArray[Any]) -> str:
    return "x".join(map(str, picture.shape[::-1])) or "of one pixel"


def reduced(parts: Sequence[dict[str, Any]], classes: int, weights: NDArray[np.float64]) -> dict[str, Figures]:
    """Of the `confusion` of pictures' parts, by (rows, pictures) weights, (rows,) each: accuracy over the truth's
    pixels; mean IoU over the classes that occur in truth or prediction; micro IoU of all classes together. NaN where
    there is nothing to count.

    A class whose truth is not in a row, but in the first one, of all pictures, is left out of that row's mean: what is
    wrongly predicted as it would count as an IoU of 0.
    """
    margins = np.array([_margins(dense(part["confusion"], classes)) for part in parts], np.float64)
    correct, truth, predicted = np.split(weights @ margins, 3, axis=1)
    union = truth + predicted - correct
    is_gone = (truth == 0) & (truth[:1] > 0)
    occurs = (union > 0) & ~is_gone
    iou = np.divide(correct, union, out=np.zeros_like(correct), where=occurs)
    return {
        "accuracy": _quotient(correct.sum(axis=1), truth.sum(axis=1)),
        "miou": _quotient(iou.sum(axis=1), occurs.sum(axis=1).astype(np.float64)),
        "micro_iou": _quotient(correct.sum(axis=1), union.sum(axis=1)),
    }


def _margins(counts: NDArray[np.integer]) -> NDArray[np.integer]:
    """By class: pixels that are right, of the truth, of the prediction."""
    return np.concatenate([np.diagonal(counts), counts.sum(axis=1), counts[:, :-1].sum(axis=0)])


def _quotient(part: Figures, whole: Figures) -> Figures:
    """part / whole, NaN where there is no whole."""
    quotient: Figures = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return quotient
