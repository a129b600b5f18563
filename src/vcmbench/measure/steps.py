"""What is found out of frames, step by step: the machine is asked, the metrics are computed, and a record is written.

The steps of one chunk of frames come after each other, but those of different chunks at the same time, on different
threads (`pipeline`). A frame that fails at one step is left out of the next ones.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import colour
from vcmbench.errors import JobError
from vcmbench.measure.outcome import as_job_error
from vcmbench.measure.predictions import Predictor, Question
from vcmbench.measure.pristine import Pristine
from vcmbench.measure.records import PRISTINE, SCHEMA_VERSION, Score
from vcmbench.measure.todo import ImageLevel, MeasureContext, Todo, is_referred
from vcmbench.tasks.kind import Answer, count

Later = Callable[[Callable[[], None]], Future[None]]
"""Has something done in the background."""


_TIMES, _ROUNDING = 4, 50
"""How much larger than recorded the squared error of luma may be: R'G'B' is rounded, and clipped at strong colours."""


@dataclass(eq=False)
class Frame:
    """A frame on its way: what is to be found out, (H, W, 3) uint8 RGB where it was decoded, and what went wrong."""

    todo: Todo
    picture: NDArray[np.uint8] | None
    pristine: Pristine
    answer: Answer | None = None
    kept: Future[None] = field(default_factory=Future)
    """Done when the machine's answer lies where later steps read it."""
    error: JobError | None = None
    score: Score = field(init=False)
    """The frame's record, as far as it is known."""

    def __post_init__(self) -> None:
        self.score = {**self.todo.score, "iqa": dict(self.todo.score["iqa"])}


class Steps:
    """The steps, for what `level` says is lacking."""

    def __init__(self, context: MeasureContext, level: ImageLevel) -> None:
        self._scores, self._level = context.scores, level
        self._predictor, self._scorer = context.predictor, context.scorer

    def check(self, frames: Sequence[Frame]) -> None:
        """Fail frames whose luma is much farther from the pristine one than the record says: a wrong decoder gives
        pictures of the right size, too. Every second row and column is looked at."""
        for frame in frames:
            if frame.picture is None:
                continue
            try:
                pristine = frame.pristine.picture.rgb
            except (JobError, OSError):  # said where it is needed
                continue
            psnr = frame.score["psnr_y_db"]
            coded = 0.0 if psnr is None else 255**2 / 10 ** (psnr / 10)
            first, second = (colour.luma(rgb[::2, ::2]).astype(np.float32) for rgb in (pristine, frame.picture))
            error = float(np.mean((first - second) ** 2))
            if error > _TIMES * coded + _ROUNDING:
                recorded = "no error" if psnr is None else f"{psnr:.1f} dB"
                frame.error = JobError(
                    f"{frame.todo.unit.record['bitstream']}: what is decoded is not what was coded: luma PSNR "
                    f"{10 * np.log10(255**2 / error):.1f} dB, recorded {recorded}; see: vcmbench encoders test"
                )

    # --- the machine

    def ask(self, frames: Sequence[Frame], later: Later) -> None:
        """Ask the machine about all frames that lack its part, and about their pristine pictures where none has.

        What it says is written by `later`: nothing here waits for a disk.
        """
        if self._predictor is None:
            return
        asked = [frame for frame in frames if frame.todo.machine_key is not None and frame.error is None
                 and not frame.pristine.has_failed]  # fmt: skip
        mine = [one for one in dict.fromkeys(frame.pristine for frame in asked) if one.is_mine_to_ask()]
        questions: list[tuple[Question, Frame | Pristine]] = []
        try:
            for one in mine:
                questions += self._about_pristine(self._predictor, one)
            left = [frame for frame in asked if not frame.pristine.has_failed]
            questions += [(_about(frame), frame) for frame in left if not self._lies_there(self._predictor, frame)]
            self._put(self._predictor, questions, later)
        except BaseException as error:
            for one in mine:  # what waits for them must not wait for ever
                if not one.answer.done():
                    _fail(one, error)
            raise

    def _lies_there(self, predictor: Predictor, frame: Frame) -> bool:
        """Whether the answer on a frame needs no asking; it is taken then."""
        if not frame.todo.is_answered:
            return False
        try:
            frame.answer = predictor.kept_answer(frame.todo.unit, frame.todo.index, is_pristine=False)
            frame.kept.set_result(None)
        except (JobError, OSError) as error:
            _fail(frame, error)
        return True

    def _about_pristine(self, predictor: Predictor, one: Pristine) -> list[tuple[Question, Frame | Pristine]]:
        """The question about a pristine picture; none where its answer lies there already, or it cannot be asked."""
        try:
            known = predictor.lying_there(one.unit, one.index)
            if known is None:
                return [(one.question(sees=predictor.needs_pictures), one)]
            one.answer.set_result(known)
            one.kept.set_result(None)
        except (JobError, OSError) as error:
            _fail(one, error)
        return []

    def _put(self, predictor: Predictor, questions: Sequence[tuple[Question, Frame | Pristine]], later: Later) -> None:
        """Put questions together; where that fails each goes alone, to find out whose fault it is."""
        if not questions:
            return
        try:
            found = predictor.answer([question for question, _ in questions])
        except (JobError, OSError) as error:
            if len(questions) > 1:
                for one in questions:
                    self._put(predictor, [one], later)
            else:
                _fail(questions[0][1], error)
            return
        for (question, whose), answer in zip(questions, found, strict=True):

            def keep(question: Question = question, answer: Answer = answer) -> None:
                predictor.keep(question, answer)

            if isinstance(whose, Frame):
                whose.answer, whose.kept = answer, later(keep)
            else:
                whose.kept = later(keep)
                whose.answer.set_result(answer)

    def wait_for_pristine(self, frames: Sequence[Frame]) -> None:
        """Until the machine has been asked about the pristine pictures of all these frames, which others may do."""
        wait([frame.pristine.answer for frame in frames if frame.todo.machine_key is not None and frame.error is None])

    # --- the metrics

    def score(self, frames: Sequence[Frame]) -> None:
        """Compute the metrics that frames lack, those of one size together."""
        groups: defaultdict[tuple[Any, ...], list[tuple[Frame, NDArray[np.uint8]]]] = defaultdict(list)
        for frame in frames:
            if frame.todo.iqa_keys and frame.picture is not None and frame.error is None:
                groups[(frame.picture.shape, *frame.todo.iqa_keys)].append((frame, frame.picture))
        for group in groups.values():
            self._score(group)

    def _score(self, group: list[tuple[Frame, NDArray[np.uint8]]]) -> None:
        if self._scorer is None:
            return
        names = list(group[0][0].todo.iqa_keys)
        try:
            pristine = np.stack([frame.pristine.picture.rgb for frame, _ in group])
            found = self._scorer.score(pristine, np.stack([picture for _, picture in group]), names)
        except (JobError, OSError) as error:
            if len(group) > 1:  # whose fault it is, is found out one by one
                for one in group:
                    self._score([one])
            else:
                _fail(group[0][0], error)
            return
        for row, (frame, _) in enumerate(group):
            for name in names:
                value, why = found.at(name, row)
                frame.score["iqa"][name] = {"value": value, "reason": why, "key": frame.todo.iqa_keys[name]}

    # --- the record

    def finish(self, frame: Frame) -> None:
        """Count what the machine saw, and write the record, after all it speaks of."""
        if frame.error is not None:
            return
        try:
            if frame.picture is not None:
                data = np.ascontiguousarray(frame.picture).data
                frame.score["decoded_sha256"] = hashlib.sha256(data).hexdigest()
            if frame.todo.machine_key is not None:
                self._count(frame)
            self._scores.write(frame.todo.unit.folder, frame.todo.source, frame.score)
        except (JobError, OSError) as error:
            _fail(frame, error)
        except (TypeError, ValueError) as error:  # what a kind of a user's own keeps may be no JSON
            _fail(frame, JobError(f"its score record cannot be written: {error}"))
        finally:
            frame.picture = frame.answer = None  # what waits for this frame does not need them

    def _count(self, frame: Frame) -> None:
        todo, pristine, predictor = frame.todo, frame.pristine, self._predictor
        against = pristine.answer.result()
        if predictor is None or frame.answer is None:
            raise JobError("internal error: no machine was asked")
        pristine.kept.result()
        pristine.refer(lambda: self._refer(predictor, frame, against))
        frame.score["machine"] = count(predictor.kind, frame.answer, against, pristine.truth, predictor.classes) | {
            "key": todo.machine_key, "identity": predictor.identity(), "truth": self._level.truths[todo.source],
        }  # fmt: skip
        frame.kept.result()

    def _refer(self, predictor: Predictor, frame: Frame, answer: Answer) -> None:
        """Keep what the machine makes of the pristine picture, where that is not known yet."""
        source, key = frame.todo.source, self._level.reference_key(frame.todo.unit, frame.todo.index)
        if is_referred(self._scores, source, key):
            return
        self._scores.write(PRISTINE, source, {
            "schema_version": SCHEMA_VERSION, "source": str(source.name), "group": str(source.group), "iqa": {},
            "machine": count(predictor.kind, answer, None, frame.pristine.truth, predictor.classes) | {"key": key},
        })  # fmt: skip


def _about(frame: Frame) -> Question:
    return Question(frame.todo.unit, frame.todo.index, frame.picture)


def _fail(whose: Frame | Pristine, error: BaseException) -> None:
    if isinstance(error, JobError | OSError):
        error = as_job_error(error)
    if isinstance(whose, Pristine):
        whose.answer.set_exception(error)
    elif isinstance(error, JobError):
        whose.error = error
