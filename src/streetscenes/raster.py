"""The z-buffer: fills planar faces and round limbs, in perspective, sample by sample.

A canvas holds a grid of samples. With ``supersample=2`` it has 2W+1 x 2H+1 of them, half a pixel apart, so that every
pixel has one at its very centre (labels and distances are read there, exactly) and eight around it (averaged into
its colour). Faces should come near to far: what is hidden is then never shaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from streetscenes.camera import Array, Camera
from streetscenes.light import Light
from streetscenes.plane import NEAR_M, Plane, clip

# Samples worked on at once: so many stay in the processor's cache, which nearly halves the time of the ground.
CHUNK = 1 << 15


@dataclass
class Frag:
    """Visible samples of one surface: coordinates on it and size of a sample there in metres, distance, light.

    All (N,), ``fu`` and ``fv`` (1,) where they are the same for all; ``light`` is irradiance, (3,) or (N, 3) float32,
    linear RGB.
    """

    u: Array
    v: Array
    fu: Array
    fv: Array
    z: Array
    light: Array

    def only(self, kept: Array) -> Frag:
        """Some of the samples of a plane face, by their numbers."""
        return Frag(self.u[kept], self.v[kept], self.fu[kept], self.fv[kept], self.z[kept], self.light)


@dataclass(frozen=True)
class _Surface:
    """A plane face in camera axes: where u and v are 0, their directions, 1/z over the samples, its light."""

    origin: Array
    u_axis: Array
    v_axis: Array
    inverse: tuple[float, float, float]
    light: Array


Shade = Callable[[Frag], Array]
Cut = Callable[[Array, Array, Array], Array]


class Canvas:
    """Samples of the picture: ``inv_z`` (1/m, 0 where empty), ``obj`` (object number), ``rgb`` (linear radiance).

    ``limb_at`` is 1 + the number of the limb in ``limbs``, 0 where the sample is of none; a limb is (object, its ends
    (2, 3) in the world). By them a walker's legs can be followed from one picture to the next.
    """

    def __init__(self, camera: Camera, light: Light, supersample: int = 2, labels_only: bool = False) -> None:
        self.camera = camera
        self.light = light
        self.step = supersample
        self.labels_only = labels_only
        self.width = supersample * camera.width + supersample - 1
        self.height = supersample * camera.height + supersample - 1
        self.fx, self.fy = camera.fx * supersample, camera.fy * supersample
        self.u0 = camera.u0 * supersample + supersample - 1
        self.v0 = camera.v0 * supersample + supersample - 1
        self.inv_z = np.zeros(self.width * self.height, np.float32)
        self._grid = self.inv_z.reshape(self.height, self.width)
        self.obj = np.zeros(self.width * self.height, np.int32)
        self.limb_at = np.zeros(self.width * self.height, np.int32)
        self.limbs: list[tuple[int, Array]] = []
        self.rgb = np.zeros((0 if labels_only else self.width * self.height, 3), np.float32)
        self._rotation = camera.rotation
        self._centre = camera.centre

    def at_pixels(self, samples: Array) -> Array:
        """Values (H, W) at the pixels' centres of an array over the samples."""
        return samples.reshape(self.height, self.width)[self.step - 1 :: self.step, self.step - 1 :: self.step]

    def hides(self, corners: Array) -> bool:
        """Whether nothing within the convex hull of world points (N, 3) can be seen any more."""
        points = (corners - self._centre) @ self._rotation.T
        z = points[:, 2]
        nearest = float(z.min())
        if nearest < NEAR_M:
            return bool(z.max() < NEAR_M)
        px, py = self.u0 + self.fx * points[:, 0] / z, self.v0 - self.fy * points[:, 1] / z
        return self._covered(float(px.min()), float(px.max()), float(py.min()), float(py.max()), 1 / nearest)

    def _covered(self, left: float, right: float, top: float, bottom: float, inv: float) -> bool:
        """Whether a rectangle of samples lies outside, or behind what is drawn if its 1/z is at most ``inv``."""
        x_lo, x_hi = max(0, int(left) - 1), min(self.width, int(right) + 3)
        y_lo, y_hi = max(0, int(top) - 1), min(self.height, int(bottom) + 3)
        if x_lo >= x_hi or y_lo >= y_hi:
            return True
        drawn = self._grid[y_lo:y_hi, x_lo:x_hi]
        # Most of what can be seen is seen at one of two spots already.
        least = inv * 1.001
        return bool(drawn[0, 0] > least and drawn[-1, -1] > least and drawn.min() > least)

    def face(
        self,
        plane: Plane,
        shade: Shade,
        obj: int,
        cut: Cut | None = None,
        two_sided: bool = False,
        veil: bool = False,
    ) -> None:
        """Fill a face. ``cut(u, v, footprint)`` says which samples exist.

        A ``veil`` is blended over what is there: its shade returns RGBA.
        """
        outward = plane.outward
        towards = float(np.dot(outward, self._centre - plane.corners[0]))
        if towards <= 1e-6:
            if not two_sided or towards > -1e-6:
                return
            outward = -outward
        points = clip((plane.corners - self._centre) @ self._rotation.T)
        if len(points) < 3:
            return
        px = self.u0 + self.fx * points[:, 0] / points[:, 2]
        py = self.v0 - self.fy * points[:, 1] / points[:, 2]
        bounds = float(px.min()), float(px.max()), float(py.min()), float(py.max())
        if self._covered(*bounds, 1 / float(points[:, 2].min())):
            return
        # The plane n.P = k gives 1/z = n.ray / k, affine in the picture; so are u/z and v/z.
        normal = self._rotation @ outward
        k = float(normal @ (self._rotation @ (plane.corners[0] - self._centre)))
        if abs(k) < 1e-6:
            return
        surface = _Surface(
            self._rotation @ (plane.origin - self._centre),
            self._rotation @ plane.u_axis,
            self._rotation @ plane.v_axis,
            self._affine(normal / k),
            self.light.on(outward),
        )
        for column, row in self._spans(px, py):
            frag, index, inv = self._uncovered(column, row, surface)
            if cut is not None and index.size:
                kept = np.flatnonzero(cut(frag.u, frag.v, np.maximum(frag.fu, frag.fv)))
                frag, index, inv = frag.only(kept), index[kept], inv[kept]
            if index.size == 0:
                continue
            self._put(index, inv, obj)
            if self.labels_only:
                continue
            color = shade(frag)
            if veil:
                alpha = color[:, 3:]
                self.rgb[index] += alpha * (color[:, :3] - self.rgb[index])
            else:
                self.rgb[index] = color

    def _uncovered(self, column: Array, row: Array, surface: _Surface) -> tuple[Frag, Array, Array]:
        """Those of the samples (N,) of a face at which nothing nearer is; their indices and 1/z."""
        dx, dy, d0 = surface.inverse
        inv = np.float32(dx) * column + (np.float32(dy) * row + np.float32(d0))
        index: Array = row * np.int32(self.width) + column
        seen = np.flatnonzero(inv > self.inv_z.take(index))
        index, inv = index[seen], inv[seen]
        x, y, z = column[seen].astype(np.float32), row[seen].astype(np.float32), 1 / inv
        u, fu = self._coordinate(surface.u_axis, surface.origin, x, y, z, dx, dy)
        v, fv = self._coordinate(surface.v_axis, surface.origin, x, y, z, dx, dy)
        return Frag(u, v, fu, fv, z, surface.light), index, inv

    def _put(self, index: Array, inv: Array | np.floating[Any], obj: int, limb: int = 0) -> None:
        self.inv_z[index] = inv
        self.obj[index] = obj
        self.limb_at[index] = limb

    def _affine(self, vector: Array) -> tuple[float, float, float]:
        """Coefficients (x, y, 1) of vector.ray over the samples."""
        ax, ay = vector[0] / self.fx, -vector[1] / self.fy
        return float(ax), float(ay), float(vector[2] - ax * self.u0 - ay * self.v0)

    def _coordinate(
        self, axis: Array, origin: Array, x: Array, y: Array, z: Array, dx: float, dy: float
    ) -> tuple[Array, Array]:
        ax, ay, a0 = self._affine(axis)
        along = (np.float32(ax) * x + (np.float32(ay) * y + np.float32(a0))) * z
        footprint = z * (np.abs(ax - along * dx) + np.abs(ay - along * dy))
        return along - np.float32(axis @ origin), footprint

    def _spans(self, px: Array, py: Array) -> Iterator[tuple[Array, Array]]:
        """Integer samples (x, y), each (N,) int32, inside the convex polygon of corners (M,) at px, py.

        They come in bands of about CHUNK.
        """
        y_lo, y_hi = max(0, math.ceil(py.min())), min(self.height - 1, math.floor(py.max()))
        if y_hi < y_lo or px.max() < 0 or px.min() > self.width - 1:
            return
        rows = np.arange(y_lo, y_hi + 1, dtype=np.float64)
        left = np.full(rows.size, np.inf)
        right = np.full(rows.size, -np.inf)
        for i in range(len(px)):
            x0, y0, x1, y1 = px[i - 1], py[i - 1], px[i], py[i]
            lo, hi = (y0, y1) if y0 < y1 else (y1, y0)
            first, last = max(y_lo, math.ceil(lo)), min(y_hi, math.floor(hi))
            if last < first or hi == lo:
                continue
            part = slice(first - y_lo, last - y_lo + 1)
            at = x0 + (rows[part] - y0) * ((x1 - x0) / (y1 - y0))
            np.minimum(left[part], at, out=left[part])
            np.maximum(right[part], at, out=right[part])
        begin = np.ceil(np.clip(left, 0, self.width)).astype(np.int32)
        end = np.floor(np.clip(right, -1, self.width - 1)).astype(np.int32)
        count = np.maximum(end - begin + 1, 0)
        stop = np.cumsum(count)
        total = int(stop[-1])
        rows_at = np.searchsorted(stop, np.arange(CHUNK, total, CHUNK))
        for lo, hi in pairwise([0, *rows_at.tolist(), rows.size]):
            part = count[lo:hi]
            ends = np.cumsum(part)
            if part.size == 0 or ends[-1] == 0:
                continue
            x = np.arange(ends[-1], dtype=np.int32) + np.repeat((begin[lo:hi] - (ends - part)).astype(np.int32), part)
            yield x, np.repeat(np.arange(y_lo + lo, y_lo + hi, dtype=np.int32), part)

    def limb(self, ends: Array, radius_a: float, radius_b: float, shade: Shade, obj: int) -> None:
        """Fill a round limb between two world points (2, 3), radii in metres.

        Surface coordinates: u along the limb in metres, v across it in [-1, 1] times the radius.
        """
        self.limbs.append((obj, ends))
        a, b = ends
        ends = (ends - self._centre) @ self._rotation.T
        if ends[0, 2] < NEAR_M or ends[1, 2] < NEAR_M:
            return
        za, zb = float(ends[0, 2]), float(ends[1, 2])
        xa, ya = self.u0 + self.fx * ends[0, 0] / za, self.v0 - self.fy * ends[0, 1] / za
        xb, yb = self.u0 + self.fx * ends[1, 0] / zb, self.v0 - self.fy * ends[1, 1] / zb
        # Nothing thinner than a sample may vanish: a far pole still shows, as thin as can be.
        ra, rb = max(self.fx * radius_a / za, 0.5), max(self.fx * radius_b / zb, 0.5)
        x_lo, x_hi = (max(0, math.ceil(min(xa - ra, xb - rb))), min(self.width - 1, math.floor(max(xa + ra, xb + rb))))
        y_lo, y_hi = (max(0, math.ceil(min(ya - ra, yb - rb))), min(self.height - 1, math.floor(max(ya + ra, yb + rb))))
        if x_hi < x_lo or y_hi < y_lo:
            return
        nearest = min(za, zb) - max(radius_a, radius_b)
        if nearest > NEAR_M and self._covered(x_lo, x_hi, y_lo, y_hi, 1 / nearest):
            return
        gx = np.arange(x_lo, x_hi + 1, dtype=np.float32)[None, :] - np.float32(xa)
        gy = np.arange(y_lo, y_hi + 1, dtype=np.float32)[:, None] - np.float32(ya)
        ex, ey = xb - xa, yb - ya
        square = ex * ex + ey * ey + 1e-9
        t = np.minimum(np.maximum(gx * np.float32(ex / square) + gy * np.float32(ey / square), 0), 1)
        ox, oy = gx - t * np.float32(ex), gy - t * np.float32(ey)
        r = np.float32(ra) + t * np.float32(rb - ra)
        off = ox * ox + oy * oy
        r2 = r * r
        here = np.flatnonzero(off <= r2)
        t, ox, oy, r = t.take(here), ox.take(here), oy.take(here), r.take(here)
        off, r2 = off.take(here), r2.take(here)
        # The surface bulges towards the camera: what lies nearer within one body then hides the rest of it.
        bulge = np.sqrt(np.maximum(1 - off / r2, 0)) * (np.float32(radius_a) + t * np.float32(radius_b - radius_a))
        inv = np.float32(1 / za) + t * np.float32(1 / zb - 1 / za)
        inv = inv / np.maximum(1 - bulge * inv, np.float32(0.05))
        index = self._at(here, x_lo, y_lo, gx.size)
        seen = np.flatnonzero(inv > self.inv_z.take(index))
        if seen.size == 0:
            return
        index, inv = index[seen], inv[seen]
        self._put(index, inv, obj, len(self.limbs))
        if self.labels_only:
            return
        t, r = t[seen], r[seen]
        nx, ny = ox[seen] / r, -oy[seen] / r
        z = 1 / inv
        length = float(np.linalg.norm(b - a))
        foot = z * np.float32(1 / self.fx)
        side = nx if abs(ey) > abs(ex) else ny
        width = np.float32(max(radius_a, radius_b))
        self.rgb[index] = shade(Frag(t * np.float32(length), side * width, foot, foot, z, self._round(nx, ny)))

    def disc(self, centre: Array, radius: float, shade: Shade, obj: int, cut: Cut) -> None:
        """Fill a ball's outline that faces the camera; coordinates u, v in metres from its centre, light of a ball."""
        c = self._rotation @ (centre - self._centre)
        if c[2] < NEAR_M + radius * 0.3:
            return
        z = float(c[2])
        x, y = self.u0 + self.fx * c[0] / z, self.v0 - self.fy * c[1] / z
        r = self.fx * radius / z
        x_lo, x_hi = max(0, math.ceil(x - r)), min(self.width - 1, math.floor(x + r))
        y_lo, y_hi = max(0, math.ceil(y - r)), min(self.height - 1, math.floor(y + r))
        if x_hi < x_lo or y_hi < y_lo:
            return
        inv = np.float32(1 / z)
        if self._covered(x - r, x + r, y - r, y + r, 1 / z):
            return
        u = (np.arange(x_lo, x_hi + 1, dtype=np.float32)[None, :] - np.float32(x)) * np.float32(z / self.fx)
        v = (np.float32(y) - np.arange(y_lo, y_hi + 1, dtype=np.float32)[:, None]) * np.float32(z / self.fy)
        free = inv > self._grid[y_lo : y_hi + 1, x_lo : x_hi + 1]
        here = np.flatnonzero((u * u + v * v <= np.float32(radius * radius)) & free)
        if here.size == 0:
            return
        index = self._at(here, x_lo, y_lo, u.size)
        row = here // u.size
        u, v = u.take(here - row * u.size), v.take(row)
        foot = np.full(1, z / self.fx, np.float32)
        kept = np.flatnonzero(cut(u, v, foot))
        if kept.size == 0:
            return
        u, v, index = u[kept], v[kept], index[kept]
        self._put(index, inv, obj)
        if self.labels_only:
            return
        distance = np.full(u.shape, z, np.float32)
        light = self._round(u / np.float32(radius), v / np.float32(radius))
        self.rgb[index] = shade(Frag(u, v, foot, foot, distance, light))

    def _at(self, numbers: Array, x_lo: int, y_lo: int, width: int) -> Array:
        """The samples (N,) of those of a window ``width`` wide, whose first is (x_lo, y_lo), by their numbers in it."""
        out: Array = numbers + (y_lo * self.width + x_lo) + numbers // width * (self.width - width)
        return out

    def _round(self, nx: Array, ny: Array) -> Array:
        """Irradiance (N, 3) on a round surface whose normals are (nx, ny) to the right and up."""
        normals = np.empty((nx.size, 3), np.float32)
        normals[:, 0], normals[:, 1] = nx, ny
        normals[:, 2] = -np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
        return self.light.on_many(normals @ self._rotation.astype(np.float32))
