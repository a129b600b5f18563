"""Tools in containers: one long-lived container per worker and encoder, closed to the network and to its host.

A container's first process is `cat` on a standard input that the run holds open. It ends when the run ends, however
the run ends: a killed run leaves no container behind. Commands are started beside it.

An engine may be restarted, and containers may be removed by others. A command that this happens to is `Lost`: the
worker forgets what it knew of the engine, and its next command asks for a new client and a new container.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from vcmbench.encoder.base import Encoder, Tool
from vcmbench.errors import Cancelled, JobError, Lost, RequestError
from vcmbench.execution.runner import builtin, container_tools, containers, images, probe, timing
from vcmbench.execution.runner.base import Completed, Runner, Worker, completed, timed_out
from vcmbench.execution.runner.choice import MEMORY, RunnerChoice
from vcmbench.execution.runner.containers import OWNER_LABEL, RUN_LABEL
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.execution.runner.watchdog import Watchdog, follow
from vcmbench.io.files import is_alive

if TYPE_CHECKING:
    import docker

_KILLED = 128 + 9
_PING_S = 5
_ENDING_S = 5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SLICE_S = 0.05, 2.0, 0.1


class DockerRunner(Runner):
    name = "docker"
    places = "in the images that are built; vcmbench tasks build makes one that has it"

    def __init__(self, memory: str = MEMORY) -> None:
        self.memory = memory
        self.run_id = uuid.uuid4().hex
        self._client = images.engine()
        self._cancelled = threading.Event()
        self._remove_left_behind()

    @property
    def choice(self) -> RunnerChoice:
        return RunnerChoice(self.name, memory=self.memory)

    @property
    def labels(self) -> dict[str, str]:
        return {RUN_LABEL: self.run_id, OWNER_LABEL: f"{socket.gethostname()} {os.getpid()}"}

    def _remove_left_behind(self) -> None:
        """Remove what runs left that were killed between making a container and starting it, or while asking one."""
        for container in containers.labelled(self._client, RUN_LABEL, status=["created", "exited", "dead"]):
            host, _, pid = container.labels.get(OWNER_LABEL, "").rpartition(" ")
            if host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid)):
                containers.remove(self._client, str(container.id))

    def find(self, encoder: Encoder, tools: tuple[Tool, ...]) -> FoundTool | None:
        image = images.image_id(self._client, encoder.name) if images.has_dockerfile(encoder.name) else None
        for tool in tools:
            if (found := builtin.find(tool.program)) is not None:
                # An image must not be passed over in silence for a copy of the tool inside this process.
                return found if not images.has_dockerfile(encoder.name) else None
            if image and (found := container_tools.find(image, [tool], lambda argv: self._ask(image, argv))):
                return found
        return None

    def first_of(self, tools: tuple[Tool, ...]) -> FoundTool | None:
        for image in images.built(self._client):
            if (found := container_tools.find(image, tools, partial(self._ask, image))) is not None:
                return found
        return None

    def _ask(self, image: str, argv: list[str]) -> str:
        """What a program of an image prints; remembered, since an image id never changes its meaning."""
        return probe.remember(
            f"image {image} {argv}", lambda: containers.ask(self._client, image, argv, self.memory, self.labels)
        )

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
        self._remove_all()

    def wait_until_back(self, timeout_s: float, is_stopped: Callable[[], bool]) -> bool:
        """Wait for the engine to answer, asking less and less often."""
        deadline = time.monotonic() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while not (self.is_cancelled or is_stopped()):
            with contextlib.suppress(RequestError):
                self._client = images.engine(_PING_S)
                return True
            until = min(time.monotonic() + pause_s, deadline)
            if until >= deadline and time.monotonic() >= deadline:
                return False
            while (left_s := until - time.monotonic()) > 0 and not is_stopped():
                if self._cancelled.wait(min(left_s, _SLICE_S)):
                    return False
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return False

    def close(self) -> None:
        """Remove the containers of this run that are still there: an engine that went away under it may have brought
        them back."""
        self._remove_all()

    def _remove_all(self) -> None:
        try:
            client = images.engine()
            for container in containers.labelled(client, f"{RUN_LABEL}={self.run_id}"):
                containers.remove(client, str(container.id))
        except Exception as error:
            if not is_fault(error):
                raise
            # the engine is gone; its containers end with it, or when it comes back and finds their input closed


def is_fault(error: Exception) -> bool:
    """Whether an exception means that the engine, or the way to it, has failed."""
    return isinstance(error, OSError | RequestError) or images.is_engine_fault(error)


class DockerWorker(Worker):
    def __init__(self, runner: DockerRunner) -> None:
        super().__init__()
        self._runner = runner
        self._client: docker.DockerClient | None = None
        self._containers: dict[str, tuple[str, Any]] = {}
        self._unburied: list[str] = []

    def _run(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed:
        if self._runner.is_cancelled:
            raise Cancelled
        try:
            return self._exec(tool, argv, timeout_s)
        except Exception as error:
            if not is_fault(error):
                raise
            self._drop(str(tool.image))
            self._client = None
            if self._runner.is_cancelled:
                raise Cancelled from None
            kind = JobError if _is_final(error) else Lost
            raise kind(f"{argv[0]}: the Docker engine failed: {error}", argv) from error

    def _exec(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed:
        image = str(tool.image)
        container = self._container(image)
        api = self._engine().api
        self.scratch.discard(timing.RESULT)
        start = time.perf_counter()
        with Watchdog(timeout_s, lambda: images.engine(_PING_S).api.kill(container)) as watchdog:
            created = api.exec_create(container, timing.wrapped([tool.path, *argv[1:]], ends_all=True))
            stdout, stderr = follow(api.exec_start(created["Id"], socket=True), watchdog)
        seconds = time.perf_counter() - start
        if watchdog.has_bitten or self._runner.is_cancelled:
            self._drop(image)
            if self._runner.is_cancelled:
                raise Cancelled
            raise timed_out(argv, timeout_s)
        code = api.exec_inspect(created["Id"])["ExitCode"]
        result = timing.read(self.scratch.outputs)
        is_killed, is_told = code == _KILLED, result is not None
        # Whoever ends a container kills the tool and the shell beside it, the memory limit the tool alone; but a tool
        # may kill that shell itself. The engine tells of a container's end a moment later than of its processes'.
        patience_s = _ENDING_S if is_killed and not is_told else 0
        if code is None or ((is_killed or not is_told) and containers.has_ended(self._engine(), container, patience_s)):
            self._drop(image)
            raise Lost(f"{argv[0]}: its container ended underneath it", argv)
        if not is_told:
            self._drop(image)  # the shell beside the tool did not come to its end: nobody knows what still runs there
        if is_killed:
            raise JobError(
                f"{argv[0]} was killed, most likely at the memory limit of {self._runner.memory} (--memory)", argv
            )
        if 128 < code <= 128 + 64:  # a shell's way to say that a signal ended its command
            code = 128 - code
        elapsed_s = timing.elapsed_s(result) if result is not None else None
        return completed(argv, code, stdout, stderr, seconds if elapsed_s is None else elapsed_s)

    def _engine(self) -> docker.DockerClient:
        # A client of its own: the SDK's connections are not made to be shared between threads.
        if self._client is None:
            self._client = images.engine()
        return self._client

    def _container(self, image: str) -> str:
        if image not in self._containers:
            client = self._engine()
            self._bury()
            container = containers.create(client, image, self.scratch, self._runner.memory, self._runner.labels)
            stdin = client.api.attach_socket(container, params={"stdin": 1, "stream": 1})
            self._containers[image] = (container, stdin)
            if self._runner.is_cancelled:
                raise Cancelled
            client.api.start(container)
        return self._containers[image][0]

    def _drop(self, image: str) -> None:
        """End a container; the next command starts another."""
        container, stdin = self._containers.pop(image, (None, None))
        if container is not None:
            self._unburied.append(container)
        try:
            if stdin is not None:
                stdin.close()
            self._bury()
        except Exception as error:
            if not is_fault(error):
                raise
            self._client = None  # the engine is gone; what it may bring back goes before another container starts

    def _bury(self) -> None:
        """Make sure that containers given up are gone. An engine may leave them running while it is away itself, and
        the tools in them would go on writing into the scratch folder."""
        while self._unburied:
            containers.remove(self._engine(), self._unburied[-1])
            containers.await_end(self._engine(), self._unburied[-1])
            self._unburied.pop()

    def close(self) -> None:
        for image in list(self._containers):
            self._drop(image)
        super().close()


def _is_final(error: Exception) -> bool:
    """Whether the engine answered, and would answer the same again: such a request is not done once more."""
    import docker

    if isinstance(error, docker.errors.ImageNotFound):
        return True
    gone = (404, 409)  # no such container, no such command, not running
    return isinstance(error, docker.errors.APIError) and error.is_client_error() and error.status_code not in gone
