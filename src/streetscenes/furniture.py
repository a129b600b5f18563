"""Poles, traffic lights and traffic signs; what is printed or lit on them looks to -z, at who drives along +z."""

from __future__ import annotations

import numpy as np

from streetscenes.camera import Array
from streetscenes.light import linear
from streetscenes.materials import Color, lit, mix, plain
from streetscenes.raster import Canvas, Cut, Frag, Shade
from streetscenes.shapes import Point, Pose, box, limb, plate
from streetscenes.textures import cover, hash01, wrap

_F = np.float32


def draw_pole(
    canvas: Canvas, pose: Pose, height: float, radius: float, obj: int, seed: int, arm: float = 0.0, head: bool = False
) -> None:
    """A pole, with a street lamp's arm to local +x if ``arm`` > 0."""
    tone = 70 + seed % 90
    steel = plain((tone, tone + 4, tone + 2), seed % 37, 0.15)
    limb(canvas, pose, (0.0, radius, 0.0), (0.0, height, 0.0), radius, radius * 0.75, steel, obj)
    limb(
        canvas,
        pose,
        (0.0, radius * 1.3, 0.0),
        (0.0, min(0.9, height * 0.3), 0.0),
        radius * 1.45,
        radius * 1.25,
        steel,
        obj,
    )
    if arm > 0:
        limb(canvas, pose, (0.0, height - 0.02, 0.0), (arm, height + 0.35, 0.0), radius * 0.6, radius * 0.5, steel, obj)
        if head:
            limb(canvas, pose, (arm - 0.1, height + 0.33, 0.0), (arm + 0.5, height + 0.4, 0.0), 0.11, 0.09, steel, obj)


def draw_signal(canvas: Canvas, pose: Pose, y: float, obj: int, phase: int, offset_x: float = 0.0) -> None:
    """The box of a traffic light, lamps towards -z (towards who drives along +z); ``phase`` 0 red, 1 amber, 2 green."""
    w, h = 0.36, 1.02
    lamps: tuple[Color, ...] = ((255, 46, 30), (255, 180, 40), (60, 240, 150))
    black = linear((22, 24, 24))

    def face(f: Frag) -> Array:
        out = np.broadcast_to(black * f.light, (f.u.size, 3))
        for i in range(3):
            off = np.hypot(f.u - _F(w / 2), f.v - _F(h - 0.19 - 0.32 * i))
            on = linear(lamps[i]) * _F(1.5 if i == phase else 0.06)
            out = mix(out, on, cover(off, -1, 0.125, f.fu))
        return out

    dark, board = plain((26, 28, 28)), plain((30, 32, 32))
    plate(
        canvas,
        pose,
        [
            (offset_x - 0.27, y - 0.1, 0.01),
            (offset_x + 0.27, y - 0.1, 0.01),
            (offset_x + 0.27, y + h + 0.1, 0.01),
            (offset_x - 0.27, y + h + 0.1, 0.01),
        ],
        board,
        obj,
        two_sided=True,
    )
    box(
        canvas,
        pose,
        (w, h, 0.22),
        obj,
        front=dark,
        back=face,
        left=dark,
        right=dark,
        top=dark,
        bottom=y,
        offset=(offset_x, 0.0, -0.12),
    )


SIGN_KINDS = ("ring", "warning", "priority", "blue", "stop", "direction", "place")


def draw_sign(canvas: Canvas, pose: Pose, y: float, kind: str, obj: int, seed: int) -> None:
    """A traffic sign whose printed side looks to -z; ``y`` is its lower edge."""
    size = {"direction": (1.7, 0.75), "place": (1.1, 0.75)}.get(kind, (0.78, 0.78))
    w, h = size
    corners: list[Point] = [(-w / 2, y, 0.0), (w / 2, y, 0.0), (w / 2, y + h, 0.0), (-w / 2, y + h, 0.0)]
    plate(canvas, pose, corners, sign_face(kind, w, h, seed), obj, cut=_sign_cut(kind, w, h))
    back: list[Point] = [corners[1], corners[0], corners[3], corners[2]]
    plate(canvas, pose, back, plain((128, 130, 132), 5), obj, cut=_sign_cut(kind, w, h))


def _sign_cut(kind: str, w: float, h: float) -> Cut:
    def cut(u: Array, v: Array, footprint: Array) -> Array:
        x, y = u - _F(w / 2), v - _F(h / 2)
        if kind in ("ring", "blue"):
            return x * x + y * y < _F(w * w / 4)
        if kind == "warning":
            return np.abs(x) < (_F(h) - v) * _F(0.5)
        if kind == "priority":
            return np.abs(x) + np.abs(y) < _F(w / 2)
        if kind == "stop":
            return np.maximum(np.maximum(np.abs(x), np.abs(y)), (np.abs(x) + np.abs(y)) * _F(0.7071)) < _F(w / 2)
        return np.ones(u.shape, bool)

    return cut


def sign_face(kind: str, w: float, h: float, seed: int) -> Shade:
    """The print of a sign; u from its left edge, v from its lower edge."""
    red, white, blue = linear((196, 26, 32)), linear((238, 238, 234)), linear((24, 74, 156))
    black, yellow = linear((20, 20, 22)), linear((246, 196, 30))

    def shade(f: Frag) -> Array:
        x, y = f.u - _F(w / 2), f.v - _F(h / 2)
        r = np.hypot(x, y) / _F(w / 2)
        soft = f.fu / _F(w / 2)
        base = {"blue": blue, "stop": red, "direction": yellow if seed % 2 else blue, "place": yellow}.get(kind, white)
        out = np.broadcast_to(base, (f.u.size, 3))
        if kind == "ring":
            out = mix(out, red, cover(r, 0.72, 2.0, soft))
            digits = cover(np.abs(np.abs(x) - _F(0.11)), -1, 0.06, f.fu) * cover(y, -0.16, 0.16, f.fv)
            out = mix(out, black, digits)
        elif kind == "warning":
            edge = np.abs(x) / np.maximum((_F(h) - f.v) * _F(0.5), _F(1e-3))
            out = mix(out, red, np.maximum(cover(edge, 0.7, 2, soft), cover(f.v, -1, 0.11, f.fv)))
            out = mix(out, black, cover(x, -0.05, 0.05, f.fu) * cover(f.v, 0.18, 0.42, f.fv))
        elif kind == "priority":
            out = mix(out, yellow, cover(np.abs(x) + np.abs(y), -1, w * 0.38, f.fu))
        elif kind == "blue":
            arrow = cover(x, -0.05, 0.05, f.fu) * cover(y, -0.24, 0.1, f.fv)
            head = cover(np.abs(x) + y, -1, 0.26, f.fu) * cover(y, 0.06, 0.3, f.fv)
            out = mix(out, white, np.maximum(arrow, head))
        elif kind == "stop":
            letters = (hash01(np.floor(f.u / _F(0.07)), 1, seed) > 0.3) * cover(y, -0.12, 0.12, f.fv)
            out = mix(out, white, letters * cover(np.abs(x), -1, 0.28, f.fu))
        else:
            line = wrap(f.v, _F(0.24))
            letters = (hash01(np.floor(f.u / _F(0.03)), np.floor(f.v / _F(0.24)), seed) > 0.45) * cover(
                line, 0.07, 0.18, f.fv
            )
            ink = black if (kind == "place" or seed % 2) else white
            # From afar, letters are gray lines.
            letters = letters * np.clip(1.35 - f.fu / _F(0.04), 0.5, 1) * cover(f.u, 0.12, w - 0.2, f.fu)
            out = mix(out, ink, letters)
            rim = np.minimum(np.minimum(f.u, _F(w) - f.u), np.minimum(f.v, _F(h) - f.v))
            out = mix(out, ink, cover(rim, 0.02, 0.05, f.fu))
        # Retroreflective sheeting looks brighter than paint.
        return lit(f, out * _F(1.12))

    return shade
