"""The command line: `vcmbench COMMAND`. Exit codes: 0 all done, 1 some jobs failed, 2 the request was wrong."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence

from vcmbench import __version__
from vcmbench.cli import terminal
from vcmbench.errors import JobError, RequestError
from vcmbench.io.text import lines

INTERRUPTED = 130

# pydantic looks for plugins in every installed package at its first import, which a short run feels; we use none
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")


def build_parser() -> argparse.ArgumentParser:
    # imported here, so that the modules can use what this package offers
    from vcmbench.cli import (
        bdrate,
        compress,
        correlate,
        decode,
        demo,
        doctor,
        encoders,
        importance,
        metrics,
        plan,
        qpmap,
        tasks,
        verify,
    )

    parser = argparse.ArgumentParser(
        "vcmbench",
        description="What image and video compression does to machine vision, measured with real encoders.",
        epilog="examples:\n  vcmbench demo\n  vcmbench compress -d data -s quick\n  vcmbench encoders list",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vcmbench {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (
        demo, plan, compress, metrics, verify, decode, importance, qpmap, correlate, bdrate, encoders, tasks, doctor,
    ):  # fmt: skip
        module.add_parser(commands)
    metrics.add_report_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    # one picture can make Pillow warn 65535 times; what is wrong with it is said once, by ourselves
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with terminal.text_alone():
        return _run(argv)


def _run(argv: Sequence[str] | None) -> int:
    arguments, unknown = build_parser().parse_known_args(argv)
    if unknown:  # said with the usage of the command that was typed, not of all of them
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code: int = arguments.run(arguments)
        return code
    except RequestError as error:
        print(lines(f"vcmbench: error: {error}"), file=sys.stderr)
        return 2
    except JobError as error:
        print(lines(f"vcmbench: error: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vcmbench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 1  # whoever read our output has gone
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(lines(f"vcmbench: error: {where}{error.strerror or error}"), file=sys.stderr)
        return 2
    except Exception as error:
        from vcmbench.execution.runner.images import is_engine_fault

        if not is_engine_fault(error):
            raise
        print(f"vcmbench: error: the Docker engine failed: {error}", file=sys.stderr)
        return 2
