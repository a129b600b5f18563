"""Texts of the report, on the page and in figures: numbers as people read them, and what measures are called."""

from __future__ import annotations

import math
from collections.abc import Iterable

from vcmbench.data.estimate import Estimate
from vcmbench.iqa import METRICS
from vcmbench.tasks.kind import headings

MINUS, THIN = "\u2212", "\u202f"
MISSING = "\u2014"
AGAINST = {"pseudo": "pseudo ground truth", "labels": "labels", "pristine": "pristine pictures"}
"""What a prediction is held against: the network's own prediction on the pristine picture, or people's labels; and what
quality metrics hold a decoded picture against."""


def held_against(against: str) -> str:
    """The same within a sentence of findings, which says whose answers the pseudo ground truth is."""
    return "the network's own answers" if against == "pseudo" else f"the {AGAINST[against]}"


_MORE = {
    "weighted": "Accuracy weighted by importance",
    "iou": "IoU",
    "top5": "Top-5 accuracy",
    "instability": "Added flicker",
    "psnr_y": "Luma PSNR",
}


def measures() -> dict[str, str]:
    """What the report calls each measure, in its order: those of all kinds of task, and those of classes and parts; and
    quality metrics."""
    return headings() | _MORE | {name: name for name in METRICS}


def measure_words(measure: str) -> str:
    """A measure within a sentence: "pixel accuracy", "mIoU"."""
    words = measures().get(measure, measure)
    return words if words in ("IoU", *METRICS) or words[1:2].isupper() else words[:1].lower() + words[1:]


def number(value: float, digits: int = 3, signed: bool = False) -> str:
    """Fixed decimals with a real minus sign; -0.000 is 0.000."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def rate(value: float) -> str:
    """Bits per pixel with three significant digits, zeros at the end kept: 0.0450, 0.330, 1.20, 24.0."""
    if value <= 0:
        return "0"
    exponent = math.floor(math.log10(value))
    return f"{value:.{max(2 - exponent, 0)}f}"


def significant(value: float, digits: int = 3) -> str:
    """A number with at most so many significant digits, whole numbers in full."""
    if value == round(value) and abs(value) < 1e9:
        return f"{value:.0f}".replace("-", MINUS)
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < 1e9:
        text = f"{float(text):.0f}"
    return text.replace("-", MINUS)


def interval(estimate: Estimate, digits: int = 3, signed: bool = False) -> str:
    """ "[low, high]", or nothing."""
    if estimate.interval is None:
        return ""
    low, high = (number(limit, digits, signed) for limit in estimate.interval)
    return f"[{low}, {high}]"


def figure(value: Estimate, digits: int, signed: bool = False) -> str:
    """The value and its interval."""
    ends = interval(value, digits, signed)
    return number(value.value or 0.0, digits, signed) + (f" {ends}" if ends else "")


def of_n(values: Iterable[Estimate]) -> str:
    """ " (n = 20)", or nothing where it is not known."""
    found = sorted({value.n for value in values if value.n is not None})
    if not found:
        return ""
    return f" (n = {count(found[0])})" if len(found) == 1 else f" (n = {count(found[0])} to {count(found[-1])})"


def count(value: int) -> str:
    """A whole number in groups of three: 4096 is short enough as it is, 73728 is 73 728."""
    return str(value) if abs(value) < 10_000 else f"{value:,}".replace(",", THIN)


def many(value: int, one: str, more: str | None = None) -> str:
    """ "1 picture", "2 pictures"."""
    return f"{count(value)} {one if value == 1 else more or one + 's'}"


def sources(value: int, sequences: int, one: str = "picture") -> str:
    """ "1 picture", or where they are of sequences "48 frames of 2 sequences"."""
    return f"{many(value, 'frame')} of {many(sequences, 'sequence')}" if sequences else many(value, one)


def percent(share: float, digits: int = 0) -> str:
    """0.125 as "12.5 %", not to be broken."""
    return f"{number(100 * share, digits)}\u00a0%"


def p_value(p: float) -> str:
    """p as papers give it: "< 0.001", or "= " and three decimals."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def capital(words: str) -> str:
    """The first letter large, the others as they are; mIoU is written so everywhere."""
    return words if words.startswith("mIoU") else words[:1].upper() + words[1:]


def together(words: str) -> str:
    """Words that no line break comes between, such as a number and its unit."""
    return words.replace(" ", "\u00a0")
