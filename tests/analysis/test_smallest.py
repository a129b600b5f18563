"""The race for the smallest coding, held against a search that tries everything."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vcmbench.analysis.smallest import race
from vcmbench.errors import JobError


@pytest.mark.parametrize("seed", range(60))
def test_the_last_that_is_in_is_the_smallest_of_all_that_lose_little(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 30, rng.integers(1, 6)).tolist()
    sizes = [np.cumsum(rng.integers(1, 50, count))[::-1] + int(rng.integers(1, 500)) for count in counts]
    losses = [np.cumsum(rng.exponential(1, count)) for count in counts]
    within = float(rng.uniform(0, 10))
    asked: Counter[tuple[int, int]] = Counter()

    def loss(family: int, step: int) -> float:
        asked[family, step] += 1
        return float(losses[family][step])

    found = race(counts, lambda family, step: int(sizes[family][step]), loss, within)
    allowed = {family: own[losses[family] <= within].min() for family, own in enumerate(sizes)
               if (losses[family] <= within).any()}  # fmt: skip
    smallest = [one for one in found if one.is_in]
    assert bool(smallest) == bool(allowed)
    if smallest:
        assert smallest[-1].size_bytes == min(allowed.values())
        assert [one.size_bytes for one in smallest] == sorted({one.size_bytes for one in smallest}, reverse=True)
        assert all(one.loss is not None and one.loss <= within for one in smallest)
    for family, count in enumerate(counts):  # most of what could be asked is not
        assert sum(key[0] == family for key in asked) <= 3 + np.log2(count)


def test_a_coding_that_fails_leaves_and_the_others_race_on() -> None:
    def size(family: int, step: int) -> int:
        if family == 1:
            raise JobError("no such tool")
        return 100 - 10 * family - step

    found = race([3, 3, 3], size, lambda family, step: float(step), 1.5)
    assert [(one.is_in, one.step) for one in found] == [(True, 1), (False, None), (True, 1)]
    assert found[1].verdict == "failed: no such tool"
