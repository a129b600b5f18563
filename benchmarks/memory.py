"""Memory of a run over many pictures against one over few: `python benchmarks/memory.py` (a few minutes, 1 GB of disk).

2,000 pictures against 20, of one size, through `none` and `jpeg`: on threads of one process, and with `--jobs 2`. What
counts is the sum over all processes of a run of the peak of each. Memory that grows with the number of pictures shows
as a ratio above 1.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import afresh, command, make_pictures
from processes import watched
from table import Row, number

from vcmbench.compress.run import cores

BOUND = 1.10
EXPERIMENT = 'name = "memory"\n[[coding]]\nencoder = "none"\n[[coding]]\nencoder = "jpeg"\nquality = [30]\n'


def rows(small: bool) -> Iterator[Row]:
    distinct, times, (width, height) = (3, 5, (128, 64)) if small else (20, 100, (512, 256))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = make_pictures(work / "few", distinct, width=width, height=height)
        many, config = work / "many", work / "memory.toml"
        config.write_text(EXPERIMENT)
        many.mkdir()
        for i in range(times):
            for picture in pictures:
                os.link(picture, many / f"{i:03}-{picture.name}")  # another name is another picture
        count = times * len(pictures)
        for title, options in (("on threads", ()), ("--jobs 2", ("--jobs", 2))):
            if options and cores() < 2:
                continue  # it would be threads again
            used = []
            for data in (work / "few", many):
                used.append(watched(command(data, config, *options)))
                afresh(data)
            few, most = used
            yield Row(
                "memory", f"{count:,} pictures of {width}x{height}, {title}, {most.processes} processes",
                most.memory_mb, "MB", f"{len(pictures)} pictures: {number(few.memory_mb)} MB",
                most.memory_mb / few.memory_mb, BOUND,
            )  # fmt: skip


if __name__ == "__main__":
    for row in rows(small=False):
        print(row.line(), flush=True)
