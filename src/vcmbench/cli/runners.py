"""The options that choose a runner, and the choice itself."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from vcmbench.cli.terminal import say
from vcmbench.encoder.base import Encoder
from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.execution.runner.base import Runner
from vcmbench.execution.runner.choice import MEMORY, NAMES, RunnerChoice
from vcmbench.execution.runner.opening import open_runner
from vcmbench.experiment import Experiment
from vcmbench.tasks.base import TaskSettings
from vcmbench.tasks.sensitivity import SegmentationSensitivity


def memory_size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d*[kmg]", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 512m or 4g")
    return text


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where tools come from")
    group.add_argument(
        "--runner",
        choices=["auto", *NAMES],
        default="auto",
        help="docker: containers; local: this machine's binaries; apptainer: SIF images; auto: docker where an engine "
        "runs and has every image that is needed, else local (default: %(default)s)",
    )
    group.add_argument("--bin-dir", type=Path, metavar="DIR", help="look for binaries here before PATH (local runner)")
    group.add_argument(
        "--sif-dir",
        type=Path,
        metavar="DIR",
        help="where <encoder>.sif lie (apptainer runner; default: the environment's VCMBENCH_SIF_DIR)",
    )
    group.add_argument(
        "--memory",
        type=memory_size,
        default=MEMORY,
        help="limit of one container (docker and apptainer runner; default: %(default)s)",
    )


def choose(arguments: argparse.Namespace, encoders: list[Encoder], before: str | None = None) -> Runner:
    """The runner that was asked for; `auto` says on stderr which it took and why.

    `before` is the runner of results that are there already: `auto` keeps to it, since the other one's tools would do
    all of them again. Raises RequestError where it cannot.
    """
    runner = open_runner(_choice(arguments, encoders, before))
    if (note := runner.note()) is not None:
        say(note)
    return runner


def engine() -> tuple[Any, str]:
    """The Docker engine's client and no text, or None and why there is none."""
    try:
        return images.engine(), ""
    except RequestError as error:
        return None, str(error)


def _choice(arguments: argparse.Namespace, encoders: list[Encoder], before: str | None) -> RunnerChoice:
    bin_dir, sif_dir = arguments.bin_dir, arguments.sif_dir
    local = RunnerChoice("local", bin_dir=bin_dir)
    docker = RunnerChoice("docker", memory=arguments.memory)
    apptainer = RunnerChoice("apptainer", memory=arguments.memory, sif_dir=sif_dir)
    named = arguments.runner
    if named == "auto" and (bin_dir is not None or sif_dir is not None):
        named = "apptainer" if bin_dir is None else "local"
    if bin_dir is not None and named != "local":
        raise RequestError("--bin-dir: containers bring their own tools; leave it out, or use --runner local")
    if sif_dir is not None and named != "apptainer":
        raise RequestError("--sif-dir: is for --runner apptainer")
    if named != "auto":
        return {"local": local, "docker": docker, "apptainer": apptainer}[named]
    if before == "local":
        say("runner: local (as the results that are there)")
        return local
    if before == "apptainer":
        say("runner: apptainer (as the results that are there)")
        return apptainer
    why_not = _why_not_docker(encoders)
    if before == "docker" and why_not is not None:
        raise RequestError(
            f"the results that are there were made by the docker runner, which cannot go on now ({why_not}); "
            "mend that, or say --runner local to make them anew"
        )
    if why_not is None:
        say("runner: docker (an engine answers and every image is built)")
        return docker
    say(f"runner: local ({why_not})")
    return local


def _why_not_docker(encoders: list[Encoder]) -> str | None:
    with_image = [encoder.name for encoder in encoders if images.has_dockerfile(encoder.name)]
    if not with_image:
        return "none of these encoders comes in a container"
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return "no Docker engine runs here"
    client, why_not = engine()
    if client is None:
        return why_not.split(";")[0]
    not_built = [name for name in with_image if images.image_id(client, name) is None]
    return f"image not built: {' '.join(not_built)}" if not_built else None


def asked_by(wanted: Experiment) -> SegmentationSensitivity | None:
    """The task, to be opened when it is first asked, where codings of the experiment ask it."""
    return SegmentationSensitivity(wanted.task or TaskSettings()) if wanted.asks else None
