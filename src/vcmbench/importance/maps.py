"""Importance of every pixel from labels, instances, disparity and speed. Arrays in, arrays out.

Distance and importance are functions of the 16-bit disparity alone, so they are tables of 65536 entries, and only the
pixels of objects are ever touched one by one: a 2048x1024 picture takes some ten milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError
from vcmbench.importance import classes
from vcmbench.importance.classes import Classes
from vcmbench.importance.objects import F32, LEVELS, U8, U16, ObjectDistance, Objects, distances_m, owner_table
from vcmbench.importance.settings import (
    ALLOWED_BASELINE_M,
    ALLOWED_FX_PX,
    FALLBACK_SPEED_MPS,
    ImportanceSettings,
    safe_distance_m,
)

_NUMBERED = 1000  # from here on instance ids are label_id * 1000 + n


class BadArray(JobError):
    """An array that cannot be used; `part` says which: labels, instances or disparity."""

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part}: {message}")
        self.part, self.message = part, message


@dataclass(frozen=True, eq=False)
class ImportanceMap:
    """`values` (H, W) float32 in [0, 1]; the safe distance in metres; the objects; what was not as it should be."""

    values: F32
    d_safe_m: float
    objects: tuple[ObjectDistance, ...] = ()
    notes: tuple[str, ...] = ()


def importance_map(
    label_ids: NDArray[Any],
    instance_ids: NDArray[Any] | None,
    disparity_raw: NDArray[Any] | None,
    fx_px: float,
    baseline_m: float,
    speed_mps: float,
    settings: ImportanceSettings | None = None,
    *,
    by_name: bool = False,
) -> ImportanceMap:
    """How much each pixel of a driving scene matters.

    `label_ids` (H, W) integers, Cityscapes ids; `instance_ids` (H, W) integers, label_id * 1000 + n, or the label id
    where instances are not told apart (may be None with `aggregate="class"`); `disparity_raw` (H, W) integers 0..65535
    as in Cityscapes: 256 * disparity in pixels + 1, 0 where not measured; `fx_px` focal length in pixels, 1..1e6;
    `baseline_m` of the stereo camera, 0.001..100; `speed_mps` of the car, 0..150. With `use_distance` off instances and
    disparity may be None.

    `by_name` are ids that were looked up in the class table, and cannot be train ids by mistake.

    Distance is fx * baseline / disparity, raw 1 is infinitely far; docs/importance.md has every rule. Raises JobError
    where arrays differ in size, ids are unknown, no disparity is valid, or a number is out of its range; RequestError
    where the class table of the settings cannot be used.
    """
    settings = settings or ImportanceSettings()
    table = classes.load(settings.classes)
    d_safe = safe_distance_m(speed_mps, settings)
    labels = _labels(label_ids, table, by_name=by_name)
    values: F32 = np.take(_class_values(table, settings), labels)
    if not settings.use_distance:
        return ImportanceMap(values, d_safe)
    _check_range("fx", fx_px, "px", ALLOWED_FX_PX)
    _check_range("baseline", baseline_m, "m", ALLOWED_BASELINE_M)
    disparity = _sixteen_bits("disparity", disparity_raw, labels.shape)
    if not disparity.any():
        raise BadArray("disparity", "no pixel is valid (all are 0)")
    distances = distances_m(fx_px * baseline_m)
    kinds = np.take(table.kinds, labels).ravel()
    at = np.flatnonzero(kinds == classes.DISTANCE)
    groups = _groups(labels, instance_ids, at, table, settings)
    objects = Objects(groups, disparity.ravel()[at], distances, d_safe)
    flat = values.ravel()
    flat[at] = objects.pixel_values() if settings.aggregate == "pixel" else objects.importance[groups]
    stuff = None
    if not settings.use_class:
        at = np.flatnonzero(kinds == classes.FIXED)
        stuff = Objects(labels.ravel()[at].astype(np.uint16), disparity.ravel()[at], distances, d_safe)
        flat[at] = stuff.pixel_values()
    notes = _speed_notes(speed_mps, d_safe, settings) + objects.notes("objects")
    if stuff is not None:
        notes += stuff.notes("classes without instances")
    return ImportanceMap(values, d_safe, objects.listed(table), notes)


def _check_range(name: str, value: float, unit: str, allowed: tuple[float, float]) -> None:
    low, high = allowed
    if not low <= value <= high:  # NaN is not, either
        raise JobError(f"{name} {value!r} {unit}: must be within {low}..{high}")


def _class_values(table: Classes, settings: ImportanceSettings) -> F32:
    """Importance (256,) of every id before distances are looked at."""
    values = table.values.copy()
    if not settings.use_distance:
        values[table.kinds == classes.DISTANCE] = 1.0
        if not settings.use_class:
            values[table.kinds == classes.FIXED] = 1.0
    return values


def _labels(label_ids: NDArray[Any], table: Classes, *, by_name: bool) -> U8:
    """Labels as 8-bit ids, -1 as 255. Raises BadArray where an id is not in the table."""
    if label_ids.ndim != 2 or not label_ids.size or label_ids.dtype.kind not in "ui":
        raise BadArray("labels", f"must be integers (H, W), are {label_ids.dtype} {label_ids.shape}")
    if not by_name and (reason := classes.wrong_ids(label_ids, table)):
        raise BadArray("labels", reason)
    return np.ascontiguousarray(label_ids.astype(np.uint8, copy=False))


def _sixteen_bits(part: str, array: NDArray[Any] | None, shape: tuple[int, ...]) -> U16:
    """An array as uint16; -1 becomes 65535. Raises BadArray where it is missing or does not fit."""
    if array is None:
        raise BadArray(part, "needed and not given")
    if array.shape != shape:
        found, wanted = ("x".join(map(str, size[::-1])) for size in (array.shape, shape))
        raise BadArray(part, f"is {found} px, the labels are {wanted} px")
    if array.dtype == np.uint16:
        return array
    lowest = -1 if part == "instances" else 0
    if array.dtype.kind not in "ui" or array.min() < lowest or array.max() >= LEVELS:
        raise BadArray(part, f"must be integers {lowest}..65535, is {array.dtype} {array.min()}..{array.max()}")
    return array.astype(np.uint16)


def _groups(
    labels: U8, instance_ids: NDArray[Any] | None, at: NDArray[np.intp], table: Classes, settings: ImportanceSettings
) -> U16:
    """To which object each of the pixels `at` belongs: its instance id, or its label id where a class is one object."""
    own = labels.ravel()[at]
    if settings.aggregate == "class":
        return own.astype(np.uint16)
    everywhere = _sixteen_bits("instances", instance_ids, labels.shape)
    groups = everywhere.ravel()[at]
    owners = owner_table()
    # what is numbered, and all of a distance class, must lie on that class; what else has no instances may say anything
    is_object = (np.arange(LEVELS) >= _NUMBERED) | (table.kinds[owners] == classes.DISTANCE)
    is_object[LEVELS - 1] = False  # -1
    strays = np.flatnonzero(is_object[everywhere] & (owners[everywhere] != labels))
    wrong = np.union1d(at[owners[groups] != own], strays)
    if wrong.size:
        first = wrong[0]
        raise BadArray(
            "instances",
            f"{wrong.size} pixels are of another class than their labels, as {everywhere.flat[first]} on "
            f"{labels.flat[first]}",
        )
    return groups


def _speed_notes(speed_mps: float, d_safe_m: float, settings: ImportanceSettings) -> tuple[str, ...]:
    if not settings.use_speed:
        return (f"speed not used: {FALLBACK_SPEED_MPS:g} m/s for every picture",)
    if d_safe_m == settings.d_safe_floor_m:
        return (f"at {speed_mps:g} m/s the safe distance is its floor, {d_safe_m:g} m",)
    return ()
