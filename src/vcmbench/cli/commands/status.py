"""What of an experiment is done, failed and lacking, and how much room it takes."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from vcmbench.cli import table, which
from vcmbench.compress.job_keys import bitstreams
from vcmbench.data import runlog
from vcmbench.data.dataset import RESULTS, find_sources, open_root
from vcmbench.data.store import Store
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment
from vcmbench.measure import outcome
from vcmbench.measure.holdings import holdings
from vcmbench.measure.records import PRISTINE, SCORES

_EXAMPLES = """\
examples:
  vcmbench status -d vcmbench-demo/data            # every experiment
  vcmbench status -d vcmbench-demo/data -s demo    # against what it asks for
  vcmbench status -d data -s my.toml --json

"scored" counts decoded pictures and frames. No bitstream is read and no tool started: a job counts as done where its
record and its bitstream lie there. Whether they are sound is what `vcmbench verify` finds out, whether they are of
today's pictures and tools what the next run does.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    which.add_which(parser, needs_experiment=False)
    parser.add_argument("--json", action="store_true", help="one JSON object an experiment on stdout")


def run(arguments: argparse.Namespace) -> int:
    root = open_root(arguments.data)
    if arguments.config is not None:
        wanted = which.wanted(arguments)
        found = [_held(Store(root, wanted.name)) | {"encoders": _asked(wanted, Store(root, wanted.name))}]
    else:
        names = sorted(path.parent.name for path in (root.root / RESULTS).glob("*/records"))
        found = [_held(Store(root, name)) for name in names]
        if not found:
            raise RequestError(f"{root.root / RESULTS}: holds no experiment yet; name one with -s CONFIG")
    if arguments.json:
        for one in found:
            print(json.dumps(one))
        return 0
    header = ("experiment", "bitstreams", "scored", "failed", "their MB", "all MB", "last run")
    print(table.render(header, [_row(one) for one in found]))
    for one in found:
        _print_encoders(one)
    return 0


def _held(store: Store) -> dict[str, Any]:
    """What is on disk, and how the last runs ended."""
    files = holdings(store)
    sizes = {kind: sum(path.stat().st_size for path in paths) for kind, paths in files.items()}
    last = {run.step: {"date": run.date, "done": run.done, "failed": run.failed} for run in runlog.read(store)}
    failures = (outcome.recall(store) or {"failed": []})["failed"]
    scored = sum(path.relative_to(store.folder / SCORES).parts[0] != PRISTINE for path in files["scores"])
    return {
        "experiment": store.folder.name, "folder": str(store.folder),
        "files": {kind: len(paths) for kind, paths in files.items()}, "size_bytes": sizes, "last_runs": last,
        "scored": scored, "failed_to_measure": failures,
    }  # fmt: skip


def _asked(wanted: Experiment, store: Store) -> dict[str, dict[str, int]]:
    """By encoder: pictures or stacks that the experiment asks for, those that are coded, and those that are scored."""
    found: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"jobs": 0, "done": 0, "pictures": 0, "scored": 0})
    sources = find_sources(store.data, wanted.dataset)
    for place, coding, folder, pictures in bitstreams(wanted, store.data, sources):
        row = found[coding.encoder]
        row["jobs"] += 1
        row["done"] += store.record_path(place).is_file() and (store.data.root / place).is_file()
        row["pictures"] += len(pictures)
        row["scored"] += sum(_score(store, folder, picture.name).is_file() for picture in pictures)
    return dict(found)


def _score(store: Store, folder: str, picture: object) -> Path:
    return store.folder / SCORES / folder / f"{picture}.json"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    runs = one["last_runs"].values()
    failed = sum(run["failed"] for run in runs)
    last = max((run["date"][:16].replace("T", " ") for run in runs), default="-")
    sizes = one["size_bytes"]
    return (one["experiment"], str(one["files"]["records"]), str(one["scored"]), str(failed),
            f"{sizes['bitstreams'] / 1e6:.1f}", f"{sum(sizes.values()) / 1e6:.1f}", last)  # fmt: skip


def _print_encoders(one: dict[str, Any]) -> None:
    if "encoders" in one:
        rows = [(name, *map(str, (row["jobs"], row["done"], row["jobs"] - row["done"], row["pictures"], row["scored"])))
                for name, row in one["encoders"].items()]  # fmt: skip
        print("\n" + table.render(("encoder", "jobs", "done", "lacking", "pictures", "scored"), rows))
    for title, why in one["failed_to_measure"][:20]:
        print(f"failed: {title}: {why}")
