"""Spending bits unevenly with encoders that take no map: a low-pass before them, stronger where less matters.

It is no substitute for a quantiser map, and every record names it as what it is. All blocks are coded with the QP of
the most important one; where the map asks for e steps more, detail that such a coarser quantiser would have removed is
taken away beforehand. A filter is not bound to blocks as a quantiser is: within a block it spares the pixels that
matter more than their block does, which is what keeps the outlines of things.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]

# Gaussians to interpolate between; a low-pass narrower than the first is a mixture of it and the picture.
_SIGMAS_PX = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
# Chosen, not derived: at 6 steps about as much is lost as with a doubled quantiser step, at 12 steps more.
SIGMA_AT_6_STEPS_PX = 0.5
STRENGTHS = (0.125, 8.0)
"""Factors on sigma between which a rate is searched, once no whole QP meets it."""


def sigma_px(excess_steps: F32, strength: float = 1.0) -> F32:
    """The Gaussian's standard deviation, in luma pixels, that stands in for `excess_steps` >= 0 of coarser quantising.

    Any shape; `strength` is a factor on all of them.
    """
    sigmas: F32 = np.clip(np.float32(strength * SIGMA_AT_6_STEPS_PX / 6) * excess_steps, 0, _SIGMAS_PX[-1])
    return sigmas


def low_pass(plane: U8, sigma_px: F32, step: tuple[int, int] = (1, 1)) -> U8:
    """An (H, W) plane under a Gaussian whose sigma differs from pixel to pixel.

    `sigma_px` is in luma pixels, one for each; `step` (x, y) are the luma pixels per sample of the plane. Where sigma
    is 0 nothing changes.
    """
    from scipy.ndimage import gaussian_filter  # imported late: few jobs filter

    wanted = sigma_px[:: step[1], :: step[0]]
    scale = (step[0] * step[1]) ** 0.5
    picture = plane.astype(np.float32)
    result, lower, narrower = picture, 0.0, picture
    for sigma in _SIGMAS_PX:
        if lower >= sigma_px.max():
            break
        # with fractions: mixtures of whole numbers would all cross a half at once, and sizes jump with the strength
        blurred = gaussian_filter(picture, sigma / scale, mode="nearest", truncate=3.0)
        share = np.clip((wanted - lower) / (sigma - lower), 0, 1).astype(np.float32)
        result = np.where(wanted > lower, narrower + share * (blurred - narrower), result)
        lower, narrower = sigma, blurred
    return np.rint(result).astype(np.uint8)
