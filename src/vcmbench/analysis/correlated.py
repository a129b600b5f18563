"""What came of holding metrics against the machine: the correlations of one level, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field

from vcmbench.analysis.correlation import Comparison

_IN_WORDS = {"accuracy": "accuracy", "miou": "mIoU", "micro_iou": "IoU of all pixels",
             "probability": "probability of the class"}  # fmt: skip


@dataclass
class Correlated:
    """The correlations of one level: `whole` and by codec; or why there are none."""

    level: str
    whole: Comparison | None = None
    codecs: dict[str, Comparison] = field(default_factory=dict)
    clusters: int = 0
    reason: str = ""
    note: str = ""
    samples: str = ""
    """A digest of what was correlated, by which a later run sees whether it still holds."""
    machine: str = "accuracy, pseudo"
    """The machine's score that metrics are held against: what it is, and against which truth."""

    @property
    def machine_in_words(self) -> str:
        measure, _, against = self.machine.partition(", ")
        truth = {"pseudo": "the pseudo ground truth", "labels": "the labels"}[against]
        return f"{_IN_WORDS[measure]} against {truth}"

    @property
    def file(self) -> str:
        return f"correlation_{self.level.replace(' ', '_')}.json"
