"""Print the script by which a shell completes commands and options."""

from __future__ import annotations

import argparse
import sys

import shtab

from vcmbench import cli
from vcmbench.errors import RequestError

_EXAMPLES = """\
examples:
  eval "$(vcmbench completion bash)"                  # for this shell
  vcmbench completion bash > ~/.local/share/bash-completion/completions/vcmbench
  vcmbench completion zsh > ~/.zfunc/_vcmbench        # a folder of your fpath

The script is made of the commands and options of this version, your own commands among them: print it again after an
update. Completing starts no Python.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="whose script")


def run(arguments: argparse.Namespace) -> int:
    parser = cli.build_parser(*filter(_is_sound, cli.discover()))
    sys.stdout.write(shtab.complete(parser, arguments.shell))
    return 0


def _is_sound(name: str) -> bool:
    """Whether a command can be loaded: what is wrong with a user's own is said when it is typed."""
    try:
        cli.build_parser(name)
    except RequestError:
        return False
    return True
