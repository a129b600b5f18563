"""Boxes, plates and limbs placed in the world: the vocabulary from which things are built.

A ``Pose`` turns local coordinates (x right, y up, z forward of the thing, metres) into world ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np

from streetscenes.camera import Array
from streetscenes.plane import Plane
from streetscenes.raster import Canvas, Cut, Shade

Point = tuple[float, float, float]
# Most things stand still through a drive: what of them lies where in the world is reckoned once, not for each frame.
_once = lru_cache(maxsize=1 << 13)


@dataclass(frozen=True)
class Pose:
    """Where a thing stands (on the ground, metres) and where it faces (radians to the right of +Z)."""

    x: float
    z: float
    heading: float = 0.0
    y: float = 0.0

    @cached_property
    def axes(self) -> Array:
        """(3, 3): rows are the thing's right, up and forward in the world."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])

    @cached_property
    def place(self) -> Array:
        """(3,): where the thing stands in the world."""
        return np.array([self.x, self.y, self.z])

    def world(self, points: Array | Point) -> Array:
        """Local (N, 3) or (3,) -> world, metres."""
        out: Array = np.asarray(points, np.float64) @ self.axes + self.place
        return out


@_once
def corners(pose: Pose, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Array:
    """Corners (8, 3) in the world of the box between two local x, y and z."""
    return pose.world(np.array([(i, j, k) for i in x for j in y for k in z]))


@_once
def _plane(pose: Pose, points: tuple[Point, ...], origin: Point | None, u: Point | None, v: Point | None) -> Plane:
    """The face of ``plate`` in the world."""
    local = np.asarray(points, np.float64)
    axis_u = np.asarray(u, np.float64) if u is not None else local[1] - local[0]
    axis_u = axis_u / np.linalg.norm(axis_u)
    axis_v = np.asarray(v, np.float64) if v is not None else local[-1] - local[0]
    axis_v = axis_v - axis_u * float(axis_u @ axis_v)
    axis_v = axis_v / np.linalg.norm(axis_v)
    start = pose.world(local[0] if origin is None else origin)
    return Plane(pose.world(local), start, axis_u @ pose.axes, axis_v @ pose.axes)


@_once
def _ends(pose: Pose, a: Point, b: Point) -> Array:
    """Two local points in the world, (2, 3)."""
    return np.stack([pose.world(a), pose.world(b)])


def plate(
    canvas: Canvas,
    pose: Pose,
    points: list[Point],
    shade: Shade,
    obj: int,
    *,
    origin: Point | None = None,
    u: Point | None = None,
    v: Point | None = None,
    cut: Cut | None = None,
    two_sided: bool = False,
    veil: bool = False,
) -> None:
    """A planar convex polygon in local coordinates; by default u runs along its first edge, v towards the last point.

    Seen from outside, u points to the right and v up.
    """
    canvas.face(_plane(pose, tuple(points), origin, u, v), shade, obj, cut, two_sided, veil)


def box(
    canvas: Canvas,
    pose: Pose,
    size: Point,
    obj: int,
    *,
    front: Shade,
    back: Shade,
    left: Shade,
    right: Shade,
    top: Shade,
    bottom: float = 0.0,
    side_cut: Cut | None = None,
    offset: Point = (0.0, 0.0, 0.0),
    under: Shade | None = None,
    clear: float = 0.0,
) -> None:
    """A box ``size`` = (width, height, length) whose floor is ``bottom`` above ground, centred on the pose.

    Each side has u from its own left edge and v from ``bottom``, in metres, as seen from outside. The ends begin
    ``clear`` metres higher (and count v from there): below them one sees the wheels.
    """
    w, h, d = size[0] / 2, size[1], size[2] / 2
    ox, oy, oz = offset
    y0, y1 = bottom + oy, bottom + oy + h
    x0, x1, z0, z1 = ox - w, ox + w, oz - d, oz + d
    ye = y0 + clear
    if canvas.hides(corners(pose, (x0, x1), (y0, y1), (z0, z1))):
        return
    # Only sides that look at the camera are worth preparing.
    eye = pose.axes @ (canvas.camera.centre - pose.place)
    if eye[2] < z0:
        plate(canvas, pose, [(x0, ye, z0), (x1, ye, z0), (x1, y1, z0), (x0, y1, z0)], back, obj)
    if eye[2] > z1:
        plate(canvas, pose, [(x1, ye, z1), (x0, ye, z1), (x0, y1, z1), (x1, y1, z1)], front, obj)
    if eye[0] < x0:
        plate(canvas, pose, [(x0, y0, z1), (x0, y0, z0), (x0, y1, z0), (x0, y1, z1)], left, obj, cut=side_cut)
    if eye[0] > x1:
        plate(canvas, pose, [(x1, y0, z0), (x1, y0, z1), (x1, y1, z1), (x1, y1, z0)], right, obj, cut=side_cut)
    if eye[1] > y1:
        plate(canvas, pose, [(x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1)], top, obj)
    if under is not None and eye[1] < y0:
        plate(canvas, pose, [(x0, y0, z1), (x1, y0, z1), (x1, y0, z0), (x0, y0, z0)], under, obj)


def limb(canvas: Canvas, pose: Pose, a: Point, b: Point, ra: float, rb: float, shade: Shade, obj: int) -> None:
    """A round limb between two local points."""
    canvas.limb(_ends(pose, a, b), ra, rb, shade, obj)


def ring(canvas: Canvas, pose: Pose, centre: Point, radius: float, thick: float, shade: Shade, obj: int) -> None:
    """A wheel's tyre in the local y-z plane, as a chain of limbs."""
    angles = np.linspace(0, 2 * math.pi, 13)
    x, y, z = centre
    for one, two in pairwise(angles):
        limb(
            canvas,
            pose,
            (x, y + radius * math.sin(one), z + radius * math.cos(one)),
            (x, y + radius * math.sin(two), z + radius * math.cos(two)),
            thick,
            thick,
            shade,
            obj,
        )
