"""QP maps: one QP for each block of a picture, lower where its importance map says that it matters more.

The rule is that of the "Cityscapes Importance Label Generator": the mean importance of a block, scaled to n in [0, 1],
gives `QP = round((base + delta) - 2 delta n)`, so that QP lies in [base - delta, base + delta]. Its announced gamma is
n ** gamma here: above 1, only the most important blocks keep a low QP; below 1, most do.
"""

from __future__ import annotations

import math
import re
import threading
import tokenize
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vcmbench.errors import RequestError
from vcmbench.io.files import hidden_beside, open_regular, read_bounded, write_atomically

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

Scaling = Literal["minmax", "absolute"]
"""How a block's mean becomes n: "minmax" stretches each map to [0, 1] (what was published; a map says where a picture's
bits go), "absolute" takes the mean as it is (importance 0.5 is the base QP; comparable between pictures)."""

SCALINGS: tuple[str, ...] = get_args(Scaling)
USUAL_BLOCK_SIZES_PX = (8, 16, 32, 64)
MAX_AREA_PX = 1 << 28
MAX_CSV_BYTES = 1 << 25
_MAX_COLUMNS = 1 << 16
_MAX_HEADER_BYTES = 10_000  # what numpy takes, but only once it has read all of it
_MAX_FILE_BYTES = 8 * MAX_AREA_PX + _MAX_HEADER_BYTES + 12

# whatever Python's parser and numpy raise for a header that somebody wrote by hand
_HEADER_FAULTS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, SyntaxError, TypeError,
    ValueError, tokenize.TokenError,
)  # fmt: skip
# which warnings are shown is a matter of the whole process
_quiet = threading.Lock()
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")


@dataclass(frozen=True)
class QpMap:
    """How importance becomes quantisers: see `qp_offsets` for `scaling` and `gamma`.

    `delta` counts in steps of which 6 double the quantiser step, whatever the encoder's own scale. `mode` "block" gives
    every block of `block_size` coded pixels its own, "frame" every picture. `method` None is the encoder's best.
    `refine` passes ask a task what the picture coded so far costs it (source "task"); 0: the map is known before.
    """

    mode: Literal["block", "frame"] = "block"
    delta: float = 6.0
    block_size: int = 16
    scaling: Scaling = "absolute"
    gamma: float = 1.0
    method: Literal["native", "coefficients", "prefilter"] | None = None
    refine: int = 0

    @property
    def tag(self) -> str:
        """All of it in one word for a folder's name: `block-absolute-delta6-size16`."""
        words = [self.mode, self.scaling, f"delta{self.delta:g}"]
        if self.mode == "block":
            words.append(f"size{self.block_size}")
        if self.gamma != 1:
            words.append(f"gamma{self.gamma:g}")
        if self.method is not None:
            words.append(self.method)
        if self.refine:
            words.append(f"refine{self.refine}")
        return "-".join(words)


def check_importance(values: ArrayLike, where: str = "importance map") -> F32:
    """The importance map `values`, (H, W), as float32 in [0, 1].

    Raises RequestError that begins with `where` and names what is wrong: the shape, the type, or the first value
    (in reading order) that is NaN or outside [0, 1], with its row and column.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise RequestError(f"{where}: holds {array.dtype}, must hold numbers in [0, 1]")
    if array.ndim != 2 or not array.size:
        raise RequestError(f"{where}: has the shape {array.shape}, must be (rows, columns)")
    # a NaN makes both comparisons false; all of a bad map is looked at only once it is known to be bad
    if not (array.min() >= 0 and array.max() <= 1):
        row, column = np.argwhere(~((array >= 0) & (array <= 1)))[0]
        raise RequestError(f"{where}: {array[row, column]} in row {row}, column {column} is not within [0, 1]")
    return array.astype(np.float32)


def block_means(importance: F32, block_size_px: int) -> F64:
    """The mean of every block, (rows, columns) float64, of an (H, W) map.

    Blocks are counted from the top left corner. One that reaches over the right or lower edge is the mean of what it
    has of the map: encoders pad pictures, and what they pad with has no importance of its own.
    """
    size = _block_size(block_size_px)
    height, width = importance.shape
    # Sums in float64 are exact for a block of float32 numbers of like size, whatever the order.
    columns = np.arange(0, width, size)
    rows = np.arange(0, height, size)
    sums = np.add.reduceat(np.add.reduceat(importance, columns, axis=1, dtype=np.float64), rows, axis=0)
    area = np.minimum(size, height - rows)[:, None] * np.minimum(size, width - columns)
    means: F64 = sums / area
    return means


def qp_offsets(means: F64, delta: float, scaling: str, gamma: float = 1.0) -> F64:
    """What every block's QP differs from the base by, not rounded: (rows, columns) float64 in [-delta, +delta].

    `means` in [0, 1] are what `block_means` gives. offset = delta - 2 delta n ** gamma, with n by `scaling` (see
    `Scaling`). A flat map has no n under "minmax"; it gets n = 0, hence +delta everywhere, as in the published code.
    Raises RequestError where an argument is out of range.
    """
    _check_curve(delta, scaling, gamma)
    offsets: F64 = delta - 2 * delta * _scaled(means, scaling, gamma)
    return offsets


def qp_map(
    importance: F32,
    block_size_px: int,
    base_qp: int,
    delta: float,
    scaling: str = "minmax",
    gamma: float = 1.0,
    qp_range: tuple[int, int] = (0, 51),
    where: str = "importance map",
) -> I64:
    """The QP of every block, (rows, columns) int64 in [base - delta, base + delta], of an (H, W) map in [0, 1].

    Rounded to the nearest whole number, halves to the even one, as Python's `round` in the published code does.
    Raises RequestError where the map or an argument is out of range, where the block size does not divide both sides,
    or where base +- delta leaves `qp_range`, the codec's lowest and highest QP.
    """
    check_settings(block_size_px, base_qp, delta, scaling, gamma, qp_range)
    importance = check_importance(importance, where)
    check_blocks(importance.shape[1], importance.shape[0], block_size_px, where)
    return whole_qps(block_means(importance, block_size_px), base_qp, delta, scaling, gamma)


def whole_qps(means: F64, base_qp: int, delta: float, scaling: str, gamma: float = 1.0) -> I64:
    """The QPs of blocks with these `means`, rounded: (rows, columns) int64 in [base - delta, base + delta].

    Raises RequestError where an argument is out of range.
    """
    _check_curve(delta, scaling, gamma)
    qp = np.rint((base_qp + delta) - 2 * delta * _scaled(means, scaling, gamma))
    # only a delta that is no whole number can be rounded out of its range
    return np.clip(qp, math.ceil(base_qp - delta), math.floor(base_qp + delta)).astype(np.int64)


def check_blocks(width: int, height: int, block_size_px: int, where: str = "importance map") -> None:
    """Raises RequestError where blocks of that size do not divide a width x height picture."""
    size = _block_size(block_size_px)
    if width % size or height % size:
        fitting = [str(usual) for usual in USUAL_BLOCK_SIZES_PX if width % usual == height % usual == 0]
        advice = f"{' '.join(fitting)} would" if fitting else "nor do 8 16 32 64: crop or pad picture and map"
        raise RequestError(f"{where}: block size {size} does not divide {width}x{height} px; {advice}")


def check_settings(
    block_size_px: int, base_qp: int, delta: float, scaling: str, gamma: float, qp_range: tuple[int, int]
) -> None:
    """Raises RequestError where one of them is out of range, or [base - delta, base + delta] leaves `qp_range`."""
    _block_size(block_size_px)
    _check_curve(delta, scaling, gamma)
    if not isinstance(base_qp, int | np.integer):
        raise RequestError(f"base QP {base_qp!r}: must be a whole number")
    low, high = qp_range
    if base_qp - delta < low or base_qp + delta > high:
        raise RequestError(
            f"base QP {base_qp} with delta {delta:g}: {base_qp - delta:g}..{base_qp + delta:g} leaves the codec's QP "
            f"range {low}..{high}"
        )


def _block_size(value: int) -> int:
    if not isinstance(value, int | np.integer) or value < 1:
        raise RequestError(f"block size {value!r}: must be a whole number of pixels from 1")
    return int(value)


def _check_curve(delta: float, scaling: str, gamma: float) -> None:
    if not (math.isfinite(delta) and delta >= 0):
        raise RequestError(f"delta {delta!r}: must be a number from 0")
    if scaling not in SCALINGS:
        raise RequestError(f"scaling {scaling!r}: must be one of {' '.join(SCALINGS)}")
    if not (math.isfinite(gamma) and gamma > 0):
        raise RequestError(f"gamma {gamma!r}: must be a number above 0")


def _scaled(means: F64, scaling: str, gamma: float) -> F64:
    """n ** gamma of every block, in [0, 1]."""
    n = np.asarray(means, np.float64)
    low, high = n.min(), n.max()
    if not (low >= 0 and high <= 1):
        raise RequestError("block means: some are not within [0, 1]")
    if scaling == "minmax":
        n = (n - low) / (high - low) if high > low else np.zeros_like(n)
    raised: F64 = n**gamma
    return raised


def load_importance(path: Path) -> F32:
    """The importance map of an .npy file: (H, W) float32 in [0, 1].

    Nothing of it is run (no pickle), and memory is taken only once the file has been found to be as large as its
    header says. Raises RequestError that names the file and what is wrong with it.
    """
    if not path.is_file():
        raise RequestError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
    try:
        _check_header(path)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        with _quiet, warnings.catch_warnings(), np.errstate(over="raise"):
            warnings.simplefilter("ignore")
            mapped = np.lib.format.open_memmap(path, mode="r")
    except FloatingPointError:
        raise RequestError(f"{path}: damaged: its shape has more pixels than any file can hold") from None
    except _HEADER_FAULTS as error:
        is_deep = isinstance(error, MemoryError | RecursionError)  # for Python's parser
        reason = "its header cannot be parsed" if is_deep else " ".join(str(error).split())[:200]
        raise RequestError(f"{path}: no .npy file of numbers, or a damaged one: {reason}") from None
    if mapped.size > MAX_AREA_PX:
        raise RequestError(f"{path}: has the shape {mapped.shape}; at most {MAX_AREA_PX} px are taken")
    return check_importance(mapped, str(path))


def _check_header(path: Path) -> None:
    """Raises RequestError where a file says that its header has gigabytes; OSError."""
    with open_regular(path, _MAX_FILE_BYTES) as file:
        start = file.read(12)
    length = int.from_bytes(start[8:12] if start[6:7] > b"\1" else start[8:10], "little")
    if start.startswith(b"\x93NUMPY") and length > _MAX_HEADER_BYTES:
        raise RequestError(f"{path}: no .npy file of numbers, or a damaged one: its header would have {length} bytes")


def write_file(path: Path, data: bytes) -> None:
    """A whole file or none, through a temporary one beside it; its folder is made where it is missing.

    Raises OSError that names the file, which that of a full disk does not by itself.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_atomically(path, data, hidden_beside(path))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_csv(path: Path, qp: I64) -> None:
    """One line a row of blocks, whole numbers between commas, no header. Raises OSError."""
    write_file(path, "".join(",".join(map(str, row)) + "\n" for row in qp.tolist()).encode())


def read_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of every line of a CSV file of numbers, with the line's number from 1.

    Raises RequestError where the file cannot be read, is larger than `MAX_CSV_BYTES`, is empty, or where a line has
    another number of cells than the first.
    """
    if not path.is_file():
        raise RequestError(f"{path}: {'is no file' if path.exists() else 'no such file'}")
    try:
        content = read_bounded(path, MAX_CSV_BYTES)
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    lines = content.decode("ascii", errors="replace").splitlines()
    if not lines:
        raise RequestError(f"{path}: is empty")
    if (columns := lines[0].count(",") + 1) > _MAX_COLUMNS:
        raise RequestError(f"{path}: line 1 has {columns} values; a map has at most {_MAX_COLUMNS}")
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != columns:
            raise RequestError(f"{path}, line {number}: {len(cells)} values, line 1 has {columns}")
        yield number, cells


def read_csv(path: Path) -> I64:
    """The (rows, columns) int64 that `write_csv` wrote. Raises RequestError with file, line and column."""
    rows = []
    for number, cells in read_cells(path):
        for column, cell in enumerate(cells, 1):
            if not _WHOLE_NUMBER.fullmatch(cell):
                raise RequestError(f"{path}, line {number}, value {column}: {cell[:20]!r} is no whole number")
        rows.append([int(cell) for cell in cells])
    return np.array(rows, np.int64)


def vis_path(csv_path: Path) -> Path:
    """Where the picture of a map lies: `x_qp_map.csv` has `x_qp_map_vis.png`."""
    return csv_path.with_name(f"{csv_path.stem}_vis.png")


def generate_qp_map_csv(
    importance_map_path: str | Path,
    output_csv_path: str | Path,
    block_size: int,
    base_qp: int,
    delta: float,
    gamma: float = 1,
    scaling: str = "minmax",
    *,
    qp_range: tuple[int, int] = (0, 51),
    image_size: tuple[int, int] | None = None,
    picture: bool = True,
    on_rounded_away: Callable[[int], None] = lambda _: None,
) -> I64:
    """Make the QP map of an importance map's .npy file, write it as CSV and as a picture beside it, and return it.

    `block_size` in pixels; `image_size` is the (width, height) of the picture that the map must fit; `on_rounded_away`
    hears the QP of a map that is the same everywhere only because QPs are whole numbers; the rest as in `qp_map`.
    Raises RequestError with nothing written, or OSError.
    """
    source, target = Path(importance_map_path), Path(output_csv_path)
    importance = load_importance(source)
    size = (importance.shape[1], importance.shape[0])
    if image_size is not None and size != image_size:
        raise RequestError(f"{source}: is {size[0]}x{size[1]} px, the picture is {image_size[0]}x{image_size[1]} px")
    qp = qp_map(importance, block_size, base_qp, delta, scaling, gamma, qp_range, str(source))
    drawn: bytes | None = None
    if picture:
        from vcmbench.importance.qp_map_picture import draw  # matplotlib: others need not wait for its import

        drawn = draw(qp, (math.floor(base_qp - delta), math.ceil(base_qp + delta)), block_size)
    if drawn is not None:
        write_file(vis_path(target), drawn)
    write_csv(target, qp)
    if delta and qp.min() == qp.max() and np.ptp(block_means(importance, block_size)) > 0:
        on_rounded_away(int(qp[0, 0]))
    return qp
