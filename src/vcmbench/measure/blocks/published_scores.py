"""Scores of blocks or pictures as they were published: quality metrics beside what a machine made of each of them.

Two files of JSON, keyed alike (those of "0" .. "4095" go with the block data of A. Marie et al., QoMEX 2023):

    metrics  {"0": {"acc": 0.54, "PSNR": 28.2, ...}, ...}
    blocks   {"0": [image, [codec, quality, "420", factor], [x, y], [width, height], accuracy], ...}
"""

from __future__ import annotations

import errno
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.io.documents import parse_json, short, short_list
from vcmbench.io.files import read_bounded

AGAINST = "acc"
CODECS = ("LOSSLESS", "JPEG", "JM", "x265", "VVENC")  # by their numbers in the blocks file
FEWEST = 3
_MOST_BYTES = 256 * 2**20
_MOST_VALUES = 30_000_000
_MOST_METRICS = 1000
_MOST_CODECS = 1000
_MOST_LETTERS = 1024


@dataclass(frozen=True)
class PublishedScores:
    """What a metrics file holds. `machine` and each of `metrics` are (n,) float64, in the order of `ids`.

    `machine` is finite and not constant. A score of `metrics` that was NaN, null or infinite is kept as NaN or inf.
    """

    path: Path
    ids: tuple[str, ...]
    machine: NDArray[np.float64]
    metrics: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class PublishedBlocks:
    """Where each block came from: its source image, the codec's name, the accuracy given there, (n,) float64, and its
    x and y in px, (n, 2) float64."""

    images: tuple[str, ...]
    codecs: tuple[str, ...]
    accuracy: NDArray[np.float64]
    places: NDArray[np.float64]

    def codec_names(self) -> list[str]:
        """The codecs that occur: the published ones first, in their order."""
        found = set(self.codecs)
        return [name for name in CODECS if name in found] + sorted(found - set(CODECS))


def read_scores(path: Path, against: str = AGAINST, names: Sequence[str] | None = None) -> PublishedScores:
    """The scores of a metrics file; `names` picks metrics, in that order (None: all, in the file's order).

    Raises RequestError where the file is no such file, its blocks do not all have the same scores, fewer than 3 are
    there, a named metric is not there, or the machine's score is missing, infinite or the same everywhere.
    """
    table = read_object(path)
    if len(table) < FEWEST:
        raise RequestError(f"{path}: holds {len(table)} blocks; correlations need {FEWEST} or more")
    keys = _keys(path, table)
    if against not in keys:
        raise RequestError(
            f"{path}: no block has a score {against!r}; name the machine's score with --against: {short_list(keys)}"
        )
    chosen = list(dict.fromkeys(names)) if names else [key for key in keys if key != against]
    for name in chosen:
        if name == against:
            raise RequestError(f"{path}: {short(name)} is what the metrics are held against; take it from --metrics")
        if name not in keys:
            there = short_list(key for key in keys if key != against)
            raise RequestError(f"{path}: no metric {short(name)} there; there are {there}")
    if not chosen:
        raise RequestError(f"{path}: beside {against!r} the blocks have no score; nothing can be correlated with it")
    columns = {
        name: np.array([_number(path, block, name, scores[name]) for block, scores in table.items()])
        for name in (against, *chosen)
    }
    machine = columns.pop(against)
    ids = tuple(table)
    if not np.isfinite(machine).all():
        block = ids[int(np.flatnonzero(~np.isfinite(machine))[0])]
        raise RequestError(f"{path}: block {short(block)}: {against!r} is missing or infinite; take out such blocks")
    if (machine == machine[0]).all():
        raise RequestError(f"{path}: {against!r} is {machine[0]:g} for every block; nothing correlates with a constant")
    return PublishedScores(path, ids, machine, columns)


def read_blocks(path: Path, ids: Sequence[str]) -> PublishedBlocks:
    """Image, codec and accuracy of the blocks `ids`. Others may be there, too.

    Raises RequestError where the file is no such file, or one of `ids` is not in it.
    """
    table = read_object(path)
    images, codecs, accuracy, places = [], [], [], []
    for block in ids:
        if block not in table:
            raise RequestError(
                f"{path}: has no block {short(block)}, which the metrics file has; give the file of the same draw"
            )
        match table[block]:
            case [image, [codec, _, _, _], [x, y], [_, _], share]:
                pass
            case _:
                raise RequestError(
                    f"{path}: block {short(block)} is not [image, [codec, quality, chroma, factor], [x, y], "
                    "[width, height], accuracy]"
                )
        if not isinstance(image, str) or not image:
            raise RequestError(f"{path}: block {short(block)}: the image must be a name, not {_short(image)}")
        images.append(image)
        codecs.append(_codec(path, block, codec))
        accuracy.append(_number(path, block, "accuracy", share))
        places.append([_number(path, block, "x", x), _number(path, block, "y", y)])
    if len(set(codecs)) > _MOST_CODECS:
        raise RequestError(f"{path}: names {len(set(codecs))} codecs; at most {_MOST_CODECS} are told apart")
    return PublishedBlocks(tuple(images), tuple(codecs), np.array(accuracy), np.array(places))


def _is_name(value: object) -> bool:
    """Whether a value can be shown as it is, in a table on a terminal."""
    return isinstance(value, str) and 0 < len(value) <= _MOST_LETTERS and value.isprintable()


def _codec(path: Path, block: str, codec: object) -> str:
    if isinstance(codec, str) and _is_name(codec):
        return codec
    if isinstance(codec, int) and not isinstance(codec, bool) and 0 <= codec < len(CODECS):
        return CODECS[codec]
    known = ", ".join(f"{number} {name}" for number, name in enumerate(CODECS))
    raise RequestError(f"{path}: block {short(block)}: codec {_short(codec)} is none of {known}, and no name")


def _keys(path: Path, table: dict[str, Any]) -> list[str]:
    """The scores that every block has. Raises RequestError where one has others than the first."""
    keys: list[str] | None = None
    for block, scores in table.items():
        if not isinstance(scores, dict):
            raise RequestError(f"{path}: block {short(block)} must hold scores by name, not {_short(scores)}")
        keys = list(scores) if keys is None else keys
        if len(scores) > _MOST_METRICS:
            raise RequestError(
                f"{path}: block {short(block)} has {len(scores)} scores; at most {_MOST_METRICS} are read"
            )
        for odd in set(scores).symmetric_difference(keys):
            lacks, has = (block, next(iter(table))) if odd in keys else (next(iter(table)), block)
            raise RequestError(
                f"{path}: block {short(lacks)} lacks {short(odd)}, which block {short(has)} has; write NaN where none "
                "is known"
            )
    keys = keys or []
    for strange in (key for key in keys if not _is_name(key)):
        raise RequestError(f"{path}: {short(strange)} cannot be the name of a metric; give it one that can be printed")
    return keys


def _number(path: Path, block: str, name: str, value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f"{path}: block {short(block)}: {short(name)} must be a number, not {_short(value)}")
    try:
        return float(value)
    except OverflowError:
        raise RequestError(f"{path}: block {short(block)}: {short(name)} is too large a number") from None


def read_object(path: Path, most_bytes: int | None = None, most_values: int | None = None) -> dict[str, Any]:
    """A JSON object without duplicate keys, of a limited size. Raises RequestError where the file is none."""
    most_bytes = _MOST_BYTES if most_bytes is None else most_bytes
    try:
        table = parse_json(read_bounded(path, most_bytes), most_values or _MOST_VALUES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            most = f"{most_bytes // 2**20} MiB"
            raise RequestError(f"{path}: larger than {most}, the most that is read; split it") from None
        raise RequestError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # no JSON, no UTF-8, a NUL in its name, numbers of thousands of digits, endless nesting
        raise RequestError(f"{path}: not JSON: {str(error)[:200]}") from None
    if not isinstance(table, dict):
        raise RequestError(f"{path}: must be a JSON object keyed by block, not {_short(table)}")
    return table


def _short(value: object) -> str:
    return f"{type(value).__name__} {short(value, 60)}"
