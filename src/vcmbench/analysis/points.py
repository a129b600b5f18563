"""The coding points as a table: rate, the machine's measures with their intervals, and the metrics' means.

One row a point, as `vcmbench bdrate` takes it: `--rate rate_bpp --quality miou_pseudo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vcmbench.analysis import tables
from vcmbench.analysis.summary import Summary
from vcmbench.data.store import Store
from vcmbench.measure.records import AGAINST
from vcmbench.tasks.kind import Kind

NAME = "points"
_WHO = ("configuration", "encoder", "quality", "color_subsampling", "subsampling_factor", "options", "pictures")


def columns(names: Sequence[str], kind: Kind) -> list[str]:
    """The columns: `_low` and `_high` are the ends of 95 % intervals."""
    measures = [f"{name}_{against}" for against in AGAINST for name in kind.measures]
    told = [f"{measure}{ending}" for measure in measures for ending in ("", "_low", "_high")]
    return [*_WHO, "rate_bpp", *told, *names]


def write(store: Store, summary: Summary, names: Sequence[str], kind: Kind) -> None:
    """`points.csv` and `points.parquet` in the experiment's folder."""
    if not summary.images:
        for ending in ("csv", "parquet"):
            store.write_table(f"{NAME}.{ending}", None)
        return
    found = {f"{name}_{against}": values for against in AGAINST if summary.has(against)
             for name, values in summary.measures(against).items()}  # fmt: skip
    means = {name: metric for name in names if not isinstance(metric := summary.metric(name), str)}
    with tables.writing(store, NAME, columns(names, kind)) as add:
        for number, point in enumerate(summary.points):
            row: dict[str, Any] = {
                "configuration": point.folder, "encoder": point.encoder, "quality": point.quality,
                "color_subsampling": point.color_subsampling, "subsampling_factor": point.subsampling_factor,
                "options": point.options, "pictures": len(summary.images),
                "rate_bpp": float(summary.rate.values[number]),
            }  # fmt: skip
            for name, values in found.items():
                told = values.estimate(number)
                row |= {name: told.value, f"{name}_low": told.low, f"{name}_high": told.high}
            add(row | {name: metric.estimate(number).value for name, metric in means.items()})
