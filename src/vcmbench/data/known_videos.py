"""What was found in videos before, kept beside the results: a run that goes on knows what there is without decoding."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from vcmbench.data import video, video_pixels
from vcmbench.data.video import RawGeometry, Stamp, VideoIndex
from vcmbench.io.files import check_inside, hidden_beside, write_atomically
from vcmbench.io.sealed import read_sealed, sealed_json
from vcmbench.io.validation import Strict

FOLDER = ".videos"
"""Below the results."""
_MAX_BYTES = 1 << 26


class _Kept(Strict):
    of: str
    size: tuple[int, int]
    times_s: list[float]
    fps: float
    notes: list[str]


def index(path: Path, raw: RawGeometry | None, results: Path) -> VideoIndex:
    """As `video.index`; what is known of the file as it is now is taken from below `results`, and kept there where that
    is a folder by now. Raises JobError."""
    stamp = Stamp.of(path)
    of = f"{path} {stamp.mtime_ns} {stamp.size} {raw.model_dump_json() if raw else ''} {video_pixels.VERSION}"
    file = results / FOLDER / f"{hashlib.sha256(str(path).encode(errors='surrogateescape')).hexdigest()[:32]}.json"
    try:
        kept = _Kept.model_validate_json(json.dumps(read_sealed(file, _MAX_BYTES)))
        if kept.of == of and kept.times_s:
            return VideoIndex(kept.size, np.array(kept.times_s), kept.fps, tuple(kept.notes))
    except (OSError, ValueError, ValidationError):
        pass  # is found out again
    found = video.index(path, raw)
    values = _Kept(of=of, size=found.size, times_s=found.times_s.tolist(), fps=found.fps, notes=list(found.notes))
    try:
        check_inside(results.parent, file)
        if results.is_dir():
            file.parent.mkdir(exist_ok=True)
            write_atomically(file, sealed_json(values.model_dump(mode="json")), hidden_beside(file))
    except (OSError, ValueError):
        pass  # it costs a pass over the video, and nothing else
    return found
