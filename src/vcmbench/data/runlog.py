"""What runs took: a line of JSON a run in `DATA/results/<experiment>/runs.jsonl`, by which a plan is held to account.

The file is a log for people and for `vcmbench plan`; no result depends on it. Lines are appended in one write each, so
several runs may share the file; whatever line is damaged, or too long, is passed over.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from vcmbench.data.record import Record
from vcmbench.data.store import Store
from vcmbench.io.files import read_bounded
from vcmbench.io.validation import Count

FILE = "runs.jsonl"
SCHEMA_VERSION: Literal[1] = 1
_MAX_BYTES = 1 << 24  # some ten thousand runs
_MAX_LINE_BYTES = 1 << 16
_MB = 1e6

Step = Literal["compress", "metrics"]
Amount = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]


def _with_zone(date: str) -> str:
    if datetime.fromisoformat(date).tzinfo is None:
        raise ValueError("has no time zone")
    return date


@dataclass(frozen=True)
class RunLog:
    """One run of one step. Times are in seconds, `date` is when it began, in UTC (ISO 8601).

    `tool_s` has, for each encoder, encode_s + decode_s of the jobs that this run did. `cpu_s` is processor time of this
    process and of all its children, tools among them (engines whose workers live elsewhere leave it None).
    `written_bytes` are the bitstreams of those jobs. Peaks are of resident memory: of the largest worker process, and
    of the largest of all children; Linux counts what a child was before its exec: it is never below its parent.
    """

    step: Step
    date: Annotated[str, AfterValidator(_with_zone)]
    engine: str
    workers: Annotated[int, Field(ge=1)]
    wall_s: Amount
    done: Count
    resumed: Count = 0
    failed: Count = 0
    tool_s: dict[str, Amount] = field(default_factory=dict)
    cpu_s: Amount | None = None
    written_bytes: Count = 0
    peak_process_mb: Amount = 0.0
    peak_tool_mb: Amount = 0.0
    cores: Count = 0
    cpu: str = ""
    schema_version: Literal[1] = SCHEMA_VERSION


@dataclass
class Tally:
    """What the jobs of a run took and left, summed up from their records as they come."""

    tool_s: dict[str, float] = field(default_factory=dict)
    written_bytes: int = 0

    def add(self, record: Record) -> None:
        seconds = record["encode_s"] + record["decode_s"]
        self.tool_s[record["encoder"]] = self.tool_s.get(record["encoder"], 0.0) + seconds
        self.written_bytes += record["size_bytes"]


@dataclass(frozen=True)
class Watch:
    """What a run began with. `Watch.start()` before the workers are started, `stop` once they have ended."""

    date: str
    began_s: float
    cpu_s: float

    @classmethod
    def start(cls) -> Self:
        return cls(datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic(), _cpu_s())

    def stop(
        self, step: Step, engine: str, workers: int, *, done: int, resumed: int = 0, failed: int = 0,
        tally: Tally | None = None, elsewhere: bool = False,
    ) -> RunLog:  # fmt: skip
        """The log of a run that has ended. `elsewhere`: its workers are no children of this process, so their time
        is not known here."""
        tally = tally or Tally()
        return RunLog(
            step, self.date, engine, workers, round(time.monotonic() - self.began_s, 3), done, resumed, failed,
            {name: round(seconds, 3) for name, seconds in tally.tool_s.items()},
            None if elsewhere else round(_cpu_s() - self.cpu_s, 3), tally.written_bytes,
            peak_mb(resource.RUSAGE_SELF),
            peak_mb(resource.RUSAGE_CHILDREN), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1, cpu_model(),
        )  # fmt: skip


def append(store: Store, run: RunLog) -> None:
    """Add a run to the experiment's log; one that had nothing to do leaves no line. Raises OSError."""
    if not run.done and not run.failed:
        return
    line = json.dumps(asdict(run), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    store.folder.mkdir(parents=True, exist_ok=True)
    number = os.open(store.folder / FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        size = os.fstat(number).st_size
        if size and os.pread(number, 1, size - 1) != b"\n":  # a run was killed in the middle of its line
            line = b"\n" + line
        os.write(number, line)
    finally:
        os.close(number)


def try_append(store: Store, run: RunLog) -> str | None:
    """The same; why it cannot be is returned, since a run must not fail for its log."""
    try:
        append(store, run)
    except OSError as error:
        return f"{store.folder / FILE}: cannot be written: {error.strerror}"
    return None


def read(store: Store) -> list[RunLog]:
    """The runs of an experiment in the order in which they ended; nothing where there is no log that can be read."""
    try:
        text = read_bounded(store.folder / FILE, _MAX_BYTES)
    except OSError:
        return []
    found = (_parsed(line) for line in text.splitlines() if line.strip())
    return [run for run in found if run is not None]


def _parsed(line: bytes) -> RunLog | None:
    """A line as it was written; None where it is damaged or of another schema."""
    if len(line) > _MAX_LINE_BYTES:
        return None
    try:
        return _LINE.validate_json(line, strict=True)
    except ValidationError:
        return None


_LINE = TypeAdapter(RunLog)


def _cpu_s() -> float:
    """Processor seconds of this process and of all its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mb(who: int) -> float:
    """Peak resident memory in MB, of `resource.RUSAGE_SELF` or the largest of `RUSAGE_CHILDREN`."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(who).ru_maxrss * unit / _MB, 1)


def cpu_model() -> str:
    """The processor's name as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
