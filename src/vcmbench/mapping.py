"""A picture's importance on its way to the quantisers of one job: read, made a QP map, and put into steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vcmbench import importance, qpmap
from vcmbench.coding import CodingConfiguration, ImportanceSource
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.frames import resize_area
from vcmbench.errors import JobError, RequestError
from vcmbench.importance.inputs import files_of
from vcmbench.job import Geometry

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

VERSION = 1
"""To be raised with every change of what a map makes of a picture: it is part of the jobs' keys."""


@dataclass(frozen=True)
class Importance:
    """A picture's importance map, (H, W) float32 in [0, 1], and what there is to note about it."""

    values: F32
    notes: tuple[str, ...]


def digest(data: DataRoot, source: Source, wanted: ImportanceSource) -> str:
    """What the importance of a picture depends on, as one hash for the job's key. Nothing is decoded."""
    if wanted.source == "labels":
        return importance.inputs_digest(data, source, wanted.settings)
    path = importance.importance_path(data, source)
    try:
        return Source(source.name, path).sha256()
    except OSError:  # what lies there and is no map is told when it is read
        return "missing"


def main_file(data: DataRoot, source: Source, wanted: ImportanceSource) -> Path:
    """The file without which a picture has no importance: its labels, or its map."""
    if wanted.source == "files":
        return importance.importance_path(data, source)
    return files_of(data, source).labels


def read(data: DataRoot, source: Source, wanted: ImportanceSource, width: int, height: int) -> Importance:
    """The importance of a picture of that size. Raises JobError with the file and what is wrong with it."""
    if wanted.source == "labels":
        found = importance.read_importance(data, source, wanted.settings)
        result = Importance(found.values, found.notes)
        where = f"labels of {source.name}"
    else:
        path = importance.importance_path(data, source)
        result, where = Importance(_read_file(path), ()), str(path)
    if result.values.shape != (height, width):
        rows, columns = result.values.shape
        raise JobError(f"{where}: importance is {columns}x{rows} px, the picture {width}x{height} px")
    return result


def _read_file(path: Path) -> F32:
    try:
        return qpmap.load_importance(path)
    except RequestError as error:
        raise JobError(str(error)) from None


def block_steps(values: F32, coding: CodingConfiguration, geometry: Geometry, base: int = 0) -> F64:
    """The user's map as the CSV of `vcmbench qpmap` has it, minus its base: whole steps, (rows, columns) of
    `block_size` coded pixels. What lies in the padding counts as its block's other pixels do."""
    # rounded with the base, as there: where a QP ends on a half, the even one is taken
    wanted = coding.qp_map
    if wanted is None:
        raise JobError("internal error: a job without a QP map was asked for one")
    scaled = resize_area(values, geometry.scaled_width, geometry.scaled_height)
    means = qpmap.block_means(scaled, wanted.block_size)
    steps = np.rint(base + qpmap.qp_offsets(means, wanted.delta, wanted.scaling, wanted.gamma)) - base
    rows, columns = -(-geometry.clip.height // wanted.block_size), -(-geometry.clip.width // wanted.block_size)
    return np.pad(steps, ((0, rows - steps.shape[0]), (0, columns - steps.shape[1])), mode="edge")


def pixel_steps(values: F32, coding: CodingConfiguration, geometry: Geometry) -> F32:
    """The steps that each coded pixel would have for itself, not rounded, (H, W); "minmax" stretches as the blocks' map
    does."""
    wanted = coding.qp_map
    if wanted is None:
        raise JobError("internal error: a job without a QP map was asked for one")
    scaled = resize_area(values, geometry.scaled_width, geometry.scaled_height)
    if wanted.scaling == "minmax":
        means = qpmap.block_means(scaled, wanted.block_size)
        span = float(np.ptp(means))
        scaled = np.clip((scaled - float(means.min())) / span, 0, 1) if span else np.zeros_like(scaled)
    steps = wanted.delta - 2 * wanted.delta * scaled ** np.float32(wanted.gamma)
    below, beside = geometry.clip.height - steps.shape[0], geometry.clip.width - steps.shape[1]
    return np.pad(steps.astype(np.float32), ((0, below), (0, beside)), mode="edge")


def frame_steps(pictures: list[F32], coding: CodingConfiguration) -> list[float]:
    """One step count a picture, from its mean importance; "minmax" stretches over the pictures of a stack."""
    wanted = coding.qp_map
    if wanted is None:
        raise JobError("internal error: a job without a QP map was asked for one")
    means = np.array([[float(values.mean(dtype=np.float64)) for values in pictures]])
    offsets = qpmap.qp_offsets(means, wanted.delta, wanted.scaling, wanted.gamma)
    return [float(offset) for offset in offsets[0]]
