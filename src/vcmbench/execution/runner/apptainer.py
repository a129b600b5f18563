"""Tools in SIF images, by Apptainer or Singularity: containers for clusters, where there is no Docker engine.

A SIF file is an encoder's Docker image, converted; there is no engine, and each command is a container of its own. It
is denied what Docker's are denied: network, host, rights, a second core, more than `--memory`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from vcmbench.encoder.base import Encoder, Tool
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner import builtin, container_tools, images, leftovers, probe, timing
from vcmbench.execution.runner.base import Completed, Runner, Worker, completed, timed_out
from vcmbench.execution.runner.choice import MEMORY, RunnerChoice
from vcmbench.execution.runner.containers import INPUTS, OUTPUTS
from vcmbench.execution.runner.processes import Processes
from vcmbench.execution.runner.scratch import Scratch
from vcmbench.execution.runner.tool import FoundTool

PROGRAMS = ("apptainer", "singularity")
VARIABLE = "VCMBENCH_SIF_DIR"
_NOBODY = 65534
_ASK_S = 60.0
_FATAL_CODE = 255
_KILLED = (-9, 128 + 9)
_PREFIXES = ("APPTAINER", "SINGULARITY")
_KEPT = {f"{prefix}_{name}" for prefix in _PREFIXES for name in ("CACHEDIR", "CONFIGDIR", "TMPDIR")}
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def find_program() -> str | None:
    """Where Apptainer or Singularity is; None where neither is on PATH."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def exec_argv(
    program: str, sif: Path, command: Sequence[str], scratch: Scratch | None, memory: str | None, uid: int
) -> list[str]:
    """The command line by which `command` runs in an image, in the scratch folder if there is one.

    `memory` is None where limits cannot be set (see `ApptainerRunner.has_limits`); `uid` is the caller's.
    """
    argv = [program, "--silent", "exec", "--containall", "--cleanenv", "--no-eval", "--no-home"]
    argv += ["--no-mount", "hostfs,cwd"]  # which --containall would leave in, if the administrator put it in
    argv += ["--net", "--network", "none", "--no-privs", "--drop-caps", "all"]
    if uid == 0:
        argv += ["--security", f"uid:{_NOBODY}", "--security", f"gid:{_NOBODY}"]
    if memory is not None:
        # as much swap as memory together: none at all; one job, one thread
        argv += ["--memory", memory, "--memory-swap", memory, "--cpus", "1", "--pids-limit", "256"]
    if scratch is not None:
        argv += ["--mount", _bind(scratch.inputs, INPUTS, "ro"), "--mount", _bind(scratch.outputs, OUTPUTS)]
    argv += ["--pwd", "/tmp" if scratch is None else OUTPUTS]  # noqa: S108  # inside the container
    return [*argv, "--env", "LC_ALL=C", str(sif), *command]


def _bind(source: Path, target: str, *options: str) -> str:
    """A mount as `--mount` reads it, by the rules of CSV. (`--bind` splits names at colons and commas.)"""
    fields = ["type=bind", f"source={source}", f"destination={target}", *options]
    quoted = ['"' + field.replace('"', '""') + '"' if set(field) & set(',"\r\n') else field for field in fields]
    return ",".join(quoted)


def environment(program: str, mark: str, caller: Mapping[str, str]) -> dict[str, str]:
    """The environment that Apptainer itself gets: the caller's, but for what would change the container by the way,
    such as more folders bound into it; and the mark of the command, for Apptainer to hand on."""
    kept = {name: value for name, value in caller.items() if not name.startswith(_PREFIXES) or name in _KEPT}
    # Apptainer takes the other's name, too, but complains about it
    prefixes = _PREFIXES[:1] if Path(program).name == PROGRAMS[0] else _PREFIXES
    return kept | {f"{prefix}ENV_{leftovers.VARIABLE}": mark for prefix in prefixes}


class ApptainerRunner(Runner):
    name = "apptainer"
    places = "in the images of --sif-dir; that of vcmbench tasks build has it"

    def __init__(self, sif_dir: Path | None = None, memory: str = MEMORY) -> None:
        found = find_program()
        if found is None:
            raise RequestError(f"no {' or '.join(PROGRAMS)} on PATH; install one, or use --runner local or docker")
        named = sif_dir or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
        if named is None:
            raise RequestError(
                f"--runner apptainer: say where the images lie, by --sif-dir or {VARIABLE}; one is made by: "
                + _how_to_make("x265")
            )
        if not named.is_dir():
            raise RequestError(f"--sif-dir {str(named)!r}: is not a folder")
        self.program, self.sif_dir, self.memory = found, named.resolve(), memory
        self.processes = Processes()
        self._sifs: dict[str, Path] = {}

    @property
    def choice(self) -> RunnerChoice:
        return RunnerChoice(self.name, memory=self.memory, sif_dir=self.sif_dir)

    @cached_property
    def has_limits(self) -> bool:
        """Whether memory, cores and processes can be limited here.

        Anybody but root needs cgroups v2, managed by systemd, and a D-Bus session for that. Batch jobs often have none:
        their scheduler limits the whole job. Then the limit on memory is one on each process's address space.
        """
        sif = next(iter(sorted(self.sif_dir.glob("*.sif"))), None)
        if sif is None:
            return True
        done = self._call(exec_argv(self.program, sif, ["true"], None, self.memory, os.getuid()))
        return done.returncode == 0 or b"cgroup" not in done.stderr.lower()

    @property
    def limit(self) -> str | None:
        return self.memory if self.has_limits else None

    def note(self) -> str | None:
        """A line for the user where containers have fewer limits than they should have."""
        if self.has_limits:
            return None
        return (
            "note: no cgroups for Apptainer here (they need cgroups v2, systemd and a D-Bus session): cores and "
            "processes are not limited, and --memory limits each process's addresses"
        )

    def find(self, encoder: Encoder, tools: tuple[Tool, ...]) -> FoundTool | None:
        sif = self._sif(encoder)
        digest = probe.sha256(sif) if images.has_dockerfile(encoder.name) and sif.is_file() else None
        if digest:
            self._sifs[digest] = sif
        for tool in tools:
            if (found := builtin.find(tool.program)) is not None:
                # as with Docker: an image must not be passed over for a copy of the tool inside this process
                return found if not images.has_dockerfile(encoder.name) else None
            if digest and (found := container_tools.find(digest, [tool], lambda argv: self._ask(sif, digest, argv))):
                return found
        return None

    def first_of(self, tools: tuple[Tool, ...]) -> FoundTool | None:
        for sif in sorted(self.sif_dir.glob("*.sif")):
            digest = probe.sha256(sif)
            if (found := container_tools.find(digest, tools, partial(self._ask, sif, digest))) is not None:
                self._sifs[digest] = sif
                return found
        return None

    def _sif(self, encoder: Encoder) -> Path:
        return self.sif_dir / f"{encoder.name}.sif"

    def sif_of(self, tool: FoundTool) -> Path:
        """The image that a tool was found in. Raises JobError where it is not there any more, or not the same."""
        known = self._sifs.get(tool.digest)
        for path in ([known] if known else []) + sorted(self.sif_dir.glob("*.sif")):
            if path.is_file() and probe.sha256(path) == tool.digest:
                self._sifs[tool.digest] = path
                return path
        raise JobError(f"{self.sif_dir}: the image of {tool.program} ({tool.digest[:19]}) is gone, or another one now")

    def _ask(self, sif: Path, digest: str, argv: list[str]) -> str:
        """What a program of an image prints; remembered, since an image's hash never changes its meaning."""

        def ask() -> str:
            done = self._call(exec_argv(self.program, sif, argv, None, self.limit, os.getuid()))
            if done.returncode == _FATAL_CODE and b"FATAL" in done.stderr:
                raise RequestError(f"{sif}: {Path(self.program).name} cannot run it: {_last_line(done.stderr)}")
            return (done.stdout + done.stderr).decode(errors="replace")[: 1 << 17]

        return probe.remember(f"image {digest} {argv}", ask)

    def _call(self, argv: list[str]) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(
                argv,
                cwd=tempfile.gettempdir(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_ASK_S,
                check=False,
                env=environment(self.program, "", os.environ),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RequestError(f"{self.program}: does not answer: {error}") from None

    def missing(self, encoder: Encoder, tools: tuple[Tool, ...]) -> str:
        if not images.has_dockerfile(encoder.name):
            return f"{encoder.name}: has no docker/{encoder.name}/Dockerfile; use --runner local"
        sif = self._sif(encoder)
        if not sif.is_file():
            return f"{encoder.name}: no {sif}; make it by: {_how_to_make(encoder.name)}"
        return f"{encoder.name}: {sif} has no {' or '.join(tool.program for tool in tools)}"

    def worker(self) -> ApptainerWorker:
        return ApptainerWorker(self)

    def cancel(self) -> None:
        self.processes.cancel()


def _how_to_make(encoder: str) -> str:
    archive = f"{encoder}.tar"
    return f"docker save {images.tag(encoder)} -o {archive} && apptainer build {encoder}.sif docker-archive:{archive}"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it says nothing"


class ApptainerWorker(Worker):
    def __init__(self, runner: ApptainerRunner) -> None:
        super().__init__()
        self._runner = runner

    def _run(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed:
        runner = self._runner
        sif = runner.sif_of(tool)
        addresses = None if runner.has_limits else int(runner.memory[:-1]) * _UNITS[runner.memory[-1]]
        # A container ends with its first process, and what a tool leaves behind ends with it. To send a signal to all
        # from inside would be dangerous: an administrator may have forbidden process namespaces.
        command = timing.wrapped([tool.path, *argv[1:]], ends_all=False, addresses_bytes=addresses)
        mark = leftovers.new(self.scratch.lease)
        self.scratch.discard(timing.RESULT)
        try:
            ended = runner.processes.run(
                exec_argv(runner.program, sif, command, self.scratch, runner.limit, os.getuid()),
                self.scratch.root,
                environment(runner.program, mark, os.environ),
                mark,
                timeout_s,
            )
        except OSError as error:
            raise JobError(f"{runner.program}: cannot be started: {error.strerror}", argv) from None
        except subprocess.TimeoutExpired:
            raise timed_out(argv, timeout_s) from None
        if runner.sif_of(tool) != sif:
            raise JobError(f"{sif}: was replaced while {argv[0]} ran in it; run again", argv)
        result = timing.read(self.scratch.outputs)
        if ended.code in _KILLED:
            raise JobError(f"{argv[0]} was killed, most likely at the memory limit of {runner.memory} (--memory)", argv)
        if ended.code == _FATAL_CODE and result is None:
            raise JobError(f"{argv[0]}: {Path(runner.program).name} cannot start it: {_last_line(ended.stderr)}", argv)
        code = 128 - ended.code if 128 < ended.code <= 128 + 64 else ended.code
        elapsed_s = timing.elapsed_s(result) if result is not None else None
        return completed(argv, code, ended.stdout, ended.stderr, ended.seconds if elapsed_s is None else elapsed_s)
