"""A record: one job as JSON, with a seal that tells whether it is still what was written.

The seal is a hash of all of a record's text but for the times. A record that was damaged later is therefore no record,
and two runs that came to the same have the same seals.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.io.files import read_bounded

SCHEMA_VERSION = 3
_UNSEALED_VERSION = 2
"""Records of this version count, too; they have no seal."""
MAX_RECORD_BYTES = 1 << 24
_NOT_SEALED = re.compile(rb'\n *"(?:encode_s|decode_s|filter_s|seal)": [^\n]*')

Record = dict[str, Any]

_ABSENT = object()
_OPTIONAL_TEXT = (str, type(None))
_OPTIONAL_NUMBER = (int, float, type(None))
_KEY = re.compile(r"[0-9a-f]{64}")
_SIDES = ("width_px", "height_px", "scaled_width_px", "scaled_height_px", "coded_width_px", "coded_height_px")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "key": str, "encoder": str, "quality": (int, type(None)), "color_subsampling": str,
    "subsampling_factor": (int, float), "preset": _OPTIONAL_TEXT, "compat": _OPTIONAL_TEXT, "stacked": bool,
    "keep_reconstruction": bool, "sources": list, "frames": int, "bitstream": str, "bitstream_sha256": str,
    "size_bytes": int, "rate_bpp": (int, float), "encode_s": (int, float), "decode_s": (int, float),
    "coded_qp": _OPTIONAL_NUMBER, "psnr_y_db": _OPTIONAL_NUMBER, "experiment": str, "runner": str,
    "qp_map": (dict, type(None)),
    "importance": (dict, type(None)), "match_rate": bool, "parameters": dict, "target_bpp": _OPTIONAL_NUMBER,
    **dict.fromkeys(_SIDES, int),
}  # fmt: skip

_sound_types: set[tuple[type, ...]] = set()
"""Types of all fields together that were found right before."""


def as_json(record: Record) -> bytes:
    """A record as it is written: one field a line, sorted, and sealed."""
    return as_text(sealed(record))


def sealed(record: Record) -> Record:
    """A record with the seal of what it says now."""
    return {**record, "seal": _seal(as_text(record))}


def as_text(record: Record) -> bytes:
    """A record as it stands: one field a line, sorted."""
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _seal(text: bytes) -> str:
    """SHA-256 of a record's text without its times, which differ from run to run, and without the seal itself."""
    return hashlib.sha256(_NOT_SEALED.sub(b"", text)).hexdigest()


_PARTS = {"rate_search": dict, "map": dict, "region": dict, "uniform": dict, "tool": dict, "files": dict,
          "notes": list, "frame_psnr_y_db": list, "resampler": str, "resampler_sha256": str}  # fmt: skip
"""Parts that not every record has."""


def read_record(path: Path | str) -> Record | None:
    """A record as it was written; None where it is missing, damaged or of another schema."""
    try:
        text = read_bounded(path, MAX_RECORD_BYTES)
        record = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    return record if _is_record(record) and is_sealed(record, text) else None


def is_sealed(record: Record, text: bytes) -> bool:
    """Whether a record's text is the one that was written; those of the version before have no seal to tell by."""
    if "seal" in record:  # also where its version was changed to that of the unsealed ones
        return bool(record["seal"] == _seal(text))
    return bool(record["schema_version"] == _UNSEALED_VERSION)


def _is_record(record: Any) -> bool:
    """Whether a JSON value has all that is relied upon: a record may have been edited or damaged."""
    if not isinstance(record, dict) or record.get("schema_version") not in (SCHEMA_VERSION, _UNSEALED_VERSION):
        return False
    # Asking a hundred thousand records of a few kinds field by field would be a tenth of what resuming them takes.
    types = tuple([type(record.get(field, _ABSENT)) for field in _FIELDS])
    if types not in _sound_types:
        if not all(map(issubclass, types, _FIELDS.values())):
            return False
        _sound_types.add(types)
    name, sources = record["bitstream"], record["sources"]
    return (
        _KEY.fullmatch(record["key"]) is not None
        and not name.startswith("/")
        and ".." not in name.split("/")
        and "\0" not in name
        and record["color_subsampling"] in CHROMA_FORMATS
        and len(sources) == record["frames"]
        and all(isinstance(source, dict) and isinstance(source.get("name"), str) for source in sources)
        and all(record[side] > 0 for side in _SIDES)
        and _are_parts_sound(record)
    )


def _are_parts_sound(record: Record) -> bool:
    """The same of the parts that not every record has."""
    for part, kind in _PARTS.items():
        if part in record and not isinstance(record[part], kind):
            return False
    search, psnrs, uniform = record.get("rate_search"), record.get("frame_psnr_y_db"), record.get("uniform")
    return (
        (search is None or (isinstance(search.get("is_equal"), bool) and _is_number(search.get("size_error"))))
        and (psnrs is None or (len(psnrs) == record["frames"] and all(p is None or _is_number(p) for p in psnrs)))
        and (uniform is None or isinstance(uniform.get("region", {}), dict))
        and ("map" not in record or isinstance(record["map"].get("method"), str))
        and all(isinstance(tool, dict | list) for tool in record.get("tool", {}).values())
        and all(isinstance(note, str) for note in record.get("notes", ()))
        and all("/" not in name and isinstance(sha256, str) for name, sha256 in record.get("files", {}).items())
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
