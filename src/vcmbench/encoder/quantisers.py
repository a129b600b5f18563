"""From the QP map that a user asked for to what a tool can be told, with an account of what got lost on the way.

Everything counts in *steps* relative to the uniform encode: 6 steps double the quantiser step, positive is coarser.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_MANY_BLOCKS = 256

Rectangle = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Quantisers:
    """What a tool is told for one picture, or for each of a sequence's, on its own scale.

    `base` holds for the whole picture; `offsets` (rows, columns) are added to it, block by block of `unit_px` coded
    pixels from the top left corner. `steps` (rows, columns) is what the two come to against the uniform encode;
    `clamped` blocks would have left the tool's range. `frames` are the qualities of a stack's pictures, in their order.
    `pictures` are the offsets of every picture of a sequence, (rows, columns) int16 each, in display order; `offsets`
    and `steps` say nothing then.
    """

    base: float
    offsets: NDArray[Any] = field(default_factory=lambda: np.zeros((1, 1), np.int64))
    unit_px: int = 0
    steps: F64 = field(default_factory=lambda: np.zeros((1, 1)))
    clamped: int = 0
    frames: tuple[int, ...] = ()
    pictures: tuple[NDArray[np.int16], ...] = ()


@lru_cache(maxsize=64)
def _thresholds(rows: int, columns: int) -> F64:
    """Dither thresholds in (0, 1), one for each block and all different: row after row in bit-reversed order (J. G. van
    der Corput, 1935), so spread over the height, and from left to right within a row. Whole rows stay few rectangles,
    which an ordered dither of single blocks would not: three times the encode time, in x264."""
    bits = max(rows - 1, 1).bit_length()
    turned = [int(format(row, f"0{bits}b")[::-1], 2) for row in range(rows)]
    rank = np.argsort(np.argsort(turned))
    result: F64 = (rank[:, None] + (np.arange(columns) + 0.5) / columns) / rows
    return result


def dithered(values: F64) -> I64:
    """`values`, (rows, columns), rounded down or up so that their mean over the picture stays: int64."""
    whole = np.floor(values)
    result: I64 = (whole + (_thresholds(*values.shape) < values - whole)).astype(np.int64)
    return result


def whole_steps(steps: F64, shift: float, multiple: int = 1) -> I64:
    """`steps` + `shift` in whole numbers that differ by multiples of one: (rows, columns) int64.

    The fraction of `shift` is spread over the blocks by a dither, so that a file's size follows `shift`
    smoothly and without ever falling back, though every block has a whole QP. So is what multiples leave over, hence
    the mean stays; the most frequent step is met as it is.
    """
    whole = np.floor(steps + 0.5)
    values, counts = np.unique(whole, return_counts=True)
    most = int(values[counts.argmax()])
    return most + dithered((whole - most + shift) / multiple) * multiple


def integer_quantisers(
    quality: int, steps: F64, shift: float, unit_px: int, limits: tuple[int, int], multiple: int = 1
) -> Quantisers:
    """For tools with a whole QP a block, one step each, within `limits`; blocks that differ do so by multiples of
    `multiple`."""
    minimum, maximum = limits
    base = int(np.clip(quality + np.floor(shift), minimum, maximum))
    wanted = quality + whole_steps(steps, shift, multiple)
    qps = np.clip(wanted, minimum, maximum)
    return Quantisers(base, qps - base, unit_px, (qps - quality).astype(np.float64), int(np.sum(qps != wanted)))


def moves_over_time(pictures: int, blocks: int) -> F64:
    """By how much each picture's shift is to differ from that of all, (pictures,) with a mean of 0.

    Where a picture has few blocks, one may be more than 1 % of its bytes: some pictures raise one more than others, in
    bit-reversed order. With many blocks, pictures of one map keep it to the block.
    """
    if blocks >= _MANY_BLOCKS:
        return np.zeros(pictures)
    order = _thresholds(pictures, 1)[:, 0]
    moves: F64 = (order - order.mean()) / blocks
    return moves


def sequence_of(pictures: Iterable[Quantisers]) -> Quantisers:
    """The quantisers of a sequence's pictures as those of the sequence, with the base of the first. Raises JobError
    where there are none."""
    base: float | None = None
    unit_px, clamped, offsets = 0, 0, []
    for one in pictures:
        base = one.base if base is None else base
        offsets.append((one.offsets + int(one.base - base)).astype(np.int16))
        unit_px, clamped = one.unit_px, clamped + one.clamped
    if base is None:
        raise JobError("internal error: a sequence without a picture")
    return Quantisers(base, unit_px=unit_px, clamped=clamped, pictures=tuple(offsets))


def nearest_levels(values: F64, count: int) -> F64:
    """`values` with at most `count` different ones, those of the least squared error.

    Exact, by dynamic programming over the sorted values (W. D. Fisher, 1958: optimal groups are runs of neighbours).
    """
    distinct, weights = np.unique(values, return_counts=True)
    if len(distinct) <= count:
        return values
    # sums over the first i values, so that the error of a run follows from its two ends
    sums = [np.concatenate([[0.0], np.cumsum(weights * distinct**power)]) for power in (0, 1, 2)]
    number, first, second = (one[None, :] - one[:, None] for one in sums)  # [from, to)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.where(number > 0, second - first**2 / number, np.inf)
    best, cuts = errors[0], []
    for _ in range(count - 1):
        joined = best[:, None] + errors
        cuts.append(joined.argmin(axis=0))
        best = joined.min(axis=0)
    end, levels = len(distinct), np.empty(len(distinct))
    for cut in [*reversed(cuts), np.zeros(len(distinct) + 1, int)]:
        start = int(cut[end])
        levels[start:end] = first[start, end] / number[start, end]
        end = start
    result: F64 = levels[np.searchsorted(distinct, values)]
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
        "requested_mean_steps": round(mean_steps(wanted, width, height, block_px) + shift, 4),
        "mean_steps": round(mean_steps(told.steps, width, height, told.unit_px), 4),
    }


def rectangles(offsets: I64, unit_px: int) -> list[Rectangle]:
    """Few rectangles (x, y, width, height in px, offset) that say the same as a map; earlier ones go before later.

    Finest offsets come first, and what they cover is free to later ones: so a rim is painted under its object's core.
    Each rectangle grows to the right and then downwards; the most frequent offset comes last, as one over everything.
    Blocks at zero need none where zero is the most frequent.
    """
    values, counts = np.unique(offsets, return_counts=True)
    background = int(values[counts.argmax()])
    rows, columns = offsets.shape
    covered = [0] * rows  # a bit for each block of a row, the lowest for the first
    found: list[Rectangle] = []
    for value in map(int, values):
        if value == background:
            continue
        packed = np.packbits(offsets == value, axis=1, bitorder="little")
        wanted = [int.from_bytes(row.tobytes(), "little") for row in packed]
        allowed = [one | other for one, other in zip(wanted, covered, strict=True)]
        for top in range(rows):
            while wanted[top]:
                span, bottom = _grow(top, wanted, allowed)
                for row in range(top, bottom):
                    wanted[row] &= ~span
                    covered[row] |= span
                x = (span & -span).bit_length() - 1
                width = span.bit_length() - x
                found.append((x * unit_px, top * unit_px, width * unit_px, (bottom - top) * unit_px, value))
    if background != 0:
        found.append((0, 0, columns * unit_px, rows * unit_px, background))
    return found


def _grow(top: int, wanted: list[int], allowed: list[int]) -> tuple[int, int]:
    """The rectangle of the first wanted block of row `top`: its columns as bits, and the row below its last."""
    first = wanted[top] & -wanted[top]
    # the carry of the sum clears the allowed blocks from the first to the next gap
    run = allowed[top] & ~(allowed[top] + first) & -first
    span = (1 << (wanted[top] & run).bit_length()) - first
    row = bottom = top + 1
    while row < len(allowed) and allowed[row] & span == span:
        row += 1
        if wanted[row - 1] & span:
            bottom = row
    return span, bottom
