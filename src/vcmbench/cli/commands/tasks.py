"""The machine tasks, their networks, their image."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from vcmbench import tasks
from vcmbench.cli import runners, table
from vcmbench.cli.parser import add_action
from vcmbench.cli.terminal import building, say
from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.tasks import container_image, fetch, networks, zoo
from vcmbench.tasks.onnx import exporting, inspecting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  vcmbench tasks list --zoo segformer\n  vcmbench tasks build"
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|inspect|export|build")
    listing = add_action(
        actions, "list", run_list, "what tasks there are, what networks they take, where they can run",
        "examples:\n  vcmbench tasks list\n  vcmbench tasks list --zoo segformer --json",
    )  # fmt: skip
    listing.add_argument("--zoo", nargs="?", const="", metavar="WORD",
                         help="the networks of mmsegmentation's zoo, all or those with WORD")  # fmt: skip
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout, no table")
    table.add_option(listing)
    inspect = add_action(
        actions, "inspect", run_inspect, "what an ONNX file says of itself, and a [task] table to paste",
        "example:\n  vcmbench tasks inspect net.onnx > net.toml",
    )  # fmt: skip
    inspect.add_argument("file", type=Path, help="an .onnx file")
    export = add_action(
        actions, "export", run_export, "an embedded network as an ONNX file, with its [task] table in a .toml beside",
        "examples:\n  vcmbench tasks export demo -o demo.onnx\n  vcmbench tasks export demo-b -o other.onnx\n"
        "  vcmbench tasks export demo --task detection -o detector.onnx",
    )  # fmt: skip
    export.add_argument("model", choices=sorted({name for one in networks.EMBEDDED.values() for name in one}),
                        help="the embedded network")  # fmt: skip
    export.add_argument("--task", choices=list(networks.EMBEDDED), default="segmentation",
                        help="of which task (default: %(default)s)")  # fmt: skip
    export.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .onnx")
    build = add_action(
        actions, "build", run_build,
        "build the container image: PyTorch with CUDA, mmsegmentation, timm (6.6 GB, some minutes)",
        "example:\n  vcmbench tasks build -v",
    )  # fmt: skip
    build.add_argument("--base", default=images.BASE, help="base image (default: %(default)s)")


def run_list(arguments: argparse.Namespace) -> int:
    if arguments.zoo is not None:
        return _list_zoo(arguments.zoo, as_json=arguments.json)
    client, why_not = runners.engine()
    found: dict[str, dict[str, Any]] = {
        name: {"kind": task.kind, "embedded": list(task.embedded), "other_models": task.about_models}
        for name, task in tasks.discover().items()
    }
    absent = list(tasks.missing_packages())
    why_not = why_not or container_image.why_not_ready(client) or ""
    if arguments.json:
        docker = {"image": container_image.tag(), "problem": why_not or None}
        print(json.dumps({"tasks": found, "local": {"missing_packages": absent}, "docker": docker}))
        return 0
    rows = [(name, one["kind"], ", ".join(one["embedded"]) or "none", one["other_models"])
            for name, one in found.items()]  # fmt: skip
    print(table.render(("task", "kind", "embedded", "other models"), rows))
    print(f"local: {'ready' if not absent else 'needs ' + ', '.join(absent) + ' (in a checkout: make setup)'}")
    print(f"docker: {why_not or container_image.tag()}")
    return 0


def _list_zoo(word: str, *, as_json: bool) -> int:
    found = [network for name, network in zoo.networks().items() if word in name]
    if not found:
        raise RequestError(f"--zoo {word!r}: no network of mmsegmentation's zoo has that in its name")
    is_here = {network.name: (fetch.cache_folder() / network.url.rpartition("/")[2]).is_file() for network in found}
    if as_json:
        listed = [{"model": one.name, "trained_on": one.data, "is_here": is_here[one.name]} for one in found]
        print(json.dumps({"networks": listed}))
        return 0
    print(table.render(("model", "trained on", "weights"), [
        (network.name, network.data, "here" if is_here[network.name] else "to be fetched") for network in found
    ]))  # fmt: skip
    return 0


def run_inspect(arguments: argparse.Namespace) -> int:
    path = arguments.file.expanduser()
    print(inspecting.describe(path))
    if (beside := path.with_suffix(".toml")).is_file():
        said = "lies beside it and is taken by itself: an experiment needs no more than `model`, and its own keys win"
        say(f"{beside}: {said}", always=True)
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    written = arguments.output.expanduser()
    beside = exporting.export(arguments.task, arguments.model, written)
    say(f"{written}, and {beside} with its [task] table")
    return 0


def run_build(arguments: argparse.Namespace) -> int:
    client = images.engine()
    start = time.monotonic()
    say(f"building {container_image.tag()} ...")
    with building("tasks") as log:
        built = container_image.build(client, arguments.base, log)
    print(f"{container_image.tag()} {built[:19]} ({time.monotonic() - start:.1f} s)", flush=True)
    return 0
