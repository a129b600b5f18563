"""The loop over all pictures of a run: claimed, decoded ahead, sent through the pipeline; a failure is one picture's.

Runs that measure one experiment of one data root at the same time share the work. A unit is claimed before it is
decoded, and what is known of it is looked up again then: another run may have finished it. A unit that another run
holds is put off, and with it the others of its picture, so that each run keeps to pictures of its own; at the end they
are looked at again, until the other run has done them or has gone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePosixPath

from vcmbench.data.dataset import RESULTS, Source
from vcmbench.errors import JobError
from vcmbench.io.locks import Lease
from vcmbench.io.progress import Progress
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.decoders import Decoded, Decoders
from vcmbench.measure.outcome import as_job_error
from vcmbench.measure.pipeline import Chunk, Pipeline
from vcmbench.measure.pristine import PristineCache
from vcmbench.measure.records import SCORES
from vcmbench.measure.steps import Frame, Steps
from vcmbench.measure.todo import ImageLevel, MeasureContext, Todo

_PAUSE_S = 0.2


@dataclass
class MeasuredPictures:
    """What became of some pictures."""

    done: int = 0
    resumed: int = 0
    failed: list[tuple[str, JobError]] = field(default_factory=list)
    put_off: list[Unit] = field(default_factory=list)
    """What another run was at work on when it was looked at last."""
    known: set[str] = field(default_factory=set)
    """Metrics that some record knows, as they would be computed today."""
    truths: dict[str, str] = field(default_factory=dict)
    """By picture, what decides the truth that a machine was held against."""


@dataclass
class _Claimed:
    todo: list[Todo]
    lease: Lease
    left: int
    """Frames of it that are neither measured nor failed yet."""


class PicturesRun:
    """Measures what is not known yet of some units; `stop` ends it early. `execute` is called once."""

    def __init__(
        self, units: Sequence[Unit], context: MeasureContext, decoders: Decoders, pipeline: Pipeline,
        stop: threading.Event, progress: Progress, *, force: bool,
    ) -> None:  # fmt: skip
        self._units, self._store, self._force = units, context.store, force
        self._level = ImageLevel(context)
        self._steps = Steps(context, self._level)
        self._pristine_cache = PristineCache(context.store.data, context.weights, context.score)
        self._decoders, self._pipeline, self._stop, self._progress = decoders, pipeline, stop, progress
        self._claimed: dict[str, _Claimed] = {}
        self._under_way: deque[Chunk] = deque()
        self._found = MeasuredPictures()
        self._awaited = ""

    def execute(self, *, waits: bool) -> MeasuredPictures:
        """All of it. Units that other runs are at work on are waited for, or left as `MeasuredPictures.put_off`."""
        frames: list[Frame] = []
        try:
            for frame in self._frames(waits):
                frames += [frame] if frame is not None else []
                if frame is None or len(frames) == self._pipeline.together:
                    self._send(frames)
                    frames = []
                # behind the feeding, so that the pipeline is full whenever something is waited for
                self._take(leaving=0 if frame is None else self._pipeline.ahead)
            self._send(frames)
            self._take(leaving=0)
        finally:
            for chunk in self._under_way:
                chunk.cancel()
            while self._claimed:
                self._claimed.popitem()[1].lease.release()
        self._found.known = self._level.known
        self._found.truths = {str(source.name): digest for source, digest in self._level.truths.items()}
        return self._found

    # --- frames through the pipeline

    def _send(self, frames: list[Frame]) -> None:
        if frames and not self._stop.is_set():
            self._under_way.append(self._pipeline.start(self._steps, frames, self._stop))

    def _take(self, leaving: int) -> None:
        """Take chunks from the end of the pipeline, in order, until no more than `leaving` are under way."""
        while len(self._under_way) > leaving:
            chunk = self._under_way.popleft()
            if self._stop.is_set():
                chunk.cancel()
            if not chunk.wait():
                continue
            for frame in chunk.frames:
                unit = frame.todo.unit
                if frame.error is not None:
                    self._fail(unit, [frame.todo.source], frame.error)
                else:
                    self._found.done += 1
                    self._progress.advance(unit.title)
                    self._finish(unit)

    def _frames(self, waits: bool) -> Iterator[Frame | None]:
        """What there is to do, with the decoded picture where it is needed."""
        for decoded in self._decoders.frames(self._lacking(waits), self._stop.is_set, self._needs_pictures):
            if decoded is None:
                yield None
            elif (frame := self._frame(decoded)) is not None:
                yield frame

    def _needs_pictures(self, unit: Unit) -> bool:
        return any(map(self._level.needs_picture, self._todo(unit)))

    def _frame(self, decoded: Decoded) -> Frame | None:
        """A frame of which something is to be found out; None where all is known, or decoding failed."""
        left = self._todo(decoded.unit, decoded.index)
        if decoded.error is not None:
            self._fail(decoded.unit, [one.source for one in left], decoded.error)
            return None
        todo = next(left, None)
        if todo is None or todo.index != decoded.index:
            return None
        pristine = self._pristine_cache.take(decoded.unit, decoded.index)
        if decoded.picture is not None:
            self._pipeline.warm(pristine)
        return Frame(todo, decoded.picture, pristine)

    # --- which units are this run's

    def _lacking(self, waits: bool) -> Iterator[Unit | None]:
        """The units of which something is to be found out, claimed until all their frames are finished.

        None before other runs are waited for: what is claimed here must be finished first, for they may wait for it.
        """
        busy: set[Source] = set()
        put_off = self._found.put_off
        for unit in self._units:
            claimed = None if unit.sources[0] in busy else self._claim(unit)
            if claimed is None:
                busy.add(unit.sources[0])
                put_off.append(unit)
            elif claimed:
                yield unit
        while waits and put_off and not self._stop.is_set():
            asked = put_off.copy()
            put_off.clear()
            for unit in asked:
                claimed = None if self._stop.is_set() else self._claim(unit)
                if claimed is None:
                    put_off.append(unit)
                elif claimed:
                    yield unit
            if len(put_off) == len(asked) and not self._stop.is_set():
                yield None
                self._say_waiting(asked)
                self._stop.wait(_PAUSE_S)

    def _claim(self, unit: Unit) -> bool | None:
        """Whether there is something to do and it is this run's now; None where it is another run's."""
        try:
            todo = self._look(unit)
            if all(one.is_done for one in todo):
                self._resume(unit, len(todo))
                return False
            lease = self._store.claim(self._claim_of(unit))
            if lease is None:
                return None
            try:
                todo = self._look(unit)
            except BaseException:
                lease.release()
                raise
        except (JobError, OSError) as error:
            self._fail(unit, unit.sources, as_job_error(error))
            return False
        left = sum(not one.is_done for one in todo)
        self._resume(unit, len(todo) - left)
        if not left:
            lease.release()
            return False
        self._claimed[unit.record["bitstream"]] = _Claimed(todo, lease, left)
        return True

    def _claim_of(self, unit: Unit) -> PurePosixPath:
        """What is claimed is the first score record of a unit."""
        score = PurePosixPath(SCORES, unit.folder, f"{unit.sources[0].name}.json")
        return PurePosixPath(RESULTS, self._store.folder.name, score)

    def _look(self, unit: Unit) -> list[Todo]:
        return list(self._level.todo(unit, force=self._force))

    def _todo(self, unit: Unit, first: int = 0) -> Iterator[Todo]:
        """What is to be found out of a claimed unit from its `first` frame on; nothing once all of that is finished."""
        claimed = self._claimed.get(unit.record["bitstream"])
        frames = [] if claimed is None else claimed.todo
        return (one for one in islice(frames, first, None) if not one.is_done)

    def _finish(self, unit: Unit) -> None:
        """Another frame of a unit is measured, or has failed."""
        name = unit.record["bitstream"]
        if name in self._claimed:
            self._claimed[name].left -= 1
            if not self._claimed[name].left:
                self._claimed.pop(name).lease.release()

    # --- what became of them

    def _resume(self, unit: Unit, count: int) -> None:
        for _ in range(count):
            self._found.resumed += 1
            self._progress.advance(unit.title)

    def _fail(self, unit: Unit, sources: Sequence[Source], error: JobError) -> None:
        """Say it, and take away what earlier runs found out of these pictures: it holds no longer."""
        if str(error) not in {str(other) for _, other in self._found.failed[-1000:]}:
            self._progress.failed(f"{unit.title}: {error}")
        # their frames would keep the picture until the run ends
        error.__traceback__ = error.__context__ = error.__cause__ = None
        for source in sources:
            self._level.drop(unit, source)
            self._found.failed.append((unit.title, error))
            self._progress.advance(unit.title)
            self._finish(unit)

    def _say_waiting(self, units: Sequence[Unit]) -> None:
        whom = self._store.holder(self._claim_of(units[0]))
        if whom != self._awaited:
            self._awaited = whom
            self._progress.say(f"another run is at work on {len(units)} bitstreams; waiting for it: {whom}")
