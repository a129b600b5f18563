"""Everything flat, ray-cast: road with markings, kerbs, sidewalk, parking, grass, rails; shadows on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streetscenes.camera import CAMERA_HEIGHT_M, Array
from streetscenes.light import linear
from streetscenes.materials import mix
from streetscenes.raster import CHUNK, Canvas, Frag
from streetscenes.street import Street
from streetscenes.textures import cover, hash01, noise, scaled, wrap

_F = np.float32


@dataclass(frozen=True)
class Shadow:
    """What dims the ground about a thing: a soft box at (x, z), turned by ``heading``, half sizes in metres."""

    x: float
    z: float
    heading: float
    half_width: float
    half_length: float
    strength: float
    softness: float
    dappled: bool = False


def draw_ground(canvas: Canvas, street: Street, shadows: list[Shadow], first_obj: int) -> None:
    """Fill what lies below the horizon and is still empty; ``first_obj + k`` is the object of flat class k."""
    rows = np.arange(canvas.height, dtype=np.float32)
    inv_row = (rows - _F(canvas.v0)) / _F(canvas.fy * CAMERA_HEIGHT_M)
    first = int(np.searchsorted(inv_row, 1 / 600.0))
    empty = np.flatnonzero(canvas.inv_z[first * canvas.width :] == 0) + first * canvas.width
    for start in range(0, empty.size, CHUNK):
        _band(canvas, street, shadows, first_obj, empty[start : start + CHUNK], inv_row)


def _band(canvas: Canvas, street: Street, shadows: list[Shadow], first_obj: int, index: Array, inv_row: Array) -> None:
    row = index // canvas.width
    column = (index - row * canvas.width).astype(np.float32)
    inv = inv_row[row]
    depth = 1 / inv
    cx = (column - _F(canvas.u0)) * depth * _F(1 / canvas.fx)
    r = canvas.camera.rotation.astype(np.float32)
    x = cx * r[0, 0] + depth * r[2, 0] + _F(canvas.camera.x_m)
    z = cx * r[0, 2] + depth * r[2, 2] + _F(canvas.camera.z_m)
    side = x - street.centre(z)
    kind = street.flat_kind(side, z)
    canvas.inv_z[index] = inv
    canvas.obj[index] = first_obj + kind
    if canvas.labels_only:
        return
    frag = Frag(
        side,
        z,
        depth * _F(1 / canvas.fx),
        depth * depth * _F(1 / (canvas.fy * CAMERA_HEIGHT_M)),
        depth,
        canvas.light.on(np.array([0.0, 1.0, 0.0])),
    )
    albedo = np.empty((index.size, 3), np.float32)
    for number, paint in enumerate((_road, _sidewalk, _parking, _grass, _rails)):
        here = np.flatnonzero(kind == number)
        if here.size:
            part = frag.only(here)
            albedo[here] = paint(part, street)
    sunny, open_ = _shade(canvas, street, shadows, x, z, side)
    sky = canvas.light.sky_rgb
    sun = canvas.light.sun_rgb * _F(max(0.0, canvas.light.sun[1]))
    canvas.rgb[index] = albedo * (scaled(sky, open_) + scaled(sun, sunny * open_))


def _shade(
    canvas: Canvas, street: Street, shadows: list[Shadow], x: Array, z: Array, side: Array
) -> tuple[Array, Array]:
    """Share of the sun and of the sky (N,) that reach the ground."""
    sun = canvas.light.sun
    sunny = np.ones(x.shape, np.float32)
    slant = -sun[0] / max(sun[1], 0.15)
    for edge, roof in street.roofs(z):
        # A row of houses stands between the ground and the sun if the sun is on its side.
        if np.sign(edge) == np.sign(sun[0]) and abs(slant) > 0.05:
            until = (edge + roof * slant).astype(np.float32)
            inside = (side - until) * _F(np.sign(edge))
            sunny *= 1 - np.clip(inside / _F(0.7) + _F(0.5), 0, 1)
    open_ = np.ones(x.shape, np.float32)
    gap = np.minimum(np.abs(side - street.house(1)), np.abs(side - street.house(-1)))
    open_ *= _F(0.75) + _F(0.25) * np.clip(gap / 3, 0, 1)
    foot = np.full(1, 0.1, np.float32)
    left, right, first, last = x.min(), x.max(), z.min(), z.max()
    for s in shadows:
        reach = s.half_width + s.half_length + s.softness
        if left - s.x >= reach or s.x - right >= reach or first - s.z >= reach or s.z - last >= reach:
            continue
        near = np.flatnonzero((np.abs(x - s.x) < reach) & (np.abs(z - s.z) < reach))
        if near.size == 0:
            continue
        dx, dz = x[near] - _F(s.x), z[near] - _F(s.z)
        c, n = _F(np.cos(s.heading)), _F(np.sin(s.heading))
        px, pz = np.abs(dx * c - dz * n), np.abs(dx * n + dz * c)
        soft = _F(s.softness)
        amount = np.clip((_F(s.half_width) - px) / soft + _F(0.5), 0, 1)
        amount = amount * np.clip((_F(s.half_length) - pz) / soft + _F(0.5), 0, 1) * _F(s.strength)
        if s.dappled:
            round_ = (px / s.half_width) ** 2 + (pz / s.half_length) ** 2
            ragged = noise(0.9).sample(x[near], z[near], foot, foot, 0.12)
            amount = _F(s.strength) * np.clip((1 - round_) * 3 + ragged * _F(0.9), 0, 1)
            sunny[near] *= 1 - amount
        else:
            open_[near] *= 1 - amount
    return sunny, open_


def _tone(f: Frag, texel: float, beta: float = 0.7) -> Array:
    return noise(beta).sample(f.u, f.v, f.fu, f.fv, texel)


def _road(f: Frag, street: Street) -> Array:
    fine = _tone(f, 0.006, 0.45)
    broad = noise(1.1).sample(f.u, f.v * _F(0.35), f.fu, f.fv * _F(0.35), 0.07)
    tone = 1 + _F(0.17) * fine + _F(0.11) * broad
    # Wheels polish two tracks in each lane; tar seams run along the lanes' joints.
    lane = wrap(f.u, _F(street.lane_m)) / _F(street.lane_m)
    tone += _F(0.05) * np.cos(lane * _F(4 * np.pi))
    seam = np.abs(f.u + _F(0.3) * broad - _F(street.seam_m)) < 0.03 + f.fu * 0.5
    tone *= 1 - _F(0.3) * seam * np.clip(0.05 / np.maximum(f.fu, _F(0.03)), 0, 1)
    patch = hash01(np.floor(f.u / _F(2.1)), np.floor(f.v / _F(5.3)), street.seed)
    tone *= np.where(patch > 0.93, _F(0.72), _F(1.0))
    if street.cobbles:
        near = np.clip(1.2 - np.maximum(f.fu, f.fv) / 0.12, 0, 1)
        row = np.floor(f.v / _F(0.14))
        cell = np.floor(f.u / _F(0.14) + _F(0.5) * wrap(row, 2))
        tone *= 1 + near * _F(0.5) * (hash01(cell, row, street.seed) - _F(0.5))
        joint = np.minimum(wrap(f.v, _F(0.14)), wrap(f.u + _F(0.07) * wrap(row, 2), _F(0.14))) < 0.02
        tone *= 1 - _F(0.4) * joint * near
    albedo = scaled(street.asphalt, np.maximum(tone, _F(0.2)))
    wear = np.clip(_F(0.85) + _F(0.35) * broad + _F(0.12) * fine, 0.1, 1)
    albedo = mix(albedo, linear((222, 222, 216)), street.markings(f.u, f.v, f.fu, f.fv) * wear)
    edge = np.minimum(np.abs(f.u - street.half(1)), np.abs(f.u - street.half(-1)))
    gutter = np.clip(1 - edge / _F(0.35), 0, 1) * (~street.crossing(f.v))
    return scaled(albedo, 1 - _F(0.35) * gutter)


def _sidewalk(f: Frag, street: Street) -> Array:
    slab = street.slab_m
    size = _F(slab)
    row = np.floor(f.v / size)
    column = np.floor(f.u / size + _F(0.5) * wrap(row, 2))
    clear = np.clip(1.3 - np.maximum(f.fu, f.fv) / size, 0, 1)
    joint = 1 - cover(wrap(f.v, size), 0.012, slab - 0.012, f.fv) * cover(
        wrap(f.u + _F(0.5) * size * wrap(row, 2), size), 0.012, slab - 0.012, f.fu
    )
    tone = 1 + clear * (_F(0.22) * (hash01(column, row, street.seed) - _F(0.5)) - _F(0.45) * joint)
    tone += _F(0.1) * _tone(f, 0.008, 0.5) + _F(0.1) * _tone(f, 0.11, 1.1)
    albedo = scaled(street.slab, np.maximum(tone, _F(0.2)))
    # The kerb: a bright stone edge with a dark joint on the road's side.
    inner = np.abs(f.u) - np.where(f.u > 0, _F(abs(street.half(1))), _F(abs(street.half(-1))))
    kerb = cover(inner, 0.05, 0.2, f.fu)
    albedo = mix(albedo, linear((196, 194, 188)), kerb * _F(0.8))
    return mix(albedo, linear((48, 48, 50)), cover(inner, -0.05, 0.05, f.fu) * _F(0.8))


def _parking(f: Frag, street: Street) -> Array:
    row, column = np.floor(f.v / _F(0.12)), np.floor(f.u / _F(0.24))
    clear = np.clip(1.2 - np.maximum(f.fu, f.fv) / 0.2, 0, 1)
    tone = 1 + _F(0.3) * clear * (hash01(column, row, street.seed + 1) - _F(0.5)) + _F(0.12) * _tone(f, 0.05)
    line = cover(wrap(f.v, _F(5.6)), 0.0, 0.11, f.fv)
    return mix(scaled(linear((122, 112, 106)), tone), linear((205, 205, 200)), line * _F(0.8))


def _grass(f: Frag, street: Street) -> Array:
    blade = noise(0.35).sample(f.u, f.v * _F(0.5), f.fu, f.fv * _F(0.5), 0.012)
    broad = _tone(f, 0.09, 1.0)
    tone = np.clip(_F(0.95) + _F(0.33) * blade + _F(0.2) * broad, 0.2, 2)
    dry = np.clip(_F(street.dryness) + _F(0.3) * broad, 0, 1)
    albedo = mix(np.broadcast_to(linear((84, 112, 48)), (f.u.size, 3)), linear((140, 126, 82)), dry)
    return scaled(albedo, tone)


def _rails(f: Frag, street: Street) -> Array:
    tone = 1 + _F(0.35) * _tone(f, 0.012, 0.35) + _F(0.1) * _tone(f, 0.08)
    albedo = scaled(linear((112, 104, 96)), np.maximum(tone, _F(0.2)))
    sleeper = cover(wrap(f.v, _F(0.7)), 0.0, 0.26, f.fv) * np.clip(1.4 - f.fv / 0.7, 0, 1)
    albedo = mix(albedo, linear((140, 132, 120)), sleeper * _F(0.6))
    off = np.abs(np.abs(f.u - _F(street.tram_m)) - _F(0.7175))
    albedo = mix(albedo, linear((40, 36, 34)), cover(off, -1, 0.09, f.fu) * _F(0.7))
    return mix(albedo, linear((190, 190, 194)), cover(off, -1, 0.035, f.fu))
