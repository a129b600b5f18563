"""Write what was measured as other people's sheets take it."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

from vcmbench.cli import runners
from vcmbench.cli.measure_options import check_packages
from vcmbench.cli.terminal import say
from vcmbench.cli.which import add_which, wanted
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.io.files import hidden_beside, write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Write a CSV with a row a sequence and quality, as the sheets of common test conditions take it: kbit/s, bpp, "
        "PSNR-Y, seconds, and where the experiment was measured accuracy, mIoU, the means of its metrics, and how much "
        "flicker coding added."
    )
    parser.epilog = "example:\n  vcmbench export -d drive.mp4 -s video --format ctc -o video.csv"
    add_which(parser)
    parser.add_argument("--format", choices=("ctc",), default="ctc", help="of the file (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where it goes (default: stdout)")
    parser.add_argument("--skip-missing", action="store_true", help="export what is there, where some is not")
    runners.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    check_packages()
    from vcmbench.analysis import ctc
    from vcmbench.analysis.run import recalled
    from vcmbench.measure.outcome import MeasureSettings, recall
    from vcmbench.measure.run import MeasureRun

    experiment, root = wanted(arguments), open_root(arguments.data)
    runner = runners.choose(arguments, experiment.encoders(), Store(root, experiment.name).any_runner())
    this = MeasureRun(experiment, arguments.data, runner, MeasureSettings(skip_missing=arguments.skip_missing))
    if not any(unit.coding.structure for unit in this.units):
        raise RequestError(
            f"experiment {experiment.name}: codes no sequences (structure = ..); a row a picture has image_scores.csv"
        )
    summary = None
    if recall(this.store) is None:
        say("not measured yet: rates, PSNR-Y and times only")
    else:
        summary = recalled(this).summary
    rows = ctc.rows(this.units, summary, experiment.metrics.iqa)
    text = io.StringIO(newline="")
    columns = dict.fromkeys([*ctc.COLUMNS, *(name for row in rows for name in row)])
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if arguments.output is None:
        sys.stdout.write(text.getvalue())
        return 0
    try:
        write_atomically(arguments.output, text.getvalue().encode(), hidden_beside(arguments.output))
    except OSError as error:
        raise JobError(f"{arguments.output}: cannot be written: {error.strerror}") from None
    say(f"{len(rows)} rows: {arguments.output}")
    return 0
