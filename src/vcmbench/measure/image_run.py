"""The loop over all pictures of a run: decoded ahead, looked at together, and each failure is one picture's."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vcmbench.dataset import DataRoot, Source
from vcmbench.errors import JobError
from vcmbench.measure.decoding import decoded
from vcmbench.measure.image_level import ImageLevel, Todo
from vcmbench.measure.outcome import Outcome, Settings, as_job_error
from vcmbench.measure.units import Unit
from vcmbench.progress import Progress
from vcmbench.runner.base import Runner

Frame = tuple[Todo, NDArray[np.uint8] | None]


class ImageRun:
    """Measures what is not known yet of some units. `outcome` is told; `stop` ends it between two groups."""

    def __init__(
        self, data: DataRoot, units: Sequence[Unit], level: ImageLevel, runner: Runner, settings: Settings,
        outcome: Outcome, stop: threading.Event,
    ) -> None:  # fmt: skip
        self._data, self._units, self._level, self._runner = data, units, level, runner
        self._settings, self._outcome, self._stop = settings, outcome, stop

    def execute(self, chunk: int) -> None:
        """All of it, `chunk` pictures at a time."""
        total = sum(len(unit.sources) for unit in self._units)
        with Progress(total, "picture", quiet=self._settings.quiet) as progress:
            frames = self._frames(progress)
            while not self._stop.is_set() and (group := list(itertools.islice(frames, chunk))):
                self._measure(group, progress)

    def _frames(self, progress: Progress) -> Iterator[Frame]:
        """What there is to do, with the decoded picture where it is needed."""
        waiting: dict[str, list[Todo]] = {}
        blind: list[Unit] = []

        def seeing() -> Iterator[Unit]:
            """The units that must be decoded; the others wait in `blind`."""
            for unit in self._units:
                try:
                    todo = list(self._level.todo(unit, force=self._settings.force))
                except JobError as error:
                    self._fail(progress, unit, unit.sources, error)
                    continue
                for _ in filter(lambda one: one.is_done, todo):
                    self._outcome.resumed += 1
                    progress.advance(unit.title)
                if any(map(self._level.needs_picture, todo)):
                    waiting[unit.record["bitstream"]] = todo
                    yield unit
                elif not all(one.is_done for one in todo):
                    blind.append(unit)

        jobs, timeout_s = self._settings.jobs, self._settings.timeout_s
        for frame in decoded(seeing(), self._data.root, self._runner, jobs, timeout_s, self._stop.is_set):
            name = frame.unit.record["bitstream"]
            left = [one for one in waiting[name] if one.index >= frame.index and not one.is_done]
            if frame.error is not None:
                self._fail(progress, frame.unit, [one.source for one in left], frame.error)
                del waiting[name]
                continue
            if left and left[0].index == frame.index:
                yield left[0], frame.picture
            if frame.index == len(frame.unit.sources) - 1:
                del waiting[name]
        for unit in blind:
            try:
                yield from (
                    (one, None) for one in self._level.todo(unit, force=self._settings.force) if not one.is_done
                )
            except JobError as error:  # a file has gone in between
                self._fail(progress, unit, unit.sources, error)

    def _measure(self, group: list[Frame], progress: Progress) -> None:
        try:
            self._level.measure(group)
        except (JobError, OSError) as error:
            if len(group) > 1:  # whose fault it is, is found out one by one
                for one in group:
                    self._measure([one], progress)
                return
            self._fail(progress, group[0][0].unit, [group[0][0].source], as_job_error(error))
            return
        for todo, _ in group:
            self._outcome.done += 1
            progress.advance(todo.unit.title)

    def _fail(self, progress: Progress, unit: Unit, sources: Sequence[Source], error: JobError) -> None:
        """Say it, and take away what earlier runs found out of these pictures: it holds no longer."""
        if str(error) not in {str(other) for _, other in self._outcome.failed[-1000:]}:
            progress.say(f"failed: {unit.title}: {error}")
        for source in sources:
            self._level.drop(unit, source)
            self._outcome.failed.append((unit.title, error))
            progress.advance(unit.title)
