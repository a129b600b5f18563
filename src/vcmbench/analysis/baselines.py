"""What stands beside metrics: where a block lies in its picture, and all metrics taken together.

Both are ridge regressions of ranks on ranks whose slopes have not seen the unit (a picture, with all of its samples)
that they speak of. The intercept is one for all: the mean of the other units alone would fall where a unit's own is
high, and turn what is worth nothing into a negative correlation. Columns are standardised, the penalty is 1.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

POSITION = "position alone"
TOGETHER = "all metrics together"
PENALTY = 1.0
_DEGREE = 3  # of the polynomial of x and y: a horizon and two sides have as many turns

Array = NDArray[np.float64]


def predictions(
    metrics: Mapping[str, Array], machine: Array, units: Sequence[Hashable], places: Array | None = None
) -> dict[str, Array]:
    """For each baseline that can be had, what it predicts of (n,) samples.

    `metrics` are (n,) each; those that lack a sample, or never differ, are left out, and of fewer than two there is
    nothing together. `places` is (n, 2), the x and y of blocks in px. There is nothing at all of one unit.
    """
    if len(set(units)) < 2:
        return {}
    usable = [ranks(scores) for scores in metrics.values() if not np.isnan(scores).any() and np.ptp(ranks(scores)) > 0]
    machine = ranks(machine)
    found = {}
    if len(usable) > 1:
        found[TOGETHER] = unseen(np.column_stack(usable), machine, units)
    if places is not None and np.isfinite(places).all() and np.ptp(places, axis=0).any():
        found[POSITION] = unseen(_polynomial(places), machine, units)
    return found


def ranks(values: Array) -> Array:
    """From 0, ties at their mean: infinite values are the ends, and no outlier bends a line."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2.0


def unseen(columns: Array, machine: Array, units: Sequence[Hashable]) -> Array:
    """What a ridge regression on (n, k) columns predicts of the (n,) machine scores, up to one constant: each unit's by
    slopes from the others.

    Sums over all samples less those of the unit are what a fit without it needs: no sample is looked at twice.
    """
    numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    own = np.array([numbers[unit] for unit in units])
    spread = columns.std(axis=0)
    x = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1)
    table = np.column_stack([np.ones(len(x)), x, machine])
    products = table.T @ table
    predicted = np.empty(len(x))
    for number in range(len(numbers)):
        mine = own == number
        predicted[mine] = x[mine] @ _slopes(products - table[mine].T @ table[mine])
    return predicted


def _slopes(products: Array) -> Array:
    """Of ridge, (k,), from the (k + 2, k + 2) sums of products of 1, the columns, and the machine's score. The penalty
    is on columns that are standardised among the samples of the fit; the intercept has none."""
    n, means = products[0, 0], products[0, 1:] / products[0, 0]
    centred = products[1:, 1:] - n * np.outer(means, means)
    scale = np.sqrt(np.maximum(np.diag(centred)[:-1] / n, 1e-24))
    gram = centred[:-1, :-1] / np.outer(scale, scale) + PENALTY * np.eye(len(scale))
    slopes: Array = np.linalg.solve(gram, centred[:-1, -1] / scale) / scale
    return slopes


def _polynomial(places: Array) -> Array:
    """All products of powers of x and y up to the degree, both scaled to -1..1; without the constant."""
    low, high = places.min(axis=0), places.max(axis=0)
    x, y = (2 * (places - low) / np.where(high > low, high - low, 1) - 1).T
    return np.column_stack([x**i * y**j for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i) if i + j])
