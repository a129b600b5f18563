"""Blocks whose accuracies are spread evenly: the sampling of A. Marie et al., QoMEX 2023, section III-E, in one pass.

The published algorithm, for each block: draw a stratum i of k; draw an image and a coding configuration, and among all
positions whose block has an accuracy in [i/k, (i+1)/k) (closed at 1) and no void pixel in the labels, draw one; where
there is none, draw another image and configuration, with the same i. Nor may a block hold a pixel that is void in the
prediction on the pristine picture: there is nothing to be right about, and whole pictures leave such pixels out, too.
So the accepted pair of image and configuration is uniform among the pairs that have such a block at all, the position
is uniform in the pair, and blocks are independent.

Here each pair is looked at once, in any order. For every block of the sample it draws a 64-bit number, and the block
goes to the pair with the smallest one of those that have its stratum: a uniform choice, independent for every block. A
pair's numbers come from the seed and the pair's place in the list, hence the blocks do not depend on threads.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.labels import VOID
from vcmbench.errors import JobError, RequestError
from vcmbench.measure.blocks.strata import MOST_STRATA, Mask, Strata, box_sums, strata_of

VERSION = 2
"""To be raised with every change of which blocks come out: it is part of the drawn blocks' keys."""


class NoBlocksError(RequestError):
    """What was asked for is not to be found in these pictures."""


Ids = NDArray[np.uint8]
Pair = tuple[str, str]
"""Image and coding configuration, by any names."""


@dataclass(frozen=True)
class Block:
    """A block of an image in a coding configuration, in px; `accuracy` is the share of pixels predicted alike."""

    image: str
    configuration: str
    x: int
    y: int
    width: int
    height: int
    accuracy: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.x, self.y, self.width, self.height


@dataclass(frozen=True)
class Sources:
    """Where pictures come from, (H, W) uint8 class ids; all are called from several threads at once.

    `pristine(image)` and `decoded(image, configuration)` are the predictions, 255 void; `void(image)` is a mask, (H, W)
    bool, of pixels that are void in the labels, or None where there are none. `pristine` and `void` are called once an
    image.
    """

    pristine: Callable[[str], Ids]
    decoded: Callable[[str, str], Ids]
    void: Callable[[str], Mask | None] | None = None


@dataclass(frozen=True)
class Sample:
    """The blocks; for each stratum how many pairs have one, (strata,); and what has to be said about them."""

    blocks: tuple[Block, ...]
    pairs_with: tuple[int, ...]
    notes: tuple[str, ...]


def sample(
    pairs: Sequence[Pair],
    sources: Sources,
    count: int,
    size: tuple[int, int],
    strata: int = 10,
    seed: int = 0,
    jobs: int | None = None,
    advance: Callable[[str], None] | None = None,
) -> Sample:
    """Draw `count` blocks of `size`, width and height in px, from the pairs, which are all equally likely.

    The same pairs in the same order with the same seed give the same blocks, whatever `jobs` (threads; None: one for
    each core). `advance` is called with the image of every finished pair. Memory does not grow with the pairs, beyond
    their list. A picture smaller than the block has none.

    Raises NoBlocksError where a stratum that was drawn is empty everywhere, RequestError where numbers make no sense,
    JobError where two predictions of a pair differ in size; what `sources` raise goes through.
    """
    width, height = size
    _check(pairs, count, width, height, strata, seed, jobs)
    draw = _Draw(count, width, height, strata, seed)
    pictures = _group(pairs, sources, draw)
    tasks = ((picture, index, configuration) for picture, found in pictures for index, configuration in found)
    _run(tasks, draw, _cores() if jobs is None else jobs, advance)
    draw.check(len(pairs))
    without = sum(1 for picture, _ in pictures if picture.labelled is False)
    notes = (_note(without, len(pictures)),) if without else ()
    return Sample(tuple(draw.blocks(pairs)), tuple(draw.pairs_with.tolist()), notes)


def _note(without: int, images: int) -> str:
    which = "no image has" if without == images else f"{without} of {images} images have no"
    return f"{which} labels: blocks there may hold void pixels, which the published sampling leaves out"


class _Draw:
    """The blocks of the sample and the best pair found so far for each. Threads share it."""

    def __init__(self, count: int, width: int, height: int, strata: int, seed: int) -> None:
        self.width, self.height, self.strata, self.seed = width, height, strata, seed
        self.stratum = np.random.default_rng([seed, 0]).integers(0, strata, count)
        self.lot = np.full(count, np.iinfo(np.uint64).max, np.uint64)
        self.pair = np.full(count, -1, np.int64)
        self.place = np.zeros((count, 3), np.int64)
        self.pairs_with = np.zeros(strata, np.int64)
        self.has_room = False
        self._lock = threading.Lock()

    def offer(self, pair: int, found: Strata) -> None:
        """Let one pair take the blocks for which it has drawn the smallest number."""
        counts = found.counts()
        rng = np.random.default_rng([self.seed, pair + 1])
        lot = rng.integers(0, np.iinfo(np.uint64).max, self.lot.size, np.uint64)
        rank = rng.integers(0, np.maximum(counts, 1)[self.stratum])
        with self._lock:
            self.has_room = True
            self.pairs_with += counts > 0
            candidates = np.flatnonzero(self._is_smaller(lot, pair) & (counts[self.stratum] > 0))
        place = self._places(found, candidates, rank)
        with self._lock:  # another pair may have come between
            taken = self._is_smaller(lot, pair)[candidates]
            won = candidates[taken]
            self.lot[won], self.pair[won], self.place[won] = lot[won], pair, place[taken]

    def _is_smaller(self, lot: NDArray[np.uint64], pair: int) -> Mask:
        """For which blocks the pair's number is the smallest; of equal ones the pair that comes first has it."""
        smaller: Mask = (lot < self.lot) | ((lot == self.lot) & (pair < self.pair))
        return smaller

    def _places(self, found: Strata, blocks: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.int64]:
        """x, y and the number of right pixels for these blocks of the sample, (n, 3)."""
        place = np.zeros((blocks.size, 3), np.int64)
        wanted = self.stratum[blocks]
        for stratum in np.unique(wanted):
            mine = wanted == stratum
            x, y = found.positions(int(stratum), rank[blocks[mine]])
            place[mine] = np.stack([x, y, found.right[y, x]], axis=1)
        return place

    def check(self, pairs: int) -> None:
        """Raises NoBlocksError where a stratum that was drawn is empty in all pairs."""
        size = f"{self.width}x{self.height} px"
        if not self.has_room:
            raise NoBlocksError(f"blocks of {size}: larger than every picture; take smaller ones")
        if not self.pairs_with.any():
            raise NoBlocksError(
                f"blocks of {size}: each would hold void pixels, of labels or predictions, in all {pairs} pairs of "
                "image and configuration; look at the labels (void is what has no class), or take smaller blocks"
            )
        missing = np.unique(self.stratum[self.pair < 0]).tolist()
        if missing:
            there = ", ".join(f"{self._range(i)} {self.pairs_with[i]}" for i in range(self.strata) if i not in missing)
            raise NoBlocksError(
                f"blocks of {size}: none of the {pairs} pairs of image and configuration has a block with an accuracy "
                f"in {' or '.join(map(self._range, missing))}; pairs that have the others: {there or 'none'}. "
                "Add configurations with other qualities, or take smaller blocks or fewer strata"
            )

    def _range(self, stratum: int) -> str:
        last = stratum == self.strata - 1
        return f"[{stratum / self.strata:g}, {(stratum + 1) / self.strata:g}{']' if last else ')'}"

    def blocks(self, pairs: Sequence[Pair]) -> Iterator[Block]:
        for pair, (x, y, right) in zip(self.pair.tolist(), self.place.tolist(), strict=True):
            yield Block(*pairs[pair], x, y, self.width, self.height, right / (self.width * self.height))


@dataclass
class _Picture:
    """What the pairs of one image share, read by the first of them and forgotten with the last."""

    image: str
    sources: Sources
    draw: _Draw
    left: int = 0
    labelled: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _read: tuple[Ids, Mask | None] | None = None

    def offer(self, index: int, configuration: str) -> None:
        """Read the pair's prediction and offer all of its blocks."""
        pristine, forbidden = self._shared()
        try:
            decoded = self.sources.decoded(self.image, configuration)
        except (OSError, ValueError) as error:
            raise JobError(f"{self.image}, {configuration}: the prediction cannot be read: {error}") from None
        if decoded.shape != pristine.shape:
            raise JobError(
                f"{self.image}, {configuration}: the prediction on the decoded picture has {_size(decoded)}, "
                f"that on the pristine one {_size(pristine)}; make both again"
            )
        draw = self.draw
        found = strata_of(decoded == pristine, draw.width, draw.height, draw.strata, forbidden)
        if found is not None:
            draw.offer(index, found)
        with self._lock:
            self.left -= 1
            if not self.left:
                self._read = None

    def _shared(self) -> tuple[Ids, Mask | None]:
        """The prediction on the pristine picture, and the positions where no block may be."""
        with self._lock:
            if self._read is None:
                pristine = self.sources.pristine(self.image)
                self._read = pristine, self._forbidden(pristine)
            return self._read

    def _forbidden(self, pristine: Ids) -> Mask | None:
        void = self.sources.void(self.image) if self.sources.void else None
        self.labelled = void is not None
        unseen = pristine == VOID
        if void is None:
            void = unseen
        if void.shape != pristine.shape:
            raise JobError(
                f"{self.image}: the labels have {_size(void)}, the prediction {_size(pristine)}; "
                "take the labels of this picture"
            )
        width, height = self.draw.width, self.draw.height
        if void.shape[0] < height or void.shape[1] < width:
            return None
        return box_sums(void | unseen, width, height) > 0


Task = tuple[_Picture, int, str]


def _group(pairs: Sequence[Pair], sources: Sources, draw: _Draw) -> list[tuple[_Picture, list[tuple[int, str]]]]:
    """The pairs by image, each with its index, so that what an image's pairs share is needed for a while only."""
    by_image: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for index, (image, configuration) in enumerate(pairs):
        by_image[image].append((index, configuration))
    return [(_Picture(image, sources, draw, len(found)), found) for image, found in by_image.items()]


def _run(tasks: Iterator[Task], draw: _Draw, jobs: int, advance: Callable[[str], None] | None) -> None:
    """All tasks on threads, a few waiting: reading a PNG, sums and counts leave Python to others."""
    with ThreadPoolExecutor(jobs) as pool:
        pending: dict[Future[None], str] = {}
        try:
            while True:
                while len(pending) < 2 * jobs and (task := next(tasks, None)) is not None:
                    picture, index, configuration = task
                    pending[pool.submit(picture.offer, index, configuration)] = picture.image
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    image = pending.pop(future)
                    future.result()
                    if advance is not None:
                        advance(image)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size(picture: NDArray[np.generic]) -> str:
    return f"{'x'.join(map(str, picture.shape[::-1]))} px"


def _check(
    pairs: Sequence[Pair], count: int, width: int, height: int, strata: int, seed: int, jobs: int | None
) -> None:
    whole: dict[str, tuple[int, int, int]] = {
        "count": (count, 1, 10**7), "width": (width, 1, 2**20), "height": (height, 1, 2**20),
        "strata": (strata, 1, MOST_STRATA), "seed": (seed, 0, 2**63), "jobs": (1 if jobs is None else jobs, 1, 1024),
    }  # fmt: skip
    for name, (value, least, most) in whole.items():
        if not least <= value <= most:
            raise RequestError(f"blocks: {name} {value} is out of range; {least} to {most} are possible")
    if not pairs:
        raise RequestError("blocks: there is no image in any configuration to draw from; run the predictions first")
    seen: set[Pair] = set()
    for pair in pairs:
        if pair in seen:
            raise RequestError(f"blocks: {pair[0]} in {pair[1]} is there twice and would be drawn twice as often")
        seen.add(pair)
