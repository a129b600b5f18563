"""Which runner, as a value: it can be sent to another process, which opens the same one there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAMES = ("docker", "local", "apptainer")
MEMORY = "4g"


@dataclass(frozen=True)
class RunnerChoice:
    """A runner's name and what it was asked to use; what a runner has no use for is left as it is here."""

    name: str
    bin_dir: Path | None = None
    memory: str = MEMORY
    sif_dir: Path | None = None
