"""What a summary keeps of a score record, of which all say much the same: a tenth of what is read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vcmbench.measure.records import AGAINST, Score
from vcmbench.tasks.confusion import dense

_KEPT = (
    "configuration", "source", "label", "encoder", "quality", "color_subsampling", "subsampling_factor", "options",
    "qp_map", "match_rate", "map_method", "bitstream", "width_px", "height_px", "rate_bpp", "psnr_y_db",
    "size_bytes", "size_error", "is_equal", "target_bpp", "stability", "fps",
)  # fmt: skip
_UNIQUE = ("bitstream", "key")


class Slimmer:
    """Makes records slim. What many of them say is kept once, so one of these is for one summary."""

    def __init__(self) -> None:
        self._once: dict[Any, Any] = {}

    def slim(self, score: Score) -> Score:
        """The record with metrics as `iqa`, values alone, and `lacking`, the reasons where there is none; each truth's
        `confusion` as (n, 3) int32 triplets, its `bands` as (bands, 2) int64 of correct and of all pixels. Parts that
        are not known are None as before."""
        found = {name: self._part(name, score[name]) for name in _KEPT if name in score}
        found["iqa"] = {name: entry["value"] for name, entry in score["iqa"].items()}
        found["lacking"] = self._shared({name: one["reason"] for name, one in score["iqa"].items() if one["reason"]})
        found["machine"] = None if score["machine"] is None else self._machine(score["machine"])
        return found

    def _machine(self, machine: dict[str, Any]) -> dict[str, Any]:
        found = {name: self._part(name, value) for name, value in machine.items() if name not in AGAINST}
        for against in AGAINST:
            part = machine[against]
            found[against] = _counts(part, machine["classes"]) if part and "confusion" in part else part
        return found

    def _shared(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._once.setdefault(("JSON", json.dumps(value, sort_keys=True)), value)
        return self._once.setdefault(value, value) if isinstance(value, str) else value

    def _part(self, name: str, value: Any) -> Any:
        return value if name in _UNIQUE else self._shared(value)  # to look for what is never found costs memory, too


def _counts(part: dict[str, Any], classes: int) -> dict[str, Any]:
    bands = None
    if part["bands"] is not None:
        counts = [dense(triplets, classes) for triplets in part["bands"]]
        bands = np.array([(np.trace(band), band.sum()) for band in counts], np.int64)
    return {
        "confusion": np.array(part["confusion"], np.int32).reshape(-1, 3),
        "bands": bands,
        "importance": None if part["importance"] is None else tuple(part["importance"]),
    }
