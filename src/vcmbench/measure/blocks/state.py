"""What is known of sampled blocks, and what of it is remembered between runs: `blocks/<name>.state.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vcmbench.data.store import Store
from vcmbench.io import documents
from vcmbench.measure.blocks.sampler import Block
from vcmbench.measure.record_checks import are_texts, is_number, is_whole

FOLDER = "blocks"
_MAX_BYTES = 1 << 29
_KEPT = ("key", "sha256", "notes", "predictions", "sampler", "metrics")

Values = dict[str, list[float | None]]
Reasons = dict[str, dict[str, list[int]]]
"""By metric and reason the numbers of the blocks that it is missing for."""


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
    """What was remembered of blocks of that name; nothing where it is not there or cannot be read."""
    try:
        state = documents.read_json(store.folder / FOLDER / f"{name}.state.json", _MAX_BYTES)
    except (OSError, ValueError):
        return {}
    is_state = isinstance(state, dict) and isinstance(state.get("metrics", {}), dict)
    return {key: state[key] for key in _KEPT if key in state} if is_state and are_texts(state.get("notes", [])) else {}


def write(store: Store, name: str, state: dict[str, Any]) -> None:
    store.write_table(f"{FOLDER}/{name}.state.json", json.dumps(state, allow_nan=False).encode())


def is_of(entry: Any, key: str, count: int) -> bool:
    """Whether what was remembered of a metric is of that key, and of as many blocks."""
    if not isinstance(entry, dict) or entry.get("key") != key:
        return False
    values, reasons = entry.get("values"), entry.get("reasons")
    return (
        isinstance(values, list)
        and len(values) == count
        and all(value is None or is_number(value) for value in values)
        and isinstance(reasons, dict)
        and all(isinstance(why, list) and all(is_whole(number, count) for number in why) for why in reasons.values())
    )
