"""The far end of `remote.RemoteTask`: `python -m vcmbench.tasks.serve`, in a container or beside us.

It reads messages from standard input and answers each on standard output until the input ends; so it ends with
whoever holds the other end, however that ends. The first message is `open`, the others `predict`.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

from vcmbench.errors import JobError, RequestError, VcmbenchError
from vcmbench.tasks import base, messages
from vcmbench.tasks.base import Device, LocalTask, Prepared
from vcmbench.tasks.messages import Message


def main() -> int:
    """Serve one task. The exit code is 0 where the input ended between two messages."""
    answers = _take_over_stdout()
    warnings.simplefilter("ignore")

    def read(buffer: memoryview) -> None:
        read_all(sys.stdin.fileno(), buffer)

    def write(buffer: memoryview) -> None:
        write_all(answers, buffer)

    task: LocalTask | None = None
    try:
        while True:
            try:
                message = messages.receive(read)
            except EOFError:
                return 0
            try:
                if task is None:
                    task = _open(message)
                    messages.send(write, {"identity": task.identity(), "classes": task.classes, "kind": task.kind})
                else:
                    messages.send(write, {}, task.predict(message.arrays))
            except VcmbenchError as error:
                kind = "request" if isinstance(error, RequestError) else "job"
                messages.send(write, {"error": str(error), "error_kind": kind})
    except BrokenPipeError:
        return 1  # whoever asked has gone
    finally:
        if task is not None:
            task.close()


def _open(message: Message) -> LocalTask:
    wanted: dict[str, Any] = message.header
    files = {name: Path(path) for name, path in wanted["files"].items()}
    kind, prepared = base.get(wanted["task"]), Prepared(wanted["options"], files)
    device = kind.device(prepared, wanted["gpu"])
    if wanted["gpu"] != "none" and device == "cpu":
        raise JobError("a GPU was handed in, but PyTorch does not find it")
    is_mixed = device != "cpu" and wanted["precision"] == "auto"
    place = Device(device, wanted["jobs"], wanted["batch_size"], is_mixed)
    return kind(prepared, place)


def _take_over_stdout() -> int:
    """Standard output for messages alone: what libraries print there goes to standard error."""
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def read_all(stream: int, buffer: memoryview) -> None:
    """Fill a buffer from a file descriptor. Raises EOFError where it ends before."""
    at = 0
    while at < len(buffer):
        count = os.readv(stream, [buffer[at:]])
        if count == 0:
            raise EOFError
        at += count


def write_all(stream: int, buffer: memoryview) -> None:
    """Write all of a buffer to a file descriptor. Raises OSError."""
    at = 0
    while at < len(buffer):
        at += os.write(stream, buffer[at:])


if __name__ == "__main__":
    sys.exit(main())
