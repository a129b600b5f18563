"""The encoders, their state, their images."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vcmbench import experiment
from vcmbench.cli import runners, table
from vcmbench.cli.terminal import building
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
    listing = actions.add_parser("list", help="what each encoder can do, and where it was found")
    table.add_option(listing)
    listing.set_defaults(run=run_list, parser=listing)
    build = actions.add_parser(
        "build",
        help="build the container images",
        epilog="examples:\n  vcmbench encoders build x265 jpeg\n"
        "  vcmbench encoders build vvenc --build-arg VVENC_VERSION=v1.4.0",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    build.add_argument("names", nargs="*", metavar="NAME", help="default: all that have a Dockerfile")
    build.add_argument("--base", default=images.BASE, help="base image (default: %(default)s)")
    build.add_argument("--build-arg", action="append", default=[], metavar="KEY=VALUE", help="passed to the build")
    build.add_argument("-v", "--verbose", action="store_true", help="show the build's output")
    build.set_defaults(run=run_build, parser=build)
    test = actions.add_parser("test", help="code one small picture with each encoder, from pixels to record")
    test.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    runners.add_options(test)
    test.set_defaults(run=run_test, parser=test)


def _chosen(names: list[str]) -> list[Encoder]:
    return [plugins.get(name) for name in names] if names else list(plugins.discover().values())


def _map_cell(one: Encoder, local: LocalRunner) -> str:
    """How it spends bits by a QP map, in blocks of which size, and what it lacks for that here."""
    if one.quality is None:
        return "none"
    units = f" {'/'.join(map(str, one.map_units_px))} px" if one.map_units_px else ""
    lacks = one.map_tools and local.find(one, one.map_tools) is None
    return f"{one.map_method}{units}" + (f" ({one.map_tools[0].program} not found)" if lacks else "")


def run_list(arguments: argparse.Namespace) -> int:
    local = LocalRunner()
    try:
        client = images.engine()
        why_not = ""
    except RequestError as error:
        client, why_not = None, str(error)
    rows = []
    for fault in plugins.faults().values():
        print(f"faulty: {fault}", file=sys.stderr)
    for one in plugins.discover().values():
        scale = one.quality
        found = local.find(one, one.encode_tools), local.find(one, one.decode_tools)
        if not images.has_dockerfile(one.name):
            image = "needs none"
        elif client is None:
            image = "no engine"
        else:
            image = "built" if images.image_id(client, one.name) else "not built"
        quality = f"{scale.name} {scale.minimum}..{scale.maximum}, {scale.better} is better" if scale else "none"
        programs = dict.fromkeys(tool.program for tool in found if tool)
        where = ", ".join(programs) if all(found) else "not found"
        rows.append(
            (
                one.name,
                quality,
                " ".join(one.chroma),
                " .. ".join(one.presets[:: max(1, len(one.presets) - 1)]),
                _map_cell(one, local),
                where,
                image,
            )
        )
    print(table.render(("encoder", "quality", "chroma", "presets", "QP map", "local tools", "image"), rows))
    if why_not:
        print(why_not, file=sys.stderr)
    return 0


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
        print(f"{name}: building {images.tag(name)} ...", file=sys.stderr, flush=True)
        try:
            with building(name, verbose=arguments.verbose) as log:
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
