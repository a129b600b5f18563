"""Run an experiment's coding configurations over a data root: plan, do what is not done, report."""

from __future__ import annotations

import itertools
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from vcmbench import __version__, chain, gains, mapping, plan
from vcmbench.coding import CodingConfiguration
from vcmbench.dataset import MAPS, DataRoot, Source, find_sources, open_root
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.interrupts import interruptible
from vcmbench.job import Job
from vcmbench.lane import Cache
from vcmbench.progress import Progress
from vcmbench.runner.base import Runner, Worker, describe, remove_stale_scratch
from vcmbench.store import Record, Store

TIMEOUT_S = 600.0
_WAIT_S = 0.2


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: nothing here changes a result."""

    jobs: int = field(default_factory=cores)
    force: bool = False
    timeout_s: float = TIMEOUT_S
    """Bound on one command, per picture."""
    quiet: bool = False
    """No progress on stderr."""


@dataclass
class Sums:
    """Raw sums of one coding configuration, reduced only when they are shown."""

    pictures: int = 0
    bits: int = 0
    pixels: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0
    psnr_sum_db: float = 0.0
    psnr_pictures: int = 0
    qp_sum: float = 0.0
    qp_pictures: int = 0


class Summary:
    """Sums per coding configuration: what the table at the end shows, in memory that does not grow with pictures."""

    def __init__(self, configurations: Iterable[CodingConfiguration] = ()) -> None:
        self.rows = {configuration: Sums() for configuration in configurations}
        self.missed_rates: list[float] = []

    def add(self, coding: CodingConfiguration, record: Record) -> None:
        sums = self.rows[coding]
        search = record.get("rate_search")
        if search is not None and not search["is_equal"]:
            self.missed_rates.append(search["size_error"])
        frames = record["frames"]
        sums.pictures += frames
        sums.bits += record["size_bytes"] * 8
        sums.pixels += record["width_px"] * record["height_px"] * frames
        sums.encode_s += record["encode_s"]
        sums.decode_s += record["decode_s"]
        if record["psnr_y_db"] is not None:
            finite = sum(psnr is not None for psnr in record.get("frame_psnr_y_db", [0.0]))
            sums.psnr_sum_db += record["psnr_y_db"] * finite
            sums.psnr_pictures += finite
        if record["coded_qp"] is not None:
            sums.qp_sum += record["coded_qp"] * frames
            sums.qp_pictures += frames


@dataclass
class Outcome:
    """What became of a run."""

    summary: Summary
    done: int = 0
    resumed: int = 0
    failed: list[tuple[Job, JobError]] = field(default_factory=list)
    interrupted: bool = False
    csv: Path | None = None
    comparisons: list[gains.Row] = field(default_factory=list)
    comparison_csv: Path | None = None


Listener = Callable[[str, Job, Record | None, JobError | None], None]


class Run:
    """One run of an experiment. `execute` is called once."""

    def __init__(self, experiment: Experiment, data_folder: Path, runner: Runner, settings: Settings) -> None:
        self.experiment, self.runner, self.settings = experiment, runner, settings
        self.data: DataRoot = open_root(data_folder)
        self.sources = find_sources(self.data, experiment.dataset)
        _check_importance(experiment, self.data)
        self.warnings = _missing_importance(experiment, self.data, self.sources)
        self.tools, self.missing = plan.find_tools(experiment, runner)
        self.store = Store(self.data, experiment.name, experiment.seed)
        self.measure = cache(plan.measure)

    def jobs(self) -> Iterator[Job]:
        return plan.jobs(self.experiment, self.data, self.sources, self.tools, self.measure)

    def job_count(self) -> int:
        stacked = sum(coding.stacked for coding in self.experiment.configurations())
        single = len(self.experiment.configurations()) - stacked
        return stacked * len({source.group for source in self.sources}) + single * len(self.sources)

    def execute(self, listen: Listener) -> Outcome:
        """Do what is not done. `listen` hears of every job: "resumed", "done" or "failed".

        Raises RequestError, before anything is started, where a tool is missing.
        """
        if self.missing:
            raise RequestError(
                "\n  ".join([f"{self.runner.name} runner, nothing was started:", *dict.fromkeys(self.missing.values())])
            )
        self.store.prepare()
        remove_stale_scratch()
        outcome = Outcome(summary=Summary(self.experiment.configurations()))
        with (
            Progress(self.job_count(), quiet=self.settings.quiet) as progress,
            self._workers() as workers,
            interruptible(self.runner.cancel) as stop,
        ):
            self._loop(outcome, progress, workers, stop, listen)
            outcome.interrupted = stop.is_set()
        if not outcome.interrupted:
            self._write_table(outcome)
        return outcome

    @contextmanager
    def _workers(self) -> Iterator[SimpleQueue[Worker]]:
        """The idle workers; all of them are closed at the end."""
        workers: list[Worker] = []
        idle: SimpleQueue[Worker] = SimpleQueue()
        try:
            for _ in range(self.settings.jobs):
                workers.append(self.runner.worker())
                idle.put(workers[-1])
            yield idle
        finally:
            for worker in workers:
                worker.close()

    def _loop(
        self,
        outcome: Outcome,
        progress: Progress,
        workers: SimpleQueue[Worker],
        stop: threading.Event,
        listen: Listener,
    ) -> None:
        has_maps = any(one.qp_map for one in self.experiment.configurations())
        # a map adds the importance and the uniform encode to each picture
        cache = Cache((3 if has_maps else 1) * (self.settings.jobs + 1))
        meta = {**self.store.meta, "runner": self.runner.name, "vcmbench": __version__}

        def do(job: Job) -> Record:
            worker = workers.get()
            try:
                return chain.run(job, worker, self.store, cache, self.settings.timeout_s, meta)
            except (JobError, Cancelled):
                raise
            except Exception as error:  # a fault in an encoder's file must not end the other jobs
                raise JobError(f"internal error: {error!r}", log=traceback.format_exc()) from error
            finally:
                workers.put(worker)

        def finish(job: Job, future: Future[Record]) -> None:
            try:
                record = future.result()
            except (Cancelled, CancelledError):
                return
            except JobError as error:
                if stop.is_set():
                    return
                # what is wrong with a picture is said once, not for each of its configurations
                if error.command or str(error) not in {str(other) for _, other in outcome.failed[-1000:]}:
                    progress.say(f"failed: {job.title}: {describe(error)}")
                outcome.failed.append((job, error))
                listen("failed", job, None, error)
            else:
                outcome.done += 1
                outcome.summary.add(job.coding, record)
                listen("done", job, record, None)
            progress.advance(job.title)

        def finish_some() -> None:
            # Timed, because a signal that arrives just before a wait begins is not handled until the wait is over.
            done = wait(running, timeout=_WAIT_S, return_when=FIRST_COMPLETED).done
            if stop.is_set():
                for future in running:
                    future.cancel()
            for future in [future for future in running if future in done]:  # in the order of the plan
                finish(running.pop(future), future)

        has_warned = self.settings.force
        running: dict[Future[Record], Job] = {}
        with ThreadPoolExecutor(self.settings.jobs) as pool:
            for job in itertools.takewhile(lambda _: not stop.is_set(), self.jobs()):
                record = None if self.settings.force or not job.key else self.store.finished(job.bitstream, job.key)
                if record is not None:
                    outcome.resumed += 1
                    outcome.summary.add(job.coding, record)
                    listen("resumed", job, record, None)
                    progress.advance(job.title)
                    continue
                if not has_warned and (other := self._is_of_another_tool(job)):
                    has_warned = True
                    progress.say(
                        f"note: results that another tool made are there (experiment {other}), and are made anew with "
                        "this one; the records of other experiments that spoke of them go"
                    )
                running[pool.submit(do, job)] = job
                # A short queue ahead of the workers: enough to keep them busy, and memory stays flat.
                while len(running) >= 2 * self.settings.jobs and not stop.is_set():
                    finish_some()
            while running:
                finish_some()

    def _is_of_another_tool(self, job: Job) -> str | None:
        """The experiment that has this bitstream made by another tool, if there is one."""
        for record in self.store.of_all_experiments(job.bitstream) if job.key else ():
            if record.get("tool", {}).get("encode") != job.tools.encode.identity():
                return str(record["experiment"])
        return None

    def _write_table(self, outcome: Outcome) -> None:
        """All records of the experiment as CSV; what failed in this run has none that still holds."""
        failed = {job.bitstream for job, _ in outcome.failed}
        try:
            comparison = gains.Comparison(self.experiment.seed)

            def rows() -> Iterator[Record]:
                for bitstream, record in self.store.all_records():
                    if bitstream not in failed:
                        comparison.add(record)
                        yield record

            outcome.csv = self.store.write_csv(rows())
            outcome.comparisons = comparison.rows()
            content = gains.as_csv(outcome.comparisons) if outcome.comparisons else None
            outcome.comparison_csv = self.store.write_table("equal_rate.csv", content)
        except OSError as error:
            message = f"{self.store.folder / 'compression.csv'}: {error.strerror}"
            raise JobError(f"{message}; the records themselves are whole, run again when that is mended") from None


def _check_importance(experiment: Experiment, data: DataRoot) -> None:
    """Refuse maps from labels where there can be none. Raises RequestError."""
    wanted = [coding.importance for coding in experiment.configurations() if coding.importance is not None]
    if wanted and wanted[0].source == "labels" and not data.is_cityscapes:
        raise RequestError(
            f"qp_map: {data.root} is a flat folder and has no labels; lay importance maps of your own at "
            f'{MAPS}/<name>_importance.npy there and say [importance] source = "files"'
        )


def _missing_importance(experiment: Experiment, data: DataRoot, sources: list[Source]) -> list[str]:
    """A line where pictures lack what their maps are made of: their jobs will fail."""
    wanted = next((one.importance for one in experiment.configurations() if one.importance is not None), None)
    if wanted is None:
        return []
    missing = [path for path in (mapping.main_file(data, source, wanted) for source in sources) if not path.is_file()]
    if not missing:
        return []
    return [f"{len(missing)} of {len(sources)} pictures have no importance: no {missing[0]}"
            + (" and so on" if len(missing) > 1 else "")]  # fmt: skip
