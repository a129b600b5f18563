"""An ONNX network's output as class ids of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.labels import CLASSES, VOID
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import class_names
from vcmbench.tasks.onnx.keys import Layout, NetworkOutput
from vcmbench.tasks.onnx.pixels import Size
from vcmbench.tasks.onnx.session import text_of

Shape = list[int | str | None]


@dataclass(frozen=True)
class Masks:
    """The keys, with all that the file says filled in. `planes` are those that the output has (1 of labels, or where
    one tells two classes apart: those above 0 are the second). `table` (256,) uint8: the class id of each index, 255
    for `void` and for those that there are not."""

    name: str
    is_labels: bool
    layout: Layout
    upsample: str
    classes: tuple[str, ...]
    planes: int
    table: NDArray[np.uint8]
    void: int

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs that are read."""
        return (self.name,)

    def read(self, outputs: Sequence[NDArray[Any]], padded: Size, part: Size, size: Size) -> NDArray[np.uint8]:
        """(H, W) uint8 of a picture of `size` (H, W), whose input had the size `padded`, of which `part` was picture.

        Raises JobError where the output is none.
        """
        (output,) = outputs
        found = self._planes(output)
        rows, columns = found.shape[1:]
        if abs(rows * padded[1] - columns * padded[0]) > max(padded):
            raise JobError(
                f"the output {self.name!r} is {text_of(output.shape)} for an input of {padded[1]}x{padded[0]} px, "
                "which is no mask of it (task.output.layout, kind, name)"
            )
        if self.is_labels:
            labels = self._checked(found[0])
        elif not np.isfinite(found).all():
            raise JobError(f"the output {self.name!r} holds numbers that are not finite")
        elif self.upsample == "logits":
            return _largest(found, padded, part, size, self.table)
        else:
            labels = found.argmax(axis=0)
        # by nearest neighbour, in whole numbers: of the picture's pixel in the input, of that in the output
        down, right = (
            np.arange(of) * inner // of * out // outer
            for of, inner, outer, out in zip(size, part, padded, labels.shape, strict=True)
        )
        answer: NDArray[np.uint8] = self.table[labels[down][:, right]]
        return answer

    def _planes(self, output: NDArray[Any]) -> NDArray[Any]:
        """(K, h, w): logits of each output, or one plane of labels."""
        found = output
        if found.ndim == 4 and found.shape[0] == 1:
            found = found[0].transpose(2, 0, 1) if self.layout == "nhwc" else found[0]
        elif found.ndim == 2 and self.is_labels:
            found = found[None]
        if found.ndim != 3 or found.shape[0] != self.planes or 0 in found.shape:
            what = "labels" if self.is_labels else f"logits of {self.planes} outputs, {self.layout}"
            raise JobError(f"the output {self.name!r} is {text_of(output.shape)}, which are no {what} of one picture")
        is_single = self.planes == 1 and not self.is_labels
        return np.concatenate([np.zeros_like(found), found]) if is_single else found

    def _checked(self, labels: NDArray[Any]) -> NDArray[np.uint8]:
        found = labels.astype(np.uint8)
        if not np.array_equal(found, labels):
            raise JobError(f"the output {self.name!r} holds other numbers than the labels 0..255")
        strange = found[(self.table[found] == VOID) & (found != VOID) & (found != self.void)]
        if strange.size:
            raise JobError(
                f"the output {self.name!r} holds the label {strange[0]}, which is none of the {len(self.classes)} "
                "classes (task.classes, task.output.void)"
            )
        return found


def of(
    keys: NetworkOutput | None, name: str, shape: Shape, type_name: str, named: list[str] | None, like: Layout
) -> Masks:
    """What the keys and an output say together; `named` are the names of classes, `like` is the input's layout.

    Raises RequestError that says which key contradicts, or is missing.
    """
    keys = keys or NetworkOutput()
    where = f"the output {name!r} is {text_of(shape)}"
    is_labels = keys.kind == "labels" or (keys.kind is None and "float" not in type_name and "double" not in type_name)
    if len(shape) not in ((2, 3, 4) if is_labels else (4,)):
        what = "labels are (1, h, w)" if is_labels else "logits are (1, K, h, w) or (1, h, w, K)"
        raise RequestError(f"{where} {type_name}, which is no mask: {what} (task.output.name, kind)")
    if is_labels and keys.upsample == "logits":
        raise RequestError(f"task.output.upsample = 'logits': {where} {type_name}, which are labels")
    layout = _layout(keys, shape, 1 if is_labels else _count(named, keys), like)
    planes = {4: shape[1 if layout == "nchw" else -1], 3: shape[0]}.get(len(shape)) if is_labels else None
    if isinstance(planes, int) and planes != 1:
        raise RequestError(f"task.output.kind = 'labels': {where}, which are no labels of one picture: (1, h, w)")
    outputs = _outputs(keys, shape, layout, named, where, is_labels=is_labels)
    if not is_labels and keys.void is not None and keys.void >= outputs:
        raise RequestError(f"task.output.void = {keys.void}: {where}, whose outputs are 0..{outputs - 1}")
    ids = [i for i in range(outputs) if i != keys.void]
    if len(ids) > VOID:
        raise RequestError(f"{where}: {len(ids)} classes; predictions are uint8 with {VOID} for void")
    table = np.full(256, VOID, np.uint8)
    table[ids] = np.arange(len(ids))
    classes = _classes(named, outputs, ids)
    upsample = keys.upsample or ("labels" if is_labels else "logits")
    is_single = is_labels or (shape[1] if layout == "nchw" else shape[3]) == 1
    void = VOID if keys.void is None else keys.void
    return Masks(name, is_labels, layout, upsample, classes, 1 if is_single else outputs, table, void)


def _count(named: list[str] | None, keys: NetworkOutput) -> int | None:
    return None if named is None else len(named) + (keys.void is not None)


def _layout(keys: NetworkOutput, shape: Shape, count: int | None, like: Layout) -> Layout:
    if keys.layout is not None or len(shape) != 4:
        return keys.layout or like
    sides: dict[Layout, int | str | None] = {"nchw": shape[1], "nhwc": shape[3]}
    for fits in ([one for one, side in sides.items() if side == count],
                 [one for one, side in sides.items() if isinstance(side, int)]):  # fmt: skip
        if len(fits) == 1:
            return fits[0]
    return like


def _outputs(
    keys: NetworkOutput, shape: Shape, layout: Layout, named: list[str] | None, where: str, *, is_labels: bool
) -> int:
    """How many indices there are, void among them."""
    if not is_labels:
        found = shape[1] if layout == "nchw" else shape[3]
        if isinstance(found, int):
            return max(found, 2) if found == 1 else found
    if named is None:
        raise RequestError(f"{where}, which does not say how many classes there are: name them (task.classes)")
    return len(named) + (keys.void is not None and keys.void <= len(named))


def _classes(named: list[str] | None, outputs: int, ids: list[int]) -> tuple[str, ...]:
    if named is None:
        return CLASSES if len(ids) == len(CLASSES) else tuple(f"class {i}" for i in ids)
    if len(named) == outputs:  # void has a name, too
        named = [named[i] for i in ids]
    return class_names.fitting(named, len(ids))


def _largest(logits: NDArray[Any], padded: Size, part: Size, size: Size, table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The class of the largest of (K, h, w) at the size (H, W), one plane after the other: all would be gigabytes."""
    import cv2

    best, found = np.full(size, -np.inf, np.float32), np.zeros(size, np.uint8)
    for index, plane in enumerate(logits.astype(np.float32, copy=False)):
        wide = plane
        if part != padded:  # the padding is cut off at the input's size, where its edge is one of pixels
            wide = cv2.resize(wide, (padded[1], padded[0]))[: part[0], : part[1]]
        if wide.shape != size:
            wide = cv2.resize(wide, (size[1], size[0]))
        is_larger = wide > best
        np.copyto(best, wide, where=is_larger)
        found[is_larger] = table[index]
    return found
