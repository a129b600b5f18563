"""From what a run measured to tables, correlations and curves; also of a run that ended before, without measuring."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from shlex import quote

from vcmbench import tasks
from vcmbench.analysis import tables
from vcmbench.analysis.correlated import OF_BLOCKS, Correlated, correlate, digest
from vcmbench.analysis.correlated import write as write_correlations
from vcmbench.analysis.samples import Samples
from vcmbench.analysis.summary import Summary
from vcmbench.data.effort import efforts
from vcmbench.data.labels import CLASSES
from vcmbench.data.store import Store
from vcmbench.encoder.plugins import loses_nothing
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment, grouping
from vcmbench.io.progress import counted
from vcmbench.measure import ground_truth
from vcmbench.measure.blocks.state import SampledBlocks
from vcmbench.measure.outcome import MeasureOutcome, asked, keep, recall
from vcmbench.measure.records import FOUND_OUT, PRISTINE, Score, begin
from vcmbench.measure.run import MeasureRun
from vcmbench.tasks import kind as kinds


@dataclass(frozen=True)
class Findings:
    """What the records of a run say together."""

    outcome: MeasureOutcome
    summary: Summary
    correlated: list[Correlated]
    samples: dict[str, Samples]
    """What was correlated, by level."""


def analyse(run: MeasureRun, outcome: MeasureOutcome) -> Findings:
    """Write the tables of a run that has ended, and keep what analysing it again takes."""
    scores = measured(run, outcome.names, outcome.unavailable)
    findings = _findings(run, outcome, scores, writes=not outcome.interrupted)
    if not outcome.interrupted:
        keep(run.store, run.experiment, outcome)
    return findings


def recalled(run: MeasureRun) -> Findings:
    """What the last run of an experiment measured, analysed again. Nothing is measured and nothing written.

    Raises RequestError where there was none, it did not end, or what it is about has changed since.
    """
    known = recall(run.store)
    again = f"run first: python run_metrics.py -d {quote(str(run.data.root))} -s {run.config}"
    name = run.experiment.name
    if known is None:
        raise RequestError(f"experiment {name}: no run has measured all of it yet; {again}")
    if known["asked"] != asked(run.experiment):
        raise RequestError(f"experiment {name}: it was changed since it was measured; {again}")
    failed = [(title, JobError(error)) for title, error in known["failed"]]
    run.levels = tuple(known["levels"])
    outcome = MeasureOutcome(run.levels, failed=failed, reasons=known["missing"], commands=known["commands"])
    outcome.unavailable, outcome.names = known["unavailable"], run.image_names
    level = run.blocks().level(len(CLASSES), "")
    for blocks in known["blocks"]:
        if (found := level.recall(blocks, run.names, outcome.unavailable)) is None:
            raise RequestError(f"experiment {name}: its blocks {blocks} are not there; {again}")
        outcome.sampled.append(found)
    return _findings(run, outcome, _unchanged(run, outcome, dict(failed), again), writes=False)


def measured(run: MeasureRun, names: Sequence[str], unavailable: dict[str, str]) -> Iterator[Score]:
    """The records of a run, each with those metrics only; parts that others asked for are left out."""
    for score in run.scores.all(run.units):
        yield _asked_of(score, names, unavailable, has_task=run.experiment.task is not None)


def _findings(run: MeasureRun, outcome: MeasureOutcome, scores: Iterator[Score], *, writes: bool) -> Findings:
    """Each record is read once, for the tables and for the summary. What holds no longer of earlier runs goes, and what
    this run was not asked for stays."""
    experiment = run.experiment
    passing = _Passing(experiment, outcome, run.store if writes else None, run.stability().counts())
    groups = grouping(experiment, run.sources)
    pristine = (run.scores.read(PRISTINE, source) for source in run.sources)
    known = (score for score in pristine if score is not None)
    total = sum(len(unit.sources) for unit in run.units)
    read = counted(scores, total, "record", lambda score: str(score.get("label")), quiet=run.settings.quiet)
    summary = Summary(passing.all_of(read), known, experiment.metrics.intervals,
                      groups)  # fmt: skip
    machine = f"{passing.kind.correlated(experiment.metrics.machine)[0]}, {experiment.metrics.against}"
    fresh: list[tuple[str, Samples, str, str]] = []
    holding = {}
    if "image" in outcome.levels:
        fresh.append(("image", passing.images, machine, ""))
    else:
        holding["image"] = digest(passing.images, machine, experiment, groups)
    for one in outcome.sampled:
        fresh.append((one.level, passing.samples_of(one), OF_BLOCKS, "; ".join(one.notes)))
    for one in outcome.kept:
        holding[one.level] = digest(passing.samples_of(one), OF_BLOCKS, experiment, groups)
    correlated = [correlate(level, samples, against, experiment, groups, note, quiet=run.settings.quiet)
                  for level, samples, against, note in fresh]  # fmt: skip
    for level, samples, *_ in fresh:
        lacking = (f"{name}, {level}: {why}" for name in samples.names if (why := samples.missing(name))
                   and name not in outcome.unavailable)  # fmt: skip
        outcome.reasons += [line for line in lacking if line not in outcome.reasons]  # a report has those of its run
    outcome.reasons += [line for line in summary.partly() if line not in outcome.reasons]
    if writes:
        tables.write_blocks(run.store, passing.blocks, passing.of_blocks)
        write_correlations(run.store, experiment, correlated, holding)
        each = {point.configuration: [point.configuration] for point in summary.points}
        worked = efforts(((unit.folder, unit.record) for unit in run.units), each)
        tables.write_points(run.store, summary, outcome.names, passing.kind, worked)
        tables.write_classes(run.store, summary, passing.kind)
    return Findings(outcome, summary, correlated, {level: samples for level, samples, *_ in fresh})


class _Passing:
    """What is taken of records on their way to the summary: rows of a table (with a store), what is correlated, and
    what blocks need of their pictures. Nothing else of them is kept here."""

    def __init__(
        self, experiment: Experiment, outcome: MeasureOutcome, store: Store | None,
        stability: Mapping[tuple[str, str], tuple[int, int, int]],
    ) -> None:  # fmt: skip
        task = experiment.task
        self.kind = kinds.get(kinds.DEFAULT if task is None else tasks.get(task.name).kind)
        self.images = Samples(outcome.names, "pictures")
        self.blocks = [*outcome.sampled, *outcome.kept]
        self.of_blocks: dict[tuple[str, str], Score] = {
            (block.image, block.configuration): {} for one in self.blocks for block in one.blocks
        }
        self._names, self._metrics, self._store = outcome.names, experiment.metrics, store
        self._stability = stability

    def all_of(self, scores: Iterable[Score]) -> Iterator[Score]:
        """The records as they come."""
        columns = tables.image_columns(self._names, self.kind, over_time=bool(self._stability))
        with tables.writing(self._store, "image_scores", columns) if self._store else nullcontext() as add:
            for score in scores:
                score["stability"] = self._stability.get((score["configuration"], score["source"]))
                if add is not None:
                    add(tables.image_row(score, self._names, self.kind))
                which = score["source"], score["configuration"]
                if which in self.of_blocks:
                    self.of_blocks[which] = {name: score[name] for name in (*tables.OF_BLOCKS, "label")}
                if loses_nothing(score["encoder"], score["color_subsampling"], score["subsampling_factor"]):
                    self.images.references += 1
                else:
                    self.images.add(self._machine_score(score), score["source"], score["label"], score["iqa"])
                yield score

    def _machine_score(self, score: Score) -> float | None:
        part, wanted = score["machine"], self._metrics
        if part is None or part[wanted.against] is None:
            return None
        return kinds.get(part["kind"]).correlated_score(part[wanted.against], part["classes"], wanted.machine)

    def samples_of(self, sampled: SampledBlocks) -> Samples:
        """Blocks, to be correlated."""
        found = Samples(list(sampled.values), "blocks")
        why = {name: {number: reason for reason, numbers in reasons.items() for number in numbers}
               for name, reasons in sampled.reasons.items()}  # fmt: skip
        for number, block in enumerate(sampled.blocks):
            scores = {name: {"value": column[number], "reason": why[name].get(number)}
                      for name, column in sampled.values.items()}  # fmt: skip
            label = self.of_blocks[block.image, block.configuration]["label"]
            found.add(block.accuracy, block.image, label, scores, (block.x, block.y))
        return found


def _unchanged(run: MeasureRun, outcome: MeasureOutcome, failed: Collection[str], again: str) -> Iterator[Score]:
    """The records of the last run. Raises RequestError after them where bitstreams are others by now."""
    stale: dict[str, None] = {}
    otherwise: dict[str, None] = {}
    task = run.experiment.task
    kind = kinds.get(tasks.get(task.name).kind if task is not None else kinds.DEFAULT)
    now_there = ground_truth.Now(
        run.data, ground_truth.weights_of(run.experiment), objects=kind.needs_objects, masks=kind.needs_masks
    )
    for unit in run.units:
        for index, source in enumerate(unit.sources):
            score, now = run.scores.read(unit.folder, source), begin(unit, index)
            changed = score is None or any(score.get(name) != now[name] for name in now if name not in FOUND_OUT)
            if changed and unit.title not in failed:
                stale[unit.title] = None
            elif score is not None:
                has_task = run.experiment.task is not None
                asked_of = _asked_of(score, outcome.names, outcome.unavailable, has_task=has_task)
                if not now_there.is_of(source, asked_of["machine"]):
                    otherwise[source.name.name] = None
                yield asked_of
    if otherwise and not stale:
        raise RequestError(
            f"experiment {run.experiment.name}: labels, distances or importance of {len(otherwise)} pictures are "
            f"others than those that were measured with, such as {next(iter(otherwise))}; {again}"
        )
    if stale:
        raise RequestError(
            f"experiment {run.experiment.name}: {len(stale)} bitstreams are others than those that were measured, "
            f"such as {next(iter(stale))}; {again}"
        )


def _asked_of(score: Score, names: Sequence[str], unavailable: dict[str, str], *, has_task: bool) -> Score:
    if not has_task:
        score["machine"] = None
    # what cannot be computed here cannot be checked, either: its old values stay in the record, unreported
    lacking = {name: {"value": None, "reason": why, "key": ""} for name, why in unavailable.items()}
    score["iqa"] = {name: (score["iqa"] | lacking)[name] for name in names if name in score["iqa"] or name in lacking}
    return score
