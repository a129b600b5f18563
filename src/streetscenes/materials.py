"""What surfaces look like: functions from surface coordinates in metres to linear radiance.

Each maker takes a style and returns a ``Shade``. Detail finer than a sample fades into its mean, so that nothing
flickers or aliases with distance; texture is fixed to the surface, so that it moves with it.
"""

from __future__ import annotations

import numpy as np

from streetscenes.camera import Array
from streetscenes.light import linear
from streetscenes.raster import Frag, Shade
from streetscenes.textures import cover, hash01, noise, scaled, wrap

Color = tuple[float, float, float]
_F = np.float32
GLASS = linear((46, 54, 60))
DARK = linear((24, 25, 27))
TYRE = linear((33, 33, 35))


def mix(base: Array, other: Array, amount: Array) -> Array:
    """``base`` (3,) or (N, 3) moved to ``other`` (3,) or (N, 3) by ``amount`` (N,) in [0, 1]."""
    out = np.empty((amount.size, 3), np.result_type(base, other, amount))
    for c in range(3):
        part = other[..., c] - base[..., c]
        np.add(part * amount, base[..., c], out=out[:, c])
    return out


def grain(f: Frag, seed: int, texel: float, beta: float = 0.8) -> Array:
    """Noise (N,) of mean 0, deviation 1 at most; ``seed`` shifts it."""
    shift = _F((seed * 7919) % 977 * 0.37)
    return noise(beta).sample(f.u + shift, f.v + shift * _F(0.7), f.fu, f.fv, texel)


def lit(f: Frag, albedo: Array) -> Array:
    """Reflected radiance of a matt surface."""
    out = np.empty(albedo.shape if albedo.ndim == 2 else f.light.shape, np.result_type(albedo, f.light))
    for c in range(3):
        np.multiply(albedo[..., c], f.light[..., c], out=out[..., c])
    return out


def plain(color: Color, seed: int = 0, roughness: float = 0.08, texel: float = 0.01) -> Shade:
    """One colour with fine grain: metal, cloth, plastic."""
    base = linear(color)

    def shade(f: Frag) -> Array:
        tone = 1 + _F(roughness) * grain(f, seed, texel)
        return lit(f, scaled(base, tone))

    return shade


def cloth(color: Color, seed: int, stripe: Color | None = None) -> Shade:
    """Folds along a limb, and perhaps stripes around it. Expects the coordinates of ``Canvas.limb``."""
    base = linear(color)
    other = linear(stripe) if stripe else base

    def shade(f: Frag) -> Array:
        tone = 1 + _F(0.22) * grain(f, seed, 0.012, 1.1)
        albedo = np.broadcast_to(base, (f.u.size, 3))
        if stripe is not None:
            albedo = mix(albedo, other, cover(wrap(f.u, _F(0.1)), 0.0, 0.05, f.fu))
        return lit(f, scaled(albedo, np.maximum(tone, _F(0.3))))

    return shade


def glow(color: Color, strength: float) -> Shade:
    """A lamp: its own light."""
    value = linear(color) * _F(strength)

    def shade(f: Frag) -> Array:
        return np.broadcast_to(value, (f.u.size, 3))

    return shade


def foliage(color: Color, seed: int, texel: float = 0.03) -> Shade:
    """Leaves: strong contrast at every scale, lit from above, dark inside."""
    base = linear(color)
    warm = base * np.array([1.35, 1.12, 0.7], np.float32)

    def shade(f: Frag) -> Array:
        fine = grain(f, seed, texel, 0.55)
        clump = grain(f, seed + 5, texel * 6, 0.8)
        tone = np.clip(_F(0.72) + _F(0.5) * fine + _F(0.3) * clump, 0.1, 2.4)
        albedo = mix(base, warm, np.clip(_F(0.4) + _F(0.45) * clump, 0, 1))
        return lit(f, scaled(albedo, tone))

    return shade


def bark(seed: int) -> Shade:
    """A trunk: long ridges."""
    base = linear((96, 84, 70))

    def shade(f: Frag) -> Array:
        ridge = noise(0.8).sample(f.u * _F(0.3) + seed, f.v, f.fu * _F(0.3), f.fv, 0.006)
        tone = np.clip(1 + _F(0.35) * ridge + _F(0.2) * grain(f, seed, 0.05), 0.2, 2)
        return lit(f, scaled(base, tone))

    return shade


def masonry(color: Color, kind: str, seed: int, height: float) -> Shade:
    """A free-standing wall: brick, stone blocks, concrete panels or painted plaster, streaked and stained."""
    base = linear(color)
    unit = {"brick": (0.25, 0.083), "stone": (0.62, 0.34), "concrete": (2.4, 9.0), "plaster": (50.0, 50.0)}[kind]

    def shade(f: Frag) -> Array:
        albedo = scaled(base, _courses(f, unit, seed))
        stain = noise(1.2).sample(f.u * 1.0, f.v * _F(0.25), f.fu, f.fv * _F(0.25), 0.03)
        albedo = scaled(albedo, np.clip(1 + _F(0.13) * stain + _F(0.08) * grain(f, seed, 0.008, 0.6), 0.3, 1.8))
        albedo = mix(albedo, linear((190, 186, 178)), cover(f.v, height - 0.12, height + 1, f.fv) * _F(0.75))
        foot = np.clip(1 - f.v / _F(0.5), 0, 1)
        return lit(f, scaled(albedo, 1 - _F(0.45) * foot))

    return shade


def _courses(f: Frag, unit: tuple[float, float], seed: int) -> Array:
    """Tone (N,) of a bonded wall of units (width, height) in metres: dark joints, each unit its own shade."""
    width, height = unit
    row = np.floor(f.v / _F(height))
    along = f.u / _F(width) + _F(0.5) * wrap(row, 2)
    column = np.floor(along)
    clear = np.clip(_F(1.3) - np.maximum(f.fu / _F(width), f.fv / _F(height)), 0, 1)
    joint_u = 1 - cover((along - column) * _F(width), 0.012, width - 0.012, f.fu)
    joint_v = 1 - cover(f.v - row * _F(height), 0.012, height - 0.012, f.fv)
    joint = np.maximum(joint_u, joint_v)
    tint = hash01(column, row, seed) - _F(0.5)
    out: Array = 1 + clear * (_F(0.42) * tint - _F(0.4) * joint)
    return out


def glazing(f: Frag, tone: Array, tilt: Array | float = 0.5) -> Array:
    """Glass (N, 3): a dark inside of brightness ``tone`` (N,) under a reflection that grows upwards by ``tilt``."""
    mirror = f.light * _F(0.16) * (np.clip(tilt, 0, 1) * np.ones_like(f.u))[:, None] ** 2
    out: Array = GLASS * tone[:, None] + mirror
    return out


def pickets(color: Color, kind: str, seed: int, height: float) -> Shade:
    """A fence as a veil: RGBA, what lies behind shows through the gaps."""
    base = linear(color)
    pitch, bar = {"bars": (0.13, 0.03), "wood": (0.16, 0.115), "mesh": (0.07, 0.012)}[kind]

    def shade(f: Frag) -> Array:
        cell = np.floor(f.u / _F(pitch))
        bars = cover(f.u - cell * _F(pitch), 0.0, bar, f.fu)
        far = np.clip(f.fu / _F(pitch), 0, 1)
        bars = bars + far * (_F(bar / pitch) - bars)
        if kind == "mesh":
            bars = np.maximum(bars, cover(wrap(f.v, _F(pitch)), 0.0, bar, f.fv) * (1 - far) + far * _F(0.3))
        rail = np.maximum(cover(f.v, 0.16, 0.24, f.fv), cover(f.v, height - 0.16, height - 0.06, f.fv))
        post = cover(wrap(f.u, _F(2.4)), 0.0, 0.1, f.fu)
        alpha = np.maximum(np.maximum(bars, rail), post)
        tone = 1 + _F(0.3) * (hash01(cell, 0, seed) - _F(0.5)) + _F(0.12) * grain(f, seed, 0.01)
        tone = tone * (_F(0.8) + _F(0.25) * rail)
        return np.concatenate([lit(f, scaled(base, tone)), np.maximum(alpha, _F(0.1))[:, None]], 1)

    return shade


def tiles(color: Color, seed: int) -> Shade:
    """A pitched roof."""
    base = linear(color)

    def shade(f: Frag) -> Array:
        return lit(f, scaled(base, _courses(f, (0.3, 0.35), seed) * (1 + _F(0.12) * grain(f, seed, 0.04))))

    return shade
