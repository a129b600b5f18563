"""How a network is run over pictures so that what comes out depends on nothing else than the picture.

On the CPU the last bits of a convolution depend on the number of threads and of pictures that it was given. So each
picture goes alone, on one thread, and several pictures at a time on threads of their own (which is faster, too). On a
GPU pictures of one size go in batches that are always full.

Two threads may call at a time, so that the network never waits for whoever calls: while it works for one, the pictures
of the other are made ready and lie in the queue, of the threads or of the GPU.
"""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError, VcmbenchError
from vcmbench.execution import gpu
from vcmbench.tasks.base import Device, Picture, check_pictures

if TYPE_CHECKING:
    import torch

Read = Callable[[Picture], "torch.Tensor"]
"""A picture as one input of the network, (C, H, W), on the CPU."""
Forward = Callable[[Any, "torch.Tensor"], "torch.Tensor"]
"""The network and a batch (N, C, H, W) on its device -> predictions (N, ..)."""


class Batching:
    """Runs `forward` of a network, which is moved to its place once."""

    at_once = 2

    def __init__(self, network: torch.nn.Module, read: Read, forward: Forward, place: Device) -> None:
        self._read, self._forward, self._place = read, forward, place
        self.network = network.eval().requires_grad_(False).to(place.device)
        self._local = threading.local()
        self._pool: ThreadPoolExecutor | None = None
        if place.device == "cpu":
            self._pool = self._start_threads(place.jobs)
        else:
            self._make_repeatable()

    @property
    def together(self) -> int:
        """How many pictures it looks at at a time."""
        return self._place.jobs if self._pool is not None else self._place.batch_size

    def _start_threads(self, count: int) -> ThreadPoolExecutor:
        import torch

        before = torch.get_num_threads()
        everyone_is_here = threading.Barrier(count)

        def begin() -> None:
            torch.set_num_threads(1)
            self._local.network = twin(self.network)

        pool = ThreadPoolExecutor(count, "vcmbench-task", begin)
        list(pool.map(lambda _: everyone_is_here.wait(), range(count)))
        torch.set_num_threads(before)  # the setting reaches beyond the threads that made it
        return pool

    def _make_repeatable(self) -> None:
        import torch

        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True

    def run(self, images: Sequence[Picture]) -> list[NDArray[Any]]:
        """One prediction a picture, in order. Raises JobError where the network cannot take one."""
        check_pictures(images)
        if self._pool is not None:
            return list(self._pool.map(self._alone, images))
        found: dict[int, NDArray[Any]] = {}
        for batch in _of_equal_size(images, self._place.batch_size):
            found.update(zip(batch, self._together([images[i] for i in batch]), strict=True))
        return [found[i] for i in range(len(images))]

    def _alone(self, image: Picture) -> NDArray[Any]:
        with complaints(image):
            alone: NDArray[Any] = self._call(self._local.network, self._read(image)[None])[0]
        return alone

    def _together(self, images: list[Picture]) -> NDArray[Any]:
        import torch

        with complaints(images[0]):
            batch = torch.stack([self._read(image) for image in images])
            # a batch of another length may be computed by another algorithm
            short = self._place.batch_size - len(images)
            batch = torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])])
            return self._call(self.network, batch)[: len(images)]

    def _call(self, network: torch.nn.Module, batch: torch.Tensor) -> NDArray[Any]:
        import torch

        kind = self._place.device.split(":")[0]
        with torch.inference_mode(), torch.autocast(kind, torch.float16, enabled=self._place.is_mixed):
            if kind == "cuda":
                batch = batch.pin_memory()  # from there it is copied while the batch before is still looked at
            # a GPU is only told here what to do: it does it while the next ones are made ready
            with nullcontext() if kind == "cpu" else gpu.turn:
                found = self._forward(network, batch.to(self._place.device, non_blocking=True))
            result: NDArray[Any] = found.cpu().numpy()
        return result

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def twin(network: torch.nn.Module) -> Any:
    """A copy for one thread, on the same weights: some networks keep notes of a call in themselves."""
    shared = itertools.chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared})


def _of_equal_size(images: Sequence[Picture], length: int) -> Iterator[list[int]]:
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(i)
    for members in by_shape.values():
        for start in range(0, len(members), length):
            yield members[start : start + length]


@contextmanager
def complaints(image: Picture) -> Iterator[None]:
    """Whatever a network raises over a picture becomes a JobError that says the picture's size."""
    try:
        yield
    except (VcmbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        advice = ""
        if "out of memory" in reason or "allocate memory" in reason:
            advice = "; give it less at a time (batch_size on a GPU, --jobs on the CPU)"
        size = f"{image.shape[1]}x{image.shape[0]} px"
        raise JobError(f"the network cannot take a picture of {size}: {reason}{advice}") from error


def as_chw(image: Picture) -> torch.Tensor:
    """(H, W, 3) uint8 as a tensor (3, H, W) with the colours the other way round (B, G, R), as OpenCV reads them."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
