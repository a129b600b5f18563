"""The networks of mmsegmentation's zoo by one word each. The list and the configs travel inside its wheel."""

from __future__ import annotations

import difflib
import importlib.util
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from vcmbench.errors import RequestError
from vcmbench.io import resources
from vcmbench.tasks import fetch


@dataclass(frozen=True)
class ZooNetwork:
    """One entry: its config, the address of its weights, and what it was trained on."""

    name: str
    config: Path
    url: str
    data: str

    def weights(self) -> Path:
        """Its weights, fetched where need be. Raises RequestError where that is impossible."""
        checksum = fetch.checksum_in_name(self.url)
        if checksum is None:
            raise RequestError(f"{self.name}: its address {self.url} has no checksum; fetch it, give it as checkpoint")
        return fetch.weights(self.url, checksum)


def folder() -> Path | None:
    """Where mmsegmentation's wheel keeps its list; None where it is not installed."""
    found = importlib.util.find_spec("mmseg")
    path = Path(found.origin).parent / ".mim" if found and found.origin else None
    return path if path and (path / "model-index.yml").is_file() else None


@cache
def networks() -> dict[str, ZooNetwork]:
    """Every network of the zoo that segments.

    Its list gives a few words to two networks each, with one config for both weights; those are left out, since a word
    must mean one network.
    """
    root = folder()
    if root is None:
        return {}
    import yaml

    index = yaml.safe_load((root / "model-index.yml").read_text("utf-8"))
    entries = [
        entry for file in index["Import"] for entry in yaml.safe_load((root / file).read_text("utf-8"))["Models"]
    ]
    times = Counter(entry["Name"] for entry in entries)
    return {
        entry["Name"]: ZooNetwork(
            entry["Name"], root / entry["Config"], entry["Weights"], str(entry["Metadata"]["Training Data"])
        )
        for entry in entries
        if times[entry["Name"]] == 1 and _segments(entry) and (root / entry["Config"]).is_file()
    }


def _segments(entry: dict[str, Any]) -> bool:
    results = entry["Results"] if isinstance(entry["Results"], list) else [entry["Results"]]
    return bool(entry.get("Weights")) and any(result.get("Task") == "Semantic Segmentation" for result in results)


def get(word: str) -> ZooNetwork:
    """The network of that word. Raises RequestError that names the nearest ones where there is none."""
    known = networks()
    if not known:
        raise RequestError(
            f"model {word!r}: is no file, and mmsegmentation, whose zoo could have it, is not installed; "
            f"{resources.how_to_measure()}"
        )
    if word not in known:
        near = [name for name in known if word in name][:3] or difflib.get_close_matches(word, known, 3, 0.3)
        raise RequestError(
            f"model {word!r}: is no file and no network of mmsegmentation's zoo; near it: {', '.join(near) or 'none'} "
            "(vcmbench tasks list --zoo)"
        )
    return known[word]
