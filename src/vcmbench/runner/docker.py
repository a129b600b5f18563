"""Tools in containers: one long-lived container per worker and encoder, closed to the network and to its host.

A container's first process is `cat` on a standard input that the run holds open. It ends when the run ends, however
the run ends: a killed run leaves no container behind. Commands are started beside it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

from vcmbench.encoder import Encoder, Tool
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.files import is_alive
from vcmbench.runner import builtin, images, probe
from vcmbench.runner.base import Completed, Runner, Worker, completed, timed_out
from vcmbench.runner.found import FoundTool

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

RUN_LABEL = "vcmbench.run"
OWNER_LABEL = "vcmbench.owner"
_NOBODY = 65534
_ELAPSED = ".elapsed_ns"
# Times the tool from inside: starting a process in a container costs 60 ms that are not the tool's.
_TIMED = (
    f's=$(date +%s%N); "$@"; c=$?; e=$(date +%s%N); '
    f'rm -f {_ELAPSED}; echo $((e - s)) > {_ELAPSED}; exit $c'
)  # fmt: skip


class DockerRunner(Runner):
    name = "docker"

    def __init__(self, memory: str = "4g") -> None:
        self.memory = memory
        self.run_id = uuid.uuid4().hex
        self._client = images.engine()
        self._cancelled = threading.Event()
        self._remove_left_behind()

    @property
    def labels(self) -> dict[str, str]:
        return {RUN_LABEL: self.run_id, OWNER_LABEL: f"{socket.gethostname()} {os.getpid()}"}

    def _remove_left_behind(self) -> None:
        """Remove what runs left that were killed between making a container and starting it, or while asking one."""
        for container in _containers(self._client, RUN_LABEL, status=["created", "exited"]):
            host, _, pid = container.labels.get(OWNER_LABEL, "").rpartition(" ")
            if host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid)):
                _remove(self._client, str(container.id))

    def find(self, encoder: Encoder, tools: tuple[Tool, ...]) -> FoundTool | None:
        image = images.image_id(self._client, encoder.name) if images.has_dockerfile(encoder.name) else None
        for tool in tools:
            if (found := builtin.find(tool.program)) is not None:
                # An image must not be passed over in silence for a copy of the tool inside this process.
                return found if not images.has_dockerfile(encoder.name) else None
            for program in (tool.program, *tool.aliases) if image else ():
                path = self._ask(str(image), ["sh", "-c", 'command -v "$1"', "sh", program]).strip()
                if path and self._has_component(str(image), path, tool):
                    answer = self._ask(str(image), [path, *probe.version_arguments(tool.program)])
                    return FoundTool(tool.program, path, probe.first_line(answer), str(image), str(image))
        return None

    def _has_component(self, image: str, path: str, tool: Tool) -> bool:
        if not tool.needs:
            return True
        kind, component = tool.needs.split(":")
        return probe.lists_component(self._ask(image, [path, "-hide_banner", f"-{kind}s"]), component)

    def _ask(self, image: str, argv: list[str]) -> str:
        """What a program of an image prints; remembered, since an image id never changes its meaning."""

        def ask() -> str:
            container = self._client.containers.create(
                image, argv, network_mode="none", labels=self.labels, environment={"LC_ALL": "C"}
            )
            try:
                container.start()
                container.wait(timeout=60)
                return bytes(container.logs(stdout=True, stderr=True)).decode(errors="replace")[: 1 << 17]
            finally:
                container.remove(force=True)

        return probe.remember(f"image {image} {argv}", ask)

    def missing(self, encoder: Encoder, tools: tuple[Tool, ...]) -> str:
        if not images.has_dockerfile(encoder.name):
            return f"{encoder.name}: has no docker/{encoder.name}/Dockerfile; use --runner local"
        if images.image_id(self._client, encoder.name) is None:
            return f"{encoder.name}: image not built; run: vcmbench encoders build {encoder.name}"
        wanted = " or ".join(tool.program for tool in tools)
        return f"{encoder.name}: its image {images.tag(encoder.name)} has no {wanted}"

    def worker(self) -> DockerWorker:
        return DockerWorker(self)

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Kill every container of this run, found by its label."""
        self._cancelled.set()
        client = images.engine()
        for container in _containers(client, f"{RUN_LABEL}={self.run_id}"):
            _remove(client, str(container.id))


def _containers(client: docker.DockerClient, label: str, **more: list[str]) -> list[Container]:
    return client.containers.list(all=True, ignore_removed=True, filters={"label": label, **more})


def _remove(client: docker.DockerClient, container: str) -> None:
    """Kill and remove a container; one that ended by itself in the meantime is no error."""
    import docker

    try:
        client.api.remove_container(container, force=True)
    except docker.errors.APIError:
        pass


class DockerWorker(Worker):
    def __init__(self, runner: DockerRunner) -> None:
        super().__init__()
        self._runner = runner
        self._client: docker.DockerClient | None = None
        self._containers: dict[str, tuple[str, Any]] = {}

    def _run(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed:
        if self._runner.is_cancelled:
            raise Cancelled
        import docker

        try:
            return self._exec(tool, argv, timeout_s)
        except (docker.errors.DockerException, OSError) as error:
            self._drop(str(tool.image))
            if self._runner.is_cancelled:
                raise Cancelled from None
            raise JobError(f"{argv[0]}: the Docker engine failed: {error}", argv) from error

    def _exec(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed:
        container = self._container(str(tool.image))
        api = self._engine().api
        watchdog = _Watchdog(timeout_s, lambda: images.engine().api.kill(container))
        start = time.perf_counter()
        with watchdog:
            created = api.exec_create(container, ["sh", "-c", _TIMED, "sh", tool.path, *argv[1:]])
            stdout, stderr = api.exec_start(created["Id"], demux=True)
        seconds = time.perf_counter() - start
        if watchdog.has_bitten or self._runner.is_cancelled:
            self._drop(str(tool.image))
            if self._runner.is_cancelled:
                raise Cancelled
            raise timed_out(argv, timeout_s)
        code = api.exec_inspect(created["Id"])["ExitCode"]
        if code is None:
            self._drop(str(tool.image))
            raise JobError(f"{argv[0]}: its container ended underneath it", argv)
        if code == 137:
            raise JobError(
                f"{argv[0]} was killed, most likely at the memory limit of {self._runner.memory} (--memory)", argv
            )
        if 128 < code <= 128 + 64:  # a shell's way to say that a signal ended its command
            code = 128 - code
        return completed(argv, code, stdout or b"", stderr or b"", self._elapsed() or seconds)

    def _elapsed(self) -> float | None:
        try:
            return int((self.scratch.outputs / _ELAPSED).read_text()) / 1e9
        except (OSError, ValueError):
            return None

    def _engine(self) -> docker.DockerClient:
        # A client of its own: the SDK's connections are not made to be shared between threads.
        if self._client is None:
            self._client = images.engine()
        return self._client

    def _container(self, image: str) -> str:
        if image not in self._containers:
            api = self._engine().api
            scratch = self.scratch
            host = api.create_host_config(
                network_mode="none",
                binds={
                    str(scratch.inputs): {"bind": "/job/in", "mode": "ro"},
                    str(scratch.outputs): {"bind": "/job/out", "mode": "rw"},
                },
                read_only=True,
                tmpfs={"/tmp": "size=256m"},
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                mem_limit=self._runner.memory,
                memswap_limit=self._runner.memory,
                nano_cpus=1_000_000_000,  # one job, one thread
                pids_limit=256,
                auto_remove=True,
            )
            created = api.create_container(
                image,
                ["cat"],
                stdin_open=True,
                user=f"{os.getuid()}:{os.getgid()}" if os.getuid() else f"{_NOBODY}:{_NOBODY}",
                working_dir="/job/out",
                environment={"LC_ALL": "C", "HOME": "/tmp"},
                labels=self._runner.labels,
                host_config=host,
            )
            stdin = api.attach_socket(created["Id"], params={"stdin": 1, "stream": 1})
            self._containers[image] = (created["Id"], stdin)
            if self._runner.is_cancelled:
                raise Cancelled
            api.start(created["Id"])
        return self._containers[image][0]

    def _drop(self, image: str) -> None:
        """End a container; the next command starts another."""
        import docker

        container, stdin = self._containers.pop(image, (None, None))
        if stdin is not None:
            stdin.close()
        if container is not None:
            try:
                _remove(self._engine(), container)
            except (docker.errors.DockerException, OSError, RequestError):
                pass  # the engine is gone, and the container with it

    def close(self) -> None:
        for image in list(self._containers):
            self._drop(image)
        super().close()


class _Watchdog:
    """Calls `bite` unless the block ends within `timeout_s`."""

    def __init__(self, timeout_s: float, bite: Any) -> None:
        self.has_bitten = False
        self._bite = bite
        self._timer = threading.Timer(timeout_s, self._on_time)
        self._timer.daemon = True

    def _on_time(self) -> None:
        self.has_bitten = True
        with contextlib.suppress(Exception):  # it ended at this very moment, or the engine is gone: so is the tool
            self._bite()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
