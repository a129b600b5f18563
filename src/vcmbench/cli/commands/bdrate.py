"""What one encoder saves against another: BD-rate and BD-accuracy."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import __version__
from vcmbench.analysis import bdrate
from vcmbench.analysis.bdrate import METHODS, Curve, Delta
from vcmbench.analysis.curves import ImageJackknife, curve
from vcmbench.cli import table, terminal
from vcmbench.cli.argtypes import GROUPS_HELP, add_intervals, pattern
from vcmbench.cli.curve_table import PICTURE, RATE, RATE_OVER_TIME, SUMS, Columns, CurveTable, Row, number_in, read
from vcmbench.data import effort, sums
from vcmbench.data.effort import Effort
from vcmbench.data.jackknife import units_of
from vcmbench.errors import RequestError
from vcmbench.io.progress import Progress

_EXAMPLES = """\
examples:
  vcmbench bdrate vcmbench-demo/photos/results/photos/compression.csv \\
      --quality psnr_y_db
  vcmbench bdrate DATA/results/mine/compression.csv --quality psnr_y_db \\
      --anchor x265 --test vvenc
  vcmbench bdrate curves.csv --group codec --rate kbps \\
      --quality miou --method akima

TABLE.csv has a row a point, with the names of its columns in the first line. A table that `vcmbench compress` wrote has
a row a picture: these are made points first, rate all bits over all pixels (of sequences with `--rate rate_kbps`: over
their time), quality the mean over pictures. They also give intervals, 95 %. An encoder with several subsampling
factors, presets, maps and so on is several curves, each named after what it differs in. So is one with several values
in a column of text, such as a sequence; by themselves, curves of different ones are not compared.

A delta needs 4 points a curve, quality that rises with the rate, and curves that overlap; where it cannot be computed
the reason is printed. docs/statistics.md says what each figure is.

exit codes: 0 done (what is not computable is said so), 2 the request was wrong
"""


@dataclass(frozen=True)
class Pair:
    """Both deltas of a test against an anchor, and what was left out on the way."""

    anchor: str
    test: str
    rate: Delta
    accuracy: Delta
    notes: tuple[str, ...]
    anchor_effort: Effort | None = None
    test_effort: Effort | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Bjontegaard deltas between the curves of a table: how much less rate the same quality needs, and "
        "how much more quality the same rate gives."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("table", type=Path, metavar="TABLE.csv", help="a row a point, or a row a picture")
    parser.add_argument("--quality", required=True, metavar="COLUMN", help="the accuracy or quality")
    parser.add_argument("--rate", default=RATE, metavar="COLUMN", help="the rate (default: %(default)s)")
    parser.add_argument(
        "--group", default="encoder", metavar="COLUMN", help="what names the curves (default: %(default)s)"
    )
    parser.add_argument("--anchor", metavar="NAME", help="the curve to compare with; without it all pairs")
    parser.add_argument("--test", nargs="+", metavar="NAME", help="the curves to compare (default: all others)")
    parser.add_argument(
        "--where", nargs="+", default=[], metavar="COLUMN=VALUE[,VALUE..]", help="rows with these values only"
    )
    parser.add_argument("--method", choices=METHODS, default=METHODS[0], help="interpolation (default: %(default)s)")
    parser.add_argument("--lower-is-better", action="store_true", help="quality is a loss or a distance")
    parser.add_argument("--groups", metavar="PATTERN", type=pattern, help=GROUPS_HELP)
    add_intervals(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON, no table")
    table.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.test and not arguments.anchor:
        raise RequestError("--test: what it is compared with is missing; name it with --anchor")
    columns = Columns(arguments.rate, arguments.quality, arguments.group, arguments.where)
    found = read(arguments.table, columns)
    for _, path, why in sums.damages(arguments.table.parent, {arguments.table.name}):
        print(f"warning: {path}: {why}", file=sys.stderr)
    chosen = found.pairs(arguments.anchor, arguments.test or ())
    pairs = []
    with Progress(len(chosen), "pair") as progress:
        for anchor, test in chosen:
            pairs.append(_compare(anchor, test, found, arguments))
            progress.advance(f"{test} against {anchor}")
    if arguments.json:
        keys = ("rate", "quality", "group", "where", "method", "intervals", "groups")
        about = {"schema_version": 1, "version": __version__, "table": arguments.table.name}
        about |= {key: getattr(arguments, key) for key in keys} | {"higher_is_better": not arguments.lower_is_better}
        print(json.dumps({"vcmbench": about, "pairs": [_as_json(pair) for pair in pairs]}, allow_nan=False))
    else:
        print(_rendered(pairs, found, arguments))
    return 0


def _compare(anchor: str, test: str, found: CurveTable, arguments: argparse.Namespace) -> Pair:
    notes: list[str] = []
    make = _of_pictures if found.is_pictures else _of_points
    curves = [_complete(curve, arguments.quality, notes) for curve in make((anchor, test), found, arguments, notes)]
    method, higher = arguments.method, not arguments.lower_is_better
    rate = bdrate.bd_rate(curves[0], curves[1], method, higher)
    accuracy = bdrate.bd_accuracy(curves[0], curves[1], method, higher)
    efforts = (found.curves[name].effort for name in (anchor, test))
    return Pair(anchor, test, rate, accuracy, tuple(notes), *efforts)


def _column(rows: Sequence[Row], column: str) -> NDArray[np.float64]:
    return np.array([number_in(row, column) for row in rows], np.float64)


def _of_points(
    names: tuple[str, str], found: CurveTable, arguments: argparse.Namespace, notes: list[str]
) -> Iterator[Curve]:
    for name in names:
        rows = [row for own in found.curves[name].points.values() for row in own]
        rates, qualities = _column(rows, arguments.rate), _column(rows, arguments.quality)
        yield Curve(rates, qualities, tuple(found.curves[name].points), label=name, lacking="the table has no pictures")


def _of_pictures(
    names: tuple[str, str], found: CurveTable, arguments: argparse.Namespace, notes: list[str]
) -> Iterator[Curve]:
    """Both curves over the pictures that all of their points have, because points of other pictures do not compare."""
    points = [{row[PICTURE]: row for row in rows} for name in names for rows in found.curves[name].points.values()]
    pictures = [picture for picture in points[0] if all(picture in point for point in points)]
    total = len({picture for point in points for picture in point})
    if len(pictures) < total:
        notes.append(f"{' and '.join(names)}: {len(pictures)} of {total} pictures are in all of their points and count")
    if not pictures:
        yield from (Curve(np.empty(0), np.empty(0), label=name) for name in names)
        return
    rows = [[point[picture] for picture in pictures] for point in points]
    size, width, height, frames, quality, rates = (
        np.array([_column(point, column) for point in rows]) for column in (*SUMS, arguments.quality, arguments.rate)
    )
    jackknife = ImageJackknife(units_of(pictures, arguments.groups), arguments.intervals)
    spread = width * height * frames
    if arguments.rate == RATE_OVER_TIME:
        # a sequence lasts as long as its bits take at its rate; without a rate the point is left out
        spread = np.divide(8 * size, rates, out=np.full_like(rates, np.nan), where=rates > 0)
    rate, mean = jackknife.ratio(8 * size, spread), jackknife.ratio(quality * frames, frames)
    start = 0
    for name in names:
        chosen = range(start, start := start + len(found.curves[name].points))
        own = curve(rate, mean, chosen, [""] * chosen.start + list(found.curves[name].points))
        yield replace(own, label=name)


def _complete(curve: Curve, quality: str, notes: list[str]) -> Curve:
    """The curve without the points whose quality or rate is missing, which are told."""
    kept = np.flatnonzero(~np.isnan(curve.qualities) & ~np.isnan(curve.rates))
    if len(kept) == len(curve.rates):
        return curve
    gone = ", ".join(curve.point(i) for i in range(len(curve.rates)) if i not in kept)
    notes.append(f"{curve.label}: left out, because {quality} or rate is missing there: {gone}")
    return curve.only(kept)


def _rendered(pairs: Sequence[Pair], found: CurveTable, arguments: argparse.Namespace) -> str:
    quality = f"BD-{arguments.quality}"
    has_efforts = any(pair.anchor_effort or pair.test_effort for pair in pairs)
    header = ("anchor", "test", "points", "BD-rate %", *(table.EFFORT if has_efforts else ()), "overlap", quality,
              "overlap")  # fmt: skip
    rows: list[tuple[str, ...]] = []
    remarks: dict[str, dict[str, list[str]]] = {}
    for pair in pairs:
        rate, overlap = _cells(pair.rate, ".2f")
        efforts = table.of_effort(pair.anchor_effort, pair.test_effort) if has_efforts else ()
        rows.append((pair.anchor, pair.test, "{}, {}".format(*pair.rate.points), rate, *efforts, overlap,
                     *_cells(pair.accuracy, ".4g")))  # fmt: skip
        for delta, what in ((pair.rate, "BD-rate"), (pair.accuracy, quality)):
            for remark in (delta.estimate.reason, delta.note):
                if remark:
                    remarks.setdefault(remark, {}).setdefault(f"{pair.anchor} - {pair.test}", []).append(what)
        for note in pair.notes:
            remarks.setdefault(note, {})
    lines = [table.render(header, rows), ""]
    lines += [f"{remark}{_where(places)}" for remark, places in remarks.items()]
    if found.is_pictures:
        over = "the time of all sequences" if arguments.rate == RATE_OVER_TIME else "all pixels"
        lines.append(f"rows are pictures: rates are all bits over {over}, {arguments.quality} is the mean")
    lines.append(f"BD-rate: below 0 the test needs less rate; interpolated by {arguments.method}")
    worked = (((pair.anchor, pair.anchor_effort), (pair.test, pair.test_effort)) for pair in pairs)
    if warning := effort.warning(worked):
        lines.append(terminal.wrapped(f"! {warning}", "  "))
    return "\n".join(lines)


def _where(places: dict[str, list[str]]) -> str:
    """Which figures a remark is about."""
    told = [f"{' and '.join(whats)} of {pair}" for pair, whats in places.items()]
    return f" ({told[0] if len(told) == 1 else f'{len(told)} pairs'})" if told else ""


def _cells(delta: Delta, form: str) -> tuple[str, str]:
    """The figure with its interval, and the overlap."""
    return f"{delta.estimate:+{form}}", "-" if delta.overlap is None else f"{delta.overlap:.0%}"


def _as_json(pair: Pair) -> dict[str, Any]:
    """The pair, with the figures beside what else is known of them."""
    found = asdict(pair)
    for key in ("rate", "accuracy"):
        estimate = found[key].pop("estimate")
        found[key] |= {name: estimate[name] for name in ("value", "low", "high", "reason")}
    return found
