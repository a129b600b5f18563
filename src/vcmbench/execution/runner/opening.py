"""From a choice to the runner itself."""

from __future__ import annotations

from vcmbench.errors import RequestError
from vcmbench.execution.runner.apptainer import ApptainerRunner
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.choice import NAMES, RunnerChoice
from vcmbench.execution.runner.docker import DockerRunner
from vcmbench.execution.runner.local import LocalRunner


def open_runner(choice: RunnerChoice) -> Runner:
    """The runner that was chosen. Raises RequestError where there is none: no engine, no such folder, no Apptainer."""
    if choice.name == "local":
        return LocalRunner(choice.bin_dir)
    if choice.name == "docker":
        return DockerRunner(choice.memory)
    if choice.name == "apptainer":
        return ApptainerRunner(choice.sif_dir, choice.memory)
    raise RequestError(f"runner {choice.name!r}: there are {', '.join(NAMES)}")
