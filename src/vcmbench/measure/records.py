"""Score records: one JSON for each picture and configuration, written when all that was asked of it is known.

`DATA/results/<experiment>/scores/<configuration>/<picture>.json` holds the machine's counts and each metric's score,
each with the key of what decided it. So a new metric computes itself alone, and another network only its own part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vcmbench.data.dataset import Source
from vcmbench.data.store import Store, job_key
from vcmbench.encoder import plugins
from vcmbench.io import documents
from vcmbench.io.files import check_inside
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.record_checks import is_machine, is_metric

SCHEMA_VERSION = 1
SCORES = "scores"
PRISTINE = "pristine"

Score = dict[str, Any]
FOUND_OUT = ("machine", "iqa", "decoded_sha256")
"""The parts of a record that measuring adds; all else comes from compression."""

AGAINST = ("pseudo", "labels")
"""The truths that an answer is held against."""
COUNTED = 1
"""To be raised with every change of what is counted of answers: it is part of the scores' keys."""

_ABSENT = object()
_MAX_BYTES = 1 << 24

_COPIED = (
    "encoder", "quality", "color_subsampling", "subsampling_factor", "qp_map", "match_rate", "target_bpp", "width_px",
    "height_px", "bitstream", "size_bytes", "rate_bpp", "psnr_y_db", "coded_qp", "frames", "bitstream_sha256",
)  # fmt: skip


def machine_key(answer: str, truth: str) -> str:
    """What decides a record's machine part: the key of the answer, the digest of the truth, and how it is counted."""
    return job_key({"answer": answer, "truth": truth, "counts": COUNTED})


class ScoreStore:
    """The score records of one experiment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.folder = store.folder / SCORES

    def name(self, folder: str, source: Source) -> str:
        return f"{SCORES}/{folder}/{source.name}.json"

    def read(self, folder: str, source: Source) -> Score | None:
        """A record; None where there is none that can be read."""
        return read(self._store.folder / self.name(folder, source))

    def write(self, folder: str, source: Source, score: Score) -> None:
        content = json.dumps(score, ensure_ascii=False, allow_nan=False, sort_keys=True).encode()
        self._store.write_table(self.name(folder, source), content)

    def drop(self, folder: str, source: Source) -> None:
        """Remove a record: what it says holds no longer, and nothing took its place."""
        path = self._store.folder / self.name(folder, source)
        check_inside(self._store.data.root, path)
        path.unlink(missing_ok=True)

    def all(self, units: list[Unit]) -> Iterator[Score]:
        """The records of these units, in their order; what is not there is left out."""
        for unit in units:
            for source in unit.sources:
                if (score := self.read(unit.folder, source)) is not None:
                    yield score


def read(path: Path) -> Score | None:
    """A record as it was written; None where it is missing, damaged or of another schema."""
    try:
        score = documents.read_json(path, _MAX_BYTES)
    except (OSError, ValueError):
        return None
    return score if _is_score(score) else None


def _is_score(score: Any) -> bool:
    """Whether a JSON value has the parts that are relied upon: a record may have been edited or damaged."""
    if not isinstance(score, dict) or score.get("schema_version") != SCHEMA_VERSION:
        return False
    iqa = score.get("iqa")
    return isinstance(iqa, dict) and all(map(is_metric, iqa.values())) and is_machine(score.get("machine", _ABSENT))


def begin(unit: Unit, index: int) -> Score:
    """The record of a picture before anything is known: whose it is, and what it cost."""
    record, source = unit.record, unit.sources[index]
    copied = {name: record[name] for name in _COPIED}
    search = record.get("rate_search") or {}
    if "frame_psnr_y_db" in record:  # what a stack's record calls psnr_y_db is the mean of its pictures
        copied["psnr_y_db"] = record["frame_psnr_y_db"][index]
    return {
        "schema_version": SCHEMA_VERSION,
        "configuration": unit.folder,
        "label": plugins.get(unit.coding.encoder).label,
        "options": " ".join(unit.coding.extras),
        "source": str(source.name),
        "group": str(source.group),
        "frame": index,
        "compression_key": record["key"],
        **copied,
        "map_method": (record.get("map") or {}).get("method"),
        "size_error": search.get("size_error"),
        "is_equal": search.get("is_equal"),
        "decoded_sha256": None,
        "machine": None,
        "iqa": {},
    }
