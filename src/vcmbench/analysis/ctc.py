"""One row a sequence and configuration, as the sheets of common test conditions take it: rate, quality, times."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from vcmbench.analysis.summary import Summary
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.records import AGAINST

Row = dict[str, Any]
_OF_RECORD = ("frames", "fps", "rate_kbps", "rate_bpp", "psnr_y_db", "encode_s", "decode_s")
COLUMNS = ("sequence", "encoder", "configuration", "quality", *_OF_RECORD)
"""Those that every row has: `configuration` is the curve that a point is on, times are of the whole sequence."""


def rows(units: Sequence[Unit], summary: Summary | None, metrics: Sequence[str]) -> list[Row]:
    """The rows of coded sequences, curve by curve, with the machine's measures and the mean of each metric over the
    frames of each, where `summary` knows them. Units that are no sequences are left out."""
    of_sequences: dict[str, Summary] = {}
    if summary is not None:
        known = set(summary.images)
        for unit in units:
            frames = [name for source in unit.sources if (name := str(source.name)) in known]
            if frames:
                part = summary.part(range(len(summary.points)), frames)
                of_sequences.setdefault(str(unit.sources[0].group), part.without_intervals())
    found = [_row(unit) | _measured(unit, of_sequences.get(str(unit.sources[0].group)), metrics)
             for unit in units if unit.coding.structure is not None]  # fmt: skip
    return sorted(found, key=lambda row: (row["sequence"], row["configuration"]))


def _row(unit: Unit) -> Row:
    options = " ".join(word for word in unit.coding.extras if not word.startswith(("match", "target")))
    return {
        "sequence": str(unit.sources[0].group.parent / unit.sources[0].sequence_title),
        "encoder": unit.record["encoder"],
        "configuration": " ".join([unit.record["encoder"], options]).strip(),
        "quality": unit.record["quality"],
        **{name: unit.record.get(name) for name in _OF_RECORD},
    }


def _measured(unit: Unit, part: Summary | None, metrics: Sequence[str]) -> Row:
    if part is None:
        return {}
    number = next((n for n, point in enumerate(part.points) if point.configuration == unit.folder), None)
    if number is None:
        return {}
    found: Row = {f"{name}_{against}": values.estimate(number).value for against in AGAINST if part.has(against)
                  for name, values in part.measures(against).items()}  # fmt: skip
    for name in metrics:
        values = [score["iqa"].get(name) for image in part.images if (score := part.points[number].scores[image])]
        found[name] = fmean(values) if values and None not in values else None
    instability = part.instability()
    return found | ({} if instability is None else {"instability": instability.estimate(number).value})
