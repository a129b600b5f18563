"""`vcmbench decode`: pictures back from a record."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from vcmbench import decode, encoder
from vcmbench.cli import runners


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "decode",
        help="decode a bitstream again from its record",
        description="Decode a record's bitstream and write its pictures as PNG, at their original size.",
        epilog="example:\n  vcmbench decode 'data/results/quick/records/.../frankfurt_000000_000294.265.json' -o out",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("record", type=Path, help="a record: DATA/results/<experiment>/records/.../*.json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the PNG files go")
    runners.add_options(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    record = decode.read(arguments.record)
    runner = runners.choose(arguments, [encoder.get(record["encoder"])])
    pictures = decode.decode(record, decode.data_root_of(arguments.record), runner)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for source, picture in zip(record["sources"], pictures, strict=True):
        target = arguments.output / f"{Path(source['name']).name}.png"
        Image.fromarray(picture).save(target)
        print(target)
    return 0
