"""What an instance segmentation answers: masks of objects with classes and scores; and such answers as files.

Masks are kept as COCO's RLE, never as pictures of their own. So that an answer can go where arrays of numbers go, to
another process, say, it is a text: `packed` makes it, `unpacked` reads it.

Files are COCO JSON as those of boxes (`tasks/boxes.py`); each result has `segmentation`, too, as RLE. Of others
polygons are read, and RLE whose counts are a list; their `bbox` is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import masks
from vcmbench.data.masks import Mask
from vcmbench.io.documents import parse_json
from vcmbench.tasks import boxes
from vcmbench.tasks.boxes import BoxFiles

Segments = NDArray[np.uint8]
"""(B,): a JSON text, [[class, score, [H, W], COCO's counts as text], ..]."""
Found = tuple[int, float, Mask]
"""The number of the class, the score in [0, 1], the mask."""

SURE = 0.5
"""A pixel is an object's from this probability on."""
_FAR = 1 << 30


def packed(found: Sequence[Found]) -> Segments:
    """Those without a pixel are left out, as are boxes of no area."""
    areas = masks.areas([one for *_, one in found])
    rows = [[int(which), float(score), [int(side) for side in one["size"]], _text(one["counts"])]
            for (which, score, one), area in zip(found, areas, strict=True) if area]  # fmt: skip
    return np.frombuffer(json.dumps(rows).encode(), np.uint8)


def unpacked(answer: Segments) -> list[Found]:
    """Of what `packed` made; an answer of others is checked by its kind before."""
    return [(which, score, {"size": size, "counts": counts.encode()})
            for which, score, size, counts in parse_json(answer.tobytes())]  # fmt: skip


class SegmentFiles(BoxFiles):
    """Such files, see `tasks.kind.AnswerFiles`."""

    of = "masks"

    def taken(self, content: Any, shape: tuple[int, int], classes: Sequence[str]) -> Segments:
        found = []
        for number, (which, score, one) in enumerate(boxes.numbered(content, classes), 1):
            if not one.get("segmentation"):
                raise ValueError(f"result {number} has no segmentation")
            try:
                found.append((which, score, masks.of_coco(one["segmentation"], shape)))
            except ValueError as error:
                raise ValueError(f"result {number}: {error}") from None
        return packed(found)

    def results(self, answer: Segments) -> list[dict[str, Any]]:
        found = unpacked(answer)
        around = masks.boxes([one for *_, one in found]).tolist()
        return [{"category_id": which, "bbox": box, "score": score,
                 "segmentation": {"size": one["size"], "counts": _text(one["counts"])}}
                for (which, score, one), box in zip(found, around, strict=True)]  # fmt: skip


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode()


def pasted(inside: NDArray[np.float32], box: NDArray[Any], shape: tuple[int, int]) -> Mask:
    """The mask on a picture of `shape` of probabilities (h, w) within a box, x0, y0, x1, y1 in px: of at least SURE
    where they are brought to its size bilinearly, as torchvision's `paste_masks_in_image`."""
    grown, pixels = np.pad(inside, 1), np.zeros(shape, np.bool_)
    scale = np.float32(grown.shape[1] / inside.shape[1])
    low, high = (np.asarray(box[at], np.float32) for at in (slice(0, 2), slice(2, 4)))
    centre, half = (low + high) * np.float32(0.5), (high - low) * np.float32(0.5) * scale
    first, last = (np.clip(side, -_FAR, _FAR).astype(int)[::-1] for side in (centre - half, centre + half))
    spans = [np.arange(max(a, 0), min(b + 1, side)) for a, b, side in zip(first, last, shape, strict=True)]
    if all(span.size for span in spans):
        at = [(span - a + 0.5) * (of / (b - a + 1)) - 0.5
              for span, a, b, of in zip(spans, first, last, grown.shape, strict=True)]  # fmt: skip
        pixels[np.ix_(*spans)] = sampled(grown, at[0], at[1]) >= SURE
    return masks.of_pixels(pixels)


def sampled(plane: NDArray[Any], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(len(y), len(x)) of a plane (h, w) bilinearly, where the middle of its first pixel is at 0; its edges go on."""
    found = plane.astype(np.float64)
    for axis, at in enumerate((y, x)):
        at = at.clip(0, found.shape[axis] - 1)
        low = at.astype(int)
        share = (at - low).reshape((-1, 1)[:: 1 - 2 * axis])
        high = np.minimum(low + 1, found.shape[axis] - 1)
        found = found.take(low, axis) * (1 - share) + found.take(high, axis) * share
    return found
