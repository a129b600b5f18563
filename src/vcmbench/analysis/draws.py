"""Bootstrap resamples of clusters (source images), all at once: a resample is how often each cluster was drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.estimate import too_few
from vcmbench.errors import RequestError

_FEWEST_RESAMPLES, _MOST_RESAMPLES = 100, 20_000
_AT_ONCE = 2**21  # numbers in one array, which keeps all of them in tens of megabytes
_FLAT = 1e-12  # a variance of this share of that of all data is rounding

Array = NDArray[np.float64]


def check_resamples(resamples: int) -> None:
    """Raises RequestError for a number of resamples that makes no intervals, or takes too much memory."""
    if resamples and not _FEWEST_RESAMPLES <= resamples <= _MOST_RESAMPLES:
        raise RequestError(
            f"{resamples} resamples: 0 (no intervals) or {_FEWEST_RESAMPLES}..{_MOST_RESAMPLES} are possible"
        )


class Draws:
    """`resamples` draws, each of as many clusters as there are, with replacement, as (resamples, clusters) `counts`.

    The seed decides them, so two of the same arguments are the same draws. `resamples` is 0 or 100..20000; raises
    RequestError for another number. Where there are none, or too few clusters, `counts` is (0, clusters), and `lacking`
    says why.
    """

    def __init__(self, clusters: int, resamples: int, seed: int | Sequence[int], what: str) -> None:
        check_resamples(resamples)
        self.clusters = clusters
        self.lacking = too_few(clusters, what) if resamples else "no bootstrap was asked for"
        self.resamples = 0 if self.lacking else resamples
        shares = np.full(clusters, 1 / max(clusters, 1))
        # float64, because sums of pixels are whole numbers that float32 cannot hold
        self.counts = np.random.default_rng(seed).multinomial(clusters, shares, self.resamples).astype(np.float64)


class ClusterDraws(Draws):
    """Draws of clusters, each of which comes with all of its samples.

    `labels`, (n,) from 0 to clusters - 1, says to which cluster each sample belongs.
    """

    def __init__(self, labels: NDArray[np.intp], resamples: int, seed: int | Sequence[int]) -> None:
        super().__init__(int(labels.max(initial=-1)) + 1, resamples, seed, "cluster")
        self._order = np.argsort(labels, kind="stable")
        self._labels = labels[self._order]
        self._starts = np.flatnonzero(np.diff(self._labels, prepend=-1))

    def mean(self, values: Array) -> Array:
        """The mean of (n,) values in every resample, (resamples,)."""
        sums = self._sums(np.column_stack([np.ones_like(values), values]))
        mean: Array = sums[:, 1] / sums[:, 0]
        return mean

    def pearson(self, x: Array, y: Array) -> Array:
        """Pearson's r of (n,) x and y in every resample, (resamples,), NaN where one of them is constant there."""
        x, y = ((values - values.mean()) / values.std() for values in (x, y))
        n, sum_x, sum_y, sum_xx, sum_yy, sum_xy = self._sums(
            np.column_stack([np.ones_like(x), x, y, x * x, y * y, x * y])
        ).T
        var_x, var_y = (sum_xx / n - (sum_x / n) ** 2, sum_yy / n - (sum_y / n) ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = (sum_xy / n - sum_x * sum_y / n**2) / np.sqrt(var_x * var_y)
        return np.where((var_x > _FLAT) & (var_y > _FLAT), np.clip(r, -1, 1), np.nan)

    def spearman(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Spearman's rank correlation in every resample, (resamples,), NaN where it is not defined.

        With it the ordered pairs that differ in x, times those that differ in y, which Kendall's tau-b needs.
        """
        groups = [_Groups(values[self._order]) for values in (x, y)]
        rho, differing = np.empty(self.resamples), np.empty(self.resamples)
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
        """Kendall's tau-b in every resample, (resamples,), NaN where it is not defined; `differing` is of `spearman`.

        Concordant less discordant pairs are a quadratic form in the counts of clusters, so the pairs of samples are
        looked at once and not once a resample: time goes with n * n. float32 is exact, all terms are whole and small.
        """
        x_rank, y_rank = (np.unique(v[self._order], return_inverse=True)[1].astype(np.int32) for v in (x, y))
        n = len(x_rank)
        balance, counts = np.zeros(self.resamples), self.counts.astype(np.float32)
        step = max(1, _AT_ONCE // max(n, self.resamples))
        for start in range(0, n, step):
            rows = slice(start, start + step)
            signs = np.sign(x_rank[rows, None] - x_rank).astype(np.int8)
            signs *= np.sign(y_rank[rows, None] - y_rank).astype(np.int8)
            by_cluster = np.add.reduceat(signs, self._starts, axis=1, dtype=np.int32).astype(np.float32)
            products = (counts @ by_cluster.T) * counts[:, self._labels[rows]]
            balance += products.sum(axis=1, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            return balance / np.sqrt(differing)

    def _sums(self, columns: Array) -> Array:
        """The sum of each of (n, k) columns in every resample, (resamples, k)."""
        sums: Array = self.counts @ np.add.reduceat(columns[self._order], self._starts, axis=0)
        return sums

    def _weights(self) -> Iterator[tuple[slice, Array]]:
        """How often each sample is in each of some resamples, (some, n); samples in the order of their clusters."""
        step = max(1, _AT_ONCE // len(self._labels))
        for start in range(0, self.resamples, step):
            part = slice(start, start + step)
            yield part, self.counts[part][:, self._labels]


class _Groups:
    """Samples that share a value, for ranks of weighted samples."""

    def __init__(self, values: Array) -> None:
        self._order = np.argsort(values, kind="stable")
        self._starts = np.flatnonzero(np.diff(values[self._order], prepend=-np.inf) > 0)
        self._of = np.unique(values, return_inverse=True)[1]

    def ranks(self, weights: Array, total: Array) -> tuple[Array, Array]:
        """Mean ranks less the middle one, (resamples, n), and how many ordered pairs differ, (resamples,)."""
        group = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        ranks = np.cumsum(group, axis=1) - (group + total[:, None]) / 2
        return ranks[:, self._of], total**2 - np.einsum("ij,ij->i", group, group)
