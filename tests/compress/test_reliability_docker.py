"""Whole runs in containers, and what happens underneath them: workers that are killed, engines that are restarted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compress.test_reliability import sound
from tests.helpers.clusters import end, start, wait_until
from tests.helpers.commands import type_command
from tests.helpers.engines import OwnEngine, own_engine
from vcmbench.execution.runner import images
from vcmbench.execution.runner.docker import OWNER_LABEL, RUN_LABEL

Write = Callable[..., Path]

pytestmark = pytest.mark.docker

HM = 'encoder = "hm"\nquality = [0, 1, 2, 3]'
"""Some seconds an encode: long enough to be in the middle of one."""


@pytest.fixture(scope="module", autouse=True)
def built(engine: Any) -> Any:
    done = type_command("encoders", "build", "hm", "jpeg")
    assert done.code == 0, done.err
    return engine


def encoding(engine: Any, folder: Path) -> list[Any]:
    """Containers with an encoder at work in them, of runs whose scratch folders lie in `folder`."""
    found = []
    for container in engine.containers.list(filters={"label": RUN_LABEL}, ignore_removed=True):
        mounted = [one["Source"] for one in container.attrs["Mounts"]]
        if any(place.startswith(f"{folder}/") for place in mounted) and "TAppEncoder" in str(container.top()):
            found.append(container)
    return found


def test_a_worker_killed_in_the_middle_of_an_encode(
    built: Any, tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """kill -9 of one of two processes: its container is reaped, its job runs again, and nothing is left."""
    config = write_experiment(HM)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    words = ("compress", "-d", photos, "-s", config, "--runner", "docker", "--json")
    process = start(*words, "--jobs", 2, env=environment)
    try:
        victim = wait_until(lambda: encoding(built, scratch), why=lambda: str(process.poll()))[0]
        owner = int(victim.labels[OWNER_LABEL].split()[-1])
        assert owner != process.pid, "a process of its own"
        os.kill(owner, signal.SIGKILL)
        out, err = process.communicate(timeout=180)
    finally:
        end(process)
    assert process.returncode == 0, err
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["done"] * 8
    assert sound(photos) == 8
    gone = {container.id for container in built.containers.list(all=True, ignore_removed=True)}
    assert victim.id not in gone
    assert not list(photos.glob("results/.*/*"))
    again = type_command(*words)
    assert {event["state"] for event in again.events} == {"resumed"}


@pytest.fixture(scope="module")
def own(built: Any) -> Iterator[OwnEngine]:
    with own_engine(images.tag("hm")) as engine:
        yield engine


@pytest.mark.parametrize(("how", "where"), [("kill", ()), ("stop", ("--jobs", 2))])
def test_the_engine_restarted_underneath_a_run(
    how: str, where: tuple[object, ...], own: OwnEngine, tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """Jobs wait for it and are done again; the run ends as if nothing had been, and leaves no container."""
    import docker

    config = write_experiment(HM)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**own.environment, "TMPDIR": str(scratch)}
    client = docker.DockerClient(base_url=own.host)
    process = start("compress", "-d", photos, "-s", config, "--runner", "docker", "--json", *where, env=environment)
    try:
        wait_until(lambda: encoding(client, scratch), why=lambda: str(process.poll()))
        getattr(own, how)()
        own.start()
        out, err = process.communicate(timeout=240)
    finally:
        end(process)
        client.close()
    assert process.returncode == 0, err
    assert sorted(json.loads(line)["state"] for line in out.splitlines()) == ["done"] * 8
    assert sound(photos) == 8
    assert own.containers() == []
    assert not list(photos.glob("results/.*/*"))


def test_an_engine_that_does_not_come_back_fails_the_jobs_and_loses_nothing(
    own: OwnEngine, tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """Ctrl-C ends the waiting; with the engine back, the next run does the rest."""
    config = write_experiment(HM)
    words = ("compress", "-d", photos, "-s", config, "--runner", "docker", "--json")
    process = start(*words, env=own.environment)
    try:
        wait_until(lambda: list(photos.glob("results/trial/records/**/*.json")), why=lambda: str(process.poll()))
        own.stop()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        before = sound(photos)
        assert before >= 1
    finally:
        end(process)
        own.start()
    again = type_command(*words, env=own.environment)
    assert again.code == 0, again.err
    states = [event["state"] for event in again.events]
    assert states.count("resumed") == before
    assert len(states) == sound(photos) == 8
