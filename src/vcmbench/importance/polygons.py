"""The polygons of `*_gtFine_polygons.json`: read, checked, cut to the picture, and painted in their order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vcmbench.errors import JobError
from vcmbench.importance.inputs import read_json
from vcmbench.io.documents import short

_MAX_BYTES = 16 << 20
_MAX_COORDINATE_PX = 1e6

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Polygon:
    """One outline, (x, y) in pixels within the picture; without points where all of it is outside."""

    label: str
    points: Points


def read_polygons(path: Path, width: int, height: int) -> list[Polygon] | None:
    """The polygons of a picture in the order in which they are painted, cut to it; None where the file is missing.

    Those marked as deleted and those of fewer than three points are left out. Raises JobError where the file is broken.
    """
    content = read_json(path, _MAX_BYTES)
    if content is None:
        return None
    entries = content.get("objects")
    if not isinstance(entries, list):
        raise JobError(f"{path}: objects: a list is needed, found {short(entries, 60)}")
    polygons = []
    for i, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("label"), str):
            raise JobError(f"{path}: objects[{i + 1}]: a label and a polygon are needed, found {short(entry, 60)}")
        points = _points(f"{path}: objects[{i + 1}].polygon", entry.get("polygon"))
        if not entry.get("deleted") and len(points) >= 3:
            polygons.append(Polygon(entry["label"], cut(points, width, height)))
    return polygons


def _points(where: str, found: Any) -> Points:
    if not isinstance(found, list):
        raise JobError(f"{where}: a list of [x, y] is needed, found {short(found, 60)}")
    for point in found:
        is_pair = isinstance(point, list) and len(point) == 2
        if not is_pair or not all(_is_coordinate(number) for number in point):
            raise JobError(f"{where}: [x, y] in pixels is needed, found {short(point, 60)}")
    return [(float(x), float(y)) for x, y in found]


def _is_coordinate(number: Any) -> bool:
    # NaN is in no order with any number
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) <= _MAX_COORDINATE_PX


def cut(points: Points, width: int, height: int) -> Points:
    """A polygon cut to the picture, after Sutherland and Hodgman (1974): one edge of the picture after the other."""
    for axis, limit, keep_above in ((0, 0.0, True), (0, width - 1.0, False), (1, 0.0, True), (1, height - 1.0, False)):
        result: Points = []
        for i, end in enumerate(points):
            start = points[i - 1]
            start_is_in, end_is_in = ((p[axis] >= limit) == keep_above or p[axis] == limit for p in (start, end))
            if start_is_in != end_is_in:
                part = (limit - start[axis]) / (end[axis] - start[axis])
                across = start[1 - axis] + part * (end[1 - axis] - start[1 - axis])
                result.append((limit, across) if axis == 0 else (across, limit))
            if end_is_in:
                result.append(end)
        points = result
    return points


def visible(polygons: list[Polygon], width: int, height: int) -> NDArray[np.int32]:
    """Which polygon is seen at each pixel: (H, W) int32, number in the list + 1, 0 where there is none."""
    canvas = Image.new("I", (width, height), 0)
    draw = ImageDraw.Draw(canvas)
    for i, polygon in enumerate(polygons):
        if len(polygon.points) >= 3:
            draw.polygon(polygon.points, fill=i + 1)
    return np.asarray(canvas)
