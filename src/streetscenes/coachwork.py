"""The painted sides of vehicles: doors, windows, wheels, lamps, plates, lettering."""

from __future__ import annotations

import numpy as np

from streetscenes.camera import Array
from streetscenes.light import linear
from streetscenes.materials import DARK, TYRE, Color, glazing, grain, lit, mix
from streetscenes.raster import Cut, Frag, Shade
from streetscenes.textures import cover, hash01, scaled, wrap

_F = np.float32


def paint(f: Frag, base: Array, seed: int) -> Array:
    """Lacquer: hardly any grain, the street's reflection as a slow change of tone, and a clear coat's shine."""
    tone = 1 + _F(0.05) * grain(f, seed, 0.05, 1.1) + _F(0.02) * grain(f, seed, 0.006, 0.4)
    out: Array = lit(f, scaled(base, tone)) + f.light * _F(0.022)
    return out


def lacquer(color: Color, seed: int) -> Shade:
    """Plain bodywork."""
    base = linear(color)
    return lambda f: paint(f, base, seed)


def wheel_cut(axles: tuple[float, ...], radius: float, sill: float) -> Cut:
    """A side that reaches the ground only where its wheels do. v is measured from the ground."""

    def cut(u: Array, v: Array, footprint: Array) -> Array:
        keep = v > sill
        for axle in axles:
            keep = keep | ((u - _F(axle)) ** 2 + (v - _F(radius)) ** 2 < _F(radius * radius))
        return keep

    return cut


def wheels(f: Frag, color: Array, axles: tuple[float, ...], radius: float) -> Array:
    """Arches, tyres and rims painted onto a side."""
    for axle in axles:
        off = np.sqrt((f.u - _F(axle)) ** 2 + (f.v - _F(radius)) ** 2)
        color = mix(color, DARK * f.light * _F(0.4), cover(off, -1, radius * 1.14, f.fu))
        color = mix(color, TYRE * f.light, cover(off, -1, radius, f.fu))
        angle = np.arctan2(f.v - _F(radius), f.u - _F(axle))
        spokes = _F(0.55) + _F(0.45) * (np.sin(angle * 5) > -0.2)
        color = mix(color, scaled(linear((172, 174, 178)) * f.light, spokes), cover(off, -1, radius * 0.64, f.fu))
        color = mix(color, DARK * f.light, cover(off, -1, radius * 0.12, f.fu))
    return color


def car_flank(color: Color, length: float, belt: float, axles: tuple[float, float], radius: float, seed: int) -> Shade:
    """A car's side below its windows; u from the left edge, v from the ground."""
    base = linear(color)

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        out = scaled(out, _F(0.62) + _F(0.5) * np.clip(f.v / _F(belt), 0, 1))
        crease = cover(f.v, belt - 0.2, belt - 0.16, f.fv)
        out = mix(out, out * _F(1.35), crease)
        out = mix(out, DARK * f.light, cover(f.v, -1, 0.3, f.fv) * _F(0.85))
        lo, hi = min(axles) + 0.45, max(axles) - 0.45
        for gap in (lo, (lo + hi) / 2, hi):
            out = mix(out, out * _F(0.35), cover(f.u, gap - 0.012, gap + 0.012, f.fu) * cover(f.v, 0.32, 2, f.fv))
        for handle in ((lo + hi) / 2 - 0.25, hi - 0.25):
            out = mix(
                out,
                DARK * f.light,
                cover(f.u, handle, handle + 0.16, f.fu) * cover(f.v, belt - 0.13, belt - 0.09, f.fv),
            )
        return wheels(f, out, axles, radius)

    return shade


def car_glass(color: Color, pillars: tuple[float, ...], rise: float, seed: int) -> Shade:
    """A band of side windows between painted pillars; v from the belt line, ``rise`` high."""
    base = linear(color)

    def shade(f: Frag) -> Array:
        tone = _F(0.9) + _F(0.5) * grain(f, seed, 0.12, 1.3)
        out = glazing(f, np.clip(tone, 0.2, 3), f.v / _F(rise) + _F(0.25))
        for pillar in pillars:
            out = mix(out, DARK * f.light, cover(f.u, pillar - 0.045, pillar + 0.045, f.fu))
        edge = 1 - cover(f.v, 0.05, rise - 0.07, f.fv)
        return mix(out, paint(f, base, seed), edge)

    return shade


def screen(color: Color, width: float, rise: float, seed: int) -> Shade:
    """A windscreen or rear window in its frame, with the shapes of seats behind."""
    base = linear(color)

    def shade(f: Frag) -> Array:
        seat = hash01(np.floor(f.u / _F(width / 4)), 0, seed) * (f.v < rise * 0.55)
        out = glazing(f, _F(0.7) + _F(1.6) * seat, f.v / _F(rise) * _F(0.8) + _F(0.3))
        inside = cover(f.u, 0.09, width - 0.09, f.fu) * cover(f.v, 0.04, rise - 0.06, f.fv)
        return mix(paint(f, base, seed), out, inside)

    return shade


def car_rear(color: Color, width: float, bottom: float, top: float, seed: int, braking: bool) -> Shade:
    """Lamps, plate, bumper; v from the bumper's lower edge."""
    base = linear(color)
    height = top - bottom
    lamp = linear((235, 36, 26)) * _F(1.5 if braking else 0.55)
    tall = hash01(np.array([seed]), 1, 5)[0] > 0.5

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        half = _F(width / 2)
        away = np.abs(f.u - half)
        low = cover(f.v, -1, 0.17, f.fv)
        out = mix(out, DARK * f.light, low * _F(0.9))
        lo, hi = (0.3, height - 0.04) if tall else (height - 0.28, height - 0.06)
        lamps = cover(away, width / 2 - (0.2 if tall else 0.42), width / 2 - 0.03, f.fu) * cover(f.v, lo, hi, f.fv)
        out = mix(out, lamp + f.light * _F(0.03), lamps)
        plate = cover(away, -1, 0.26, f.fu) * cover(f.v, height * 0.42, height * 0.42 + 0.115, f.fv)
        sign = _F(0.75) - _F(0.6) * ((hash01(np.floor(f.u / _F(0.045)), 2, seed) > 0.45) & (f.fu < 0.05))
        out = mix(out, f.light * sign[:, None] * _F(0.8), plate)
        seam = cover(f.v, height * 0.36, height * 0.36 + 0.02, f.fv) * _F(0.6)
        return mix(out, DARK * f.light, seam)

    return shade


def car_front(color: Color, width: float, bottom: float, top: float, seed: int) -> Shade:
    """Grille, headlamps, plate; v from the bumper's lower edge."""
    base = linear(color)
    height = top - bottom

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        away = np.abs(f.u - _F(width / 2))
        bars = _F(0.35) + _F(0.65) * (wrap(f.v, _F(0.05)) > 0.02)
        grille = cover(away, -1, 0.48, f.fu) * cover(f.v, height * 0.45, height * 0.8, f.fv)
        out = mix(out, scaled(DARK * f.light, bars), grille)
        lamps = cover(away, width / 2 - 0.42, width / 2 - 0.05, f.fu) * cover(f.v, height * 0.55, height * 0.86, f.fv)
        bulb = linear((250, 248, 235)) * _F(0.85)
        out = mix(out, bulb + f.light * _F(0.1), lamps)
        intake = cover(away, -1, width / 2 - 0.25, f.fu) * cover(f.v, 0.04, 0.16, f.fv)
        out = mix(out, DARK * f.light, intake)
        plate = cover(away, -1, 0.26, f.fu) * cover(f.v, height * 0.26, height * 0.26 + 0.11, f.fv)
        return mix(out, f.light * _F(0.62), plate)

    return shade


def coach_side(
    color: Color,
    stripe: Color,
    length: float,
    height: float,
    axles: tuple[float, ...],
    radius: float,
    window: tuple[float, float],
    pitch: float,
    doors: tuple[float, ...],
    seed: int,
) -> Shade:
    """The flank of a bus or tram: a long row of panes, doors, a stripe; v from the ground."""
    base, band = linear(color), linear(stripe)

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        out = mix(out, paint(f, band, seed), cover(f.v, window[0] - 0.55, window[0] - 0.2, f.fv))
        out = mix(out, paint(f, band, seed + 1), cover(f.v, height - 0.25, height + 1, f.fv))
        column = np.floor(f.u / _F(pitch))
        pane = cover(f.u - column * _F(pitch), 0.06, pitch - 0.06, f.fu) * cover(f.v, window[0], window[1], f.fv)
        pane = pane * cover(f.u, 0.3, length - 0.3, f.fu)
        people = hash01(np.floor(f.u / _F(0.55)), 1, seed) * (f.v < window[0] + 0.6)
        glass = glazing(f, _F(0.8) + _F(2.4) * people, (f.v - window[0]) / (window[1] - window[0]) + _F(0.1))
        out = mix(out, glass, pane)
        for door in doors:
            leaf = cover(f.u, door, door + 1.25, f.fu) * cover(f.v, 0.32, window[1] + 0.1, f.fv)
            out = mix(out, DARK * f.light, leaf)
            for half in (door + 0.08, door + 0.68):
                hole = cover(f.u, half, half + 0.49, f.fu) * cover(f.v, 0.5, window[1], f.fv)
                out = mix(out, glazing(f, np.full(f.u.shape, 1.4, np.float32), f.v / 3), hole)
        out = mix(out, DARK * f.light, cover(f.v, -1, 0.36, f.fv) * _F(0.7))
        return wheels(f, out, axles, radius)

    return shade


def coach_end(
    color: Color, stripe: Color, width: float, height: float, front: bool, seed: int, display: bool = True
) -> Shade:
    """The face of a bus, tram or truck cab: a wide pane, a line display, lamps; v from its lower edge."""
    base, band = linear(color), linear(stripe)
    pane_lo = height * (0.42 if front else 0.52)

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        away = np.abs(f.u - _F(width / 2))
        out = mix(out, paint(f, band, seed), cover(f.v, 0.3, 0.62, f.fv))
        pane = cover(away, -1, width / 2 - 0.13, f.fu) * cover(f.v, pane_lo, height * 0.83, f.fv)
        glass = glazing(f, np.full(f.u.shape, 0.8, np.float32), (f.v - pane_lo) / (height * 0.4) + _F(0.2))
        out = mix(out, glass, pane)
        wiper = np.abs(f.v - _F(pane_lo) - wrap(f.u, _F(width / 2)) * _F(0.22)) < 0.018
        out = mix(out, DARK * f.light * _F(0.5), wiper * pane)
        bars = cover(wrap(f.v, _F(0.09)), 0.0, 0.045, f.fv) * cover(away, -1, width * 0.3, f.fu)
        out = mix(out, DARK * f.light, bars * cover(f.v, pane_lo - 0.42, pane_lo - 0.14, f.fv) * _F(0.8))
        if display:
            board = cover(away, -1, width * 0.36, f.fu) * cover(f.v, height * 0.86, height * 0.95, f.fv)
            out = mix(out, DARK * f.light, board)
            text = (hash01(np.floor(f.u / _F(0.11)), 3, seed) > 0.4) * cover(f.v, height * 0.875, height * 0.935, f.fv)
            out = mix(out, linear((250, 170, 40)), text * cover(away, -1, width * 0.3, f.fu) * _F(0.8))
        lamps = cover(away, width / 2 - 0.38, width / 2 - 0.1, f.fu) * cover(f.v, 0.28, 0.5, f.fv)
        lamp = linear((250, 248, 235)) * _F(0.85) if front else linear((225, 30, 24)) * _F(0.7)
        out = mix(out, lamp + f.light * _F(0.05), lamps)
        return mix(out, DARK * f.light, cover(f.v, -1, 0.1, f.fv))

    return shade


def cargo_side(
    color: Color,
    mark: Color,
    length: float,
    bottom: float,
    height: float,
    axles: tuple[float, ...],
    radius: float,
    seed: int,
) -> Shade:
    """A truck's box or tarpaulin: ribs, a sign, wheels below; v from the ground."""
    base, sign = linear(color), linear(mark)

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        rib = wrap(f.u, _F(0.6))
        fold = _F(1) + _F(0.1) * np.sin(f.u * _F(10.5)) * np.clip(1.2 - f.fu / 0.3, 0, 1)
        out = mix(scaled(out, fold), out * _F(0.7), cover(rib, 0.0, 0.03, f.fu))
        middle = bottom + height * 0.55
        logo = cover(f.u, length * 0.18, length * 0.74, f.fu) * cover(f.v, middle - 0.3, middle + 0.3, f.fv)
        stroke = hash01(np.floor(f.u / _F(0.28)), 5, seed) > 0.35
        out = mix(out, sign * f.light, logo * stroke * np.clip(1.5 - f.fu / 0.3, 0.4, 1))
        out = mix(out, DARK * f.light, cover(f.v, -1, bottom, f.fv) * _F(0.9))
        return wheels(f, out, axles, radius)

    return shade


def cargo_end(color: Color, width: float, seed: int) -> Shade:
    """A truck's rear doors with bars, lamps and warning stripes; v from its lower edge."""
    base = linear(color)

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        away = np.abs(f.u - _F(width / 2))
        out = mix(out, DARK * f.light, cover(away, -1, 0.02, f.fu))
        out = mix(out, out * _F(0.55), cover(np.abs(away - _F(0.45)), -1, 0.03, f.fu))
        beam = cover(f.v, -1, 0.2, f.fv)
        stripes = wrap(f.u + f.v, _F(0.3)) < 0.15
        warn = np.where(stripes[:, None], linear((214, 46, 36)), linear((226, 224, 216)))
        out = mix(out, warn * f.light, beam * np.clip(1.4 - f.fu / 0.15, 0.5, 1))
        lamp = cover(away, width / 2 - 0.3, width / 2 - 0.05, f.fu) * cover(f.v, 0.22, 0.36, f.fv)
        return mix(out, linear((220, 30, 24)) * _F(0.7), lamp)

    return shade


def tram_end(color: Color, stripe: Color, width: float, height: float, seed: int) -> Shade:
    """The face of a tram: a panoramic pane that narrows upwards, three lamps, a coupler, a line number."""
    base, band = linear(color), linear(stripe)

    def shade(f: Frag) -> Array:
        out = paint(f, base, seed)
        away = np.abs(f.u - _F(width / 2))
        out = mix(
            out, paint(f, band, seed), cover(away, width * 0.3, width, f.fu) * cover(f.v, 0.0, height * 0.36, f.fv)
        )
        edge = _F(width / 2 - 0.1) - _F(0.12) * np.clip(f.v - _F(height * 0.36), 0, 3)
        pane = cover(away, -1, edge, f.fu) * cover(f.v, height * 0.36, height * 0.94, f.fv)
        glass = glazing(f, np.full(f.u.shape, 0.7, np.float32), (f.v - height * 0.36) / (height * 0.55) + _F(0.1))
        driver = cover(f.u, width * 0.52, width * 0.68, f.fu) * cover(f.v, height * 0.36, height * 0.58, f.fv)
        glass = mix(glass, DARK * f.light * _F(0.5), driver)
        out = mix(out, glass, pane)
        number = cover(away, -1, 0.3, f.fu) * cover(f.v, height * 0.8, height * 0.9, f.fv)
        digit = hash01(np.floor(f.u / _F(0.09)), 3, seed) > 0.4
        out = mix(out, linear((250, 196, 70)), number * digit)
        side = np.hypot(away - _F(width * 0.34), f.v - _F(0.55))
        middle = np.hypot(away, f.v - _F(height * 0.31))
        lamp = np.maximum(cover(side, -1, 0.14, f.fu), cover(middle, -1, 0.1, f.fu))
        out = mix(out, linear((250, 248, 235)) * _F(0.9) + f.light * _F(0.05), lamp)
        coupler = cover(away, -1, 0.32, f.fu) * cover(f.v, 0.05, 0.42, f.fv)
        out = mix(out, DARK * f.light, coupler)
        return mix(out, DARK * f.light, cover(f.v, -1, 0.14, f.fv))

    return shade
