"""JSON files with a seal: a hash of their text, by which a change that a hand or a disk made is noticed.

The seal is the last key of the object. Files from before there were seals have none, and count as they are.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from vcmbench.io.documents import parse_json
from vcmbench.io.files import read_bounded

_TAIL = re.compile(rb', "seal": "([0-9a-f]{64})"\}')
_TAIL_BYTES = len(b', "seal": ""}') + 64


class BrokenSealError(ValueError):
    """A file that was changed after it was written."""


def sealed_json(values: dict[str, Any], *, sort_keys: bool = False) -> bytes:
    """A table that is not empty as JSON text with its seal. Raises ValueError where a number is not finite."""
    text = json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=sort_keys).encode()
    return b'%s, "seal": "%s"}' % (text[:-1], hashlib.sha256(text).hexdigest().encode())


def read_sealed(path: Path, max_bytes: int) -> Any:
    """The value of such a file, without its seal. Raises OSError, ValueError where it is no JSON, BrokenSealError."""
    data = read_bounded(path, max_bytes)
    value = parse_json(data)
    if isinstance(value, dict) and "seal" in value:
        tail = _TAIL.fullmatch(data[-_TAIL_BYTES:])
        text = data[:-_TAIL_BYTES] + b"}"
        if tail is None or hashlib.sha256(text).hexdigest().encode() != tail[1]:
            raise BrokenSealError(f"was changed after it was written ({len(data)} bytes): its seal does not hold")
        del value["seal"]
    return value
