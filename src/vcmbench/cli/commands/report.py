"""Write an experiment's report again from what was measured."""

from __future__ import annotations

import argparse
from pathlib import Path

from vcmbench.cli import runners
from vcmbench.cli.measure_options import check_packages
from vcmbench.cli.terminal import say
from vcmbench.cli.which import add_which, wanted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write report.html and the figures of an experiment again, from its records."
    parser.epilog = "example:\n  vcmbench report -d vcmbench-demo/data -s demo -o report.html"
    add_which(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="where the report goes (default: DATA/results/<experiment>/report.html)")  # fmt: skip
    parser.add_argument("--skip-missing", action="store_true", help="report what is measured, where some is not")
    runners.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    check_packages()
    from vcmbench.cli import measuring

    path = measuring.report_again(wanted(arguments), arguments)
    say(f"report: {path}")
    return 0
