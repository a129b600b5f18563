"""Tasks in a container, against a real engine: the same predictions as here, contained, and gone when we are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers import small_networks
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.docker import OWNER_LABEL, RUN_LABEL
from vcmbench.tasks import Task, TaskSettings, container_image
from vcmbench.tasks.remote import RemoteTask

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module", autouse=True)
def built(engine: Any) -> Any:
    """The image, built where it is not; nothing is left running at the end."""
    if container_image.image_id(engine) is None:
        container_image.build(engine, "debian:trixie-slim", lambda _: None)
    yield engine
    assert not _containers(engine, os.getpid())


def _containers(engine: Any, pid: int) -> list[Any]:
    """The containers of one run (others may use the same engine at the same time)."""
    listed = engine.containers.list(all=True, ignore_removed=True, filters={"label": RUN_LABEL})
    return [container for container in listed if int(container.labels[OWNER_LABEL].split()[-1]) == pid]


@pytest.fixture(scope="module", params=sorted(tasks.discover()))
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TaskSettings:
    folder = tmp_path_factory.mktemp("network: of, a user")  # a name that no option of Docker's can hold
    small = getattr(small_networks, request.param, None)
    made = small(folder) if small else TaskSettings(name=request.param, **tasks.get(request.param).example(folder))
    Path(made.checkpoint or made.model).chmod(0o600)  # whoever runs inside is not root
    return made


@pytest.fixture(scope="module")
def far(settings: TaskSettings) -> Iterator[Task]:
    with tasks.open_task(settings, "docker", "none", jobs=2) as task:
        yield task


def test_the_same_predictions_as_here(far: Task, settings: TaskSettings, astronaut: np.ndarray) -> None:
    pictures = small_networks.scenes(astronaut)
    with tasks.open_task(settings, "local", "none", jobs=2) as near:
        assert (near.runner, far.runner) == ("local", "docker")
        assert far.identity() == near.identity()
        assert (far.kind, far.classes) == (near.kind, near.classes)
        for here, there in zip(near.predict(pictures), far.predict(pictures), strict=True):
            assert here.dtype == there.dtype
            assert np.array_equal(here, there)


def test_it_is_contained(far: Task, built: Any) -> None:
    (container,) = _containers(built, os.getpid())
    host = container.attrs["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] == host["MemorySwap"] == 8 << 30
    assert host["PidsLimit"] == 512
    assert all(not mount["RW"] for mount in container.attrs["Mounts"])
    assert "docker.sock" not in str(container.attrs["Mounts"])
    assert container.attrs["Config"]["User"].split(":")[0] not in ("", "0", "root")


def test_a_refused_checkpoint_is_named_as_the_user_knows_it(tmp_path: Path) -> None:
    settings = small_networks.segmentation(tmp_path)
    (tmp_path / "torn.safetensors").write_bytes(b"\0" * 100)
    torn = settings.model_copy(update={"checkpoint": str(tmp_path / "torn.safetensors")})
    with pytest.raises(RequestError, match=rf"checkpoint {tmp_path}/torn\.safetensors: damaged or truncated"):
        tasks.open_task(torn, "docker", "none")


def test_a_container_that_is_killed(tmp_path: Path, astronaut: np.ndarray, built: Any) -> None:
    before = {container.id for container in _containers(built, os.getpid())}
    with tasks.open_task(small_networks.segmentation(tmp_path), "docker", "none") as task:
        (mine,) = [container for container in _containers(built, os.getpid()) if container.id not in before]
        mine.kill()
        with pytest.raises(JobError, match=r"the task's process was killed, most likely at the memory limit of 8g"):
            task.predict([astronaut])


def test_too_little_memory(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"was killed, most likely at the memory limit of 64m \(--memory\)"):
        tasks.open_task(small_networks.segmentation(tmp_path), "docker", "none", memory="64m")


def test_a_gpu_that_the_engine_cannot_hand_in(tmp_path: Path, built: Any) -> None:
    if "nvidia" in built.info()["Runtimes"]:
        pytest.skip("this engine can")
    with pytest.raises(RequestError, match="--gpu 0: the Docker engine has no nvidia runtime"):
        tasks.open_task(small_networks.segmentation(tmp_path), "docker", "0")


def test_no_container_outlives_a_run_that_is_killed(tmp_path: Path, built: Any) -> None:
    small_networks.segmentation(tmp_path)
    code = (
        "import sys, signal; from vcmbench import tasks; d = sys.argv[1]\n"
        "task = tasks.open_task(tasks.TaskSettings(model=d + '/config.json', checkpoint=d + '/weights.safetensors'), "
        "'docker', 'none')\nprint('open', flush=True)\nsignal.pause()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        assert [container.status for container in _containers(built, process.pid)] == ["running"]
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)
    finally:
        process.kill()
    deadline = time.monotonic() + 30
    while _containers(built, process.pid):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_an_image_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_image, "tag", lambda: "vcmbench/tasks:nosuch")
    with pytest.raises(RequestError, match="image not built; run: vcmbench tasks build; or use --runner local"):
        tasks.open_task(small_networks.segmentation(tmp_path), "docker", "none")


def test_the_code_inside_is_the_callers(far: Task) -> None:
    """Nothing of vcmbench is in the image: another version of us needs no other image."""
    assert isinstance(far, RemoteTask)
    assert all("vcmbench/" not in name for name in container_image._context() if name != "Dockerfile")
