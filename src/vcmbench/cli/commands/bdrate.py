"""What one encoder saves against another: BD-rate and BD-accuracy."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import __version__
from vcmbench.analysis import bdrate
from vcmbench.analysis.bdrate import METHODS, Curve, Delta
from vcmbench.analysis.curves import ImageDraws, curve
from vcmbench.analysis.draws import check_resamples
from vcmbench.cli import table
from vcmbench.cli.argtypes import whole_number
from vcmbench.errors import RequestError
from vcmbench.io.documents import short, short_list
from vcmbench.io.files import read_bounded

# columns of the compress step's table: what makes another curve of one encoder, and what another point of a curve
_VARIANT = (
    "color_subsampling", "subsampling_factor", "preset", "compat", "stacked", "qp_map", "match_rate", "parameters",
)  # fmt: skip
_POINT = ("quality", "target_bpp")
_PICTURE, _SUMS = "source", ("size_bytes", "width_px", "height_px", "frames")
_RATE = "rate_bpp"
_MOST_BYTES, _MOST_CELLS = 1 << 28, 1 << 25
_MOST_CURVES = 1000
_NUMBER = ""  # a row's number, for messages: beside its cells, under a name that no column has
_EXAMPLES = """\
examples:
  vcmbench bdrate vcmbench-demo/photos/results/photos/compression.csv --quality psnr_y_db
  vcmbench bdrate DATA/results/mine/compression.csv --quality psnr_y_db --anchor x265 --test vvenc
  vcmbench bdrate curves.csv --group codec --rate kbps --quality miou --method akima

TABLE.csv has a row a point, with the names of its columns in the first line. A table that `vcmbench compress` wrote has
a row a picture: these are made points first, rate all bits over all pixels, quality the mean over pictures. They also
give intervals, 95 %, by a bootstrap over pictures. An encoder with several subsampling factors, presets, maps and so on
there is several curves, each named after what it differs in.

A delta needs 4 points a curve, quality that rises with the rate, and curves that overlap; where it cannot be computed
the reason is printed. docs/statistics.md says what each figure is.

exit codes: 0 done (what is not computable is said so), 2 the request was wrong
"""

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """The curves of a table by name; of each, the rows of every point, one or one a picture, by the point's name."""

    is_pictures: bool
    curves: dict[str, dict[str, list[Row]]]


@dataclass(frozen=True)
class Pair:
    """Both deltas of a test against an anchor, and what was left out on the way."""

    anchor: str
    test: str
    rate: Delta
    accuracy: Delta
    notes: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Bjontegaard deltas between the curves of a table: how much less rate the same quality needs, and "
        "how much more quality the same rate gives."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("table", type=Path, metavar="TABLE.csv", help="a row a point, or a row a picture")
    parser.add_argument("--quality", required=True, metavar="COLUMN", help="the accuracy or quality")
    parser.add_argument("--rate", default=_RATE, metavar="COLUMN", help="the rate (default: %(default)s)")
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
    parser.add_argument(
        "--bootstrap", type=whole_number, default=1000, metavar="N",
        help="resamples of pictures; 0 for no intervals (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="of the resamples (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON, no table")
    table.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    check_resamples(arguments.bootstrap)
    if arguments.test and not arguments.anchor:
        raise RequestError("--test: what it is compared with is missing; name it with --anchor")
    found = _read(arguments)
    pairs = [_compare(anchor, test, found, arguments) for anchor, test in _chosen(found, arguments)]
    if arguments.json:
        keys = ("rate", "quality", "group", "where", "method", "bootstrap", "seed")
        about = {"schema_version": 1, "version": __version__, "table": arguments.table.name}
        about |= {key: getattr(arguments, key) for key in keys} | {"higher_is_better": not arguments.lower_is_better}
        print(json.dumps({"vcmbench": about, "pairs": [_as_json(pair) for pair in pairs]}, allow_nan=False))
    else:
        print(_rendered(pairs, found, arguments))
    return 0


def _read(arguments: argparse.Namespace) -> Table:
    """The table, checked as far as one can without knowing which curves are wanted."""
    path: Path = arguments.table
    content = read_bounded(path, _MOST_BYTES)
    if (cells := content.count(b",") + content.count(b"\n")) > _MOST_CELLS:
        raise RequestError(f"{path}: has {cells} cells, the most that are read are {_MOST_CELLS}; split it")
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        rows: list[Row] = list(reader)
        header = list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path}: is no table of comma-separated values in UTF-8: {error}") from None
    if not rows:
        raise RequestError(f"{path}: holds no rows; a line of columns' names and a row a point are needed")
    if len(set(header)) < len(header):
        raise RequestError(f"{path}: two columns have the same name: {short_list(header)}")
    wanted = [("--rate", arguments.rate), ("--quality", arguments.quality), ("--group", arguments.group)]
    conditions = [text.partition("=") for text in arguments.where]
    for option, column in [*wanted, *(("--where", column) for column, _, _ in conditions)]:
        if column not in header:
            raise RequestError(f"{path}: no column {short(column)} ({option}); there are: {short_list(header)}")
    is_pictures = _PICTURE in header
    if is_pictures and (arguments.rate != _RATE or not set(_SUMS) <= set(header)):
        raise RequestError(f"{path}: has a row a picture; its rate is {_RATE} and needs columns {', '.join(_SUMS)}")
    numeric = (arguments.rate, arguments.quality, *(_SUMS if is_pictures else ()))
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise RequestError(f"{path}: row {number} has not as many cells as there are columns ({len(header)})")
        row[_NUMBER] = str(number)
        for column in numeric:
            if _number(row, column) is None:
                raise RequestError(f"{path}: row {number}, {column}: {short(row[column])} is no number")
    rows = [row for row in rows if all(row[column] in values.split(",") for column, _, values in conditions)]
    if not rows:
        raise RequestError(f"{path}: no row has {' and '.join(arguments.where)}")
    return Table(is_pictures, _curves(rows, header, arguments, is_pictures))


def _number(row: Row, column: str) -> float | None:
    """A cell's number, NaN where it is empty, None where it is none."""
    try:
        return float(row[column] or "nan")
    except ValueError:
        return None


def _curves(
    rows: Sequence[Row], header: Sequence[str], arguments: argparse.Namespace, is_pictures: bool
) -> dict[str, dict[str, list[Row]]]:
    group = arguments.group
    variants = [column for column in _VARIANT if column in header and column != group]
    seen: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        values = seen.setdefault(row[group], {column: set() for column in variants})
        for column in variants:
            values[column].add(row[column])
    differing = {name: [column for column in variants if len(values[column]) > 1] for name, values in seen.items()}
    pictures: dict[tuple[str, str, str], str] = {}
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        name = " ".join([row[group], *(f"{column}={row[column] or '-'}" for column in differing[row[group]])])
        point = (
            " ".join(f"{column}={row[column]}" for column in _POINT if row.get(column)) or "the point without quality"
        )
        point = point if is_pictures else f"row {row[_NUMBER]}"
        own = found.setdefault(name, {}).setdefault(point, [])
        if is_pictures and (twice := pictures.setdefault((name, point, row[_PICTURE]), row[_NUMBER])) != row[_NUMBER]:
            raise RequestError(
                f"{arguments.table}: rows {twice} and {row[_NUMBER]} are of one picture and configuration; "
                "pick one with --where, or leave one out"
            )
        own.append(row)
    if len(found) > _MOST_CURVES:
        raise RequestError(
            f"{arguments.table}: has {len(found)} curves by {short(group)}, at most {_MOST_CURVES} are compared; pick "
            "some with --where, or name what tells curves apart with --group"
        )
    return found


def _chosen(found: Table, arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Which curve is compared with which: (anchor, test)."""
    names = list(found.curves)
    anchor = _named(arguments.anchor or names[0], names, arguments.table)
    tests = [_named(name, names, arguments.table) for name in arguments.test or ()]
    if len(names) < 2:
        raise RequestError(
            f"{arguments.table}: one curve, {short(names[0])}; a delta needs two: --group tells them apart"
        )
    if arguments.anchor is None:
        return list(combinations(names, 2))
    return [(anchor, test) for test in tests or [name for name in names if name != anchor]]


def _named(wanted: str, names: Sequence[str], table: Path) -> str:
    """The curve of that name, or the only one that differs in its capitals: tables say JPEG and jpeg.

    Raises RequestError where there is none.
    """
    alike = [name for name in names if name.casefold() == wanted.casefold()]
    if wanted in names or len(alike) == 1:
        return wanted if wanted in names else alike[0]
    raise RequestError(f"{table}: no curve {wanted!r}; there are: {short_list(map(repr, names))}")


def _compare(anchor: str, test: str, found: Table, arguments: argparse.Namespace) -> Pair:
    notes: list[str] = []
    make = _of_pictures if found.is_pictures else _of_points
    curves = [_complete(curve, arguments.quality, notes) for curve in make((anchor, test), found, arguments, notes)]
    method, higher = arguments.method, not arguments.lower_is_better
    rate = bdrate.bd_rate(curves[0], curves[1], method, higher)
    return Pair(anchor, test, rate, bdrate.bd_accuracy(curves[0], curves[1], method, higher), tuple(notes))


def _column(rows: Sequence[Row], column: str) -> NDArray[np.float64]:
    return np.array([_number(row, column) for row in rows], np.float64)


def _of_points(
    names: tuple[str, str], found: Table, arguments: argparse.Namespace, notes: list[str]
) -> Iterator[Curve]:
    for name in names:
        rows = [row for own in found.curves[name].values() for row in own]
        rates, qualities = _column(rows, arguments.rate), _column(rows, arguments.quality)
        yield Curve(rates, qualities, tuple(found.curves[name]), label=name, lacking="the table has no pictures")


def _of_pictures(
    names: tuple[str, str], found: Table, arguments: argparse.Namespace, notes: list[str]
) -> Iterator[Curve]:
    """Both curves over the pictures that all of their points have, because points of other pictures do not compare."""
    points = [{row[_PICTURE]: row for row in rows} for name in names for rows in found.curves[name].values()]
    pictures = [picture for picture in points[0] if all(picture in point for point in points)]
    total = len({picture for point in points for picture in point})
    if len(pictures) < total:
        notes.append(f"{' and '.join(names)}: {len(pictures)} of {total} pictures are in all of their points and count")
    if not pictures:
        yield from (Curve(np.empty(0), np.empty(0), label=name) for name in names)
        return
    rows = [[point[picture] for picture in pictures] for point in points]
    size, width, height, frames, quality = (
        np.array([_column(point, column) for point in rows]) for column in (*_SUMS, arguments.quality)
    )
    draws = ImageDraws(len(pictures), arguments.bootstrap, arguments.seed)
    rate, mean = draws.ratio(8 * size, width * height * frames), draws.ratio(quality * frames, frames)
    start = 0
    for name in names:
        chosen = range(start, start := start + len(found.curves[name]))
        own = curve(rate, mean, chosen, [""] * chosen.start + list(found.curves[name]))
        yield replace(own, label=name)


def _complete(curve: Curve, quality: str, notes: list[str]) -> Curve:
    """The curve without the points whose quality or rate is missing, which are told."""
    kept = np.flatnonzero(~np.isnan(curve.qualities) & ~np.isnan(curve.rates))
    if len(kept) == len(curve.rates):
        return curve
    gone = ", ".join(curve.point(i) for i in range(len(curve.rates)) if i not in kept)
    notes.append(f"{curve.label}: left out, because {quality} or rate is missing there: {gone}")
    return curve.only(kept)


def _rendered(pairs: Sequence[Pair], found: Table, arguments: argparse.Namespace) -> str:
    header = ("anchor", "test", "points", "BD-rate %", "overlap", f"BD-{arguments.quality}", "overlap")
    rows: list[tuple[str, ...]] = []
    remarks: dict[str, dict[str, list[str]]] = {}
    for pair in pairs:
        cells = [*_cells(pair.rate, ".2f"), *_cells(pair.accuracy, ".4g")]
        rows.append((pair.anchor, pair.test, "{}, {}".format(*pair.rate.points), *cells))
        for delta, what in ((pair.rate, "BD-rate"), (pair.accuracy, header[5])):
            for remark in (delta.estimate.reason, delta.note):
                if remark:
                    remarks.setdefault(remark, {}).setdefault(f"{pair.anchor} - {pair.test}", []).append(what)
        for note in pair.notes:
            remarks.setdefault(note, {})
    lines = [table.render(header, rows), ""]
    lines += [f"{remark}{_where(places)}" for remark, places in remarks.items()]
    if found.is_pictures:
        lines.append(f"rows are pictures: rates are all bits over all pixels, {arguments.quality} is the mean")
    lines.append(f"BD-rate: below 0 the test needs less rate; interpolated by {arguments.method}")
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
