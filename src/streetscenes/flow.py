"""Where each pixel goes from one picture of a drive to the next: the camera moves, things move, distance counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streetscenes.camera import Array, Camera
from streetscenes.raster import Canvas
from streetscenes.world import World

# How far 1/distance may be off, relatively and in 1/m, for a point to be the one that is seen.
_RELATIVE, _ABSOLUTE = 0.02, 3e-4


@dataclass(frozen=True)
class View:
    """What is seen where at one time, at the pixels' centres.

    ``inv_z`` (H, W) 1/m; ``objects`` (H, W) object numbers; ``limb_at`` (H, W) and ``limbs`` as on the canvas;
    ``still`` (H, W) bool: moves with the camera (the own hood); ``outside`` (H, W) bool: has no scene's label;
    ``poses`` (K, 3): x, z, heading of each object.
    """

    camera: Camera
    inv_z: Array
    objects: Array
    limb_at: Array
    limbs: list[tuple[int, Array]]
    still: Array
    outside: Array
    poses: Array

    @classmethod
    def of(cls, canvas: Canvas, world: World, time_s: float, still: Array, outside: Array) -> View:
        """The view that a drawn canvas holds."""
        poses = np.zeros((len(world.objects), 3))
        for thing in world.things:
            pose = world.pose(thing.at(time_s))
            poses[list(thing.objects)] = pose.x, pose.z, pose.heading
        at = canvas.at_pixels
        return cls(
            canvas.camera,
            at(canvas.inv_z).copy(),
            at(canvas.obj).copy(),
            at(canvas.limb_at).copy(),
            canvas.limbs,
            still,
            outside,
            poses,
        )


def between(before: View, after: View) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Forward flow (H, W, 2) float32, x to the right and y down, in pixels, and where its target is seen (H, W) bool.

    A pixel (x, y) of ``before`` is at (x, y) + flow in ``after``. Its target is seen if it lies inside the picture and
    the surface there is as far away as the point must be; at outlines, where neighbours differ, it counts as hidden.
    """
    camera = before.camera
    height, width = before.inv_z.shape
    x, y = np.arange(width, dtype=np.float64)[None, :], np.arange(height, dtype=np.float64)[:, None]
    ray = np.empty((height, width, 3))
    ray[..., 0], ray[..., 1], ray[..., 2] = (x - camera.u0) / camera.fx, (camera.v0 - y) / camera.fy, 1.0
    ray = ray @ camera.rotation
    inv = before.inv_z.astype(np.float64)
    # Everything over distance, so that the sky, at infinity, is like the rest.
    step = camera.centre - after.camera.centre
    point = ray.copy()
    for axis in range(3):
        point[..., axis] += inv * step[axis]
    moves = np.flatnonzero((before.poses != after.poses).any(axis=1).take(before.objects) & (inv > 0))
    here = inv.take(moves)[:, None]
    start = camera.centre + ray.reshape(-1, 3)[moves] / here
    moved = _moved(start, before.objects.take(moves), before.limb_at.take(moves), before, after)
    point.reshape(-1, 3)[moves] += (moved - start) * here
    point = point @ after.camera.rotation.T
    ahead = point[..., 2] > 1e-6
    scale = 1 / np.where(ahead, point[..., 2], 1.0)
    to_x = after.camera.u0 + after.camera.fx * point[..., 0] * scale
    to_y = after.camera.v0 - after.camera.fy * point[..., 1] * scale
    flow = np.empty((height, width, 2), np.float32)
    flow[..., 0], flow[..., 1] = to_x - x, to_y - y
    flow[before.still] = 0
    inside = ahead & (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    seen = np.zeros((height, width), bool)
    seen[inside] = _seen(to_x[inside], to_y[inside], (inv * scale)[inside], after)
    return flow, (seen | before.still) & ~before.outside


def _moved(points: Array, objects: Array, limb_at: Array, before: View, after: View) -> Array:
    """Where world points (N, 3) of the given objects and limbs are afterwards."""
    out = _carried(points, before.poses[objects], after.poses[objects])
    pairs = _limb_pairs(before, after)
    here = np.flatnonzero(limb_at > 0)
    here = here[pairs[limb_at[here] - 1, 0, 0, 0] < np.inf]
    a, b = pairs[limb_at[here] - 1, 0, 0], pairs[limb_at[here] - 1, 0, 1]
    turned = (after.poses - before.poses)[objects[here], 2]
    along = b - a
    share = np.sum((points[here] - a) * along, 1, keepdims=True) / np.sum(along * along, 1, keepdims=True)
    off = _turn(points[here] - a - share * along, turned)
    a, b = pairs[limb_at[here] - 1, 1, 0], pairs[limb_at[here] - 1, 1, 1]
    along = b - a
    # What lay across the limb lies across it still.
    off -= along * (np.sum(off * along, 1, keepdims=True) / np.sum(along * along, 1, keepdims=True))
    out[here] = a + share * along + off
    return out


def _limb_pairs(before: View, after: View) -> Array:
    """Ends (L, 2, 2, 3) of each limb before and after; inf where it is not drawn afterwards.

    The k-th limb of an object is the same one in both.
    """
    found: dict[int, list[Array]] = {}
    for obj, ends in after.limbs:
        found.setdefault(obj, []).append(ends)
    taken: dict[int, int] = {}
    out = np.full((len(before.limbs), 2, 2, 3), np.inf)
    for i, (obj, ends) in enumerate(before.limbs):
        k = taken.get(obj, 0)
        taken[obj] = k + 1
        if k < len(found.get(obj, [])):
            out[i] = ends, found[obj][k]
    return out


def _carried(points: Array, one: Array, two: Array) -> Array:
    """Points (N, 3) that go with poses (N, 3) = x, z, heading from ``one`` to ``two``."""
    from_, to = np.zeros_like(points), np.zeros_like(points)
    from_[:, [0, 2]], to[:, [0, 2]] = one[:, :2], two[:, :2]
    return to + _turn(points - from_, two[:, 2] - one[:, 2])


def _turn(vectors: Array, angle: Array) -> Array:
    """Vectors (N, 3) turned to the right about the vertical by angles (N,)."""
    c, s = np.cos(angle), np.sin(angle)
    x, y, z = vectors.T
    return np.stack([x * c + z * s, y, z * c - x * s], 1)


def _seen(x: Array, y: Array, inv: Array, after: View) -> Array:
    """Whether points (N,) at x, y of ``after``, ``inv`` = 1/distance there, are what is seen there."""
    # Flat arrays and `take`: two indices in [] cost most of the time here.
    height, width = after.inv_z.shape
    x0, y0 = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    tx, ty = x - x0, y - y0
    grid, at = after.inv_z.ravel(), y0 * width + x0
    # 1/distance is linear over a plane's picture.
    top = grid.take(at) * (1 - tx) + grid.take(at + 1) * tx
    low = grid.take(at + width) * (1 - tx) + grid.take(at + width + 1) * tx
    there = top * (1 - ty) + low * ty
    out: Array = np.abs(there - inv) <= _RELATIVE * inv + _ABSOLUTE
    out &= ~after.outside.take(np.rint(y).astype(int) * width + np.rint(x).astype(int))
    return out
