"""`vcmbench metrics`, which is also `run_metrics.py`; and `vcmbench report`, its last step alone."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from vcmbench import experiment
from vcmbench.analysis import machine_scores
from vcmbench.analysis.run import Findings, analyse, recalled
from vcmbench.cli import INTERRUPTED, metrics_tables, runners
from vcmbench.cli.argtypes import positive_int, positive_seconds
from vcmbench.compress import forecast
from vcmbench.compress import run as compress
from vcmbench.compress.worker import software
from vcmbench.data import runlog
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.errors import RequestError
from vcmbench.execution import engine
from vcmbench.experiment import Experiment
from vcmbench.iqa import Scorer
from vcmbench.measure.cluster import ClusterMeasure, RemoteWorkerSpec
from vcmbench.measure.outcome import MeasureOutcome, MeasureSettings
from vcmbench.measure.predictions import FilePredictor, Predictor, RecordedPredictor
from vcmbench.measure.run import MeasureRun
from vcmbench.measure.worker import MeasureWorkerSpec, open_answers, open_scorer
from vcmbench.report.build import write
from vcmbench.tasks import missing_packages

_EXAMPLES = """\
examples:
  python run_metrics.py -d data -s quick
  python run_metrics.py -d data -s quick --level image --gpu none
  python run_metrics.py -d data -s my.toml --runner docker --json > outcome.json

Looks at everything that `run_compression.py -d DATA -s CONFIG` made: the experiment's [task] on pristine and decoded
pictures, the quality metrics of [metrics], blocks sampled by accuracy, correlations with the machine, and a report.
Predictions lie in DATA/P_GT and DATA/P_hat_C, all else in DATA/results/<experiment>/: image_scores and block_scores
(.csv, .parquet), correlation_*.json, blocks/, figures/, report.html. What is known is not found out again.
exit codes: 0 all done, 1 some pictures or blocks failed (each is named), 2 the request was wrong (nothing was started),
130 interrupted
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "metrics",
        help="measure what compression did to the machine and to the pictures, and report it",
        description="Run the machine task and the quality metrics of an experiment on its decoded pictures, sample "
        "blocks, correlate, and write tables and a report.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_which(parser)
    parser.add_argument("--level", choices=["image", "block", "all"], default=None,
                        help="metrics on whole pictures, on blocks, or on both (default: metrics.levels)")  # fmt: skip
    parser.add_argument("--blocks", type=Path, metavar="FILE",
                        help="a *_val_blocks.json: take its blocks, and sample none")  # fmt: skip
    parser.add_argument("--no-report", action="store_true", help="tables only, no report and no figures")
    add_measure_options(parser)
    defaults = compress.CompressSettings()
    parser.add_argument("-j", "--jobs", type=positive_int, metavar="N",
                        help=f"pictures at once (default: the cores, {defaults.jobs} here); with --scheduler: "
                        "decoders, and on the CPU pictures, at once for each worker (default: 1)")  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDRESS",
                        help="measure whole pictures on a Dask cluster that is there, such as tcp://host:8786; its "
                        "workers see DATA at the same path")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="find out again what is known")
    parser.add_argument("--timeout", type=positive_seconds, default=defaults.timeout_s, metavar="SECONDS",
                        help="stop a decoder that takes longer per picture (default: %(default)g)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="the outcome as one JSON object on stdout, no tables")
    runners.add_options(parser)
    parser.set_defaults(run=run, parser=parser)


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-d", "--data", type=Path, required=True, metavar="DATA", help="the data root")
    parser.add_argument("-s", "--config", required=True, metavar="CONFIG",
                        help="an experiment: a name in val_config/ or a .toml file")  # fmt: skip


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measuring")
    group.add_argument("--gpu", default="auto", metavar="auto|none|N",
                       help="where networks run: the first GPU, the CPU, or GPU number N (default: auto)")  # fmt: skip
    group.add_argument("--weights", type=Path, metavar="DIR",
                       help="a folder with the weights of learned metrics (docs/quality.md says which)")  # fmt: skip
    group.add_argument("--skip-missing", action="store_true",
                       help="measure what is compressed, where some of it is not")  # fmt: skip


def add_report_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "report",
        help="write an experiment's report again from what was measured",
        description="Write report.html and the figures of an experiment again, from its records.",
        epilog="example:\n  vcmbench report -d vcmbench-demo/data -s demo -o report.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_which(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="where the report goes (default: DATA/results/<experiment>/report.html)")  # fmt: skip
    parser.add_argument("--skip-missing", action="store_true", help="report what is measured, where some is not")
    runners.add_options(parser)
    parser.set_defaults(run=run_report, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    wanted = _with_blocks(experiment.load(arguments.config), arguments.blocks)
    level = arguments.level or ("all" if len(set(wanted.metrics.levels)) == 2 else wanted.metrics.levels[0])
    return run_experiment(wanted, arguments.data, arguments, ["image", "block"] if level == "all" else [level])


def _with_blocks(wanted: Experiment, path: Path | None) -> Experiment:
    """The experiment with the blocks of a file."""
    if path is None:
        return wanted
    if not path.is_file():
        raise RequestError(f"--blocks {path}: no such file")
    blocks = wanted.metrics.blocks.model_copy(update={"file": str(path)})
    return wanted.model_copy(update={"metrics": wanted.metrics.model_copy(update={"blocks": blocks})})


def run_experiment(wanted: Experiment, folder: Path, arguments: argparse.Namespace, levels: list[str]) -> int:
    """Measure an experiment as `arguments` say. Returns the exit code."""
    check_packages()
    machine_scores.check(wanted.metrics)
    root = open_root(folder)
    # decoders give the same pictures wherever they run, so auto prefers what needs no containers to be started
    runner = runners.choose(arguments, wanted.encoders(), Store(root, wanted.name).any_runner())
    jobs = min(arguments.jobs or compress.cores(), compress.cores())
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
            outcome = this.execute(answers, scorer, levels, commands)
    findings = None if outcome.interrupted else analyse(this, outcome)
    report = write(this, findings) if findings and not arguments.no_report else None
    engine = "threads" if scheduler is None else "cluster"
    log = watch.stop("metrics", engine, settings.jobs, elsewhere=scheduler is not None, done=outcome.done,
                     resumed=outcome.resumed, failed=len(outcome.failed))  # fmt: skip
    if (why_not := runlog.try_append(this.store, log)) is not None:
        print(f"note: {why_not}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(_as_json(outcome, findings, report), allow_nan=False))
    elif findings is not None:
        for text in metrics_tables.all_of(findings, this.names):
            print(text)
    _print_end(this, outcome, findings, report)
    if outcome.done and (account := forecast.compare(this.store, "metrics")) is not None:
        print(account, file=sys.stderr)
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
        answers = FilePredictor(run.data.root)
    return run.execute(answers, scorer, levels, commands, lambda stop: far.measure(run.units, stop))


def check_packages() -> None:
    """Raises RequestError where this Python lacks what measuring needs."""
    if absent := [name for name in missing_packages() if name == "torch"]:
        raise RequestError(
            f"measuring needs {', '.join(absent)}, which this Python does not have; install vcmbench[metrics] "
            "(in a checkout: make setup)"
        )


def _answers(run: MeasureRun, arguments: argparse.Namespace, stack: ExitStack) -> Predictor | None:
    """Whoever answers for the machine: a network, files, or nobody where the experiment has no [task]."""
    task = run.experiment.task
    if task is None:
        print("no [task] in the experiment: quality metrics only", file=sys.stderr)
    elif task.predictions == "network" and Path(task.model).suffix == ".py":
        print(f"running the config {task.model}: it is a program", file=sys.stderr)
    return open_answers(run.experiment, run.store, arguments.runner, arguments.gpu, run.settings.jobs, stack)


def _scorer(run: MeasureRun, arguments: argparse.Namespace) -> Scorer | None:
    return open_scorer(run.experiment, arguments.gpu, arguments.weights)


def _commands(wanted: Experiment, arguments: argparse.Namespace, levels: list[str]) -> list[str]:
    """What makes the report's data, without the places of this machine."""
    config = Path(_config(wanted, arguments)).name
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
    """What `-s` named; `vcmbench demo` has no such option."""
    return str(getattr(arguments, "config", wanted.name))


def run_report(arguments: argparse.Namespace) -> int:
    """Write a report again."""
    check_packages()
    wanted = experiment.load(arguments.config)
    root = open_root(arguments.data)
    runner = runners.choose(arguments, wanted.encoders(), Store(root, wanted.name).any_runner())
    this = MeasureRun(
        wanted, arguments.data, runner, MeasureSettings(skip_missing=arguments.skip_missing), arguments.config
    )
    print(f"report: {write(this, recalled(this), arguments.output)}", file=sys.stderr)
    return 0


def _as_json(outcome: MeasureOutcome, findings: Findings | None, report: Path | None) -> dict[str, object]:
    return {
        "done": outcome.done, "resumed": outcome.resumed, "failed": [[title, str(e)] for title, e in outcome.failed],
        "missing": outcome.reasons, "interrupted": outcome.interrupted, "report": str(report) if report else None,
        "correlations": {one.level: one.reason or "correlation_" + one.level.replace(" ", "_") + ".json"
                         for one in (findings.correlated if findings else [])},
    }  # fmt: skip


def _print_end(run: MeasureRun, outcome: MeasureOutcome, findings: Findings | None, report: Path | None) -> None:
    say = [f"{outcome.done} pictures measured, {outcome.resumed} were known, {len(outcome.failed)} failed"]
    if outcome.interrupted:
        again = "with --force it begins anew" if run.settings.force else "run the same command again to go on"
        say[0] += f"; interrupted: {again}"
    reasons = Counter(f"{str(error).splitlines()[0]}" for _, error in outcome.failed)
    say += [f"failed: {count}: {reason}" for reason, count in reasons.most_common(20)]
    say += [f"missing: {reason}" for reason in outcome.reasons]
    say += [
        f"no correlations, {one.level}: {one.reason}" for one in (findings.correlated if findings else []) if one.reason
    ]
    say.append(f"tables: {run.store.folder}")
    if report is not None:
        say.append(f"report: {report}")
    print("\n".join(say), file=sys.stderr)
