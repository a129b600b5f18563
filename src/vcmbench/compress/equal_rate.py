"""What a QP map gained: mapped against uniform at equal rate, picture by picture, with intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from statistics import fmean
from typing import Any

import numpy as np

from vcmbench.data.estimate import Estimate, interval
from vcmbench.data.jackknife import Grouping, Jackknife
from vcmbench.encoder.configuration import options_in

FIELDS = (
    "encoder", "quality", "color_subsampling", "subsampling_factor", "options", "method", "pictures",
    "pictures_at_equal_rate", "mean_size_error", "pictures_with_important_pixels", "inside_db", "inside_low_db",
    "inside_high_db", "outside_db", "outside_low_db", "outside_high_db",
)  # fmt: skip


@dataclass(frozen=True)
class Gain:
    """One picture: how far the sizes are apart, and PSNR-Y mapped minus uniform, where it matters and elsewhere.

    None where nothing lies there, or nothing differs from the pristine picture.
    """

    size_error: float
    is_equal: bool
    inside_db: float | None
    outside_db: float | None


def of_record(record: dict[str, Any]) -> Gain | None:
    """The gain that a record holds; None where it is no comparison at equal rate."""
    uniform, search = record.get("uniform"), record.get("rate_search")
    if not record.get("match_rate") or not isinstance(uniform, dict) or not isinstance(search, dict):
        return None
    regions = record.get("region"), uniform.get("region")
    if not all(isinstance(region, dict) for region in regions):
        return None

    def change(where: str) -> float | None:
        mapped, plain = (region.get(f"psnr_y_{where}_db") for region in regions if region)
        return None if mapped is None or plain is None else mapped - plain

    return Gain(search["size_error"], search["is_equal"], change("inside"), change("outside"))


def mean_of(values: Sequence[float | None], units: Sequence[str], what: str) -> Estimate:
    """The mean over pictures, both of whose encodes come together, so that what pictures differ in does not widen the
    interval. `units` says which belong together, `what` calls one."""
    known = [(value, unit) for value, unit in zip(values, units, strict=True) if value is not None]
    if not known:
        return Estimate(n=0, reason="no picture has one")
    gains, jackknife = np.array([value for value, _ in known]), Jackknife([unit for _, unit in known], what)
    return interval(Estimate(float(gains.mean()), n=len(known)), jackknife.means(gains), jackknife.lacking)


@dataclass(frozen=True)
class EqualRateRow:
    """One coding configuration's comparison. Only pictures whose sizes are equal count."""

    encoder: str
    quality: int | None
    color_subsampling: str
    subsampling_factor: float
    options: str
    method: str
    pictures: int
    equal: int
    size_error: float
    inside: Estimate
    outside: Estimate


class EqualRate:
    """Gathers the records of an experiment, configuration by configuration."""

    def __init__(self, grouping: Grouping) -> None:
        self._grouping = grouping
        self._found: dict[str, tuple[dict[str, Any], list[tuple[str, Gain]]]] = {}

    def add(self, record: dict[str, Any]) -> None:
        """Take note of a record that compares at equal rate; pass over all others."""
        gain = of_record(record)
        if gain is not None:
            folder = PurePosixPath(record["bitstream"]).parts[0]
            kept = {name: record[name] for name in FIELDS[:4]} | {"method": record["map"]["method"]}
            self._found.setdefault(folder, (kept, []))[1].append((record["sources"][0]["name"], gain))

    def rows(self) -> list[EqualRateRow]:
        """A row a configuration."""
        return [self._row(folder, *found) for folder, found in self._found.items()]

    def _row(self, folder: str, kept: dict[str, Any], gains: list[tuple[str, Gain]]) -> EqualRateRow:
        equal = [gain for _, gain in gains if gain.is_equal]
        names = [name for name, gain in gains if gain.is_equal]
        units, what = self._grouping.units(names), self._grouping.called(names)
        error = fmean(gain.size_error for gain in equal) if equal else 0.0
        inside = mean_of([gain.inside_db for gain in equal], units, what)
        outside = mean_of([gain.outside_db for gain in equal], units, what)
        named = {name: kept[name] for name in FIELDS[:4]}
        return EqualRateRow(**named, options=options_in(folder), method=kept["method"], pictures=len(gains),
                            equal=len(equal), size_error=error, inside=inside, outside=outside)  # fmt: skip


def as_csv(rows: Iterable[EqualRateRow]) -> bytes:
    """The rows as a table, `equal_rate.csv`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow(
            (
                row.encoder, row.quality, row.color_subsampling, row.subsampling_factor, row.options, row.method,
                row.pictures, row.equal, row.size_error, row.inside.n,
                row.inside.value, row.inside.low, row.inside.high, row.outside.value, row.outside.low, row.outside.high,
            )
        )  # fmt: skip
    return text.getvalue().encode()
