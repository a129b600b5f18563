"""What this machine has and lacks, and what to do about it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile

from vcmbench import __version__
from vcmbench.compress.run import cores
from vcmbench.encoder import plugins
from vcmbench.errors import RequestError
from vcmbench.execution.runner import apptainer, images
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.tasks import container_image, missing_packages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "example:\n  vcmbench doctor"


def run(arguments: argparse.Namespace) -> int:
    free_gb = shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    print(f"vcmbench {__version__}, Python {platform.python_version()}, {platform.platform()}")
    print(f"cores: {cores()}; scratch: {tempfile.gettempdir()} ({free_gb:.0f} GB free)")
    try:
        client = images.engine()
        print(f"docker: engine {client.version()['Version']} answers")
    except RequestError as error:
        client = None
        print(f"docker: {error}")
    if (singularity := apptainer.find_program()) is not None:
        print(f"apptainer: {singularity}; images: {os.environ.get(apptainer.VARIABLE) or '--sif-dir'}")
    local = LocalRunner()
    for fault in plugins.faults().values():
        print(f"faulty: {fault}", file=sys.stderr)
    for one in plugins.discover().values():
        tools = [tool for tool in (local.find(one, one.encode_tools), local.find(one, one.decode_tools)) if tool]
        if len(tools) == 2:
            found = dict.fromkeys(f"{tool.path} ({tool.version})" for tool in tools)
            print(f"{one.name}: local: {', '.join(found)}")
        else:
            print(local.missing(one, one.decode_tools if tools else one.encode_tools))
        if client is not None and images.has_dockerfile(one.name):
            is_built = images.image_id(client, one.name)
            how = images.tag(one.name) if is_built else f"not built; run: vcmbench encoders build {one.name}"
            print(f"{one.name}: docker: {how}")
    for line in local.passed_over.values():
        print(f"warning: {line}")
    absent = missing_packages()
    lacking = f"lacks {', '.join(absent)}; install vcmbench[metrics] (in a checkout: make setup)"
    print(f"measuring: {lacking if absent else 'ready'}")
    if client is not None:
        print(f"tasks: docker: {container_image.why_not_ready(client) or container_image.tag()}")
    return 0
