"""The parser that every command and every action has: help in lines that can be read, errors in one, `-q` and `-v`."""

from __future__ import annotations

import argparse
import logging
import shutil
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn

_MOST_COLUMNS = 100


class _Paragraphs(argparse.HelpFormatter):
    """Wraps texts to the terminal, paragraph by paragraph; those with indented lines, such as examples, stay."""

    def __init__(self, prog: str) -> None:
        width = min(shutil.get_terminal_size().columns, _MOST_COLUMNS) - 2
        super().__init__(prog, max_help_position=26, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(one if "\n  " in f"\n{one}" else textwrap.fill(one, width) for one in paragraphs)


class CommandParser(argparse.ArgumentParser):
    """What `add_arguments(parser)` of a command gets; the parsers of its actions are of this kind, too."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        defaults: dict[str, Any] = {"formatter_class": _Paragraphs, "conflict_handler": "resolve"}
        super().__init__(*arguments, **(defaults | options))  # a user's own command may give -q another meaning
        self.set_defaults(parser=self)
        loudness = self.add_mutually_exclusive_group()
        # no defaults: those of an action would undo what was said before it
        for flags, level, text in (
            (("-q", "--quiet"), logging.WARNING, "print results, warnings and failures alone"),
            (("-v", "--verbose"), logging.DEBUG, "print every job, and all of what went wrong"),
        ):
            loudness.add_argument(*flags, dest="log_level", action="store_const", const=level,
                                  default=argparse.SUPPRESS, help=text)  # fmt: skip

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}; {self.prog} --help says more\n")


def add_action(
    actions: argparse._SubParsersAction[Any], name: str, run: Callable[[argparse.Namespace], int], text: str,
    examples: str,
) -> argparse.ArgumentParser:  # fmt: skip
    """One of a command's several actions, which `run` does; `text` says what, `examples` are an epilog."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=examples
    )
    parser.set_defaults(run=run)
    return parser
