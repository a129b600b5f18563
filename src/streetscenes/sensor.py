"""From radiance to an 8-bit picture: haze, optics, noise and the tone curve of a camera."""

from __future__ import annotations

import numpy as np

from streetscenes.camera import Array
from streetscenes.raster import CHUNK, Canvas

_F = np.float32


def expose(canvas: Canvas, seed: int, frame: int, noisy: bool = True) -> Array:
    """The picture (H, W, 3) uint8 RGB of a canvas with two samples a pixel.

    ``frame`` numbers the noise: two pictures of one scene share everything but it.
    """
    inv = canvas.inv_z
    rgb = canvas.rgb
    light = canvas.light
    for start in range(0, inv.size, CHUNK):
        part = slice(start, start + CHUNK)
        veil = 1 - np.exp(_F(-1 / light.haze_m) / np.maximum(inv[part], _F(1e-9)))
        veil[inv[part] == 0] = 0
        for c in range(3):
            rgb[part, c] += veil * (light.haze_rgb[c] - rgb[part, c])
    image = _optics(rgb.reshape(canvas.height, canvas.width, 3))
    height, width = image.shape[:2]
    y = (np.arange(height, dtype=np.float32) / height - _F(0.5))[:, None]
    x = (np.arange(width, dtype=np.float32) / width - _F(0.5))[None, :]
    image *= (1 - _F(0.38) * (x * x + _F(0.5) * y * y))[:, :, None]
    image *= _F(_exposure(image))
    # Street colours are duller than paint charts: some of each channel leaks into the others.
    gray = ((image[..., 0] + image[..., 1] + image[..., 2]) / _F(3))[..., None]
    image += _F(0.16) * (gray - image)
    # Photon noise grows with the root of the signal, read noise is constant; full scale is some 9000 electrons.
    if noisy:
        rng = np.random.default_rng([seed, frame, 77])
        sigma = np.sqrt(np.maximum(image, 0) * _F(1.1e-4) + _F(3e-6))
        image += sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return tone(image)


def _optics(samples: Array) -> Array:
    """(2H+1, 2W+1, 3) -> (H, W, 3): weights 1 2 1 each way, centred on the pixel: a lens a little short of perfect."""
    rows = samples[0:-2:2] + samples[2::2]
    rows += 2 * samples[1:-1:2]
    out: Array = rows[:, 0:-2:2] + rows[:, 2::2]
    out += 2 * rows[:, 1:-1:2]
    out *= _F(1 / 16)
    return out


def _exposure(image: Array) -> float:
    """The gain of an automatic exposure that meters the lower two thirds."""
    part = image[image.shape[0] // 3 :: 4, ::4]
    mean = float(np.exp(np.mean(np.log(part.mean(axis=2) + 1e-3))))
    return float(np.clip(0.125 / mean, 0.45, 2.6))


_STEPS = 8192


def _curve() -> Array:
    """Linear 0..1.6 -> display 0..255: gamma with a soft shoulder, so that skies do not clip hard."""
    x = np.linspace(0, 1.6, _STEPS)
    soft = np.where(x < 0.7, x, 0.7 + 0.3 * (1 - np.exp(-(x - 0.7) / 0.3)))
    display = np.clip(soft, 0, 1) ** (1 / 2.2)
    contrast = display + 0.06 * np.sin((display - 0.5) * 2 * np.pi) * 0.6
    return np.clip(contrast * 255, 0, 255).astype(np.float32)


_CURVE = _curve()


def tone(image: Array) -> Array:
    """Linear RGB (H, W, 3) float32 -> display RGB uint8."""
    index = np.clip(image * _F((_STEPS - 1) / 1.6), 0, _STEPS - 1).astype(np.int32)
    out: Array = (_CURVE[index] + _F(0.5)).astype(np.uint8)
    return out
