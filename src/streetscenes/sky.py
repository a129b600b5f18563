"""The sky: a gradient, clouds on a high plane, and the brightness about the sun."""

from __future__ import annotations

import numpy as np

from streetscenes.raster import Canvas
from streetscenes.textures import noise

_F = np.float32


def draw_sky(canvas: Canvas, seed: int) -> None:
    """Fill every sample that is still empty."""
    index = np.flatnonzero(canvas.inv_z == 0)
    if index.size == 0 or canvas.labels_only:
        return
    light = canvas.light
    row = index // canvas.width
    x = ((index - row * canvas.width).astype(np.float32) - _F(canvas.u0)) * _F(1 / canvas.fx)
    y = (_F(canvas.v0) - row.astype(np.float32)) * _F(1 / canvas.fy)
    norm = 1 / np.sqrt(x * x + y * y + 1)
    up = np.maximum(y * norm, _F(0.0))
    blend = np.clip(up * _F(1.9), 0, 1) ** _F(0.6)
    color = light.horizon_rgb + blend[:, None] * (light.zenith_rgb - light.horizon_rgb)
    # The cloud layer is a plane: nearer the horizon its cells shrink and blur together.
    r = canvas.camera.rotation.astype(np.float32)
    lift = 1 / (y + _F(0.11))
    cx = (x * r[0, 0] + r[2, 0]) * lift + _F(seed % 101)
    cz = (x * r[0, 2] + r[2, 2]) * lift + _F(seed % 67)
    foot = lift * lift * _F(1 / canvas.fy)
    body = noise(1.55).sample(cx, cz, foot, foot, 0.02) + _F(0.22) * noise(0.9).sample(cx, cz, foot, foot, 0.006)
    cloud = np.clip((body + _F(light.clouds * 2.6 - 1.25)) * _F(0.85), 0, 1) * np.clip(y * _F(14) + _F(0.25), 0, 1)
    shade = _F(0.97) - _F(0.16) * np.clip(body, -1, 1.5) * _F(light.clouds)
    color = color + cloud[:, None] * (light.cloud_rgb * shade[:, None] - color)
    sun = canvas.camera.rotation @ light.sun
    glare = np.clip((x * _F(sun[0]) + y * _F(sun[1]) + _F(sun[2])) * norm, 0, 1) ** 12
    canvas.rgb[index] = color + glare[:, None] * light.sun_rgb * _F(0.22)
