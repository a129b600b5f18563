"""Average precision as COCO has it (T.-Y. Lin et al., 2014): detections of a picture are held against its truth once,
and what is kept of that gives the figures of any pictures together, those that pycocotools gives of all of their files.

Precision is interpolated at 101 recalls, at ten thresholds of IoU, 0.5 to 0.95; objects are small up to 32 x 32 px of
area, and large from 96 x 96 px. At most 100 detections a class and picture count, those of the highest scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
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
    is_other, is_outside = crowd | truths, found[:, order]
    hits, ignored = np.zeros(is_outside.shape, np.int64), is_outside * ((1 << THRESHOLDS) - 1)
    is_near = shared[order] >= _IOU[0]
    if (near := np.flatnonzero(is_near.any(axis=1))).size:
        are_hits, are_ignored = _matched(shared[order[near]], is_near[near], is_other, crowd)
        hits[:, near] = _bits(are_hits)
        ignored[:, near] = _bits(are_ignored | ~are_hits & is_outside[:, None, near])
    return {
        "scores": scores[order].tolist(),
        "truths": (~is_other).sum(axis=1).tolist(),
        "hits": hits.tolist(),
        "ignored": ignored.tolist(),
    }


def _matched(
    shared: Array, is_near: NDArray[np.bool_], is_other: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of (D, G) pairs match, highest score first, and which of these matches are not counted, (ranges,
    THRESHOLDS, D). `is_near` are those of the lowest threshold, each detection has one; `is_other` (ranges, G)."""
    hits = np.zeros((len(is_other), THRESHOLDS, len(shared)), np.bool_)
    ignored = hits.copy()
    # most have one truth, and are its only one: nothing is to be chosen
    alone, only = np.nonzero(is_near & (is_near.sum(axis=1) == 1)[:, None] & (crowd | (is_near.sum(axis=0) == 1)))
    hits[..., alone] = shared[alone, only] >= _IOU[:, None]
    ignored[..., alone] = hits[..., alone] & is_other[:, None, only]
    is_free = np.ones((len(is_other), THRESHOLDS, len(crowd)), np.bool_)
    for number in sorted({*range(len(shared))} - {*alone.tolist()}):
        of_one = shared[number]
        near = np.flatnonzero(is_near[number])[::-1]  # argmax takes the first
        fits = is_free[..., near] & (of_one[near] >= _IOU[:, None])
        counted = fits & ~is_other[:, None, near]
        fits = np.where(counted.any(axis=-1, keepdims=True), counted, fits)
        best = near[np.where(fits, of_one[near], -1).argmax(axis=-1)]
        hits[..., number] = fits.any(axis=-1)
        ignored[..., number] = hits[..., number] & np.take_along_axis(is_other, best, axis=1)
        place, threshold = np.nonzero(hits[..., number] & ~crowd[best])
        is_free[place, threshold, best[place, threshold]] = False
    return hits, ignored


def shared(shapes: NDArray[Any], truths: NDArray[Any], crowd: NDArray[np.bool_]) -> Array:
    """IoU (D, G) of boxes, (D, 4) and (G, 4) x, y, width, height in px, or of masks, (D,) and (G,) of COCO's RLE; of a
    crowd, the share of the detection."""
    from pycocotools import mask  # heavy

    if not len(shapes) or not len(truths):
        return np.zeros((len(shapes), len(truths)))
    both = (one.tolist() if one.dtype == object else np.ascontiguousarray(one, np.float64) for one in (shapes, truths))
    found: Array = mask.iou(*both, crowd.astype(np.uint8))
    return found


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(ranges, THRESHOLDS, D) flags as (ranges, D) numbers."""
    found: NDArray[np.int64] = (flags << np.arange(THRESHOLDS)[:, None]).sum(axis=1)
    return found


def is_kept(one: Any, ranges: int = len(AREAS)) -> bool:
    """Whether a JSON value is what `match` gives of so many ranges."""
    if not isinstance(one, dict) or one.keys() != {"scores", "truths", "hits", "ignored"}:
        return False
    scores, truths, hits, ignored = (one[name] for name in ("scores", "truths", "hits", "ignored"))
    if not all(isinstance(rows, list) for rows in (scores, truths, hits, ignored)):
        return False
    rows = [*hits, *ignored]
    if len(hits) != ranges or len(ignored) != ranges or not all(isinstance(row, list) for row in rows):
        return False
    bits = [*chain.from_iterable(rows)]
    return (
        len(scores) <= MOST_DETECTIONS and {*map(type, scores)} <= {int, float}
        and all(0 <= score <= 1 for score in scores)
        and len(truths) == ranges and {*map(type, truths)} <= {int} and min(truths) >= 0
        and {*map(len, rows)} == {len(scores)}
        and {*map(type, bits)} <= {int} and min(bits, default=0) >= 0 and max(bits, default=0) < 1 << THRESHOLDS
    )  # fmt: skip


def average(kept: Sequence[Kept | None], weights: Array, at: Sequence[int] = range(len(AREAS))) -> Array:
    """Average precision of one class in the ranges `at`, (ranges, rows, THRESHOLDS): `kept` is of each picture (None:
    nothing of that class) and `weights` (rows, pictures) how often a row has it. NaN in rows without objects of that
    class and range."""
    chosen = [(i, one) for i, one in enumerate(kept) if one is not None]
    truths = np.array([[one["truths"][i] for i in at] for _, one in chosen], np.float64)
    totals = (weights[:, [i for i, _ in chosen]] @ truths).T
    found = np.full((*totals.shape, THRESHOLDS), np.nan)
    if not totals.any():
        return found
    scores = np.concatenate([np.array(one["scores"], np.float64) for _, one in chosen])
    order = np.argsort(-scores, kind="mergesort")  # of equal scores the first picture's comes first, as in pycocotools
    picture = np.repeat([i for i, _ in chosen], [len(one["scores"]) for _, one in chosen])[order]
    hits, ignored = (_flags(np.hstack([np.array([one[name][i] for i in at], np.int64) for _, one in chosen])[:, order])
                     for name in ("hits", "ignored"))  # fmt: skip
    right, wrong = (hits & ~ignored).astype(np.float64), (~hits & ~ignored).astype(np.float64)
    is_right: Any = right.any(axis=1)
    for place, of_range in enumerate(totals):
        rows = np.flatnonzero(of_range)
        if not is_right[place].any():
            found[place, rows] = 0
            continue
        # what is not counted, and what comes after the last that is right, changes nothing
        counts: Any = slice(int(is_right[place].nonzero()[0][-1]) + 1)
        if len(rows) > 1:
            counts = np.flatnonzero((right[place] + wrong[place])[:, counts].any(axis=0))
        of_picture, more = picture[counts], (right[place][:, counts], wrong[place][:, counts])
        step = max(_MOST_AT_ONCE // max(more[0].size, 1), 1)
        for some in (rows[start : start + step] for start in range(0, len(rows), step)):
            found[place, some] = _interpolated(*more, weights[some][:, of_picture], of_range[some])
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
