"""What becomes of a run's jobs, summed up as it goes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vcmbench.compress import equal_rate
from vcmbench.compress.job import Job
from vcmbench.data.compression_table import RecordsDigest
from vcmbench.data.dataset import NOTES_TO_SEE
from vcmbench.data.record import Record
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import JobError


@dataclass
class Sums:
    """Raw sums of one coding configuration, reduced only when they are shown."""

    pictures: int = 0
    bits: int = 0
    pixels: int = 0
    seconds: float = 0.0
    """That its pictures last; NaN where some of them are of no sequence, which has no rate over time then."""
    encode_s: float = 0.0
    decode_s: float = 0.0
    psnr_sum_db: float = 0.0
    psnr_pictures: int = 0
    qp_sum: float = 0.0
    qp_pictures: int = 0

    @property
    def kbps(self) -> float | None:
        """Kilobits a second, where all pictures are of sequences."""
        return self.bits / 1000 / self.seconds if self.seconds > 0 else None


class CompressSummary:
    """Sums per coding configuration: what the table at the end shows, in memory that does not grow with pictures."""

    def __init__(self, configurations: Iterable[CodingConfiguration] = ()) -> None:
        self.rows = {configuration: Sums() for configuration in configurations}
        self.missed_rates: list[float] = []
        self.digest = RecordsDigest()
        self.pictures_noted: defaultdict[str, set[str]] = defaultdict(set)
        """By note on how pictures were read, their names."""

    def add(self, coding: CodingConfiguration, record: Record) -> None:
        sums = self.rows[coding]
        for note in record.get("notes", ()):
            name, _, text = note.rpartition(": ")
            if text.startswith(NOTES_TO_SEE):
                self.pictures_noted[text].add(name)
        self.digest.add(record)
        search = record.get("rate_search")
        if search is not None and not search["is_equal"]:
            self.missed_rates.append(search["size_error"])
        frames = record["frames"]
        sums.pictures += frames
        sums.bits += record["size_bytes"] * 8
        sums.pixels += record["width_px"] * record["height_px"] * frames
        sums.seconds += frames / record.get("fps", math.nan)
        sums.encode_s += record["encode_s"]
        sums.decode_s += record["decode_s"]
        if record["psnr_y_db"] is not None:
            finite = sum(psnr is not None for psnr in record.get("frame_psnr_y_db", [0.0]))
            sums.psnr_sum_db += record["psnr_y_db"] * finite
            sums.psnr_pictures += finite
        if record["coded_qp"] is not None:
            sums.qp_sum += record["coded_qp"] * frames
            sums.qp_pictures += frames


@dataclass
class CompressOutcome:
    """What became of a run."""

    summary: CompressSummary
    done: int = 0
    resumed: int = 0
    failed: list[tuple[Job, JobError]] = field(default_factory=list)
    interrupted: bool = False
    engine: str = ""
    """Where the jobs were done: threads, processes, or a cluster; and how many workers that had at the end."""
    workers: int = 1
    csv: Path | None = None
    comparisons: list[equal_rate.EqualRateRow] = field(default_factory=list)
    comparison_csv: Path | None = None


Listener = Callable[[str, Job, Record | None, JobError | None], None]
