"""The record of a picture's importance map: made, and read as an earlier run left it, or somebody else."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vcmbench import __version__
from vcmbench.importance.inputs import Inputs
from vcmbench.importance.maps import ImportanceMap
from vcmbench.importance.settings import ImportanceSettings
from vcmbench.io import documents

Record = dict[str, Any]

SCHEMA_VERSION = 1
_MAX_BYTES = 1 << 25  # 65536 objects take a third of it


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
        json.dumps(record, allow_nan=False)  # it is told as it is
    except (OSError, ValueError, RecursionError):
        return None
    return record if _is_record(record) else None


def _is_record(record: Any) -> bool:
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        return False
    files, objects = record.get("files"), record.get("objects")
    return (
        isinstance(files, dict)
        and all(isinstance(size, int) for size in files.values())
        and isinstance(objects, list)
        and all(isinstance(one, dict) and isinstance(one.get("within"), bool) for one in objects)
        and all(_are_texts(record.get(name)) for name in ("fallbacks", "notes"))
        and _are_texts(record.get("faults", []))  # records of earlier versions have none
        and all(_is_share(record.get(name)) for name in ("mean_importance", "share_at_one"))
    )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
