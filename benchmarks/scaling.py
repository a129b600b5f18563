"""What a second worker brings: `python benchmarks/scaling.py` (a quarter of an hour).

32 scenes of 2048x1024, the size of Cityscapes, by x265 medium. One worker and two take turns: `--jobs 1` against
threads, `--jobs 1` against `--jobs 2`, and clusters of one and of two Dask workers, which are started beforehand by the
commands that users type. Two do at least 1.8 times the work of one. That is said of the work, so start-up is taken off
both sides: it is that of a run over two pictures, hence both ratios are of 30 jobs. The rows with start-up are what 32
jobs take as they are. Workers of a scheduler have a lower bound where there are two cores: what one worker leaves idle
there, its scheduler, its guard and the run use, and with two workers they share.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from harness import harness, in_turn, make_pictures, write_config
from table import Row, compared

from vcmbench.compress.run import cores

sys.path.append(str(Path(__file__).resolve().parent.parent))
from tests.helpers.clusters import cluster  # the real processes that the tests start, too

BOUND, BOUND_SHARED = 1.8, 1.6
WIDTH, HEIGHT = 2048, 1024
QP = 22
START = 2
"""Pictures of the run that tells what start-up is: one for each of two workers."""


class Bench:
    def __init__(self, work: Path, count: int, rounds: int) -> None:
        self.rounds, self.count = rounds, count
        self.data, self.few = work / "pictures", work / "few"
        self.config = write_config(work, "scaling", f'encoder = "x265"\nquality = [{QP}]\npreset = "medium"')
        self.few.mkdir()
        for picture in make_pictures(self.data, count, width=WIDTH, height=HEIGHT)[:START]:
            shutil.copy(picture, self.few)

    def compare(
        self, title: str, one: tuple[object, ...], two: tuple[object, ...], other: str, bound: float = BOUND
    ) -> Iterator[Row]:
        """Seconds of two workers against those of one, without start-up and with it."""
        whole: tuple[list[float], list[float]] = [], []

        def side(options: tuple[object, ...], found: list[float]) -> Callable[[], float]:
            def seconds() -> float:
                found.append(harness(self.data, self.config, *options))
                return found[-1] - harness(self.few, self.config, *options)

            return seconds

        first, second = in_turn(self.rounds, side(two, whole[0]), side(one, whole[1]))
        what = f"x265 medium, QP {QP}, {WIDTH}x{HEIGHT}, {title}"
        jobs = f"{self.count - START} jobs without start-up"
        yield compared("two workers", f"{what}, {jobs}", first, second, "s", other, bound, speedup=True)
        first, second = (found[1:] for found in whole)  # the first round is not counted
        jobs = f"{self.count} jobs with start-up"
        yield compared("two workers", f"{what}, {jobs}", first, second, "s", other, speedup=True)


def rows(small: bool) -> Iterator[Row]:
    count, rounds = (6, 1) if small else (32, 3)
    if cores() < 2:
        raise RuntimeError("two workers want two cores")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        work = Path(folder)
        bench = Bench(work, count, rounds)
        if cores() == 2:  # with more of them, threads are more than two
            yield from bench.compare("2 threads of one process", ("--jobs", 1), (), "--jobs 1")
        yield from bench.compare("--jobs 2", ("--jobs", 1), ("--jobs", 2), "--jobs 1")
        os.environ["DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED"] = "False"  # as docs/cluster.md has it
        one, two = (stack.enter_context(cluster(work / f"cluster-{n}", n)) for n in (1, 2))
        words = [("--scheduler", made.address) for made in (one, two)]
        bound = BOUND_SHARED if cores() == 2 else BOUND
        yield from bench.compare("2 Dask workers", *words, "1 Dask worker", bound)


if __name__ == "__main__":
    for row in rows(small=False):
        print(row.line(), flush=True)
