"""The threads that frames pass: while the machine looks at some, others are scored, and others' files are written.

    ask ──► score ──► finish          the steps of `Steps`
     └────► predictions as PNG        in the background, before the record that speaks of them

So the network is never waited with: its next pictures lie beside it while it works. What is under way is bounded by
what is sent in, and so is memory. Each metric has all of torch's threads, hence one thread for all metrics.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

from vcmbench.errors import Cancelled
from vcmbench.measure.predictions import Predictor
from vcmbench.measure.pristine import Pristine
from vcmbench.measure.steps import Frame, Steps


class Chunk:
    """Some frames on their way."""

    def __init__(self, frames: Sequence[Frame], asked: Future[Future[list[Future[None]]]]) -> None:
        self.frames, self._asked = frames, asked

    def wait(self) -> bool:
        """Wait until all is known of the frames, or what went wrong with each. False where the run was stopped before;
        then nothing of them was recorded."""
        try:
            finishing = self._asked.result().result()
        except (Cancelled, CancelledError):
            return False
        for future in finishing:
            future.result()
        return True

    def cancel(self) -> None:
        """Do not begin with it."""
        self._asked.cancel()


class Pipeline:
    """A context manager: at its end nothing runs any more."""

    def __init__(self, predictor: Predictor | None, jobs: int) -> None:
        at_once = predictor.at_once if predictor is not None else 1
        self.together = max(predictor.together if predictor is not None else 1, 1)
        self.ahead = at_once + 1 + math.ceil(2 * jobs / self.together)
        """How many chunks keep all threads busy: those that the machine has, one that is scored, those behind."""
        self._asking = ThreadPoolExecutor(at_once, "vcmbench-ask")
        self._scoring = ThreadPoolExecutor(1, "vcmbench-score")
        self._behind = ThreadPoolExecutor(jobs, "vcmbench-write")
        self._warmed: Pristine | None = None

    def start(self, steps: Steps, frames: Sequence[Frame], stop: threading.Event) -> Chunk:
        """Send frames through. Those that are not asked or scored yet when `stop` is set are left."""
        return Chunk(frames, self._asking.submit(self._ask, steps, frames, stop))

    def warm(self, pristine: Pristine) -> None:
        """Have a pristine picture read before it is needed; what goes wrong is raised where it is needed."""
        if pristine is not self._warmed:
            self._warmed = pristine
            self._behind.submit(lambda: pristine.picture)

    def _later(self, work: Callable[[], None]) -> Future[None]:
        return self._behind.submit(work)

    def _ask(self, steps: Steps, frames: Sequence[Frame], stop: threading.Event) -> Future[list[Future[None]]]:
        _go_on(stop)
        steps.check(frames)
        steps.ask(frames, self._later)
        return self._scoring.submit(self._score, steps, frames, stop)

    def _score(self, steps: Steps, frames: Sequence[Frame], stop: threading.Event) -> list[Future[None]]:
        _go_on(stop)
        steps.score(frames)
        # now all predictions that these records wait for are queued before them: no thread waits for what comes behind
        steps.wait_for_pristine(frames)
        _go_on(stop)
        return [self._behind.submit(steps.finish, frame) for frame in frames]

    def close(self) -> None:
        for pool in (self._asking, self._scoring, self._behind):
            pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise Cancelled
