"""The records of an experiment as one table, `compression.csv`; it is written anew only where it would be another."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vcmbench.data import effort
from vcmbench.data.record import MAX_RECORD_BYTES, Record
from vcmbench.data.store import Store
from vcmbench.io.files import read_bounded

TABLE = "compression.csv"
_TABLE_STATE = "compression.state.json"
CSV_FIELDS = (
    "experiment", "encoder", "quality", "color_subsampling", "subsampling_factor", "preset", "compat", "stacked",
    "qp_map", "match_rate", "target_bpp", "parameters",
    "source", "frames", "width_px", "height_px", "size_bytes", "rate_bpp", "rate_kbps", "encode_s", "decode_s",
    "coded_qp", "psnr_y_db", "found_quality", "size_error", "map_method", "importance", "psnr_y_inside_db",
    "psnr_y_outside_db", "uniform_size_bytes", "uniform_psnr_y_inside_db", "uniform_psnr_y_outside_db", "runner",
    "bitstream", "key",
    *effort.COLUMNS,
)  # fmt: skip
_NESTED = {
    "region": {"psnr_y_inside_db": "psnr_y_inside_db", "psnr_y_outside_db": "psnr_y_outside_db"},
    "map": {"method": "map_method"},
    "uniform": {"size_bytes": "uniform_size_bytes"},
    "rate_search": {"size_error": "size_error"},
}
"""Columns of the table that stand in a part of the record, by their names there."""


@dataclass
class RecordsDigest:
    """Which records a table holds: how many, and a sum over their seals that does not depend on their order."""

    records: int = 0
    seals: int = 0

    def add(self, record: Record) -> None:
        self.records += 1
        self.seals = (self.seals + int(str(record.get("seal") or record["key"])[:16], 16)) % (1 << 64)


def write(store: Store, records: Iterable[Record]) -> Path:
    """Write the table of some records of an experiment. Raises OSError; then the one before stays."""
    path, digest = store.folder / TABLE, RecordsDigest()
    with store.writing_table(TABLE) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(CSV_FIELDS)
        for record in records:
            digest.add(record)
            writer.writerow(_as_row(record))
        text.detach()
    store.write_table(_TABLE_STATE, json.dumps(_state(path, digest)).encode())
    return path


def current(store: Store, digest: RecordsDigest) -> Path | None:
    """The table where it lies there as it was written, of just these records; None where it has to be made anew."""
    path = store.folder / TABLE
    try:
        state = json.loads(read_bounded(store.folder / _TABLE_STATE, MAX_RECORD_BYTES))
        return path if state == _state(path, digest) else None
    except (OSError, ValueError, RecursionError):
        return None


def _state(path: Path, digest: RecordsDigest) -> dict[str, Any]:
    status = path.stat()
    return {"records": digest.records, "seals": f"{digest.seals:016x}", "size_bytes": status.st_size,
            "changed_ns": status.st_mtime_ns, "columns": list(CSV_FIELDS)}  # fmt: skip


def _as_row(record: Record) -> list[Any]:
    """A record as a line of the table: what is a table itself as JSON, empty where there is nothing in it."""
    row = {**record, "source": record["sources"][0]["name"]}
    worked = effort.preset_of(record), round(effort.seconds_per_mpx(record), 6)
    row |= zip(effort.COLUMNS, worked, strict=True)
    for name in ("qp_map", "importance", "parameters"):
        row[name] = json.dumps(record[name], sort_keys=True) if record[name] else ""
    for part, names in _NESTED.items():
        if found := record.get(part):
            row |= {column: found.get(name) for name, column in names.items()}
    if found := (record.get("uniform") or {}).get("region"):
        row |= {f"uniform_{name}": found.get(name) for name in _NESTED["region"]}
    return [row.get(name) for name in CSV_FIELDS]
