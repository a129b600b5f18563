"""Houses, free-standing walls and fences. +z of the pose is the side that looks at the street."""

from __future__ import annotations

import numpy as np

from streetscenes.facade import Style, facade
from streetscenes.materials import Color, masonry, pickets, plain, tiles
from streetscenes.raster import Canvas
from streetscenes.shapes import Point, Pose, box, plate

ROOFS: tuple[Color, ...] = ((132, 70, 54), (104, 62, 52), (78, 78, 82), (96, 92, 88))


def draw_house(canvas: Canvas, pose: Pose, style: Style, width: float, depth: float, obj: int) -> None:
    """A house whose front centre is the pose; the front looks to +z, the body stretches to -z."""
    h = style.height
    front, gable = facade(style), facade(style, blind=True)
    box(
        canvas,
        pose,
        (width, h, depth),
        obj,
        front=front,
        back=gable,
        left=gable,
        right=gable,
        top=plain((110, 108, 104)),
        offset=(0.0, 0.0, -depth / 2),
    )
    roof = tiles(ROOFS[style.seed % len(ROOFS)], style.seed % 71)
    rise = 0.0 if style.ribbon else 1.2 + (style.seed % 5) * 0.6
    if rise > 0:
        half, ridge = width / 2, h + rise
        back = -min(depth / 2, 5.0)
        plate(
            canvas,
            pose,
            [(half + 0.2, h - 0.1, 0.25), (-half - 0.2, h - 0.1, 0.25), (-half, ridge, back), (half, ridge, back)],
            roof,
            obj,
        )
        for sign in (-1, 1):
            ends: list[Point] = [(sign * half, h, 0.0), (sign * half, h, 2 * back), (sign * half, ridge, back)]
            plate(
                canvas,
                pose,
                ends,
                gable,
                obj,
                origin=(sign * half, 0.0, 0.0),
                u=(0.0, 0.0, float(sign)),
                v=(0.0, 1.0, 0.0),
                two_sided=True,
            )
        if style.seed % 3:
            pot = plain((120, 80, 66))
            box(
                canvas,
                pose,
                (0.7, 1.4, 0.6),
                obj,
                front=pot,
                back=pot,
                left=pot,
                right=pot,
                top=plain((40, 40, 40)),
                bottom=h + rise * 0.55,
                offset=((style.seed % 7 - 3) * half / 4, 0.0, back * 0.8),
            )
    if style.seed % 4 == 0 and not style.ribbon:
        _balconies(canvas, pose, style, width, obj)


def _balconies(canvas: Canvas, pose: Pose, style: Style, width: float, obj: int) -> None:
    """Slabs with railings before some columns of windows."""
    slab, rail = plain((176, 174, 168)), plain((70, 72, 76))
    storeys = int(style.height / style.storey)
    for x in (-width / 4, width / 4):
        for floor in range(1, storeys):
            y = floor * style.storey + 0.55
            box(
                canvas,
                pose,
                (style.pitch * 0.9, 0.16, 1.0),
                obj,
                front=slab,
                back=slab,
                left=slab,
                right=slab,
                top=slab,
                bottom=y,
                offset=(x, 0.0, 0.5),
                under=plain((90, 90, 88)),
            )
            box(
                canvas,
                pose,
                (style.pitch * 0.9, 0.85, 1.0),
                obj,
                front=rail,
                back=rail,
                left=rail,
                right=rail,
                top=rail,
                bottom=y + 0.16,
                offset=(x, 0.0, 0.5),
            )


def draw_wall(canvas: Canvas, pose: Pose, length: float, height: float, obj: int, seed: int) -> None:
    """A free-standing wall; the pose is its middle, +z where it looks."""
    rng = np.random.default_rng([seed, 31])
    kind = str(rng.choice(["brick", "stone", "concrete", "plaster"]))
    color = {"brick": (146, 92, 74), "stone": (140, 134, 122), "concrete": (160, 158, 152), "plaster": (196, 190, 176)}[
        kind
    ]
    side = masonry(color, kind, seed % 83, height)
    cap = plain((186, 182, 174), 3)
    box(canvas, pose, (length, height, 0.3), obj, front=side, back=side, left=side, right=side, top=cap)


def veil_fence(canvas: Canvas, pose: Pose, length: float, height: float, obj: int, seed: int) -> None:
    """A fence to look through: bars, boards or mesh, drawn as a veil."""
    rng = np.random.default_rng([seed, 32])
    kind = str(rng.choice(["bars", "wood", "mesh", "bars"]))
    colors: dict[str, tuple[Color, ...]] = {
        "bars": ((36, 44, 42), (60, 62, 66), (38, 70, 52)),
        "wood": ((140, 108, 76), (196, 192, 182), (104, 84, 64)),
        "mesh": ((128, 132, 132), (60, 92, 70)),
    }
    color = colors[kind][int(rng.integers(len(colors[kind])))]
    half = length / 2
    shade = pickets(color, kind, seed % 79, height)
    plate(
        canvas,
        pose,
        [(half, 0.0, 0.0), (-half, 0.0, 0.0), (-half, height, 0.0), (half, height, 0.0)],
        shade,
        obj,
        two_sided=True,
        veil=True,
    )
