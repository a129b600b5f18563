"""A worker's container: closed to the network and to its host, alive as long as the run holds its input open."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vcmbench.execution.runner import timing

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

    from vcmbench.execution.runner.scratch import Scratch

RUN_LABEL = "vcmbench.run"
OWNER_LABEL = "vcmbench.owner"
INPUTS, OUTPUTS = "/job/in", "/job/out"
_NOBODY = 65534
_END_S = 30
_TMP_BYTES, _SHM_BYTES = 256 << 20, 64 << 20
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
ENVIRONMENT = {"LC_ALL": "C", "HOME": "/tmp"}


def user() -> str:
    """Who tools run as: the caller, so that files are the caller's; nobody where that is root."""
    return f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{_NOBODY}:{_NOBODY}"


def limits(memory: str, cpus: int = 1, processes: int = 256) -> dict[str, Any]:
    """What every container is denied, as the engine's host configuration says it. By default one job, one thread."""
    # Files in memory count as memory, and killing processes does not free them: were there room for as much as the
    # limit, a tool that fills them would take its container along.
    share = int(memory[:-1]) * _UNITS[memory[-1]] // 4
    return {
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": f"size={min(share, _TMP_BYTES)}"},
        "shm_size": min(share, _SHM_BYTES),
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": cpus * 1_000_000_000,
        "pids_limit": processes,
    }


def create(client: docker.DockerClient, image: str, scratch: Scratch, memory: str, labels: dict[str, str]) -> str:
    """A container for a worker's commands; it is yet to be started. Raises the engine's errors."""
    from docker.types import Mount

    # as mounts, not as SOURCE:TARGET texts: a folder's name may have a colon
    mounts = [
        Mount(INPUTS, str(scratch.inputs), type="bind", read_only=True),
        Mount(OUTPUTS, str(scratch.outputs), type="bind"),
    ]
    created = client.api.create_container(
        image,
        list(timing.INIT),
        stdin_open=True,
        user=user(),
        working_dir=OUTPUTS,
        environment=ENVIRONMENT,
        labels=labels,
        stop_signal="SIGKILL",  # a first process hears no other: an engine that stops would wait for it in vain
        host_config=client.api.create_host_config(mounts=mounts, auto_remove=True, **limits(memory)),
    )
    return str(created["Id"])


def ask(client: docker.DockerClient, image: str, argv: list[str], memory: str, labels: dict[str, str]) -> str:
    """What a program of an image prints."""
    api = client.api
    created = api.create_container(
        image,
        argv,
        user=user(),
        environment=ENVIRONMENT,
        labels=labels,
        host_config=api.create_host_config(**limits(memory)),
    )["Id"]
    try:
        api.start(created)
        api.wait(created, timeout=60)
        return bytes(api.logs(created, stdout=True, stderr=True)).decode(errors="replace")[: 1 << 17]
    finally:
        api.remove_container(created, force=True)


def has_ended(client: docker.DockerClient, container: str, patience_s: int) -> bool:
    """Whether a container runs no more, or ends within `patience_s`.

    It runs if a process can be started in it and ends well: what the engine tells of its state may be older.
    """
    import docker
    import requests

    api = client.api
    try:
        if patience_s:
            with suppress(requests.ReadTimeout, requests.ConnectionError):  # the SDK's ways to say that it took longer
                api.wait(container, timeout=patience_s, condition="not-running")
                return True
        created = api.exec_create(container, ["true"])["Id"]
        api.exec_start(created)
        return bool(api.exec_inspect(created)["ExitCode"] != 0)
    except docker.errors.APIError:
        return True


def await_end(client: docker.DockerClient, container: str) -> None:
    """Until a container that is being removed does not run any more. Raises the SDK's errors where it goes on."""
    import docker

    try:
        client.api.wait(container, timeout=_END_S, condition="not-running")
    except docker.errors.NotFound:
        pass


def labelled(client: docker.DockerClient, label: str, **more: list[str]) -> list[Container]:
    return client.containers.list(all=True, ignore_removed=True, filters={"label": label, **more})


def remove(client: docker.DockerClient, container: str) -> None:
    """Kill and remove a container; one that ended by itself in the meantime is no error."""
    import docker

    try:
        client.api.remove_container(container, force=True)
    except docker.errors.APIError:
        pass
