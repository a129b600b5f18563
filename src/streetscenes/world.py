"""What stands where: a street, its houses, trees, furniture, vehicles and people, from one seed.

Everything is placed in street coordinates (``side`` metres to the right of the centre line, ``z`` metres along) at
time 0; ``Thing.at`` moves it to a later time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from streetscenes.camera import Camera
from streetscenes.facade import Style
from streetscenes.labels import BY_NAME
from streetscenes.light import Light, draw_light
from streetscenes.shapes import Pose
from streetscenes.street import FLAT_NAMES, Street

FIRST_FLAT_OBJ = 1


@dataclass(frozen=True)
class Thing:
    """One thing: ``objects`` are the numbers of its parts, ``speed`` is metres a second along its heading."""

    kind: str
    objects: tuple[int, ...]
    side: float
    z: float
    turn: float = 0.0
    size: tuple[float, float, float] = (1.0, 1.0, 1.0)
    seed: int = 0
    speed: float = 0.0
    drift: float = 0.0
    phase: float = 0.0
    style: Style | None = None
    detail: str = ""

    def at(self, time_s: float) -> Thing:
        """The same thing later."""
        if time_s == 0 or (self.speed == 0 and self.drift == 0):
            return self
        pace = 2 * np.pi * 0.9 if self.kind in ("person", "cyclist") else 0.0
        moved = self.phase + (pace * time_s if self.phase != 0 else 0.0)
        return replace(self, z=self.z + self.speed * time_s, side=self.side + self.drift * time_s, phase=moved)


@dataclass
class World:
    """A whole scene. ``objects[k]`` is (label id, instance number or -1) of object k."""

    seed: int
    street: Street
    light: Light
    ego_side: float
    ego_yaw: float
    speed_mps: float
    things: list[Thing] = field(default_factory=list)
    objects: list[tuple[int, int]] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)

    def add_object(self, name: str) -> int:
        """A new object of class ``name``; instances are counted within their class."""
        label = BY_NAME[name]
        number = -1
        if label.has_instances:
            number = self.counts.get(label.label_id, 0)
            self.counts[label.label_id] = number + 1
        self.objects.append((label.label_id, number))
        return len(self.objects) - 1

    def add(self, kind: str, names: tuple[str, ...], side: float, z: float, **more: object) -> Thing:
        """Place a thing whose parts belong to the classes ``names``."""
        thing = Thing(kind, tuple(self.add_object(n) for n in names), side, z)
        thing = replace(thing, **more)  # type: ignore[arg-type]
        self.things.append(thing)
        return thing

    def pose(self, thing: Thing) -> Pose:
        """Where the thing stands in the world."""
        x, z, heading = self.street.place(thing.side, thing.z)
        return Pose(x, z, heading + thing.turn)

    def camera(self, width: int, height: int, time_s: float) -> Camera:
        """The camera after ``time_s`` of driving along the lane."""
        x, z, heading = self.street.place(self.ego_side, self.speed_mps * time_s)
        return Camera.scaled(width, height, x, z, heading + self.ego_yaw)

    def vehicle(self) -> dict[str, float]:
        """The content of ``*_vehicle.json``."""
        rng = np.random.default_rng([self.seed, 99])
        return {
            "gpsHeading": round(float(rng.uniform(0, 360)), 3),
            "gpsLatitude": round(float(rng.uniform(48.0, 53.5)), 7),
            "gpsLongitude": round(float(rng.uniform(7.0, 13.5)), 7),
            "outsideTemperature": round(float(rng.uniform(4, 28)), 1),
            "speed": round(self.speed_mps, 4),
            "yawRate": round(self.speed_mps * self.street.curvature, 6),
        }


def new_world(seed: int, rng: np.random.Generator, street: Street) -> World:
    """An empty street with its light and the ego car on it."""
    lane = int(rng.integers(street.lanes))
    stopped = rng.random() < 0.12
    speed = 0.0 if stopped else float(rng.uniform(2.0, 16.0))
    world = World(
        seed=seed,
        street=street,
        light=draw_light(rng),
        ego_side=(lane + 0.5) * street.lane_m + float(rng.normal(0, 0.15)),
        ego_yaw=float(rng.normal(0, 0.022)),
        speed_mps=speed,
    )
    world.add_object("sky")
    for name in FLAT_NAMES:
        world.add_object(name)
    return world
