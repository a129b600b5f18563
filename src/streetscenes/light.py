"""Sun, sky and haze of one scene: all in linear RGB, exposure included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from streetscenes.camera import Array


@lru_cache(maxsize=1 << 12)
def linear(color: tuple[float, float, float]) -> Array:
    """Display RGB in 0..255 -> linear reflectance (3,) float32 in 0..1. Not to be written to: all share it."""
    return (np.asarray(color, np.float32) / np.float32(255)) ** np.float32(2.2)


@dataclass(frozen=True)
class Light:
    """``sun`` points to the sun; colours are irradiances (3,) float32; ``haze_m`` is the distance of 1/e."""

    sun: Array
    sun_rgb: Array
    sky_rgb: Array
    bounce_rgb: Array
    zenith_rgb: Array
    horizon_rgb: Array
    haze_rgb: Array
    haze_m: float
    clouds: float
    cloud_rgb: Array

    def on(self, normal: Array) -> Array:
        """Irradiance (3,) on a surface with the outward ``normal`` (3,)."""
        up = 0.5 + 0.5 * float(normal[1])
        direct = max(0.0, float(normal @ self.sun))
        out: Array = self.sky_rgb * up + self.bounce_rgb * (1 - up) + self.sun_rgb * direct
        return out.astype(np.float32)

    def on_many(self, normals: Array) -> Array:
        """Irradiance (N, 3) on surfaces with ``normals`` (N, 3)."""
        up = np.float32(0.5) + np.float32(0.5) * normals[:, 1]
        direct = np.maximum(normals @ self.sun.astype(np.float32), 0)
        out = np.empty(normals.shape, np.float32)
        for c in range(3):
            out[:, c] = self.bounce_rgb[c] + up * (self.sky_rgb[c] - self.bounce_rgb[c]) + direct * self.sun_rgb[c]
        return out


def draw_light(rng: np.random.Generator) -> Light:
    """A kind of day: clear, hazy, overcast or late, with the sun at some height and side."""
    kind = rng.choice(["clear", "clear", "broken", "overcast", "overcast", "late"])
    height = math.radians(float(rng.uniform(28, 58)) if kind != "late" else float(rng.uniform(12, 22)))
    azimuth = float(rng.uniform(0, 2 * math.pi))
    sun = np.array([math.sin(azimuth) * math.cos(height), math.sin(height), math.cos(azimuth) * math.cos(height)])
    strength = {"clear": 1.75, "broken": 1.1, "overcast": 0.12, "late": 1.5}[str(kind)] * float(rng.uniform(0.85, 1.1))
    warm = {"late": (1.25, 0.95, 0.62)}.get(str(kind), (1.06, 1.0, 0.9))
    ambient = {"clear": 0.75, "broken": 0.95, "overcast": 1.35, "late": 0.6}[str(kind)] * float(rng.uniform(0.85, 1.1))
    tint = {"clear": (0.88, 0.98, 1.14), "late": (0.97, 0.97, 1.06)}.get(str(kind), (0.97, 1.0, 1.02))
    zenith, horizon, clouds = {
        "clear": ((88, 138, 205), (196, 216, 232), 0.25),
        "broken": ((120, 155, 205), (212, 222, 230), 0.62),
        "overcast": ((196, 202, 208), (232, 234, 235), 1.0),
        "late": ((130, 150, 190), (248, 214, 176), 0.45),
    }[str(kind)]
    clouds = float(np.clip(clouds + rng.uniform(-0.15, 0.15), 0, 1))
    horizon_rgb = linear(horizon) * np.float32(1.15)
    return Light(
        sun=sun,
        sun_rgb=np.array(warm, np.float32) * np.float32(strength),
        sky_rgb=np.array(tint, np.float32) * np.float32(ambient),
        bounce_rgb=np.array((1.04, 1.0, 0.94), np.float32) * np.float32(0.34 * ambient + 0.1 * strength),
        zenith_rgb=linear(zenith) * np.float32(1.1),
        horizon_rgb=horizon_rgb,
        haze_rgb=horizon_rgb * np.float32(0.8),
        haze_m=float(rng.uniform(350, 900)) if kind in ("clear", "late") else float(rng.uniform(180, 450)),
        clouds=clouds,
        cloud_rgb=linear((246, 244, 240) if kind != "late" else (255, 226, 196)) * np.float32(1.15),
    )
