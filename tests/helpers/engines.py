"""A Docker engine of a test's own, to be killed and started again: no other user of this machine's engine notices."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcmbench.io.files import is_alive

_START_S = 60.0


class OwnEngine:
    """`dockerd` with everything in one folder, which is kept from start to start: its images, its containers."""

    def __init__(self, *options: str) -> None:
        self._options = options
        # not below pytest's folder: the name of a socket has at most 107 bytes
        self.root = Path(tempfile.mkdtemp(prefix="vcmbench-engine-", dir="/tmp"))
        self._namespace = f"vcmbench-engine-{uuid.uuid4().hex}"  # not the folder's name: it must not end with "_"
        self.host = f"unix://{self.root}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What leads a command to this engine."""
        return {**os.environ, "DOCKER_HOST": self.host}

    def start(self) -> None:
        """Start it, also once more after `kill` or `stop`, and wait until it answers."""
        # Its containerd ends with it, but stays a zombie where nobody buries orphans; this file lets it wait for that.
        (self.root / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        with (self.root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # Without a bridge of its own an engine removes `docker0`, which may be another's: it gets a
                    # network namespace, where there is none.
                    "unshare", "--net",
                    "dockerd", "-H", self.host, "--data-root", self.root / "data", "--exec-root", self.root / "exec",
                    "--pidfile", self.root / "pid", "--bridge=none", "--iptables=false", "--ip-forward=false",
                    "--ip-masq=false", "--containerd-namespace", self._namespace,
                    "--containerd-plugins-namespace", f"{self._namespace}-plugins", *self._options,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while not self.answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()

    def answers(self) -> bool:
        import docker

        try:
            docker.DockerClient(base_url=self.host, timeout=5).ping()
        except Exception:  # the SDK lets errors of requests, urllib3 and the socket layer through
            return False
        return True

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")[-4000:]

    def load(self, image: str) -> None:
        """Copy an image from this machine's engine."""
        save = subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE)
        try:
            subprocess.run(["docker", "-H", self.host, "load"], stdin=save.stdout, capture_output=True, check=True)
        finally:
            if save.stdout is not None:
                save.stdout.close()
            assert save.wait() == 0

    def containers(self) -> list[str]:
        """The ids of all its containers, whatever their state."""
        done = subprocess.run(["docker", "-H", self.host, "ps", "-aq"], capture_output=True, text=True, check=True)
        return done.stdout.split()

    def kill(self) -> None:
        """SIGKILL to the engine alone; what it started may live on."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """As the system's service manager would: containers are ended, too."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """It lives, but answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None

    def remove(self) -> None:
        """End it and all that it started, unmount what it mounted, remove its folder."""
        self.stop()
        deadline = time.monotonic() + 30
        while pids := [pid for pid in self._started() if is_alive(pid)]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, pids
            os.sched_yield()
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for target in sorted((path for path in mounted if path.startswith(f"{self.root}/")), reverse=True):
            subprocess.run(["umount", "-l", target], check=True)
        shutil.rmtree(self.root)

    def _started(self) -> Iterator[int]:
        """Its containerd and the shims of its containers: their command lines name its folder."""
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                program = os.path.basename(words[0])
                if program.startswith((b"containerd", b"dockerd")) and any(os.fsencode(self.root) in w for w in words):
                    yield int(entry.name)


def why_not() -> str | None:
    """Why no engine can be started here; None where one can."""
    if os.getuid() != 0:
        return "starting a Docker engine needs root"
    missing = [
        program for program in ("dockerd", "docker", "containerd", "runc", "unshare") if shutil.which(program) is None
    ]
    return f"needs {', '.join(missing)}" if missing else None


@contextlib.contextmanager
def own_engine(*images: str, options: tuple[str, ...] = ()) -> Iterator[OwnEngine]:
    """A started engine that has these images of this machine's engine; `options` are dockerd's.

    Where none can be started: skip on a user's machine, fail where VCMBENCH_REQUIRE_DOCKER is set.
    """
    if (reason := why_not()) is not None:
        (pytest.fail if os.environ.get("VCMBENCH_REQUIRE_DOCKER") else pytest.skip)(reason)
    engine = OwnEngine(*options)
    try:
        engine.start()
        for image in images:
            engine.load(image)
        yield engine
    finally:
        engine.remove()
