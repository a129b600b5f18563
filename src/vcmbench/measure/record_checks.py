"""Whether what lies among the results is what measuring writes there: it may have been edited, damaged, or laid there.

Only what is relied upon later is looked at, but all of that: kinds, ranges, and that indices lie in their tables.
"""

from __future__ import annotations

import math
from typing import Any

from vcmbench.tasks import kind as kinds

_MOST_CLASSES = 1 << 20
_MACHINE = {"key", "kind", "classes", "pseudo", "labels"}


def is_number(value: Any) -> bool:
    """A finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_whole(value: Any, most: int) -> bool:
    """A whole number from 0 to below `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < most


def are_texts(value: Any) -> bool:
    """A list of texts."""
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def is_text_table(value: Any) -> bool:
    """Texts by name."""
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def is_metric(entry: Any) -> bool:
    """A metric's score of one picture: a value, or the reason why there is none."""
    if not isinstance(entry, dict) or entry.keys() != {"value", "reason", "key"} or not isinstance(entry["key"], str):
        return False
    value, reason = entry["value"], entry["reason"]
    return (value is None or is_number(value)) and (reason is None or isinstance(reason, str))


def is_machine(part: Any) -> bool:
    """What a machine made of one picture, as counts; None where none was asked."""
    if part is None:
        return True
    if not isinstance(part, dict) or not part.keys() >= _MACHINE or not isinstance(part["key"], str):
        return False
    if not is_text_table(part.get("notes", {})):
        return False
    if not isinstance(part.get("identity", {}), dict) or not isinstance(part.get("truth", ""), str):
        return False
    kind = kinds.discover().get(part["kind"]) if isinstance(part["kind"], str) else None
    classes = part["classes"]
    if kind is None or not is_whole(classes, _MOST_CLASSES) or not is_text_table(part.get("names", {})):
        return False
    if "class" in part and not is_whole(part["class"], classes):
        return False
    return all(one is None or kind.is_part(one, classes) for one in (part["pseudo"], part["labels"]))
