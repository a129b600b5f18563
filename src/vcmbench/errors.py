"""The ways in which a run can go wrong.

A `RequestError` is the user's request being wrong: nothing has started, exit code 2. A `JobError` is one job that
failed while the others finish: exit code 1. Both carry one readable line: what was asked, what was found, what to do.
"""

from __future__ import annotations


class VcmbenchError(Exception):
    """Base of every error that is reported without a traceback."""


class RequestError(VcmbenchError):
    """The request cannot be carried out as given; nothing was started."""


class JobError(VcmbenchError):
    """One job failed. `command` and `log` name the tool's command line and the last lines that it printed."""

    def __init__(self, message: str, command: tuple[str, ...] = (), log: str = "") -> None:
        super().__init__(message)
        self.command = command
        self.log = log


class Lost(JobError):
    """What a job stood on went away under it: the Docker engine, or its container. The job itself did nothing wrong;
    it is to be done again once `Runner.wait_until_back` says so."""


class WorkerDied(JobError):
    """The processes that a job was sent to died, again and again; perhaps over it, perhaps over another one."""


class Cancelled(VcmbenchError):
    """The run was interrupted; the job leaves nothing behind and will be done next time."""
