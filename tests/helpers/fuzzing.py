"""How much is tried, and values of every kind. The same each time: what is found once is found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.helpers import hostile
from vcmbench.errors import JobError, RequestError

T = TypeVar("T")

# Seconds, where milliseconds are usual: machines are shared, and what hangs takes far longer.
DEADLINE_MS = 5000


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=DEADLINE_MS,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


ODD_NUMBERS = st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -(2**64), 10**400, 0.5, -0.0, 1e308, 5e-324, 1 / 3])
ODD_TEXTS = st.sampled_from(["", "..", "/", "a/../b", "\0", "\ud800", "\u202e", "\n", "420", "acc", "PSNR", "x" * 3000])
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | ODD_NUMBERS | st.text(max_size=12) | ODD_TEXTS
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8) | ODD_TEXTS, inner, max_size=5),
    max_leaves=12,
)
"""Anything that JSON holds, and what Python takes for JSON beyond it: NaN, infinity, lone surrogates."""
BYTES = st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))


def as_bytes(value: Any) -> bytes:
    return json.dumps(value).encode()


@st.composite
def mutated(draw: Callable[..., Any], sound: Any) -> Any:
    """A sound value of JSON with one to three places of it replaced, removed or doubled."""
    value = json.loads(json.dumps(sound))
    for _ in range(draw(st.integers(1, 3))):
        value = _changed(draw, value)
    return value


def _changed(draw: Callable[..., Any], value: Any) -> Any:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 4)) == 0:
        return draw(VALUES)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw(st.sampled_from(keys))
    action = draw(st.integers(0, 5))
    if action == 0:
        del value[key]
    elif action == 1 and isinstance(value, list):
        value.append(value[key])
    elif action == 1:
        value[draw(st.text(max_size=8) | ODD_TEXTS)] = value[key]
    else:
        value[key] = _changed(draw, value[key])
    return value


def spoilt(sound: bytes) -> st.SearchStrategy[bytes]:
    """Sound bytes of which some were overwritten, taken out or put in."""

    def change(edits: list[tuple[float, bytes, int]]) -> bytes:
        data = sound
        for where, new, removed in edits:
            at = int(where * len(data))
            data = data[:at] + new + data[at + removed :]
        return data

    edit = st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 8))
    return st.lists(edit, min_size=1, max_size=4).map(change)


def only_documented(call: Callable[[], T]) -> T | None:
    """What a call gives, or None where it raised an error that people are shown, which is one line."""
    try:
        return call()
    except (RequestError, JobError) as error:
        hostile.one_line(error)
        return None


def lay(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path
