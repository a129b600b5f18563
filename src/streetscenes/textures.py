"""Fractal noise tables that can be sampled anywhere at any scale without aliasing.

A table is periodic and stored with every pair of halvings along its two axes, so that a surface seen at a grazing
angle is averaged along one axis and keeps its grain along the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from streetscenes.camera import Array

_SIZE = 512
_LEVELS = 10  # 512, 256, ... 1


@dataclass(frozen=True)
class Noise:
    """A periodic (512, 512) table of mean 0 and deviation 1, with its halvings, in one flat float32 array."""

    data: Array
    offsets: Array

    def sample(self, u: Array, v: Array, fu: Array, fv: Array, texel: float) -> Array:
        """Values (N,) float32 at surface coordinates ``u``, ``v`` (N,) in metres.

        ``fu``, ``fv`` (N,), or (1,) if it is the same for all: size of a sample on the surface, metres; ``texel``:
        metres per entry of the table.
        """
        lu = np.minimum(np.maximum(np.frexp(fu * np.float32(1 / texel))[1], 0), _LEVELS - 1)
        lv = np.minimum(np.maximum(np.frexp(fv * np.float32(1 / texel))[1], 0), _LEVELS - 1)
        x = u * _halved(lu) * np.float32(1 / texel) - np.float32(0.5)
        y = v * _halved(lv) * np.float32(1 / texel) - np.float32(0.5)
        x0, y0 = np.floor(x), np.floor(y)
        tx, ty = x - x0, y - y0
        ix, iy = x0.astype(np.int32), y0.astype(np.int32)
        # Shifts, and `take`: tables looked up by [] cost most of the time here.
        mask_x, mask_y, shift = _SIZE - 1 >> lu, _SIZE - 1 >> lv, _LEVELS - 1 - lu
        base = self.offsets.take(lv * _LEVELS + lu)
        row0 = base + ((iy & mask_y) << shift)
        row1 = base + (((iy + 1) & mask_y) << shift)
        ix1 = (ix + 1) & mask_x
        ix &= mask_x
        data = self.data
        top = data.take(row0 + ix)
        top += tx * (data.take(row0 + ix1) - top)
        low = data.take(row1 + ix)
        low += tx * (data.take(row1 + ix1) - low)
        out: Array = top + ty * (low - top)
        return out


def _halved(times: Array) -> Array:
    """0.5 to the power of small whole numbers (N,) int32, as float32 made of its bits."""
    out: Array = ((127 - times) << 23).view(np.float32)
    return out


@lru_cache(maxsize=32)
def noise(beta: float, seed: int = 0) -> Noise:
    """The table whose amplitude falls as frequency^-beta: 0 is white, 1 looks like stone, 1.7 like clouds."""
    rng = np.random.default_rng([seed, int(beta * 1000)])
    spectrum = np.fft.rfft2(rng.standard_normal((_SIZE, _SIZE)))
    fy = np.fft.fftfreq(_SIZE)[:, None] * _SIZE
    fx = np.fft.rfftfreq(_SIZE)[None, :] * _SIZE
    radius = np.hypot(fx, fy)
    radius[0, 0] = 1.0
    spectrum *= radius ** -float(beta)
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(_SIZE, _SIZE))
    field = (field / field.std()).astype(np.float32)
    parts: list[Array] = []
    offsets = np.zeros(_LEVELS * _LEVELS, np.int32)
    at = 0
    rows = field
    for lv in range(_LEVELS):
        cell = rows
        for lu in range(_LEVELS):
            offsets[lv * _LEVELS + lu] = at
            parts.append(cell.ravel())
            at += cell.size
            if lu < _LEVELS - 1:
                cell = (cell[:, ::2] + cell[:, 1::2]) * np.float32(0.5)
        if lv < _LEVELS - 1:
            rows = (rows[::2] + rows[1::2]) * np.float32(0.5)
    return Noise(np.concatenate(parts), offsets)


def hash01(i: Array, j: Array | int, seed: int) -> Array:
    """A fixed pseudo-random float32 in [0, 1) for each pair of integers (N,)."""
    h = np.asarray(i).astype(np.int32).view(np.uint32) * np.uint32(0x9E3779B1)
    h ^= np.asarray(j).astype(np.int32).view(np.uint32) * np.uint32(0x85EBCA77) + np.uint32(seed & 0xFFFFFFFF)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    out: Array = (h >> np.uint32(8)).astype(np.float32) * np.float32(1 / (1 << 24))
    return out


def cover(x: Array, lo: Array | float, hi: Array | float, footprint: Array) -> Array:
    """How much of a sample of width ``footprint`` about ``x`` lies in [lo, hi]: (N,) in [0, 1], anti-aliased."""
    half = np.maximum(footprint, np.float32(1e-4))
    out: Array = np.minimum(x - lo, hi - x) / half + np.float32(0.5)
    # Not np.clip, which takes longer than all else where samples are few.
    return np.minimum(np.maximum(out, np.float32(0)), np.float32(1))


def wrap(x: Array, period: float | np.floating[Any]) -> Array:
    """``np.mod`` of float32 (N,), to the last bit and several times as fast: exact in double precision."""
    wide = x.astype(np.float64)
    whole = np.floor(wide / float(np.float32(period)))
    whole *= -float(np.float32(period))
    whole += wide
    out: Array = whole.astype(np.float32)
    return out


def scaled(color: Array, tone: Array) -> Array:
    """A colour (3,), or one a sample (N, 3), times a tone a sample (N,): (N, 3).

    A channel at a time, as in ``mix``: numpy is slow where the innermost axis has three entries.
    """
    out = np.empty((tone.size, 3), np.result_type(color, tone))
    for c in range(3):
        np.multiply(color[..., c], tone, out=out[:, c])
    return out
