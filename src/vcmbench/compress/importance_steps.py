"""A picture's importance on its way to the quantisers of one job: read, made a QP map, and put into steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress.job import Geometry
from vcmbench.data.frames import resize_area
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import JobError
from vcmbench.importance import qp_map

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

VERSION = 2
"""To be raised with every change of what a map makes of a picture: it is part of the jobs' keys."""


def block_steps(values: F32, coding: CodingConfiguration, geometry: Geometry, base: int = 0) -> F64:
    """The user's map as the CSV of `vcmbench qpmap` has it, minus its base: whole steps, (rows, columns) of
    `block_size` coded pixels. What lies in the padding counts as its block's other pixels do."""
    wanted = coding.qp_map
    if wanted is None:
        raise JobError("internal error: a job without a QP map was asked for one")
    scaled = resize_area(values, geometry.scaled_width, geometry.scaled_height)
    means = qp_map.block_means(scaled, wanted.block_size)
    steps = (qp_map.whole_qps(means, base, wanted.delta, wanted.scaling, wanted.gamma) - base).astype(np.float64)
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
        means = qp_map.block_means(scaled, wanted.block_size)
        span = float(np.ptp(means))
        scaled = np.clip((scaled - float(means.min())) / span, 0, 1) if span else np.zeros_like(scaled)
    steps = wanted.delta - 2 * wanted.delta * scaled ** np.float32(wanted.gamma)
    below, beside = geometry.clip.height - steps.shape[0], geometry.clip.width - steps.shape[1]
    return np.pad(steps.astype(np.float32), ((0, below), (0, beside)), mode="edge")


def frame_steps(pictures: list[F32], coding: CodingConfiguration, base: int | None = None) -> list[float]:
    """One step count a picture, from its mean importance; "minmax" stretches over the pictures of a stack. With a
    `base`, whole steps from it, rounded as those of blocks."""
    wanted = coding.qp_map
    if wanted is None:
        raise JobError("internal error: a job without a QP map was asked for one")
    means = np.array([[float(values.mean(dtype=np.float64)) for values in pictures]])
    curve = wanted.delta, wanted.scaling, wanted.gamma
    offsets = qp_map.qp_offsets(means, *curve) if base is None else qp_map.whole_qps(means, base, *curve) - base
    return [float(offset) for offset in offsets[0]]
