"""What a runner is: it finds tools, and its workers run commands in a scratch folder of their own."""

from __future__ import annotations

import shlex
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vcmbench.encoder.base import Command, Encoder, Tool
from vcmbench.errors import JobError
from vcmbench.execution.runner import builtin
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.scratch import Scratch
from vcmbench.execution.runner.timing import FILE_LIMIT_BYTES
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.io.files import named

_NO_ROOM_BYTES = 1 << 16
_LOG_CHARACTERS = 1 << 20
_FAILED_LOG_CHARACTERS = 1 << 12  # failures are kept until the end of a run


@dataclass(frozen=True)
class Completed:
    """A command that ended well: what it printed (stdout, then stderr) and its wall time, of the tool alone."""

    log: str
    seconds: float


class Worker(ABC):
    """One lane of work. Not shared between threads."""

    def __init__(self) -> None:
        self.scratch = Scratch()

    def run(self, tool: FoundTool, command: Command, timeout_s: float) -> Completed:
        """Run one command in the scratch folder.

        Raises JobError where it cannot be started, exits with another code than 0, takes longer than `timeout_s` or
        leaves what is no file; Lost where that is not the command's fault.
        """
        for name, text in command.files.items():
            with named(self.scratch.inputs / name):
                (self.scratch.inputs / name).write_text(text, encoding="utf-8")
        if tool.is_builtin:
            done = self._run_builtin(command.argv)
        else:
            try:
                done = self._run(tool, command.argv, timeout_s)
            except JobError as error:
                if shutil.disk_usage(self.scratch.root).free < _NO_ROOM_BYTES:
                    error.args = (f"{error}; {self.scratch.root.parent} is full (TMPDIR names another folder)",)
                raise
            finally:
                strange = self.scratch.remove_strange_outputs()
            if strange:
                raise JobError(f"{command.argv[0]} left {', '.join(strange)}: only files are taken", command.argv)
        for argv in command.then:
            done = Completed(done.log, done.seconds + self._run_builtin(argv).seconds)
        return done

    def _run_builtin(self, argv: tuple[str, ...]) -> Completed:
        start = time.perf_counter()
        try:
            with named(self.scratch.outputs):
                builtin.run(argv, self.scratch.outputs)
        except (OSError, ValueError, SyntaxError) as error:
            raise JobError(f"{argv[0]}: {error}", argv) from error
        return Completed("", time.perf_counter() - start)

    @abstractmethod
    def _run(self, tool: FoundTool, argv: tuple[str, ...], timeout_s: float) -> Completed: ...

    def close(self) -> None:
        self.scratch.remove()


class Runner(ABC):
    """Finds tools and makes workers. `cancel` may be called from another thread and ends all that is running."""

    name: str
    places: str
    """Where `first_of` looks, and what to do where nothing is there: the end of a sentence."""
    passed_over: Mapping[str, str] = {}
    """Programs that `find` came across and that cannot be started here, and why."""

    @abstractmethod
    def find(self, encoder: Encoder, tools: tuple[Tool, ...]) -> FoundTool | None:
        """The first of `tools` that this runner can call for `encoder`; None where it has none of them."""

    @abstractmethod
    def first_of(self, tools: tuple[Tool, ...]) -> FoundTool | None:
        """The first of `tools` that this runner can call, whatever it is for; None where it has none of them.

        Raises RequestError where one was named that lacks what is needed.
        """

    @abstractmethod
    def missing(self, encoder: Encoder, tools: tuple[Tool, ...]) -> str:
        """One line that says what was looked for, where, and what to do."""

    @property
    @abstractmethod
    def choice(self) -> RunnerChoice:
        """By which another process can open the same runner."""

    def note(self) -> str | None:
        """A line that the user should know of before a run; None where there is nothing to say."""
        return None

    @abstractmethod
    def worker(self) -> Worker: ...

    @abstractmethod
    def cancel(self) -> None: ...

    def wait_until_back(self, timeout_s: float, is_stopped: Callable[[], bool]) -> bool:
        """After a Lost: wait until commands can be run again. False where that took longer, or somebody stopped us."""
        return not is_stopped()

    def close(self) -> None:  # noqa: B027  # most runners have nothing to do
        """Remove whatever is left of this run; called when its workers have been closed."""


def completed(argv: tuple[str, ...], code: int, stdout: bytes, stderr: bytes, seconds: float) -> Completed:
    """The outcome of a process. Raises JobError with its command and last lines where it failed."""
    log = b"\n".join((stdout[-_LOG_CHARACTERS:], stderr[-_LOG_CHARACTERS:])).decode(errors="replace")
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        if code == -signal.SIGXFSZ:
            how = f"wrote more than {FILE_LIMIT_BYTES >> 30} GiB into one file"
        raise JobError(f"{argv[0]} {how}", argv, log[-_FAILED_LOG_CHARACTERS:])
    return Completed(log, seconds)


def timed_out(argv: tuple[str, ...], timeout_s: float) -> JobError:
    return JobError(f"{argv[0]} was stopped after {timeout_s:g} s (--timeout)", argv)


def last_lines(log: str, count: int = 6) -> str:
    return "\n".join([line for line in log.splitlines() if line.strip()][-count:])


def describe(error: JobError) -> str:
    """The message of a failed job with its command line and the last lines that the tool printed."""
    text = str(error)
    if error.command:
        text += f"\n    command: {shlex.join(error.command)}"
    if error.log.strip():
        text += "\n" + "\n".join(f"    | {line}" for line in last_lines(error.log).splitlines())
    return text
