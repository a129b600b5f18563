"""An engine that is killed or stopped in the middle of a tool, and comes back: the worker says so, and goes on."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import type_command
from tests.helpers.engines import OwnEngine, own_engine
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Command
from vcmbench.errors import Cancelled, JobError, Lost
from vcmbench.execution.runner import images
from vcmbench.execution.runner.docker import DockerRunner, DockerWorker
from vcmbench.execution.runner.tool import FoundTool

pytestmark = pytest.mark.docker

ENCODER = "hm"  # the smallest image
BACK_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def built(engine: Any) -> None:
    done = type_command("encoders", "build", ENCODER)
    assert done.code == 0, done.err


@pytest.fixture(scope="module", params=[(), ("--live-restore",)], ids=["plain", "live-restore"])
def own(request: pytest.FixtureRequest, built: None) -> Iterator[OwnEngine]:
    bridge = Path("/sys/class/net/docker0")
    was_there = bridge.exists()
    with own_engine(images.tag(ENCODER), options=request.param) as engine:
        yield engine
    assert bridge.exists() == was_there, "the other engine's network is none of its business"


@pytest.fixture
def runner(own: OwnEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[DockerRunner]:
    """A runner of the test's own engine; at the end no container is left there."""
    monkeypatch.setenv("DOCKER_HOST", own.host)
    one = DockerRunner("256m")
    yield one
    if own.answers():
        one.close()
        assert own.containers() == []


@pytest.fixture
def worker(runner: DockerRunner) -> Iterator[DockerWorker]:
    one = runner.worker()
    yield one
    one.close()


def shell(runner: DockerRunner) -> FoundTool:
    one = plugins.get(ENCODER)
    found = runner.find(one, one.encode_tools)
    assert found is not None
    return FoundTool("sh", "/bin/sh", "", found.digest, found.image)


def run(worker: DockerWorker, sh: FoundTool, script: str) -> str:
    return worker.run(sh, Command(("sh", "-c", script)), 60).log.strip()


def once_started(worker: DockerWorker, act: Callable[[], None]) -> threading.Thread:
    """Does something as soon as a tool has written the file `started`."""
    started = worker.scratch.outputs / "started"
    started.unlink(missing_ok=True)

    def wait_and_act() -> None:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            os.sched_yield()
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


SLOW = "echo > started; sleep 600; echo > finished"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_worker_goes_on_after_its_engine_was_away(
    how: str, own: OwnEngine, runner: DockerRunner, worker: DockerWorker
) -> None:
    sh = shell(runner)
    assert run(worker, sh, "cat ../in/x 2>/dev/null; echo before") == "before"
    ending = once_started(worker, getattr(own, how))
    with pytest.raises(Lost) as lost:
        run(worker, sh, SLOW)
    ending.join()
    assert lost.value.command == ("sh", "-c", SLOW)

    # while it is away, everything is Lost, and waiting ends in time
    with pytest.raises(Lost, match="no Docker engine answers"):
        run(worker, sh, "echo")
    start = time.monotonic()
    assert not runner.wait_until_back(0.3, lambda: False)
    assert 0.3 <= time.monotonic() - start < 5
    assert not runner.wait_until_back(BACK_S, lambda: True), "told to stop"

    starting = threading.Thread(target=own.start)
    starting.start()
    assert runner.wait_until_back(BACK_S, lambda: False)
    starting.join()
    assert run(worker, sh, "echo after; ls").split() == ["after", "started"]
    # The tool of before is gone: it would write among the files of the next one.
    assert "sleep" not in run(worker, sh, "cat /proc/[0-9]*/comm").split()
    assert len(own.containers()) == 1


def test_waiting_ends_with_the_run(own: OwnEngine, runner: DockerRunner) -> None:
    own.stop()
    try:
        waiting = threading.Thread(target=runner.wait_until_back, args=(BACK_S, lambda: False))
        waiting.start()
        runner.cancel()  # without an engine, too
        waiting.join(timeout=10)
        assert not waiting.is_alive()
        with pytest.raises(Cancelled):
            runner.worker().run(FoundTool("sh", "/bin/sh", "", "", "x"), Command(("sh",)), 1)
        runner.close()
    finally:
        own.start()


def test_a_container_that_others_remove_is_lost_but_a_killed_tool_has_failed(
    own: OwnEngine, runner: DockerRunner, worker: DockerWorker
) -> None:
    import docker

    sh = shell(runner)
    client = docker.DockerClient(base_url=own.host)

    def remove() -> None:
        for container in client.containers.list():
            container.remove(force=True)

    ending = once_started(worker, remove)
    with pytest.raises(Lost, match=r"ended underneath it|engine failed"):
        run(worker, sh, SLOW)
    ending.join()
    with pytest.raises(JobError, match="killed, most likely at the memory limit") as failed:
        run(worker, sh, "exec tail /dev/zero")
    assert not isinstance(failed.value, Lost)
    with pytest.raises(JobError, match="killed") as failed:
        run(worker, sh, "kill -9 $PPID; sleep 600")
    assert not isinstance(failed.value, Lost), "its own doing"
    assert run(worker, sh, "echo alive") == "alive"


def test_what_a_run_has_left_goes_with_close(own: OwnEngine, runner: DockerRunner) -> None:
    worker = runner.worker()
    assert run(worker, shell(runner), "echo x") == "x"
    assert len(own.containers()) == 1
    runner.close()
    assert own.containers() == []
    with pytest.raises(JobError) as failed:
        worker.run(FoundTool("sh", "/bin/sh", "", "sha256:0", "vcmbench/nosuch:image"), Command(("sh",)), 10)
    assert not isinstance(failed.value, Lost), "an image that is not there does not come back"
    worker.close()


def test_an_engine_that_hangs_does_not_hold_a_tool_for_ever(
    own: OwnEngine, runner: DockerRunner, worker: DockerWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its connections open and answers nothing; `--timeout` holds all the same."""
    monkeypatch.setattr("vcmbench.execution.runner.docker._PING_S", 1)
    monkeypatch.setattr(images, "TIMEOUT_S", 1)
    sh = shell(runner)
    assert run(worker, sh, "echo") == ""
    freezing = once_started(worker, own.freeze)
    try:
        with pytest.raises(JobError, match="was stopped after 2 s"):
            worker.run(sh, Command(("sh", "-c", SLOW)), 2)
        freezing.join()
    finally:
        own.thaw()
    assert runner.wait_until_back(BACK_S, lambda: False)
    assert run(worker, sh, "echo alive") == "alive"
