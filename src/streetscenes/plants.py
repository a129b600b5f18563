"""Trees and hedges: clumps of leaves with ragged edges. All of a tree is vegetation, its trunk too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from streetscenes.camera import Array
from streetscenes.materials import Color, bark, foliage
from streetscenes.raster import Canvas, Cut, Shade
from streetscenes.shapes import Point, Pose, box, limb
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
    crown, boughs = _tree(pose, height, seed)
    for clump in sorted(crown, key=lambda c: float(np.sum((c.centre - canvas.camera.centre) ** 2))):
        canvas.disc(clump.centre, clump.radius, clump.leaf, obj, clump.outline)
    wood = bark(seed % 67)
    for a, b, thick, thin in boughs:
        limb(canvas, pose, a, b, thick, thin, wood, obj)


@dataclass(frozen=True)
class _Clump:
    """A ball of leaves: ``centre`` (3,) in the world, metres."""

    centre: Array
    radius: float
    leaf: Shade
    outline: Cut


@lru_cache(maxsize=512)
def _tree(pose: Pose, height: float, seed: int) -> tuple[list[_Clump], list[tuple[Point, Point, float, float]]]:
    """The crown, and the trunk and boughs: both ends and radii. A tree is the same through a drive."""
    rng = np.random.default_rng([seed, 33])
    girth = 0.035 * height * float(rng.uniform(0.6, 1.0))
    fork = height * float(rng.uniform(0.3, 0.42))
    spread = height * float(rng.uniform(0.2, 0.3))
    base = LEAVES[seed % len(LEAVES)]
    centre_y = height * 0.68
    crown: list[_Clump] = []
    for i in range(int(rng.integers(15, 23))):
        angle, lift = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(-1, 1))
        out = math.sqrt(max(0.0, 1 - lift * lift)) * spread * float(rng.uniform(0.35, 1.0))
        radius = spread * float(rng.uniform(0.34, 0.56))
        spot = pose.world((out * math.cos(angle), centre_y + lift * height * 0.25, out * math.sin(angle)))
        dim = 0.72 + 0.4 * float((spot[1] - centre_y) / (0.3 * height) * 0.5 + 0.5)
        leaf = foliage((base[0] * dim, base[1] * dim, base[2] * dim), seed % 61 + i * 13, 0.035)
        crown.append(_Clump(spot, radius * 1.2, leaf, _leafy(radius, seed + i * 131)))
    boughs: list[tuple[Point, Point, float, float]] = [((0.0, -0.1, 0.0), (0.0, fork, 0.0), girth, girth * 0.75)]
    for i in range(4):
        angle = i * 1.7 + seed % 6
        tip = (spread * 0.6 * math.cos(angle), fork + height * 0.28, spread * 0.6 * math.sin(angle))
        boughs.append(((0.0, fork - 0.1, 0.0), tip, girth * 0.6, girth * 0.2))
    return crown, boughs


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
