"""The image level: what is to be found out of every picture, by the machine and by the metrics, and what is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from vcmbench.data.dataset import Source
from vcmbench.data.store import Store, job_key
from vcmbench.errors import JobError
from vcmbench.experiment import Experiment
from vcmbench.importance.source import ImportanceSource
from vcmbench.iqa import Scorer
from vcmbench.measure import ground_truth
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.predictions import Predictor
from vcmbench.measure.records import FOUND_OUT, PRISTINE, Score, ScoreStore, begin, machine_key


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
    is_answered: bool = False
    """Whether the machine's answers lie there, and are only to be counted anew."""

    @property
    def source(self) -> Source:
        return self.unit.sources[self.index]

    @property
    def is_done(self) -> bool:
        return self.is_written and self.machine_key is None and not self.iqa_keys


@dataclass(frozen=True, eq=False)
class MeasureContext:
    """What an experiment's pictures are measured with. `predictor` is None where there is no machine, `scorer` where
    there are no metrics; `names` are the metrics of whole pictures."""

    experiment: Experiment
    store: Store
    predictor: Predictor | None
    scorer: Scorer | None
    names: tuple[str, ...]

    @cached_property
    def scores(self) -> ScoreStore:
        return ScoreStore(self.store)

    @cached_property
    def weights(self) -> ImportanceSource:
        """Where the importance comes from that pixels count by."""
        return ground_truth.weights_of(self.experiment)

    @property
    def score(self) -> float | None:
        """From which detections are a truth; None where there is no such machine."""
        return self.predictor.score if self.predictor is not None else None


class ImageLevel:
    """What is lacking of every picture. What is known of metrics that are not asked for is kept where it holds. Used by
    one thread."""

    def __init__(self, context: MeasureContext) -> None:
        self._data, self._scores, self._weights = context.store.data, context.scores, context.weights
        self._predictor, scorer, names = context.predictor, context.scorer, context.names
        missing = scorer.missing if scorer else {}
        self._missing = {name: why for name, why in missing.items() if name in names}
        self._names = [name for name in names if scorer is not None and name not in missing]
        computable = [name for name in scorer.names if name not in missing] if scorer else []
        self._identities = {name: scorer.identity(name) for name in computable} if scorer else {}
        self._referred: set[tuple[Source, str]] = set()
        self._now: dict[Source, str] = {}
        self.truths: dict[Source, str] = {}
        """What decides the truth of each picture that a machine was asked for."""
        self.known: set[str] = set()
        """Metrics that some record knows, as they would be computed today."""

    def todo(self, unit: Unit, *, force: bool) -> Iterator[Todo]:
        """What there is to do for each frame of a unit. Raises JobError where files of it cannot be read."""
        for index, source in enumerate(unit.sources):
            self._check_unchanged(unit, index)
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
            is_answered = machine_key is not None and not force and self._is_answered(unit, index, fresh)
            yield Todo(unit, index, fresh, machine_key, lacking, before == fresh, is_answered)

    def _check_unchanged(self, unit: Unit, index: int) -> None:
        """Raises JobError where a picture is another one by now, also if all was known of the one before."""
        source = unit.sources[index]
        if source not in self._now:
            try:
                self._now[source] = source.sha256()
            except OSError as error:
                raise JobError(f"{source.path}: cannot be read: {error.strerror}") from None
        if self._now[source] != unit.pristine_sha256(index):
            raise unit.is_another(index)

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
        if self._predictor is None:
            return None
        source = unit.sources[index]
        if source not in self.truths:
            self.truths[source] = ground_truth.digest(
                self._data, source, self._weights, objects=self._predictor.kind.needs_objects,
                masks=self._predictor.kind.needs_masks,
            )  # fmt: skip
        key = machine_key(self._predictor.key(unit, index), self.truths[source])
        has = not force and score["machine"] is not None and score["machine"]["key"] == key
        return None if has and self._predictor.is_kept(unit, index) and self._is_referred(unit, index) else key

    def _is_answered(self, unit: Unit, index: int, score: Score) -> bool:
        """Whether answers lie in files, on the picture that was decoded of this bitstream before."""
        predictor = self._predictor
        return (
            predictor is not None and predictor.needs_pictures and predictor.kind.files is not None
            and score["decoded_sha256"] is not None and predictor.is_kept(unit, index)
        )  # fmt: skip

    def drop(self, unit: Unit, source: Source) -> None:
        """Forget a picture that failed: what earlier runs found out of it holds no longer."""
        self._scores.drop(unit.folder, source)

    def needs_picture(self, todo: Todo) -> bool:
        """Whether a frame must be decoded for what is to be found out."""
        asks = todo.machine_key is not None and not todo.is_answered
        return (asks and self._predictor is not None and self._predictor.needs_pictures) or bool(todo.iqa_keys)

    def reference_key(self, unit: Unit, index: int) -> str:
        """What decides what is kept of the machine's answer on the pristine picture."""
        answer = "" if self._predictor is None else self._predictor.pristine_key(unit, index)
        return machine_key(answer, self.truths[unit.sources[index]])

    def _is_referred(self, unit: Unit, index: int) -> bool:
        """Whether it is kept what the machine makes of the pristine picture."""
        source = unit.sources[index]
        which = source, self.reference_key(unit, index)
        if which not in self._referred:
            if not is_referred(self._scores, source, which[1]):
                return False
            self._referred.add(which)
        return True


def is_referred(scores: ScoreStore, source: Source, key: str) -> bool:
    """Whether a pristine picture's record is there, and of that key."""
    before = scores.read(PRISTINE, source)
    return before is not None and (before["machine"] or {}).get("key") == key
