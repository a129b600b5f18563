"""What blocks' errors cost a network that has answers alone: each is put right in turn, and the network asked again.

That is as many answers as there are blocks, so these are large; where a network has gradients, those see each pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vcmbench.tasks.base import Picture

VERSION = 1
"""To be raised with every change of the answers: it is part of jobs' keys."""
_MOST_BLOCKS = 64
_UNIT_PX = 16


def contributions(
    answer: Callable[[Picture], NDArray[np.uint8]], truth: NDArray[np.uint8], pristine: Picture, decoded: Picture
) -> NDArray[np.float32]:
    """How many pixels fewer are answered other than in `truth`, (H, W), where a block of the decoded picture is the
    pristine one: (H, W) float32, a block's number spread over its pixels. At most 64 blocks; pictures are (H, W, 3)
    uint8 R'G'B'."""
    height, width = truth.shape
    side = _UNIT_PX * max(1, math.ceil(math.sqrt(height * width / _MOST_BLOCKS) / _UNIT_PX))
    while math.ceil(height / side) * math.ceil(width / side) > _MOST_BLOCKS:
        side += _UNIT_PX
    lost = int(np.count_nonzero(answer(decoded) != truth))
    found, mended = np.zeros(truth.shape, np.float32), decoded.copy()
    for top in range(0, height, side):
        for left in range(0, width, side):
            block = np.s_[top : top + side, left : left + side]
            mended[block] = pristine[block]
            found[block] = (lost - int(np.count_nonzero(answer(mended) != truth))) / found[block].size
            mended[block] = decoded[block]
    return found
