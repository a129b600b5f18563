"""Detections as files: COCO JSON, one a picture, `DATA/P_GT/NAME.json` and `DATA/P_hat_C/CONFIGURATION/NAME.json`.

Ours are an object with `categories` and, as `annotations`, COCO's results: `image_id`, `category_id`, `bbox` (x, y,
width, height in px) and `score`. Of others a bare list of such results is read, too; its `category_id` 1 is the first
class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError
from vcmbench.io.documents import short
from vcmbench.io.files import hidden_beside, write_atomically
from vcmbench.io.sealed import read_sealed, sealed_json

Boxes = NDArray[np.float32]
"""(N, 6): x0, y0, x1, y1 in px, the number of the class, the score in [0, 1]."""
COLUMNS = 6
_MAX_BYTES = 1 << 26
_KEY = "vcmbench-key"


class BoxFiles:
    """Such files, see `tasks.kind.AnswerFiles`."""

    suffix = ".json"
    of = "detections"

    def taken(self, content: Any, shape: tuple[int, int], classes: Sequence[str]) -> Any:
        """The answer that a file says. Raises ValueError and its like."""
        return _boxes(content, shape, classes)

    def results(self, answer: Any) -> list[dict[str, Any]]:
        """Of an answer COCO's results, whose `category_id` is the number of the class, from 0."""
        return [{"category_id": int(which), "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
                for x0, y0, x1, y1, which, score in answer.astype(np.float64).tolist()]  # fmt: skip

    def key(self, path: Path) -> str | None:
        content = _content(path)
        key = content.get(_KEY) if isinstance(content, dict) else None
        return key if isinstance(key, str) else None

    def is_whole(self, path: Path) -> bool:
        return _content(path) is not None

    def read(self, path: Path, shape: tuple[int, int], classes: Sequence[str]) -> Any:
        """Boxes that reach beyond the picture are cut off at its edges."""
        try:
            content = read_sealed(path, _MAX_BYTES)
        except FileNotFoundError:
            raise JobError(
                f"{path}: no such prediction; run_metrics.py (vcmbench metrics) writes it, or lay yours there"
            ) from None
        except (OSError, ValueError) as error:
            raise JobError(f"{path}: cannot be read: {error}") from None
        try:
            return self.taken(content, shape, classes)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise JobError(f"{path}: is no COCO JSON of {self.of}: {type(error).__name__}: {error}") from None

    def write(self, path: Path, answer: Any, classes: Sequence[str], key: str, temporary: Path | None) -> None:
        content = {
            "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
            "annotations": [
                {"image_id": path.stem, **one, "category_id": one["category_id"] + 1} for one in self.results(answer)
            ],
            _KEY: key,
        }  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sealed_json(content), temporary or hidden_beside(path))


def _content(path: Path) -> Any:
    """What a file says; None where it is missing or damaged."""
    try:
        return read_sealed(path, _MAX_BYTES)
    except (OSError, ValueError):
        return None


def numbered(content: Any, classes: Sequence[str]) -> Iterator[tuple[int, float, Any]]:
    """Of each result that a file holds: the number of its class, its score, and itself. Raises ValueError, KeyError."""
    results, numbers = content, {number: number - 1 for number in range(1, len(classes) + 1)}
    if isinstance(content, dict):
        results = content["annotations"]
        if "categories" in content:
            names = {one["id"]: str(one["name"]) for one in content["categories"]}
            if strange := [name for name in names.values() if name not in classes]:
                raise ValueError(f"category {short(strange[0])} is none of the {len(classes)} classes (task.classes)")
            numbers = {number: list(classes).index(name) for number, name in names.items()}
    for one in results:
        if one["category_id"] not in numbers:
            raise ValueError(f"category_id {short(one['category_id'])}; there are 1..{len(classes)} (task.classes)")
        if not 0 <= (score := float(one["score"])) <= 1:
            raise ValueError("a score is not in 0..1")
        yield numbers[one["category_id"]], score, one


def _boxes(content: Any, shape: tuple[int, int], classes: Sequence[str]) -> Boxes:
    rows = []
    for which, score, one in numbered(content, classes):
        x, y, width, height = (float(side) for side in one["bbox"])
        rows.append((x, y, x + width, y + height, which, score))
    found = np.array(rows, np.float64).reshape(-1, COLUMNS)
    if not np.isfinite(found).all() or (found[:, 2:4] < found[:, :2]).any():
        raise ValueError("a bbox is not x, y, width, height in px")
    return inside(found, shape)


def inside(boxes: NDArray[np.floating], shape: tuple[int, int]) -> Boxes:
    """(N, 6), cut off at the edges of a picture of `shape` (H, W); those outside go."""
    height, width = shape
    found = boxes.astype(np.float32)
    found[:, [0, 2]] = found[:, [0, 2]].clip(0, width)
    found[:, [1, 3]] = found[:, [1, 3]].clip(0, height)
    is_there: NDArray[np.bool_] = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    return found[is_there]
