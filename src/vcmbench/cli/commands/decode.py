"""Decode bitstreams again from their records."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from PIL import Image

from vcmbench.cli import runners
from vcmbench.compress import decode
from vcmbench.data.record import Record
from vcmbench.encoder import plugins
from vcmbench.errors import RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.io.files import named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Decode the bitstreams of records and write their pictures as PNG, at their original size, into "
        "one folder a coding configuration; records of several data roots go into a folder each."
    )
    parser.epilog = (
        "examples:\n  vcmbench decode a.265.json -o out  # a record, wherever it lies below DATA\n"
        "  vcmbench decode data/results/quick/records -o out"
    )
    parser.add_argument(
        "records", type=Path, nargs="+", metavar="RECORD", help="a record, or a folder: all records below it"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    runners.add_options(parser)


def _record_files(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise RequestError(f"{path}: no such record")
        yield from sorted(path.rglob("*.json")) if path.is_dir() else [path]


def run(arguments: argparse.Namespace) -> int:
    records = [(path, decode.read(path)) for path in _record_files(arguments.records)]
    if not records:
        raise RequestError(f"{arguments.records[0]}: holds no records")
    encoders = [plugins.get(name) for name in dict.fromkeys(record["encoder"] for _, record in records)]

    @cache
    def runner_like(before: str) -> Runner:
        return runners.choose(arguments, encoders, before)

    for path, record, targets in _plan(records, arguments.output):
        _decode(path, record, runner_like(record["runner"]), targets)
    return 0


def _plan(records: list[tuple[Path, Record]], output: Path) -> list[tuple[Path, Record, list[Path]]]:
    """Where the pictures of each record go: those of several data roots into a folder each.

    Raises RequestError where two bitstreams would write the same file.
    """
    roots = {path: decode.data_root_of(path) for path, _ in records}
    common = os.path.commonpath(roots.values())
    plan, taken = [], dict[Path, Path]()
    for path, record in records:
        configuration = next(iter(Path(record["bitstream"]).parts), "")
        folder = roots[path].relative_to(common) / configuration
        targets = [_target(path, output, f"{folder}/{source['name']}.png") for source in record["sources"]]
        bitstream = roots[path] / record["bitstream"]
        for target in targets:
            if (other := taken.setdefault(target, bitstream)) != bitstream:
                raise RequestError(f"{target}: would be of {other} and of {bitstream}; decode one, then the other")
        plan.append((path, record, targets))
    return plan


def _decode(path: Path, record: Record, runner: Runner, targets: list[Path]) -> None:
    pictures = decode.decode(record, decode.data_root_of(path), runner)
    for target, picture in zip(targets, pictures, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        with named(target):
            Image.fromarray(picture).save(target, "PNG")
        print(target)


def _target(record: Path, output: Path, name: str) -> Path:
    """Where a picture goes that a record names. Raises RequestError where that is not below `output`."""
    target = output / name
    try:
        is_inside = target.resolve().is_relative_to(output.resolve())
    except ValueError:  # a NUL, or letters that no name of a file has
        is_inside = False
    if not is_inside:
        raise RequestError(f"{record}: names a picture that leads out of {output}")
    return target
