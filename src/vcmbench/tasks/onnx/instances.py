"""A network's outputs as masks of objects: boxes, each with coefficients of prototypes, as YOLO's, or with a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.masks import Mask, of_pixels
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import segments
from vcmbench.tasks.onnx import detections
from vcmbench.tasks.onnx.detections import Detections
from vcmbench.tasks.onnx.keys import BoxOutput, NetworkOutput
from vcmbench.tasks.onnx.pixels import Size
from vcmbench.tasks.onnx.session import text_of
from vcmbench.tasks.segments import Segments

Array = NDArray[np.float64]
_YOLO = {"corners": "cxcywh", "columns": "scores", "nms": 0.7}
"""As Ultralytics exports it, without suppression."""


@dataclass(frozen=True)
class ObjectMasks:
    """How boxes are read, and of which output masks are made: `coefficients` of prototypes (1, coefficients, h, w)
    follow a box's columns, or there are none, and it holds a mask of probabilities a box, (N, 1 or classes, h, w)."""

    boxes: Detections
    masks: str
    coefficients: int

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.boxes.names, self.masks)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.boxes.classes

    def read(self, outputs: Sequence[NDArray[Any]], padded: Size, part: Size, size: Size) -> Segments:
        """As `Detections.read`, of masks."""
        *rows, masks = outputs
        if not np.isfinite(masks).all():
            raise JobError(f"the output {self.masks!r} holds numbers that are not finite")
        if not self.coefficients:
            found, which = self.boxes.chosen(rows, padded, part, size)
            drawn = [self._drawn(masks, row, one, padded, part, size) for row, one in zip(which, found, strict=True)]
        else:
            plain, weights = self._apart(rows[0])
            found, which = self.boxes.chosen([plain], padded, part, size)
            if masks.ndim != 4 or masks.shape[:2] != (1, self.coefficients):
                raise JobError(f"the output {self.masks!r} is {text_of(masks.shape)}, which are no prototypes")
            step = tuple(masks.shape[2 + i] / padded[i] * part[i] / size[i] for i in (0, 1))
            drawn = [_mixed(weights[row], masks[0], one[:4], step, size)
                     for row, one in zip(which, found, strict=True)]  # fmt: skip
        return segments.packed(
            [(int(one[4]), float(np.float32(one[5])), mask) for one, mask in zip(found, drawn, strict=True)]
        )

    def _apart(self, rows: NDArray[Any]) -> tuple[Array, Array]:
        """The columns of boxes, and the coefficients, of each row."""
        plain, width = rows[0] if rows.ndim == 3 else rows, self.boxes.width + self.coefficients
        plain = plain.T if plain.ndim == 2 and plain.shape[1] != width else plain
        if plain.ndim != 2 or plain.shape[1] != width:
            raise JobError(
                f"the output {self.boxes.names[0]!r} is {text_of(rows.shape)}; {width} columns are needed, "
                f"{self.coefficients} of them coefficients (task.output.boxes.columns, task.classes)"
            )
        return plain[:, : -self.coefficients], plain[:, -self.coefficients :]

    def _drawn(self, masks: NDArray[Any], row: int, one: Array, padded: Size, part: Size, size: Size) -> Mask:
        """Of the mask that a box has."""
        if masks.ndim == 5 and len(masks) == 1:
            masks = masks[0]
        if masks.ndim not in (3, 4) or row >= len(masks):
            raise JobError(f"the output {self.masks!r} is {text_of(masks.shape)}, not a mask for each box")
        of_box = masks[row] if masks.ndim == 4 else masks[row][None]
        label = int(one[4]) + (self.boxes.void is not None and one[4] >= self.boxes.void)
        inside = of_box[label if len(of_box) > label and len(of_box) > 1 else 0].astype(np.float32)
        if not 0 <= inside.min() <= inside.max() <= 1:
            raise JobError(f"the output {self.masks!r} holds {inside.min():g}..{inside.max():g}, not probabilities")
        if inside.shape != padded:
            return segments.pasted(inside, one[:4], size)
        import cv2

        whole = cv2.resize(inside[: part[0], : part[1]], (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return of_pixels(whole >= segments.SURE)


def _mixed(weights: Array, prototypes: NDArray[Any], box: Array, step: tuple[float, ...], size: Size) -> Mask:
    """Where the weighted sum of `prototypes` (K, h, w), brought to the picture's size bilinearly, is above 0 inside a
    box; `step` is how far apart neighbouring pixels of the picture are in them, down and to the right."""
    spans = [np.arange(*(int(np.clip(np.ceil(box[i + j]), 0, size[1 - i])) for j in (0, 2))) for i in (1, 0)]
    inside = np.zeros(size, np.bool_)
    if all(span.size for span in spans):
        at = [((span + 0.5) * by - 0.5).clip(0, side - 1)
              for span, by, side in zip(spans, step, prototypes.shape[1:], strict=True)]  # fmt: skip
        top, left = (int(one[0]) for one in at)
        near = prototypes[:, top : int(at[0][-1]) + 2, left : int(at[1][-1]) + 2]
        logits = np.einsum("k,kyx->yx", weights, near.astype(np.float64))
        inside[np.ix_(*spans)] = segments.sampled(logits, at[0] - top, at[1] - left) > 0
    return of_pixels(inside)


def of(keys: NetworkOutput, outputs: Sequence[Any], named: list[str] | None) -> ObjectMasks:
    """What the keys and outputs say together, as `detections.of`."""
    how, is_yolo, there = keys.boxes or BoxOutput(), keys.kind == "yolo-seg", ", ".join(one.name for one in outputs)
    shapes = {one.name: one.shape for one in outputs}
    if is_yolo and how.columns in (None, "scores", "objectness"):
        how = BoxOutput.model_validate(_YOLO | how.model_dump(exclude_unset=True))
    rows = _only(keys.name, "name", [name for name, shape in shapes.items() if len(shape) == (3 if is_yolo else 2)],
                 shapes, there)  # fmt: skip
    masks = _only(how.masks, "boxes.masks", [name for name, shape in shapes.items() if len(shape) == 4], shapes, there)
    count = shapes[masks][1] if is_yolo and len(shapes[masks]) == 4 else 0
    if is_yolo and not (isinstance(count, int) and count):
        raise RequestError(
            f"the output {masks!r} is {text_of(shapes[masks])}; prototypes are (1, coefficients, h, w), with how many "
            "coefficients said (task.output.boxes.masks)"
        )
    boxes = detections.of(keys.model_copy(update={"boxes": how}), rows, outputs, named, count)
    return ObjectMasks(boxes, masks, count)


def _only(asked: str | None, key: str, fitting: list[str], shapes: dict[str, Any], there: str) -> str:
    """The output that a key names, or else the only one that fits."""
    if asked is None and len(fitting) == 1:
        return fitting[0]
    if asked not in shapes:
        what = "is not said" if asked is None else f"= {asked!r}"
        raise RequestError(f"task.output.{key} {what}: the network has {there}")
    return asked
