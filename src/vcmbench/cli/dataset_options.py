"""Options that choose among an experiment's pictures for one run."""

from __future__ import annotations

import argparse

from vcmbench.cli.argtypes import positive_int
from vcmbench.experiment import Experiment


def add_dataset_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures (in place of what [dataset] says)")
    group.add_argument("--limit", type=positive_int, metavar="N", help="only the first N pictures")
    for name, what in (("--include", "only pictures whose names match this"), ("--exclude", "none that match this")):
        group.add_argument(name, action="append", metavar="PATTERN",
                           help=f"{what}, such as '*/image_2/*' (may be repeated)")  # fmt: skip


def with_dataset_options(wanted: Experiment, arguments: argparse.Namespace) -> Experiment:
    """The experiment over the pictures that the command line asks for."""
    chosen = {name: value for name in ("limit", "include", "exclude") if (value := getattr(arguments, name))}
    return wanted.model_copy(update={"dataset": wanted.dataset.model_copy(update=chosen)})
