"""The camera of Cityscapes: pinhole, scaled to the image, driving over a flat ground.

World axes: X to the right, Y up from the ground, Z forward along the street, all in metres. Pixel centres have whole
coordinates, x to the right, y down. The camera looks along +Z, turned by ``yaw`` about Y; pitch and roll are 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Intrinsics for an image of 2048x1024, as in the dataset's camera files.
FX, FY, U0, V0 = 2262.52, 2265.30, 1096.98, 513.137
FULL_WIDTH, FULL_HEIGHT = 2048, 1024
BASELINE_M = 0.209313
CAMERA_HEIGHT_M = 1.22


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. Focal lengths and principal point in pixels, position in metres, yaw in radians."""

    width: int
    height: int
    fx: float
    fy: float
    u0: float
    v0: float
    x_m: float
    z_m: float
    yaw: float

    @classmethod
    def scaled(cls, width: int, height: int, x_m: float = 0.0, z_m: float = 0.0, yaw: float = 0.0) -> Camera:
        """The Cityscapes camera for an image of ``width`` x ``height``.

        Focal lengths go with the width (pixels stay square), the principal point with its own axis.
        """
        scale = width / FULL_WIDTH
        return cls(width, height, FX * scale, FY * scale, U0 * scale, V0 * height / FULL_HEIGHT, x_m, z_m, yaw)

    @property
    def rotation(self) -> Array:
        """(3, 3) float64: rows are the camera's right, up and forward axes in world coordinates."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])

    @property
    def centre(self) -> Array:
        """(3,) float64: the camera's place in the world, metres."""
        return np.array([self.x_m, CAMERA_HEIGHT_M, self.z_m])

    def to_camera(self, points: Array) -> Array:
        """World points (N, 3) -> right, up, forward of the camera (N, 3), metres."""
        out: Array = (np.asarray(points, np.float64) - self.centre) @ self.rotation.T
        return out

    def json(self) -> dict[str, dict[str, float]]:
        """The content of ``*_camera.json``, intrinsics for this image's size."""
        return {
            "extrinsic": {
                "baseline": BASELINE_M,
                "pitch": 0.0,
                "roll": 0.0,
                "x": 1.7,
                "y": 0.0,
                "yaw": 0.0,
                "z": CAMERA_HEIGHT_M,
            },
            "intrinsic": {"fx": self.fx, "fy": self.fy, "u0": self.u0, "v0": self.v0},
        }
