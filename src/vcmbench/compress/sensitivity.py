"""What a run asks of a machine task whose answers decide where bits go; who starts the run opens one (`tasks`)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]


class Sensitivity(Protocol):
    """A network that says what a picture's error costs it. Threads may ask at once; other processes get a copy of it by
    pickling. The same pictures give the same answers, to the last bit."""

    def identity(self) -> dict[str, Any]:
        """What decides the answers, as JSON: part of a job's key. Raises RequestError where it cannot be opened."""

    def agreement(self, pristine: Rgb, decoded: Rgb) -> float:
        """The share of pixels, 0..1, whose answer on the decoded picture is that on the pristine one; both (H, W, 3)
        uint8 R'G'B'. Raises JobError where the network cannot take the picture."""

    def contributions(self, pristine: Rgb, decoded: Rgb, points: int) -> NDArray[np.float32]:
        """What each pixel's error adds to the loss on the decoded picture, (H, W) float32: with a sign, all together
        the loss there minus that on the pristine picture, but for the integration in `points` points. Raises JobError.
        """
