"""The block ledger: block by block of every picture, what it cost and what it lost.

A table a configuration and size of blocks, `DATA/results/<experiment>/ledger/<configuration>/<size>px.parquet`: where
bits went, what importance said, and what the machine sees no more. What is not known of a block is null.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis.points import CodingPoint
from vcmbench.analysis.summary import Summary
from vcmbench.compress import decode
from vcmbench.data import colour
from vcmbench.data.dataset import Source
from vcmbench.data.record import Record
from vcmbench.encoder import jpeg_bits
from vcmbench.errors import RequestError
from vcmbench.measure.records import Score
from vcmbench.measure.run import MeasureRun
from vcmbench.report.content import Layer
from vcmbench.report.frames import Gallery, Rows

FOLDER = "ledger"
VERSION = 2
COLUMNS: dict[str, type] = {
    "coded_by": str, "configuration": str, "picture": str, "row": int, "column": int, "x_px": int, "y_px": int,
    "width_px": int, "height_px": int, "bits": float, "qp": float, "importance": float, "psnr_y_db": float,
    "class": str, "lost_px": int, "lost": float, "margin": float,
}  # fmt: skip
"""`coded_by` is what tables call the configuration, whose name is its folder's; `bits` are of JPEG and kvazaar at full
size, `qp` is what a map gave to the encoder, `class` the one of most pixels in the prediction on the pristine picture;
`lost_px` and `lost` are how many pixels, and per cent of them, are predicted otherwise on the decoded one. PSNR is null
where nothing differs, `margin`, by how much the network's first class leads the second on the pristine picture, where
no network was asked."""
_SQL = {str: "TEXT", int: "INTEGER", float: "REAL"}

_LEAST_PX, _MOST_SHOWN = 32, 600
"""The side of a block in a report, and how many of them a picture may have there; else they are larger."""
_WORDS = {"bits": "bits", "qp": "QP", "importance": "importance", "psnr_y_db": "luma PSNR in dB"}

Row = tuple[Any, ...]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


class Margins(Protocol):
    """A network that says how sure it is, see `tasks.sensitivity`."""

    def identity(self) -> dict[str, Any]:
        """What decides its answers."""

    def margins(self, picture: U8) -> NDArray[np.float32]:
        """Of each pixel (H, W), in [0, 1]."""


def write(
    run: MeasureRun, summary: Summary, size_px: int, done: Callable[[str], None], asked: Margins | None = None
) -> list[Path]:
    """The table of each configuration, made anew where what it is about has changed, or margins are `asked` for that it
    lacks. `done` is called with each one's name. Raises JobError where a bitstream cannot be decoded, and OSError."""
    book, paths = _Book(run, summary, size_px, asked), []
    network = "" if asked is None else hashlib.sha256(repr(sorted(asked.identity().items())).encode()).hexdigest()
    for point in summary.points:
        name = f"{FOLDER}/{point.configuration}/{size_px}px.parquet"
        key = _key(run, point, summary, size_px)
        known, _, of_network = (_key_of(run.store.folder / name) or "").partition(" ")
        if known != key or (network and of_network != network):
            run.store.write_table(name, _parquet(list(book.rows(point)), f"{key} {network}"))
        paths.append(run.store.folder / name)
        done(point.name)
    return paths


def rows_of(run: MeasureRun, summary: Summary) -> Rows:
    """What a row says of each block of a picture, in words, at most so many blocks that a report stays small."""

    def found(score: Score, source: Source, pristine: U8, decoded: U8) -> list[tuple[int, int, int, int, str]]:
        size_px = _LEAST_PX
        while math.prod(-(-side // size_px) for side in decoded.shape[:2]) > _MOST_SHOWN:
            size_px *= 2
        rows = _Book(run, summary, size_px).of_picture(score, source, pristine, decoded)
        return [_in_words(dict(zip(list(COLUMNS)[1:], row, strict=True))) for row in rows]

    return found


def _in_words(row: dict[str, Any]) -> tuple[int, int, int, int, str]:
    shown = [f"{words} {row[name]:.4g}" for name, words in _WORDS.items() if row[name] is not None]
    if row["lost"] is not None:
        shown.append(f"{row['lost']:.3g} % of its pixels lost")
    box = row["x_px"], row["y_px"], row["width_px"], row["height_px"]
    return *box, "; ".join([*filter(None, [row["class"]]), f"x {box[0]}, y {box[1]}, {box[2]}x{box[3]} px", *shown])


def _key(run: MeasureRun, point: CodingPoint, summary: Summary, size_px: int) -> str:
    """What a table is made of: scores, whose keys hold bitstream, network and truth, the blocks' size, and names."""
    kept = [(image, point.scores[image].get("bitstream_sha256"), (point.scores[image]["machine"] or {}).get("key"))
            for image in summary.images]  # fmt: skip
    bits = [unit.record.get("block_bits") is not None for unit in run.units]
    of_all = [size_px, str(run.experiment.importance), bits]
    text = json.dumps([VERSION, *COLUMNS, *of_all, kept, point.name, _names(summary)])
    return hashlib.sha256(text.encode()).hexdigest()


class _Book:
    """Makes the rows of configurations."""

    def __init__(self, run: MeasureRun, summary: Summary, size_px: int, asked: Margins | None = None) -> None:
        self._asked, self._margins = asked, dict[str, F64]()
        self._run, self._summary, self._size_px = run, summary, size_px
        self._gallery = Gallery(run, summary, ())
        self._records = {(unit.folder, str(one.name)): unit.record for unit in run.units for one in unit.sources}

    def rows(self, point: CodingPoint) -> Iterator[Row]:
        images = set(self._summary.images)
        for unit in self._run.units:
            if unit.folder == point.configuration:
                decoded = decode.decode(unit.record, self._run.data.root, self._run.runner)
                for index, (source, picture) in enumerate(zip(unit.sources, decoded, strict=True)):
                    if str(source.name) in images:
                        score = point.scores[str(source.name)]
                        rows = self.of_picture(score, source, unit.pristine(index).rgb, picture)
                        yield from ((point.name, *row) for row in rows)

    def of_picture(self, score: Score, source: Source, pristine: U8, decoded: U8) -> Iterator[Row]:
        blocks = _Blocks(pristine.shape[0], pristine.shape[1], self._size_px)
        error = blocks.means((colour.luma(pristine).astype(np.float64) - colour.luma(decoded)) ** 2)
        importance = next((blocks.means(layer.values) for layer in self._gallery.importance(source, {})), None)
        qps = next((blocks.sampled(layer) for layer in self._gallery.qp(score, {})), None)
        record = self._records[score["configuration"], score["source"]]
        bits = _bits(self._run.data.root / score["bitstream"], record, blocks)
        answers = self._answers(score)
        lost = None if answers is None else blocks.means(answers[0] != answers[1]) * blocks.pixels
        margins = self._of_margins(score["source"], pristine, blocks)
        for i, j, x, y, width, height in blocks.each():
            psnr = float(10 * np.log10(255**2 / error[i, j])) if error[i, j] else None
            most = self._class(answers[0][y : y + height, x : x + width]) if answers else None
            gone = None if lost is None else float(lost[i, j])
            yield (
                score["configuration"], score["source"], i, j, x, y, width, height, _at(bits, i, j), _at(qps, i, j),
                _at(importance, i, j), psnr, most, None if gone is None else round(gone),
                None if gone is None else 100 * gone / (width * height), _at(margins, i, j),
            )  # fmt: skip

    def _of_margins(self, name: str, pristine: U8, blocks: _Blocks) -> F64 | None:
        """The same for all configurations of a picture."""
        if self._asked is None:
            return None
        if name not in self._margins:
            self._margins[name] = blocks.means(self._asked.margins(pristine))
        return self._margins[name]

    def _answers(self, score: Score) -> tuple[U8, U8] | None:
        """What was predicted on the pristine and on the decoded picture, where that are pictures of labels."""
        has = score["machine"] is not None and self._summary.kind is not None and self._summary.kind.has_label_pictures
        return self._gallery.predictions(score) if has else None

    def _class(self, labels: U8) -> str | None:
        number, names = int(np.bincount(labels.ravel()).argmax()), _names(self._summary)
        return names[number] if number < len(names) else None


def _names(summary: Summary) -> tuple[str, ...]:
    return summary.class_names if summary.has_confusions else ()


class _Blocks:
    """A picture in blocks; those at the right and the bottom are what is left."""

    def __init__(self, height: int, width: int, size_px: int) -> None:
        self.size_px, self._ys, self._xs = size_px, np.arange(0, height, size_px), np.arange(0, width, size_px)
        self._heights, self._widths = np.diff([*self._ys, height]), np.diff([*self._xs, width])
        self.pixels = np.outer(self._heights, self._widths)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._ys), len(self._xs)

    def counted(self, down: int, across: int) -> tuple[int, int]:
        """How many rows and columns of blocks of that size a picture has."""
        return -(-int(self._heights.sum()) // down), -(-int(self._widths.sum()) // across)

    def each(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        """Row, column, x, y, width, height."""
        for i, (y, height) in enumerate(zip(self._ys.tolist(), self._heights.tolist(), strict=True)):
            for j, (x, width) in enumerate(zip(self._xs.tolist(), self._widths.tolist(), strict=True)):
                yield i, j, x, y, width, height

    def means(self, values: NDArray[Any]) -> F64:
        """Of (H, W) values."""
        sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), self._ys, axis=0), self._xs, axis=1)
        return np.asarray(sums / self.pixels)

    def sampled(self, layer: Layer) -> F64:
        """Of a map of blocks of another size, the value in the middle of each of ours."""
        block_px = layer.block_px or self.size_px
        rows, columns = (np.minimum(((starts + self.size_px / 2) / block_px).astype(int), count - 1)
                         for starts, count in zip((self._ys, self._xs), layer.values.shape, strict=True))  # fmt: skip
        return np.asarray(layer.values[np.ix_(rows, columns)], np.float64)


def _at(values: F64 | None, i: int, j: int) -> float | None:
    return None if values is None or not np.isfinite(values[i, j]) else float(values[i, j])


def _bits(path: Path, record: Record, blocks: _Blocks) -> F64 | None:
    """Of JPEG's blocks, and of those whose encoder said it, where the coded units divide ours; None elsewhere."""
    said = record.get("block_bits")
    if record["subsampling_factor"] != 1 or not (path.suffix == ".jpg" or said):
        return None
    try:
        if said:
            across = down = int(said["block_px"])
            found = np.array(said["bits"], np.float64)
        else:
            data = path.read_bytes()
            across, down = jpeg_bits.unit_px(data)
            found = jpeg_bits.block_bits(data).astype(np.float64)
        if blocks.size_px % across or blocks.size_px % down or found.shape != blocks.counted(down, across):
            return None
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError):  # records may have been edited
        return None
    rows, columns = (np.arange(count) * (blocks.size_px // step)
                     for count, step in zip(blocks.shape, (down, across), strict=True))  # fmt: skip
    return np.asarray(np.add.reduceat(np.add.reduceat(found, rows, axis=0), columns, axis=1))


def _parquet(rows: Sequence[Row], key: str) -> bytes:
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
    arrays = [pyarrow.array(list(column), types[kind]) for column, kind in zip(columns, COLUMNS.values(), strict=True)]
    schema = pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()], {"vcmbench-key": key})
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_arrays(arrays, schema=schema), sink)
    return bytes(sink.getvalue())


def _key_of(path: Path) -> str | None:
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_schema(path).metadata or {}
    except (OSError, pyarrow.ArrowException):
        return None
    return str(metadata.get(b"vcmbench-key", b"").decode(errors="replace"))


def select(paths: Sequence[Path], where: str, order: str, limit: int) -> tuple[list[Row], int]:
    """The first `limit` rows that `where`, a condition in SQL, leaves, in the `order` of an expression, largest first;
    and how many there are. One table is in memory at a time. Raises RequestError for what is no such condition."""
    found: list[tuple[Any, Row]] = []
    count = 0
    for path in paths:
        with closing(_database(path)) as database:
            try:
                chosen = f"FROM blocks WHERE ({where})"
                rows = database.execute(f"SELECT ({order}), * {chosen} ORDER BY 1 DESC LIMIT {limit}").fetchall()
                count += int(database.execute(f"SELECT count(*) {chosen}").fetchone()[0])
            except (sqlite3.Error, sqlite3.Warning) as error:
                known = ", ".join(COLUMNS)
                raise RequestError(f"--where {where!r} --order {order!r}: {error}; columns: {known}") from None
        found += [(row[0], row[1:]) for row in rows]
    found.sort(key=lambda one: _rank(one[0]), reverse=True)
    return [row for _, row in found[:limit]], count


def _rank(value: Any) -> tuple[int, Any]:
    """As SQLite orders: null, numbers, texts."""
    return (0, 0) if value is None else (2, str(value)) if isinstance(value, str | bytes) else (1, value)


def _database(path: Path) -> sqlite3.Connection:
    """A table as one of SQLite's in memory, which can be read alone."""
    import pyarrow
    from pyarrow import parquet

    try:
        columns = parquet.read_table(path).columns
    except pyarrow.ArrowException as error:
        raise RequestError(f"{path}: is damaged ({error}); remove it, and it is made again") from None
    database = sqlite3.connect(":memory:")
    kinds = ", ".join(f'"{name}" {_SQL[kind]}' for name, kind in COLUMNS.items())
    database.execute(f"CREATE TABLE blocks ({kinds})")
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    database.executemany(f"INSERT INTO blocks VALUES ({', '.join('?' * len(COLUMNS))})", rows)  # noqa: S608
    database.set_authorizer(_reads_only)
    return database


def _reads_only(action: int, *_: object) -> int:
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY
