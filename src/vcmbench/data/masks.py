"""Masks of objects as COCO keeps them: runs of pixels that are outside and inside in turn, down each column, RLE.

pycocotools trusts what it is given; so what comes from files is looked at here first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.io.documents import short

Mask = dict[str, Any]
"""COCO's: {"size": [H, W], "counts": bytes}."""
_MOST_BITS = 40


def of_pixels(inside: NDArray[np.bool_]) -> Mask:
    """Of (H, W), as pycocotools' `encode`, but that this looks at the object's columns alone: objects are small."""
    from pycocotools import mask  # heavy, and of those who measure alone

    height, width = inside.shape
    columns = np.flatnonzero(inside.any(axis=0))
    first, last = (int(columns[0]), int(columns[-1]) + 1) if columns.size else (0, 0)
    strip = inside[:, first:last].T.ravel()
    edges = np.flatnonzero(strip[1:] != strip[:-1]) + 1
    lengths = np.diff(edges, prepend=0, append=strip.size).tolist()
    if strip[:1].any():
        lengths.insert(0, 0)
    lengths[0] += first * height
    if rest := (width - last) * height:
        lengths[-1:] = [lengths[-1] + rest] if len(lengths) % 2 else [lengths[-1], rest]
    found: Mask = mask.frPyObjects({"size": [height, width], "counts": lengths}, height, width)
    return found


def of_coco(segmentation: Any, shape: tuple[int, int]) -> Mask:
    """What COCO JSON says as `segmentation`: a list of polygons, each a list of x, y, in px, or RLE whose counts are a
    list or a text. Raises ValueError unless it is one, on a picture of `shape` (H, W)."""
    from pycocotools import mask

    height, width = shape
    if isinstance(segmentation, list) and segmentation:
        polygons = [np.array(one, np.float64) for one in segmentation]
        if not all(one.ndim == 1 and one.size >= 6 and not one.size % 2 and np.isfinite(one).all() for one in polygons):
            raise ValueError("a polygon is no list of three or more x, y in px")
        # pycocotools reckons in whole numbers of 32 bits
        if any(np.abs(one).max() > 8 * max(shape) + 8 for one in polygons):
            raise ValueError("a polygon is far outside its picture")
        merged: Mask = mask.merge(mask.frPyObjects([one.tolist() for one in polygons], height, width))
        return merged
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError(f"segmentation {short(segmentation)} is neither polygons nor RLE")
    size, counts = segmentation["size"], segmentation["counts"]
    if size != [height, width]:
        raise ValueError(f"its mask is of the size {short(size)} (height, width), its picture {height}, {width}")
    lengths = runs(counts) if isinstance(counts, str | bytes) else counts
    if not isinstance(lengths, list) or any(type(one) is not int or one < 0 for one in lengths):
        raise ValueError("the counts of its mask are no lengths of runs")
    if sum(lengths) != height * width:
        raise ValueError(f"the counts of its mask are of {sum(lengths)} px, its picture has {height * width}")
    found: Mask = mask.frPyObjects({"size": size, "counts": lengths}, height, width)
    return found


def runs(counts: str | bytes) -> list[int]:
    """The lengths of runs in COCO's compressed text: 5 bits a character, the lowest first, with a sign; from the fourth
    number on, differences to the last but one. Raises ValueError where it is none."""
    data = counts.encode() if isinstance(counts, str) else counts
    found: list[int] = []
    value, bits = 0, 0
    for character in data:
        part = character - 48
        if not 0 <= part < 64 or bits > _MOST_BITS:
            raise ValueError("the counts of its mask are no RLE")
        value |= (part & 31) << bits
        bits += 5
        if not part & 32:
            value -= (part & 16) << bits - 4  # the sign
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value, bits = 0, 0
    if bits:
        raise ValueError("the counts of its mask break off")
    return found


def areas(masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Pixels inside, (N,)."""
    from pycocotools import mask

    return np.array(mask.area(list(masks)) if len(masks) else [], np.float64)


def covered(values: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """Those of (H, W, ..) values that are inside a mask."""
    from pycocotools import mask as coco

    x, y, width, height = (int(side) for side in coco.toBbox(mask))
    window = slice(y, y + height), slice(x, x + width)
    found: NDArray[Any] = values[window][coco.decode(mask)[window].astype(np.bool_)]
    return found


def boxes(masks: Sequence[Mask]) -> NDArray[np.float64]:
    """The smallest ones around them, (N, 4): x, y, width, height in px."""
    from pycocotools import mask

    return np.array(mask.toBbox(list(masks)) if len(masks) else [], np.float64).reshape(-1, 4)
