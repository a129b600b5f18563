"""Average precision as COCO has it (T.-Y. Lin et al., 2014), by pycocotools: detections of a picture are held against
its truth once, and what is kept of that gives the figures of any pictures together.

Precision is interpolated at 101 recalls, at ten thresholds of IoU, 0.5 to 0.95; objects are small up to 32 x 32 px of
area, and large from 96 x 96 px. At most 100 detections a class and picture count, those of the highest scores.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS, RECALLS = 10, 101
AREAS = ("all", "small", "medium", "large")
MOST_DETECTIONS = 100

Array = NDArray[np.float64]
Kept = dict[str, Any]
"""Of one class in one picture: `scores` (D) of its detections, highest first; for each of AREAS `truths`, how many
objects it has, and by detection `hits` and `ignored`, a bit a threshold, the lowest for 0.5."""


@cache
def _evaluator() -> Any:
    from pycocotools.cocoeval import COCOeval  # heavy

    return COCOeval(iouType="bbox")


_one_at_a_time = threading.Lock()


def match(boxes: Array, scores: Array, truths: Array, areas: Array, crowd: NDArray[np.bool_]) -> Kept:
    """Detections (D, 4) with (D,) scores against truths (G, 4), both x0, y0, x1, y1 in px, of one class and picture;
    `areas` and `crowd` are the truths', (G,). What a crowd holds is neither right nor wrong."""
    with _one_at_a_time:  # the evaluator holds the picture
        own, which = _evaluator(), (0, 0)
        own._dts = {which: [{"id": i + 1, "bbox": _xywh(box), "score": float(score), "area": _area(box)}
                            for i, (box, score) in enumerate(zip(boxes, scores, strict=True))]}  # fmt: skip
        own._gts = {which: [{"id": i + 1, "bbox": _xywh(box), "area": float(area), "iscrowd": int(one),
                             "ignore": int(one)}
                            for i, (box, area, one) in enumerate(zip(truths, areas, crowd, strict=True))]}  # fmt: skip
        own.ious = {which: own.computeIoU(*which)}
        found = [own.evaluateImg(*which, limits, MOST_DETECTIONS) for limits in own.params.areaRng]
    return {
        "scores": [float(score) for score in found[0]["dtScores"]],
        "truths": [int(np.count_nonzero(one["gtIgnore"] == 0)) for one in found],
        "hits": [_bits(one["dtMatches"] > 0) for one in found],
        "ignored": [_bits(one["dtIgnore"]) for one in found],
    }


def _xywh(box: Array) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def _area(box: Array) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))


def _bits(flags: NDArray[Any]) -> list[int]:
    """(THRESHOLDS, D) flags as D numbers."""
    found: list[int] = (np.asarray(flags, np.int64).T @ (1 << np.arange(THRESHOLDS))).tolist()
    return found


def is_kept(one: Any) -> bool:
    """Whether a JSON value is what `match` gives."""
    if not isinstance(one, dict) or one.keys() != {"scores", "truths", "hits", "ignored"}:
        return False
    scores, most = one["scores"], 1 << THRESHOLDS
    rows = [one["truths"], *(one["hits"] if isinstance(one["hits"], list) else [None]),
            *(one["ignored"] if isinstance(one["ignored"], list) else [None])]  # fmt: skip
    return (
        isinstance(scores, list) and len(scores) <= MOST_DETECTIONS
        and all(type(score) in (int, float) and 0 <= score <= 1 for score in scores)
        and len(rows) == 1 + 2 * len(AREAS)
        and all(isinstance(row, list) and all(type(value) is int and value >= 0 for value in row) for row in rows)
        and len(rows[0]) == len(AREAS)
        and all(len(row) == len(scores) and all(value < most for value in row) for row in rows[1:])
    )  # fmt: skip


def average(kept: Sequence[Kept | None], weights: Array, area: str) -> Array:
    """Average precision of one class, (rows, THRESHOLDS): `kept` is of each picture (None: nothing of that class) and
    `weights` (rows, pictures) how often a row has it. NaN in rows without objects of that class and area."""
    at, chosen = AREAS.index(area), [(i, one) for i, one in enumerate(kept) if one is not None]
    truths = np.array([one["truths"][at] for _, one in chosen], np.float64)
    totals = weights[:, [i for i, _ in chosen]] @ truths
    found = np.full((len(weights), THRESHOLDS), np.nan)
    if not totals.any():
        return found
    scores = np.concatenate([np.array(one["scores"], np.float64) for _, one in chosen])
    order = np.argsort(-scores, kind="mergesort")  # of equal scores the first picture's comes first, as in pycocotools
    picture = np.concatenate([np.full(len(one["scores"]), i) for i, one in chosen])[order]
    hits, ignored = (_flags(np.concatenate([np.array(one[name][at], np.int64) for _, one in chosen])[order])
                     for name in ("hits", "ignored"))  # fmt: skip
    right, wrong = (hits & ~ignored).astype(np.float64), (~hits & ~ignored).astype(np.float64)
    for row in np.flatnonzero(totals):
        found[row] = _interpolated(right * weights[row, picture], wrong * weights[row, picture], totals[row])
    return found


def _flags(bits: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(THRESHOLDS, D) of D numbers."""
    flags: NDArray[np.bool_] = (bits >> np.arange(THRESHOLDS)[:, None] & 1).astype(bool)
    return flags


def _interpolated(right: Array, wrong: Array, total: float) -> Array:
    """(THRESHOLDS,): the mean over RECALLS of the highest precision at that recall or a higher one."""
    above, beside = right.cumsum(axis=1), wrong.cumsum(axis=1)
    precision = above / (above + beside + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    precision = np.hstack([precision, np.zeros((THRESHOLDS, 1))])  # where that recall is not reached
    recalls = np.linspace(0, 1, RECALLS)
    means = [values[np.searchsorted(reached, recalls)].mean()
             for values, reached in zip(precision, above / total, strict=True)]  # fmt: skip
    return np.array(means)
