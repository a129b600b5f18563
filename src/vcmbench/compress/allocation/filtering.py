"""Maps for tools that take none: which quality the whole picture gets, how much is filtered away, and the search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress import prefilter, rate_search
from vcmbench.compress.rate_search import FoundRate
from vcmbench.encoder.base import Encoder

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def base_of(encoder: Encoder, quality: int, finest: float) -> tuple[int, float]:
    """The whole quality that is at least as fine as `finest` steps from `quality`, within the scale, and how many
    steps from `quality` it is."""
    scale = encoder.scale
    exact = encoder.quality_at(quality, finest)
    rounded = math.floor(exact) if scale.better == "low" else math.ceil(exact)
    base = min(max(rounded, scale.minimum), scale.maximum)
    return base, (encoder.log2_step(base) - encoder.log2_step(quality)) * 6


def sigma_px(excess: F64, of_pixels: F32, unit_px: int, strength: float) -> F32:
    """The low-pass of every coded pixel, (H, W): `excess` steps of blocks of `unit_px`, less where its own are less."""
    rows, columns = (np.arange(side) // unit_px for side in of_pixels.shape)
    spared = np.minimum(excess.astype(np.float32)[rows][:, columns], np.maximum(of_pixels, 0))
    return prefilter.sigma_px(spared, strength)


def find(
    encode: Callable[[float, float], int], target_bytes: float, start: float, bounds: tuple[float, float]
) -> tuple[FoundRate, float]:
    """A whole QP first; what is left to the target is made up for by the strength of the filter, which comes second.

    `encode` is given both and gives the size.
    """
    budget = rate_search.MAX_ENCODES
    found = rate_search.find(
        lambda shift: encode(shift, 1.0), target_bytes, start, bounds, whole=True, max_encodes=budget - 3
    )
    if found.is_equal:
        return found, 1.0
    limits = math.log2(prefilter.STRENGTHS[0]), math.log2(prefilter.STRENGTHS[1])
    # as steep as it was on photographs: a sigma twice as large saved a third to a half of the bits
    guess = math.log2(found.size_bytes / target_bytes) / 0.6
    left = budget - len(found.tried)
    tuned = rate_search.find(
        lambda octaves: encode(found.shift, 2.0**octaves), target_bytes, guess, limits, per_step=-0.6, max_encodes=left
    )
    tried = [*found.tried, *((found.shift, size) for _, size in tuned.tried)]
    if abs(tuned.error) >= abs(found.error):
        return replace(found, tried=tried), 1.0
    return replace(tuned, shift=found.shift, tried=tried), 2.0**tuned.shift
