"""Results on disk: one JSON record a job, written last and atomically. A job is finished when its record exists.

A record lies at `DATA/results/<experiment>/records/<configuration folder>/<picture>.json`, so that its path says what
it is about; the key inside says whether it still holds. The same bitstream may serve several experiments: whoever
codes it anew first removes the records that spoke of the old one.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from vcmbench.dataset import RESULTS, DataRoot

SCHEMA_VERSION = 1

Record = dict[str, Any]

CSV_FIELDS = (
    "experiment", "encoder", "quality", "color_subsampling", "subsampling_factor", "preset", "compat", "stacked",
    "source", "frames", "width_px", "height_px", "size_bytes", "rate_bpp", "encode_s", "decode_s", "coded_qp",
    "psnr_y_db", "bitstream", "key",
)  # fmt: skip


def job_key(parts: dict[str, Any]) -> str:
    """SHA-256 of what decides a job's result: input bytes, configuration, tool identity, argv."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """All of the file or none of it: written beside its place and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class Store:
    """The records of one experiment below one data root."""

    def __init__(self, data: DataRoot, experiment: str) -> None:
        self.data = data
        self.folder = data.root / RESULTS / experiment
        self.records = self.folder / "records"

    def record_path(self, bitstream: PurePosixPath) -> Path:
        """Where the record of a bitstream (named relative to the data root) lies."""
        return self.records / bitstream.with_name(bitstream.name + ".json")

    def read(self, bitstream: PurePosixPath) -> Record | None:
        """The record of a bitstream; None where there is none or it cannot be read."""
        return read_record(self.record_path(bitstream))

    def finished(self, bitstream: PurePosixPath, key: str) -> Record | None:
        """The record of a finished job: its key holds and its bitstream lies there in full length.

        A record that another experiment made of the very same job is taken over.
        """
        record = self.read(bitstream)
        if record is None or record["key"] != key:
            record = next((other for other in self._elsewhere(bitstream) if other["key"] == key), None)
            if record is None or not self._bitstream_is_there(record):
                return None
            record = {**record, "experiment": self.folder.name}
            self.write(bitstream, record)
        return record if self._bitstream_is_there(record) else None

    def _bitstream_is_there(self, record: Record) -> bool:
        try:
            size = (self.data.root / record["bitstream"]).stat().st_size
            return bool(size == record["size_bytes"])
        except OSError:
            return False

    def _everywhere(self, bitstream: PurePosixPath) -> Iterator[Path]:
        results = self.folder.parent
        name = bitstream.with_name(bitstream.name + ".json")
        if results.is_dir():
            yield from (experiment / "records" / name for experiment in sorted(results.iterdir()))

    def _elsewhere(self, bitstream: PurePosixPath) -> Iterator[Record]:
        for path in self._everywhere(bitstream):
            if (record := read_record(path)) is not None:
                yield record

    def forget(self, bitstream: PurePosixPath) -> None:
        """Remove every record that speaks of a bitstream which is about to be replaced."""
        for path in self._everywhere(bitstream):
            path.unlink(missing_ok=True)

    def write(self, bitstream: PurePosixPath, record: Record) -> None:
        text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        write_atomically(self.record_path(bitstream), text.encode())

    def write_csv(self, records: Iterable[Record]) -> Path:
        """The experiment's records as one table, `compression.csv`."""
        path = self.folder / "compression.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, CSV_FIELDS, extrasaction="ignore")
                writer.writeheader()
                writer.writerows({**record, "source": record["sources"][0]["name"]} for record in records)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path


def read_record(path: Path) -> Record | None:
    """A record as written by `Store.write`; None where it is missing, damaged or of another schema."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        return None
    return record if isinstance(record.get("key"), str) and re.fullmatch(r"[0-9a-f]{64}", record["key"]) else None
