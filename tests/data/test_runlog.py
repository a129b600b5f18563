"""The log of runs: what was written comes back, and damage is passed over."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vcmbench.data import runlog
from vcmbench.data.dataset import DataRoot
from vcmbench.data.runlog import RunLog, Tally, Watch
from vcmbench.data.store import Store

ONE = RunLog("compress", "2026-01-02T03:04:05.678+00:00", "threads", 2, 12.5, 7, 1, 2, {"x265": 3.25}, 20.125, 4711)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(DataRoot(tmp_path, False), "trial")


def test_what_was_appended_comes_back_in_order(store: Store) -> None:
    assert runlog.read(store) == []
    runs = [ONE, replace(ONE, step="metrics", cpu_s=None, tool_s={}), replace(ONE, workers=5)]
    for run in runs:
        runlog.append(store, run)
    assert runlog.read(store) == runs


def test_a_run_that_had_nothing_to_do_leaves_no_line(store: Store) -> None:
    runlog.append(store, replace(ONE, done=0, failed=0))
    assert not store.folder.exists()
    runlog.append(store, replace(ONE, done=0, failed=1))
    assert len(runlog.read(store)) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 10_000,
        b'"' + b"x" * (1 << 17) + b'"',
        json.dumps({"schema_version": 1}).encode(),
    ],
)
def test_a_damaged_line_is_passed_over(store: Store, line: bytes) -> None:
    runlog.append(store, ONE)
    with (store.folder / runlog.FILE).open("ab") as file:
        file.write(line + b"\n")
    runlog.append(store, ONE)
    assert runlog.read(store) == [ONE, ONE]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", "report"),
        ("date", "yesterday"),
        ("date", "2026-01-02T03:04:05"),
        ("workers", 0),
        ("workers", True),
        ("wall_s", -1),
        ("wall_s", "1"),
        ("wall_s", float("nan")),
        ("done", 1.5),
        ("tool_s", {"x265": "much"}),
        ("tool_s", []),
        ("schema_version", 99),
    ],
)
def test_a_line_that_says_what_cannot_be_is_passed_over(store: Store, name: str, value: object) -> None:
    runlog.append(store, ONE)
    path = store.folder / runlog.FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}) + "\n")
    assert runlog.read(store) == []


def test_a_run_that_was_killed_in_its_line_does_not_spoil_the_next(store: Store) -> None:
    runlog.append(store, ONE)
    path = store.folder / runlog.FILE
    path.write_bytes(path.read_bytes() + path.read_bytes()[:40])
    runlog.append(store, ONE)
    assert runlog.read(store) == [ONE, ONE]


def test_a_log_that_is_no_file_or_too_large_is_no_log(store: Store) -> None:
    store.folder.mkdir(parents=True)
    path = store.folder / runlog.FILE
    with path.open("wb") as file:
        file.truncate(1 << 25)
    assert runlog.read(store) == []
    path.unlink()
    path.mkdir()
    assert runlog.read(store) == []


def test_a_watch_tells_what_a_run_took() -> None:
    watch, tally = Watch.start(), Tally()
    tally.add({"encoder": "x265", "encode_s": 1.0, "decode_s": 0.5, "size_bytes": 100})
    tally.add({"encoder": "x265", "encode_s": 1.0, "decode_s": 0.5, "size_bytes": 11})
    tally.add({"encoder": "jpeg", "encode_s": 0.25, "decode_s": 0.0, "size_bytes": 1})
    sum(range(1_000_000))
    run = watch.stop("compress", "threads", 3, done=3, resumed=4, failed=5, tally=tally)
    assert (run.done, run.resumed, run.failed, run.workers) == (3, 4, 5, 3)
    assert (run.tool_s, run.written_bytes) == ({"x265": 3.0, "jpeg": 0.25}, 112)
    assert run.wall_s >= 0
    assert run.cpu_s is not None
    assert run.cpu_s > 0
    assert run.peak_process_mb > 10
    assert run.cores >= 1
    assert run.cpu
    assert watch.stop("metrics", "dask", 3, done=1, elsewhere=True).cpu_s is None
