"""Names of a network's outputs as a user gives them: a list, or a text file with one a line."""

from __future__ import annotations

from pathlib import Path

from vcmbench.errors import RequestError

_MAX_BYTES = 1 << 20


def given(classes: list[str] | str | None) -> list[str] | None:
    """The names that `classes` of the settings give; None: none. Raises RequestError where the file cannot be read."""
    if not isinstance(classes, str):
        return classes
    path = Path(classes).expanduser()
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise RequestError(f"classes {classes!r}: no text file with one name a line")
        lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise RequestError(f"classes {classes!r}: cannot be read: {error}") from None
    return [line.strip() for line in lines if line.strip()]


def fitting(classes: list[str], count: int) -> tuple[str, ...]:
    """The same, checked. Raises RequestError unless there are `count` different ones."""
    if len(classes) != count:
        raise RequestError(f"classes: {len(classes)} names were given, but the network has {count} outputs")
    if len(set(classes)) != count:
        twice = next(name for name in classes if classes.count(name) > 1)
        raise RequestError(f"classes: {twice!r} is given twice")
    return tuple(classes)
