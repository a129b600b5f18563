"""A picture as an ONNX network's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench.errors import RequestError
from vcmbench.tasks.base import Picture
from vcmbench.tasks.onnx.keys import Layout, NetworkInput
from vcmbench.tasks.onnx.session import text_of

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
}
_CHANNELS = 3
Size = tuple[int, int]
"""Height, width in px."""


@dataclass(frozen=True)
class Pixels:
    """The keys, with all that the file says filled in. `size` is fixed, or a factor."""

    name: str
    layout: Layout
    dtype: str
    size: Size | float
    keys: NetworkInput

    def tensor(self, image: Picture) -> tuple[NDArray[Any], Size]:
        """(H, W, 3) uint8 R'G'B' as (1, 3, h, w) or (1, h, w, 3), and the part (height, width) of h and w that is
        picture: the rest, on the right and below, is zeros."""
        found = _resized(image, self.size_of(image), self.keys.resize)
        if self.keys.colours == "bgr":
            found = found[..., ::-1]
        found = self._normalised(found)
        size = found.shape[:2]
        down, right = (-side % self.keys.multiple for side in size)
        found = np.pad(found, ((0, down), (0, right), (0, 0)))
        if self.layout == "nchw":
            found = found.transpose(2, 0, 1)
        return np.ascontiguousarray(found[None]), (size[0], size[1])

    def size_of(self, image: Picture) -> Size:
        if not isinstance(self.size, float):
            return self.size
        height, width = (max(round(side * self.size), 1) for side in image.shape[:2])
        return height, width

    def _normalised(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if self.dtype == "uint8":  # the network does the rest
            whole: NDArray[Any] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
            return whole
        keys = self.keys
        found: NDArray[Any] = pixels.astype(np.float32)
        if keys.scale_at == "first":
            found *= np.float32(keys.scale)
        if keys.mean:
            found -= np.array(keys.mean, np.float32)
        if keys.std:
            found /= np.array(keys.std, np.float32)
        if keys.scale_at == "last":
            found *= np.float32(keys.scale)
        exact: NDArray[Any] = found.astype(np.dtype(self.dtype))
        return exact


def of(keys: NetworkInput | None, name: str, shape: list[int | str | None], type_name: str) -> Pixels:
    """What the keys and an input say together. Raises RequestError that says which key contradicts, or is missing."""
    keys = keys or NetworkInput()
    where = f"the input {name!r} is {text_of(shape)}"
    if len(shape) != 4 or type_name not in _DTYPES:
        raise RequestError(f"{where} {type_name}; a picture is (1, 3, h, w) or (1, h, w, 3) of floats or uint8")
    if shape[0] not in (1, None) and isinstance(shape[0], int):
        raise RequestError(f"{where}, {shape[0]} pictures at once; export it for one, or with a free first side")
    layout = _layout(keys, shape, where)
    dtype = _DTYPES[type_name]
    given = [key for key in ("scale", "mean", "std") if key in keys.model_fields_set]
    if dtype == "uint8" and given:
        raise RequestError(f"task.input.{given[0]}: {where} of uint8: it takes pixels as they are; leave the key out")
    if dtype != "uint8" and not given:
        raise RequestError(
            f"task.input: {where}; no key says how pixels of 0..255 become its numbers: give "
            'scale (1 or "1/255", say), or mean and std'
        )
    return Pixels(name, layout, dtype, _size(keys, shape[2:] if layout == "nchw" else shape[1:3], where), keys)


def _layout(keys: NetworkInput, shape: list[int | str | None], where: str) -> Layout:
    sides: dict[Layout, int | str | None] = {"nchw": shape[1], "nhwc": shape[3]}
    fits: list[Layout] = [one for one, side in sides.items() if side == _CHANNELS]
    fits = fits or [one for one, side in sides.items() if not isinstance(side, int)]
    if not fits:
        raise RequestError(f"{where}, none of whose sides are {_CHANNELS} colours")
    if keys.layout is not None and keys.layout not in fits:
        raise RequestError(f"task.input.layout = {keys.layout!r}: {where}, which is {fits[0]}")
    if keys.layout is None and len(fits) == 2:
        raise RequestError(f"task.input.layout: {where}, which can be read both ways; say nchw or nhwc")
    return keys.layout or fits[0]


def _size(keys: NetworkInput, sides: list[int | str | None], where: str) -> Size | float:
    fixed = [side if isinstance(side, int) else None for side in sides]
    if not isinstance(keys.size, list):
        height, width = fixed
        if height is None and width is None:
            return keys.size or 1.0
        if height is None or width is None or keys.size is not None:
            raise RequestError(f"task.input.size: {where}; say [height, width] that it takes")
        size = height, width
    else:
        size = keys.size[0], keys.size[1]
        if any(side not in (None, asked) for side, asked in zip(fixed, size, strict=True)):
            raise RequestError(f"task.input.size = {keys.size}: {where}")
    if any(side % keys.multiple for side in size):
        raise RequestError(f"task.input.multiple = {keys.multiple}: the size {list(size)} is none of it")
    return size


def _resized(image: Picture, size: Size, how: str) -> NDArray[Any]:
    """(h, w, 3), float32 where it had to be resized."""
    if image.shape[:2] == size:
        return image
    if how == "nearest":
        rows, columns = (np.arange(to) * of // to for of, to in zip(image.shape[:2], size, strict=True))
        taken: NDArray[Any] = image[rows][:, columns]
        return taken
    wide = image.astype(np.float32)
    if how == "bilinear":
        import cv2

        found: NDArray[Any] = cv2.resize(wide, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        return found
    channels = [Image.fromarray(wide[..., c]).resize((size[1], size[0]), Image.Resampling.BILINEAR) for c in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)
