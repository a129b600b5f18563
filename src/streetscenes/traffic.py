"""The moving part of a scene: vehicles in the lanes and at the kerb, people, cyclists; rare classes on request."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from streetscenes.layout import build_furniture, build_sides, plan_sides, quiet_parking
from streetscenes.street import draw_street
from streetscenes.world import Thing, World, new_world

Rng = np.random.Generator
RARE = ("wall", "fence", "terrain", "rider", "truck", "bus", "train", "motorcycle", "bicycle")
_SMALL = ("rider", "motorcycle", "bicycle")


def _seed(rng: Rng) -> int:
    return int(rng.integers(1, 1 << 30))


class _Space:
    """Taken stretches of ground, so that nothing stands in another thing."""

    def __init__(self) -> None:
        self.taken: list[tuple[float, float, float, float]] = []

    def take(self, side: float, z: float, width: float, length: float, margin: float = 0.0) -> bool:
        """Claim a rectangle; False if it overlaps another."""
        box = (side - width / 2 - margin, side + width / 2 + margin, z - length / 2 - margin, z + length / 2 + margin)
        for a in self.taken:
            if box[0] < a[1] and a[0] < box[1] and box[2] < a[3] and a[2] < box[3]:
                return False
        self.taken.append(box)
        return True


def build(seed: int, ensure: tuple[str, ...], attempt: int = 0) -> World:
    """The world of a seed; another ``attempt`` is another world, for when a class asked for came out hidden."""
    rng = np.random.default_rng([seed, attempt, 5])
    street = draw_street(rng, quiet=bool(rng.random() < 0.55))
    tram = "train" in ensure or rng.random() < 0.1
    if tram:
        street = replace(street, has_tram=True, tram_m=-0.5 * street.lane_m)
    world = new_world(seed, rng, street)
    borders = plan_sides(world, rng, ensure)
    if any(name in ensure for name in _SMALL):
        quiet_parking(world, 1)
    build_sides(world, rng, borders)
    build_furniture(world, rng)
    space = _Space()
    space.take(world.ego_side, 1.0, 2.4, 9.0)
    wanted = set(ensure)
    for name in RARE:
        if name not in wanted and rng.random() < 0.16:
            wanted.add(name)
    # The longest first: the others find a place beside it.
    for name in ("train", "bus", "truck", "rider", "motorcycle", "bicycle"):
        if name in wanted:
            _place_rare(world, rng, space, name, near=name in ensure)
    _lanes(world, rng, space)
    _parked(world, rng, space)
    _walkers(world, rng, space)
    return world


def _place_rare(world: World, rng: Rng, space: _Space, name: str, near: bool) -> None:
    street = world.street
    kerb = street.half(1)
    reach = 1.0 if near else 1.9
    for _ in range(8):
        if name == "rider":
            z, away = float(rng.uniform(8, 15)) * reach, bool(rng.random() < 0.35)
            side = street.half(-1) + 0.8 if away else kerb - 0.8
            if space.take(side, z, 0.9, 2.4):
                motor = rng.random() < 0.25
                world.add(
                    "motorist" if motor else "cyclist",
                    ("rider", "motorcycle" if motor else "bicycle"),
                    side,
                    z,
                    turn=math.pi + float(rng.normal(0, 0.15)) if away else float(rng.normal(0, 0.15)),
                    seed=_seed(rng),
                    speed=-4.5 if away else 4.5,
                    phase=float(rng.uniform(0.1, 6)),
                )
                return
        elif name in ("motorcycle", "bicycle"):
            if _stand(world, rng, space, name, float(rng.uniform(6.5, 12)) * reach):
                return
        else:
            kind = {
                "truck": (2.4, float(rng.uniform(2.9, 3.7)), float(rng.uniform(6.5, 10.5))),
                "bus": (2.5, float(rng.uniform(2.95, 3.2)), float(rng.uniform(10, 13))),
                "train": (2.4, 3.4, float(rng.uniform(24, 30))),
            }[name]
            z = (float(rng.uniform(10, 20)) * reach) + kind[2] / 2
            ahead = name != "train" and rng.random() < 0.4
            lane = 0.5 if name == "train" else street.lanes - 0.5
            side = street.lane_m * (lane if ahead else -lane)
            if ahead and abs(side - world.ego_side) < 2:
                z += 5
            if space.take(side, z, kind[0], kind[2], 0.5):
                pace = world.speed_mps * 0.8 if ahead else -min(9.0, world.speed_mps * 0.7)
                world.add(
                    {"train": "tram"}.get(name, name),
                    (name,),
                    side,
                    z,
                    turn=0.0 if ahead else math.pi,
                    size=kind,
                    seed=_seed(rng),
                    speed=pace,
                )
                return


def _stand(world: World, rng: Rng, space: _Space, name: str, z: float) -> bool:
    """One or more parked two-wheelers on a sidewalk, across or along it."""
    sign = 1 if rng.random() < 0.75 else -1
    street = world.street
    part = street.sides[0 if sign > 0 else 1]
    side = street.half(sign) + sign * (part.parking + part.strip + float(rng.uniform(0.7, 1.2)))
    turn = float(rng.choice([0.0, math.pi / 2, math.pi / 2, 2.2])) + float(rng.normal(0, 0.25))
    if not space.take(side, z, 1.4, 1.6):
        return False
    count = int(rng.integers(1, 5)) if name == "bicycle" else int(rng.integers(1, 3))
    for i in range(count):
        world.add(
            name,
            (name,),
            side + float(rng.normal(0, 0.1)),
            z + i * 0.75,
            turn=turn + float(rng.normal(0, 0.1)),
            seed=_seed(rng),
        )
    space.take(side, z + count * 0.4 + 0.8, 1.4, count * 0.7)
    return True


def _car_size(rng: Rng) -> tuple[float, float, float]:
    if rng.random() < 0.12:
        return float(rng.uniform(1.9, 2.0)), float(rng.uniform(1.95, 2.4)), float(rng.uniform(4.8, 5.6))
    return float(rng.uniform(1.66, 1.86)), float(rng.uniform(1.4, 1.68)), float(rng.uniform(3.7, 4.75))


def _lanes(world: World, rng: Rng, space: _Space) -> None:
    """Traffic in every lane; what drives ahead of the ego car keeps about its pace."""
    street = world.street
    for lane in range(street.lanes):
        for sign in (1, -1):
            side = sign * (lane + 0.5) * street.lane_m
            own = sign > 0 and abs(side - world.ego_side) < 1.2
            z = float(rng.uniform(11, 34) if own else rng.uniform(7, 26))
            while z < 110:
                size = _car_size(rng)
                if rng.random() < 0.75 and space.take(side, z, size[0], size[2], 0.6):
                    pace = world.speed_mps * float(rng.uniform(0.85, 1.05)) * (1 if sign > 0 else -0.9)
                    world.add(
                        "car",
                        ("car",),
                        side + float(rng.normal(0, 0.15)),
                        z,
                        size=size,
                        seed=_seed(rng),
                        turn=(0.0 if sign > 0 else math.pi) + float(rng.normal(0, 0.02)),
                        speed=pace,
                    )
                z += float(rng.uniform(9, 32))


def _parked(world: World, rng: Rng, space: _Space) -> None:
    street = world.street
    for sign in (1, -1):
        part = street.sides[0 if sign > 0 else 1]
        if part.parking == 0:
            continue
        side = street.half(sign) + sign * part.parking / 2
        z = float(rng.uniform(2, 7))
        while z < 100:
            size = _car_size(rng)
            clear = not any(lo - 5 < z < hi + 4 for lo, hi in street.junctions)
            if clear and rng.random() < 0.72 and space.take(side, z, size[0], size[2], 0.2):
                world.add(
                    "car",
                    ("car",),
                    side + float(rng.normal(0, 0.08)),
                    z,
                    size=size,
                    seed=_seed(rng),
                    turn=(0.0 if sign > 0 else math.pi) + float(rng.normal(0, 0.03)),
                )
            z += size[2] + float(rng.uniform(0.7, 1.8))


def _walkers(world: World, rng: Rng, space: _Space) -> None:
    """People on the sidewalks, alone and in groups, and some who cross the road at junctions."""
    street = world.street
    for _ in range(int(rng.integers(5, 13))):
        sign = 1 if rng.random() < 0.6 else -1
        part = street.sides[0 if sign > 0 else 1]
        z = 6 + float(rng.exponential(16))
        for member in range(int(rng.choice([1, 1, 1, 2, 3]))):
            side = street.half(sign) + sign * (part.parking + part.strip + float(rng.uniform(0.5, part.sidewalk - 0.3)))
            _person(world, rng, space, side, z + member * 0.8, float(rng.choice([0.0, math.pi])))
    for lo, _hi in street.junctions[:2]:
        for _ in range(int(rng.integers(0, 4))):
            side = float(rng.uniform(street.half(-1), street.half(1)))
            _person(
                world, rng, space, side, lo - float(rng.uniform(1.6, 4.4)), float(rng.choice([-1, 1])) * math.pi / 2
            )


def _person(world: World, rng: Rng, space: _Space, side: float, z: float, turn: float) -> Thing | None:
    if not space.take(side, z, 0.7, 0.7):
        return None
    small = rng.random() < 0.08
    height = float(rng.uniform(1.05, 1.4)) if small else float(np.clip(rng.normal(1.73, 0.09), 1.5, 2.0))
    walks = rng.random() < 0.8
    pace = float(rng.uniform(1.0, 1.5)) if walks else 0.0
    return world.add(
        "person",
        ("person",),
        side,
        z,
        turn=turn + float(rng.normal(0, 0.2)),
        seed=_seed(rng),
        size=(0.5, height, 0.4),
        speed=pace * math.cos(turn),
        drift=pace * math.sin(turn),
        phase=float(rng.uniform(0.2, 6)) if walks else 0.0,
    )
