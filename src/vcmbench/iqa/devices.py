"""Where metrics are computed: a device that is there, and on a CPU small work side by side.

torch shares the work of each operation out between cores and waits for the last of them. With operations of a tenth of
a millisecond the waiting costs more than the work, and many times more where other programs want the cores, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vcmbench.errors import RequestError
from vcmbench.execution import gpu
from vcmbench.iqa.batch import Batch

T = TypeVar("T")


def open_device(name: str) -> torch.device:
    """A device that is there. Raises RequestError."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RequestError(f"device {name!r}: is none; use cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(f"device {name!r}: {torch.cuda.device_count()} CUDA devices were found; use cpu")
    if device.type not in ("cpu", "cuda"):
        raise RequestError(f"device {name!r}: only cpu and cuda are used")
    return device


def compute(function: Callable[[Batch], torch.Tensor], batch: Batch) -> NDArray[np.float64]:
    """A metric's values of a batch, (N,). Raises MemoryError, ValueError where there are not N, and what it raises."""
    try:
        with torch.inference_mode():
            with _exact(batch.device):
                scores = function(batch)
            found: NDArray[np.float64] = torch.as_tensor(scores).double().cpu().numpy()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise MemoryError(str(error)) from None
        raise
    if found.shape != (batch.size,):
        raise ValueError(f"gives {found.shape} values for {batch.size} pictures")
    return found


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """On a GPU without the short floats that convolutions would take there: they have three digits."""
    if device.type != "cuda":
        yield
        return
    with gpu.turn, torch.backends.cudnn.flags(allow_tf32=False):
        yield


def side_by_side(work: Callable[[T], None], items: Sequence[T], threads: int | None = None) -> None:
    """Call `work` for each item in as many threads (None: as torch has), in which torch has one each.

    The setting is the process's: it holds for others meanwhile, and is put back.
    """
    before = torch.get_num_threads()
    count = min(threads or before, len(items))
    inferring = torch.is_inference_mode_enabled()  # which is known to this thread alone

    def one(item: T) -> None:
        with torch.inference_mode(inferring):
            work(item)

    torch.set_num_threads(1)
    try:
        if count > 1:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(one, items))
        else:
            for item in items:
                work(item)
    finally:
        torch.set_num_threads(before)
