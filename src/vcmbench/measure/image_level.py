"""The image level: every decoded picture is looked at once, by the machine and by the metrics together."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.coding import ImportanceSource
from vcmbench.dataset import DataRoot, Picture, Source
from vcmbench.errors import JobError
from vcmbench.iqa import Scorer
from vcmbench.measure import machine, truth
from vcmbench.measure.answers import Answer, Answers
from vcmbench.measure.records import FOUND_OUT, PRISTINE, SCHEMA_VERSION, Score, Scores, begin
from vcmbench.measure.truth import Truth
from vcmbench.measure.units import Unit
from vcmbench.store import job_key

_KEPT_PRISTINE = 4


@dataclass(frozen=True)
class Todo:
    """A frame of a unit, its record so far, and what is still to be found out of it."""

    unit: Unit
    index: int
    score: Score
    machine_key: str | None
    """None where the machine's part is done, or no machine was asked for."""
    iqa_keys: dict[str, str]
    is_written: bool
    """Whether the record that lies there says the same, and only what is still to be found out lacks."""

    @property
    def source(self) -> Source:
        return self.unit.sources[self.index]

    @property
    def is_done(self) -> bool:
        return self.is_written and self.machine_key is None and not self.iqa_keys


class Pristine:
    """A pristine picture and what is known of it, read when it is needed and then kept."""

    def __init__(
        self, data: DataRoot, unit: Unit, index: int, answers: Answers | None, weights: ImportanceSource
    ) -> None:
        self._data, self._unit, self._index, self._answers, self._weights = data, unit, index, answers, weights

    @cached_property
    def picture(self) -> Picture:
        return self._unit.pristine(self._index)

    @cached_property
    def truth(self) -> Truth:
        return truth.read(self._data, self._unit.sources[self._index], self._weights)

    @cached_property
    def answer(self) -> Answer:
        if self._answers is None:
            raise JobError("internal error: no machine was asked for")
        rgb = self.picture.rgb if self._answers.needs_pictures else None
        return self._answers.pristine(self._unit, self._index, rgb)


class ImageLevel:
    """What is asked of every picture, and the finding out: by `answers` of a machine, None where there is none, and by
    the metrics of a scorer that are in `names`. What is known of its other metrics is kept where it holds. `weights` is
    where the importance comes from that pixels count by."""

    def __init__(
        self, data: DataRoot, scores: Scores, answers: Answers | None, scorer: Scorer | None, names: Sequence[str],
        weights: ImportanceSource,
    ) -> None:  # fmt: skip
        self._weights = weights
        self._data, self._scores, self._answers, self._scorer = data, scores, answers, scorer
        missing = scorer.missing if scorer else {}
        self._missing = {name: why for name, why in missing.items() if name in names}
        self._names = [name for name in names if scorer is not None and name not in missing]
        computable = [name for name in scorer.names if name not in missing] if scorer else []
        self._identities = {name: scorer.identity(name) for name in computable} if scorer else {}
        self._pristine: OrderedDict[tuple[Source, str], Pristine] = OrderedDict()
        self._referred: set[tuple[Source, str]] = set()
        self.truths: dict[Source, str] = {}
        """What decides the truth of each picture that a machine was asked for."""
        self.known: set[str] = set()
        """Metrics that some record knows, as they would be computed today."""

    def todo(self, unit: Unit, *, force: bool) -> Iterator[Todo]:
        """What there is to do for each frame of a unit. Raises JobError where files of it cannot be read."""
        for index, source in enumerate(unit.sources):
            before = self._scores.read(unit.folder, source)
            fresh = begin(unit, index)
            if before is not None and before.get("compression_key") == fresh["compression_key"]:
                fresh |= {name: before.get(name) for name in FOUND_OUT}
            same_file = before is not None and before.get("bitstream_sha256") == fresh["bitstream_sha256"]
            fresh["decoded_sha256"] = fresh["decoded_sha256"] if same_file else None
            lacking = self._iqa_todo(unit, index, fresh, force=force, same_file=same_file)
            machine_key = self._machine_todo(unit, index, fresh, force=force)
            if machine_key is not None:
                fresh["machine"] = None
            yield Todo(unit, index, fresh, machine_key, lacking, is_written=before == fresh)

    def _iqa_todo(self, unit: Unit, index: int, score: Score, *, force: bool, same_file: bool) -> dict[str, str]:
        """The keys of what is to be computed. What holds no longer leaves the record, should it fail to be found out
        again; what cannot be checked, because the metric is missing here, stays if it is of the same bitstream."""
        keys = {name: self._iqa_key(unit, index, name) for name in self._identities}
        known = score["iqa"]
        holding = {name for name, key in keys.items() if known.get(name, {}).get("key") == key}
        lacking = {name: keys[name] for name in self._names if force or name not in holding}
        unchecked = {name for name in known if name not in keys and same_file
                     and (known[name]["key"] or name not in self._missing)}  # fmt: skip
        staying = unchecked | (holding - lacking.keys())
        score["iqa"] = {name: known[name] for name in known if name in staying}
        score["iqa"] |= {name: {"value": None, "reason": why, "key": ""} for name, why in self._missing.items()
                         if name not in unchecked}  # fmt: skip
        self.known |= holding | lacking.keys()
        return lacking

    def _iqa_key(self, unit: Unit, index: int, name: str) -> str:
        record = unit.record
        return job_key({
            "record": record["key"], "bitstream": record["bitstream_sha256"], "frame": index,
            "pristine": record["sources"][index]["sha256"], "metric": self._identities[name],
        })  # fmt: skip

    def _machine_todo(self, unit: Unit, index: int, score: Score, *, force: bool) -> str | None:
        if self._answers is None:
            return None
        source = unit.sources[index]
        if source not in self.truths:
            self.truths[source] = truth.digest(self._data, source, self._weights)
        key = machine.key(self._answers.key(unit, index), self.truths[source])
        has = not force and score["machine"] is not None and score["machine"]["key"] == key
        return None if has and self._answers.is_kept(unit, index) and self._is_referred(unit, index) else key

    def drop(self, unit: Unit, source: Source) -> None:
        """Forget a picture that failed: what earlier runs found out of it holds no longer."""
        self._scores.drop(unit.folder, source)

    def needs_picture(self, todo: Todo) -> bool:
        """Whether a frame must be decoded for what is to be found out."""
        wants_answer = todo.machine_key is not None and self._answers is not None and self._answers.needs_pictures
        return wants_answer or bool(todo.iqa_keys)

    def pristine(self, todo: Todo) -> Pristine:
        """The pristine picture of a frame, from the last few that were looked at."""
        # not by its name alone: bitstreams may have been made of what was another picture then
        which = todo.source, todo.unit.pristine_sha256(todo.index)
        if which not in self._pristine:
            self._pristine[which] = Pristine(self._data, todo.unit, todo.index, self._answers, self._weights)
            while len(self._pristine) > _KEPT_PRISTINE:
                self._pristine.popitem(last=False)
        return self._pristine[which]

    def measure(self, chunk: Sequence[tuple[Todo, NDArray[np.uint8] | None]]) -> None:
        """Find out what is to be found out of some frames, and write their records. Raises JobError."""
        self._ask(chunk)
        groups: defaultdict[tuple[Any, ...], list[tuple[Todo, NDArray[np.uint8]]]] = defaultdict(list)
        for todo, picture in chunk:
            if picture is not None:
                todo.score["decoded_sha256"] = hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()
            if todo.iqa_keys and picture is not None:
                groups[(picture.shape, *todo.iqa_keys)].append((todo, picture))
        for group in groups.values():
            self._score(group)
        for todo, _ in chunk:
            self._scores.write(todo.unit.folder, todo.source, todo.score)

    def _ask(self, chunk: Sequence[tuple[Todo, NDArray[np.uint8] | None]]) -> None:
        asked = [(todo, picture) for todo, picture in chunk if todo.machine_key is not None]
        if not asked or self._answers is None:
            return
        found = self._answers.decoded([(todo.unit, todo.index, picture) for todo, picture in asked])
        for (todo, _), answer in zip(asked, found, strict=True):
            pristine = self.pristine(todo)
            self._refer(todo, pristine)
            todo.score["machine"] = self._counts(todo.source, answer, pristine, pristine.answer) | {
                "key": todo.machine_key, "identity": self._answers.identity(), "truth": self.truths[todo.source],
            }  # fmt: skip

    def _counts(self, source: Source, answer: Answer, pristine: Pristine, against: Answer | None) -> dict[str, Any]:
        answers = self._answers
        if answers is None:
            raise JobError("internal error: no machine was asked for")
        if answers.kind == "segmentation":
            return machine.segmentation(answer, against, pristine.truth, answers.classes)
        label = machine.label_of(self._data, source, answers.classes)
        return machine.classification(answer, against, label, answers.classes)

    def _reference_key(self, unit: Unit, index: int, answers: Answers) -> str:
        return machine.key(answers.pristine_key(unit, index), self.truths[unit.sources[index]])

    def _is_referred(self, unit: Unit, index: int) -> bool:
        """Whether it is kept what the machine makes of the pristine picture."""
        if self._answers is None:
            return False
        source = unit.sources[index]
        which = source, self._reference_key(unit, index, self._answers)
        if which not in self._referred:
            before = self._scores.read(PRISTINE, source)
            if before is None or (before["machine"] or {}).get("key") != which[1]:
                return False
            self._referred.add(which)
        return True

    def _refer(self, todo: Todo, pristine: Pristine) -> None:
        """Keep what the machine makes of the pristine picture, once for each picture and network."""
        if self._answers is None or self._is_referred(todo.unit, todo.index):
            return
        counts = self._counts(todo.source, pristine.answer, pristine, None)
        counts["key"] = self._reference_key(todo.unit, todo.index, self._answers)
        self._scores.write(PRISTINE, todo.source, {
            "schema_version": SCHEMA_VERSION, "source": str(todo.source.name), "group": str(todo.source.group),
            "iqa": {}, "machine": counts,
        })  # fmt: skip

    def _score(self, group: list[tuple[Todo, NDArray[np.uint8]]]) -> None:
        if self._scorer is None:
            return
        names = list(group[0][0].iqa_keys)
        pristine = np.stack([self.pristine(todo).picture.rgb for todo, _ in group])
        found = self._scorer.score(pristine, np.stack([picture for _, picture in group]), names)
        for row, (todo, _) in enumerate(group):
            for name in names:
                value, why = found.at(name, row)
                todo.score["iqa"][name] = {"value": value, "reason": why, "key": todo.iqa_keys[name]}
