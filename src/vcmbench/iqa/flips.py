"""The metric that asks a network, before anything is coded, how sure it is of its answers."""

from __future__ import annotations

import numpy as np
import torch

from vcmbench.iqa.batch import Batch


def mean(batch: Batch) -> torch.Tensor:
    """The share of pixels whose answer is expected to flip, (N,)."""
    if batch.flips is None:
        raise ValueError("no network was asked")
    return torch.tensor([float(np.mean(one, dtype=np.float64)) for one in batch.flips], dtype=torch.float64)
