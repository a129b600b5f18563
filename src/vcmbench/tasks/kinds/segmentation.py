"""Segmentation: every pixel has a class; confusion counts, and the measures that come from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import labels
from vcmbench.errors import JobError
from vcmbench.io.documents import short_list
from vcmbench.tasks import confusion, predictions
from vcmbench.tasks.confusion import dense, sparse
from vcmbench.tasks.kind import Answer, AnswerFiles, Kind, Part, Truth, in_short

_REDUCED = {"accuracy": confusion.accuracy, "miou": confusion.mean_iou, "micro_iou": confusion.micro_iou}
_IN_WORDS = {"accuracy": "accuracy", "miou": "mIoU", "micro_iou": "IoU of all pixels"}
_MOST_PIXELS = 1 << 31  # counts are added up in 32 bits


class PalettePictures:
    """Answers as palette PNGs, see `tasks.predictions`."""

    suffix = ".png"
    key = staticmethod(predictions.prediction_key)
    is_whole = staticmethod(predictions.is_whole)

    def read(self, path: Path, shape: tuple[int, int], classes: Sequence[str]) -> Answer:
        return predictions.read_prediction(path, shape, len(classes))

    def write(self, path: Path, answer: Answer, classes: Sequence[str], key: str, temporary: Path | None) -> None:
        predictions.write_prediction(path, answer, key, temporary)


class SegmentationKind(Kind):
    """A part is {"confusion", "bands", "importance"}: counts as triplets (truth, prediction, pixels), of all pixels and
    of those in each distance band; importance of the pixels that are right, and of all. `names` are those of the
    classes that occur."""

    measures = {"accuracy": "Pixel accuracy", "miou": "mIoU", "micro_iou": "Micro-averaged IoU"}  # noqa: RUF012
    curves = ("accuracy", "miou")
    has_label_pictures = True
    has_confusions = True
    are_shares = True
    files: AnswerFiles | None = PalettePictures()

    def check(self, answer: Any, shape: tuple[int, int], classes: int) -> None:
        if not isinstance(answer, np.ndarray) or answer.dtype != np.uint8 or answer.shape != shape:
            raise JobError(f"its answer is {in_short(answer)}, must be uint8 {shape}")

    def count(self, answer: Answer, pristine: Answer | None, truth: Truth, classes: tuple[str, ...]) -> Part:
        notes = dict(truth.notes)
        pseudo = None if pristine is None else _against(answer, pristine, truth, len(classes))
        against_labels = None
        if truth.train_ids is not None:
            table, strangers = _numbers(truth.classes, classes)
            if (table == labels.VOID).all():
                notes["labels"] = "the network knows none of the labelled classes"
            else:
                known = _in_labels(answer, table, len(classes)), table[truth.train_ids]
                against_labels = _against(*known, truth, len(classes))
            occur = np.bincount(truth.train_ids.ravel(), minlength=256)
            if unknown := [name for place, name in strangers.items() if occur[place]]:
                notes["unknown classes"] = f"the network does not know {short_list(unknown, 8)}"
        counts = [triplet for part in (pseudo, against_labels) if part for triplet in part["confusion"]]
        seen = {number for truth_id, predicted, _ in counts for number in (truth_id, predicted)} - {len(classes)}
        return {
            "pseudo": pseudo,
            "labels": against_labels,
            "names": {str(number): classes[number] for number in sorted(seen)},
            "notes": notes,
        }

    def version(self, classes: tuple[str, ...]) -> int:
        return int(classes != labels.CLASSES)  # others were not counted against labels once

    def is_part(self, part: Any, classes: int) -> bool:
        if not 0 < classes <= labels.VOID or not isinstance(part, dict):
            return False
        if not part.keys() >= {"confusion", "bands", "importance"}:
            return False
        bands, importance = part["bands"], part["importance"]
        return (
            _are_counts(part["confusion"], classes)
            and (bands is None or (isinstance(bands, list) and len(bands) == len(confusion.BANDS_M)
                                   and all(_are_counts(band, classes) for band in bands)))
            and (importance is None or (isinstance(importance, list) and len(importance) == 2
                                        and all(_is_number(one) and one >= 0 for one in importance)))
        )  # fmt: skip

    def score(self, part: Part, classes: int, measure: str) -> float | None:
        return _REDUCED[measure](dense(part["confusion"], classes))

    def correlated(self, measure: str) -> tuple[str, str]:
        return measure, _IN_WORDS[measure]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*_REDUCED, "accuracy_importance", *(f"accuracy_{band}" for band in confusion.BANDS))

    def row(self, part: Part, classes: int) -> dict[str, float | None]:
        counts = dense(part["confusion"], classes)
        row = {name: reduce(counts) for name, reduce in _REDUCED.items()}
        if part["importance"] and part["importance"][1]:
            row["accuracy_importance"] = part["importance"][0] / part["importance"][1]
        for band, triplets in zip(confusion.BANDS, part["bands"] or [], strict=False):
            row[f"accuracy_{band}"] = confusion.accuracy(dense(triplets, classes))
        return row

    def facts(self, record: Part) -> list[tuple[str, str]]:
        found = [("Accuracy", self.score(record["pseudo"], record["classes"], "accuracy")),
                 ("mIoU", self.score(record["pseudo"], record["classes"], "miou"))]  # fmt: skip
        return [(words, "-" if value is None else f"{value:.3f}") for words, value in found]


def _numbers(
    named: tuple[tuple[str, ...], ...] | None, classes: Sequence[str]
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Of labels' ids the network's, (256,) uint8, VOID where it has none; and by id what it does not know."""
    table = np.full(256, labels.VOID, np.uint8)
    if named is None:
        table[: len(classes)] = np.arange(len(classes))
        return table, {number: f"id {number}" for number in range(len(classes), labels.VOID)}
    numbers = {name.lower(): number for number, name in reversed(list(enumerate(classes)))}
    strangers = {}
    for place, names in enumerate(named):
        known = next((numbers[name.lower()] for name in names if name.lower() in numbers), None)
        if known is None:
            strangers[place] = names[0]
        else:
            table[place] = known
    return table, strangers


def _in_labels(answer: NDArray[np.uint8], table: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """An answer without the classes that labels cannot be of: they have no IoU there, but are wrong."""
    kept = np.isin(np.arange(256), table)
    if kept[:classes].all():
        return answer
    return np.where(kept, np.arange(256), labels.VOID).astype(np.uint8)[answer]


def _against(prediction: NDArray[np.uint8], truth: NDArray[np.uint8], more: Truth, classes: int) -> Part:
    bands = None
    if more.distance_m is not None:
        bands = [sparse(counts) for counts in
                 confusion.distance_confusions(prediction, truth, more.distance_m, classes)]  # fmt: skip
    weighted = None
    if more.importance is not None:
        weighted = list(confusion.weighted(prediction, truth, more.importance, classes))
    counts = confusion.confusion(prediction, truth, classes)
    return {"confusion": sparse(counts), "bands": bands, "importance": weighted}


def _are_counts(triplets: Any, classes: int) -> bool:
    """Triplets of `sparse`: truth, prediction (the last column is void), pixels."""
    if not isinstance(triplets, list) or len(triplets) > classes * (classes + 1):
        return False
    limits = (classes, classes + 1, _MOST_PIXELS)
    return all(
        isinstance(one, list) and len(one) == 3
        and all(type(cell) is int and 0 <= cell < most for cell, most in zip(one, limits, strict=True))
        for one in triplets
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
