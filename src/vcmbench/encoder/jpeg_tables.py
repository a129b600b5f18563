"""JPEG's quantiser tables: libjpeg's, scaled by quality and by steps, and the text by which tools are told them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

MAX_EXCESS = 60.0
"""f = 1024: nothing but DC is left long before."""

# ITU-T T.81, tables K.1 and K.2, in natural order: libjpeg's tables at quality 50.
_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66" + " 99" * 38


def table_percent(quality: int) -> int:
    """The scale of libjpeg's tables at `quality` 1..100 (`jpeg_quality_scaling`), at least 1 %."""
    return max(5000 // quality if quality < 50 else 200 - 2 * quality, 1)


def scaled_tables(quality: int, steps: float = 0.0) -> tuple[I64, I64]:
    """libjpeg's luma and chroma quantiser tables for `quality` 1..100, each (8, 8) int64 in 1..255, natural order, with
    their percentage scale (`jpeg_quality_scaling` of libjpeg) multiplied by 2 ** (steps / 6) before rounding.

    Quality 100 has the scale 0, and tables of ones; it counts as 1 here, the same tables, which steps can enlarge.
    Raises ValueError where quality or steps are out of range.
    """
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality {quality}: must be 1..100")
    if not abs(steps) <= MAX_EXCESS:
        raise ValueError(f"{steps} quantiser steps: must be within +-{MAX_EXCESS:g}")
    percent = table_percent(quality) * 2 ** (steps / 6)
    luma, chroma = (
        np.clip(np.floor((np.array(table.split(), np.float64) * percent + 50) / 100), 1, 255).astype(np.int64)
        for table in (_LUMA, _CHROMA)
    )
    return luma.reshape(8, 8), chroma.reshape(8, 8)


def tables_text(luma: I64, chroma: I64) -> str:
    """The text file of tables that `cjpeg -qtables FILE` (and `pillow-jpeg encode --qtables FILE`) reads.

    cjpeg takes it as it is where no -quality is given, and uses the first table for luma, the second for chroma."""
    return "\n".join("".join(" ".join(map(str, row)) + "\n" for row in table.tolist()) for table in (luma, chroma))


def read_tables(text: str) -> list[list[int]]:
    """The tables of such a text, one or two lists of 64 in natural order. Raises ValueError."""
    words = re.sub(r"#.*", "", text).split()
    if len(words) not in (64, 128) or not all(re.fullmatch("[0-9]{1,3}", word) for word in words):
        raise ValueError("quantiser tables: must be 64 or 128 whole numbers")
    values = [int(word) for word in words]
    if not all(1 <= value <= 255 for value in values):
        raise ValueError("quantiser tables: values must be 1..255")
    return [values[i : i + 64] for i in range(0, len(values), 64)]
