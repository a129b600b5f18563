"""A planar face in the world, and its part before the camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from streetscenes.camera import Array

NEAR_M = 0.35


@dataclass(frozen=True)
class Plane:
    """A convex planar face in the world: corners (N, 3) in metres, and coordinates on it.

    They are the distances from ``origin`` along the unit vectors ``u_axis``, ``v_axis`` (to the right and up for one
    who looks at the outer side).
    """

    corners: Array
    origin: Array
    u_axis: Array
    v_axis: Array

    @cached_property
    def outward(self) -> Array:
        """The normal (3,). By hand: numpy's vector product is slow for single vectors."""
        a, b = self.v_axis, self.u_axis
        return np.array([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def clip(points: Array) -> Array:
    """The part of a convex polygon (N, 3) in front of the camera."""
    z = points[:, 2]
    if z.min() >= NEAR_M:
        return points
    kept: list[Array] = []
    for i in range(len(points)):
        p, q = points[i - 1], points[i]
        if (p[2] >= NEAR_M) != (q[2] >= NEAR_M):
            kept.append(p + (q - p) * ((NEAR_M - p[2]) / (q[2] - p[2])))
        if q[2] >= NEAR_M:
            kept.append(q)
    return np.array(kept).reshape(-1, 3)
