"""The plan of a street: centre line, lanes, kerbs, what is flat where, and which markings lie on it.

Across the street everything is measured by ``side``: metres to the right of the centre line. Along it by world Z.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetscenes.camera import Array
from streetscenes.light import linear
from streetscenes.textures import cover, wrap

_F = np.float32
ROAD, SIDEWALK, PARKING, GRASS, RAILS = range(5)
FLAT_NAMES = ("road", "sidewalk", "parking", "terrain", "rail track")


@dataclass(frozen=True)
class Side:
    """One side of the street, from its kerb outwards, metres (all widths positive)."""

    parking: float
    strip: float
    sidewalk: float
    verge: float


@dataclass(frozen=True)
class Street:
    """The ground plan. ``junctions``: stretches (from, to) along Z where another road crosses."""

    seed: int
    lane_m: float
    lanes: int
    curvature: float
    sides: tuple[Side, Side]
    junctions: tuple[tuple[float, float], ...]
    end_m: float
    tram_m: float
    has_tram: bool
    cobbles: bool
    seam_m: float
    slab_m: float
    asphalt: Array
    slab: Array
    dryness: float
    zebra: bool
    heights: tuple[tuple[float, float, float, int], ...] = ()

    def centre(self, z: Array) -> Array:
        """World X of the centre line at Z."""
        out: Array = _F(0.5 * self.curvature) * z * z
        return out

    def place(self, side: float, z: float) -> tuple[float, float, float]:
        """World X, Z and heading (radians to the right of +Z) of a place beside the centre line."""
        return 0.5 * self.curvature * z * z + side, z, float(np.arctan(self.curvature * z))

    def half(self, sign: int) -> float:
        """Signed ``side`` of the kerb on the right (1) or left (-1)."""
        return sign * self.lanes * self.lane_m

    def house(self, sign: int) -> float:
        """Signed ``side`` of the building line."""
        s = self.sides[0 if sign > 0 else 1]
        return self.half(sign) + sign * (s.parking + s.strip + s.sidewalk + s.verge)

    def crossing(self, z: Array) -> Array:
        """(N,) bool: inside a junction."""
        out = np.zeros(z.shape, bool)
        for lo, hi in self.junctions:
            out |= (z > lo) & (z < hi)
        return out

    def flat_kind(self, side: Array, z: Array) -> Array:
        """(N,) int32: ROAD, SIDEWALK, PARKING, GRASS or RAILS."""
        out = np.full(side.shape, SIDEWALK, np.int32)
        for sign, part in ((1, self.sides[0]), (-1, self.sides[1])):
            away = side * _F(sign) - _F(abs(self.half(sign)))
            out[(away > 0) & (away < part.parking)] = PARKING
            at = part.parking
            out[(away >= at + 0.15) & (away < at + part.strip)] = GRASS
            at += part.strip + part.sidewalk
            if part.verge > 0:
                out[away >= at] = GRASS
        out[np.abs(side) <= self.half(1)] = ROAD
        for lo, hi in self.junctions:
            middle, reach = (lo + hi) / 2, (hi - lo) / 2
            # Kerbs turn into the crossing road with a radius.
            round_ = np.clip(_F(4.0) - np.maximum(np.abs(side) - _F(self.half(1)), 0), 0, 4) ** 2 * _F(0.19)
            out[np.abs(z - middle) < reach + round_ - 1.0] = ROAD
        if self.has_tram:
            out[(np.abs(side - _F(self.tram_m)) < 1.35) & (out == ROAD) & ~self.crossing(z)] = RAILS
        return out

    def roofs(self, z: Array) -> list[tuple[float, Array]]:
        """Per side (signed building line, height of the houses (N,) along Z), for the shade they cast."""
        out: list[tuple[float, Array]] = []
        for sign in (1, -1):
            height = np.zeros(z.shape, np.float32)
            for lo, hi, top, of in self.heights:
                if of == sign:
                    height[(z >= lo) & (z < hi)] = top
            out.append((self.house(sign), height))
        return out

    def markings(self, side: Array, z: Array, fu: Array, fv: Array) -> Array:
        """How much white paint (N,) in [0, 1] lies on the road."""
        paint = np.zeros(side.shape, np.float32)
        dash = cover(wrap(z, _F(9.0)), 0.0, 3.6, fv)
        far = np.clip(fv / _F(9.0), 0, 1)
        dash = dash + far * (_F(0.4) - dash)
        for lane in range(-self.lanes + 1, self.lanes):
            solid = lane == 0 and self.lanes > 1
            line = cover(side - _F(lane * self.lane_m), -0.065, 0.065, fu)
            paint = np.maximum(paint, line if solid else line * dash)
        if self.lanes > 1:
            edge = cover(np.abs(np.abs(side) - _F(self.half(1) - 0.35)), -0.06, 0.06, fu)
            paint = np.maximum(paint, edge)
        for lo, hi in self.junctions:
            paint *= ~((z > lo - 1.0) & (z < hi + 1.0))
            stop = cover(z, lo - 6.1, lo - 5.6, fv) * cover(side, 0.2, self.half(1) - 0.2, fu)
            if self.zebra:
                bars = cover(wrap(side, _F(1.0)), 0.0, 0.5, fu) * cover(z, lo - 4.6, lo - 1.4, fv)
                stop = np.maximum(stop, bars * (np.abs(side) < self.half(1) - 0.2))
            paint = np.maximum(paint, stop)
            arrow = np.clip(1 - np.abs(z - _F(lo - 13)) / 2, 0, 1) * _F(0.5) + _F(0.09)
            lane_at = np.abs(side - _F(self.lane_m * 0.5))
            head = (z > lo - 13) & (z < lo - 11) & (lane_at < arrow * 0.8)
            shaft = (z > lo - 15.5) & (z <= lo - 13) & (lane_at < 0.09)
            paint = np.maximum(paint, (head | shaft).astype(np.float32))
        return paint


def draw_street(rng: np.random.Generator, quiet: bool) -> Street:
    """A random plan; ``quiet`` streets have one lane each way."""
    lanes = 1 if quiet else 2
    sides = tuple(
        Side(
            parking=2.2 if rng.random() < 0.4 else 0.0,
            strip=float(rng.uniform(1.2, 2.6)) if rng.random() < 0.25 else 0.0,
            sidewalk=float(rng.uniform(2.2, 4.2)),
            verge=float(rng.uniform(2.0, 4.5)) if rng.random() < 0.3 else 0.0,
        )
        for _ in range(2)
    )
    junctions: list[tuple[float, float]] = []
    at = float(rng.uniform(26, 48))
    while at < 130:
        if rng.random() < 0.75:
            junctions.append((at, at + float(rng.uniform(8, 12))))
        at += float(rng.uniform(34, 60))
    gray = float(rng.uniform(88, 124))
    slab = float(rng.uniform(138, 172))
    return Street(
        seed=int(rng.integers(1 << 30)),
        lane_m=float(rng.uniform(3.1, 3.6)),
        lanes=lanes,
        curvature=float(rng.choice([0.0, 0.0, 1.0])) * float(rng.uniform(-1, 1)) / 420,
        sides=(sides[0], sides[1]),
        junctions=tuple(junctions),
        end_m=float(rng.uniform(95, 220)),
        tram_m=0.0,
        has_tram=False,
        cobbles=bool(rng.random() < 0.18),
        seam_m=float(rng.uniform(-2, 2)),
        slab_m=float(rng.choice([0.35, 0.5, 0.8])),
        asphalt=linear((gray, gray, gray + float(rng.uniform(-2, 5)))),
        slab=linear((slab + 6, slab, slab - float(rng.uniform(4, 16)))),
        dryness=float(rng.uniform(0.0, 0.6)),
        zebra=bool(rng.random() < 0.6),
    )
