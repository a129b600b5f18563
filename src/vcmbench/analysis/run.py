"""From what a run measured to tables, correlations and curves; also of a run that ended before, without measuring."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from shlex import quote

from vcmbench.analysis import tables
from vcmbench.analysis.correlated import Correlated
from vcmbench.analysis.machine_scores import kind_of
from vcmbench.analysis.samples import Samples
from vcmbench.analysis.summary import Summary
from vcmbench.analysis.tables_run import TablesRun
from vcmbench.data.labels import CLASSES
from vcmbench.errors import JobError, RequestError
from vcmbench.measure import ground_truth
from vcmbench.measure.outcome import MeasureOutcome, asked, keep, recall
from vcmbench.measure.records import FOUND_OUT, PRISTINE, Score, begin
from vcmbench.measure.run import MeasureRun


@dataclass(frozen=True)
class Findings:
    """What the records of a run say together."""

    outcome: MeasureOutcome
    summary: Summary
    correlated: list[Correlated]
    images: Samples
    """The samples of the image level."""


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
    again = f"run first: python run_metrics.py -d {quote(str(run.data.root))} -s {quote(run.config)}"
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
    """Each record is read once, for the tables and for the summary."""
    experiment, quiet = run.experiment, run.settings.quiet
    made = TablesRun(experiment, run.store, outcome, quiet=quiet, writes=writes)
    pristine = (run.scores.read(PRISTINE, source) for source in run.sources)
    known = (score for score in pristine if score is not None)
    summary = Summary(made.passing(scores), known, experiment.metrics.bootstrap, experiment.seed)
    correlated = made.finish()
    if writes:
        tables.write_points(run.store, summary, outcome.names, kind_of(experiment))
    return Findings(outcome, summary, correlated, made.images)


def _unchanged(run: MeasureRun, outcome: MeasureOutcome, failed: Collection[str], again: str) -> Iterator[Score]:
    """The records of the last run. Raises RequestError after them where bitstreams are others by now."""
    stale: dict[str, None] = {}
    otherwise: dict[str, None] = {}
    now_there = ground_truth.Now(run.data, ground_truth.weights_of(run.experiment))
    for unit in run.units:
        for index, source in enumerate(unit.sources):
            score, now = run.scores.read(unit.folder, source), begin(unit, index)
            changed = score is None or any(score.get(name) != now[name] for name in now if name not in FOUND_OUT)
            if changed and unit.title not in failed:
                stale[unit.title] = None
            elif score is not None:
                has_task = run.experiment.task is not None
                told = _asked_of(score, outcome.names, outcome.unavailable, has_task=has_task)
                if not now_there.is_of(source, told["machine"]):
                    otherwise[source.name.name] = None
                yield told
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
