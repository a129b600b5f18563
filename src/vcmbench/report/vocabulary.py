"""The words that content and report share: what is measured, against what, and how it is called."""

from __future__ import annotations

from vcmbench.tasks.kind import headings

AGAINST = {"pseudo": "pseudo ground truth", "labels": "labels"}
"""What a prediction is held against: the network's own prediction on the pristine picture, or people's labels."""
_MORE = {"weighted": "Accuracy weighted by importance", "iou": "IoU", "top5": "Top-5 accuracy"}


def measures() -> dict[str, str]:
    """What the report calls each measure, in its order: those of all kinds of task, and those of classes and parts."""
    return headings() | _MORE


STATISTICS = ("SROC", "PLCC", "KROCC", "PLCC_fit", "RMSE_fit")
"""Columns of a correlation table; the names of `vcmbench.analysis.correlation.STATISTICS`."""
VERDICTS = ("best", "not different", "worse", "")
LAYERS = ("scale", "diverging", "mask")


def measure_words(measure: str) -> str:
    """A measure within a sentence: "pixel accuracy", "mIoU"."""
    words = measures().get(measure, measure)
    return words if words in ("mIoU", "IoU") else words[:1].lower() + words[1:]
