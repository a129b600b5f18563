"""A task in another process or container, spoken to over a transport."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

import vcmbench
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.processes import start_beside
from vcmbench.tasks import messages, serve
from vcmbench.tasks.base import Device, Picture, Prepared, Task, check_pictures
from vcmbench.tasks.messages import Message

PACKAGE = Path(vcmbench.__file__).resolve().parent
_CHUNK_BYTES = 1 << 26


class Transport(ABC):
    """Two byte streams to a `serve` and back. `runner` names where it runs."""

    runner: str

    @abstractmethod
    def read(self, buffer: memoryview) -> None:
        """Fill a buffer. Raises EOFError where the other end is gone."""

    @abstractmethod
    def write(self, buffer: memoryview) -> None:
        """Send all of a buffer. Raises OSError where the other end is gone."""

    @abstractmethod
    def last_words(self) -> tuple[str, str]:
        """How the other end went, and the last lines that it printed. Called once it has."""

    @abstractmethod
    def close(self) -> None: ...


class RemoteTask(Task):
    """Opens a task at the other end of a transport, which it owns.

    Raises RequestError where that end refuses what was asked, JobError where it is gone.
    """

    def __init__(self, transport: Transport, task: str, prepared: Prepared, place: Device, gpu: str) -> None:
        self._transport, self._lanes, self._is_gone = transport, max(place.jobs, place.batch_size), False
        self.runner = transport.runner
        opening = {
            "task": task,
            "options": prepared.options,
            "files": {name: str(path) for name, path in prepared.files.items()},
            "gpu": gpu,
            "jobs": place.jobs,
            "batch_size": place.batch_size,
            "precision": "auto" if place.is_mixed else "float32",
        }
        try:
            answer = self._ask(opening).header
            try:
                self.kind, self.classes = answer["kind"], tuple(answer["classes"])
                self._identity: dict[str, Any] = dict(answer["identity"])
                self.together = place.jobs if self._identity["device"] == "cpu" else place.batch_size
            except (LookupError, TypeError, ValueError) as error:
                raise JobError(f"the task's process did not say what it is: {error!r:.80}") from None
        except BaseException:
            self.close()
            raise

    def identity(self) -> dict[str, Any]:
        return dict(self._identity)

    def predict(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        check_pictures(images)
        found: list[NDArray[Any]] = []
        for chunk in self._chunks(images):
            answers = self._ask({"op": "predict"}, chunk).arrays
            if len(answers) != len(chunk):
                raise JobError(f"the task answered {len(chunk)} pictures with {len(answers)} predictions")
            found += answers
        return found

    def _chunks(self, images: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
        """Enough at a time to keep the other end busy, little enough to be held twice."""
        start = 0
        while start < len(images):
            end, size = start, 0
            while end < len(images) and (size < _CHUNK_BYTES or end == start):
                size += images[end].nbytes
                end += 1
            if end - start > self._lanes and end < len(images):
                end -= (end - start) % self._lanes
            yield images[start:end]
            start = end

    def _ask(self, header: dict[str, Any], arrays: Sequence[Picture] = ()) -> Message:
        if self._is_gone:
            raise JobError("the task's process has ended; nothing can be asked any more")
        try:
            messages.send(self._transport.write, header, arrays)
            answer = messages.receive(self._transport.read)
        except (EOFError, OSError, ValueError) as error:
            self._is_gone = True
            how, log = self._transport.last_words()
            said = f"; it said: {log.splitlines()[-1].strip()}" if log.strip() else ""
            how = how if isinstance(error, EOFError | OSError) else f"{how} ({error})"
            raise JobError(f"the task's process {how}{said}", log=log) from error
        if "error" in answer.header:
            kind = RequestError if answer.header.get("error_kind") == "request" else JobError
            raise kind(str(answer.header["error"]))
        return answer

    def close(self) -> None:
        self._is_gone = True
        self._transport.close()


class ProcessTransport(Transport):
    """`serve` as a process beside this one. It ends when its standard input does, also when we are killed."""

    runner = "process"

    def __init__(self) -> None:
        # a file, not a pipe: nobody would read a pipe while we wait for an answer
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = start_beside(serve.__name__, {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}, self._log)

    def read(self, buffer: memoryview) -> None:
        serve.read_all(_fileno(self.process.stdout), buffer)

    def write(self, buffer: memoryview) -> None:
        serve.write_all(_fileno(self.process.stdin), buffer)

    def last_words(self) -> tuple[str, str]:
        self.process.kill()
        code = self.process.wait()
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 4096))
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return how, self._log.read().decode(errors="replace")

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.kill()
        self.process.wait()
        self._log.close()


def _fileno(stream: Any) -> int:
    number: int = stream.fileno()
    return number
