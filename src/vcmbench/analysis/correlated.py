"""What came of holding metrics against the machine: the correlations of one level, or why there are none."""

from __future__ import annotations

from dataclasses import dataclass, field

from vcmbench.analysis.correlation import Comparison
from vcmbench.tasks import kind as kinds


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
        return f"{_words(measure)} against {truth}"

    @property
    def file(self) -> str:
        return f"correlation_{self.level.replace(' ', '_')}.json"


def _words(correlated: str) -> str:
    """What metrics are held against, in words; by its name where no kind of task knows it any more."""
    known = dict(kind.correlated(measure) for kind in kinds.discover().values() for measure in kind.measures)
    return known.get(correlated, correlated)
