"""The fronts of buildings: storeys, windows with frames and curtains, shops, doors, cornices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetscenes.camera import Array
from streetscenes.light import linear
from streetscenes.materials import Color, _courses, glazing, grain, lit, mix
from streetscenes.raster import Frag, Shade
from streetscenes.textures import cover, hash01, noise, scaled, wrap

_F = np.float32
WALLS: tuple[Color, ...] = (
    (196, 186, 164),
    (214, 206, 190),
    (168, 152, 128),
    (150, 84, 66),
    (172, 106, 84),
    (188, 170, 120),
    (140, 138, 134),
    (204, 178, 150),
    (120, 110, 104),
    (178, 188, 190),
    (222, 216, 208),
    (206, 164, 128),
    (128, 74, 62),
    (158, 164, 150),
)
FRAMES: tuple[Color, ...] = ((232, 230, 224), (70, 62, 56), (210, 204, 190), (52, 60, 58), (120, 84, 60))
SIGNS: tuple[Color, ...] = (
    (170, 40, 36),
    (28, 70, 130),
    (34, 96, 66),
    (210, 180, 60),
    (46, 44, 46),
    (220, 216, 206),
    (196, 110, 40),
)


@dataclass(frozen=True)
class Style:
    """How a building is built. Lengths in metres."""

    wall: Color
    frame: Color
    brick: bool
    storey: float
    pitch: float
    window: tuple[float, float]
    shop: bool
    bands: bool
    ribbon: bool
    height: float
    seed: int


def draw_style(rng: np.random.Generator) -> Style:
    """A building of some age."""
    storeys = int(rng.integers(2, 7))
    storey = float(rng.uniform(2.8, 3.7))
    pitch = float(rng.uniform(1.7, 3.3))
    ribbon = bool(rng.random() < 0.16)
    wall = WALLS[int(rng.integers(len(WALLS)))]
    wall = (wall[0] + float(rng.normal(0, 8)), wall[1] + float(rng.normal(0, 8)), wall[2] + float(rng.normal(0, 8)))
    share = 0.82 if ribbon else float(rng.uniform(0.4, 0.62))
    return Style(
        wall=wall,
        frame=FRAMES[int(rng.integers(len(FRAMES)))],
        brick=bool(wall[0] - wall[2] > 55 or rng.random() < 0.12),
        storey=storey,
        pitch=pitch,
        window=(pitch * share, storey * float(rng.uniform(0.45, 0.6))),
        shop=bool(rng.random() < 0.5),
        bands=bool(rng.random() < 0.5),
        ribbon=ribbon,
        height=storeys * storey + float(rng.uniform(0.9, 2.0)),
        seed=int(rng.integers(1 << 30)),
    )


def facade(style: Style, blind: bool = False) -> Shade:
    """The front of a building, u along it and v up from the ground; ``blind``: a gable with hardly any windows."""
    wall, frame = linear(style.wall), linear(style.frame)
    trim = np.minimum(wall * _F(1.5), _F(0.75))

    def shade(f: Frag) -> Array:
        stain = noise(1.2).sample(f.u + style.seed % 173, f.v * _F(0.3), f.fu, f.fv * _F(0.3), 0.05)
        tone = 1 + _F(0.1) * stain + _F(0.09) * grain(f, style.seed % 89, 0.01, 0.6)
        if style.brick:
            tone = tone * _courses(f, (0.25, 0.083), style.seed)
        color = lit(f, scaled(wall, tone))
        if not blind:
            color = _windows(f, style, color, lit(f, frame), lit(f, trim))
        if style.shop and not blind:
            color = _shops(f, style, color, lit(f, frame))
        base = cover(f.v, -1.0, 0.55, f.fv) * _F(0.0 if style.shop else 0.35)
        top = cover(f.v, style.height - 0.45, style.height + 1, f.fv)
        color = scaled(mix(color, lit(f, trim), top * _F(0.7)), 1 - base)
        # The foot of a wall and the underside of its cornice see less of the sky.
        dim = np.clip(_F(0.72) + f.v * _F(0.07), 0.72, 1.0)
        dim = dim * (1 - _F(0.4) * cover(f.v, style.height - 0.75, style.height - 0.45, f.fv))
        return scaled(color, dim)

    return shade


def _windows(f: Frag, style: Style, color: Array, frame: Array, trim: Array) -> Array:
    """Window, frame, sill and what shows behind the glass, in every cell of storey and pitch."""
    pitch, storey = _F(style.pitch), _F(style.storey)
    w, h = style.window
    column, row = np.floor(f.u / pitch), np.floor((f.v - _F(0.2)) / storey)
    cu = f.u - (column + _F(0.5)) * pitch
    cv = f.v - _F(0.2) - row * storey - _F(0.85)
    usable = (row >= 0) & (f.v < style.height - 0.7)
    if style.shop:
        usable &= row >= 1
    luck = hash01(column, row, style.seed)
    # Here and there a cell stays blank, or a balcony door reaches the floor.
    usable &= luck > 0.04
    live = usable.astype(np.float32)
    if style.bands:
        band = cover(cv, -0.98, -0.78, f.fv)
        color = mix(color, trim, band * live * _F(0.8))
    outer = cover(cu, -w / 2 - 0.11, w / 2 + 0.11, f.fu) * cover(cv, -0.1, h + 0.12, f.fv) * live
    inner = cover(cu, -w / 2, w / 2, f.fu) * cover(cv, 0, h, f.fv) * live
    sill = cover(cu, -w / 2 - 0.16, w / 2 + 0.16, f.fu) * cover(cv, -0.2, -0.06, f.fv) * live
    color = mix(color, trim, sill)
    color = mix(color, frame, outer)
    second = hash01(column, row, style.seed + 17)
    inside = np.where(second > 0.7, _F(3.2), np.where(second > 0.45, _F(1.6), _F(0.7)))
    curtain = (second > 0.62) & (np.abs(cu) > _F(w * 0.27))
    blind = (luck > 0.72) & (cv > _F(h) * (_F(1.2) - luck * _F(0.9)))
    tone = np.where(curtain, _F(7.0), np.where(blind, _F(9.0), inside))
    pane = glazing(f, tone, cv / _F(h) * _F(0.7) + luck * _F(0.7))
    # A window lies back in its wall: the lintel shades its upper edge.
    pane = scaled(pane, _F(0.55) + _F(0.45) * cover(cv, -1.0, h - 0.18, f.fv * 3))
    color = mix(color, pane, inner)
    bars = np.maximum(cover(cu, -0.035, 0.035, f.fu), cover(cv, h * 0.66 - 0.03, h * 0.66 + 0.03, f.fv))
    return mix(color, frame, bars * inner)


def _shops(f: Frag, style: Style, color: Array, frame: Array) -> Array:
    """The ground floor of a shopping street: panes with goods, doors, a sign above."""
    pitch = _F(style.pitch * 1.7)
    column = np.floor(f.u / pitch)
    cu = f.u - (column + _F(0.5)) * pitch
    half = float(pitch) / 2
    luck = hash01(column, 7, style.seed)
    top = style.storey - 0.75
    door = luck > 0.62
    glass = cover(cu, -half + 0.25, half - 0.25, f.fu) * cover(f.v, np.where(door, _F(0.05), _F(0.55)), top, f.fv)
    goods = hash01(np.floor(f.u / _F(0.45)), np.floor(f.v / _F(0.5)), style.seed + 3)
    shelf = _F(0.5) + _F(6.0) * goods * goods * (f.v < 1.7)
    color = mix(color, frame, cover(cu, -half + 0.15, half - 0.15, f.fu) * cover(f.v, 0.0, top + 0.1, f.fv))
    pane = glazing(f, shelf, luck * _F(0.6) + f.v * _F(0.14))
    color = mix(color, pane, glass)
    color = mix(color, frame, cover(cu, -0.04, 0.04, f.fu) * glass)
    signs = np.stack([linear(c) for c in SIGNS])
    paint = signs[(hash01(np.floor(column / 2), 3, style.seed) * len(SIGNS)).astype(np.int64)]
    board = cover(f.v, top + 0.12, top + 0.68, f.fv) * (hash01(np.floor(column / 2), 4, style.seed) > 0.25)
    # Lettering: bright strokes of irregular width in the middle of the board.
    stroke = (hash01(np.floor(f.u / _F(0.16)), 9, style.seed) > 0.45) & (wrap(f.u, _F(3.4)) < 2.3)
    letters = cover(f.v, top + 0.27, top + 0.53, f.fv) * stroke * np.clip(1.4 - f.fu / _F(0.2), 0.35, 1)
    color = mix(color, paint * f.light, board.astype(np.float32))
    return mix(color, linear((236, 232, 220)) * f.light, (letters * board * _F(0.8)).astype(np.float32))
