"""Bits of a JPEG moved from place to place: its DCT coefficients are coarsened block by block.

A JPEG has one quantiser table for a whole picture. So it is coded with the table of its best blocks, and what the
others may lose is taken from their coefficients afterwards, without decoding: the result is an ordinary JPEG.

How coarse a block becomes is said as excess e >= 0 in steps of which six double the quantiser step, f = 2 ** (e / 6).
Rounding coefficients to multiples of f would be the plain way, and a poor one: Huffman codes of JPEG pay for a
coefficient's number of bits, so 4 costs what 5, 6 and 7 cost, and rounding among these loses quality for nothing
(measured: 1.2 to 2.7 dB under a plain JPEG of the same size). What saves bits is a coefficient that becomes zero or
gets a shorter category. Which ones, a trellis decides for every block, by the least of (added squared error +
slope * bits), where

    slope = ln 2 / 6 * f ** 2    in squared quantiser steps per bit

is what a bit is worth to a uniform quantiser of step f at high rate: its error, f ** 2 / 12, falls to a quarter with
every bit (Gray and Neuhoff, Quantization, IEEE Trans. Inf. Theory 44(6), 1998). So about the bits go that a table
f times as coarse would save. An error in a coefficient weighs by its quantiser step: half-way between equal weights,
which keep the table's shape, and the step's square, which is PSNR alone. DC stays as it is: coarser, it would save 1 %
of the bits and be seen as blocks. Where e = 0 nothing changes.
"""

from __future__ import annotations

import errno
import math
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vcmbench.encoder.jpeg_tables import MAX_EXCESS
from vcmbench.errors import RequestError
from vcmbench.importance.qp_map import read_cells

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

_LOOK_BACK = 4  # between two coefficients that stay, up to three nonzero ones may go; more gain nothing
_CHUNK_BLOCKS = 1 << 14  # bounds the memory of large pictures
_LARGEST_AC = 1023  # baseline's longest category has ten bits
_lock = threading.Lock()  # jpeglib keeps markers in global variables


def _zigzag() -> I64:
    """Natural index of the k-th coefficient in zigzag order (T.81, figure A.6): odd diagonals go down, even ones up."""
    cells = [(row, column) for row in range(8) for column in range(8)]
    cells.sort(key=lambda cell: (sum(cell), cell[0] if sum(cell) % 2 else cell[1]))
    return np.array([8 * row + column for row, column in cells])


_ZIGZAG = _zigzag()


def read_excess(path: Path) -> F64:
    """The excess map of a CSV file: a line a row of blocks, numbers 0..60. Raises ValueError."""
    rows = []
    try:
        for number, cells in read_cells(path):
            rows.append(np.array(cells, np.float64))
            if not (rows[-1].min() >= 0 and rows[-1].max() <= MAX_EXCESS):  # so is a NaN found
                raise ValueError(f"{path}, line {number}: excess must be within 0..{MAX_EXCESS:g}")
    except RequestError as error:
        raise ValueError(str(error)) from None
    return np.array(rows)


def requantise(fine: Path, coded: Path, excess: F64, block_px: int) -> None:
    """Write the JPEG `fine` as `coded`, every block coarser by its excess (see the module).

    `excess` is (rows, columns) in 0..60, one value for a block of `block_px` luma pixels, a multiple of 8; the last
    blocks of a row or column may reach over the picture's edge. A chroma block takes the mean of the luma blocks that
    it covers. What is written has Huffman tables of its own, the shortest.
    Raises ValueError where the map does not fit, and OSError or ValueError where `fine` is no whole 8-bit JPEG.
    """
    import jpeglib

    _check_whole(fine)
    _check_space(coded.parent, fine.stat().st_size)
    with _lock:
        jpeg = jpeglib.read_dct(str(fine))
        jpeg.load()
    luma_excess = _per_luma_block(excess, block_px, jpeg.width, jpeg.height)
    most_v, most_h = jpeg.samp_factor.max(axis=0)
    for index, name in enumerate(("Y", "Cb", "Cr")[: jpeg.num_components]):
        v, h = jpeg.samp_factor[index]
        if most_v % v or most_h % h:
            raise ValueError(f"{fine}: sampling factors that do not divide each other are not supported")
        coefficients = getattr(jpeg, name)
        per_block = _pooled(luma_excess, most_v // v, most_h // h)[: coefficients.shape[0], : coefficients.shape[1]]
        huffman = jpeg.huffmans[min(index, 1)]["AC"]
        setattr(jpeg, name, _coarsened(coefficients, per_block, jpeg.get_component_qt(index), huffman))
    jpeg.markers = []  # libjpeg writes the JFIF marker itself; given it again, it would write it twice
    jpeg.qt = -1  # no new tables: those of the file stay, and the numbers of its components with them
    with _lock:
        jpeg.write_dct(str(coded), flags=["+OPTIMIZE_CODING"])


def _check_whole(path: Path) -> None:
    """Libjpeg itself takes a file that is cut off, and fills what is missing with gray."""
    try:
        with Image.open(path) as image:
            if image.format != "JPEG" or image.mode not in ("L", "RGB"):
                raise ValueError(f"{path}: is {image.format} {image.mode}, must be a JPEG in gray or colour")
            image.load()
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_space(folder: Path, fine_bytes: int) -> None:
    """Libjpeg ends the whole process where it cannot write. The standard Huffman tables seldom cost a half more."""
    wanted = 2 * fine_bytes + (1 << 16)
    if (free := shutil.disk_usage(folder).free) < wanted:
        raise OSError(errno.ENOSPC, f"{free} bytes are free, {wanted} are needed", str(folder))


def _per_luma_block(excess: F64, block_px: int, width: int, height: int) -> F64:
    """The excess of every 8x8 luma block of a width x height picture."""
    if block_px < 8 or block_px % 8:
        raise ValueError(f"block size {block_px}: must be a multiple of 8 px, which a JPEG's blocks have")
    wanted = (-(-height // block_px), -(-width // block_px))
    if excess.shape != wanted:
        raise ValueError(
            f"map of {excess.shape[0]} rows and {excess.shape[1]} columns: a {width}x{height} picture in blocks of "
            f"{block_px} px has {wanted[0]} and {wanted[1]}"
        )
    if not (excess.min() >= 0 and excess.max() <= MAX_EXCESS):
        raise ValueError(f"excess must be within 0..{MAX_EXCESS:g}")
    times = block_px // 8
    return np.repeat(np.repeat(excess, times, 0), times, 1)[: -(-height // 8), : -(-width // 8)]


def _pooled(values: F64, rows: int, columns: int) -> F64:
    """The means of groups of rows x columns values; the last ones repeat where a group is not full."""
    padded = np.pad(values, ((0, -values.shape[0] % rows), (0, -values.shape[1] % columns)), "edge")
    height, width = padded.shape
    means: F64 = padded.reshape(height // rows, rows, width // columns, columns).mean(axis=(1, 3))
    return means


def _coarsened(coefficients: NDArray[Any], excess: F64, table: NDArray[Any], huffman: Any) -> NDArray[np.int16]:
    """(rows, columns, 8, 8) quantised coefficients, coarser by the (rows, columns) excess of their blocks."""
    natural = coefficients.reshape(-1, 64)
    if np.abs(natural[:, 1:]).max() > _LARGEST_AC or np.abs(natural[:, 0]).max() > _LARGEST_AC + 1:
        raise ValueError("coefficients that baseline JPEG cannot code")
    steps = table.reshape(64)[_ZIGZAG[1:]].astype(np.float64)
    # relative to the steps of the first twenty, where nearly all that is not zero is: so the slope stays in their units
    weights = steps / np.exp(np.log(steps[:20]).mean())
    slopes = math.log(2) / 6 * 2 ** (excess.ravel() / 3)
    bits = _bits(huffman)
    result = natural.astype(np.int16)
    chosen = np.flatnonzero((excess.ravel() > 0) & natural[:, 1:].any(axis=1))
    for start in range(0, len(chosen), _CHUNK_BLOCKS):
        some = chosen[start : start + _CHUNK_BLOCKS, None]
        result[some, _ZIGZAG[1:]] = _cheapest(natural[some, _ZIGZAG[1:]], slopes[some[:, 0]], weights, *bits)
    return result.reshape(coefficients.shape)


def _bits(huffman: Any) -> tuple[F64, float]:
    """The bits of an AC coefficient by (zeros before it 0..62, its category 0..10), and of the end of a block."""
    lengths = np.full(256, 17.0)  # more than any code has, for what a table that is not the standard one lacks
    codes = np.repeat(np.arange(17), np.maximum(huffman.bits, 0))
    lengths[huffman.values[: len(codes)]] = codes
    zeros, category = np.arange(63)[:, None], np.arange(11)
    # 0xF0 stands for sixteen zeros, 0 for the end of the block; a category's own bits follow the code
    return zeros // 16 * lengths[0xF0] + lengths[zeros % 16 * 16 + category] + category, float(lengths[0])


def _cheapest(coefficients: NDArray[Any], slopes: F64, weights: F64, bits: F64, end_bits: float) -> NDArray[Any]:
    """The (blocks, 63) coefficients, in zigzag order, that cost least: each kept, or lowered to the largest value of
    the next shorter category, or zero.

    A Viterbi search over each block's nonzero coefficients: the best way to end with the i-th comes from the best way
    to end with one of a few before it, those between being zero. It goes rank by rank over all blocks at once, the
    blocks sorted so that those that have an i-th come first.
    """
    order = np.argsort(-np.count_nonzero(coefficients, axis=1), kind="stable")
    position, value = _nonzeros(np.abs(coefficients[order]))
    blocks, ranks = position.shape
    counts = np.count_nonzero(value, axis=1)
    category = np.frexp(value)[1]  # bits of a whole number
    lowered = 2.0 ** (category - 1) - 1
    weight = np.append(0.0, weights)[position]
    slope = slopes[order]
    loss_if_zero = np.cumsum(value**2 * weight, axis=1)
    loss_if_lowered = np.where(category > 1, (value - lowered) ** 2 * weight, np.inf)
    ahead = np.full((blocks, ranks), np.inf)  # the cost of ending there, less that of all zeros
    ahead[:, 0] = 0
    before = np.zeros((blocks, ranks), np.intp)
    is_lowered = np.zeros((blocks, ranks), bool)
    for i in range(1, ranks):
        n = np.searchsorted(-counts, -i, side="right")
        own, shorter = category[:n, i], np.maximum(category[:n, i] - 1, 1)
        for j in range(max(0, i - _LOOK_BACK), i):
            zeros = position[:n, i] - position[:n, j] - 1
            kept = slope[:n] * bits[zeros, own]
            less = slope[:n] * bits[zeros, shorter] + loss_if_lowered[:n, i]
            cost = ahead[:n, j] + np.minimum(kept, less) - (loss_if_zero[:n, i] - loss_if_zero[:n, i - 1])
            better = cost < ahead[:n, i]
            ahead[:n, i][better] = cost[better]
            before[:n, i][better] = j
            is_lowered[:n, i][better] = (less < kept)[better]
    last = np.argmin(ahead + slope[:, None] * end_bits * (position < 63), axis=1)
    chosen = np.where(is_lowered, lowered, value)
    found = np.zeros((blocks, 64))
    while last.any():
        some = np.flatnonzero(last)
        found[some, position[some, last[some]]] = chosen[some, last[some]]
        last[some] = before[some, last[some]]
    result = np.empty_like(coefficients)
    result[order] = found[:, 1:] * np.sign(coefficients[order])
    return result


def _nonzeros(magnitudes: NDArray[Any]) -> tuple[I64, F64]:
    """Position 1..63 and size of every row's nonzero values, in order, after a column of zeros; padded with zeros."""
    row, column = np.nonzero(magnitudes)
    counts = np.count_nonzero(magnitudes, axis=1)
    rank = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    position = np.zeros((len(counts), counts.max() + 1), np.int64)
    value = np.zeros(position.shape)
    position[row, rank] = column + 1
    value[row, rank] = magnitudes[row, column]
    return position, value
