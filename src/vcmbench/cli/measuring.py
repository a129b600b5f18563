"""An experiment measured, analysed and reported, as `vcmbench metrics`, `report` and `demo` do it. Needs torch."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from vcmbench.analysis.run import Findings, analyse, recalled
from vcmbench.cli import INTERRUPTED, metrics_tables, runners, terminal, which
from vcmbench.cli.terminal import say
from vcmbench.compress import forecast
from vcmbench.compress.run import cores
from vcmbench.compress.worker import software
from vcmbench.data import runlog, sums
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution import engine
from vcmbench.experiment import Experiment
from vcmbench.iqa import Scorer
from vcmbench.measure.cluster import ClusterMeasure, RemoteWorkerSpec
from vcmbench.measure.outcome import MeasureOutcome, MeasureSettings
from vcmbench.measure.predictions import Predictor, RecordedPredictor, of_files
from vcmbench.measure.run import MeasureRun
from vcmbench.measure.worker import MeasureWorkerSpec, open_predictor, open_scorer
from vcmbench.report.build import report_content, write
from vcmbench.report.headline import headline


def run_experiment(wanted: Experiment, folder: Path, arguments: argparse.Namespace, levels: list[str]) -> int:
    """Measure an experiment as `arguments` say. Returns the exit code."""
    root = open_root(folder)
    # decoders give the same pictures wherever they run, so auto prefers what needs no containers to be started
    runner = runners.choose(arguments, wanted.encoders(), Store(root, wanted.name).any_runner())
    jobs = min(arguments.jobs or cores(), cores())
    settings = MeasureSettings(jobs, arguments.force, arguments.timeout, skip_missing=arguments.skip_missing)
    this = MeasureRun(wanted, folder, runner, settings, _config(wanted, arguments))
    for line in this.warnings:
        print(f"warning: {line}", file=sys.stderr)
    watch = runlog.Watch.start()
    with ExitStack() as stack:
        commands = _commands(wanted, arguments, levels)
        if (scheduler := getattr(arguments, "scheduler", None)) is not None:
            outcome = _execute_elsewhere(this, arguments, levels, commands, scheduler, stack)
        else:
            answers, scorer = _answers(this, arguments, stack), _scorer(this, arguments)
            if line := this.of_another(answers):
                say(line)
            outcome = this.execute(answers, scorer, levels, commands)
    try:
        findings = None if outcome.interrupted else analyse(this, outcome)
        content = report_content(this, findings, pictures=not arguments.no_report) if findings else None
        report = write(this, content) if content and not arguments.no_report else None
        if findings is not None:
            sums.write(this.store, sums.MEASURED)
    except OSError as error:
        why = f"{error.filename or this.store.folder}: {error.strerror or error}"
        raise JobError(f"{why}; what was measured is kept, run again when that is mended") from None
    said = headline(content) if content else []
    engine = "threads" if scheduler is None else "cluster"
    log = watch.stop("metrics", engine, settings.jobs, elsewhere=scheduler is not None, done=outcome.done,
                     resumed=outcome.resumed, failed=len(outcome.failed))  # fmt: skip
    if (why_not := runlog.try_append(this.store, log)) is not None:
        say(f"note: {why_not}")
    if arguments.json:
        print(json.dumps(_as_json(outcome, findings, report) | {"findings": said}, allow_nan=False))
    elif findings is not None and content is not None:
        for text in metrics_tables.all_of(findings, content):
            print(text)
    _print_end(this, outcome, findings, said, report)
    if outcome.done and (account := forecast.compare(this.store, "metrics")) is not None:
        say(account)
    return INTERRUPTED if outcome.interrupted else 1 if outcome.failed else 0


def _execute_elsewhere(
    run: MeasureRun,
    arguments: argparse.Namespace,
    levels: list[str],
    commands: list[str],
    scheduler: str,
    stack: ExitStack,
) -> MeasureOutcome:
    """Whole pictures on the workers of a cluster, all else here."""
    run.store.prepare()
    probe = stack.enter_context(run.store.probe())
    settings = MeasureWorkerSpec(
        uuid.uuid4().hex, run.data.root, run.experiment, run.runner.choice, tuple(levels), arguments.runner,
        arguments.gpu, arguments.weights.resolve() if arguments.weights else None, arguments.jobs or 1,
        arguments.timeout,
    )  # fmt: skip
    workers = stack.enter_context(engine.scheduler(RemoteWorkerSpec(settings, probe.path.name, software()), scheduler))
    far = ClusterMeasure(workers, arguments.gpu, force=arguments.force, quiet=run.settings.quiet)
    machine, missing = far.describe()
    scorer = _scorer(run, arguments)
    if scorer is not None and scorer.missing.keys() != missing.keys():
        differing = ", ".join(sorted(scorer.missing.keys() ^ missing.keys()))
        raise RequestError(f"metrics {differing}: can be computed on the workers, or here, but not on both")
    answers: Predictor | None = None
    if machine is not None:
        answers = RecordedPredictor(machine.kind, machine.classes, machine.identity, run.store)
    elif run.experiment.task is not None:
        answers = of_files(run.data.root, run.experiment.task)
    return run.execute(answers, scorer, levels, commands, lambda stop: far.measure(run.units, stop))


def _answers(run: MeasureRun, arguments: argparse.Namespace, stack: ExitStack) -> Predictor | None:
    """Whoever answers for the machine: a network, files, or nobody where the experiment has no [task]."""
    task = run.experiment.task
    if task is None:
        say("no [task] in the experiment: quality metrics only")
    elif task.predictions == "network" and Path(task.model).suffix == ".py":
        say(f"running the config {task.model}: it is a program")
    return open_predictor(run.experiment, run.store, arguments.runner, arguments.gpu, run.settings.jobs, stack)


def _scorer(run: MeasureRun, arguments: argparse.Namespace) -> Scorer | None:
    return open_scorer(run.experiment, arguments.gpu, arguments.weights, run.runner)


def _commands(wanted: Experiment, arguments: argparse.Namespace, levels: list[str]) -> list[str]:
    """What makes the report's data, without the places of this machine."""
    config = which.changed(Path(str(getattr(arguments, "config", wanted.name))).name, arguments)
    words = [
        "" if set(levels) == set(wanted.metrics.levels) else f" --level {'all' if len(levels) == 2 else levels[0]}"
    ]
    if (blocks := getattr(arguments, "blocks", None)) is not None:
        words.append(f" --blocks {blocks.name}")
    if arguments.skip_missing:
        words.append(" --skip-missing")
    return [
        f"python run_compression.py -d DATA -s {config}",
        f"python run_metrics.py -d DATA -s {config}{''.join(words)}",
    ]


def _config(wanted: Experiment, arguments: argparse.Namespace) -> str:
    """What `-s` named, and its changes, for commands in messages; `vcmbench demo` has no such option."""
    return which.changed(str(getattr(arguments, "config", wanted.name)), arguments)


def _as_json(outcome: MeasureOutcome, findings: Findings | None, report: Path | None) -> dict[str, object]:
    return {
        "done": outcome.done, "resumed": outcome.resumed, "failed": [[title, str(e)] for title, e in outcome.failed],
        "missing": outcome.reasons, "interrupted": outcome.interrupted, "report": str(report) if report else None,
        "correlations": {one.level: one.reason or one.file
                         for one in (findings.correlated if findings else [])},
    }  # fmt: skip


def _print_end(
    run: MeasureRun, outcome: MeasureOutcome, findings: Findings | None, said: list[str], report: Path | None
) -> None:
    """What became of the run, what it found, and where all of it lies."""
    end = [f"{outcome.done} pictures measured, {outcome.resumed} were known, {len(outcome.failed)} failed"]
    if outcome.interrupted:
        again = "with --force it begins anew" if run.settings.force else "run the same command again to go on"
        end[0] += f"; interrupted: {again}"
    reasons = Counter(f"{str(error).splitlines()[0]}" for _, error in outcome.failed)
    end += [f"failed: {count}: {reason}" for reason, count in reasons.most_common(20)]
    end += [f"missing: {reason}" for reason in outcome.reasons]
    end += [
        f"no correlations, {one.level}: {one.reason}" for one in (findings.correlated if findings else []) if one.reason
    ]
    end += [terminal.wrapped(f"- {sentence}", hanging="  ") for sentence in said]
    end.append(f"tables: {run.store.folder}")
    if report is not None:
        end.append(f"report: {report}")
    say("\n".join(end), always=bool(outcome.failed))


def report_again(wanted: Experiment, arguments: argparse.Namespace) -> Path:
    """Write the report of what was measured again. Returns its path."""
    root = open_root(arguments.data)
    runner = runners.choose(arguments, wanted.encoders(), Store(root, wanted.name).any_runner())
    settings = MeasureSettings(skip_missing=arguments.skip_missing)
    this = MeasureRun(wanted, arguments.data, runner, settings, _config(wanted, arguments))
    path = write(this, report_content(this, recalled(this)), arguments.output)
    sums.write(this.store, sums.MEASURED)
    return path
