"""Whether what lies among the results is what measuring writes there: it may have been edited, damaged, or laid there.

Only what is relied upon later is looked at, but all of that: kinds, ranges, and that indices lie in their tables.
"""

from __future__ import annotations

import math
from typing import Any

from vcmbench.data.labels import VOID
from vcmbench.tasks import confusion

_MOST_PIXELS = 1 << 31  # counts are added up in 32 bits
_MOST_ANSWERS = 1 << 20
_MACHINE = {"key", "kind", "classes", "pseudo", "labels"}


def is_number(value: Any) -> bool:
    """A finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def is_share(value: Any) -> bool:
    """A number from 0 to 1."""
    return is_number(value) and bool(0 <= value <= 1)


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
    against = part["pseudo"], part["labels"]
    if part["kind"] == "classification":
        return _is_classified(part) and all(one is None or _is_answer(one, part["classes"]) for one in against)
    if part["kind"] != "segmentation" or not is_whole(part["classes"], VOID + 1) or part["classes"] == 0:
        return False
    return all(one is None or _is_counted(one, part["classes"]) for one in against)


def _is_classified(part: dict[str, Any]) -> bool:
    classes = part["classes"]
    return is_whole(classes, _MOST_ANSWERS) and is_whole(part.get("class"), classes) and is_text_table(
        part.get("names", {})
    )  # fmt: skip


def _is_answer(part: Any, classes: int) -> bool:
    if not isinstance(part, dict) or not is_whole(part.get("class"), classes):
        return False
    right, probability = part.get("right"), part.get("probability")
    return right in ([0, 1], [1, 1]) and is_share(probability)


def _is_counted(part: Any, classes: int) -> bool:
    if not isinstance(part, dict) or not part.keys() >= {"confusion", "bands", "importance"}:
        return False
    bands, importance = part["bands"], part["importance"]
    return (
        _are_counts(part["confusion"], classes)
        and (bands is None or _are_bands(bands, classes))
        and (importance is None or (isinstance(importance, list) and len(importance) == 2
                                    and all(is_number(one) and one >= 0 for one in importance)))
    )  # fmt: skip


def _are_bands(bands: Any, classes: int) -> bool:
    is_list = isinstance(bands, list) and len(bands) == len(confusion.BANDS_M)
    return is_list and all(_are_counts(band, classes) for band in bands)


def _are_counts(triplets: Any, classes: int) -> bool:
    """Triplets of `measure.machine.sparse`: truth, prediction (the last column is void), pixels."""
    if not isinstance(triplets, list) or len(triplets) > classes * (classes + 1):
        return False
    return all(
        isinstance(one, list) and len(one) == 3 and is_whole(one[0], classes) and is_whole(one[1], classes + 1)
        and is_whole(one[2], _MOST_PIXELS)
        for one in triplets
    )  # fmt: skip
