"""What a network's answer on a decoded picture is worth: raw counts for a score record.

Against `pseudo`, the network's answer on the pristine picture, and against `labels`, where people said what is there.
Confusion counts are mostly zeros and are kept as triplets (truth, prediction, pixels); nothing is reduced here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import labels
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.store import job_key
from vcmbench.measure.ground_truth import Truth
from vcmbench.tasks import confusion

VERSION = 1
"""To be raised with every change of what is counted, here or in `perception`: it is part of the scores' keys."""

AGAINST = ("pseudo", "labels")
"""The truths that an answer is held against."""

Ids = NDArray[np.uint8]


def key(answer: str, truth: str) -> str:
    """What decides a record's machine part: the key of the answer, the digest of the truth, and how it is counted."""
    return job_key({"answer": answer, "truth": truth, "counts": VERSION})


def segmentation(prediction: Ids, pristine: Ids | None, truth: Truth, classes: tuple[str, ...]) -> dict[str, Any]:
    """The counts of one prediction, (H, W) uint8 class ids. `pristine` is None for the pristine picture itself."""
    known = truth.train_ids if classes == labels.CLASSES else None
    notes = dict(truth.notes)
    if truth.train_ids is not None and known is None:
        notes["labels"] = "the network's classes are not the 19 of Cityscapes"
    return {
        "kind": "segmentation",
        "classes": len(classes),
        "pseudo": None if pristine is None else _against(prediction, pristine, truth, len(classes)),
        "labels": None if known is None else _against(prediction, known, truth, len(classes)),
        "notes": notes,
    }


def _against(prediction: Ids, truth: Ids, more: Truth, classes: int) -> dict[str, Any]:
    bands = None
    if more.distance_m is not None:
        bands = [sparse(counts) for counts in
                 confusion.distance_confusions(prediction, truth, more.distance_m, classes)]  # fmt: skip
    weighted = None
    if more.importance is not None:
        weighted = list(confusion.weighted(prediction, truth, more.importance, classes))
    counts = confusion.confusion(prediction, truth, classes)
    return {"confusion": sparse(counts), "bands": bands, "importance": weighted}


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


def label_of(data: DataRoot, source: Source, classes: tuple[str, ...]) -> int | None:
    """The class of a picture in a folder of class folders: the folder's name among the network's classes."""
    if data.is_cityscapes or not source.group.name:
        return None
    return classes.index(source.group.name) if source.group.name in classes else None


def classification(
    probabilities: NDArray[np.float32],
    pristine: NDArray[np.float32] | None,
    label: int | None,
    classes: tuple[str, ...],
) -> dict[str, Any]:
    """The counts of one answer, (K,) probabilities: [right, 1] for the class, and the probability that it gives to the
    class that it is held against. `classes` are the names of all K; those of the classes that occur are kept."""

    def against(wanted: int) -> dict[str, Any]:
        return {
            "right": [int(int(probabilities.argmax()) == wanted), 1],
            "class": wanted,
            "probability": float(probabilities[wanted]),
        }

    seen = [int(probabilities.argmax()), None if pristine is None else int(pristine.argmax()), label]
    return {
        "kind": "classification",
        "classes": len(probabilities),
        "class": int(probabilities.argmax()),
        "names": {str(number): classes[number] for number in seen if number is not None},
        "pseudo": None if pristine is None else against(int(pristine.argmax())),
        "labels": None if label is None else against(label),
        "notes": {} if label is not None else {"labels": "the picture's folder is not named as one of the classes"},
    }
