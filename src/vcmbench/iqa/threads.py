"""Work side by side on a CPU.

torch shares the work of each operation out between cores and waits for the last of them. With operations of a tenth of
a millisecond the waiting costs more than the work, and many times more where other programs want the cores, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


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
