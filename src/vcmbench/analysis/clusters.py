"""Statistics of samples without the clusters (source images) of one unit, all at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.jackknife import Jackknife

_AT_ONCE = 2**21  # numbers in one array, which keeps all of them in tens of megabytes
_FLAT = 1e-12  # a variance of this share of that of all data is rounding

Array = NDArray[np.float64]


class ClusterJackknife(Jackknife):
    """A unit is a cluster, with all of its samples; `clusters` says to which each sample belongs.

    What its methods return has an entry for every row of its weights, (rows,).
    """

    def __init__(self, clusters: Sequence[Hashable], wanted: bool = True, what: str = "image") -> None:
        numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
        labels = np.array([numbers[cluster] for cluster in clusters], np.intp)
        super().__init__(range(len(numbers)), what, wanted)
        self._order = np.argsort(labels, kind="stable")
        self._labels = labels[self._order]
        self._starts = np.flatnonzero(np.diff(self._labels, prepend=-1))

    def pearson(self, x: Array, y: Array) -> Array:
        """Pearson's r of (n,) x and y without each unit, NaN where one of them is constant there."""
        x, y = ((values - values.mean()) / values.std() for values in (x, y))
        n, sum_x, sum_y, sum_xx, sum_yy, sum_xy = self._sums(
            np.column_stack([np.ones_like(x), x, y, x * x, y * y, x * y])
        ).T
        var_x, var_y = (sum_xx / n - (sum_x / n) ** 2, sum_yy / n - (sum_y / n) ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = (sum_xy / n - sum_x * sum_y / n**2) / np.sqrt(var_x * var_y)
        return np.where((var_x > _FLAT) & (var_y > _FLAT), np.clip(r, -1, 1), np.nan)

    def spearman(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Spearman's rank correlation without each unit, NaN where it is not defined.

        With it the ordered pairs that differ in x, times those that differ in y, which Kendall's tau-b needs.
        """
        groups = [_Groups(values[self._order]) for values in (x, y)]
        rho, differing = np.empty(len(self.weights)), np.empty(len(self.weights))
        for part, weights in self._weights():
            total = weights.sum(axis=1)
            (rank_x, pairs_x), (rank_y, pairs_y) = (group.ranks(weights, total) for group in groups)
            weighted = weights * rank_x
            cov = np.einsum("ij,ij->i", weighted, rank_y)
            var_x = np.einsum("ij,ij->i", weighted, rank_x)
            var_y = np.einsum("ij,ij,ij->i", weights, rank_y, rank_y)
            with np.errstate(invalid="ignore", divide="ignore"):
                rho[part] = cov / np.sqrt(var_x * var_y)
            differing[part] = pairs_x * pairs_y
        return rho, differing

    def kendall(self, x: Array, y: Array, differing: Array) -> Array:
        """Kendall's tau-b without each unit, NaN where it is not defined; `differing` is of `spearman`.

        Concordant less discordant pairs are a quadratic form in the weights of clusters, so the pairs of samples are
        looked at once and not once a unit: time goes with n * n. float32 is exact, all terms are whole and small.
        """
        x_rank, y_rank = (np.unique(v[self._order], return_inverse=True)[1].astype(np.int32) for v in (x, y))
        n = len(x_rank)
        balance, kept = np.zeros(len(self.weights)), self.weights.astype(np.float32)
        step = max(1, _AT_ONCE // max(n, len(self.weights)))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            signs = np.sign(x_rank[rows, None] - x_rank).astype(np.int8)
            signs *= np.sign(y_rank[rows, None] - y_rank).astype(np.int8)
            by_cluster = np.add.reduceat(signs, self._starts, axis=1, dtype=np.int32).astype(np.float32)
            products = (kept @ by_cluster.T) * kept[:, self._labels[rows]]
            balance += products.sum(axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return balance / np.sqrt(differing)

    def _sums(self, columns: Array) -> Array:
        """The sum of each of (n, k) columns without each unit, (rows, k)."""
        sums: Array = self.weights @ np.add.reduceat(columns[self._order], self._starts, axis=0)
        return sums

    def _weights(self) -> Iterator[tuple[slice, Array]]:
        """Which samples are in, for some of the rows, (some, n); samples in the order of their clusters."""
        step = max(1, _AT_ONCE // len(self._labels))
        for start in range(0, len(self.weights), step):
            part = slice(start, start + step)
            yield part, self.weights[part][:, self._labels]


class _Groups:
    """Samples that share a value, for ranks of weighted samples."""

    def __init__(self, values: Array) -> None:
        self._order = np.argsort(values, kind="stable")
        self._starts = np.flatnonzero(np.diff(values[self._order], prepend=-np.inf) > 0)
        self._of = np.unique(values, return_inverse=True)[1]

    def ranks(self, weights: Array, total: Array) -> tuple[Array, Array]:
        """Mean ranks less the middle one, (rows, n), and how many ordered pairs differ, (rows,)."""
        group = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        ranks = np.cumsum(group, axis=1) - (group + total[:, None]) / 2
        return ranks[:, self._of], total**2 - np.einsum("ij,ij->i", group, group)
