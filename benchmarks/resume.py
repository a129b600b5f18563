"""Resuming 100,000 finished jobs: `python benchmarks/resume.py` (six minutes, 1 GB of disk in many small files).

1,000 tiny pictures are coded as JPEG in all 100 qualities, really and by the product. Then the same command runs again,
as a process of its own, start-up included: once where all is done, and once where one job is not, so that the table is
written anew from all records. Seconds are of the clock; those of the processor stand beside them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import command
from PIL import Image
from processes import Used, watched
from table import Row, number

BOUND_S, BOUND_MB = 10.0, 500.0
"""For all 100,000."""
BOUND_DOING, BOUND_TABLE = 0.05, 0.10
"""Shares of what doing took. Resuming is about 55 us of processor time a job, doing it some milliseconds."""
SIDES = 24, 16


def make(folder: Path, count: int) -> None:
    """Pictures of a few smooth patches, all of them different."""
    folder.mkdir()
    for i, pixels in enumerate(np.random.default_rng(1).integers(0, 255, (count, 2, 3, 3), dtype=np.uint8)):
        Image.fromarray(pixels).resize(SIDES, Image.Resampling.BICUBIC).save(folder / f"{i:04}.png")


def against(doing: Used, jobs: int) -> str:
    return f"doing them: {number(doing.wall_s)} s, {number(1e3 * doing.wall_s / jobs)} ms a job"


def rows(small: bool) -> Iterator[Row]:
    pictures, qualities = (100, 100) if small else (1000, 100)
    yield from measured(pictures, qualities)


def measured(pictures: int, qualities: int) -> Iterator[Row]:
    jobs = pictures * qualities
    with tempfile.TemporaryDirectory() as folder:
        data, config = Path(folder) / "pictures", Path(folder) / "resume.toml"
        make(data, pictures)
        listed = ", ".join(map(str, range(1, qualities + 1)))
        config.write_text(f'name = "resume"\n[[coding]]\nencoder = "jpeg"\nquality = [{listed}]\n')
        argv = command(data, config)
        doing = watched(argv, tree=False)
        records = data / "results/resume/records"
        one = next(records.rglob("*.json"))
        resumed = watched(argv, tree=False)
        one.unlink()
        mended = watched(argv, tree=False)
        assert one.is_file()
        title = f"{jobs:,} finished jobs"
        each = (
            f"{number(1e6 * resumed.wall_s / jobs)} us of the clock and {number(1e6 * resumed.processor_s / jobs)} us"
        )
        yield Row("resume", f"{title}: {each} of the processor each", resumed.wall_s, "s", bound=BOUND_S)
        yield Row("resume", f"{title}: memory", resumed.memory_mb, "MB", bound=BOUND_MB)
        yield Row(
            "resume", f"{title}, a job", 1e3 * resumed.wall_s / jobs, "ms", against(doing, jobs),
            resumed.wall_s / doing.wall_s, BOUND_DOING,
        )  # fmt: skip
        yield Row(
            "resume", f"{jobs - 1:,} finished jobs and one to do, the table written anew", mended.wall_s, "s",
            against(doing, jobs), mended.wall_s / doing.wall_s, BOUND_TABLE,
        )  # fmt: skip


if __name__ == "__main__":
    for row in rows(small=False):
        print(row.line(), flush=True)
