"""Trees and hedges: clumps of leaves with ragged edges. All of a tree is vegetation, its trunk too."""

from __future__ import annotations

import math

import numpy as np

from streetscenes.camera import Array
from streetscenes.materials import Color, bark, foliage
from streetscenes.raster import Canvas, Cut
from streetscenes.shapes import Pose, box, limb
from streetscenes.textures import noise

_F = np.float32
LEAVES: tuple[Color, ...] = ((62, 84, 40), (78, 98, 44), (50, 74, 44), (92, 104, 52), (112, 108, 50), (58, 70, 36))


def draw_hedge(canvas: Canvas, pose: Pose, length: float, height: float, obj: int, seed: int) -> None:
    """A clipped hedge with a ragged top."""
    leaf = foliage(LEAVES[seed % len(LEAVES)], seed % 73)

    def ragged(u: Array, v: Array, footprint: Array) -> Array:
        edge = noise(0.7).sample(u + seed % 91, v * 0, footprint, footprint, 0.05)
        return v < _F(height) - _F(0.1) + _F(0.06) * edge

    box(
        canvas,
        pose,
        (length, height, 0.9),
        obj,
        front=leaf,
        back=leaf,
        left=leaf,
        right=leaf,
        top=leaf,
        side_cut=ragged,
    )


def draw_tree(canvas: Canvas, pose: Pose, height: float, obj: int, seed: int) -> None:
    """A trunk, a few boughs and a crown of leafy clumps with ragged edges; all of it is vegetation."""
    rng = np.random.default_rng([seed, 33])
    wood = bark(seed % 67)
    girth = 0.035 * height * float(rng.uniform(0.6, 1.0))
    fork = height * float(rng.uniform(0.3, 0.42))
    spread = height * float(rng.uniform(0.2, 0.3))
    base = LEAVES[seed % len(LEAVES)]
    centre_y = height * 0.68
    count = int(rng.integers(15, 23))
    clumps: list[tuple[Array, float, int]] = []
    for i in range(count):
        angle, lift = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(-1, 1))
        out = math.sqrt(max(0.0, 1 - lift * lift)) * spread * float(rng.uniform(0.35, 1.0))
        radius = spread * float(rng.uniform(0.34, 0.56))
        local = (out * math.cos(angle), centre_y + lift * height * 0.25, out * math.sin(angle))
        clumps.append((pose.world(np.asarray(local)), radius, i))
    clumps.sort(key=lambda c: float(np.sum((c[0] - canvas.camera.centre) ** 2)))
    for spot, radius, i in clumps:
        dim = 0.72 + 0.4 * float((spot[1] - centre_y) / (0.3 * height) * 0.5 + 0.5)
        tint = (base[0] * dim, base[1] * dim, base[2] * dim)
        canvas.disc(spot, radius * 1.2, foliage(tint, seed % 61 + i * 13, 0.035), obj, _leafy(radius, seed + i * 131))
    limb(canvas, pose, (0.0, -0.1, 0.0), (0.0, fork, 0.0), girth, girth * 0.75, wood, obj)
    for i in range(4):
        angle = i * 1.7 + seed % 6
        tip = (spread * 0.6 * math.cos(angle), fork + height * 0.28, spread * 0.6 * math.sin(angle))
        limb(canvas, pose, (0.0, fork - 0.1, 0.0), tip, girth * 0.6, girth * 0.2, wood, obj)


def _leafy(radius: float, seed: int) -> Cut:
    """The outline of a clump: a ball whose edge dissolves into leaves."""
    shift = _F(seed % 397 * 0.71)

    def cut(u: Array, v: Array, footprint: Array) -> Array:
        coarse = noise(0.8).sample(u + shift, v - shift, footprint, footprint, radius * 0.05)
        fine = noise(0.35).sample(u - shift, v + shift, footprint, footprint, 0.035)
        ball = np.sqrt(u * u + v * v) / _F(radius)
        inside: Array = ball + _F(0.17) * coarse + _F(0.13) * fine < 0.98
        return inside

    return cut
