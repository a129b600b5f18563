"""Names of a network's outputs as a user gives them: a list, or a text file with one a line."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from vcmbench.data.labels import CLASSES
from vcmbench.errors import RequestError
from vcmbench.io.documents import short
from vcmbench.io.files import read_bounded

_MAX_BYTES = 1 << 20


def given(classes: list[str] | str | None) -> list[str] | None:
    """The names that `classes` of the settings give; None: none. Raises RequestError where the file cannot be read."""
    if not isinstance(classes, str):
        return classes
    try:
        path = Path(classes).expanduser()
        if not path.is_file():
            raise RequestError(f"classes {short(classes)}: no text file with one name a line")
        lines = read_bounded(path, _MAX_BYTES).decode("utf-8-sig").splitlines()
    except OSError as error:
        raise RequestError(f"classes {short(classes)}: cannot be read: {error.strerror}") from None
    except (ValueError, RuntimeError) as error:  # no UTF-8; a home folder of nobody
        raise RequestError(f"classes {short(classes)}: cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip()]


def fitting(classes: list[str], count: int) -> tuple[str, ...]:
    """The same, checked. Raises RequestError unless there are `count` different ones."""
    if len(classes) != count:
        raise RequestError(f"classes: {len(classes)} names were given, but the network has {count} outputs")
    if len(set(classes)) != count:
        twice = next(name for name, times in Counter(classes).items() if times > 1)
        raise RequestError(f"classes: {twice!r} is given twice")
    return tuple(classes)


def are_of_cityscapes(identity: dict[str, Any]) -> bool:
    """Whether a network's identity says so; predictions that are files were of those classes alone once."""
    digest = hashlib.sha256(json.dumps(CLASSES).encode()).hexdigest()
    return "predictions" in identity or identity.get("classes_sha256") == digest
