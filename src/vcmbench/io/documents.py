"""JSON and TOML that others may have written, read in bounded memory and time, and what they hold shown in a line.

Whatever is wrong with such a file is an OSError (it cannot be read) or a ValueError (it is not what it should be). Both
have one line of text.
"""

from __future__ import annotations

import json
import reprlib
import tomllib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from vcmbench.io.files import read_bounded

_MOST_DOTS = 400
_MOST_LEVELS = 50
_MOST_BITS = 64


def read_json(path: Path, max_bytes: int) -> Any:
    """The value of a JSON file. Raises OSError, ValueError."""
    return parse_json(read_bounded(path, max_bytes))


def parse_json(data: bytes, max_values: int | None = None) -> Any:
    """The value of a JSON text, in which no object has a key twice; `max_values` bounds how many values it may hold, of
    which each takes far more memory than text. Raises ValueError alone."""
    if max_values is not None and (found := data.count(b",") + data.count(b"[") + data.count(b"{")) > max_values:
        raise ValueError(f"holds {found} values, the most that are read are {max_values}")
    try:
        return json.loads(data, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {short(twice)} is there twice in one object; take one out")
    return found


def read_toml(path: Path, max_bytes: int) -> dict[str, Any]:
    """The table of a TOML file, whose whole numbers have 64 bits, as TOML has it. Raises OSError, ValueError."""
    return parse_toml(read_bounded(path, max_bytes))


def parse_toml(data: bytes) -> dict[str, Any]:
    """The same of a text. Raises ValueError alone."""
    text = data.decode("utf-8-sig")  # editors put a byte order mark before it
    for number, line in enumerate(text.split("\n"), 1):
        # the time and the memory that tomllib takes for a key grow with the square of its parts
        if line.count(".") > _MOST_DOTS:
            raise ValueError(f"line {number} has {line.count('.')} dots; at most {_MOST_DOTS} are read")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    _check(table)
    return table


def _check(table: dict[str, Any]) -> None:
    """Raises ValueError where a table is nested deeper, or holds other numbers or texts, than the caller can
    deal with."""
    level: list[Any] = [table]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and "\0" in value:
                raise ValueError(f"holds {short(value)}, a text with a NUL")
            elif isinstance(value, int) and value.bit_length() >= _MOST_BITS:
                raise ValueError(f"holds {short(value)}; whole numbers of TOML have {_MOST_BITS} bits")
        if not below:
            return
        level = below
    raise ValueError("is nested too deeply")


class _Short(reprlib.Repr):
    """Ends where a value's text would become long, and does not walk through all of it to find that out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict = 3, 6, 6, 4
        self.maxstring = self.maxother = 200

    def repr_int(self, x: int, level: int) -> str:
        try:
            return repr(x)
        except ValueError:  # Python refuses to write out thousands of digits
            return f"a whole number of {x.bit_length()} bits"

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: self.maxstring + 1])


_short = _Short()


def short(value: object, most: int = 80) -> str:
    """Any value in a line of text, of `most` letters at most; line breaks and the like are escapes in it."""
    text = _short.repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def short_list(names: Iterable[str], most: int = 40) -> str:
    """Names in a line of text, of which there may be millions; "none" where there are none."""
    some = list(islice(names, most + 1))
    shown = ", ".join(name if len(name) <= 80 and name.isprintable() else short(name) for name in some[:most])
    return (shown + (", ..." if len(some) > most else "")) or "none"
