"""Jobs a second: `python benchmarks/throughput.py` (two minutes).

Small pictures as JPEG in many qualities, where the encoder takes next to nothing and all else shows: in this run the
same files are read, coded, written and decoded by bare Pillow, in as many processes. Bare Pillow reads a picture once
for all its qualities, as vcmbench does. It compares nothing, hashes nothing and keeps no records: the ratio is the
price of those, to be seen against an encoder that takes its time (the rows of `harness`).

Start-up is left out on both sides: of vcmbench by the difference to a run over one picture.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from harness import harness, in_turn, make_pictures
from PIL import Image
from table import Row, compared

from vcmbench.compress.run import cores

WIDTH, HEIGHT = 256, 128
QUALITIES = tuple(range(5, 100, 5))
BOUND = {1: 0.10, 2: 0.04}
"""About half of what was measured, by the number of processes."""


def bare(picture: Path, folder: Path) -> None:
    with Image.open(picture) as image:
        pixels = image.convert("RGB")
    for quality in QUALITIES:
        coded = io.BytesIO()
        pixels.save(coded, "JPEG", quality=quality, subsampling="4:2:0")
        (folder / f"{picture.stem}-{quality}.jpg").write_bytes(coded.getvalue())
        with Image.open(io.BytesIO(coded.getvalue())) as decoded:
            decoded.load()


def bare_rate(pool: ProcessPoolExecutor, pictures: Sequence[Path], folder: Path) -> float:
    """Jobs a second of processes that have started."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start = time.perf_counter()
    list(pool.map(bare, pictures, [folder] * len(pictures), chunksize=4))
    return len(pictures) * len(QUALITIES) / (time.perf_counter() - start)


def rows(small: bool) -> Iterator[Row]:
    count, rounds = (11, 1) if small else (201, 3)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pictures = make_pictures(work / "pictures", count, width=WIDTH, height=HEIGHT)
        few, config = work / "few", work / "jpeg.toml"
        config.write_text(f'name = "jpeg"\n[[coding]]\nencoder = "jpeg"\nquality = {list(QUALITIES)}\n')
        few.mkdir()
        shutil.copy(pictures[0], few)

        def ours(*options: object) -> float:
            """Jobs a second of those that the run over one picture has not."""
            seconds = harness(pictures[0].parent, config, *options) - harness(few, config, *options)
            return (count - 1) * len(QUALITIES) / max(seconds, 1e-3)

        cases: list[tuple[str, int, tuple[object, ...]]] = [
            ("one thread (--jobs 1)", 1, ("--jobs", 1)),
            (f"{cores()} threads of one process", 1, ()),
            ("--jobs 2", 2, ("--jobs", 2)),
        ]
        for title, processes, options in cases[: 3 if cores() > 1 else 1]:
            with ProcessPoolExecutor(processes) as pool:
                a, b = in_turn(
                    rounds,
                    lambda options=options: ours(*options),
                    lambda pool=pool: bare_rate(pool, pictures, work / "bare"),
                )
            what = f"JPEG of {WIDTH}x{HEIGHT}, {len(QUALITIES)} qualities of {count - 1} pictures, {title}"
            other = f"bare Pillow in {processes} process{'es' if processes > 1 else ''}"
            yield compared("jobs a second", what, a, b, "jobs/s", other, BOUND[processes], "at least")


if __name__ == "__main__":
    for row in rows(small=False):
        print(row.line(), flush=True)
