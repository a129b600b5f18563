"""The encoders, their state, their images."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vcmbench import experiment
from vcmbench.cli import runners, table
from vcmbench.cli.parser import add_action
from vcmbench.cli.terminal import building, say
from vcmbench.data.record import Record
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Encoder
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner import images
from vcmbench.execution.runner.base import Runner, describe
from vcmbench.execution.runner.local import LocalRunner


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  vcmbench encoders list\n  vcmbench encoders test x265"
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|build|test")
    listing = add_action(
        actions, "list", run_list, "what each encoder can do, and where it was found",
        "example:\n  vcmbench encoders list --json",
    )  # fmt: skip
    listing.add_argument("--json", action="store_true", help="one JSON object an encoder on stdout, no table")
    table.add_option(listing)
    build = add_action(
        actions, "build", run_build, "build the container images; -v shows what the engine prints",
        "examples:\n  vcmbench encoders build x265 jpeg\n"
        "  vcmbench encoders build vvenc --build-arg VVENC_VERSION=v1.4.0",
    )  # fmt: skip
    build.add_argument("names", nargs="*", metavar="NAME", help="default: all that have a Dockerfile")
    build.add_argument("--base", default=images.BASE, help="base image (default: %(default)s)")
    build.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE", help="passed to the build")
    test = add_action(
        actions, "test", run_test, "code one small picture with each encoder, from pixels to record",
        "examples:\n  vcmbench encoders test\n  vcmbench encoders test x265 --runner local",
    )  # fmt: skip
    test.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    runners.add_options(test)


def _chosen(names: list[str]) -> list[Encoder]:
    return [plugins.get(name) for name in names] if names else list(plugins.discover().values())


def run_list(arguments: argparse.Namespace) -> int:
    local = LocalRunner()
    client, why_not = runners.engine()
    for fault in plugins.faults().values():
        print(f"faulty: {fault}", file=sys.stderr)
    found = [_described(one, local, client) for one in plugins.discover().values()]
    if arguments.json:
        for one in found:
            print(json.dumps(one))
    else:
        header = ("encoder", "quality", "chroma", "presets", "QP map", "local tools", "image")
        print(table.render(header, [_cells(one) for one in found]))
    if why_not:
        say(why_not)
    return 0


def _described(one: Encoder, local: LocalRunner, client: Any) -> dict[str, Any]:
    """What an encoder can do, and where it was found."""
    tools = local.find(one, one.encode_tools), local.find(one, one.decode_tools)
    image = "needs none"
    if images.has_dockerfile(one.name):
        image = "no engine" if client is None else "built" if images.image_id(client, one.name) else "not built"
    lacking = one.map_tools[0].program if one.map_tools and local.find(one, one.map_tools) is None else None
    return {
        "encoder": one.name,
        "quality": one.quality and {key: getattr(one.quality, key) for key in ("name", "minimum", "maximum", "better")},
        "chroma": list(one.chroma), "presets": list(one.presets),
        "qp_map": one.quality and {"method": one.map_method, "units_px": list(one.map_units_px), "lacking": lacking},
        "local_tools": list(dict.fromkeys(tool.program for tool in tools if tool)) if all(tools) else [],
        "image": image,
    }  # fmt: skip


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table."""
    quality, maps = "none", "none"
    if scale := one["quality"]:
        quality = "{name} {minimum}..{maximum}, {better} is better".format(**scale)
        units = f" {'/'.join(map(str, one['qp_map']['units_px']))} px" if one["qp_map"]["units_px"] else ""
        lacking = one["qp_map"]["lacking"]
        maps = f"{one['qp_map']['method']}{units}" + (f" ({lacking} not found)" if lacking else "")
    presets = " .. ".join(one["presets"][:: max(1, len(one["presets"]) - 1)])
    where = ", ".join(one["local_tools"]) or "not found"
    return one["encoder"], quality, " ".join(one["chroma"]), presets, maps, where, one["image"]


def run_build(arguments: argparse.Namespace) -> int:
    extra = {}
    for item in arguments.build_arg:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise RequestError(f"--build-arg {item!r}: must be KEY=VALUE")
        extra[key] = value
    names = arguments.names or [name for name in plugins.discover() if images.has_dockerfile(name)]
    for name in names:
        plugins.get(name)
        if not images.has_dockerfile(name):
            raise RequestError(f"{name}: has no docker/{name}/Dockerfile; it needs no image")
    client = images.engine()
    failed = 0
    for name in names:
        start = time.monotonic()
        say(f"{name}: building {images.tag(name)} ...")
        try:
            with building(name) as log:
                built = images.build(client, name, arguments.base, extra, log)
        except RequestError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
            continue
        print(f"{name}: {images.tag(name)} {built[:19]} ({time.monotonic() - start:.1f} s)", flush=True)
    return 1 if failed else 0


def _test_picture(path: Path) -> None:
    """A gradient with an edge and some grain: small, but with something to code everywhere."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:96, 0:128]
    picture = np.stack([x * 2, y * 2, 255 - x], axis=-1) + rng.normal(0, 4, (96, 128, 3))
    picture[30:70, 40:90] += 60
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)


def _test_one(one: Encoder, runner: Runner, folder: Path) -> str:
    """Code the test picture in mid quality; what came of it, in one line. Raises RequestError or JobError."""
    from vcmbench.compress.run import CompressRun, CompressSettings

    quality = {} if one.quality is None else {"quality": [(one.quality.minimum + one.quality.maximum) // 2]}
    wanted = experiment.Experiment.model_validate(
        {"name": f"test-{one.name}", "coding": [{"encoder": one.name, **quality}]}
    )
    records: list[Record] = []
    this = CompressRun(wanted, folder, runner, CompressSettings(jobs=1, quiet=True))
    for line in this.warnings:
        print(f"{one.name}: {line}", file=sys.stderr)
    outcome = this.execute(lambda state, job, record, error: records.append(record or {}))
    if outcome.failed:
        raise outcome.failed[0][1]
    record = records[0]
    psnr = "identical" if record["psnr_y_db"] is None else f"{record['psnr_y_db']:.2f} dB"
    return f"{record['size_bytes']} bytes, PSNR-Y {psnr}, {record['tool']['encode']['version']}"


def run_test(arguments: argparse.Namespace) -> int:
    failed = 0
    for one in _chosen(arguments.names):
        with tempfile.TemporaryDirectory() as folder:
            _test_picture(Path(folder) / "test.png")
            try:
                print(f"{one.name}: ok: {_test_one(one, runners.choose(arguments, [one]), Path(folder))}", flush=True)
            except RequestError as error:
                print(f"{one.name}: not available: {error}", flush=True)
                failed += bool(arguments.names)  # asked for by name, it must work
            except JobError as error:
                print(f"{one.name}: failed: {describe(error)}", flush=True)
                failed += 1
    return 1 if failed else 0
