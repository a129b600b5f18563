"""What can be chosen about importance maps, and the two formulas: safe distance, and importance over distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vcmbench.errors import JobError, RequestError
from vcmbench.importance import classes

Aggregate = Literal["instance", "class", "pixel"]

# Where a file or a field is missing; each use is reported. The focal length is that of a picture 2048 px wide.
FALLBACK_SPEED_MPS = 10.0
FALLBACK_FX_PX = 2262.52
FALLBACK_FX_WIDTH_PX = 2048
FALLBACK_BASELINE_M = 0.209313
# What a car and its cameras have; beyond it a unit or a field was mixed up, and all would count as near, or nothing.
ALLOWED_FX_PX = (1, 1_000_000)
ALLOWED_BASELINE_M = (0.001, 100)
ALLOWED_SPEED_MPS = (0, 150)
# Fewer valid disparities than this are taken for matching errors, not for a measured object.
MIN_VALID_PIXELS = 5
# Of objects whose distance nothing tells: neither important nor unimportant, as at twice the safe distance.
UNKNOWN_IMPORTANCE = 0.5


@dataclass(frozen=True)
class ImportanceSettings:
    """How importance is computed. Raises RequestError, with key, value and what is allowed, for nonsense.

    `aggregate`: which pixels share a distance: those of an instance, of a class, or none. `use_distance`, `use_class`,
    `use_speed` switch the terms off one by one. `reaction_s` (s) and `deceleration_mps2` (m/s^2) give the safe
    distance, `d_safe_floor_m` (m) is its smallest value. `classes` is a class table: the path of a TOML file,
    "seed000", or None for our own.
    """

    aggregate: Aggregate = "instance"
    use_distance: bool = True
    use_class: bool = True
    use_speed: bool = True
    reaction_s: float = 2.5
    deceleration_mps2: float = 3.4
    d_safe_floor_m: float = 5.0
    classes: classes.Table = None

    def __post_init__(self) -> None:
        if self.aggregate not in get_args(Aggregate):
            raise RequestError(f"aggregate: {self.aggregate!r}; allowed: {', '.join(get_args(Aggregate))}")
        for key in ("use_distance", "use_class", "use_speed"):
            if not isinstance(getattr(self, key), bool):
                raise RequestError(f"{key}: {getattr(self, key)!r}; allowed: True, False")
        self._check_number("reaction_s", "a number of seconds from 0", lowest_is_allowed=True)
        self._check_number("deceleration_mps2", "a number of m/s^2 above 0")
        self._check_number("d_safe_floor_m", "a number of metres above 0")
        if not (self.classes in (None, *get_args(classes.Named)) or isinstance(self.classes, Path)):
            raise RequestError(f"classes: {self.classes!r}; allowed: the Path of a TOML file, 'seed000', None")
        classes.load(self.classes)

    def _check_number(self, key: str, allowed: str, *, lowest_is_allowed: bool = False) -> None:
        value = getattr(self, key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or value < 0 or (value == 0 and not lowest_is_allowed):
            raise RequestError(f"{key}: {value!r}; allowed: {allowed}")

    def as_json(self) -> dict[str, Any]:
        """All settings as plain values, the class table by its path."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"classes": None if self.classes is None else str(self.classes)}


def safe_distance_m(speed_mps: float, settings: ImportanceSettings) -> float:
    """The distance in metres that a car needs to stop, at least `settings.d_safe_floor_m`.

    v * t_reaction + v^2 / (2 * a): reaction way and braking way, the textbook stopping distance; 2.5 s and 3.4 m/s^2
    are the values that AASHTO's "Green Book" sets for stopping sight distance. With `use_speed` off, v is 10 m/s.
    Raises JobError where the speed is not within 0..150 m/s, or the settings make the distance infinite.
    """
    speed = speed_mps if settings.use_speed else FALLBACK_SPEED_MPS
    low, high = ALLOWED_SPEED_MPS
    if not low <= speed <= high:  # NaN is not, either
        raise JobError(f"speed {speed!r} m/s: must be within {low}..{high}")
    distance = speed * settings.reaction_s + speed * speed / (2 * settings.deceleration_mps2)
    if not math.isfinite(distance):
        given = f"reaction_s {settings.reaction_s:g}, deceleration_mps2 {settings.deceleration_mps2:g}"
        raise JobError(f"{given}: make the safe distance infinite")
    return float(max(distance, settings.d_safe_floor_m))


def distance_importance(distance_m: ArrayLike, d_safe_m: float) -> NDArray[np.float64]:
    """Importance (same shape, float64, 0 to 1) of things at `distance_m` (metres, may be infinite).

    1 within the safe distance; beyond it halves with each further `d_safe_m`: exp(-ln 2 / d_safe * (d - d_safe)).
    So I(d_safe) = 1, I(2 d_safe) = 0.5, I(infinity) = 0. Raises ValueError unless `d_safe_m` is finite and above 0.
    """
    if not (math.isfinite(d_safe_m) and d_safe_m > 0):
        raise ValueError(f"d_safe_m {d_safe_m!r}: must be finite and above 0")
    beyond = np.maximum(np.asarray(distance_m, np.float64) - d_safe_m, 0.0)
    result: NDArray[np.float64] = np.exp(beyond * (-math.log(2) / d_safe_m))
    return result
