"""Block by block: what it cost, what importance said, and what the machine lost there."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from vcmbench.cli import runners, table, which
from vcmbench.cli.argtypes import positive_int
from vcmbench.cli.measure_options import check_packages
from vcmbench.cli.terminal import say
from vcmbench.compress import decode
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.io.progress import Progress

if TYPE_CHECKING:  # measuring takes long to import
    from vcmbench.measure.run import MeasureRun
    from vcmbench.report.ledger import Margins

_NOT_PRINTED = ("configuration", "row", "column", "width_px", "height_px")
_EXAMPLES = """\
examples:
  vcmbench blocks -d vcmbench-demo/data -s demo
  vcmbench blocks -d data -s my.toml --where "lost >= 50 and class = 'person'"
  vcmbench blocks -d data -s my.toml --where "bits >= 2000" --order bits
  vcmbench blocks -d data -s my.toml --pictures lost

After vcmbench metrics. Columns: coded_by, configuration (its folder), picture, row, column, x_px, y_px, width_px,
height_px, bits (of JPEG and kvazaar at full size), qp (that a map gave), importance (0..1), psnr_y_db, class (in the
pristine picture's prediction), lost_px, lost (per cent of the block's pixels that are predicted otherwise), margin (by
--margin, 0..1: how far the network's first class leads the second on the pristine picture). --where and --order are SQL
on them.
All blocks lie in DATA/results/<experiment>/ledger/, a Parquet file a configuration and size.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    which.add_which(parser)
    parser.add_argument("--size", type=positive_int, default=32, metavar="PX",
                        help="side of a block (default: %(default)s)")  # fmt: skip
    parser.add_argument("--where", metavar="SQL",
                        help="only blocks of which this holds (default: lost_px > 0; where nothing says which pixels "
                        "are lost, all)")  # fmt: skip
    parser.add_argument("--order", metavar="SQL",
                        help="largest of this first (default: lost_px, else how far PSNR is below 100 dB)")  # fmt: skip
    parser.add_argument("-n", type=positive_int, default=20, metavar="N",
                        help="so many of them (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write the decoded pictures with these blocks marked"
    )
    parser.add_argument("--margin", action="store_true",
                        help="ask the network, too: by how much its first class leads the second on the pristine "
                        "picture (segmentation)")  # fmt: skip
    parser.add_argument("--skip-missing", action="store_true", help="where some bitstreams are not there")
    parser.add_argument("--json", action="store_true", help="one JSON object a block on stdout, no table")
    table.add_option(parser)
    runners.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    check_packages()
    from vcmbench.analysis.run import recalled
    from vcmbench.measure.outcome import MeasureSettings
    from vcmbench.measure.run import MeasureRun
    from vcmbench.report import ledger

    wanted, root = which.wanted(arguments), open_root(arguments.data)
    runner = runners.choose(arguments, wanted.encoders(), Store(root, wanted.name).any_runner())
    settings = MeasureSettings(skip_missing=arguments.skip_missing)
    this = MeasureRun(wanted, arguments.data, runner, settings, which.changed(arguments.config, arguments))
    for line in this.warnings:
        print(f"warning: {line}", file=sys.stderr)
    summary = recalled(this).summary
    try:
        with Progress(len(summary.points), "configuration") as progress:
            paths = ledger.write(this, summary, arguments.size, progress.advance, _asked(this, arguments))
        says_lost = summary.kind is not None and summary.kind.has_label_pictures
        where = arguments.where or ("lost_px > 0" if says_lost else "1")
        order = arguments.order or ("lost_px" if says_lost else "100 - psnr_y_db")
        found, count = ledger.select(paths, where, order, arguments.n)
        rows = [dict(zip(ledger.COLUMNS, row, strict=True)) for row in found]
        _print(rows, as_json=arguments.json)
        tables = this.store.folder / ledger.FOLDER
        say(f"{len(rows)} of {count} blocks of {arguments.size}x{arguments.size} px; all: {tables}")
        if arguments.pictures is not None:
            _draw(this, rows, arguments.pictures)
    except OSError as error:
        raise JobError(f"{error.filename or this.store.folder}: {error.strerror or error}") from None
    return 0


def _asked(run: MeasureRun, arguments: argparse.Namespace) -> Margins | None:
    """The task's network, where margins are wanted."""
    if not arguments.margin:
        return None
    from vcmbench.tasks.sensitivity import SegmentationSensitivity

    if (task := run.experiment.task) is None or task.predictions == "files":
        raise RequestError("--margin: the experiment has no [task] whose network could be asked")
    try:
        return SegmentationSensitivity(task)
    except RequestError as error:
        why = str(error).removeprefix('source "task": ')
        raise RequestError(f"--margin: {why}") from None


def _print(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False, allow_nan=False))
        return
    shown = [name for name in rows[0] if name not in _NOT_PRINTED] if rows else ["coded_by", "picture"]
    folder = os.path.commonpath([os.path.dirname(row["picture"]) for row in rows]) if rows else ""
    short = [row | {"picture": row["picture"][len(folder) :].lstrip("/")} for row in rows]
    cells = [tuple(_cell(row[name]) for name in shown) for row in short]
    print(table.render(shown, cells))


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _draw(run: MeasureRun, rows: list[dict[str, Any]], folder: Path) -> None:
    """A picture each of those that the blocks are of, decoded again, with frames around them."""
    marked: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        marked[row["configuration"], row["picture"]].append(row)
    folder.mkdir(parents=True, exist_ok=True)
    for unit in run.units:
        if not any((unit.folder, str(source.name)) in marked for source in unit.sources):
            continue
        for source, decoded in zip(unit.sources, decode.decode(unit.record, run.data.root, run.runner), strict=True):
            blocks = marked.get((unit.folder, str(source.name)))
            if blocks:
                picture = Image.fromarray(decoded)
                draw = ImageDraw.Draw(picture)
                for row in blocks:
                    x, y = row["x_px"], row["y_px"]
                    draw.rectangle((x, y, x + row["width_px"] - 1, y + row["height_px"] - 1), outline=(255, 0, 255))
                path = folder / unit.folder / f"{source.name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
    say(f"pictures: {folder}")
