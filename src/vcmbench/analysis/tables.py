"""Score records as tables, CSV and Parquet of the same columns: a row a picture and configuration, a block, or a coding
point. A row a point is as `vcmbench bdrate` takes it: `--rate rate_bpp --quality miou_pseudo`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any

from vcmbench.analysis.summary import Summary
from vcmbench.data import effort
from vcmbench.data.store import Store
from vcmbench.measure.blocks.state import SampledBlocks
from vcmbench.measure.records import AGAINST, Score
from vcmbench.tasks.kind import Kind

Row = dict[str, Any]

_WHO = (
    "configuration", "encoder", "quality", "color_subsampling", "subsampling_factor", "options", "source", "group",
    "width_px", "height_px", "rate_bpp", "psnr_y_db",
)  # fmt: skip
_OF_POINTS = _WHO[:6]
OVER_TIME = ("changed_share", "changed_share_pristine")
OF_BLOCKS = _WHO[:8]
"""What a row of a block has of its picture's record."""
_OF_BLOCK = ("x", "y", "width", "height", "accuracy")
_TEXTS = {
    "configuration",
    "encoder",
    "color_subsampling",
    "options",
    "source",
    "group",
    "preset_used",
    "against",
    "class",
}
_WHOLE = {"quality", "pictures", "width_px", "height_px", "x", "y", "width", "height"}
_ROWS_AT_ONCE = 4096


def image_columns(names: Sequence[str], kind: Kind, *, over_time: bool = False) -> list[str]:
    """The columns of a table of pictures, of which a machine of that kind answers; `over_time`: of sequences' frames,
    with the shares of pixels whose class changed since the frame before."""
    return [
        *_WHO,
        *(OVER_TIME if over_time else ()),
        *(f"{name}_{against}" for against in AGAINST for name in kind.columns),
        *names,
    ]


def image_row(score: Score, names: Sequence[str], kind: Kind) -> Row:
    """A picture's row: what it cost, what the machine scored against both truths, and each metric. None: not known."""
    row: Row = {name: score[name] for name in _WHO}
    machine = score["machine"] or {}
    for against in AGAINST:
        if (part := machine.get(against)) is not None and machine["kind"] == kind.name:
            row |= {f"{name}_{against}": value for name, value in kind.row(part, machine["classes"]).items()}
    if stability := score.get("stability"):
        row |= {name: count / stability[2] if stability[2] else None
                for name, count in zip(OVER_TIME, stability, strict=False)}  # fmt: skip
    return row | {name: score["iqa"].get(name, {}).get("value") for name in names}


def write_blocks(store: Store, blocks: Sequence[SampledBlocks], of: Mapping[tuple[str, str], Score]) -> None:
    """`block_scores.csv` and `.parquet`; `of` has the OF_BLOCKS of each picture and configuration."""
    metrics = dict.fromkeys(name for sampled in blocks for name in sampled.values)
    with writing(store, "block_scores", [*OF_BLOCKS, *_OF_BLOCK, *metrics]) as add:
        for sampled in blocks:
            for number, block in enumerate(sampled.blocks):
                score = of[block.image, block.configuration]
                row: Row = {name: score[name] for name in OF_BLOCKS} | {
                    name: getattr(block, name) for name in _OF_BLOCK
                }
                add(row | {name: column[number] for name, column in sampled.values.items()})


def write_points(
    store: Store, summary: Summary, names: Sequence[str], kind: Kind, worked: Mapping[str, effort.Effort]
) -> None:
    """`points.csv` and `points.parquet` in the experiment's folder: rate, the machine's measures (`_low` and `_high`
    are the ends of 95 % intervals), those of ranges where there are some, the metrics' means, and what each
    configuration `worked`."""
    measures = [
        f"{name}_{against}{end}" for against in AGAINST for name in kind.measures for end in ("", "_low", "_high")
    ]
    found = {f"{name}_{against}": values for against in AGAINST if summary.images and summary.has(against)
             for name, values in summary.measures(against).items()}  # fmt: skip
    for against, by in product(AGAINST, kind.ranges) if summary.images else ():
        for name, values in summary.by_range(against, by).items():
            found[f"{name}_{against}"] = values
            measures += [f"{name}_{against}{end}" for end in ("", "_low", "_high")]
    kbps = summary.rate_kbps
    of_sequences = [] if kbps is None else ["rate_kbps"]
    instability = summary.instability() if summary.images else None
    if instability is not None:
        found["instability"] = instability
        measures += ["instability", "instability_low", "instability_high"]
    means = {name: of for name in names if summary.images and not isinstance(of := summary.metric(name), str)}
    columns = [*_OF_POINTS, "pictures", "rate_bpp", *of_sequences, *measures, *names, *effort.COLUMNS]
    with writing(store, "points", columns) as add:
        for number, point in enumerate(summary.points if summary.images else ()):
            row: Row = {name: getattr(point, name) for name in _OF_POINTS}
            row |= {"pictures": len(summary.images), "rate_bpp": float(summary.rate.values[number])}
            if kbps is not None:
                row["rate_kbps"] = float(kbps.values[number])
            for name, values in found.items():
                one = values.estimate(number)
                row |= {name: one.value, f"{name}_low": one.low, f"{name}_high": one.high}
            if (known := worked.get(point.configuration)) is not None:
                row |= dict(zip(effort.COLUMNS, (known.preset, known.s_per_mpx), strict=True))
            add(row | {name: of.estimate(number).value for name, of in means.items()})


def write_classes(store: Store, summary: Summary, kind: Kind) -> None:
    """`classes.csv` and `.parquet`: a row a coding point, truth and class, with the kind's main measure, where it gives
    that by class."""
    columns = [*_OF_POINTS, "rate_bpp", "against", "class", kind.main, f"{kind.main}_low", f"{kind.main}_high"]
    with writing(store, "classes", columns) as add:
        for against in AGAINST if summary.images and summary.kind is not None else ():
            for which, values in summary.by_class(against).items():
                for number, point in enumerate(summary.points):
                    row: Row = {name: getattr(point, name) for name in _OF_POINTS}
                    one = values.estimate(number)
                    row |= {kind.main: one.value, f"{kind.main}_low": one.low, f"{kind.main}_high": one.high}
                    row |= {"against": against, "class": summary.class_names[which]}
                    add(row | {"rate_bpp": float(summary.rate.values[number])})


@contextmanager
def writing(store: Store, name: str, columns: Sequence[str]) -> Iterator[Callable[[Row], None]]:
    """`<name>.csv` and `<name>.parquet` in the experiment's folder, by what takes one row after the other; what a row
    lacks is empty.

    At the end both take the place of what an earlier run left, and without a row it goes; where an exception ends it,
    all stays as it was.
    """
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(column, types[_kind(column)]) for column in columns])
    waiting: list[Row] = []
    count = 0

    def flush() -> None:
        writer.writerows(waiting)
        groups.write_table(pyarrow.Table.from_pylist(waiting, schema))
        waiting.clear()

    def add(row: Row) -> None:
        nonlocal count
        count += 1
        cells = ((column, row.get(column)) for column in columns)
        waiting.append({column: None if cell is None else _kind(column)(cell) for column, cell in cells})
        if len(waiting) == _ROWS_AT_ONCE:
            flush()

    with store.writing_table(f"{name}.csv") as plain, store.writing_table(f"{name}.parquet") as binary:
        text = io.TextIOWrapper(plain, "utf-8", newline="")
        try:
            writer = csv.DictWriter(text, columns)
            writer.writeheader()
            with parquet.ParquetWriter(binary, schema) as groups:
                yield add
                if waiting:
                    flush()
        finally:
            text.detach()
    if not count:
        for ending in ("csv", "parquet"):
            store.write_table(f"{name}.{ending}", None)


def _kind(column: str) -> type:
    return str if column in _TEXTS else int if column in _WHOLE else float
