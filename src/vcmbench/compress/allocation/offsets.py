"""From what a network's loss owes to each pixel's error to steps of blocks: where a bit buys most, more of them go."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vcmbench.importance.qp_map import block_means

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

_TRANSFORM_PX = 8
_LEAST_SHARE = 0.05
"""Of the mean, which a block's loss and bits count at least: a block that costs nothing now would cost something with
none, and the logarithm of what is below zero is none."""


def block_bits(luma: F32, log2_steps: F64, block_px: int) -> F64:
    """About how many bits each block of an intra picture takes, (rows, columns): the sum over the DCT of 8x8 px of
    log2(1 + |coefficient| / step), without the mean, which is predicted. `log2_steps` (rows, columns) are the blocks'
    quantiser steps, `luma` (H, W) is 0..255. A proxy: only ratios between blocks mean something."""
    from scipy.fft import dctn

    height, width = luma.shape
    size = _TRANSFORM_PX
    padded = np.pad(luma, ((0, -height % size), (0, -width % size)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // size, size, -1, size).swapaxes(1, 2)
    rows, columns = (np.minimum(np.arange(tiles.shape[i]) * size // block_px, log2_steps.shape[i] - 1) for i in (0, 1))
    steps = 2.0 ** log2_steps[rows][:, columns]
    bits = np.log2(1 + np.abs(dctn(tiles, axes=(2, 3), norm="ortho")) / steps[..., None, None])
    bits[..., 0, 0] = 0
    spread = np.repeat(np.repeat(bits.sum((2, 3)), size, 0), size, 1)[:height, :width]
    return block_means(spread.astype(np.float32), block_px)


def moved(before: F64, losses: F64, bits: F64, delta: float, sigma_blocks: float) -> F64:
    """The next steps, (rows, columns) whole and within +-delta, from those `before` and what blocks coded so lost
    and took: at the optimum one more bit buys the same everywhere, hence loss / bits is equal in all blocks. Both are
    averaged over neighbours first, for single blocks' losses are noise."""
    from scipy.ndimage import gaussian_filter

    def of_blocks(values: F64) -> F64:
        smooth: F64 = gaussian_filter(values, sigma_blocks, mode="nearest")
        mean = float(np.mean(np.maximum(smooth, 0)))
        result: F64 = np.log2(np.maximum(smooth, _LEAST_SHARE * mean)) if mean > 0 else np.zeros_like(smooth)
        return result

    wanted = before - (of_blocks(losses) - of_blocks(bits))
    wanted -= float(np.median(wanted))
    return np.clip(np.rint(wanted), -np.floor(delta), np.floor(delta))
