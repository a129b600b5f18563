"""What block sampling costs: `python benchmarks/blocks.py` (minutes; `--images 4 --configurations 30` for a minute).

Label maps of 2048x1024 are made first, 20 images in 176 configurations: regions with rough edges, whose outlines move
and which are swallowed by others, the more so the worse the configuration. They are written as palette PNGs to a
folder that is removed in the end (or kept: `--folder`), and sampled:

1. 4,096 blocks of 64x64, PNGs read by `read_prediction`, labels with void pixels: at most 90 s, less in proportion for
   fewer pairs. The limit is for 2 cores and the clock; it is held against the processor time of all threads together,
   which is stricter, and does not count who else wanted the cores. Some blocks are recounted pixel by pixel.
2. The published algorithm done block by block, for a few blocks: it reads the prediction and the labels, sums them up
   in windows, lists the positions and takes one, for every image and configuration that it tries. (The published code
   marks wrong pixels in a loop in Python on top; here NumPy does.)
3. Confusion counts of a picture.

Exits with 1 where the limit is broken. Seconds are of the clock; those of the processor follow in brackets.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import convolve
from table import Row, number

from vcmbench.data.labels import PALETTE
from vcmbench.measure.blocks import Sample, Sources, sample
from vcmbench.tasks import confusion
from vcmbench.tasks.predictions import prediction_path, read_prediction, write_prediction

WIDTH, HEIGHT = 2048, 1024
BLOCK, STRATA = 64, 10
BOUND_S, BOUND_PAIRS = 90.0, 176 * 20
BOUND_FASTER = 20.0
"""Measured: 39 times as fast a block as block by block. It depends on the number of blocks a pair, hence on sizes."""

Array = np.ndarray[Any, Any]
Pair = tuple[str, str]


def noise(rng: np.random.Generator, cells: int) -> Array:
    """Smooth noise, (HEIGHT, WIDTH) float32, about -1 to 1, with so many cells over the height."""
    grid = rng.standard_normal((cells + 2, 2 * cells + 2)).astype(np.float32)
    return cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def scene(rng: np.random.Generator) -> tuple[Array, Array]:
    """Train ids, and labels as colours in which the car's own bonnet and spots are void (black)."""
    y = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None]
    edge = noise(rng, 4) * 0.12 + noise(rng, 24) * 0.02
    ids = np.digitize(y + edge, [0.18, 0.5, 0.58, 0.63]).astype(np.uint8)
    ids = np.array([10, 2, 8, 1, 0], np.uint8)[ids]
    ids[(noise(rng, 6) > 0.5) & (ids == 2)] = 8
    for _ in range(60):
        near = rng.random()
        at = int(rng.integers(WIDTH)), int(HEIGHT * (0.5 + 0.35 * near))
        size = int(8 + 90 * near * rng.random()), int(12 + 80 * near)
        cv2.ellipse(ids, at, size, 0, 0, 360, int(rng.choice([5, 6, 7, 11, 12, 13, 14, 18])), -1)
    colours = PALETTE[ids]
    colours[HEIGHT - 60 :] = 0
    colours[noise(rng, 8) > 1.4] = 0
    return ids, colours


def damaged(ids: Array, severity: float, rng: np.random.Generator) -> Array:
    """What a network makes of the decoded picture: outlines that move, objects swallowed, at 1 little is right."""
    reach = np.float32(1 + 25 * severity)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    found = cv2.remap(ids, x + reach * noise(rng, 32), y + reach * noise(rng, 32), cv2.INTER_NEAREST, borderMode=1)
    swallowed = noise(rng, 5) + 0.5 * noise(rng, 40) > 2.2 - 2.4 * severity
    found[swallowed] = np.roll(found, int(rng.integers(100, 900)), axis=1)[swallowed]
    found[noise(rng, 12) > 2.4 - 1.6 * severity] = rng.integers(19)
    return found


class Data:
    """The files of a run: predictions, and labels as colours."""

    def __init__(self, root: Path, images: int, configurations: int) -> None:
        self.root = root
        self.images = [f"leftImg8bit/val/city/city_{i:06}_000019_leftImg8bit" for i in range(images)]
        self.configurations = [f"q{i}" for i in range(configurations)]
        self.pairs = [(image, name) for image in self.images for name in self.configurations]

    def path(self, image: str, configuration: str | None = None) -> Path:
        return prediction_path(self.root, PurePosixPath(image), configuration)

    def labels(self, image: str) -> Path:
        return self.path(image).with_suffix(".color.png")

    def make(self, jobs: int) -> None:
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(self._make_image, range(len(self.images))))

    def _make_image(self, index: int) -> None:
        image = self.images[index]
        ids, colours = scene(np.random.default_rng([7, index]))
        write_prediction(self.path(image), ids)
        Image.fromarray(colours).save(self.labels(image))
        for at, name in enumerate(self.configurations):
            if not self.path(image, name).is_file():
                severity = (at + 0.5) / len(self.configurations)
                rng = np.random.default_rng([7, index, at])
                write_prediction(self.path(image, name), damaged(ids, severity, rng))

    def sources(self) -> Sources:
        return Sources(
            lambda image: read_prediction(self.path(image)),
            lambda image, configuration: read_prediction(self.path(image, configuration), (HEIGHT, WIDTH)),
            self.void,
        )

    def void(self, image: str) -> Array:
        with Image.open(self.labels(image)) as picture:
            return (np.asarray(picture) == 0).all(axis=-1)


def published(data: Data, rng: random.Random) -> tuple[int, int]:
    """One block as the published algorithm draws it, (stratum, right pixels)."""
    i, pixels = rng.randrange(STRATA), BLOCK * BLOCK
    while True:
        image, configuration = rng.choice(data.images), rng.choice(data.configurations)
        pristine = np.array(Image.open(data.path(image)), dtype=np.float32)
        decoded = np.array(Image.open(data.path(image, configuration)), dtype=np.float32)
        right = (pristine == decoded).astype(np.float32)
        column = np.ones((BLOCK, 1), np.uint8)
        sums = convolve(convolve(right, column, mode="constant", cval=np.nan), column.T, mode="constant", cval=np.nan)
        void = data.void(image)
        above = sums <= pixels if i == STRATA - 1 else sums < (i + 1) / STRATA * pixels
        rows, columns = np.nonzero((sums >= i / STRATA * pixels) & above)
        for at in rng.sample(range(len(rows)), len(rows)):
            y, x = rows[at] - (BLOCK - 1) // 2, columns[at] - (BLOCK - 1) // 2
            if not void[y : y + BLOCK, x : x + BLOCK].any():
                return i, int(sums[rows[at], columns[at]])


def seconds(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, its seconds by the clock, and those of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - clock, time.process_time() - processor


def recount(data: Data, result: Sample, rng: random.Random) -> None:
    for block in rng.sample(result.blocks, min(100, len(result.blocks))):
        crops = [confusion.crop(read_prediction(data.path(block.image, name)), block.box)
                 for name in (None, block.configuration)]  # fmt: skip
        assert float((crops[0] == crops[1]).mean()) == block.accuracy, block
        assert not confusion.crop(data.void(block.image), block.box).any(), block


def rows(small: bool) -> Iterator[Row]:
    images, configurations, count, slow = (2, 12, 256, 2) if small else (20, 176, 4096, 20)
    with tempfile.TemporaryDirectory() as scratch:
        data, rng, jobs = Data(Path(scratch), images, configurations), random.Random(1), 2  # noqa: S311
        data.make(jobs)
        draw = lambda: sample(data.pairs, data.sources(), count, (BLOCK, BLOCK), STRATA, 1, jobs)  # noqa: E731
        result, clock, processor = seconds(draw)
        recount(data, result, rng)
        _, _, theirs = seconds(lambda: [published(data, rng) for _ in range(slow)])
        ours_ms, theirs_ms = 1e3 * processor / count, 1e3 * theirs / slow
        title = f"{count:,} blocks of {BLOCK}x{BLOCK} from {images} pictures x {configurations} configurations"
        yield Row(
            "sampler", f"{title}, processor time a block", ours_ms, "ms",
            f"the published algorithm, block by block: {number(theirs_ms)} ms", theirs_ms / ours_ms, BOUND_FASTER,
            "at least",
        )  # fmt: skip
        yield Row("sampler", f"{title}, all of it, {jobs} threads", clock, "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--configurations", type=int, default=176)
    parser.add_argument("--blocks", type=int, default=4096)
    parser.add_argument("--by-the-block", type=int, default=20, help="blocks drawn as published")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the label maps are kept for the next run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data = Data(arguments.folder or Path(scratch), arguments.images, arguments.configurations)
        _, clock, processor = seconds(lambda: data.make(arguments.jobs))
        size = sum(data.path(*pair).stat().st_size for pair in data.pairs) / len(data.pairs) / 1024
        print(f"{len(data.pairs)} label maps of {size:.0f} KiB made in {clock:.0f} s ({processor:.0f})", flush=True)
        measure(data, arguments)


def measure(data: Data, arguments: argparse.Namespace) -> None:
    rng = random.Random(1)  # noqa: S311
    draw = lambda: sample(  # noqa: E731
        data.pairs, data.sources(), arguments.blocks, (BLOCK, BLOCK), STRATA, 1, arguments.jobs
    )
    result, clock, processor = seconds(draw)
    bound_s = BOUND_S * max(len(data.pairs) / BOUND_PAIRS, 0.1)
    per_pair_ms = 1e3 * processor / len(data.pairs)
    print(
        f"sample: {arguments.blocks} blocks in {clock:.1f} s ({processor:.1f}), limit {bound_s:.0f} s; "
        f"{per_pair_ms:.1f} ms of a core for each pair; pairs that have the strata: {result.pairs_with}",
        flush=True,
    )
    found = Counter(min(int(block.accuracy * STRATA), STRATA - 1) for block in result.blocks)
    print(f"blocks of the strata: {[found[i] for i in range(STRATA)]}")
    recount(data, result, rng)
    _, slow, slow_processor = seconds(lambda: [published(data, rng) for _ in range(arguments.by_the_block)])
    ours_ms, theirs_ms = 1e3 * processor / arguments.blocks, 1e3 * slow_processor / arguments.by_the_block
    print(
        f"by the block: {slow / arguments.by_the_block:.2f} s a block ({theirs_ms / 1e3:.2f}); ours "
        f"{ours_ms:.1f} ms of the processor: {theirs_ms / ours_ms:.0f} times as fast",
        flush=True,
    )
    prediction, truth = (read_prediction(data.path(data.images[0], name)) for name in (data.configurations[-1], None))
    times = [seconds(lambda: confusion.confusion(prediction, truth))[2] * 1e3 for _ in range(21)]
    distance_m = noise(np.random.default_rng(3), 8) * 60
    bands = [seconds(lambda: confusion.distance_confusions(prediction, truth, distance_m))[2] * 1e3 for _ in range(21)]
    print(f"confusion counts: {statistics.median(times):.1f} ms; by distance: {statistics.median(bands):.1f} ms")
    if processor > bound_s:
        sys.exit(f"limit exceeded: {processor:.1f} s is more than {bound_s:.0f} s")


if __name__ == "__main__":
    main()
