"""The options that say which experiment is meant, on which data."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

from vcmbench import experiment
from vcmbench.cli.argtypes import positive_int

_OF_DATASET = ("limit", "include", "exclude")


def add_which(parser: argparse.ArgumentParser, *, needs_experiment: bool = True, chooses_pictures: bool = True) -> None:
    parser.add_argument("-d", "--data", type=Path, required=True, metavar="DATA", help="data root, picture or video")
    add_experiment(parser, is_needed=needs_experiment)
    if chooses_pictures:
        _add_dataset(parser)


def add_experiment(parser: argparse.ArgumentParser, *, is_needed: bool = True) -> None:
    parser.add_argument("-s", "--config", required=is_needed, metavar="CONFIG",
                        help="an experiment: a name in val_config/ or a .toml file")  # fmt: skip
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE",
                        help="a value of the experiment for this time, such as dataset.limit=5 or "
                        "coding.quality=[30,40] (may be repeated)")  # fmt: skip


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures (in place of what [dataset] says)")
    group.add_argument("--limit", type=positive_int, metavar="N", help="only the first N pictures")
    for name, what in (("--include", "only pictures whose names match this"), ("--exclude", "none that match this")):
        group.add_argument(name, action="append", metavar="PATTERN",
                           help=f"{what}, such as '*/image_2/*' (may be repeated)")  # fmt: skip


def changes(arguments: argparse.Namespace) -> list[str]:
    """All that the command line changes of the experiment, as `--set` takes it."""
    chosen = {name: getattr(arguments, name, None) for name in _OF_DATASET}
    return [*getattr(arguments, "changes", ()),
            *(f"dataset.{name}={json.dumps(value)}" for name, value in chosen.items() if value)]  # fmt: skip


def wanted(arguments: argparse.Namespace) -> experiment.Experiment:
    """The experiment that was asked for. Raises RequestError where it is none."""
    return experiment.load(arguments.config, changes(arguments))


def changed(config: str, arguments: argparse.Namespace) -> str:
    """An experiment with its changes as words of a shell, after `-s`."""
    return " ".join([shlex.quote(config), *(f"--set {shlex.quote(one)}" for one in changes(arguments))])


def again(arguments: argparse.Namespace) -> str:
    """`-d DATA -s CONFIG` and its changes, for commands in messages."""
    return f"-d {shlex.quote(str(arguments.data))} -s {changed(arguments.config, arguments)}"
