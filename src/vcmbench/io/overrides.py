"""Values of a TOML table that come as texts, `key=value`, as `--set` takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from vcmbench.io import documents

_CHANGE = re.compile(r"([\w-]+(?:\[\d+\])?(?:\.[\w-]+(?:\[\d+\])?)*)\s*=(.*)", re.DOTALL)
_Key = tuple[str, int | None]


def override(table: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """The table with changed values, such as `dataset.limit=5` and `coding[2].quality=[30, 40]`.

    Keys are written as messages about a file name them: tables of an array count from 1, and without a number all of
    them are meant. Values are TOML, or a text without quotes. Tables that are not there are made. Raises ValueError.
    """
    for change in changes:
        found = _CHANGE.fullmatch(change.strip())
        if found is None:
            raise ValueError(
                f"--set {documents.short(change)}: must be KEY=VALUE, such as dataset.limit=5 or "
                "coding[1].quality=[30, 40]"
            )
        keys = [_key(part) for part in found[1].split(".")]
        try:
            table = _changed(table, keys, _value(found[2].strip()))
        except ValueError as error:
            raise ValueError(f"--set {documents.short(change)}: {error}") from None
    return table


def _key(part: str) -> _Key:
    name, _, number = part.removesuffix("]").partition("[")
    return name, int(number) if number else None


def _value(text: str) -> Any:
    try:
        table = documents.parse_toml(f"value = {text}".encode())
    except ValueError:
        return text
    return table["value"] if len(table) == 1 else text


def _changed(table: Any, keys: Sequence[_Key], value: Any) -> Any:
    """What is there, with `value` at `keys` below it; nothing of it is changed in place."""
    if not keys:
        return value
    (name, number), rest = keys[0], keys[1:]
    if not isinstance(table, dict):
        raise ValueError(f"{name}: stands in no table, but in {documents.short(table)}")
    below = table.get(name, {})
    if number is not None:
        count = len(below) if isinstance(below, list) else 0
        if not 1 <= number <= count:
            raise ValueError(
                f"{name}[{number}]: they are numbered from 1, and there {'is' if count == 1 else 'are'} {count}"
            )
        below = [_changed(one, rest, value) if i == number else one for i, one in enumerate(below, 1)]
    elif rest and isinstance(below, list):
        below = [_changed(one, rest, value) for one in below]
    else:
        below = _changed(below, rest, value)
    return table | {name: below}
