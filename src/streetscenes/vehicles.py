"""Trucks, buses and trams as solid bodies. The pose is the middle of the footprint; +z is forward."""

from __future__ import annotations

import numpy as np

from streetscenes.cars import CAR_COLORS, tyres
from streetscenes.coachwork import cargo_end, cargo_side, coach_end, coach_side, lacquer, tram_end, wheel_cut
from streetscenes.materials import Color, plain
from streetscenes.raster import Canvas
from streetscenes.shapes import Point, Pose, box, limb, plate

BUS_COLORS: tuple[Color, ...] = ((206, 58, 42), (222, 190, 60), (226, 226, 220), (48, 92, 152), (64, 132, 92))
TRAM_COLORS: tuple[Color, ...] = ((190, 40, 44), (232, 214, 150), (70, 120, 96), (40, 84, 150), (224, 224, 218))
CARGO_COLORS: tuple[Color, ...] = (
    (226, 226, 222),
    (206, 204, 196),
    (48, 84, 146),
    (58, 120, 78),
    (190, 60, 44),
    (214, 160, 60),
    (120, 126, 132),
)


def draw_bus(canvas: Canvas, pose: Pose, size: Point, obj: int, seed: int) -> None:
    """A city bus."""
    rng = np.random.default_rng([seed, 12])
    color = BUS_COLORS[int(rng.integers(len(BUS_COLORS)))]
    stripe = BUS_COLORS[int(rng.integers(len(BUS_COLORS)))]
    w, h, d = size
    radius = 0.48
    axles = (d * 0.24, d * 0.74)
    left = (d - axles[1], d - axles[0])
    window = (1.25, h - 0.5)
    doors = (d - 1.75, d * 0.48)
    flank = coach_side(color, stripe, d, h, axles, radius, window, 1.45, doors, seed)
    other = coach_side(color, stripe, d, h, left, radius, window, 1.45, (), seed)
    box(
        canvas,
        pose,
        (w, h, d),
        obj,
        front=coach_end(color, stripe, w, h - 0.28, True, seed),
        back=coach_end(color, stripe, w, h - 0.28, False, seed),
        left=other,
        right=flank,
        top=lacquer(color, seed),
        side_cut=wheel_cut(axles + left, radius, 0.28),
        clear=0.28,
    )
    tyres(canvas, pose, w / 2, (-d / 2 + axles[0], -d / 2 + axles[1]), radius, 0.28, obj)


def draw_tram(canvas: Canvas, pose: Pose, size: Point, obj: int, seed: int) -> None:
    """A tram of three cars with bellows between, and a current collector on the roof."""
    rng = np.random.default_rng([seed, 13])
    color = TRAM_COLORS[int(rng.integers(len(TRAM_COLORS)))]
    stripe = TRAM_COLORS[int(rng.integers(len(TRAM_COLORS)))]
    w, h, d = size
    part = d / 3
    bellows = plain((40, 40, 44), 3)
    for i in (-1, 0, 1):
        long = part - 0.5
        doors = (part * 0.18, part * 0.62)
        side = coach_side(color, stripe, long, h, (), 0.3, (1.15, h - 0.55), 1.9, doors, seed + i)
        end = tram_end(color, stripe, w, h - 0.2, seed)
        box(
            canvas,
            pose,
            (w, h - 0.2, long),
            obj,
            front=end,
            back=end,
            left=side,
            right=side,
            top=lacquer((150, 150, 150), seed),
            bottom=0.2,
            offset=(0.0, 0.0, i * part),
        )
        box(
            canvas,
            pose,
            (w * 0.8, 0.35, long * 0.5),
            obj,
            front=bellows,
            back=bellows,
            left=bellows,
            right=bellows,
            top=bellows,
            bottom=h,
            offset=(0.0, 0.0, i * part),
        )
    for joint in (-0.5, 0.5):
        box(
            canvas,
            pose,
            (w * 0.86, h - 0.5, 0.8),
            obj,
            front=bellows,
            back=bellows,
            left=bellows,
            right=bellows,
            top=bellows,
            bottom=0.3,
            offset=(0.0, 0.0, joint * part),
        )
    arm = plain((60, 60, 62), 4)
    for sign in (-1, 1):
        limb(canvas, pose, (sign * 0.5, h + 0.3, 0.6), (0.0, h + 0.9, -0.5), 0.03, 0.03, arm, obj)
        limb(canvas, pose, (0.0, h + 0.9, -0.5), (sign * 0.7, h + 1.5, 0.3), 0.03, 0.03, arm, obj)


def draw_truck(canvas: Canvas, pose: Pose, size: Point, obj: int, seed: int) -> None:
    """A cab in front of a box."""
    rng = np.random.default_rng([seed, 14])
    paint = CARGO_COLORS[int(rng.integers(len(CARGO_COLORS)))]
    cab = CAR_COLORS[int(rng.integers(5, len(CAR_COLORS)))]
    mark = CARGO_COLORS[int(rng.integers(len(CARGO_COLORS)))]
    if sum(abs(a - b) for a, b in zip(cab, paint, strict=True)) < 60:
        cab = CAR_COLORS[7]
    w, h, d = size
    radius = 0.46
    cab_d, cab_h = 1.9, min(h - 0.4, 2.75)
    load_d = d - cab_d - 0.35
    low = 0.95
    axles = (load_d * 0.2, load_d * 0.2 + 1.1)
    left = (load_d - axles[1], load_d - axles[0])
    back_z = -d / 2 + load_d / 2
    right_side = cargo_side(paint, mark, load_d, low, h - low, axles, radius, seed)
    left_side = cargo_side(paint, mark, load_d, low, h - low, left, radius, seed)
    end = cargo_end(paint, w, seed)
    top = lacquer(paint, seed)
    for side, at, sign in ((right_side, axles, 1), (left_side, left, -1)):
        x, za, zb = sign * w / 2, back_z - sign * load_d / 2, back_z + sign * load_d / 2
        plate(
            canvas,
            pose,
            [(x, 0.0, za), (x, 0.0, zb), (x, h, zb), (x, h, za)],
            side,
            obj,
            cut=wheel_cut(at, radius, low - 0.25),
        )
    box(
        canvas,
        pose,
        (w - 0.01, h - low, load_d),
        obj,
        front=end,
        back=end,
        left=top,
        right=top,
        top=top,
        bottom=low,
        offset=(0.0, 0.0, back_z),
    )
    cab_z = d / 2 - cab_d / 2
    coat = lacquer(cab, seed % 89)
    axle = cab_d * 0.5
    flank = coach_side(cab, cab, cab_d, cab_h, (axle,), radius, (1.55, cab_h - 0.35), cab_d * 0.8, (), seed)
    box(
        canvas,
        pose,
        (w - 0.1, cab_h, cab_d),
        obj,
        front=coach_end(cab, (40, 40, 44), w - 0.1, cab_h - 0.35, True, seed, display=False),
        back=coat,
        left=flank,
        right=flank,
        top=coat,
        side_cut=wheel_cut((axle,), radius, 0.35),
        clear=0.35,
        offset=(0.0, 0.0, cab_z),
    )
    tyres(canvas, pose, w / 2, (-d / 2 + axles[0], cab_z), radius, low - 0.1, obj)
