"""What is known of a pristine picture: its labels, how far things are, and how much they matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vcmbench import labels
from vcmbench.dataset import DataRoot, Source
from vcmbench.errors import JobError
from vcmbench.importance import ImportanceSettings
from vcmbench.importance.inputs import Inputs, digest_of_files, files_of, read_inputs
from vcmbench.importance.objects import distances_m
from vcmbench.importance.reading import compute

VERSION = 1
"""To be raised with every change of what is made of the files: it is part of the scores' keys."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Of one picture: train ids (H, W) uint8, 255 void; distance (H, W) float32 in metres, NaN where not measured;
    importance (H, W) float32 in [0, 1]; which pixels are void, black in Cityscapes' colours, (H, W) bool. None where
    not known; `notes` says why, by name."""

    train_ids: NDArray[np.uint8] | None = None
    distance_m: NDArray[np.float32] | None = None
    importance: NDArray[np.float32] | None = None
    void: NDArray[np.bool_] | None = None
    notes: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _is_black() -> NDArray[np.bool_]:
    black: NDArray[np.bool_] = (labels.color_lut() == 0).all(axis=1)
    return black


def digest(data: DataRoot, source: Source) -> str:
    """SHA-256 (hex) of all that decides a picture's truth, for keys. Raises JobError where a file cannot be read."""
    if not data.is_cityscapes:
        return "none"
    files = files_of(data, source)
    named = {"labels": files.labels, "instances": files.instances, "disparity": files.disparity,
             "camera": files.camera, "vehicle": files.vehicle}  # fmt: skip
    return digest_of_files(f"truth {VERSION}", named.items())


def read(data: DataRoot, source: Source) -> Truth:
    """The truth of a picture, as far as its files go. Raises JobError where one is there and cannot be used."""
    if not data.is_cityscapes:
        return Truth(notes={"labels": "a flat folder of images has none", "importance": "needs labels"})
    files = files_of(data, source)
    if not files.labels.is_file():
        return Truth(notes={"labels": f"no {files.labels.name}", "importance": "needs labels"})
    if not files.disparity.is_file() or not files.instances.is_file():
        lacking = files.instances if files.disparity.is_file() else files.disparity
        plain = read_inputs(files, ImportanceSettings(use_distance=False))
        return _of(plain, None, None, {"importance": f"no {lacking.name}", "distance": f"no {lacking.name}"})
    settings = ImportanceSettings()
    inputs = read_inputs(files, settings)
    return _of(inputs, compute(files, inputs, settings).values, _distance_m(inputs), {})


def _of(
    inputs: Inputs, values: NDArray[np.float32] | None, distance: NDArray[np.float32] | None, notes: dict[str, str]
) -> Truth:
    ids = inputs.labels.astype(np.uint8, copy=False)
    return Truth(labels.train_ids(ids), distance, values, _is_black()[ids], notes)


def _distance_m(inputs: Inputs) -> NDArray[np.float32]:
    """Distance of every pixel; NaN where the disparity was not measured (raw 0)."""
    if inputs.disparity is None:
        raise JobError("internal error: distances were asked for without a disparity")
    table = distances_m(inputs.fx_px * inputs.baseline_m).astype(np.float32)
    table[0] = np.nan
    found: NDArray[np.float32] = table[inputs.disparity]
    return found
