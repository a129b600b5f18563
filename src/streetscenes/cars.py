"""Cars as solid bodies: a profile across the width, two flanks, glass. The pose is the middle of the footprint."""

from __future__ import annotations

import numpy as np

from streetscenes.coachwork import car_flank, car_front, car_glass, car_rear, lacquer, screen, wheel_cut
from streetscenes.materials import Color, plain
from streetscenes.raster import Canvas, Shade
from streetscenes.shapes import Point, Pose, limb, plate

CAR_COLORS: tuple[Color, ...] = (
    (26, 27, 30),
    (48, 50, 54),
    (92, 96, 100),
    (150, 153, 156),
    (192, 195, 198),
    (228, 229, 227),
    (236, 236, 232),
    (24, 36, 66),
    (42, 74, 128),
    (128, 22, 26),
    (168, 34, 34),
    (58, 66, 56),
    (104, 88, 70),
    (196, 160, 52),
    (70, 110, 140),
    (34, 34, 38),
    (110, 112, 118),
)


def draw_car(canvas: Canvas, pose: Pose, size: Point, obj: int, seed: int) -> None:
    """A hatchback, saloon, estate, SUV or van of ``size`` (width, height, length)."""
    rng = np.random.default_rng([seed, 11])
    w, h, d = size
    color = CAR_COLORS[int(rng.integers(len(CAR_COLORS)))]
    kind = "van" if h > 1.8 else str(rng.choice(["saloon", "hatch", "hatch", "estate"]))
    z0, z1 = -d / 2, d / 2
    belt = h * (0.5 if kind == "van" else 0.6)
    nose = belt - 0.14
    cowl = z1 - d * (0.1 if kind == "van" else 0.29)
    roof_front = cowl - d * (0.11 if kind == "van" else 0.15)
    deck = z0 + {"saloon": d * 0.17, "hatch": 0.06, "estate": 0.04, "van": 0.03}[kind]
    roof_back = deck + {"saloon": d * 0.14, "hatch": d * 0.1, "estate": 0.22, "van": 0.06}[kind]
    b, r = w / 2, w / 2 - (0.1 if kind == "van" else 0.2)
    low, radius = 0.24, 0.3 + 0.03 * float(rng.random())
    coat = lacquer(color, seed % 97)
    axles_z = (z0 + d * 0.19, z1 - d * 0.19)

    def strip(za: float, ya: float, wa: float, zb: float, yb: float, wb: float, shade: Shade, back: bool) -> None:
        """A face across the car from profile point a to the higher or more forward b."""
        pts: list[Point] = [(-wa, ya, za), (wa, ya, za), (wb, yb, zb), (-wb, yb, zb)]
        if not back:
            pts = [(wa, ya, za), (-wa, ya, za), (-wb, yb, zb), (wb, yb, zb)]
        plate(canvas, pose, pts, shade, obj, origin=(pts[0][0], ya, za))

    rise_f = float(np.hypot(cowl - roof_front, h - belt))
    rise_b = float(np.hypot(roof_back - deck, h - belt))
    strip(z0, low, b, z0, belt - 0.02, b, car_rear(color, w, low, belt, seed, bool(rng.random() < 0.3)), True)
    strip(deck, belt, b, roof_back, h, r, screen(color, w, rise_b, seed), True)
    strip(z1, low, b, z1, nose, b, car_front(color, w, low, nose, seed), False)
    strip(cowl, belt, b, roof_front, h, r, screen(color, w, rise_f, seed + 1), False)
    strip(z0, belt - 0.02, b, deck, belt, b, coat, True)
    strip(roof_back, h, r, roof_front, h, r, coat, True)
    strip(z1, nose, b, cowl, belt, b, coat, False)
    axles_right = (axles_z[0] - z0, axles_z[1] - z0)
    axles_left = (z1 - axles_z[1], z1 - axles_z[0])
    pillar = (deck + roof_front) / 2
    for sign, axles in ((1, axles_right), (-1, axles_left)):
        flank = car_flank(color, d, belt, axles, radius, seed % 97)
        cut = wheel_cut(axles, radius, low)
        points: list[Point] = [
            (sign * b, 0.0, z0),
            (sign * b, 0.0, z1),
            (sign * b, nose, z1),
            (sign * b, belt, cowl),
            (sign * b, belt, deck),
            (sign * b, belt - 0.02, z0),
        ]
        along: Point = (0.0, 0.0, float(sign))
        start: Point = (sign * b, 0.0, z0 if sign > 0 else z1)
        plate(canvas, pose, points, flank, obj, origin=start, u=along, v=(0.0, 1.0, 0.0), cut=cut)
        upper: list[Point] = [
            (sign * b, belt, deck),
            (sign * b, belt, cowl),
            (sign * r, h, roof_front),
            (sign * r, h, roof_back),
        ]
        start = (sign * b, belt, deck if sign > 0 else cowl)
        posts = (pillar - deck, roof_front - deck + 0.1) if sign > 0 else (cowl - pillar, cowl - roof_front - 0.1)
        glass = car_glass(color, posts, float(np.hypot(h - belt, b - r)), seed)
        plate(canvas, pose, upper, glass, obj, origin=start, u=along, v=(sign * (r - b), h - belt, 0.0))
    tyres(canvas, pose, b, axles_z, radius, low, obj)
    for sign in (1, -1):
        limb(
            canvas,
            pose,
            (sign * (b + 0.04), belt + 0.08, cowl - 0.3),
            (sign * (b + 0.16), belt + 0.1, cowl - 0.3),
            0.07,
            0.08,
            coat,
            obj,
        )


def tyres(canvas: Canvas, pose: Pose, b: float, axles: tuple[float, ...], radius: float, low: float, obj: int) -> None:
    """The treads and the dark floor that show below the bumpers."""
    dark = plain((30, 30, 32), 1)
    floor = plain((14, 14, 15), 2)
    for axle, sign in ((axles[0], -1), (axles[-1], 1)):
        z = axle + sign * radius * 0.8
        for x in (-b + 0.02, b - 0.24):
            plate(
                canvas,
                pose,
                [(x, 0.0, z), (x + 0.22, 0.0, z), (x + 0.22, low + 0.05, z), (x, low + 0.05, z)],
                dark,
                obj,
                two_sided=True,
            )
        plate(
            canvas,
            pose,
            [
                (-b + 0.1, low - 0.06, axle),
                (b - 0.1, low - 0.06, axle),
                (b - 0.1, low + 0.05, axle),
                (-b + 0.1, low + 0.05, axle),
            ],
            floor,
            obj,
            two_sided=True,
        )
