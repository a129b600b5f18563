"""Compress the pictures of a data root under every coding configuration of an experiment."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from vcmbench import experiment
from vcmbench.cli import INTERRUPTED, compress_findings, runners, table, which
from vcmbench.cli.argtypes import positive_int, positive_seconds
from vcmbench.cli.terminal import say, wrapped
from vcmbench.compress import forecast
from vcmbench.compress.job import Job
from vcmbench.compress.jobs import estimate, find_tools
from vcmbench.compress.run import CompressRun, CompressSettings, cores
from vcmbench.compress.summary import CompressOutcome
from vcmbench.data import runlog
from vcmbench.data.dataset import find_sources, open_root
from vcmbench.data.record import Record
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.io.progress import clock

_EXAMPLES = """\
examples:
  python run_compression.py -d data -s quick
  python run_compression.py -d photos -s photos --runner local
  python run_compression.py -d data -s qomex2023 --dry-run
  python run_compression.py -d data -s my.toml --encoder x265 --jobs 8 \\
      --json > jobs.jsonl
  python run_compression.py -d /shared/data -s qomex2023 \\
      --scheduler tcp://head:8786

DATA holds cityscapes/ (leftImg8bit/<split>/<city>/*.png), or is any folder of images and videos, or one of these.
Results lie beside them: DATA/cityscapes_<configuration>/ (or images_<configuration>/) and DATA/results/<experiment>/;
those of one video a.mp4 (or one image) in a.mp4.vcmbench/.
A run that was stopped goes on where it was; what is done is not done twice.

exit codes: 0 all done, 1 some jobs failed (each is named), 2 the request was wrong (nothing was started),
130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compress every picture of a data root under every coding configuration of an experiment, with "
        "real encoders, and keep bits, time and decoded quality of each on record."
    )
    parser.epilog = _EXAMPLES
    which.add_which(parser)
    parser.add_argument(
        "--encoder", action="append", metavar="NAME", help="only this encoder of the experiment (may be repeated)"
    )
    parser.add_argument(
        "--skip-missing", action="store_true", help="leave out encoders whose tools are not found, instead of an error"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and start nothing")
    add_run_options(parser)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    defaults = CompressSettings()
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-j", "--jobs", type=positive_int, metavar="N",
        help="as many jobs at once, each in a process of its own on this machine (default: on threads of one process, "
        f"as many as cores, {defaults.jobs} here)",
    )  # fmt: skip
    where.add_argument(
        "--scheduler", metavar="ADDRESS",
        help="work on a Dask cluster that is there, such as tcp://host:8786; its workers see DATA at the same path",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="do finished jobs again")
    parser.add_argument(
        "--timeout", type=positive_seconds, default=defaults.timeout_s, metavar="SECONDS",
        help="stop a tool that takes longer than this per picture (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a job on stdout; progress and prose stay on stderr"
    )
    table.add_option(parser)
    runners.add_options(parser)


def _only(wanted: experiment.Experiment, names: list[str] | None) -> experiment.Experiment:
    if not names:
        return wanted
    have = {coding.encoder for coding in wanted.coding}
    for name in names:
        if name not in have:
            raise RequestError(f"--encoder {name!r}: experiment {wanted.name!r} has {' '.join(sorted(have))}")
    return wanted.model_copy(update={"coding": [coding for coding in wanted.coding if coding.encoder in names]})


def run(arguments: argparse.Namespace) -> int:
    whole = which.wanted(arguments)
    wanted = _only(whole, arguments.encoder)
    return run_experiment(
        wanted, arguments.data, arguments, dry_run=arguments.dry_run, skip_missing=arguments.skip_missing, whole=whole
    )


def run_experiment(
    wanted: experiment.Experiment,
    data: Path,
    arguments: argparse.Namespace,
    *,
    dry_run: bool = False,
    skip_missing: bool = False,
    whole: experiment.Experiment | None = None,
) -> int:
    """`whole`: the experiment of which `wanted` has some encoders, and whose tables are written."""
    root = open_root(data)
    find_sources(root, wanted.dataset)  # what is wrong with the data is said before anything about runners
    before = Store(root, wanted.name).any_runner()
    settings = CompressSettings(
        processes=_at_most_cores(arguments.jobs or 0), scheduler=arguments.scheduler, force=arguments.force,
        timeout_s=arguments.timeout, whole=whole or wanted,
    )  # fmt: skip
    runner = runners.choose(arguments, wanted.encoders(), before)
    if skip_missing:
        wanted = _without_missing(wanted, runner)
    this = CompressRun(wanted, data, runner, settings, runners.asked_by(wanted))
    for line in this.warnings:
        print(f"warning: {line}", file=sys.stderr)
    if dry_run:
        _print_plan(this, as_json=arguments.json)
        return 0
    watch, tally = runlog.Watch.start(), runlog.Tally()
    listen = _print_json if arguments.json else _say_nothing

    def tell(state: str, job: Job, record: Record | None, error: JobError | None) -> None:
        if state == "done" and record is not None:
            tally.add(record)
        listen(state, job, record, error)

    outcome = this.execute(tell)
    run_log = watch.stop("compress", outcome.engine, outcome.workers, done=outcome.done, resumed=outcome.resumed,
                         failed=len(outcome.failed), tally=tally, elsewhere=outcome.engine == "cluster")  # fmt: skip
    if (why_not := runlog.try_append(this.store, run_log)) is not None:
        say(f"note: {why_not}")
    if not arguments.json and outcome.done + outcome.resumed:
        print(table.summary(outcome.summary))
    if not arguments.json and outcome.comparisons:
        print("\nmapped against uniform at equal rate, PSNR-Y gained, mean over n pictures [95 % interval]:")
        print(table.comparison(outcome.comparisons))
    _print_end(this, outcome)
    if outcome.done and (account := forecast.compare(this.store, "compress")) is not None:
        say(account)
    if outcome.interrupted:
        return INTERRUPTED
    return 1 if outcome.failed else 0


def _without_missing(wanted: experiment.Experiment, runner: Runner) -> experiment.Experiment:
    """The experiment without the encoders that the runner has no tools for; each is named."""
    _, missing = find_tools(wanted, runner)
    for line in missing.values():
        print(f"left out: {line}", file=sys.stderr)
    left = [coding for coding in wanted.coding if coding.encoder not in missing]
    if not left:
        raise RequestError("--skip-missing: nothing is left of the experiment")
    return wanted.model_copy(update={"coding": left})


def _at_most_cores(jobs: int) -> int:
    """A job is a thread of an encoder; more of them than cores would only spoil each other's time."""
    if jobs > cores():
        say(f"--jobs {jobs}: this machine has {cores()} cores; so many are run")
    return min(jobs, cores())


def _say_nothing(*_: object) -> None:
    pass


def _print_json(state: str, job: Job, record: Record | None, error: JobError | None) -> None:
    event: dict[str, object] = {"state": state, "bitstream": str(job.bitstream), "key": job.key}
    if record is not None:
        event["record"] = record
    if error is not None:
        event |= {"error": str(error), "command": list(error.command), "log": error.log[-4000:]}
    print(json.dumps(event, allow_nan=False), flush=True)


def _print_end(this: CompressRun, outcome: CompressOutcome) -> None:
    end = [f"{outcome.done} done, {outcome.resumed} were done before, {len(outcome.failed)} failed"]
    if outcome.interrupted:
        again = "with --force it begins anew" if this.settings.force else "run the same command again to go on"
        end[0] += f"; interrupted: {again}"
    reasons = Counter(str(error).splitlines()[0] for _, error in outcome.failed)
    end += [f"failed: {count} {'job' if count == 1 else 'jobs'}: {reason}" for reason, count in reasons.most_common(20)]
    if len(reasons) > 20:
        end.append(f"... and for {len(reasons) - 20} more reasons")
    for note, names in outcome.summary.pictures_noted.items():
        end.append(f"note: {len(names)} {'picture' if len(names) == 1 else 'pictures'}, such as {min(names)}: {note}")
    if outcome.summary.missed_rates:
        missed, worst = len(outcome.summary.missed_rates), max(outcome.summary.missed_rates, key=abs)
        end.append(f"rate not met: {missed} {'job' if missed == 1 else 'jobs'}, by up to {worst:+.1%} of the target")
    found = compress_findings.sentences(outcome.summary, outcome.comparisons)
    end += [wrapped(f"- {sentence}", hanging="  ") for sentence in found]
    if outcome.done + outcome.resumed:
        end.append(f"bitstreams: {this.data.configuration_folder('*')}")
        end.append(f"records: {this.store.records}")
    if outcome.csv is not None and outcome.done + outcome.resumed:
        end.append(f"table: {outcome.csv}")
    if outcome.comparison_csv is not None:
        end.append(f"table: {outcome.comparison_csv}")
    say("\n".join(end), always=bool(outcome.failed))


def _print_plan(this: CompressRun, *, as_json: bool) -> None:
    rows = estimate(this.jobs(), this.store)
    if as_json:
        for name, row in rows.items():
            print(json.dumps({"encoder": name, **vars(row)}))
        return
    cells = [
        (
            name,
            str(row.jobs),
            str(row.done),
            f"{row.bits / 8e6:.1f}",
            clock(row.seconds),
            row.estimated_from,
        )
        for name, row in rows.items()
    ]
    print(table.render(("encoder", "jobs", "done", "MB to come", "core time to come", "estimated from"), cells))
    for line in dict.fromkeys(this.missing.values()):
        print(f"missing: {line}")
    jobs = this.settings.processes or this.settings.jobs
    configurations = len(this.experiment.configurations())
    total, done = sum(row.jobs for row in rows.values()), sum(row.done for row in rows.values())
    seconds = sum(row.seconds for row in rows.values())
    print(
        f"{configurations} coding configuration{'s' * (configurations != 1)}, "
        f"{len(this.sources)} picture{'s' * (len(this.sources) != 1)}, "
        f"{total} job{'s' * (total != 1)}, {done} done, "
        f"about {sum(row.bits for row in rows.values()) / 8e6:.1f} MB and {clock(seconds)} of core time to come "
        f"({clock(seconds / jobs)} with {jobs} at once)"
    )
