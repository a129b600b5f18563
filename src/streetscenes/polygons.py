"""Outlines of what is seen, in the form of ``*_gtFine_polygons.json``: painted in order they give the labels back."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours, label

from streetscenes.camera import Array
from streetscenes.labels import BY_ID

_SKY_M = 1e9


def outlines(objects: Array, label_of: Array, distance_m: Array, min_area: int) -> dict[str, Any]:
    """Polygons of a map of object numbers, far to near, each enclosed region after the one around it.

    ``objects`` (H, W) int32; ``label_of`` (K,) label id of object k; ``distance_m`` (H, W). Regions smaller than
    ``min_area`` pixels are left out (their surroundings paint over them).
    """
    height, width = objects.shape
    regions = label(objects + 1, connectivity=1, background=0)  # type: ignore[no-untyped-call]
    count = int(regions.max())
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    first = np.zeros(count + 1, np.int64)
    flat = regions.ravel()
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)
    boxes = ndimage.find_objects(regions)
    entries: list[tuple[float, int, str, list[list[int]], tuple[slice, slice]]] = []
    for number in range(1, count + 1):
        if sizes[number] < min_area:
            continue
        window = boxes[number - 1]
        mask = regions[window] == number
        depth = distance_m[window][mask]
        name = BY_ID[int(label_of[objects.ravel()[first[number]]])].name
        polygon = trace(mask, window[1].start, window[0].start)
        far = float(np.median(depth)) if np.isfinite(depth).all() else _SKY_M
        if name in ("out of roi", "rectification border"):
            far = 2 * _SKY_M  # the frame runs around everything, so everything is painted over it
        entries.append(
            (far, (window[0].stop - window[0].start) * (window[1].stop - window[1].start), name, polygon, window)
        )
    return {
        "imgHeight": height,
        "imgWidth": width,
        "objects": [{"label": e[2], "polygon": e[3]} for e in _paint_order(entries)],
    }


_Entry = tuple[float, int, str, list[list[int]], tuple[slice, slice]]


def _paint_order(entries: list[_Entry]) -> list[_Entry]:
    """Far to near; but whatever may lie inside another region comes after it.

    Regions do not overlap, so order matters only where one encloses another, and then its box does too.
    """
    entries = sorted(entries, key=lambda e: -e[1])
    if not entries:
        return []
    box = np.array([(e[4][0].start, e[4][0].stop, e[4][1].start, e[4][1].stop) for e in entries])
    depth = np.array([e[0] for e in entries])
    for i in range(1, len(entries)):
        around = (
            (box[:i, 0] < box[i, 0]) & (box[:i, 1] > box[i, 1]) & (box[:i, 2] < box[i, 2]) & (box[:i, 3] > box[i, 3])
        )
        if around.any():
            depth[i] = min(depth[i], float(depth[:i][around].min()) - 1e-3)
    return [entries[i] for i in np.argsort(-depth, kind="stable")]


def trace(mask: Array, x0: int, y0: int) -> list[list[int]]:
    """The outer border of a region (h, w) bool as whole pixel coordinates [[x, y], ..], corners only."""
    padded = np.pad(mask, 1).astype(np.float32)
    # Just inside the border pixels' centres, so that rounding lands on them.
    contours = find_contours(padded, 0.99, fully_connected="high")  # type: ignore[no-untyped-call]
    outer = max(contours, key=_extent)
    points = np.rint(outer).astype(np.int64)[:, ::-1] - 1 + np.array([x0, y0])
    points = points[:-1] if len(points) > 1 and (points[0] == points[-1]).all() else points
    keep = np.any(points != np.roll(points, 1, axis=0), axis=1)
    points = points[keep] if keep.any() else points[:1]
    if len(points) > 2:
        before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
        turn = (before != after).any(axis=1)
        points = points[turn] if turn.sum() >= 3 else points
    out: list[list[int]] = points.tolist()
    return out


def _extent(contour: Array) -> float:
    span = contour.max(axis=0) - contour.min(axis=0)
    return float(span[0] * span[1] + span.sum())
