"""The loop over all pictures of a run: decoded ahead, sent down the line, and each failure is one picture's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vcmbench.data.dataset import Source
from vcmbench.data.store import Store
from vcmbench.errors import JobError
from vcmbench.io.progress import Progress
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.claims import Claims
from vcmbench.measure.decoders import Decoded, Decoders
from vcmbench.measure.pipeline import Chunk, Pipeline
from vcmbench.measure.pristine import PristineCache
from vcmbench.measure.steps import Frame, Steps
from vcmbench.measure.todo import ImageLevel


@dataclass
class MeasuredPictures:
    """What became of some pictures."""

    done: int = 0
    resumed: int = 0
    failed: list[tuple[str, JobError]] = field(default_factory=list)
    put_off: list[Unit] = field(default_factory=list)
    """What another run was at work on."""
    known: set[str] = field(default_factory=set)
    """Metrics that some record knows, as they would be computed today."""
    truths: dict[str, str] = field(default_factory=dict)
    """By picture, what decides the truth that a machine was held against."""


class PicturesRun:
    """Measures what is not known yet of some units; `stop` ends it early. `execute` is called once."""

    def __init__(
        self, units: Sequence[Unit], store: Store, level: ImageLevel, finding: Steps, shelf: PristineCache,
        decoders: Decoders, line: Pipeline, stop: threading.Event, progress: Progress, *, force: bool,
    ) -> None:  # fmt: skip
        self._level, self._finding, self._shelf = level, finding, shelf
        self._decoders, self._line, self._stop, self._progress = decoders, line, stop, progress
        self._shared = Claims(
            units, level, store, stop, force=force, resumed=self._resumed, failed=self._fail, wait=self._say_waiting
        )
        self._under_way: deque[Chunk] = deque()
        self._found = MeasuredPictures()
        self._has_said = False

    def execute(self, *, waits: bool) -> MeasuredPictures:
        """All of it. Units that other runs are at work on are waited for, or left as `MeasuredPictures.put_off`."""
        frames: list[Frame] = []
        try:
            for frame in self._frames(waits):
                frames += [frame] if frame is not None else []
                if frame is None or len(frames) == self._line.together:
                    self._send(frames)
                    frames = []
                # behind the feeding, so that the line is full whenever something is waited for
                self._take(leaving=0 if frame is None else self._line.ahead)
            self._send(frames)
            self._take(leaving=0)
        finally:
            for chunk in self._under_way:
                chunk.cancel()
            self._shared.close()
        self._found.put_off, self._found.known = self._shared.put_off, self._level.known
        self._found.truths = {str(source.name): digest for source, digest in self._level.truths.items()}
        return self._found

    def _send(self, frames: list[Frame]) -> None:
        if frames and not self._stop.is_set():
            self._under_way.append(self._line.start(self._finding, frames, self._stop))

    def _take(self, leaving: int) -> None:
        """Take chunks from the end of the line, in order, until no more than `leaving` are under way."""
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
                    self._shared.finished(unit)

    def _frames(self, waits: bool) -> Iterator[Frame | None]:
        """What there is to do, with the decoded picture where it is needed."""
        lacking = self._shared.lacking(waits=waits)
        for decoded in self._decoders.frames(lacking, self._stop.is_set, self._needs_pictures):
            if decoded is None:
                yield None
            elif (frame := self._frame(decoded)) is not None:
                yield frame

    def _needs_pictures(self, unit: Unit) -> bool:
        return any(map(self._level.needs_picture, self._shared.todo(unit)))

    def _frame(self, decoded: Decoded) -> Frame | None:
        """A frame of which something is to be found out; None where all is known, or decoding failed."""
        left = [one for one in self._shared.todo(decoded.unit) if one.index >= decoded.index]
        if decoded.error is not None:
            self._fail(decoded.unit, [one.source for one in left], decoded.error)
            return None
        if not left or left[0].index != decoded.index:
            return None
        pristine = self._shelf.take(decoded.unit, decoded.index)
        if decoded.picture is not None:
            self._line.warm(pristine)
        return Frame(left[0], decoded.picture, pristine)

    def _resumed(self, unit: Unit, count: int) -> None:
        for _ in range(count):
            self._found.resumed += 1
            self._progress.advance(unit.title)

    def _fail(self, unit: Unit, sources: Sequence[Source], error: JobError) -> None:
        """Say it, and take away what earlier runs found out of these pictures: it holds no longer."""
        if str(error) not in {str(other) for _, other in self._found.failed[-1000:]}:
            self._progress.say(f"failed: {unit.title}: {error}")
        for source in sources:
            self._level.drop(unit, source)
            self._found.failed.append((unit.title, error))
            self._progress.advance(unit.title)
            self._shared.finished(unit)

    def _say_waiting(self, count: int) -> None:
        if not self._has_said:
            self._has_said = True
            self._progress.say(f"another run is at work on {count} bitstreams; waiting for it")
