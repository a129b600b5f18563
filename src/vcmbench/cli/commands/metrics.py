"""Measure what compression did to the machine and to the pictures, and report it."""

from __future__ import annotations

import argparse
from pathlib import Path

from vcmbench.cli import runners, table, which
from vcmbench.cli.argtypes import positive_int, positive_seconds
from vcmbench.cli.measure_options import add_measure_options, check_packages
from vcmbench.compress.run import CompressSettings
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment

_EXAMPLES = """\
examples:
  python run_metrics.py -d data -s quick
  python run_metrics.py -d data -s quick --level image --gpu none
  python run_metrics.py -d data -s my.toml --runner docker --json > outcome.json

Looks at everything that `run_compression.py -d DATA -s CONFIG` made: the experiment's [task] on pristine and decoded
pictures, the quality metrics of [metrics], blocks sampled by accuracy, correlations with the machine, and a report.
Predictions lie in DATA/P_GT and DATA/P_hat_C, all else in DATA/results/<experiment>/: image_scores and block_scores
(.csv, .parquet), correlation_*.json, blocks/, figures/, report.html. What is known is not found out again.

exit codes: 0 all done, 1 some pictures or blocks failed (each is named), 2 the request was wrong (nothing was started),
130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the machine task and the quality metrics of an experiment on its decoded pictures, sample "
        "blocks, correlate, and write tables and a report."
    )
    parser.epilog = _EXAMPLES
    which.add_which(parser)
    parser.add_argument("--level", choices=["image", "block", "all"], default=None,
                        help="metrics on whole pictures, on blocks, or on both (default: metrics.levels)")  # fmt: skip
    parser.add_argument("--blocks", type=Path, metavar="FILE",
                        help="a *_val_blocks.json: take its blocks, and sample none")  # fmt: skip
    parser.add_argument("--no-report", action="store_true", help="tables only, no report and no figures")
    add_measure_options(parser)
    defaults = CompressSettings()
    parser.add_argument("-j", "--jobs", type=positive_int, metavar="N",
                        help=f"pictures at once (default: the cores, {defaults.jobs} here); with --scheduler: "
                        "decoders, and on the CPU pictures, at once for each worker (default: 1)")  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="measure whole pictures on a Dask cluster that is there, such as tcp://host:8786; its "
                        "workers see DATA at the same path")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="find out again what is known")
    parser.add_argument("--timeout", type=positive_seconds, default=defaults.timeout_s, metavar="SECONDS",
                        help="stop a decoder that takes longer per picture (default: %(default)g)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON object on stdout, no tables")
    table.add_option(parser)
    runners.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    check_packages()
    from vcmbench.cli import measuring

    wanted = _with_blocks(which.wanted(arguments), arguments.blocks)
    level = arguments.level or ("all" if len(set(wanted.metrics.levels)) == 2 else wanted.metrics.levels[0])
    return measuring.run_experiment(
        wanted, arguments.data, arguments, ["image", "block"] if level == "all" else [level]
    )


def _with_blocks(wanted: Experiment, path: Path | None) -> Experiment:
    """The experiment with the blocks of a file."""
    if path is None:
        return wanted
    if not path.is_file():
        raise RequestError(f"--blocks {path}: no such file")
    blocks = wanted.metrics.blocks.model_copy(update={"file": str(path)})
    return wanted.model_copy(update={"metrics": wanted.metrics.model_copy(update={"blocks": blocks})})
