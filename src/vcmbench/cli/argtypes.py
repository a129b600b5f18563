"""Kinds of command line arguments, each with its own complaint."""

from __future__ import annotations

import argparse
import re


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def positive_int(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def positive_seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return value


GROUPS_HELP = "a regular expression for names of pictures: where it finds the same, pictures count as one"


def pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None
    return text


def add_intervals(parser: argparse.ArgumentParser) -> None:
    """`--no-intervals`, and in silence what it was called when intervals came from resamples that chance drew."""
    parser.add_argument("--no-intervals", dest="intervals", action="store_false", help="no intervals, which is faster")
    parser.add_argument("--bootstrap", dest="intervals", type=lambda text: whole_number(text) > 0,
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument("--seed", type=whole_number, help=argparse.SUPPRESS)
