"""Pristine pictures and what is known of them: found out once, however many threads need it, and then kept a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property

from vcmbench.data.dataset import DataRoot, Picture, Source
from vcmbench.importance.source import ImportanceSource
from vcmbench.measure import ground_truth
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.predictions import Question
from vcmbench.tasks.kind import Answer, Truth

_KEPT = 4


class Pristine:
    """A pristine picture, read when it is needed. Whatever fails is a JobError each time that it is asked for."""

    def __init__(
        self, data: DataRoot, unit: Unit, index: int, weights: ImportanceSource, score: float | None = None
    ) -> None:
        """`score` is that from which detections are a truth; None where objects are not asked for."""
        self._data, self.unit, self.index, self._weights, self._score = data, unit, index, weights, score
        self._reading, self._holding = threading.Lock(), threading.Lock()
        self._is_asked_for, self._referring = threading.Lock(), threading.Lock()
        self._is_referred = False
        self.answer: Future[Answer] = Future()
        """The machine's answer. The caller to whom `is_mine_to_ask` said yes must give it a result."""
        self.kept: Future[None] = Future()
        """Done when the answer lies where later steps read it."""

    @property
    def picture(self) -> Picture:
        with self._reading:
            return self._picture

    @cached_property
    def _picture(self) -> Picture:
        return self.unit.pristine(self.index)

    @property
    def truth(self) -> Truth:
        with self._holding:
            return self._truth

    @cached_property
    def _truth(self) -> Truth:
        source = self.unit.sources[self.index]
        if self._score is None:
            return ground_truth.read(self._data, source, self._weights)
        return replace(ground_truth.read(self._data, source, self._weights, objects=True), score=self._score)

    @property
    def has_failed(self) -> bool:
        """Whether it is known by now that there is no answer on it."""
        return self.answer.done() and self.answer.exception() is not None

    def is_mine_to_ask(self) -> bool:
        """True for the first who calls."""
        return self._is_asked_for.acquire(blocking=False)

    def refer(self, write: Callable[[], None]) -> None:
        """Call `write`, which keeps what the machine makes of this picture, until it has succeeded once."""
        with self._referring:
            if not self._is_referred:
                write()
                self._is_referred = True

    def question(self, *, sees: bool) -> Question:
        """What the machine is asked about it."""
        return Question(self.unit, self.index, self.picture.rgb if sees else None, is_pristine=True)


class PristineCache:
    """The last few pristine pictures that were looked at. Used by one thread."""

    def __init__(self, data: DataRoot, weights: ImportanceSource, score: float | None = None) -> None:
        self._data, self._weights, self._score = data, weights, score
        self._kept: OrderedDict[tuple[Source, str], Pristine] = OrderedDict()

    def take(self, unit: Unit, index: int) -> Pristine:
        """The pristine picture of a frame."""
        # not by its name alone: bitstreams may have been made of what was another picture then
        which = unit.sources[index], unit.pristine_sha256(index)
        if which not in self._kept:
            self._kept[which] = Pristine(self._data, unit, index, self._weights, self._score)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[which]
