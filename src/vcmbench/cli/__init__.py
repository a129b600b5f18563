"""The command line: `vcmbench COMMAND`. Exit codes: 0 all done, 1 some jobs failed, 2 the request was wrong.

A command is one module in `commands/` (or in a user's own folder, see `io/plugins`). Only the one that was typed is
imported: what the others need may take seconds to load. Imported by no other room.
"""

from __future__ import annotations

import argparse
import ast
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from vcmbench import __version__
from vcmbench.cli import terminal
from vcmbench.cli.parser import CommandParser
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.images import is_engine_fault
from vcmbench.io.files import is_disk_fault
from vcmbench.io.plugins import Plugins, files, user_folders
from vcmbench.io.progress import LOG
from vcmbench.io.text import lines

INTERRUPTED = 130
FOLDER = Path(__file__).parent / "commands"

# pydantic looks for plugins in every installed package at its first import, which a short run feels; we use none
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

_PLUGINS = Plugins("commands", lambda: FOLDER, "vcmbench.cli.commands", lambda module, name: module)


def discover() -> dict[str, Path]:
    """The file of every command, by name, ours first."""
    return {path.stem: path for folder in reversed((FOLDER, *user_folders("commands"))) for path in files(folder)}


def summary(path: Path) -> str:
    """The first line of a command's docstring, read without importing it."""
    try:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    except (SyntaxError, ValueError) as error:
        text = f"cannot be read: {error}"
    return text.partition("\n")[0].rstrip(".")


def build_parser(*commands: str) -> argparse.ArgumentParser:
    """The parser, with the options of these commands: of the others it knows what `--help` says."""
    parser = CommandParser(
        "vcmbench",
        description="What image and video compression does to machine vision, measured with real encoders.",
        epilog="examples:\n  vcmbench demo\n  vcmbench compress -d data -s quick\n  vcmbench encoders list",
    )
    parser.add_argument("--version", action="version", version=f"vcmbench {__version__}")
    several = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, path in sorted(discover().items()):
        said = summary(path).replace("%", "%%")
        one = several.add_parser(name, help=said, description=f"{said}.")
        if name in commands:
            _fill(one, _PLUGINS.load(path))
    return parser


def _fill(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    """Give a command's parser its options, and what it runs, which its actions may say otherwise."""
    parser.set_defaults(run=getattr(module, "run", None))
    module.add_arguments(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what a terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    # one picture can make Pillow warn 65535 times; what is wrong with it is said once, by ourselves
    warnings.filterwarnings("ignore", module=r"PIL\.")
    with terminal.text_alone():
        return _run(sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    command = next((word for word in argv if not word.startswith("-")), None)
    try:
        arguments, unknown = build_parser(*([command] if command else [])).parse_known_args(argv)
        if unknown:  # said with the usage of the command that was typed, not of all of them
            arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        LOG.setLevel(getattr(arguments, "log_level", logging.INFO))
        terminal.widen(is_wide=getattr(arguments, "wide", False))
        code: int = arguments.run(arguments)
        return code
    except (RequestError, JobError) as error:
        terminal.detail(traceback.format_exc())
        print(lines(f"vcmbench: error: {error}"), file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1
    except KeyboardInterrupt:
        print("vcmbench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return 1  # whoever read our output has gone
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(lines(f"vcmbench: error: {where}{error.strerror or error}"), file=sys.stderr)
        return 1 if is_disk_fault(error) else 2
    except Exception as error:
        if is_engine_fault(error):
            print(f"vcmbench: error: the Docker engine failed: {error}", file=sys.stderr)
            return 2
        traceback.print_exc()
        print(f"vcmbench: error: {command} has a fault, which is not yours: {error!r}", file=sys.stderr)
        return 1
