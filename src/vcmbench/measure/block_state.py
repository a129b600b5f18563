"""What is known of sampled blocks, and what of it is remembered between runs: `blocks/<name>.state.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vcmbench.blocks.sampler import Block
from vcmbench.store import Store

FOLDER = "blocks"

Values = dict[str, list[float | None]]
Reasons = dict[str, dict[str, list[int]]]
"""By metric and reason the numbers of the blocks that it is missing for."""


@dataclass(frozen=True)
class Sampled:
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
    """What was remembered of blocks of that name; nothing where it is not there or cannot be read."""
    try:
        state = json.loads((store.folder / FOLDER / f"{name}.state.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    is_state = isinstance(state, dict) and isinstance(state.get("metrics", {}), dict)
    return state if is_state else {}


def write(store: Store, name: str, state: dict[str, Any]) -> None:
    store.write_table(f"{FOLDER}/{name}.state.json", json.dumps(state, allow_nan=False).encode())


def is_of(entry: Any, key: str, count: int) -> bool:
    """Whether what was remembered of a metric is of that key, and of as many blocks."""
    return (
        isinstance(entry, dict)
        and entry.get("key") == key
        and len(entry.get("values", ())) == count
        and isinstance(entry.get("reasons"), dict)
    )
