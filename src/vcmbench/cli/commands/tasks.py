"""The machine tasks, their networks, their image."""

from __future__ import annotations

import argparse
import sys
import time

from vcmbench import tasks
from vcmbench.cli import table
from vcmbench.cli.terminal import building
from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.tasks import container_image, fetch, zoo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  vcmbench tasks list --zoo segformer\n  vcmbench tasks build"
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|build")
    listing = actions.add_parser("list", help="what tasks there are, what networks they take, where they can run")
    listing.add_argument(
        "--zoo",
        nargs="?",
        const="",
        metavar="WORD",
        help="the networks of mmsegmentation's zoo, all or those with WORD",
    )
    table.add_option(listing)
    listing.set_defaults(run=run_list, parser=listing)
    build = actions.add_parser(
        "build", help="build the container image: PyTorch with CUDA, mmsegmentation, timm (6.6 GB, some minutes)"
    )
    build.add_argument("--base", default=images.BASE, help="base image (default: %(default)s)")
    build.add_argument("-v", "--verbose", action="store_true", help="show the build's output")
    build.set_defaults(run=run_build, parser=build)


def run_list(arguments: argparse.Namespace) -> int:
    if arguments.zoo is not None:
        return _list_zoo(arguments.zoo)
    rows = [
        (name, task.kind, ", ".join(task.embedded) or "none", task.about_models)
        for name, task in tasks.discover().items()
    ]
    print(table.render(("task", "kind", "embedded", "other models"), rows))
    absent = tasks.missing_packages()
    print(f"local: {'ready' if not absent else 'needs ' + ', '.join(absent) + ' (in a checkout: make setup)'}")
    try:
        client = images.engine()
        print(f"docker: {container_image.why_not_ready(client) or container_image.tag()}")
    except RequestError as error:
        print(f"docker: {error}")
    return 0


def _list_zoo(word: str) -> int:
    found = [network for name, network in zoo.networks().items() if word in name]
    if not found:
        raise RequestError(f"--zoo {word!r}: no network of mmsegmentation's zoo has that in its name")
    is_here = {network.name: (fetch.cache_folder() / network.url.rpartition("/")[2]).is_file() for network in found}
    print(table.render(("model", "trained on", "weights"), [
        (network.name, network.data, "here" if is_here[network.name] else "to be fetched") for network in found
    ]))  # fmt: skip
    return 0


def run_build(arguments: argparse.Namespace) -> int:
    client = images.engine()
    start = time.monotonic()
    print(f"building {container_image.tag()} ...", file=sys.stderr, flush=True)
    with building("tasks", verbose=arguments.verbose) as log:
        built = container_image.build(client, arguments.base, log)
    print(f"{container_image.tag()} {built[:19]} ({time.monotonic() - start:.1f} s)", flush=True)
    return 0
