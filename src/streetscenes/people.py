"""People, bicycles and motorcycles, built from round limbs. +z of the pose is where they look or drive."""

from __future__ import annotations

import math

import numpy as np

from streetscenes.materials import Color, cloth, glow, plain
from streetscenes.raster import Canvas, Frag, Shade
from streetscenes.shapes import Point, Pose, box, limb, plate, ring

CLOTHES: tuple[Color, ...] = (
    (34, 36, 44),
    (24, 24, 27),
    (46, 58, 88),
    (120, 34, 38),
    (176, 172, 160),
    (92, 98, 74),
    (64, 66, 70),
    (196, 60, 52),
    (216, 210, 198),
    (52, 104, 120),
    (150, 112, 70),
    (84, 52, 92),
    (208, 170, 60),
    (40, 84, 60),
    (112, 118, 128),
)
TROUSERS: tuple[Color, ...] = ((38, 46, 70), (28, 28, 31), (84, 80, 72), (58, 62, 70), (130, 118, 96), (66, 84, 112))
SKIN: tuple[Color, ...] = ((226, 184, 156), (206, 160, 128), (160, 112, 82), (104, 72, 54))
HAIR: tuple[Color, ...] = ((40, 32, 26), (70, 52, 36), (24, 22, 22), (168, 134, 84), (150, 146, 142))
FRAMES: tuple[Color, ...] = ((30, 30, 34), (150, 30, 32), (44, 80, 130), (200, 200, 196), (60, 110, 70), (190, 140, 40))


def _pick(rng: np.random.Generator, colors: tuple[Color, ...]) -> Color:
    return colors[int(rng.integers(len(colors)))]


def draw_person(canvas: Canvas, pose: Pose, height: float, obj: int, seed: int, phase: float) -> None:
    """Someone standing (``phase`` 0) or walking; ``phase`` in radians swings legs and arms."""
    rng = np.random.default_rng([seed, 21])
    k = height / 1.75
    bulk = k * float(rng.uniform(0.9, 1.15))
    top = cloth(_pick(rng, CLOTHES), seed % 61, _pick(rng, CLOTHES) if rng.random() < 0.15 else None)
    legs = cloth(_pick(rng, TROUSERS), seed % 53)
    skin, hair = plain(_pick(rng, SKIN)), plain(_pick(rng, HAIR), seed % 31, 0.25)
    shoes = plain((36, 32, 30) if rng.random() < 0.7 else (214, 210, 204))
    coat = bool(rng.random() < 0.35)
    step = 0.34 * math.sin(phase) * k
    hip, knee, neck = 0.92 * k, 0.49 * k, 1.45 * k

    def part(a: Point, b: Point, ra: float, rb: float, shade: Shade) -> None:
        limb(canvas, pose, a, b, ra * bulk, rb * bulk, shade, obj)

    for sign in (-1, 1):
        s = sign * step
        x = sign * 0.1 * bulk
        bend = max(0.0, -s) * 0.5
        part((x, knee, s * 0.55 + bend * 0.3), (x, 0.09 * k + bend * 0.5, s), 0.075, 0.05, legs)
        part((x, hip, 0.0), (x, knee, s * 0.55 + bend * 0.3), 0.1, 0.078, legs)
        part((x, 0.05 * k + bend * 0.5, s - 0.03), (x, 0.045 * k + bend * 0.5, s + 0.15 * k), 0.055, 0.045, shoes)
        arm = -s * 0.8
        part((sign * 0.22 * bulk, 1.38 * k, 0.0), (sign * 0.27 * bulk, 1.1 * k, arm * 0.5), 0.062, 0.055, top)
        part((sign * 0.27 * bulk, 1.1 * k, arm * 0.5), (sign * 0.25 * bulk, 0.86 * k, arm + 0.06), 0.052, 0.042, top)
        part((sign * 0.25 * bulk, 0.85 * k, arm + 0.06), (sign * 0.25 * bulk, 0.79 * k, arm + 0.08), 0.045, 0.04, skin)
        part((sign * 0.09 * bulk, hip, 0.0), (sign * 0.13 * bulk, 1.36 * k, 0.0), 0.135, 0.12, top)
    part((0.0, hip, 0.0), (0.0, 1.3 * k, 0.0), 0.15, 0.16, top)
    for sign in (-1, 1) if coat else ():
        part((sign * 0.08 * bulk, hip - 0.3 * k, -sign * 0.04), (sign * 0.07 * bulk, hip + 0.1, 0.0), 0.13, 0.14, top)
    part((0.0, neck - 0.04, 0.0), (0.0, neck + 0.08 * k, 0.01), 0.06, 0.06, skin)
    part((0.0, 1.6 * k, 0.015), (0.0, 1.655 * k, 0.01), 0.092, 0.09, skin)
    part((0.0, 1.645 * k, -0.025), (0.0, 1.67 * k, -0.015), 0.1, 0.092, hair)
    if rng.random() < 0.3:
        part((0.0, 1.05 * k, -0.2), (0.0, 1.3 * k, -0.2), 0.15, 0.13, cloth(_pick(rng, CLOTHES), seed % 47))
    elif rng.random() < 0.4:
        part(
            (0.3 * bulk, 0.62 * k, 0.03),
            (0.3 * bulk, 0.74 * k, 0.03),
            0.13,
            0.09,
            cloth(_pick(rng, CLOTHES), seed % 43),
        )


def draw_rider(canvas: Canvas, pose: Pose, obj: int, seed: int, phase: float, motor: bool) -> None:
    """Someone on a saddle; the machine is drawn on its own."""
    rng = np.random.default_rng([seed, 22])
    top, legs = cloth(_pick(rng, CLOTHES), seed % 59), cloth(_pick(rng, TROUSERS), seed % 51)
    skin = plain(_pick(rng, SKIN))
    helmet = plain(_pick(rng, CLOTHES) if motor or rng.random() < 0.6 else _pick(rng, HAIR), 3, 0.1)
    shoes = plain((34, 32, 32))
    seat_y, seat_z = (0.86, -0.28) if motor else (0.98, -0.22)
    hands_y, hands_z = (1.0, 0.4) if motor else (1.04, 0.36)
    lean = 0.2 if motor else 0.26

    def part(a: Point, b: Point, ra: float, rb: float, shade: Shade) -> None:
        limb(canvas, pose, a, b, ra, rb, shade, obj)

    shoulder: Point = (0.0, seat_y + 0.52, seat_z + lean)
    for sign in (-1, 1):
        turn = phase + (0 if sign > 0 else math.pi)
        foot_y, foot_z = (0.32, -0.08) if motor else (0.3 + 0.15 * math.sin(turn), 0.1 + 0.15 * math.cos(turn))
        knee: Point = (sign * 0.15, (seat_y + foot_y) / 2 + 0.16, max(seat_z, foot_z) + 0.3)
        part((sign * 0.1, seat_y, seat_z), knee, 0.1, 0.075, legs)
        part(knee, (sign * 0.12, foot_y + 0.08, foot_z), 0.07, 0.048, legs)
        part((sign * 0.12, foot_y, foot_z - 0.04), (sign * 0.12, foot_y, foot_z + 0.14), 0.052, 0.045, shoes)
        elbow: Point = (sign * 0.27, (shoulder[1] + hands_y) / 2, (shoulder[2] + hands_z) / 2 - 0.04)
        part((sign * 0.2, shoulder[1] - 0.03, shoulder[2]), elbow, 0.062, 0.052, top)
        part(elbow, (sign * 0.25, hands_y + 0.03, hands_z), 0.05, 0.042, top)
        part((sign * 0.25, hands_y, hands_z), (sign * 0.25, hands_y, hands_z + 0.05), 0.045, 0.04, skin)
        part((sign * 0.08, seat_y, seat_z), (sign * 0.12, shoulder[1] - 0.04, shoulder[2]), 0.14, 0.12, top)
    part((0.0, shoulder[1], shoulder[2]), (0.0, shoulder[1] + 0.1, shoulder[2] + 0.05), 0.07, 0.06, skin)
    head_y, head_z = shoulder[1] + 0.2, shoulder[2] + 0.09
    part((0.0, head_y, head_z), (0.0, head_y + 0.03, head_z), 0.092, 0.095, skin)
    part((0.0, head_y + 0.04, head_z - 0.02), (0.0, head_y + 0.07, head_z), 0.125 if motor else 0.11, 0.1, helmet)


def spokes(alpha: float) -> Shade:
    """A wheel's inside as a veil: mostly see-through."""

    def shade(f: Frag) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        angle = np.arctan2(f.v, f.u)
        line = (np.abs(np.sin(angle * 7)) < 0.22).astype(np.float32)
        tone = np.full((f.u.size, 3), 0.3, np.float32) * f.light * np.float32(0.5)
        return np.concatenate([tone, (np.float32(alpha) + np.float32(0.4) * line)[:, None]], 1)

    return shade


def veil_wheel(canvas: Canvas, pose: Pose, centre: Point, radius: float, alpha: float, obj: int) -> None:
    """The see-through inside of a bicycle's wheel: it counts as bicycle, as the dataset's annotators draw it."""
    x, y, z = centre
    corners: list[Point] = [
        (x, y + radius * math.sin(t), z + radius * math.cos(t)) for t in np.linspace(0, 2 * math.pi, 9)[:-1]
    ]
    plate(
        canvas,
        pose,
        corners,
        spokes(alpha),
        obj,
        origin=centre,
        u=(0.0, 0.0, 1.0),
        v=(0.0, 1.0, 0.0),
        two_sided=True,
        veil=True,
    )


MOTOR_AXLES = (-0.68, 0.72)
MOTOR_R = 0.31
WHEELBASE = 1.05
WHEEL_R = 0.33


def draw_bicycle(canvas: Canvas, pose: Pose, obj: int, seed: int) -> None:
    """Frame, wheels, saddle, handlebar, mudguards."""
    rng = np.random.default_rng([seed, 23])
    tube, black = plain(_pick(rng, FRAMES)), plain((26, 26, 28))
    rubber = plain((34, 34, 36), 2)
    rear, front = -WHEELBASE / 2, WHEELBASE / 2
    for z in (rear, front):
        ring(canvas, pose, (0.0, WHEEL_R, z), WHEEL_R - 0.02, 0.026, rubber, obj)

    def tube_between(a: Point, b: Point, r: float = 0.02, shade: Shade = tube) -> None:
        limb(canvas, pose, a, b, r, r, shade, obj)

    crank: Point = (0.0, 0.3, -0.08)
    seat: Point = (0.0, 0.88, -0.24)
    head: Point = (0.0, 0.9, 0.34)
    tube_between(crank, seat, 0.022)
    tube_between(crank, (0.0, 0.72, 0.38), 0.024)
    tube_between((0.0, 0.82, -0.22), head, 0.02)
    tube_between((0.0, WHEEL_R, rear), crank, 0.016)
    tube_between((0.0, WHEEL_R, rear), (0.0, 0.8, -0.22), 0.016)
    tube_between((0.0, WHEEL_R, front), head, 0.02)
    tube_between(head, (0.0, 1.02, 0.32), 0.016, black)
    tube_between((-0.28, 1.04, 0.28), (0.28, 1.04, 0.28), 0.018, black)
    tube_between((0.0, 0.94, -0.36), (0.0, 0.95, -0.1), 0.055, black)
    tube_between((0.0, 0.72, rear + 0.06), (0.0, 0.74, rear - 0.25), 0.03, black)
    if rng.random() < 0.4:
        box(
            canvas,
            pose,
            (0.34, 0.26, 0.3),
            obj,
            front=black,
            back=black,
            left=black,
            right=black,
            top=plain((60, 54, 46)),
            bottom=0.78,
            offset=(0.0, 0.0, 0.55),
        )


def veil_bicycle(canvas: Canvas, pose: Pose, obj: int) -> None:
    """The veils of ``draw_bicycle``, to be drawn when all else stands."""
    for z in (-WHEELBASE / 2, WHEELBASE / 2):
        veil_wheel(canvas, pose, (0.0, WHEEL_R, z), WHEEL_R - 0.03, 0.22, obj)


def draw_motorcycle(canvas: Canvas, pose: Pose, obj: int, seed: int) -> None:
    """A scooter or a motorcycle: two fat wheels, tank, engine, exhaust, lamp."""
    rng = np.random.default_rng([seed, 24])
    coat = plain(_pick(rng, FRAMES), 1, 0.06)
    black, metal = plain((28, 28, 30)), plain((140, 142, 146), 2, 0.15)
    rubber = plain((30, 30, 32), 2)
    (rear, front), r = MOTOR_AXLES, MOTOR_R
    for z in (rear, front):
        ring(canvas, pose, (0.0, r, z), r - 0.06, 0.068, rubber, obj)
        limb(canvas, pose, (-0.03, r, z), (0.03, r, z), 0.11, 0.11, metal, obj)

    def tube(a: Point, b: Point, ra: float, rb: float, shade: Shade) -> None:
        limb(canvas, pose, a, b, ra, rb, shade, obj)

    tube((0.0, 0.42, -0.2), (0.0, 0.45, 0.25), 0.17, 0.16, metal)
    tube((0.0, 0.72, -0.02), (0.0, 0.8, 0.36), 0.14, 0.15, coat)
    tube((0.0, 0.76, -0.62), (0.0, 0.78, -0.1), 0.11, 0.12, black)
    tube((0.0, 0.72, -0.85), (0.0, 0.76, -0.55), 0.07, 0.11, coat)
    tube((0.0, 0.5, -0.6), (0.0, 0.62, -0.2), 0.1, 0.15, black)
    tube((0.0, r, front), (0.0, 0.92, 0.42), 0.05, 0.05, metal)
    tube((0.0, 0.62, front + 0.05), (0.0, 0.6, front - 0.25), 0.07, 0.08, coat)
    tube((-0.36, 1.02, 0.36), (0.36, 1.02, 0.36), 0.025, 0.025, black)
    tube((0.15, 0.32, -0.85), (0.15, 0.3, -0.1), 0.06, 0.045, metal)
    tube((0.0, 0.88, 0.5), (0.0, 0.88, 0.56), 0.1, 0.09, glow((250, 246, 230), 0.8))
    tube((0.0, 0.7, -0.92), (0.0, 0.7, -0.9), 0.06, 0.06, glow((220, 30, 24), 0.6))


def veil_motorcycle(canvas: Canvas, pose: Pose, obj: int) -> None:
    """The veils of ``draw_motorcycle``: cast wheels, less see-through than a bicycle's."""
    for z in MOTOR_AXLES:
        veil_wheel(canvas, pose, (0.0, MOTOR_R, z), MOTOR_R - 0.08, 0.55, obj)
