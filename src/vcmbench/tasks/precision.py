"""Average precision as COCO has it (T.-Y. Lin et al., 2014): detections of a picture are held against its truth once,
and what is kept of that gives the figures of any pictures together, those that pycocotools gives of all of their files.

Precision is interpolated at 101 recalls, at ten thresholds of IoU, 0.5 to 0.95; objects are small up to 32 x 32 px of
area, and large from 96 x 96 px. At most 100 detections a class and picture count, those of the highest scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS, RECALLS = 10, 101
AREAS = ("all", "small", "medium", "large")
MOST_DETECTIONS = 100
_LIMITS = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""In px, of AREAS."""
_MOST_AT_ONCE = 1 << 17  # numbers: more of them leave the cache
_RECALLS = np.linspace(0, 1, RECALLS)
_IOU = np.minimum(np.linspace(0.5, 0.95, THRESHOLDS), 1 - 1e-10)

Array = NDArray[np.float64]
Kept = dict[str, Any]
"""Of one class in one picture: `scores` (D) of its detections, highest first; for each range, AREAS first, `truths`,
how many objects it has, and by detection `hits` and `ignored`, a bit a threshold, the lowest for 0.5."""


def outside(areas: Array) -> NDArray[np.bool_]:
    """Which areas (N,) in px are outside each of AREAS, (AREAS, N)."""
    found: NDArray[np.bool_] = (areas < _LIMITS[:, :1]) | (areas > _LIMITS[:, 1:])
    return found


def match(
    shared: Array, scores: Array, found: NDArray[np.bool_], truths: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> Kept:
    """Detections with (D,) scores against truths of one class and picture by their IoU (D, G). `found` (ranges, D) and
    `truths` (ranges, G) say what is outside each range, AREAS first: objects there, and what is found there and matches
    none, are not counted. What a crowd (G,) holds is neither right nor wrong.

    As `COCOeval.evaluateImg`, for all ranges and thresholds at once: each detection takes the free truth of largest
    IoU, of equal ones the last, and one that is not counted only where there is no other.
    """
    order = np.argsort(-scores, kind="mergesort")[:MOST_DETECTIONS]
    is_other = crowd | truths
    hits = np.zeros((len(is_other), THRESHOLDS, len(order)), np.bool_)
    ignored, is_free = hits.copy(), np.ones((len(is_other), THRESHOLDS, len(crowd)), np.bool_)
    for number, of_one in enumerate(shared[order]):
        near = np.flatnonzero(of_one >= _IOU[0])[::-1]  # argmax takes the first
        if not near.size:
            continue
        fits = is_free[..., near] & (of_one[near] >= _IOU[:, None])
        counted = fits & ~is_other[:, None, near]
        fits = np.where(counted.any(axis=-1, keepdims=True), counted, fits)
        best = near[np.where(fits, of_one[near], -1).argmax(axis=-1)]
        hits[..., number] = fits.any(axis=-1)
        ignored[..., number] = hits[..., number] & np.take_along_axis(is_other, best, axis=1)
        place, threshold = np.nonzero(hits[..., number] & ~crowd[best])
        is_free[place, threshold, best[place, threshold]] = False
    ignored |= ~hits & found[:, None, order]
    return {
        "scores": scores[order].tolist(),
        "truths": (~is_other).sum(axis=1).tolist(),
        "hits": _bits(hits),
        "ignored": _bits(ignored),
    }


def shared(shapes: NDArray[Any], truths: NDArray[Any], crowd: NDArray[np.bool_]) -> Array:
    """IoU (D, G) of boxes, (D, 4) and (G, 4) x, y, width, height in px, or of masks, (D,) and (G,) of COCO's RLE; of a
    crowd, the share of the detection."""
    from pycocotools import mask  # heavy

    if not len(shapes) or not len(truths):
        return np.zeros((len(shapes), len(truths)))
    both = (one.tolist() if one.dtype == object else np.ascontiguousarray(one, np.float64) for one in (shapes, truths))
    found: Array = mask.iou(*both, crowd.astype(np.uint8))
    return found


def _bits(flags: NDArray[np.bool_]) -> list[list[int]]:
    """(ranges, THRESHOLDS, D) flags as D numbers of each range."""
    found: list[list[int]] = (flags << np.arange(THRESHOLDS)[:, None]).sum(axis=1).tolist()
    return found


def is_kept(one: Any, ranges: int = len(AREAS)) -> bool:
    """Whether a JSON value is what `match` gives of so many ranges."""
    if not isinstance(one, dict) or one.keys() != {"scores", "truths", "hits", "ignored"}:
        return False
    scores, most = one["scores"], 1 << THRESHOLDS
    rows = [one["truths"], *(one["hits"] if isinstance(one["hits"], list) else [None]),
            *(one["ignored"] if isinstance(one["ignored"], list) else [None])]  # fmt: skip
    return (
        isinstance(scores, list) and len(scores) <= MOST_DETECTIONS
        and all(type(score) in (int, float) and 0 <= score <= 1 for score in scores)
        and len(rows) == 1 + 2 * ranges
        and all(isinstance(row, list) and all(type(value) is int and value >= 0 for value in row) for row in rows)
        and len(rows[0]) == ranges
        and all(len(row) == len(scores) and all(value < most for value in row) for row in rows[1:])
    )  # fmt: skip


def average(kept: Sequence[Kept | None], weights: Array, at: Sequence[int] = range(len(AREAS))) -> Array:
    """Average precision of one class in the ranges `at`, (ranges, rows, THRESHOLDS): `kept` is of each picture (None:
    nothing of that class) and `weights` (rows, pictures) how often a row has it. NaN in rows without objects of that
    class and range."""
    chosen = [(i, one) for i, one in enumerate(kept) if one is not None]
    at = list(at)
    truths = np.array([one["truths"] for _, one in chosen], np.float64)[:, at]
    totals = (weights[:, [i for i, _ in chosen]] @ truths).T
    found = np.full((*totals.shape, THRESHOLDS), np.nan)
    if not totals.any():
        return found
    scores = np.concatenate([np.array(one["scores"], np.float64) for _, one in chosen])
    order = np.argsort(-scores, kind="mergesort")  # of equal scores the first picture's comes first, as in pycocotools
    picture = np.repeat([i for i, _ in chosen], [len(one["scores"]) for _, one in chosen])[order]
    hits, ignored = (_flags(np.hstack([np.array(one[name], np.int64) for _, one in chosen])[at][:, order])
                     for name in ("hits", "ignored"))  # fmt: skip
    right, wrong = (hits & ~ignored).astype(np.float64), (~hits & ~ignored).astype(np.float64)
    for place, of_range in enumerate(totals):
        rows = np.flatnonzero(of_range)
        step = max(_MOST_AT_ONCE // max(right[place].size, 1), 1)
        for some in (rows[start : start + step] for start in range(0, len(rows), step)):
            of_rows = weights[some][:, picture]
            found[place, some] = _interpolated(right[place], wrong[place], of_rows, of_range[some])
    return found


def _flags(bits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(ranges, THRESHOLDS, D) of (ranges, D) numbers."""
    flags: NDArray[np.bool_] = (bits[:, None] >> np.arange(THRESHOLDS)[:, None] & 1).astype(bool)
    return flags


def _interpolated(right: Array, wrong: Array, weights: Array, totals: Array) -> Array:
    """(rows, THRESHOLDS): the mean over RECALLS of the highest precision at that recall or a higher one. `right` and
    `wrong` are (THRESHOLDS, D), highest score first, `weights` (rows, D), `totals` (rows,)."""
    places = right.any(axis=0)  # elsewhere precision only falls
    above = (right[:, places] * weights[:, None, places]).cumsum(axis=2)
    beside = (wrong * weights[:, None]).cumsum(axis=2)[..., places]
    precision = above / (above + beside + np.spacing(1))
    precision = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    first = _RECALLS.searchsorted(above / totals[:, None, None], side="right")  # how many recalls each place reaches
    first[..., 1:] -= first[..., :-1].copy()  # and is the first to
    found: Array = (precision * first).sum(axis=2) / RECALLS  # a recall that is not reached adds 0
    return found
