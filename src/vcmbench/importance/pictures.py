"""Pictures of importance maps: gray, in colours of heat, and the scene with its objects' distances."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vcmbench.importance.classes import DISTANCE, Classes
from vcmbench.importance.objects import distances_m
from vcmbench.importance.polygons import Polygon, visible
from vcmbench.importance.settings import MIN_VALID_PIXELS

U8 = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

_WITHIN, _BEYOND, _NO_DISTANCE = (235, 40, 40), (40, 90, 245), (150, 150, 150)
_TINT = 0.4
# of a text to the picture's width: legible at 512 px and not in the way at 2048
_TEXT_PX = (11, 1 / 80)


def gray(values: NDArray[np.float32]) -> U8:
    """(H, W) importance 0..1 -> (H, W) uint8, round(255 I): one scale for every picture."""
    result: U8 = np.rint(values * np.float32(255)).astype(np.uint8)
    return result


def heat(values: NDArray[np.float32]) -> U8:
    """(H, W) importance 0..1 -> (H, W, 3) uint8 RGB in matplotlib's `hot`, 0 black, 1 white, whatever the picture."""
    result: U8 = np.take(_hot(), gray(values), axis=0)
    return result


@lru_cache(maxsize=1)
def _hot() -> U8:
    from matplotlib import colormaps  # its import costs as much as many maps

    table: U8 = colormaps["hot"](np.arange(256), bytes=True)[:, :3]
    return np.ascontiguousarray(table)


def as_png(array: NDArray[Any]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def annotate(
    picture: U8,
    polygons: list[Polygon],
    disparity_raw: NDArray[np.uint16],
    fx_times_baseline: float,
    d_safe_m: float,
    classes: Classes,
) -> U8:
    """The scene with its objects tinted and outlined: red within the safe distance, blue beyond, gray without distance.

    `picture` (H, W, 3) uint8 RGB, `disparity_raw` (H, W) as in Cityscapes, `fx_times_baseline` in px * m. Polygons of
    distance classes get a text, `car: 12.3 m`: the median over what is seen of the polygon, from five valid pixels up.
    Where there is no room for two texts the larger object keeps its own; what is smaller than a letter has none.
    """
    height, width = disparity_raw.shape
    seen = visible(polygons, width, height)
    distances = _medians(seen, disparity_raw, distances_m(fx_times_baseline), len(polygons))
    moving = _moving(classes)
    shown = [i for i, polygon in enumerate(polygons) if polygon.label in moving and len(polygon.points) >= 3]
    colours = {i: _colour(distances[i], d_safe_m) for i in shown}
    canvas = Image.fromarray(_tinted(picture, seen, colours, len(polygons)))
    draw = ImageDraw.Draw(canvas)
    line_px = max(1, round(width / 700))
    for i in shown:
        draw.line([*polygons[i].points, polygons[i].points[0]], fill=colours[i], width=line_px, joint="curve")
    texts = _Texts(draw, width, height)
    texts.place([(4.0, 4.0)], f"safe distance: {d_safe_m:.1f} m", (40, 40, 40))
    areas = np.bincount(seen.ravel(), minlength=len(polygons) + 1)[1:]
    for i in sorted(shown, key=lambda i: -areas[i]):
        if areas[i] >= texts.smallest_area:
            texts.label(polygons[i], distances[i], colours[i])
    return np.asarray(canvas)


def _moving(classes: Classes) -> set[str]:
    names = {classes.name(byte) for byte in np.flatnonzero(classes.kinds == DISTANCE).tolist()}
    return names | {f"{name}group" for name in names}  # the dataset's name for several that are not told apart


def _medians(
    seen: NDArray[np.int32], raw: NDArray[np.uint16], distances: NDArray[np.float64], count: int
) -> list[float]:
    """Median distance in metres of each polygon's visible valid pixels; NaN where there are fewer than five."""
    at = np.flatnonzero((seen.ravel() > 0) & (raw.ravel() > 0))
    pairs = (seen.ravel()[at].astype(np.uint64) << 16) | raw.ravel()[at]
    pairs.sort()
    edges = np.searchsorted(pairs, np.arange(1, count + 2, dtype=np.uint64) << 16)
    parts = (pairs[a:b] & 0xFFFF for a, b in itertools.pairwise(edges))
    return [float(np.median(distances[part])) if part.size >= MIN_VALID_PIXELS else math.nan for part in parts]


def _colour(distance_m: float, d_safe_m: float) -> Colour:
    if math.isnan(distance_m):
        return _NO_DISTANCE
    return _WITHIN if distance_m <= d_safe_m else _BEYOND


def _tinted(picture: U8, seen: NDArray[np.int32], colours: dict[int, Colour], count: int) -> U8:
    tints = np.zeros((count + 1, 3), np.float32)
    weights = np.zeros(count + 1, np.float32)
    for i, colour in colours.items():
        tints[i + 1], weights[i + 1] = colour, _TINT
    result = picture.copy()
    rows, columns = np.nonzero(weights[seen])
    number = seen[rows, columns]
    weight = weights[number][:, None]
    result[rows, columns] = np.rint(picture[rows, columns] * (1 - weight) + tints[number] * weight).astype(np.uint8)
    return result


class _Texts:
    """Texts on boxes, of which none covers another."""

    def __init__(self, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
        self._draw, self._width, self._height = draw, width, height
        self._size = max(_TEXT_PX[0], round(width * _TEXT_PX[1]))
        self._font = ImageFont.load_default(self._size)
        self.smallest_area = self._size**2 / 2
        self._taken: list[Box] = []

    def label(self, polygon: Polygon, distance_m: float, colour: Colour) -> None:
        number = "?" if math.isnan(distance_m) else "far" if math.isinf(distance_m) else f"{distance_m:.1f} m"
        name = f"{polygon.label.removesuffix('group')}s" if polygon.label.endswith("group") else polygon.label
        text = f"{name}: {number}"
        xs, ys = zip(*polygon.points, strict=True)
        wide, high = self._extent(text)
        middle = (min(xs) + max(xs) - wide) / 2
        tops = [min(ys) - high - 1, min(ys) + 1, (min(ys) + max(ys) - high) / 2, max(ys) - high - 1, max(ys) + 1]
        self.place([(x, y) for y in tops for x in (middle, min(xs), max(xs) - wide)], text, colour)

    def _extent(self, text: str) -> tuple[float, float]:
        return self._draw.textlength(text, self._font) + 6, self._size + 4

    def place(self, corners: list[tuple[float, float]], text: str, colour: Colour) -> None:
        """Draw a text at the first of these left upper corners that is free; nowhere, where none is."""
        wide, high = self._extent(text)
        for x, y in corners:
            left, top = min(max(x, 0), self._width - wide), min(max(y, 0), self._height - high)
            box = (left, top, left + wide, top + high)
            if not any(_overlap(box, other) for other in self._taken):
                self._taken.append(box)
                self._draw.rounded_rectangle(box, 3, fill=colour)
                dark = tuple(part // 2 for part in colour)
                at = (left + wide / 2, top + high / 2)
                self._draw.text(at, text, (255, 255, 255), self._font, "mm", stroke_width=1, stroke_fill=dark)
                return


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
