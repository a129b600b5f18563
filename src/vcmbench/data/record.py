"""A record: one job as JSON, with a seal that shows whether it is still what was written.

The seal is a hash of all of a record's text but for the times. A record that was damaged later is therefore no record,
and two runs that came to the same have the same seals.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.io.files import read_bounded
from vcmbench.io.validation import Loose, is_valid

SCHEMA_VERSION = 3
_UNSEALED_VERSION = 2
"""Records of this version count, too; they have no seal."""
MAX_RECORD_BYTES = 1 << 24
_NOT_SEALED = re.compile(rb'\n *"(?:encode_s|decode_s|filter_s|seal)": [^\n]*')

Record = dict[str, Any]

_NONE: Any = None
"""What parts are that a record lacks; where one is there it is not null."""
_Side = Annotated[int, Field(gt=0)]


class _Source(Loose):
    name: str


class _RateSearch(Loose):
    is_equal: bool
    size_error: float


class _Map(Loose):
    method: str


class _Uniform(Loose):
    region: dict[str, Any] = Field(default={})


class _JobRecord(Loose):
    """What is relied upon of a record: it may have been edited or damaged."""

    schema_version: Literal[2, 3]
    key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    encoder: str
    quality: int | None
    color_subsampling: str
    subsampling_factor: float
    preset: str | None
    compat: str | None
    stacked: bool
    keep_reconstruction: bool
    sources: list[_Source]
    frames: int
    bitstream: str
    bitstream_sha256: str
    size_bytes: int
    rate_bpp: float
    encode_s: float
    decode_s: float
    coded_qp: float | None
    psnr_y_db: float | None
    experiment: str
    runner: str
    qp_map: dict[str, Any] | None
    importance: dict[str, Any] | None
    match_rate: bool
    parameters: dict[str, Any]
    target_bpp: float | None
    width_px: _Side
    height_px: _Side
    scaled_width_px: _Side
    scaled_height_px: _Side
    coded_width_px: _Side
    coded_height_px: _Side
    # parts that not every record has
    rate_search: _RateSearch = _NONE
    map: _Map = _NONE
    uniform: _Uniform = _NONE
    region: dict[str, Any] = Field(default={})
    tool: dict[str, dict[str, Any] | list[Any]] = Field(default={})
    files: dict[str, str] = Field(default={})
    notes: list[str] = Field(default=[])
    frame_psnr_y_db: list[float | None] = _NONE
    block_bits: dict[str, Any] = Field(default={})
    resampler: str = _NONE
    resampler_sha256: str = _NONE

    @model_validator(mode="after")
    def _fits(self) -> Self:
        name, psnrs = self.bitstream, self.frame_psnr_y_db
        if name.startswith("/") or ".." in name.split("/") or "\0" in name or any("/" in one for one in self.files):
            raise ValueError("a file outside the data root")
        if self.color_subsampling not in CHROMA_FORMATS:
            raise ValueError("an unknown chroma format")
        if len(self.sources) != self.frames or (psnrs is not None and len(psnrs) != self.frames):
            raise ValueError("another number of frames")
        return self


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


def read_record(path: Path | str) -> Record | None:
    """A record as it was written; None where it is missing, damaged or of another schema."""
    try:
        text = read_bounded(path, MAX_RECORD_BYTES)
        record = json.loads(text)
    except (OSError, ValueError, RecursionError):
        return None
    return record if is_valid(_JobRecord, record) and is_sealed(record, text) else None


def is_sealed(record: Record, text: bytes) -> bool:
    """Whether a record's text is the one that was written; those of the version before have none."""
    if "seal" in record:  # also where its version was changed to that of the unsealed ones
        return bool(record["seal"] == _seal(text))
    return bool(record["schema_version"] == _UNSEALED_VERSION)
