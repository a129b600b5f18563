"""The fixed part of a scene: houses, walls, fences, trees, poles, lights and signs along the street."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from streetscenes.facade import draw_style
from streetscenes.furniture import SIGN_KINDS
from streetscenes.street import Side
from streetscenes.world import World

Rng = np.random.Generator


def _seed(rng: Rng) -> int:
    return int(rng.integers(1, 1 << 30))


def plan_sides(world: World, rng: Rng, ensure: tuple[str, ...]) -> dict[int, str]:
    """What borders the street on the right (1) and left (-1): houses, wall, fence or park. Adapts the kerb strips."""
    borders = {
        sign: str(rng.choice(["houses", "houses", "houses", "mixed", "wall", "fence", "park"])) for sign in (1, -1)
    }
    order = [1, -1] if rng.random() < 0.5 else [-1, 1]
    wanted = [name for name in ("wall", "fence") if name in ensure]
    for name, sign in zip(wanted, order, strict=False):
        borders[sign] = name
    sides = list(world.street.sides)
    for i, sign in enumerate((1, -1)):
        if borders[sign] in wanted:
            sides[i] = replace(sides[i], parking=0.0)
        if borders[sign] == "park":
            sides[i] = replace(sides[i], verge=float(rng.uniform(7, 12)), sidewalk=2.2)
    if "terrain" in ensure and "park" not in borders.values():
        i = 0 if order[0] == 1 else 1
        sides[i] = replace(sides[i], parking=0.0, strip=float(rng.uniform(2.2, 3.5)))
    world.street = replace(world.street, sides=(sides[0], sides[1]))
    return borders


def build_sides(world: World, rng: Rng, borders: dict[int, str]) -> None:
    """Fill both sides of the street and what closes it at its end."""
    heights: list[tuple[float, float, float, int]] = []
    for sign in (1, -1):
        z = -16.0
        while z < world.street.end_m:
            stop = _next_junction(world, z)
            if stop is not None and z >= stop[0] - 3.5:
                _side_street(world, rng, sign, stop)
                z = stop[1] + 3.5
                continue
            limit = min(world.street.end_m, (stop[0] - 3.5) if stop else world.street.end_m)
            kind = borders[sign] if z < 38 or rng.random() < 0.4 else "houses"
            if kind == "mixed":
                kind = str(rng.choice(["houses", "fence", "wall"]))
            z = _segment(world, rng, sign, z, limit, kind, heights)
    world.street = replace(world.street, heights=tuple(heights))
    _close_street(world, rng)


def _next_junction(world: World, z: float) -> tuple[float, float] | None:
    ahead = [j for j in world.street.junctions if j[1] > z]
    return min(ahead) if ahead else None


def _segment(
    world: World, rng: Rng, sign: int, z: float, limit: float, kind: str, heights: list[tuple[float, float, float, int]]
) -> float:
    """One stretch of one side from ``z``; returns where it ends."""
    line = world.street.house(sign)
    turn = -sign * math.pi / 2
    width = float(rng.uniform(9, 20))
    if limit - z < 5.0:
        return limit + 0.01
    width = min(width, limit - z) if limit - z - width > 6 else limit - z
    width = min(width, 26.0)
    middle = z + width / 2
    if kind == "houses":
        style = draw_style(rng)
        depth = float(rng.uniform(9, 13))
        world.add("house", ("building",), line, middle, turn=turn, size=(width, depth, 0), style=style)
        heights.append((z, z + width, style.height, sign))
        return z + width + (float(rng.uniform(1.5, 4)) if rng.random() < 0.15 else 0.0)
    world_style = draw_style(rng)
    back = line + sign * float(rng.uniform(7, 13) if kind != "park" else rng.uniform(14, 24))
    if rng.random() < 0.8:
        world.add(
            "house",
            ("building",),
            back,
            middle,
            turn=turn,
            size=(width * float(rng.uniform(0.6, 0.95)), 10.0, 0),
            style=replace(world_style, shop=False),
        )
    if kind == "wall":
        height = float(rng.uniform(1.3, 2.9))
        world.add("wall", ("wall",), line + sign * 0.15, middle, turn=turn, size=(width, height, 0.3), seed=_seed(rng))
        heights.append((z, z + width, height, sign))
    elif kind == "fence":
        world.add(
            "fence",
            ("fence",),
            line + sign * 0.1,
            middle,
            turn=turn,
            size=(width, float(rng.uniform(1.1, 2.1)), 0.05),
            seed=_seed(rng),
        )
        if rng.random() < 0.6:
            world.add(
                "hedge",
                ("vegetation",),
                line + sign * 2.2,
                middle,
                turn=turn,
                size=(width, float(rng.uniform(0.6, 1.5)), 1),
                seed=_seed(rng),
            )
    elif rng.random() < 0.6:
        world.add(
            "hedge",
            ("vegetation",),
            line - sign * 0.5,
            middle,
            turn=turn,
            size=(width * 0.9, float(rng.uniform(0.8, 2.0)), 1),
            seed=_seed(rng),
        )
    for _ in range(int(rng.integers(1, 4))):
        off = float(rng.uniform(1.5, 6.0)) if kind != "park" else float(rng.uniform(-5.5, 6.0))
        _tree(world, rng, line + sign * off, z + float(rng.uniform(0, width)), (5, 11))
    return z + width


def _tree(world: World, rng: Rng, side: float, z: float, span: tuple[float, float]) -> None:
    height = float(rng.uniform(*span))
    world.add("tree", ("vegetation",), side, z, size=(height * 0.3, height, 0), seed=_seed(rng))


def _side_street(world: World, rng: Rng, sign: int, junction: tuple[float, float]) -> None:
    """What one sees down a crossing road: a house across it, far off, and trees."""
    far = world.street.house(sign) + sign * float(rng.uniform(22, 40))
    style = draw_style(rng)
    middle = (junction[0] + junction[1]) / 2
    world.add("house", ("building",), far, middle, turn=-sign * math.pi / 2, size=(34.0, 8.0, 0), style=style)
    for _ in range(int(rng.integers(0, 3))):
        _tree(world, rng, far - sign * float(rng.uniform(2, 9)), junction[1] + float(rng.uniform(0.5, 6)), (5, 9))


def _close_street(world: World, rng: Rng) -> None:
    """Houses and trees across the end of the street."""
    x = -60.0
    end = world.street.end_m
    while x < 60:
        width = float(rng.uniform(12, 24))
        world.add(
            "house",
            ("building",),
            x + width / 2,
            end + float(rng.uniform(8, 14)),
            turn=math.pi,
            size=(width, 10.0, 0),
            style=draw_style(rng),
        )
        x += width
    for _ in range(int(rng.integers(3, 9))):
        _tree(world, rng, float(rng.uniform(-22, 22)), end + float(rng.uniform(2, 6)), (6, 13))


def build_furniture(world: World, rng: Rng) -> None:
    """Lamps, trees at the kerb, traffic lights, signs, bollards."""
    street = world.street
    for sign in (1, -1):
        part = street.sides[0 if sign > 0 else 1]
        kerb = street.half(sign) + sign * (part.parking + 0.45)
        z = float(rng.uniform(6, 16))
        gap = float(rng.uniform(16, 28))
        while z < 120:
            if not _in_junction(world, z):
                world.add(
                    "lamp",
                    ("pole",),
                    kerb,
                    z,
                    turn=math.pi if sign > 0 else 0.0,
                    size=(1.8, float(rng.uniform(5.5, 8)), 0.085),
                    seed=_seed(rng),
                )
            z += gap
        if rng.random() < 0.5:
            z, gap = float(rng.uniform(6, 18)), float(rng.uniform(9, 16))
            while z < 110:
                if not _in_junction(world, z) and rng.random() < 0.85:
                    _tree(world, rng, kerb + sign * 0.7, z, (5, 8.5))
                z += gap + float(rng.uniform(-1.5, 1.5))
        _signs(world, rng, sign, kerb)
    _signals(world, rng)


def _in_junction(world: World, z: float) -> bool:
    return any(lo - 2 < z < hi + 2 for lo, hi in world.street.junctions)


def _signs(world: World, rng: Rng, sign: int, kerb: float) -> None:
    z = float(rng.uniform(9, 15)) if sign > 0 else float(rng.uniform(14, 26))
    while z < 90:
        if not _in_junction(world, z):
            kind = str(rng.choice(SIGN_KINDS))
            y = float(rng.uniform(2.0, 2.5))
            world.add(
                "sign",
                ("traffic sign", "pole"),
                kerb + sign * float(rng.uniform(0, 0.4)),
                z,
                turn=float(rng.normal(0, 0.12)),
                size=(0.8, y, 0.03),
                seed=_seed(rng),
                detail=kind,
            )
        z += float(rng.uniform(12, 30))
    if rng.random() < 0.4:
        z = float(rng.uniform(5, 12))
        for _ in range(int(rng.integers(3, 8))):
            world.add("bollard", ("pole",), kerb, z, size=(0, 0.95, 0.055), seed=_seed(rng))
            z += 1.8


def _signals(world: World, rng: Rng) -> None:
    """Traffic lights before each junction, or at a crossing for walkers; some hang from a mast's arm."""
    street = world.street
    places = [lo - 3.0 for lo, _ in street.junctions if lo > 12][:2]
    if not places or places[0] > 45:
        places.insert(0, float(rng.uniform(14, 30)))
    for z in places:
        phase = int(rng.choice([0, 0, 1, 2, 2]))
        for sign in (1, -1):
            part = street.sides[0 if sign > 0 else 1]
            side = street.half(sign) + sign * (part.parking + 0.6)
            mast = sign > 0 and (street.lanes > 1 or rng.random() < 0.5)
            world.add(
                "signal",
                ("traffic light", "pole", "traffic light"),
                side,
                z + 0.5 * (sign < 0),
                size=(abs(side) * 0.6 if mast else 0.0, 5.6 if mast else 3.3, 0.07),
                seed=_seed(rng),
                phase=float(phase),
                turn=float(rng.normal(0, 0.06)),
            )


def quiet_parking(world: World, sign: int) -> None:
    """Take the parked row off one side, so that what stands on its sidewalk can be seen."""
    sides = list(world.street.sides)
    i = 0 if sign > 0 else 1
    sides[i] = Side(0.0, sides[i].strip, sides[i].sidewalk, sides[i].verge)
    world.street = replace(world.street, sides=(sides[0], sides[1]))
