"""A task in a container: no network, read-only, the caller's user, limits; a GPU where one is handed in.

Its first process is `serve` on a standard input that we hold open, so it ends when we do, however we end. The code in
it is ours, mounted read-only, and so are a network's files; pictures and predictions go through its input and output.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import tempfile
import threading
from pathlib import Path
from typing import Any

from vcmbench.errors import RequestError
from vcmbench.execution.runner import containers, images
from vcmbench.execution.runner.docker import DockerRunner
from vcmbench.tasks import container_image, devices, serve
from vcmbench.tasks.base import Device, Prepared
from vcmbench.tasks.remote import PACKAGE, RemoteTask, Transport

_TMP = "/tmp"  # noqa: S108  # inside the container
_CODE, _FILES = "/opt/vcmbench/vcmbench", "/job/in"
_FRAME = struct.Struct(">BxxxL")
_STDOUT = 1
_LOG_BYTES = 1 << 14


def open_in_container(task: str, prepared: Prepared, place: Device, gpu: str, memory: str) -> RemoteTask:
    """The task, in a container of its own.

    Raises RequestError where no engine answers, its image is not built or a GPU asked for is not there.
    """
    owner = DockerRunner(memory)
    client = images.engine()
    if (reason := container_image.why_not_ready(client)) is not None:
        raise RequestError(f"{container_image.NAME}: {reason}; or use --runner local")
    number = devices.in_container(gpu, sorted(client.info().get("Runtimes") or {}))
    with _readable(prepared.files) as files:
        transport = ContainerTransport(owner, files, place.jobs, number)
        inside = {name: Path(_FILES) / _file_name(name, path) for name, path in files.items()}
        seen = "none" if number is None else "0"
        try:
            return RemoteTask(transport, task, Prepared(prepared.options, inside), place, seen)
        except RequestError as error:
            raise RequestError(_as_outside(str(error), inside, prepared.files)) from None


def _as_outside(message: str, inside: dict[str, Path], outside: dict[str, Path]) -> str:
    """A message with the caller's names of files in place of the container's."""
    for name, path in inside.items():
        message = message.replace(str(path), str(outside[name]))
    return message


@contextlib.contextmanager
def _readable(files: dict[str, Path]) -> Any:
    """The files, or copies where whoever the container runs as could not read them. Copies live until it has opened."""
    closed = [name for name, path in files.items() if not path.stat().st_mode & 0o004]
    if os.getuid() or not closed:
        yield {name: path.resolve() for name, path in files.items()}
        return
    with tempfile.TemporaryDirectory(prefix=f"vcmbench-{os.getpid()}-") as folder:
        copies = {name: Path(folder) / _file_name(name, files[name]) for name in closed}
        for name, copy in copies.items():
            shutil.copyfile(files[name], copy)
            copy.chmod(0o644)
        yield {name: copies.get(name, path.resolve()) for name, path in files.items()}


def _file_name(name: str, path: Path) -> str:
    return name + path.suffix


class ContainerTransport(Transport):
    runner = "docker"

    def __init__(self, owner: DockerRunner, files: dict[str, Path], jobs: int, gpu: str | None) -> None:
        import docker

        self._owner, self._client = owner, images.engine()
        self._stream: Any = None
        self._exit_code: int | None = None
        self._is_closed = False
        self._left, self._log = 0, b""
        self._container = ""
        try:
            self._start(files, jobs, gpu)
        except (docker.errors.DockerException, OSError) as error:
            self.close()
            raise RequestError(f"{container_image.NAME}: the container cannot be started: {error}") from error
        except BaseException:
            self.close()
            raise

    def _start(self, files: dict[str, Path], jobs: int, gpu: str | None) -> None:
        from docker.types import DeviceRequest, LogConfig, Mount

        api = self._client.api
        mounts = [Mount(_CODE, str(PACKAGE), type="bind", read_only=True)]
        mounts += [
            Mount(f"{_FILES}/{_file_name(name, path)}", str(path), type="bind", read_only=True)
            for name, path in files.items()
        ]
        host = api.create_host_config(
            mounts=mounts,
            auto_remove=True,
            # predictions go through its output: the engine must not keep them in a log
            log_config=LogConfig(type="none"),
            device_requests=[DeviceRequest(device_ids=[gpu], capabilities=[["gpu"]])] if gpu is not None else None,
            **containers.limits(self._owner.memory, min(jobs, os.cpu_count() or 1), processes=512),
        )
        created = api.create_container(
            container_image.tag(),
            ["python", "-m", serve.__name__],
            stdin_open=True,
            user=containers.user(),
            environment={"LC_ALL": "C.UTF-8", "HOME": _TMP, "XDG_CACHE_HOME": _TMP, "MPLCONFIGDIR": _TMP},
            labels=self._owner.labels,
            host_config=host,
        )
        self._container = created["Id"]
        attached = api.attach_socket(self._container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        self._response = attached  # the connection lives as long as what it came in
        self._stream = getattr(attached, "_sock", attached)
        self._stream.settimeout(None)
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        self._waiting.start()
        api.start(self._container)

    def _wait(self) -> None:
        with contextlib.suppress(Exception):  # the engine or the container is gone: nobody knows its code then
            # asked before it starts: once it has ended it is removed, and nothing tells any more
            ended = images.engine().api.wait(self._container, timeout=None, condition="next-exit")
            self._exit_code = int(ended["StatusCode"])
        # the engine goes on taking what nobody will read, until a buffer is full; then a write would hang for minutes
        with contextlib.suppress(OSError, AttributeError):
            self._stream.shutdown(socket.SHUT_WR)

    def read(self, buffer: memoryview) -> None:
        at = 0
        while at < len(buffer):
            if self._left == 0:
                self._next_frame()
                continue
            count = self._receive(buffer[at : at + self._left])
            at += count
            self._left -= count

    def _next_frame(self) -> None:
        """The engine sends output and error in one stream, each piece with its kind and length before it."""
        head = bytearray(_FRAME.size)
        self._fill(memoryview(head))
        kind, length = _FRAME.unpack(head)
        if kind == _STDOUT:
            self._left = length
            return
        said = bytearray(length)
        self._fill(memoryview(said))
        self._log = (self._log + said)[-_LOG_BYTES:]

    def _fill(self, buffer: memoryview) -> None:
        at = 0
        while at < len(buffer):
            at += self._receive(buffer[at:])

    def _receive(self, buffer: memoryview) -> int:
        if self._stream is None:
            raise EOFError
        count: int = self._stream.recv_into(buffer)
        if count == 0:
            raise EOFError
        return count

    def write(self, buffer: memoryview) -> None:
        if self._stream is None:
            raise BrokenPipeError("the container is gone")
        self._stream.sendall(buffer)

    def last_words(self) -> tuple[str, str]:
        self._waiting.join(timeout=10)
        if self._waiting.is_alive():  # it lives, but what it says is no message
            self._stop()
            return "was stopped", self._log.decode(errors="replace")
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.read(memoryview(bytearray(max(self._left, 1))))
        return self._how_it_went(), self._log.decode(errors="replace")

    def _how_it_went(self) -> str:
        if self._exit_code is None:
            return "ended with its container"
        if self._exit_code == 137:
            return f"was killed, most likely at the memory limit of {self._owner.memory} (--memory)"
        return f"exited with code {self._exit_code}"

    def _stop(self) -> None:
        try:
            self._owner.cancel()
        except Exception as error:
            if not isinstance(error, RequestError) and not images.is_engine_fault(error):
                raise
            # the engine is gone, and the container with it

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
        self._stop()
