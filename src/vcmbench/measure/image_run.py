"""The loop over all pictures of a run: decoded ahead, sent down the line, and each failure is one picture's."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from vcmbench.dataset import Source
from vcmbench.errors import JobError
from vcmbench.measure.decoding import Decoded, Decoders
from vcmbench.measure.finding import Finding, Frame
from vcmbench.measure.image_level import ImageLevel, Todo
from vcmbench.measure.line import Chunk, Line
from vcmbench.measure.pristine import Shelf
from vcmbench.measure.units import Unit
from vcmbench.progress import Progress


@dataclass
class Found:
    """What became of some pictures."""

    done: int = 0
    resumed: int = 0
    failed: list[tuple[str, JobError]] = field(default_factory=list)


class ImageRun:
    """Measures what is not known yet of some units; `stop` ends it early. `execute` is called once."""

    def __init__(
        self, units: Sequence[Unit], level: ImageLevel, finding: Finding, shelf: Shelf, decoders: Decoders, line: Line,
        stop: threading.Event, *, force: bool,
    ) -> None:  # fmt: skip
        self._units, self._level, self._finding, self._shelf = units, level, finding, shelf
        self._decoders, self._line, self._stop, self._force = decoders, line, stop, force
        self._todo: dict[str, list[Todo]] = {}
        self._under_way: deque[Chunk] = deque()
        self._found = Found()

    def execute(self, progress: Progress) -> Found:
        """All of it."""
        frames: list[Frame] = []
        try:
            for frame in self._frames(progress):
                frames += [frame] if frame is not None else []
                if frame is None or len(frames) == self._line.together:
                    self._send(frames, progress)
                    frames = []
                # behind the feeding, so that the line is full whenever something is waited for
                self._take(progress, leaving=0 if frame is None else self._line.ahead)
            self._send(frames, progress)
            self._take(progress, leaving=0)
        finally:
            for chunk in self._under_way:
                chunk.cancel()
        return self._found

    def _send(self, frames: list[Frame], progress: Progress) -> None:
        if frames and not self._stop.is_set():
            self._under_way.append(self._line.start(self._finding, frames, self._stop))

    def _take(self, progress: Progress, leaving: int) -> None:
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
                    self._fail(progress, unit, [frame.todo.source], frame.error)
                else:
                    self._found.done += 1
                    progress.advance(unit.title)

    def _frames(self, progress: Progress) -> Iterator[Frame | None]:
        """What there is to do, with the decoded picture where it is needed."""
        pictured = self._decoders.frames(self._lacking(progress), self._stop.is_set, self._needs_pictures)
        for decoded in pictured:
            if decoded is None:
                yield None
            elif (frame := self._frame(decoded, progress)) is not None:
                yield frame

    def _lacking(self, progress: Progress) -> Iterator[Unit]:
        """The units of which something is to be found out."""
        for unit in self._units:
            try:
                todo = list(self._level.todo(unit, force=self._force))
            except JobError as error:
                self._fail(progress, unit, unit.sources, error)
                continue
            for _ in filter(lambda one: one.is_done, todo):
                self._found.resumed += 1
                progress.advance(unit.title)
            if not all(one.is_done for one in todo):
                self._todo[unit.record["bitstream"]] = todo
                yield unit

    def _needs_pictures(self, unit: Unit) -> bool:
        return any(map(self._level.needs_picture, self._todo[unit.record["bitstream"]]))

    def _frame(self, decoded: Decoded, progress: Progress) -> Frame | None:
        """A frame of which something is to be found out; None where all is known, or decoding failed."""
        unit, index, name = decoded.unit, decoded.index, decoded.unit.record["bitstream"]
        left = [one for one in self._todo[name] if one.index >= index and not one.is_done]
        if decoded.error is not None:
            self._fail(progress, unit, [one.source for one in left], decoded.error)
        if decoded.error is not None or index == len(unit.sources) - 1:
            del self._todo[name]
        if decoded.error is not None or not left or left[0].index != index:
            return None
        pristine = self._shelf.take(unit, index)
        if decoded.picture is not None:
            self._line.warm(pristine)
        return Frame(left[0], decoded.picture, pristine)

    def _fail(self, progress: Progress, unit: Unit, sources: Sequence[Source], error: JobError) -> None:
        """Say it, and take away what earlier runs found out of these pictures: it holds no longer."""
        if str(error) not in {str(other) for _, other in self._found.failed[-1000:]}:
            progress.say(f"failed: {unit.title}: {error}")
        for source in sources:
            self._level.drop(unit, source)
            self._found.failed.append((unit.title, error))
            progress.advance(unit.title)
