"""What is known of sampled blocks, and what of it is remembered between runs: `blocks/<name>.state.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from vcmbench.data.store import Store
from vcmbench.io.sealed import read_sealed, sealed_json
from vcmbench.io.validation import Count, Loose, is_valid
from vcmbench.measure.blocks.sampler import Block

FOLDER = "blocks"
SUFFIX = ".state.json"
MAX_BYTES = 1 << 29
_KEPT = ("key", "sha256", "notes", "predictions", "sampler", "metrics")

Values = dict[str, list[float | None]]
Reasons = dict[str, dict[str, list[int]]]
"""By metric and reason the numbers of the blocks that it is missing for."""


class _State(Loose):
    metrics: dict[str, Any] = Field(default={})
    notes: list[str] = Field(default=[])


class _Entry(Loose):
    values: list[float | None]
    reasons: dict[str, list[Count]]


@dataclass(frozen=True)
class SampledBlocks:
    """Blocks of one size and what the metrics say of each: `values[name][block]`, None where `reasons[name]` says
    why."""

    name: str
    blocks: list[Block]
    values: Values
    reasons: Reasons
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        sizes = {f"{block.width}x{block.height}" for block in self.blocks}
        return sizes.pop() if len(sizes) == 1 else "mixed"

    @property
    def level(self) -> str:
        """How correlations of these blocks are called."""
        return f"block {self.size}"


def read(store: Store, name: str) -> dict[str, Any]:
    """What was remembered of blocks of that name; nothing where it is not there, was edited or cannot be read."""
    try:
        state = read_sealed(store.folder / FOLDER / f"{name}{SUFFIX}", MAX_BYTES)
    except (OSError, ValueError):
        return {}
    return {key: state[key] for key in _KEPT if key in state} if is_valid(_State, state) else {}


def write(store: Store, name: str, state: dict[str, Any]) -> None:
    store.write_table(f"{FOLDER}/{name}{SUFFIX}", sealed_json(state))


def is_of(entry: Any, key: str, count: int) -> bool:
    """Whether what was remembered of a metric is of that key, and of as many blocks."""
    return (
        isinstance(entry, dict)
        and entry.get("key") == key
        and is_valid(_Entry, entry)
        and len(entry["values"]) == count
        and all(number < count for numbers in entry["reasons"].values() for number in numbers)
    )
