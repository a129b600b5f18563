"""What a stereo pair would measure: disparity with noise, and holes where there is nothing to match."""

from __future__ import annotations

import numpy as np

from streetscenes.camera import BASELINE_M, Array, Camera
from streetscenes.textures import noise

NOISE_PX = 0.05  # at an image 512 wide; grows slowly with the size
OCCLUSION_PX = 0.75


def hidden(disparity_px: Array) -> Array:
    """Pixels (H, W) bool of the left picture that the right camera cannot see.

    Each pixel lands at x - d of the right picture and covers the two whole columns about it; it is hidden where some
    other one covers the column nearest to it with a disparity larger by more than ``OCCLUSION_PX``.
    """
    height, width = disparity_px.shape
    landing = np.arange(width, dtype=np.float32)[None, :] - disparity_px
    first = np.floor(landing).astype(np.int32)
    # Columns -1 and `width` take what falls off the picture.
    pad = width + 2
    front = np.zeros(height * pad, np.float32)
    start = (np.arange(height, dtype=np.int64)[:, None] * pad + 1) + np.clip(first, -1, width)
    cells, flat = start.ravel(), disparity_px.ravel()
    # The nearest surface stays.
    np.maximum.at(front, cells, flat)
    np.maximum.at(front, np.minimum(cells + 1, height * pad - 1), flat)
    nearest = np.clip(np.rint(landing).astype(np.int64), -1, width)
    at = (np.arange(height, dtype=np.int64)[:, None] * pad + 1) + nearest
    out: Array = front[at] > disparity_px + np.float32(OCCLUSION_PX)
    return out


def true_disparity(distance_m: Array, camera: Camera) -> Array:
    """Disparity (H, W) float32 in pixels, 0 at infinity."""
    out: Array = np.where(
        np.isfinite(distance_m), np.float32(camera.fx * BASELINE_M) / np.maximum(distance_m, np.float32(1e-3)), 0
    ).astype(np.float32)
    return out


def measure(distance_m: Array, invalid: Array, camera: Camera, seed: int, frame: int) -> Array:
    """The map as stored: (H, W) uint16, round(256 d) + 1, 0 where there is no measurement.

    ``invalid`` (H, W) bool: what no stereo camera measures here (sky, the own hood, the border).
    """
    height, width = distance_m.shape
    exact = true_disparity(distance_m, camera)
    rng = np.random.default_rng([seed, frame, 78])
    sigma = NOISE_PX * (width / 512) ** 0.5
    wobble = rng.standard_normal((height, width), dtype=np.float32)
    measured = exact + np.float32(sigma) * wobble
    holes = invalid | ~np.isfinite(distance_m) | hidden(exact)
    holes |= np.arange(width)[None, :] - exact < 0
    holes |= speckles(exact, seed, frame)
    raw = np.rint(measured * 256) + 1
    raw = np.where(holes | (measured <= 0), 0, np.clip(raw, 1, 65535))
    return raw.astype(np.uint16)


def speckles(exact: Array, seed: int, frame: int) -> Array:
    """Small holes (H, W) bool where matching fails now and then, more often far away."""
    height, width = exact.shape
    scale = np.float32(512 / width)
    x = np.arange(width, dtype=np.float32)[None, :] * scale + np.float32((seed * 37 + frame * 11) % 509)
    y = np.arange(height, dtype=np.float32)[:, None] * scale + np.float32((seed * 17 + frame * 7) % 503)
    u, v = (np.ascontiguousarray(a) for a in np.broadcast_arrays(x, y))
    foot = np.full(u.shape, 1.0, np.float32)
    field = noise(0.75, 4).sample(u, v, foot, foot, 1.0)
    limit = np.where(exact * scale < 1.6, np.float32(1.75), np.float32(2.7))
    out: Array = field > limit
    return out
