"""Which runner, as a value: it can be sent to another process, which opens the same one there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vcmbench.errors import RequestError

if TYPE_CHECKING:
    from vcmbench.runner.base import Runner

NAMES = ("docker", "local", "apptainer")
MEMORY = "4g"


@dataclass(frozen=True)
class RunnerChoice:
    """A runner's name and what it was asked to use; what a runner has no use for is left as it is here."""

    name: str
    bin_dir: Path | None = None
    memory: str = MEMORY
    sif_dir: Path | None = None

    def open(self) -> Runner:
        """The runner. Raises RequestError where there is none: no engine, no such folder, no Apptainer."""
        # imported here: each needs what the others do without
        if self.name == "local":
            from vcmbench.runner.local import LocalRunner

            return LocalRunner(self.bin_dir)
        if self.name == "docker":
            from vcmbench.runner.docker import DockerRunner

            return DockerRunner(self.memory)
        if self.name == "apptainer":
            from vcmbench.runner.apptainer import ApptainerRunner

            return ApptainerRunner(self.sif_dir, self.memory)
        raise RequestError(f"runner {self.name!r}: there are {', '.join(NAMES)}")
