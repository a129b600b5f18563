"""Run an experiment's coding configurations over a data root: plan, do what is not done, report."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath

from vcmbench import __version__
from vcmbench.compress import equal_rate
from vcmbench.compress.job import Job
from vcmbench.compress.job_keys import bitstreams
from vcmbench.compress.jobs import find_tools, jobs_of, measure
from vcmbench.compress.loop import Loop
from vcmbench.compress.sensitivity import Sensitivity
from vcmbench.compress.summary import CompressOutcome, CompressSummary, Listener
from vcmbench.compress.worker import CompressWorker, CompressWorkerSpec, WorkerSettings, software
from vcmbench.data import compression_table, sums
from vcmbench.data.dataset import MAPS, DataRoot, Source, look, missing_labels, open_root
from vcmbench.data.record import Record
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.execution import engine
from vcmbench.execution.engine import Engine, ThreadsEngine
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.scratch import remove_stale_scratch
from vcmbench.experiment import Experiment, grouping
from vcmbench.io.progress import Progress
from vcmbench.io.signals import interruptible

TIMEOUT_S = 600.0


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class CompressSettings:
    """How to run, as opposed to what: nothing here changes a result."""

    jobs: int = field(default_factory=cores)
    """Jobs at once, on threads of this process."""
    processes: int = 0
    """In place of threads, as many processes of this machine; below 2 there are none."""
    scheduler: str | None = None
    """In place of both, the address of a Dask scheduler."""
    force: bool = False
    timeout_s: float = TIMEOUT_S
    """Bound on one command, per picture."""
    quiet: bool = False
    """No progress on stderr."""
    only: frozenset[PurePosixPath] | None = None
    """Of the experiment's bitstreams, only these."""
    whole: Experiment | None = None
    """What tables are of, where the run's experiment is a part of it: of its encoders."""


class CompressRun:
    """One run of an experiment. `execute` is called once."""

    def __init__(
        self, experiment: Experiment, data_folder: Path, runner: Runner, settings: CompressSettings,
        asked: Sensitivity | None = None, sources: list[Source] | None = None,
    ) -> None:  # fmt: skip
        """`asked` is the experiment's task, where codings ask it; `sources`, some of its pictures in place of all."""
        self.experiment, self.runner, self.settings, self.asked = experiment, runner, settings, asked
        if asked is None and experiment.asks:
            raise RequestError('source "task": only vcmbench compress opens the task that is to be asked')
        self.data: DataRoot = open_root(data_folder)
        found = look(self.data, experiment.dataset)
        self.sources = found.sources if sources is None else sources
        _check_importance(experiment, self.data, self.sources)
        self.warnings = found.notes + _missing_importance(experiment, self.data, self.sources)
        self.warnings += _as_frames(experiment, self.sources)
        self.tools, self.missing = find_tools(experiment, runner)
        self.warnings += runner.passed_over.values()
        self.store = Store(self.data, experiment.name, experiment.seed)
        self.measure = cache(measure)

    def jobs(self) -> Iterator[Job]:
        wanted, found = (
            self.settings.only,
            jobs_of(self.experiment, self.data, self.sources, self.tools, self.measure, self.asked),
        )
        return found if wanted is None else (job for job in found if job.bitstream in wanted)

    def job_count(self) -> int:
        if self.settings.only is not None:
            return len(self.settings.only)
        stacked = sum(coding.stacked for coding in self.experiment.configurations())
        single = len(self.experiment.configurations()) - stacked
        return stacked * len({source.group for source in self.sources}) + single * len(self.sources)

    def execute(self, listen: Listener) -> CompressOutcome:
        """Do what is not done. `listen` is called for every job: "resumed", "done" or "failed".

        Raises RequestError, before anything is started, where a tool is missing or a cluster cannot do it.
        """
        if self.missing:
            raise RequestError(
                "\n  ".join([f"{self.runner.name} runner, nothing was started:", *dict.fromkeys(self.missing.values())])
            )
        self.store.prepare()
        remove_stale_scratch()  # of runs that were killed
        outcome = CompressOutcome(summary=CompressSummary(self.experiment.configurations()))
        with (
            self.store.probe() as probe,
            self._engine(probe.path.name) as engine,
            Progress(self.job_count(), quiet=self.settings.quiet) as progress,
            interruptible(engine.cancel) as stop,
        ):
            loop = Loop(engine, self.store, outcome, progress, stop, listen, self.asked, force=self.settings.force)
            loop.execute(self.jobs())
            outcome.interrupted = stop.is_set()
            outcome.engine, outcome.workers = engine.name, engine.slots()
        with suppress(OSError):  # of workers that died meanwhile, and what a killed run's still held at the start
            self.store.remove_abandoned()
        remove_stale_scratch()
        if not outcome.interrupted:
            self._write_table(outcome)
        return outcome

    def _engine(self, probe: str) -> Engine:
        """Where the jobs are done: here, in processes of this machine, or on a cluster."""
        settings = self.settings
        has_maps = any(one.qp_map for one in self.experiment.configurations())
        meta = {**self.store.meta, "runner": self.runner.name, "vcmbench": __version__}
        # a map adds the importance and the uniform encode to each picture
        kept = 3 if has_maps else 1
        jobs = settings.processes or settings.jobs
        is_here = settings.scheduler is None and settings.processes < 2
        of_worker = WorkerSettings(
            tuple(meta.items()), settings.timeout_s, settings.force, kept * (jobs + 1 if is_here else 2), self.asked
        )
        if is_here:
            return ThreadsEngine(CompressWorker(self.store, self.runner, of_worker), jobs)
        spec = CompressWorkerSpec(
            uuid.uuid4().hex, self.data.root, self.experiment.name, self.experiment.seed, self.runner.choice,
            of_worker, probe, software(),
        )  # fmt: skip
        if settings.scheduler is not None:
            return engine.scheduler(spec, settings.scheduler)
        return engine.local_cluster(spec, settings.processes)

    def _write_table(self, outcome: CompressOutcome) -> None:
        """The records that the experiment asks for as CSV; what failed in this run has none that still holds."""
        compares = any(coding.match_rate for coding in self.experiment.configurations())
        if not (outcome.done or outcome.failed or compares):
            # nothing new: reading every record again would take as long as resuming did
            outcome.csv = compression_table.current(self.store, outcome.summary.digest)
            if outcome.csv is not None:
                return
        whole = self.settings.whole or self.experiment
        # what a run before asked for and this one does not is left out: tables are of the same pictures then
        wanted = {place for place, *_ in bitstreams(whole, self.data, self.sources)}
        wanted -= {job.bitstream for job, _ in outcome.failed}
        try:
            comparison = equal_rate.EqualRate(grouping(self.experiment, self.sources))

            def rows() -> Iterator[Record]:
                for bitstream, record in self.store.all_records():
                    if bitstream in wanted:
                        comparison.add(record)
                        yield record

            sums.forget(self.store, sums.COMPRESSION)
            outcome.csv = compression_table.write(self.store, rows())
            outcome.comparisons = comparison.rows()
            content = equal_rate.as_csv(outcome.comparisons) if outcome.comparisons else None
            outcome.comparison_csv = self.store.write_table("equal_rate.csv", content)
            sums.write(self.store, sums.COMPRESSION)
        except OSError as error:
            message = f"{error.filename or self.store.folder}: {error.strerror}"
            raise JobError(f"{message}; the records themselves are whole, run again when that is mended") from None


def _check_importance(experiment: Experiment, data: DataRoot, sources: list[Source]) -> None:
    """Refuse maps from labels where there can be none, or no distances to go with them. Raises RequestError."""
    wanted = [coding.importance for coding in experiment.configurations() if coding.importance is not None]
    if not wanted or not wanted[0].origin.needs_labels or data.is_cityscapes:
        return
    labelled = [source for source in sources if source.labels is not None and source.labels.path.is_file()]
    lacking = [wanted[0].lacking(data, source) for source in labelled]
    if labelled and all(lacking):
        raise RequestError(f"qp_map: no {lacking[0]}; without distances say [importance] use_distance = false")
    if not labelled and (missing := missing_labels(sources)):
        raise RequestError(f"qp_map: none of {len(sources)} pictures has its labels there, no {missing[0]}; mend "
                           'dataset.labels or dataset.split, or say [importance] source = "files"')  # fmt: skip
    if not labelled:
        raise RequestError(
            f"qp_map: {data.root} is a flat folder and has no labels; lay importance maps of your own at "
            f'{MAPS}/<name>_importance.npy there and say [importance] source = "files"'
        )


def _as_frames(experiment: Experiment, sources: list[Source]) -> list[str]:
    """A line where pictures of a folder are coded as the frames of a video: they may be no such thing."""
    if not any(coding.structure for coding in experiment.configurations()):
        return []
    pictures = Counter(str(source.group) for source in sources if source.frame is None and source.sequence is None)
    if not pictures:
        return []
    named = ", ".join(f"{'the data folder itself' if group == '.' else group} ({count})"
                      for group, count in list(pictures.items())[:3])  # fmt: skip
    fps = next(source.fps for source in sources if source.frame is None)
    return [f"structure: pictures of a folder are coded as one video, in the order of their names, {fps:g} frames a "
            f"second: {named}{', ...' if len(pictures) > 3 else ''}"]  # fmt: skip


def _missing_importance(experiment: Experiment, data: DataRoot, sources: list[Source]) -> list[str]:
    """A line where pictures lack what their maps are made of: their jobs will fail."""
    wanted = next((one.importance for one in experiment.configurations() if one.importance is not None), None)
    if wanted is None:
        return []
    try:
        paths = [wanted.main_file(data, source) for source in sources]
    except JobError as error:  # so will their jobs
        return [str(error)]
    missing = [path for path in paths if path is not None and not path.is_file()]
    if not missing or (wanted.hold and len(missing) < len(sources)):
        return []
    return [f"{len(missing)} of {len(sources)} pictures have no importance: no {missing[0]}"
            + (" and so on" if len(missing) > 1 else "")]  # fmt: skip
