"""Draws the things of a world onto a canvas: solid ones near to far, veils far to near, and casts their shadows."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from streetscenes import buildings, cars, furniture, people, plants, vehicles
from streetscenes.camera import Array
from streetscenes.ground import Shadow
from streetscenes.raster import Canvas
from streetscenes.shapes import Pose, corners
from streetscenes.world import Thing, World

Draw = Callable[[Canvas, Pose, Thing], None]


def _house(canvas: Canvas, pose: Pose, t: Thing) -> None:
    if t.style is not None:
        buildings.draw_house(canvas, pose, t.style, t.size[0], t.size[1], t.objects[0])


def _sign(canvas: Canvas, pose: Pose, t: Thing) -> None:
    furniture.draw_sign(canvas, pose, t.size[1], t.detail, t.objects[0], t.seed)
    back = Pose(pose.x + 0.05 * math.sin(pose.heading), pose.z + 0.05 * math.cos(pose.heading), pose.heading)
    furniture.draw_pole(canvas, back, t.size[1] + 0.7, t.size[2], t.objects[1], t.seed)


def _signal(canvas: Canvas, pose: Pose, t: Thing) -> None:
    arm, height, radius = t.size
    sign = 1 if t.side > 0 else -1
    furniture.draw_signal(canvas, pose, 2.15, t.objects[0], int(t.phase), 0.0)
    back = Pose(pose.x, pose.z + 0.12, pose.heading + (math.pi if sign > 0 else 0.0))
    furniture.draw_pole(canvas, back, height, radius, t.objects[1], t.seed, arm=arm)
    if arm > 0:
        furniture.draw_signal(canvas, pose, height - 0.25, t.objects[2], int(t.phase), -sign * (arm - 0.1))


def _cyclist(canvas: Canvas, pose: Pose, t: Thing) -> None:
    people.draw_rider(canvas, pose, t.objects[0], t.seed, t.phase, motor=False)
    people.draw_bicycle(canvas, pose, t.objects[1], t.seed)


def _motorist(canvas: Canvas, pose: Pose, t: Thing) -> None:
    people.draw_rider(canvas, pose, t.objects[0], t.seed, t.phase, motor=True)
    people.draw_motorcycle(canvas, pose, t.objects[1], t.seed)


SOLID: dict[str, Draw] = {
    "house": _house,
    "wall": lambda c, p, t: buildings.draw_wall(c, p, t.size[0], t.size[1], t.objects[0], t.seed),
    "hedge": lambda c, p, t: plants.draw_hedge(c, p, t.size[0], t.size[1], t.objects[0], t.seed),
    "tree": lambda c, p, t: plants.draw_tree(c, p, t.size[1], t.objects[0], t.seed),
    "lamp": lambda c, p, t: furniture.draw_pole(c, p, t.size[1], t.size[2], t.objects[0], t.seed, t.size[0], True),
    "bollard": lambda c, p, t: furniture.draw_pole(c, p, t.size[1], t.size[2], t.objects[0], t.seed),
    "sign": _sign,
    "signal": _signal,
    "person": lambda c, p, t: people.draw_person(c, p, t.size[1], t.objects[0], t.seed, t.phase),
    "bicycle": lambda c, p, t: people.draw_bicycle(c, p, t.objects[0], t.seed),
    "motorcycle": lambda c, p, t: people.draw_motorcycle(c, p, t.objects[0], t.seed),
    "cyclist": _cyclist,
    "motorist": _motorist,
    "car": lambda c, p, t: cars.draw_car(c, p, t.size, t.objects[0], t.seed),
    "truck": lambda c, p, t: vehicles.draw_truck(c, p, t.size, t.objects[0], t.seed),
    "bus": lambda c, p, t: vehicles.draw_bus(c, p, t.size, t.objects[0], t.seed),
    "tram": lambda c, p, t: vehicles.draw_tram(c, p, t.size, t.objects[0], t.seed),
}
VEILS: dict[str, Draw] = {
    "fence": lambda c, p, t: buildings.veil_fence(c, p, t.size[0], t.size[1], t.objects[0], t.seed),
    "bicycle": lambda c, p, t: people.veil_bicycle(c, p, t.objects[0]),
    "cyclist": lambda c, p, t: people.veil_bicycle(c, p, t.objects[1]),
    "motorcycle": lambda c, p, t: people.veil_motorcycle(c, p, t.objects[0]),
    "motorist": lambda c, p, t: people.veil_motorcycle(c, p, t.objects[1]),
}
# Half the width and the height of what holds all of a thing, on a square about its place, metres.
_BOUNDS: dict[str, Callable[[Thing], tuple[float, float]]] = {
    "wall": lambda t: (t.size[0] / 2 + 0.3, t.size[1] + 0.3),
    "hedge": lambda t: (t.size[0] / 2 + 0.5, t.size[1] + 0.3),
    "tree": lambda t: (t.size[1] * 0.55, t.size[1] * 1.25),
    "lamp": lambda t: (t.size[0] + 0.8, t.size[1] + 0.7),
    "bollard": lambda t: (0.2, t.size[1] + 0.1),
    "sign": lambda t: (1.0, t.size[1] + 1.5),
    "person": lambda t: (t.size[1] * 0.5, t.size[1] * 1.15),
    "car": lambda t: (t.size[2] / 2 + 0.3, t.size[1] + 0.3),
    **dict.fromkeys(("bicycle", "motorcycle", "cyclist", "motorist"), lambda t: (1.3, 2.1)),
}
_VEHICLES = ("car", "truck", "bus", "tram")
_TWO_WHEELED = ("bicycle", "motorcycle", "cyclist", "motorist")


def ordered(world: World, canvas: Canvas, time_s: float) -> list[tuple[float, Pose, Thing]]:
    """(distance, pose, thing) of all that may be seen, near to far."""
    found: list[tuple[float, Pose, Thing]] = []
    for thing in world.things:
        now = thing.at(time_s)
        pose = world.pose(now)
        depth = float(canvas.camera.to_camera(np.array([[pose.x, 0.0, pose.z]]))[0, 2])
        reach = max(now.size[0], now.size[2]) if now.kind in ("house", "wall", "hedge", "fence", *_VEHICLES) else 4.0
        if depth > -reach:
            found.append((depth, pose, now))
    found.sort(key=lambda item: item[0])
    return found


def draw_solid(canvas: Canvas, items: list[tuple[float, Pose, Thing]]) -> None:
    """Everything opaque, near to far, so that hidden samples are never shaded."""
    for _, pose, thing in items:
        if thing.kind in SOLID and not canvas.hides(_hull(pose, thing)):
            SOLID[thing.kind](canvas, pose, thing)


def _hull(pose: Pose, thing: Thing) -> Array:
    """Corners (8, 3) in the world of a box that holds all of a thing; a very large one if its kind has no bounds."""
    half, height = _BOUNDS[thing.kind](thing) if thing.kind in _BOUNDS else (40.0, 40.0)
    front, back = half, -half
    if thing.kind == "house" and thing.style is not None:
        half, height, front, back = thing.size[0] / 2 + 0.5, thing.style.height + 6, 1.2, -thing.size[1] - 0.3
    return corners(pose, (-half, half), (-0.2, height), (back, front))


def draw_veils(canvas: Canvas, items: list[tuple[float, Pose, Thing]]) -> None:
    """Fences and spokes, far to near, over what is there."""
    for _, pose, thing in reversed(items):
        if thing.kind in VEILS:
            VEILS[thing.kind](canvas, pose, thing)


def shadows(
    items: list[tuple[float, Pose, Thing]], sun: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> list[Shadow]:
    """What darkens the ground: contact shadows below all that stands on it, and those cast away from the sun."""
    out: list[Shadow] = []
    flat = math.hypot(float(sun[0]), float(sun[2]))
    reach = flat / max(float(sun[1]), 0.25)
    away = math.atan2(-float(sun[0]), -float(sun[2]))
    for _, p, t in items:
        if t.kind in _VEHICLES:
            w, length = t.size[0] / 2, t.size[2] / 2
            out.append(Shadow(p.x, p.z, p.heading, w + 0.05, length + 0.05, 0.82, 0.5))
            cast = min(t.size[1] * reach, 5.0) * 0.5
            out.append(Shadow(p.x + math.sin(away) * cast, p.z + math.cos(away) * cast, p.heading, w, length, 0.5, 0.7))
        elif t.kind == "person" or t.kind in _TWO_WHEELED:
            long = 0.25 if t.kind == "person" else 0.9
            out.append(Shadow(p.x, p.z, p.heading, 0.22, long, 0.55, 0.3))
            cast = min(1.7 * reach, 4.0) * 0.5
            out.append(Shadow(p.x + math.sin(away) * cast, p.z + math.cos(away) * cast, away, 0.16, cast, 0.5, 0.25))
        elif t.kind == "tree":
            spread, cast = t.size[0] * 1.1, t.size[1] * 0.6 * reach
            out.append(
                Shadow(
                    p.x + math.sin(away) * cast,
                    p.z + math.cos(away) * cast,
                    away,
                    spread,
                    spread * 1.2,
                    0.85,
                    0.5,
                    dappled=True,
                )
            )
            out.append(Shadow(p.x, p.z, 0.0, 0.3, 0.3, 0.5, 0.4))
        elif t.kind in ("lamp", "sign", "signal"):
            cast = min(t.size[1] * reach, 8.0) * 0.5
            out.append(Shadow(p.x + math.sin(away) * cast, p.z + math.cos(away) * cast, away, 0.06, cast, 0.45, 0.1))
    return out
