"""The record of a picture's importance map: made, and read as an earlier run left it, or somebody else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from vcmbench import __version__
from vcmbench.importance.inputs import Inputs
from vcmbench.importance.maps import ImportanceMap
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.io import documents
from vcmbench.io.validation import Loose, Share, is_valid

Record = dict[str, Any]

SCHEMA_VERSION = 1
_MAX_BYTES = 1 << 25  # 65536 objects take a third of it


class _Object(Loose):
    within: bool


class _MapRecord(Loose):
    """What is relied upon of a record: it may have been edited or damaged."""

    schema_version: Literal[1]
    files: dict[str, int]
    sha256: dict[str, str] = Field(default={})  # nor these
    objects: list[_Object]
    fallbacks: list[str]
    notes: list[str]
    faults: list[str] = Field(default=[])  # records of earlier versions have none
    mean_importance: Share
    share_at_one: Share


def made(
    name: str,
    digests: dict[str, str | None],
    inputs: Inputs,
    result: ImportanceMap,
    settings: ImportanceSettings,
    notes: list[str],
    faults: list[str],
) -> Record:
    """What is known of a picture's map, but for its files."""
    height, width = result.values.shape
    uses_distance = settings.use_distance
    return {
        "schema_version": SCHEMA_VERSION,
        "vcmbench": __version__,
        "image": name,
        **digests,
        "settings": settings.as_json(),
        "width_px": width,
        "height_px": height,
        "fx_px": inputs.fx_px if uses_distance else None,
        "baseline_m": inputs.baseline_m if uses_distance else None,
        "speed_mps": inputs.speed_mps if uses_distance else None,
        "d_safe_m": result.d_safe_m if uses_distance else None,
        "fallbacks": list(inputs.fallbacks),
        "notes": notes + faults,
        "faults": faults,
        "mean_importance": float(result.values.mean(dtype=np.float64)),
        "share_at_one": float(np.count_nonzero(result.values == 1) / result.values.size),
        "objects": [_object_as_json(asdict(one)) for one in result.objects],
    }


def with_files(record: Record, contents: dict[str, bytes]) -> Record:
    """The record with size and SHA-256 of its files, and a seal over all of it."""
    record = {
        **record,
        "files": {ending: len(content) for ending, content in contents.items()},
        "sha256": {ending: hashlib.sha256(content).hexdigest() for ending, content in contents.items()},
    }
    return {**record, "seal": _seal(record)}


def _seal(record: Record) -> str:
    """Of the values, however they are laid out."""
    text = json.dumps(record, allow_nan=False, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _object_as_json(one: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, and a distance that is missing says why."""
    distance = one["distance_m"]
    if distance is None:
        return one | {"reason": "too few valid disparities"}
    return one | {"distance_m": None, "reason": "infinitely far"} if np.isinf(distance) else one


def read(path: Path) -> Record | None:
    """A record that has all that is relied upon and was not changed since; None where there is none. Those of before
    there were seals count as they are."""
    try:
        record = documents.read_json(path, _MAX_BYTES)
        json.dumps(record, allow_nan=False)  # it is shown as it is
        if not is_valid(_MapRecord, record):
            return None
        holds = record.get("seal") in (None, _seal({key: value for key, value in record.items() if key != "seal"}))
    except (OSError, ValueError, RecursionError):
        return None
    return record if holds else None
