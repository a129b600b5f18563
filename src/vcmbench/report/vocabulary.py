"""The words that content and report share: what is measured, against what, and how it is called."""

from __future__ import annotations

AGAINST = {"pseudo": "pseudo ground truth", "labels": "labels"}
"""What a prediction is held against: the network's own prediction on the pristine picture, or people's labels."""
MEASURES = {
    "accuracy": "Pixel accuracy",
    "miou": "mIoU",
    "micro_iou": "Micro-averaged IoU",
    "weighted": "Accuracy weighted by importance",
    "iou": "IoU",
    "top1": "Top-1 accuracy",
    "top5": "Top-5 accuracy",
}
STATISTICS = ("SROC", "PLCC", "KROCC", "PLCC_fit", "RMSE_fit")
"""Columns of a correlation table; the names of `vcmbench.analysis.correlation.STATISTICS`."""
VERDICTS = ("best", "not different", "worse", "")
LAYERS = ("scale", "diverging", "mask")


def measure_words(measure: str) -> str:
    """A measure within a sentence: "pixel accuracy", "mIoU"."""
    words = MEASURES.get(measure, measure)
    return words if words in ("mIoU", "IoU") else words[:1].lower() + words[1:]
