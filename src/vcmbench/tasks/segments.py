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
