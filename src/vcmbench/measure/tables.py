"""Score records as tables: one row a picture and configuration, or a block; CSV and Parquet of the same columns."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from vcmbench import perception
from vcmbench.measure.block_level import Sampled
from vcmbench.measure.machine import dense
from vcmbench.measure.records import Score
from vcmbench.measure.statistics import REDUCED
from vcmbench.store import Store

Row = dict[str, Any]

_WHO = (
    "configuration", "encoder", "quality", "color_subsampling", "subsampling_factor", "options", "source", "group",
    "width_px", "height_px", "rate_bpp", "psnr_y_db",
)  # fmt: skip
BANDS = tuple(f"{low:g}_{high:g}m" if math.isfinite(high) else f"{low:g}m_up" for low, high in perception.BANDS_M)


def image_row(score: Score, names: Sequence[str]) -> Row:
    """A picture's row: what it cost, what the machine scored against both truths, and each metric. None: not known."""
    row: Row = {name: score[name] for name in _WHO}
    machine = score["machine"] or {}
    for against in ("pseudo", "labels"):
        row |= _machine_columns(machine.get(against), machine.get("classes", 0), f"_{against}")
    return row | {name: score["iqa"].get(name, {}).get("value") for name in names}


def _machine_columns(part: dict[str, Any] | None, classes: int, ending: str) -> Row:
    row: Row = dict.fromkeys([f"{name}{ending}" for name in (*REDUCED, "accuracy_importance")])
    row |= dict.fromkeys([f"accuracy_{band}{ending}" for band in BANDS])
    if part is None:
        return row
    if "right" in part:
        return row | {f"accuracy{ending}": float(part["right"][0])}
    counts = dense(part["confusion"], classes)
    row |= {f"{name}{ending}": reduce(counts) for name, reduce in REDUCED.items()}
    if part["importance"] and part["importance"][1]:
        row[f"accuracy_importance{ending}"] = part["importance"][0] / part["importance"][1]
    for band, triplets in zip(BANDS, part["bands"] or [], strict=False):
        row[f"accuracy_{band}{ending}"] = perception.accuracy(dense(triplets, classes))
    return row


def block_rows(sampled: Sampled, of: dict[tuple[str, str], Score]) -> Iterable[Row]:
    """The rows of sampled blocks; `of` has the record of each picture and configuration."""
    for number, block in enumerate(sampled.blocks):
        score = of[block.image, block.configuration]
        row: Row = {name: score[name] for name in _WHO[:8]}
        row |= {"x": block.x, "y": block.y, "width": block.width, "height": block.height, "accuracy": block.accuracy}
        yield row | {name: column[number] for name, column in sampled.values.items()}


def write(store: Store, name: str, rows: Iterable[Row]) -> None:
    """`<name>.csv` and `<name>.parquet` in the experiment's folder. Without rows, what an earlier run left goes."""
    import pyarrow
    from pyarrow import parquet

    table = [_flat(row) for row in rows]
    if not table:
        for ending in ("csv", "parquet"):
            store.write_table(f"{name}.{ending}", None)
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    store.write_table(f"{name}.csv", text.getvalue().encode())
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(table), sink)
    store.write_table(f"{name}.parquet", sink.getvalue().to_pybytes())


def _flat(row: Row) -> Row:
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
