"""Several runs measure one data root at the same time: they share the work, and one that is killed is replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.helpers.commands import half_written
from tests.helpers.measuring import CONFIGURATIONS, PICTURES, Results, copy, counts, measure, once, tree
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.measure.pictures_run import PicturesRun
from vcmbench.measure.todo import ImageLevel

ALL = CONFIGURATIONS * PICTURES
_WAIT_S = 240

# A run that says "ready" when it asks about its first pictures, and goes on when it is sent a line.
_GATED = """
    import sys, threading
    from vcmbench import cli
    from vcmbench.measure.steps import Steps

    gate, ask = threading.Lock(), Steps.ask
    waiting = [True]

    def asking(self, *arguments):
        with gate:
            if waiting:
                print("ready", file=sys.stderr, flush=True)
                sys.stdin.readline()
                waiting.clear()
        ask(self, *arguments)

    Steps.ask = asking
    sys.exit(cli.main(sys.argv[1:]))
    """


class Running:
    """`vcmbench metrics` in a process of its own."""

    def __init__(self, root: Path, config: Path, *words: str, gated: bool) -> None:
        begin = ["-c", textwrap.dedent(_GATED)] if gated else ["-m", "vcmbench"]
        self.process = subprocess.Popen(
            [sys.executable, *begin, "metrics", "-d", str(root), "-s", str(config), "--runner", "local", "--gpu",
             "none", "--jobs", "1", "--json", "--no-report", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def says(self, text: str) -> None:
        """Wait until it does."""
        assert self.process.stderr is not None
        told = []
        for line in self.process.stderr:
            told.append(line)
            if text in line:
                return
        raise AssertionError("".join(told))

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def outcome(self) -> dict[str, Any]:
        """What it told in the end, which was a good one."""
        out, err = self.process.communicate(timeout=_WAIT_S)
        assert self.process.returncode == 0, err
        found: dict[str, Any] = json.loads(out)
        assert found["failed"] == []
        return found


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(stack: ExitStack, results: Results, *words: str, gated: bool = False) -> Running:
    running = Running(results.root, results.root.parent / "trial.toml", *words, gated=gated)
    stack.enter_context(running.process)
    stack.callback(running.process.kill)
    return running


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Compressed, and nothing of it measured."""
    found = copy(tmp_path_factory, tmp_path)
    found.remove("P_GT", "P_hat_C", "results/trial/scores", "results/trial/blocks")
    for path in found.folder.iterdir():
        if path.is_file() and not path.name.startswith("compression."):
            path.unlink()
    return found


def test_two_runs_share_the_pictures(
    results: Results, processes: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    both = [start(processes, results, gated=True) for _ in range(2)]
    for run in both:
        run.says("ready")
    for run in both:
        run.go()
    told = [run.outcome() for run in both]
    assert [one["done"] + one["resumed"] for one in told] == [ALL, ALL]
    assert sum(one["done"] for one in told) == ALL, "no picture was measured twice"
    assert all(one["done"] for one in told)
    assert tree(results.root) == tree(once(tmp_path_factory) / "data")
    assert not half_written(results.root)
    assert not list((results.root / "results/.claims").iterdir())


def test_a_run_that_is_killed_is_replaced_by_the_other(
    results: Results, processes: ExitStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = start(processes, results, gated=True)
    first.says("ready")
    second = start(processes, results)
    second.says(f"waiting for it: process {first.process.pid} on ")
    assert second.process.poll() is None
    os.kill(first.process.pid, signal.SIGKILL)
    told = second.outcome()
    assert (told["done"], told["resumed"]) == (ALL, 0)
    first.process.wait()
    assert counts(measure(results.root, results.root.parent / "trial.toml")) == (0, ALL, 0)
    assert not half_written(results.root), "what the killed one was writing"
    assert tree(results.root) == tree(once(tmp_path_factory) / "data")


def test_a_run_that_waits_can_be_stopped(results: Results, processes: ExitStack) -> None:
    first = start(processes, results, gated=True)
    first.says("ready")
    second = start(processes, results)
    second.says(f"waiting for it: process {first.process.pid} on ")
    second.process.send_signal(signal.SIGINT)
    out, err = second.process.communicate(timeout=_WAIT_S)
    assert second.process.returncode == 130, err
    told = json.loads(out)
    assert told["interrupted"] and not told["failed"]
    first.go()
    assert first.outcome()["done"] == ALL - told["done"]


def test_what_another_run_finishes_meanwhile_is_known(
    results: Results, processes: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look at a unit and its claim."""
    other, todo = start(processes, results, gated=True), ImageLevel.todo
    other.says("ready")
    looked: list[None] = []

    def looking(self: ImageLevel, *arguments: Any, **named: Any) -> Any:
        found = list(todo(self, *arguments, **named))
        if not looked:
            looked.append(None)
            other.go()
            assert other.outcome()["done"] == ALL
        return found

    monkeypatch.setattr(ImageLevel, "todo", looking)
    done = measure(results.root, results.root.parent / "trial.toml")
    assert (done.code, counts(done)) == (0, (0, ALL, 0)), done.err


def test_a_claim_of_somebody_else_is_waited_for(
    results: Results, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Until it ends; all else is measured before, though the pictures that are held come first."""
    store = Store(open_root(results.root), "trial")
    score = results.score_path("x265", "frankfurt").relative_to(results.root)
    claim = store.claim(PurePosixPath(score))
    assert claim is not None

    def said(_: Any, units: Any) -> None:
        assert len(units) == CONFIGURATIONS - 3  # jpeg and lossless units of that picture were free
        claim.release()

    monkeypatch.setattr(PicturesRun, "_say_waiting", said)
    done = measure(results.root, results.root.parent / "trial.toml")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert tree(results.root) == tree(once(tmp_path_factory) / "data")
