"""What the table of metrics is made of: a metric, its conventions under each profile, and the sizes that it takes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

Needs = Literal["weights", "ffmpeg", "network"]
PROFILES = ("standard", "qomex2023")


@dataclass(frozen=True)
class Opened:
    """A metric that is ready: its function of a `Batch`, and what of its weights or tool decides its values (JSON)."""

    score: Callable[[Any], Any]
    identity: Mapping[str, Any]


class Missing(Exception):
    """A metric that cannot be computed here or for these pictures; the message is the reason, one line."""


@dataclass(frozen=True)
class Smallest:
    """The smallest picture that a metric takes: its shorter side, its longer side and its area in pixels."""

    side_px: int = 1
    longer_px: int = 1
    area_px: int = 1

    def reason(self, width_px: int, height_px: int) -> str | None:
        """Why a picture is too small; None where it is not."""
        sides = sorted((width_px, height_px))
        if sides[0] < self.side_px:
            return f"needs a shorter side of {self.side_px} px or more; it is {sides[0]} px"
        if sides[1] < self.longer_px:
            return f"needs a longer side of {self.longer_px} px or more; it is {sides[1]} px"
        if sides[0] * sides[1] < self.area_px:
            return f"needs {self.area_px} pixels or more; there are {sides[0] * sides[1]}"
        return None

    def __str__(self) -> str:
        parts = [f"{self.side_px} px"] if self.side_px > 1 else []
        parts += [f"longer side {self.longer_px} px"] if self.longer_px > 1 else []
        parts += [f"{self.area_px} pixels"] if self.area_px > 1 else []
        return ", ".join(parts) or "1 px"


@dataclass(frozen=True)
class Convention:
    """How a metric is computed under a profile.

    `compute` is a function, or "module:function" below `vcmbench.iqa`, perhaps with its first arguments behind further
    colons, which is resolved when it is needed, so that the table needs no torch.
    Where the metric needs nothing, or a network, the function takes a `Batch` of N pictures and returns a tensor (N,).
    Where it needs something else the function opens it: it takes (Weights, device) or, for FFmpeg, a Runner, and
    returns `Opened` or raises `Missing`.
    `colour` says what of the pictures is looked at, `call` is the call of a library that it is equal to, `low` and
    `high` are the ends of its range (None: open), `perfect` is the value of identical pictures (None: it depends),
    `not_finite` why a value may be NaN or infinite.
    """

    compute: str | Callable[..., Any]
    call: str
    colour: str
    low: float | None = None
    high: float | None = None
    perfect: float | None = None
    smallest: Smallest = Smallest()
    not_finite: str = ""
    higher_is_better: bool = field(kw_only=True)

    def resolve(self) -> Callable[..., Any]:
        if not isinstance(self.compute, str):
            return self.compute
        module, name, *arguments = self.compute.split(":")
        return partial(getattr(importlib.import_module(f"vcmbench.iqa.{module}"), name), *arguments)


@dataclass(frozen=True)
class Metric:
    """One full-reference quality metric. `source` names its paper; `note` is what a reader of its values must know."""

    name: str
    source: str
    conventions: Mapping[str, Convention]
    needs: Needs | None = None
    note: str = ""
    file: Path | None = None
    """The file of a user's own metric, whose content is part of its scores' keys."""

    def convention(self, profile: str) -> Convention:
        return self.conventions[profile]

    def higher_is_better(self, profile: str) -> bool:
        return self.conventions[profile].higher_is_better


def metric(
    name: str, source: str, compute: Callable[[Any], Any], *, higher_is_better: bool, colour: str = "R'G'B'",
    call: str = "", **more: Any,
) -> Metric:  # fmt: skip
    """A metric that is the same under all profiles; `compute` takes a `Batch` of N pictures and returns (N,).

    `call` is the call of piq or piqa that it must equal, if any: "piq.psnr(x, y)". `more` is what a `Convention` has
    beside: low, high, perfect, smallest, not_finite.
    """
    convention = Convention(compute, call or name, colour, higher_is_better=higher_is_better, **more)
    return Metric(name, source, dict.fromkeys(PROFILES, convention))
