"""Remove what an experiment made: bitstreams, records, scores, predictions, tables."""

from __future__ import annotations

import argparse
import json
import sys

from vcmbench.cli import which
from vcmbench.cli.terminal import say
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.errors import RequestError
from vcmbench.measure.holdings import holdings, remove, shared

_EXAMPLES = """\
examples:
  vcmbench clean -d data -s quick --dry-run    # what would go
  vcmbench clean -d data -s quick --yes

Pictures, labels, importance maps, predictions of your own, what other experiments have records of, too, and every file
that is not known to be the experiment's stay where they are.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    which.add_which(parser, chooses_pictures=False)
    parser.add_argument("-n", "--dry-run", action="store_true", help="name the files and remove none")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="the files by kind as one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    store = Store(open_root(arguments.data), which.wanted(arguments).name)
    found = holdings(store, is_exact=True)
    paths = [path for some in found.values() for path in some]
    total = sum(path.stat().st_size for path in paths)
    if arguments.json:
        print(json.dumps({kind: [str(path) for path in some] for kind, some in found.items()}))
    elif arguments.dry_run:
        print("".join(f"{path}\n" for path in paths), end="")
    kinds = ", ".join(f"{len(some)} {kind}" for kind, some in found.items())
    say(f"experiment {store.folder.name}: {kinds}; {total / 1e6:.1f} MB", always=not arguments.yes)
    if others := shared(store):
        say(f"{others} bitstreams stay, for other experiments have records of them, too")
    if arguments.dry_run or not paths:
        return 0
    if not arguments.yes and not _agreed():
        raise RequestError("nothing was removed; --yes removes them without a question")
    if store.is_at_work():
        raise RequestError(f"{store.data.root}: a run is at work there; end it first")
    remove(store, paths)
    store.remove_empty()
    say(f"removed: {len(paths)} files")
    return 0


def _agreed() -> bool:
    """Whether the user says yes; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    print("remove them? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
