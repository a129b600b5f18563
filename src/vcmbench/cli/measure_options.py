"""What the commands that measure or report have in common before anything heavy is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path

from vcmbench.errors import RequestError
from vcmbench.io import resources
from vcmbench.tasks.opening import missing_packages


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measuring")
    group.add_argument("--gpu", default="auto", metavar="auto|none|N",
                       help="where networks run: the first GPU, the CPU, or GPU number N (default: auto)")  # fmt: skip
    group.add_argument("--weights", type=Path, metavar="DIR",
                       help="a folder with the weights of learned metrics (docs/quality.md says which)")  # fmt: skip
    group.add_argument("--skip-missing", action="store_true",
                       help="measure what is compressed, where some of it is not")  # fmt: skip


def check_packages() -> None:
    """Raises RequestError where this Python lacks what measuring needs."""
    if absent := [name for name in missing_packages() if name == "torch"]:
        raise RequestError(
            f"measuring needs {', '.join(absent)}, which this Python does not have; {resources.how_to_measure()}"
        )
