"""No map that is there before: the experiment's task is asked, pass by pass, what a coded picture's errors cost it."""

from __future__ import annotations

from dataclasses import dataclass

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError, RequestError
from vcmbench.importance.source import PixelImportance, SourceOfImportance


@dataclass(frozen=True)
class TaskQuestion:
    """How the task is asked: `smoothing_px` is the sigma of the Gaussian that answers are averaged by, in pixels of the
    coded picture, `points` how many gradients are taken a pass."""

    smoothing_px: float = 24.0
    points: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing_px <= 1000:
            raise RequestError(f"smoothing_px {self.smoothing_px!r}: must be within 0..1000 px")
        if not 1 <= self.points <= 64:
            raise RequestError(f"points {self.points!r}: must be within 1..64")


class TaskSource(SourceOfImportance[TaskQuestion]):
    settings = TaskQuestion
    is_asked = True

    def digest(self, data: DataRoot, source: Source, settings: TaskQuestion) -> str:
        return "asked"  # the picture and the network, which stand in a job's key beside it

    def read(self, data: DataRoot, source: Source, settings: TaskQuestion) -> PixelImportance:
        raise JobError('source "task": has no map before a picture is coded')

    def describe(self, tag: str) -> str:
        return "what the task answers to coded pictures"
