"""Which runner, in words that another process can open it by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vcmbench.runner.base import Runner


@dataclass(frozen=True)
class RunnerChoice:
    """What `--runner` and its options say."""

    name: str
    bin_dir: Path | None = None
    memory: str = "4g"

    def open(self) -> Runner:
        """Raises RequestError where it cannot be had here."""
        if self.name == "docker":
            from vcmbench.runner.docker import DockerRunner

            return DockerRunner(self.memory)
        from vcmbench.runner.local import LocalRunner

        return LocalRunner(self.bin_dir)
