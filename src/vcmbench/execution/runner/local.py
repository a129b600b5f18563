"""Binaries of this machine: in `--bin-dir`, on PATH, or the static FFmpeg in the `imageio-ffmpeg` wheel."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from vcmbench.encoder.base import Encoder, Tool
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner import builtin, images, leftovers, probe
from vcmbench.execution.runner.base import Completed, Runner, Worker, completed, timed_out
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.processes import Processes
from vcmbench.execution.runner.tool import FoundTool


@cache
def _wheel_ffmpeg() -> Path | None:
    # imported here: it costs tens of milliseconds and is not always asked for
    import imageio_ffmpeg

    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


def _status(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class LocalRunner(Runner):
    name = "local"
    places = "on PATH; install the wheel imageio-ffmpeg, which has it"

    def __init__(self, bin_dir: Path | None = None) -> None:
        if bin_dir is not None and not bin_dir.is_dir():
            raise RequestError(f"--bin-dir {str(bin_dir)!r}: is not a folder")
        self.bin_dir = bin_dir.resolve() if bin_dir else None
        self.processes = Processes()
        self.passed_over: dict[str, str] = {}
        self._seen: dict[str, tuple[int, ...]] = {}

    def find(self, encoder: Encoder, tools: tuple[Tool, ...]) -> FoundTool | None:
        return self.first_of(tools)

    def first_of(self, tools: tuple[Tool, ...]) -> FoundTool | None:
        for tool in tools:
            if (found := builtin.find(tool.program)) is not None:
                return found
            for path in self._candidates(tool):
                if why_not := probe.cannot_start(tool.program, path):
                    self.passed_over[str(path)] = f"{path}: cannot be started here and is passed over: {why_not}"
                elif self._has_component(path, tool):
                    self._seen[str(path)] = _status(path)
                    return FoundTool(tool.program, str(path), probe.version(tool.program, path), probe.sha256(path))
        return None

    def check(self, tool: FoundTool) -> tuple[int, ...]:
        """What a binary's file is like now. Raises JobError where it is another one than was found.

        It is hashed again only where its file was touched; what this runner has not found itself is not known.
        """
        path = Path(tool.path)
        if not os.access(path, os.X_OK):
            raise JobError(f"{path}: cannot be started: it is gone, or not executable")
        status = _status(path)
        if self._seen.get(tool.path, status) != status:
            with path.open("rb") as file:
                if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != tool.digest:
                    raise JobError(f"{path}: is another binary than when this run began; run again to use it")
            self._seen[tool.path] = status
        return status

    def _candidates(self, tool: Tool) -> list[Path]:
        names = (tool.program, *tool.aliases)
        places = [shutil.which(name, path=str(self.bin_dir)) for name in names] if self.bin_dir else []
        places += [shutil.which(name) for name in names]
        paths = [Path(place) for place in places if place]
        if tool.program == "ffmpeg" and (wheel := _wheel_ffmpeg()):
            paths.append(wheel)
        return paths

    def _has_component(self, path: Path, tool: Tool) -> bool:
        if not tool.needs:
            return True
        kind, component = tool.needs.split(":")
        listing = probe.answer(path, ("-hide_banner", f"-{kind}s"))
        if probe.lists_component(listing, component):
            return True
        if path.parent == self.bin_dir:
            # The folder was named on purpose: to take another binary in silence would be no answer.
            said = "it gave no list" if not listing.strip() else f"its list of {kind}s has none"
            raise RequestError(f"{path}: has no {kind} {component} ({said}); take it out of --bin-dir or replace it")
        return False

    def missing(self, encoder: Encoder, tools: tuple[Tool, ...]) -> str:
        wanted = " or ".join(f"{t.program} with {t.needs.split(':')[1]}" if t.needs else t.program for t in tools)
        places = f"--bin-dir {self.bin_dir} or on PATH" if self.bin_dir else "--bin-dir or on PATH"
        broken = "".join(f" ({self.passed_over[str(path)]})" for tool in tools for path in self._candidates(tool)
                         if str(path) in self.passed_over)  # fmt: skip
        instead = f", or: vcmbench encoders build {encoder.name}, and --runner docker"
        return (
            f"{encoder.name}: no {wanted} in {places}{broken}; install it"
            f"{instead if images.has_dockerfile(encoder.name) else ''}"
        )

    @property
    def choice(self) -> RunnerChoice:
        return RunnerChoice(self.name, bin_dir=self.bin_dir)

    def worker(self) -> LocalWorker:
        return LocalWorker(self)

    def cancel(self) -> None:
        self.processes.cancel()


class LocalWorker(Worker):
    def __init__(self, runner: LocalRunner) -> None:
        super().__init__()
        self._runner = runner

    def _run(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed:
        before = self._runner.check(tool)
        try:
            ended = self._runner.processes.run(
                [tool.path, *argv[1:]],
                self.scratch.outputs,
                {**os.environ, "LC_ALL": "C"},
                leftovers.new(self.scratch.lease),
                timeout_s,
            )
        except OSError as error:
            raise JobError(f"{tool.path}: cannot be started: {error.strerror}", argv) from None
        except subprocess.TimeoutExpired:
            raise timed_out(argv, timeout_s) from None
        if self._runner.check(tool) != before:
            raise JobError(f"{tool.path}: was replaced or changed while it ran; run again", argv)
        return completed(argv, ended.code, ended.stdout, ended.stderr, ended.seconds)
