"""The record of a picture's importance map: made, and read as an earlier run left it, or somebody else."""

from __future__ import annotations

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
    """What is known of a picture's map, but for the sizes of its files."""
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


def _object_as_json(one: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity, and a distance that is missing says why."""
    distance = one["distance_m"]
    if distance is None:
        return one | {"reason": "too few valid disparities"}
    return one | {"distance_m": None, "reason": "infinitely far"} if np.isinf(distance) else one


def read(path: Path) -> Record | None:
    """A record that has all that is relied upon; None where there is none."""
    try:
        record = documents.read_json(path, _MAX_BYTES)
        json.dumps(record, allow_nan=False)  # it is shown as it is
    except (OSError, ValueError, RecursionError):
        return None
    return record if is_valid(_MapRecord, record) else None
