"""Importance once more, as a loop over pixels: written from the formulas, shares no code with the package."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from vcmbench.data.labels import BY_ID


@dataclass(frozen=True)
class Scene:
    labels: Any
    instances: Any
    disparity: Any
    fx_px: float
    baseline_m: float
    speed_mps: float


def kind(label: int) -> str:
    category = BY_ID[label].category
    return "void" if category == "void" else "distance" if category in {"human", "vehicle"} else "fixed"


def falloff(distance: float, d_safe: float) -> float:
    if distance <= d_safe:
        return 1.0
    return math.exp(-(math.log(2) / d_safe) * (distance - d_safe))


def expected(
    scene: Scene,
    aggregate: str = "instance",
    use_distance: bool = True,
    use_class: bool = True,
    use_speed: bool = True,
    d_safe_floor_m: float = 5.0,
) -> list[list[float]]:
    speed = scene.speed_mps if use_speed else 10.0
    d_safe = max(d_safe_floor_m, speed * 2.5 + speed**2 / (2 * 3.4))
    height, width = scene.labels.shape
    labels, instances, disparity = scene.labels.tolist(), scene.instances.tolist(), scene.disparity.tolist()

    def distance(raw: int) -> float:
        return math.inf if raw == 1 else scene.fx_px * scene.baseline_m / ((raw - 1) / 256)

    def owner(y: int, x: int) -> tuple[int, int]:
        is_whole = aggregate == "class" or kind(labels[y][x]) == "fixed"
        return labels[y][x], 0 if is_whole else instances[y][x]

    distances: dict[tuple[int, int], list[float]] = defaultdict(list)
    for y in range(height):
        for x in range(width):
            distances[owner(y, x)] += [distance(disparity[y][x])] if disparity[y][x] else []
    own = {key: statistics.median(found) for key, found in distances.items() if len(found) >= 5}

    def of_object(key: tuple[int, int]) -> float:
        if key in own:
            return falloff(own[key], d_safe)
        others = [value for other, value in own.items() if other[0] == key[0]]
        return falloff(statistics.median(others), d_safe) if others else 0.5

    objects = {key: of_object(key) for key in distances}

    def value(y: int, x: int) -> float:
        what = kind(labels[y][x])
        if what == "void":
            return 0.0
        if what == "fixed" and use_class:
            return 1.0 if labels[y][x] in (7, 8) else 0.1  # road, sidewalk
        if not use_distance:
            return 1.0
        if (aggregate == "pixel" or what == "fixed") and disparity[y][x]:
            return falloff(distance(disparity[y][x]), d_safe)
        return objects[owner(y, x)]

    return [[value(y, x) for x in range(width)] for y in range(height)]
