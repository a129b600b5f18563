"""What this machine has and lacks, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from vcmbench import __version__
from vcmbench.cli import runners
from vcmbench.compress.run import cores
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Encoder
from vcmbench.execution.runner import apptainer, images
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.io import resources
from vcmbench.tasks import container_image, missing_packages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  vcmbench doctor\n  vcmbench doctor --json"
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def run(arguments: argparse.Namespace) -> int:
    found = _look()
    for fault in found["faults"]:
        print(f"faulty: {fault}", file=sys.stderr)
    print(json.dumps(found) if arguments.json else "\n".join(_lines(found)))
    return 0


def _look() -> dict[str, Any]:
    client, why_not = runners.engine()
    local, scratch = LocalRunner(), tempfile.gettempdir()
    encoders = {one.name: _encoder(one, local, client) for one in plugins.discover().values()}
    return {
        "version": __version__, "python": platform.python_version(), "platform": platform.platform(),
        "cores": cores(), "scratch": scratch, "scratch_free_bytes": shutil.disk_usage(scratch).free,
        "docker": {"version": client.version()["Version"] if client else None, "problem": why_not or None},
        "apptainer": {"program": apptainer.find_program(), "images": os.environ.get(apptainer.VARIABLE)},
        "faults": [str(fault) for fault in plugins.faults().values()],
        "encoders": encoders,
        "warnings": list(local.passed_over.values()),  # found out on the way
        "measuring": {"missing_packages": list(missing_packages())},
        "tasks": {"image": container_image.tag(),
                  "problem": why_not or container_image.why_not_ready(client)},
    }  # fmt: skip


def _encoder(one: Encoder, local: LocalRunner, client: Any) -> dict[str, Any]:
    """Its tools on this machine or what is missing, and its image where there is an engine."""
    tools = [tool for tool in (local.find(one, one.encode_tools), local.find(one, one.decode_tools)) if tool]
    found: dict[str, Any] = {"local": [], "problem": None, "image": None, "image_is_built": None}
    if len(tools) == 2:
        found["local"] = list(dict.fromkeys(f"{tool.path} ({tool.version})" for tool in tools))
    else:
        found["problem"] = local.missing(one, one.decode_tools if tools else one.encode_tools)
    if client is not None and images.has_dockerfile(one.name):
        found |= {"image": images.tag(one.name), "image_is_built": images.image_id(client, one.name) is not None}
    return found


def _lines(found: dict[str, Any]) -> Iterator[str]:
    docker, apptainer_, absent = found["docker"], found["apptainer"], found["measuring"]["missing_packages"]
    yield f"vcmbench {found['version']}, Python {found['python']}, {found['platform']}"
    free_gb = found["scratch_free_bytes"] / 1e9
    yield f"cores: {found['cores']}; scratch: {found['scratch']} ({free_gb:.0f} GB free)"
    yield f"docker: {docker['problem'] or 'engine ' + docker['version'] + ' answers'}"
    if apptainer_["program"] is not None:
        yield f"apptainer: {apptainer_['program']}; images: {apptainer_['images'] or '--sif-dir'}"
    for name, one in found["encoders"].items():
        yield one["problem"] or f"{name}: local: {', '.join(one['local'])}"
        if one["image"]:
            how = one["image"] if one["image_is_built"] else f"not built; run: vcmbench encoders build {name}"
            yield f"{name}: docker: {how}"
    yield from (f"warning: {line}" for line in found["warnings"])
    yield f"measuring: lacks {', '.join(absent)}; {resources.how_to_measure()}" if absent else "measuring: ready"
    if docker["version"]:
        yield f"tasks: docker: {found['tasks']['problem'] or found['tasks']['image']}"
