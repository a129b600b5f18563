"""The options that say which experiment is meant, on which data."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from vcmbench import experiment


def add_which(parser: argparse.ArgumentParser, *, needs_experiment: bool = True) -> None:
    parser.add_argument("-d", "--data", type=Path, required=True, metavar="DATA", help="the data root, or one picture")
    add_experiment(parser, is_needed=needs_experiment)


def add_experiment(parser: argparse.ArgumentParser, *, is_needed: bool = True) -> None:
    parser.add_argument("-s", "--config", required=is_needed, metavar="CONFIG",
                        help="an experiment: a name in val_config/ or a .toml file")  # fmt: skip
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE",
                        help="a value of the experiment for this time, such as dataset.limit=5 or "
                        "coding.quality=[30,40] (may be repeated)")  # fmt: skip


def wanted(arguments: argparse.Namespace) -> experiment.Experiment:
    """The experiment that was asked for. Raises RequestError where it is none."""
    return experiment.load(arguments.config, arguments.changes)


def again(arguments: argparse.Namespace) -> str:
    """`-d DATA -s CONFIG` and its changes as they were typed, for commands in messages."""
    return " ".join(
        [f"-d {arguments.data} -s {arguments.config}", *(f"--set {shlex.quote(one)}" for one in arguments.changes)]
    )
