"""What other processes of the tests can unpickle without the tests."""

from __future__ import annotations

from dataclasses import dataclass

from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.local import LocalRunner


@dataclass(frozen=True)
class Local:
    """The local runner, opened wherever this is."""

    def open(self) -> Runner:
        return LocalRunner()
