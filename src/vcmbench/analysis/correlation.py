"""How well quality metrics follow a machine's score: correlations, their intervals, and tests between metrics.

Point values are SciPy's. Intervals are percentile bootstraps over clusters (A. C. Davison, D. V. Hinkley, 1997, section
3.8): source images are drawn with replacement, each with all of its blocks, because blocks of one image are no
independent samples. A resample is kept as the number of times that each image was drawn, and all statistics are
computed from these counts, for all resamples at once; the values are those of the resampled data, not approximations.
The fitted curve stays that of all data. (Fitting anew in each resample adds the optimism of a fit to that of the first:
with weak correlations such intervals lay above the truth, and covered less on data made for it.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis import logistic
from vcmbench.analysis.draws import ClusterDraws
from vcmbench.analysis.logistic import Fit
from vcmbench.data.estimate import LEVEL, Estimate, interval
from vcmbench.errors import RequestError

STATISTICS = ("PLCC", "SROC", "KROCC", "PLCC_fit", "RMSE_fit")
ALIKE = "not different"
_MOST_FOR_KROCC = 20_000
_FEWEST = 3
_SAME = 1e-12

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """One metric: an estimate for each of STATISTICS, signed (losses have negative ones), and the fit if there is one.

    The p take the blocks as independent, as published; the intervals do not where they are clustered.
    """

    n: int
    values: dict[str, Estimate]
    fit: Fit | None = None

    @property
    def strength(self) -> float:
        """|SROCC|, by which metrics are ranked; -1 where it is missing."""
        value = self.values["SROC"].value
        return -1.0 if value is None else abs(value)


@dataclass(frozen=True)
class Difference:
    """|SROCC| of a minus that of b, with its interval and p of the paired test; and p after Holm's correction."""

    a: str
    b: str
    estimate: Estimate
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """All metrics on the same n blocks of so many clusters. `best` has the largest |SROCC|; None where all are 0."""

    n: int
    clusters: int
    metrics: dict[str, Correlation]
    best: str | None
    differences: tuple[Difference, ...]

    def against_best(self, name: str) -> Difference | None:
        """The test between a metric and the best one; None for the best itself, and where none was made."""
        return next((d for d in self.differences if {d.a, d.b} == {name, self.best}), None)

    def verdict(self, name: str) -> str:
        """Whether it is "best", "not different" (from the best one, after Holm's correction) or "worse"; nothing where
        no test was made."""
        if name == self.best:
            return "best"
        against = self.against_best(name)
        return "" if against is None else ALIKE if against.p_holm >= LEVEL else "worse"


def compare(
    metrics: Mapping[str, Array],
    machine: Array,
    clusters: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int | Sequence[int] = 0,
    done: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Correlate every metric, (n,) float64, with the machine's score, (n,) float64, and test them against each other.

    `clusters` names the source image of each block; None draws single blocks. `resamples` is 0 (no intervals, no tests)
    or 100..20000. `done` is called with each metric's name. The same seed gives the same figures, whichever metrics are
    asked for. A metric with NaN, inf or one value only has missing figures with a reason. Raises RequestError for a
    number of resamples out of range and shapes that do not fit.
    """
    for name, scores in metrics.items():
        if scores.shape != machine.shape or scores.ndim != 1:
            raise RequestError(f"{name}: {scores.shape} scores for {machine.shape} of the machine; one each is needed")
    labels = np.arange(len(machine)) if clusters is None else np.unique(list(clusters), return_inverse=True)[1]
    if len(labels) != len(machine):
        raise RequestError(f"{len(labels)} images for {len(machine)} blocks; one each is needed")
    draws = ClusterDraws(labels, resamples, seed)
    found: dict[str, Correlation] = {}
    samples: dict[str, Array] = {}
    for name, scores in metrics.items():
        with np.errstate(all="ignore"):  # what overflows or divides by 0 is not finite, and said to be missing
            found[name] = correlate(scores, machine)
            if draws.lacking:
                values = {key: interval(value, None, draws.lacking) for key, value in found[name].values.items()}
                found[name] = replace(found[name], values=values)
            elif found[name].strength >= 0:
                found[name], samples[name] = _with_intervals(found[name], scores, machine, draws)
        done(name)
    best = max(found, key=lambda name: found[name].strength, default=None)
    best = None if best is None or found[best].strength <= 0 else best
    return Comparison(len(machine), draws.clusters, found, best, _differences(found, samples))


def correlate(scores: Array, machine: Array) -> Correlation:
    """PLCC, SROCC, KROCC (tau-b), and PLCC and RMSE after the logistic fit, of (n,) scores; without intervals.

    `scipy.stats` instead of the published `scipy.stats.mstats`: the same values (tests hold them to 1e-12), 300 times
    faster for KROCC. p of PLCC_fit and RMSE_fit is that of an F test of the curve against a constant, 3 and n - 4
    degrees of freedom.
    """
    from scipy import stats  # here, because it takes longer to import than most commands take

    n = len(scores)
    reason = unusable(scores) or (unusable(machine) and f"machine's score: {unusable(machine)}")
    if reason:
        return Correlation(n, {name: Estimate(n=n, reason=reason) for name in STATISTICS})

    def known(figure: float, p: float) -> Estimate:
        if not (np.isfinite(figure) and np.isfinite(p)):
            return Estimate(n=n, reason="not defined for these scores")
        return Estimate(float(figure), n=n, p=float(p))

    functions = (stats.pearsonr, stats.spearmanr, stats.kendalltau)
    values = {name: known(*function(scores, machine)) for name, function in zip(STATISTICS, functions, strict=False)}
    try:
        fit = logistic.fit(scores, machine)
    except ValueError as error:
        return Correlation(n, values | {name: Estimate(n=n, reason=str(error)) for name in STATISTICS[3:]})
    fitted = fit.of(scores)
    plcc = min(float(stats.pearsonr(fitted, machine)[0]), 1.0)
    rmse = float(np.sqrt(np.mean((fitted - machine) ** 2)))
    p = float(stats.f.sf(plcc**2 / 3 / ((1 - plcc**2) / (n - 4)), 3, n - 4)) if plcc < 1 else 0.0
    return Correlation(n, values | {"PLCC_fit": known(plcc, p), "RMSE_fit": known(rmse, p)}, fit)


def unusable(scores: Array) -> str | None:
    """Why nothing correlates with these (n,) scores; None where something may."""
    if len(scores) < _FEWEST:
        return f"{len(scores)} blocks; {_FEWEST} are needed"
    if missing := int(np.isnan(scores).sum()):
        return f"{missing} of {len(scores)} scores are NaN"
    if infinite := int(np.isinf(scores).sum()):
        return f"{infinite} of {len(scores)} scores are infinite"
    if (scores == scores[0]).all():
        return f"all scores are {scores[0]:g}"
    with np.errstate(over="ignore", invalid="ignore"):
        centre = scores.mean()
        return "the scores hardly differ" if np.linalg.norm(scores - centre) <= 1e-13 * abs(centre) else None


def _with_intervals(
    found: Correlation, scores: Array, machine: Array, draws: ClusterDraws
) -> tuple[Correlation, Array]:
    """The correlation with intervals, and SROCC of every resample, (resamples,)."""
    spearman, differing = draws.spearman(scores, machine)
    samples = {"PLCC": draws.pearson(scores, machine), "SROC": spearman}
    if len(scores) <= _MOST_FOR_KROCC:
        samples["KROCC"] = draws.kendall(scores, machine, differing)
    if found.fit:
        fitted = found.fit.of(scores)
        samples["PLCC_fit"] = draws.pearson(fitted, machine)
        samples["RMSE_fit"] = np.sqrt(draws.mean((fitted - machine) ** 2))
    lacking = f"no interval: more than {_MOST_FOR_KROCC} blocks"
    values = {name: interval(value, samples.get(name), lacking) for name, value in found.values.items()}
    return replace(found, values=values), spearman


def _differences(found: dict[str, Correlation], samples: dict[str, Array]) -> tuple[Difference, ...]:
    """Paired tests of |SROCC|, every metric with every other, corrected by Holm over all of these pairs.

    Each metric keeps the sign that it has on all data, so that the difference is smooth; its standard error is that of
    the resamples, which are the same for both metrics, and p is the normal distribution's. (Counting resamples instead
    could not get below 2 / 1001, which Holm's factor for 12 metrics, 66, would lift above any level.)
    """
    from scipy.special import ndtr

    oriented = {name: sample * np.sign(found[name].values["SROC"].value or 0.0) for name, sample in samples.items()}
    tests = []
    for a, b in combinations(oriented, 2):
        difference, sample = found[a].strength - found[b].strength, oriented[a] - oriented[b]
        estimate = interval(Estimate(difference), sample)
        if estimate.interval is None:
            continue
        error = float(sample[np.isfinite(sample)].std(ddof=1))
        p = 1.0 if abs(difference) <= _SAME else float(2 * ndtr(-abs(difference) / max(error, _SAME)))
        tests.append((a, b, replace(estimate, p=p), p))
    corrected = holm([p for *_, p in tests])
    return tuple(Difference(a, b, one, p) for (a, b, one, _), p in zip(tests, corrected, strict=True))


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for many comparisons (S. Holm, 1979).

    The i-th smallest of m is multiplied by m - i + 1; none is less than the one before it, or more than 1.
    """
    corrected, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected
