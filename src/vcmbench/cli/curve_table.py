"""A table of comma-separated values as rate-quality curves: which rows are one curve, and which two are compared.

A curve is told apart by all that its coding differs in, wherever the table keeps that: in columns of its own, in
`options`, or in the name of a bitstream's folder. Joined curves would give a figure that looks like any other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median

from vcmbench.data.effort import COLUMNS, Effort
from vcmbench.encoder.configuration import options_in
from vcmbench.errors import RequestError
from vcmbench.io.documents import short, short_list
from vcmbench.io.files import read_bounded

PICTURE, SUMS = "source", ("size_bytes", "width_px", "height_px", "frames")
RATE, RATE_OVER_TIME = "rate_bpp", "rate_kbps"
# what makes another curve of one encoder, what another point of a curve, what only names a row, and what was coded
_VARIANT = (
    "color_subsampling", "subsampling_factor", "preset", "compat", "stacked", "qp_map", "match_rate", "parameters",
    "resampler", "options",
)  # fmt: skip
_IN_OPTIONS = ("preset", "qp_map", "match_rate", "parameters", "resampler")
_PLAIN = {"color_subsampling=420", "subsampling_factor=1.0", "subsampling_factor=1", "stacked=False",
          "match_rate=False"}  # fmt: skip
_POINT = ("quality", "qp", "target_bpp")
_LABEL, _CONTENT = "configuration", "sequence"
_MOST_BYTES, _MOST_CELLS = 1 << 28, 1 << 25
_MOST_CURVES = 1000
_NUMBER = ""  # a row's number, for messages: beside its cells, under a name that no column has

Row = dict[str, str]


@dataclass(frozen=True)
class Columns:
    """Which columns hold the rate, the quality, and the name of the encoder; `where` picks rows, COLUMN=VALUE,.."""

    rate: str
    quality: str
    group: str
    where: Sequence[str] = ()


@dataclass(frozen=True)
class CurveRows:
    """A curve of a table: the rows of every point, one or one a picture, by the point's name.

    `coding` names the encoder and what it differs in from its other curves, `plain` without what is so by default;
    `content` is what was coded, where that differs.
    """

    coding: str
    plain: str
    content: str
    points: dict[str, list[Row]]

    @property
    def name(self) -> str:
        return f"{self.coding} {self.content}".strip()

    @property
    def effort(self) -> Effort | None:
        """By the table's columns of presets and seconds, where it has them."""
        used, seconds = COLUMNS
        rows = [row for own in self.points.values() for row in own]
        known = [number for row in rows if seconds in row and (number := number_in(row, seconds) or 0.0) > 0]
        presets = dict.fromkeys(row.get(used, "") for row in rows)
        return Effort(" and ".join(filter(None, presets)), median(known)) if known else None

    def is_called(self, name: str) -> bool:
        """Whether it is of that coding, or of that coding and content; capitals do not count: JPEG is jpeg."""
        return name.casefold() in {
            f"{coding}{content}".strip().casefold()
            for coding in (self.coding, self.plain)
            for content in ("", f" {self.content}")
        }


@dataclass(frozen=True)
class CurveTable:
    """The curves of a table by name."""

    path: Path
    is_pictures: bool
    curves: dict[str, CurveRows]

    def pairs(self, anchor: str | None, tests: Sequence[str]) -> list[tuple[str, str]]:
        """Which curve is compared with which: (anchor, test). Curves of different contents are where both are named.

        Raises RequestError for a name that no curve has, and where there is nothing to compare.
        """
        anchors = self._called(anchor) if anchor else []
        others = [name for test in tests for name in self._called(test)] or list(self.curves)
        if len(self.curves) < 2:
            raise RequestError(
                f"{self.path}: one curve, {short(next(iter(self.curves)))}; a delta needs two: --group tells them apart"
            )
        found = [(one, other) for one in anchors for other in others if one != other]
        found = found if anchor else list(combinations(self.curves, 2))
        alike = [pair for pair in found if self.curves[pair[0]].content == self.curves[pair[1]].content]
        if alike or tests:
            return alike or found
        raise RequestError(f"{self.path}: no two curves are of one content; name both with --anchor and --test")

    def _called(self, wanted: str) -> list[str]:
        """The curve of that name, or those of that coding, one a content."""
        if wanted in self.curves:
            return [wanted]
        found = [name for name, one in self.curves.items() if one.is_called(wanted)]
        if found and len({self.curves[name].content for name in found}) == len(found):
            return found
        raise RequestError(f"{self.path}: no curve {wanted!r}; there are: {short_list(map(repr, self.curves))}")


def read(path: Path, columns: Columns) -> CurveTable:
    """The curves of a table, checked as far as one can without knowing which are wanted. Raises RequestError."""
    header, rows = _rows(path)
    given = (("--rate", columns.rate), ("--quality", columns.quality), ("--group", columns.group))
    conditions = [text.partition("=") for text in columns.where]
    for option, column in [*given, *(("--where", column) for column, _, _ in conditions)]:
        if column not in header:
            raise RequestError(f"{path}: no column {short(column)} ({option}); there are: {short_list(header)}")
    is_pictures = PICTURE in header
    if is_pictures and (columns.rate not in (RATE, RATE_OVER_TIME) or not set(SUMS) <= set(header)):
        raise RequestError(
            f"{path}: has a row a picture; its rate is {RATE}, of sequences also {RATE_OVER_TIME}, and needs columns "
            f"{', '.join(SUMS)}"
        )
    numeric = (columns.rate, columns.quality, *(SUMS if is_pictures else ()))
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise RequestError(f"{path}: row {number} has not as many cells as there are columns ({len(header)})")
        row[_NUMBER] = str(number)
        for column in numeric:
            if number_in(row, column) is None:
                raise RequestError(f"{path}: row {number}, {column}: {short(row[column])} is no number")
    rows = [row for row in rows if all(row[column] in values.split(",") for column, _, values in conditions)]
    if not rows:
        raise RequestError(f"{path}: no row has {' and '.join(columns.where)}")
    return CurveTable(path, is_pictures, _curves(path, rows, header, columns))


def number_in(row: Row, column: str) -> float | None:
    """A cell's number, NaN where it is empty, None where it is none."""
    try:
        return float(row[column] or "nan")
    except ValueError:
        return None


def _rows(path: Path) -> tuple[list[str], list[Row]]:
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
    return header, rows


def _curves(path: Path, rows: Sequence[Row], header: Sequence[str], columns: Columns) -> dict[str, CurveRows]:
    is_pictures = PICTURE in header
    coding, content = _telling_apart(rows, header, columns)
    found: dict[tuple[str, ...], CurveRows] = {}
    seen: dict[tuple[object, ...], str] = {}
    for row in rows:
        group = row[columns.group]
        key = (group, *(row[column] for column in (*coding[group], *content)))
        if key not in found:
            words = _words(row, coding[group])
            plain = [word for word in words if word not in _PLAIN]
            found[key] = CurveRows(" ".join([group, *words]), " ".join([group, *plain]),
                                   " ".join(_words(row, content)), {})  # fmt: skip
        which = " ".join(_words(row, [one for one in _POINT if one in header and one != columns.quality]))
        if is_pictures or which:
            twice = seen.setdefault((key, which, row.get(PICTURE)), row[_NUMBER])
            if twice != row[_NUMBER]:
                what = "picture and configuration" if is_pictures else f"curve and {which}"
                raise RequestError(
                    f"{path}: rows {twice} and {row[_NUMBER]} are of one {what}; pick one with --where, leave one "
                    "out, or say what sets them apart in a column of words"
                )
        point = (which or "the point without quality") if is_pictures else f"row {row[_NUMBER]}"
        found[key].points.setdefault(point, []).append(row)
    if len(found) > _MOST_CURVES:
        raise RequestError(
            f"{path}: has {len(found)} curves by {short(columns.group)}, at most {_MOST_CURVES} are compared; pick "
            "some with --where, or name what tells curves apart with --group"
        )
    return {one.name: one for one in found.values()}


def _telling_apart(
    rows: Sequence[Row], header: Sequence[str], columns: Columns
) -> tuple[dict[str, list[str]], list[str]]:
    """For each encoder the columns that set its codings apart, and those of all that say what was coded.

    Of a table of points, every column of words that several rows share is of the second sort.
    """
    known = list(_VARIANT)
    is_pictures = PICTURE in header
    if is_pictures and any(options_in(row.get("bitstream", "").partition("/")[0]) for row in rows):
        # the folder's name has all that a coding was, also what has no column
        for row in rows:
            row["options"] = options_in(row["bitstream"].partition("/")[0])
        header = [*header, "options"]
        known = [column for column in _VARIANT if column not in _IN_OPTIONS]
    for row in rows:  # the rates that were searched are points of one curve
        if "options" in row:
            words = row["options"].split()
            row["options"] = " ".join("at set rates" if word.startswith("target_bpp=") else word for word in words)
    taken = {columns.group, columns.quality, columns.rate}
    coding = [column for column in known if column in header and column not in taken]
    content = [] if is_pictures else [
        column for column in header if column not in {*taken, *_VARIANT, *_POINT, _LABEL, *COLUMNS}
        and (column == _CONTENT or _is_shared_text(rows, column))
    ]  # fmt: skip
    differing = {column for one in _differing(rows, columns.group, content).values() for column in one}
    return _differing(rows, columns.group, coding), [column for column in content if column in differing]


def _is_shared_text(rows: Sequence[Row], column: str) -> bool:
    """Whether a column holds words that several rows share: not figures, nor names of single rows."""
    values = {row[column] for row in rows}
    return len(values) < len(rows) and any(number_in(row, column) is None for row in rows)


def _differing(rows: Sequence[Row], group: str, columns: Sequence[str]) -> dict[str, list[str]]:
    """For each value of the group, the columns that are not the same in all of its rows."""
    seen: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        values = seen.setdefault(row[group], {column: set() for column in columns})
        for column in columns:
            values[column].add(row[column])
    return {name: [column for column in columns if len(values[column]) > 1] for name, values in seen.items()}


def _words(row: Mapping[str, str], columns: Sequence[str]) -> list[str]:
    """What a row's cells there say; an empty one goes without saying."""
    return [row[column] if column == "options" else f"{column}={row[column]}" for column in columns if row[column]]
