"""From the QP map that a user asked for to what a tool can be told, with an account of what got lost on the way.

Everything counts in *steps* relative to the uniform encode: 6 steps double the quantiser step, positive is coarser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

Rectangle = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Quantisers:
    """What a tool is told for one picture, on its own scale.

    `base` holds for the whole picture; `offsets` (rows, columns) are added to it, block by block of `unit_px` coded
    pixels from the top left corner. `steps` (rows, columns) is what the two come to against the uniform encode;
    `clamped` blocks would have left the tool's range. `frames` are the qualities of a stack's pictures, in their order.
    """

    base: float
    offsets: NDArray[Any] = field(default_factory=lambda: np.zeros((1, 1), np.int64))
    unit_px: int = 0
    steps: F64 = field(default_factory=lambda: np.zeros((1, 1)))
    clamped: int = 0
    frames: tuple[int, ...] = ()


def _bayer(size: int) -> F64:
    """A size x size ordered dither matrix (B. E. Bayer, 1973) of thresholds in (0, 1); size is a power of two."""
    matrix = np.zeros((1, 1))
    while len(matrix) < size:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return (matrix + 0.5) / size**2


_THRESHOLDS = _bayer(8)


def whole_steps(steps: F64, shift: float, multiple: int = 1) -> I64:
    """`steps` + `shift` in whole numbers, or in multiples of one: (rows, columns) int64.

    The fraction of `shift` is spread over the blocks by an ordered dither, so that a file's size follows `shift`
    smoothly and without ever falling back, though every block has a whole QP.
    """
    steps, shift = steps / multiple, shift / multiple
    rows, columns = steps.shape
    thresholds = np.tile(_THRESHOLDS, (-(-rows // 8), -(-columns // 8)))[:rows, :columns]
    whole = np.floor(shift)
    result: I64 = (np.rint(steps) + whole + (thresholds < shift - whole)).astype(np.int64)
    return result * multiple


def integer_quantisers(
    quality: int, steps: F64, shift: float, unit_px: int, limits: tuple[int, int], multiple: int = 1
) -> Quantisers:
    """For tools with a whole QP a block, one step each, within `limits`; offsets in multiples of `multiple`."""
    minimum, maximum = limits
    base = int(np.clip(quality + np.floor(shift), minimum, maximum))
    wanted = quality + whole_steps(steps, shift, multiple)
    qps = np.clip(wanted, minimum, maximum)
    return Quantisers(base, qps - base, unit_px, (qps - quality).astype(np.float64), int(np.sum(qps != wanted)))


def nearest_levels(values: F64, count: int) -> F64:
    """`values` with at most `count` different ones, chosen for the least squared error (Lloyd, 1957, in one dimension).

    Starts from evenly spaced quantiles and ends where nothing moves: the same input gives the same levels.
    """
    distinct = np.unique(values)
    if len(distinct) <= count:
        return values
    levels = np.unique(np.quantile(distinct, np.linspace(0, 1, count)))
    for _ in range(100):
        nearest = np.abs(values[..., None] - levels).argmin(axis=-1)
        moved = np.array(
            [values[nearest == i].mean() if (nearest == i).any() else levels[i] for i in range(len(levels))]
        )
        if np.allclose(moved, levels, rtol=0, atol=1e-9):
            break
        levels = moved
    result: F64 = levels[np.abs(values[..., None] - levels).argmin(axis=-1)]
    return result


def _overlaps(side_px: int, from_px: int, to_px: int) -> F64:
    """(to blocks, from blocks): the share that each old block has of each new one, along one side of the picture."""
    old = np.minimum(np.arange(0, side_px + from_px, from_px), side_px)
    old = old[: np.searchsorted(old, side_px) + 1]
    new = np.minimum(np.arange(0, side_px + to_px, to_px), side_px)
    new = new[: np.searchsorted(new, side_px) + 1]
    shared = np.minimum(new[1:, None], old[None, 1:]) - np.maximum(new[:-1, None], old[None, :-1])
    lengths = np.maximum(shared, 0).astype(np.float64)
    result: F64 = lengths / lengths.sum(axis=1, keepdims=True)
    return result


def regrid(blocks: F64, width: int, height: int, from_px: int, to_px: int) -> F64:
    """A map of blocks of `from_px` as one of `to_px`, both over a width x height picture: means weighted by area."""
    if from_px == to_px:
        return blocks
    result: F64 = _overlaps(height, from_px, to_px) @ blocks @ _overlaps(width, from_px, to_px).T
    return result


def finest(blocks: F64, width: int, height: int, from_px: int, to_px: int) -> F64:
    """A map of blocks of `from_px` as one of `to_px`, both over a width x height picture: each new block as fine as
    the finest old one that it covers a part of. What matters is not diluted by what lies beside it in a coarse one."""

    def spans(side: int) -> list[tuple[int, int]]:
        return [(at // from_px, -(-min(at + to_px, side) // from_px)) for at in range(0, side, to_px)]

    rows = np.array([blocks[low:high].min(axis=0) for low, high in spans(height)])
    return np.stack([rows[:, low:high].min(axis=1) for low, high in spans(width)], axis=1)


def mean_steps(steps: F64, width: int, height: int, unit_px: int) -> float:
    """The mean over the picture's area: blocks at the edges count as far as they lie inside."""
    return float(regrid(steps, width, height, unit_px, max(width, height))[0, 0])


def fidelity(wanted: F64, block_px: int, told: Quantisers, shift: float, width: int, height: int) -> dict[str, Any]:
    """What of a user's map, (rows, columns) of whole steps per `block_px`, a tool was told: for the record."""
    on_blocks = regrid(told.steps, width, height, told.unit_px, block_px) - shift
    errors = on_blocks - wanted
    return {
        "block_size_px": block_px,
        "unit_px": told.unit_px,
        "blocks": list(wanted.shape),
        "units": list(told.steps.shape),
        "levels_wanted": len(np.unique(wanted)),
        "levels": len(np.unique(told.offsets)),
        "rms_error_steps": round(float(np.sqrt(np.mean(np.square(errors)))), 4),
        "max_error_steps": round(float(np.abs(errors).max()), 4),
        "clamped_units": told.clamped,
        "requested_mean_steps": round(mean_steps(wanted, width, height, block_px), 4),
        "mean_steps": round(mean_steps(told.steps, width, height, told.unit_px), 4),
    }


def rectangles(offsets: I64, unit_px: int) -> list[Rectangle]:
    """Few rectangles (x, y, width, height in px, offset) that say the same as a map; earlier ones go before later.

    Equal neighbours grow into the largest rectangle to the right and then downwards; the most frequent offset comes
    last, as one rectangle over everything. Blocks at zero need none where zero is the most frequent.
    """
    values, counts = np.unique(offsets, return_counts=True)
    background = values[counts.argmax()]
    taken = offsets == background
    rows, columns = offsets.shape
    # how far to the right of each block its offset goes on
    run = np.ones_like(offsets)
    for column in range(columns - 2, -1, -1):
        run[:, column] = np.where(offsets[:, column] == offsets[:, column + 1], run[:, column + 1] + 1, 1)
    found: list[Rectangle] = []
    for row in range(rows):
        for column in map(int, np.flatnonzero(~taken[row])):
            if taken[row, column]:  # by a rectangle of this row
                continue
            free = taken[row, column : column + run[row, column]]
            length = int(free.argmax()) if free.any() else len(free)
            value, low = int(offsets[row, column]), row + 1
            while (
                low < rows
                and offsets[low, column] == value
                and run[low, column] >= length
                and not taken[low, column : column + length].any()
            ):
                low += 1
            taken[row:low, column : column + length] = True
            found.append((column * unit_px, row * unit_px, length * unit_px, (low - row) * unit_px, int(value)))
    if background != 0:
        found.append((0, 0, columns * unit_px, rows * unit_px, int(background)))
    return found
