"""One street scene: picture, labels, instances, distance, disparity, outlines, camera and vehicle data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streetscenes import disparity as stereo
from streetscenes.camera import Array, Camera
from streetscenes.draw import draw_solid, draw_veils, ordered, shadows
from streetscenes.ground import draw_ground
from streetscenes.labels import BY_NAME
from streetscenes.light import linear
from streetscenes.polygons import outlines
from streetscenes.raster import Canvas
from streetscenes.sensor import expose
from streetscenes.sky import draw_sky
from streetscenes.textures import noise
from streetscenes.traffic import build
from streetscenes.world import FIRST_FLAT_OBJ, World

FRAMES_PER_SECOND = 17.0
HOOD_DISTANCE_M = 1.5
# Share of the picture that a class asked for must fill at least.
VISIBLE_SHARE = {
    "wall": 0.006,
    "fence": 0.006,
    "terrain": 0.008,
    "truck": 0.006,
    "bus": 0.006,
    "train": 0.008,
    "motorcycle": 0.0018,
    "bicycle": 0.0018,
    "rider": 0.0018,
    "person": 0.0015,
    "pole": 0.002,
    "traffic light": 0.0006,
    "traffic sign": 0.0006,
}
_COMMON = (
    "person",
    "traffic light",
    "traffic sign",
    "pole",
    "car",
    "vegetation",
    "sky",
    "sidewalk",
    "building",
    "road",
)
_ATTEMPTS = 10


@dataclass(frozen=True)
class Scene:
    """Everything Cityscapes has about one frame.

    ``image`` (H, W, 3) uint8 RGB; ``label_ids`` (H, W) uint8; ``instance_ids`` (H, W) int32 (id * 1000 + n where the
    class has instances, else the id); ``distance_m`` (H, W) float32 along the optical axis, inf in the sky;
    ``disparity`` (H, W) uint16, round(256 d) + 1, 0 invalid; ``camera``, ``vehicle``, ``polygons`` as in the files.
    """

    image: NDArray[np.uint8]
    label_ids: NDArray[np.uint8]
    instance_ids: NDArray[np.int32]
    distance_m: NDArray[np.float32]
    disparity: NDArray[np.uint16]
    camera: dict[str, dict[str, float]]
    vehicle: dict[str, float]
    polygons: dict[str, Any]


def render(
    seed: int, width: int = 512, height: int = 256, *, frame_time_s: float = 0.0, ensure: tuple[str, ...] = ()
) -> Scene:
    """Draw the scene of ``seed``, ``frame_time_s`` after its start.

    ``ensure`` names classes that must be plainly visible at time 0. The world depends on the seed and on these names,
    not on the size. Raises ``ValueError`` for a size under 16 pixels, a negative seed, or a name that is no evaluated
    class.
    """
    check(seed, width, height, ensure)
    world = _world(seed, tuple(sorted(set(ensure))))
    camera = world.camera(width, height, frame_time_s)
    # Seeds must not be negative, frames before the annotated one are.
    frame = round(frame_time_s * FRAMES_PER_SECOND) % (1 << 31)
    canvas = draw(world, camera, frame_time_s)
    hood = paint_hood(canvas)
    image = expose(canvas, seed, frame)
    with np.errstate(divide="ignore"):
        distance = (1 / canvas.at_pixels(canvas.inv_z)).astype(np.float32)
    objects, ids, instances = name_objects(world, canvas, hood)
    measured = stereo.measure(distance, objects >= len(world.objects), camera, seed, frame)
    smallest = max(2, round(3 * (width / 512) ** 2))
    return Scene(
        image=image,
        label_ids=ids.astype(np.uint8)[objects],
        instance_ids=instances[objects],
        distance_m=distance,
        disparity=measured,
        camera=camera.json(),
        vehicle=world.vehicle(),
        polygons=outlines(objects, ids, distance, smallest),
    )


def check(seed: int, width: int, height: int, ensure: tuple[str, ...]) -> None:
    """Raise ``ValueError`` for what cannot be drawn."""
    if seed < 0:
        raise ValueError(f"a seed is not negative: {seed}")
    if width < 16 or height < 16:
        raise ValueError(f"a scene needs at least 16x16 pixels, not {width}x{height}")
    for name in ensure:
        if name not in BY_NAME or not BY_NAME[name].evaluated:
            raise ValueError(f"cannot ensure {name!r}: not one of the 19 evaluated Cityscapes classes")


def draw(
    world: World, camera: Camera, time_s: float, *, labels_only: bool = False, reach_m: float = math.inf
) -> Canvas:
    """All that the camera sees of the world at ``time_s`` within ``reach_m``, but the own hood.

    ``labels_only`` draws one sample a pixel and no colours.
    """
    canvas = Canvas(camera, world.light, 1 if labels_only else 2, labels_only)
    items = [item for item in ordered(world, canvas, time_s) if item[0] < reach_m]
    draw_solid(canvas, items)
    cast = [] if labels_only else shadows(items, world.light.sun)
    draw_ground(canvas, world.street, cast, FIRST_FLAT_OBJ)
    draw_sky(canvas, world.seed)
    draw_veils(canvas, items)
    return canvas


def name_objects(world: World, canvas: Canvas, hood: Array) -> tuple[NDArray[np.int32], Array, Array]:
    """Object numbers (H, W) with the hood and the border, which come after the world's; label and instance id of each.

    ``hood`` is what ``paint_hood`` returned.
    """
    objects: NDArray[np.int32] = canvas.at_pixels(canvas.obj).copy()
    table = world.objects + [(BY_NAME[n].label_id, -1) for n in ("ego vehicle", "rectification border", "out of roi")]
    objects[canvas.at_pixels(hood)] = len(world.objects)
    _border(objects, len(world.objects))
    ids = np.array([label for label, _ in table], np.int32)
    instances = np.array([label * 1000 + n if n >= 0 else label for label, n in table], np.int32)
    return objects, ids, instances


@lru_cache(maxsize=64)
def _world(seed: int, ensure: tuple[str, ...]) -> World:
    """The first world of this seed in which all that was asked for can be seen (the best one, if none has it all)."""
    best, best_score = build(seed, ensure), -1.0
    if not ensure:
        return best
    for attempt in range(_ATTEMPTS):
        world = best if attempt == 0 else build(seed, ensure, attempt)
        score = visibility(world, ensure)
        if score > best_score:
            best, best_score = world, score
        if score >= len(ensure):
            break
    return best


def visibility(world: World, ensure: tuple[str, ...]) -> float:
    """How many of the classes fill the share asked for, partly ones in proportion; judged on a small label picture."""
    # What is asked for stands nearer than 60 m; the rest need not be drawn to judge it.
    canvas = draw(world, world.camera(256, 128, 0.0), 0.0, labels_only=True, reach_m=60)
    ids = np.array([label for label, _ in world.objects])[canvas.obj]
    # The lower eighth is the hood's.
    ids = ids[: ids.size * 7 // 8]
    counts = np.bincount(ids, minlength=64)
    return sum(min(1.0, float(counts[BY_NAME[n].label_id]) / (ids.size * VISIBLE_SHARE.get(n, 0.002))) for n in ensure)


def paint_hood(canvas: Canvas) -> NDArray[np.bool_]:
    """Paint the own car's hood along the lower edge; returns its samples (N,) bool, not to be written to."""
    inside, index, tone, rim = _hood(canvas.width, canvas.height)
    canvas.inv_z[index] = np.float32(1 / HOOD_DISTANCE_M)
    if not canvas.labels_only:
        mirror = canvas.light.horizon_rgb * (np.float32(0.16) * tone)[:, None]
        paint = linear((52, 55, 58)) * canvas.light.sky_rgb
        canvas.rgb[index] = paint * np.float32(0.6) + mirror * (1 - np.float32(0.7) * rim)[:, None]
    return inside


@lru_cache(maxsize=4)
def _hood(width: int, height: int) -> tuple[NDArray[np.bool_], Array, Array, Array]:
    """Samples of the hood (width * height,) bool, their numbers (N,), gloss and rim (N,): alike in all pictures."""
    y = (np.arange(height, dtype=np.float32) / height)[:, None]
    x = (np.arange(width, dtype=np.float32) / width - np.float32(0.515))[None, :]
    edge = np.float32(0.905) + np.float32(0.3) * x * x + np.float32(0.5) * x**4
    inside: NDArray[np.bool_] = y > edge
    index = np.flatnonzero(inside)
    depth = ((y - edge) / np.float32(0.1)).take(index)
    along = np.broadcast_to(x, inside.shape).take(index)
    foot = np.full(1, 0.004, np.float32)
    gloss = noise(1.5).sample(along * 3, depth, foot, foot, 0.02)
    tone = np.clip(np.float32(0.65) - np.float32(0.45) * depth + np.float32(0.1) * gloss, 0.05, 1)
    return inside.ravel(), index, tone, np.clip(1 - depth * 14, 0, 1)


def _border(objects: Array, first: int) -> None:
    """The thin frame that the dataset's rectification leaves: one pixel in 512 on every side, one more below."""
    height, width = objects.shape
    rim = max(1, round(width / 512))
    objects[height - 2 * rim :] = first + 1
    objects[:rim] = objects[:, :rim] = first + 2
    objects[height - rim :] = objects[:, width - rim :] = first + 2
