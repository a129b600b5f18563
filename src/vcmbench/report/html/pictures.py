"""Pictures inside the page: sized, coloured, and written as data addresses.

Overviews are JPEG of quality 90 without chroma subsampling, which adds nothing that could be taken for a codec's damage
at the size they are shown; details, which are shown pixel by pixel, and predictions are lossless.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vcmbench.report.content import Layer

DETAIL_PX = (232, 174)
_HEAT_SHARE = 0.65
_MASK = np.array([213, 62, 10], float)
_COLOURS = {"scale": "viridis", "diverging": "PuOr_r"}
_STEPS = 24

_WHITE, _BLACK = 254, 255  # of a prediction's palette, which therefore has at most 254 classes

Picture = NDArray[np.uint8]
_Colour = int | tuple[int, int, int]


def photo(picture: Picture, width_px: int, box: tuple[int, int, int, int] | None = None) -> str:
    """(H, W, 3) uint8 RGB as an overview of at most `width_px`; `box` (x, y, width, height) is outlined."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    scale = min(1.0, width_px / image.width)
    if scale < 1:
        image = image.resize((width_px, max(1, round(image.height * scale))), Image.Resampling.LANCZOS)
    if box is not None:
        _outline(image, tuple(round(side * scale) for side in box), (0, 0, 0), (255, 255, 255))
    return _address(image, "jpeg", quality=90, subsampling=0)


def _outline(image: Image.Image, box: tuple[int, ...], black: _Colour, white: _Colour) -> None:
    x, y, width, height = box
    draw = ImageDraw.Draw(image)
    draw.rectangle((x - 1, y - 1, x + width, y + height), outline=black, width=3)
    draw.rectangle((x, y, x + width - 1, y + height - 1), outline=white, width=1)


def lossless(picture: Picture) -> str:
    """(H, W, 3) uint8 RGB as it is, every pixel."""
    return _address(Image.fromarray(np.ascontiguousarray(picture)), "webp", lossless=True, quality=60)


def prediction(ids: Picture, palette: Picture, width_px: int, box: tuple[int, int, int, int] | None = None) -> str:
    """(H, W) uint8 train ids in the colours of (K, 3) `palette`, other ids black, at most `width_px` wide.

    Sized by taking pixels, because a mixture of two classes' colours is the colour of neither.
    """
    known = np.where(ids < min(len(palette), _WHITE), ids, _BLACK).astype(np.uint8)
    image = Image.fromarray(known).convert("P")
    colours = coloured(np.arange(256, dtype=np.uint8), palette[:_WHITE])
    colours[_WHITE] = 255
    image.putpalette(colours.tobytes())
    scale = min(1.0, width_px / image.width)
    if scale < 1:
        image = image.resize((width_px, max(1, round(image.height * scale))), Image.Resampling.NEAREST)
    if box is not None:
        _outline(image, tuple(round(side * scale) for side in box), _BLACK, _WHITE)
    return _address(image, "png", optimize=True)


def coloured(ids: Picture, palette: Picture) -> Picture:
    """(H, W) uint8 train ids as (H, W, 3) uint8 RGB."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(palette)] = palette
    found: Picture = table[ids]
    return found


def overlay(picture: Picture, layer: Layer, width_px: int) -> str:
    """The heat map over the picture's gray, at most `width_px` wide. Where nothing is known the picture stays gray."""
    height, width = picture.shape[:2]
    values = spread(layer, height, width)
    gray = picture.astype(float).mean(axis=2)
    base = np.repeat((40 + 0.8 * gray)[:, :, None], 3, axis=2)
    there = np.isfinite(values)
    if layer.kind == "mask":
        shown = np.where((there & (values > 0.5))[:, :, None], _MASK, base)
    else:
        low, high = limits(layer)
        place = np.clip((np.where(there, values, low) - low) / (high - low), 0, 1)
        heat = _map(layer.kind)(place)[:, :, :3] * 255
        shown = np.where(there[:, :, None], (1 - _HEAT_SHARE) * base + _HEAT_SHARE * heat, base)
    image = Image.fromarray(shown.round().clip(0, 255).astype(np.uint8))
    if width > width_px:
        image = image.resize((width_px, max(1, round(height * width_px / width))), Image.Resampling.BOX)
    return _address(image, "jpeg", quality=88, subsampling=0)


def spread(layer: Layer, height: int, width: int) -> NDArray[np.float64]:
    """The layer's values at every pixel, (height, width). Raises ValueError where they do not cover the picture."""
    values = np.asarray(layer.values, float)
    if values.shape == (height, width):
        return values
    if not layer.block_px:
        raise ValueError(f"{values.shape} values for a picture of {width}x{height}, and no block size")
    if any(count * layer.block_px < side - 1 for count, side in zip(values.shape, (height, width), strict=True)):
        raise ValueError(f"{values.shape} blocks of {layer.block_px:g} px do not cover a picture of {width}x{height}")
    rows, columns = (np.floor((np.arange(side) + 0.5) / layer.block_px).astype(int) for side in (height, width))
    rows, columns = np.minimum(rows, len(values) - 1), np.minimum(columns, values.shape[1] - 1)
    found: NDArray[np.float64] = values[rows[:, None], columns]
    return found


def limits(layer: Layer) -> tuple[float, float]:
    """The values that the ends of the colours stand for, never equal; symmetric where the layer is diverging.

    Where the layer does not say, those that 98 % lie between: with the extremes, one block would turn all others dark.
    """
    values = known(layer)
    ends = np.percentile(values, [1, 99]) if values.size else np.array([0.0, 1.0])
    low, high = (
        float(end if given is None else given) for given, end in zip((layer.low, layer.high), ends, strict=True)
    )
    if layer.kind == "diverging":
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def known(layer: Layer) -> NDArray[np.float64]:
    """All values that are known, (n,)."""
    values = np.asarray(layer.values, float)
    finite: NDArray[np.float64] = values[np.isfinite(values)]
    return finite


def key_colours(kind: str) -> list[str]:
    """Hex colours from low to high as they look over a middle gray; one for a mask."""
    if kind == "mask":
        return [_hex(_MASK)]
    heat = _map(kind)(np.linspace(0, 1, _STEPS))[:, :3] * 255
    return [_hex((1 - _HEAT_SHARE) * 140 + _HEAT_SHARE * colour) for colour in heat]


def detail_box(weight: NDArray[Any]) -> tuple[int, int, int, int]:
    """Where (H, W) `weight` has its largest sum in a window of DETAIL_PX: x, y, width, height. Found by integrals."""
    height, width = weight.shape
    wide, high = min(DETAIL_PX[0], width), min(DETAIL_PX[1], height)
    total = np.zeros((height + 1, width + 1))
    total[1:, 1:] = weight.astype(float).cumsum(axis=0).cumsum(axis=1)
    sums = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    y, x = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(x), int(y), wide, high


def _map(kind: str) -> Any:
    from matplotlib import colormaps  # here, because it takes longer to import than most commands take

    return colormaps[_COLOURS[kind]]


def _hex(colour: NDArray[Any]) -> str:
    return "#" + "".join(f"{round(float(part)):02x}" for part in colour)


def _address(image: Image.Image, kind: str, **options: Any) -> str:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
