"""How well quality metrics follow a machine's score: correlations, their intervals, and tests between metrics.

Point values are SciPy's. For intervals each is computed anew without one cluster: without a source image and all of its
blocks, because blocks of one image are no independent samples. All of it is done at once; the values are those of the
data without the cluster, not approximations. The fitted curve stays that of all data: fitting anew adds the optimism of
a fit to that of the first, and with weak correlations such intervals lay above the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vcmbench.analysis import baselines, logistic
from vcmbench.analysis.clusters import ClusterJackknife
from vcmbench.analysis.logistic import Fit
from vcmbench.data.estimate import FISHER, LEVEL, Estimate, interval, with_p
from vcmbench.errors import RequestError

STATISTICS = ("PLCC", "SROC", "KROCC", "PLCC_fit", "RMSE_fit")
ALIKE = "not different"
_MOST_FOR_KROCC = 20_000
_FEWEST = 3
_LEAST_SHOWN = 5e-5  # of a strength: less is written as 0.0000, which is the best of nothing

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """One metric: an estimate for each of STATISTICS, signed (losses have negative ones), and the fit if there is one.

    `rises` says whether it should rise with the machine's score, None where that is not known. The p take the blocks as
    independent, as published; the intervals do not where they are clustered.
    """

    n: int
    values: dict[str, Estimate]
    fit: Fit | None = None
    rises: bool | None = None

    @property
    def oriented(self) -> Estimate:
        """SROCC, above 0 where the metric follows the machine and below where it goes the other way; its magnitude
        where it is not known which way that is."""
        value = self.values["SROC"]
        return value.magnitude() if self.rises is None else value.scaled(1 if self.rises else -1)

    @property
    def strength(self) -> float:
        """The oriented SROCC, by which metrics are ranked; less than any where it is missing."""
        value = self.oriented.value
        return -np.inf if value is None else value

    @property
    def follows(self) -> bool:
        """Whether it is shown to follow the machine at all; without an interval, whether it seems to."""
        oriented = self.oriented
        return self.strength >= _LEAST_SHOWN and (oriented.low is None or oriented.low > 0)


@dataclass(frozen=True)
class Difference:
    """Oriented SROCC of a minus that of b, with its interval and p of the paired test; and, where one of them is the
    best metric, p after Holm's correction over all that are held against it."""

    a: str
    b: str
    estimate: Estimate
    p_holm: float | None = None


@dataclass(frozen=True)
class Comparison:
    """All metrics on the same n blocks of so many clusters. `best` has the largest oriented SROCC; None where even its
    interval holds 0, so that none is shown to follow the machine. `baselines` are what metrics are to beat; they are
    ranked and tested nowhere."""

    n: int
    clusters: int
    metrics: dict[str, Correlation]
    best: str | None
    differences: tuple[Difference, ...]
    baselines: dict[str, Correlation] = field(default_factory=dict)

    @property
    def ranked(self) -> list[tuple[str, Correlation]]:
        """The metrics, the one that follows the machine best first."""
        return sorted(self.metrics.items(), key=lambda item: -item[1].strength)

    def against_best(self, name: str) -> Difference | None:
        """The test between a metric and the best one; None for the best itself, and where none was made."""
        return next((d for d in self.differences if {d.a, d.b} == {name, self.best}), None)

    def verdict(self, name: str) -> str:
        """Whether it is "best", "not different" (from the best one, after Holm's correction) or "worse"; nothing where
        no test was made."""
        if name == self.best:
            return "best"
        against = self.against_best(name)
        return "" if against is None or against.p_holm is None else ALIKE if against.p_holm >= LEVEL else "worse"


def compare(
    metrics: Mapping[str, Array],
    machine: Array,
    clusters: Sequence[str] | None = None,
    intervals: bool = True,
    rises: Mapping[str, bool] | None = None,
    done: Callable[[str], None] = lambda name: None,
    unit: str = "image",
    places: Array | None = None,
) -> Comparison:
    """Correlate every metric, (n,) float64, with the machine's score, (n,) float64, and test them against each other.

    `clusters` names the source image of each block, or what it belongs to, a `unit`; None takes each block by itself.
    Without `intervals` there are no tests either. `rises` says which metrics should rise with the machine's score and
    which should fall. `done` is called with each metric's name. `places` are x and y of blocks in px, (n, 2);
    with clusters there are baselines beside the metrics. A metric's figures are the same whichever others are
    asked for; one with NaN, inf or one value only has missing figures with a reason. Raises RequestError for shapes
    that do not fit.
    """
    for name, scores in metrics.items():
        if scores.shape != machine.shape or scores.ndim != 1:
            raise RequestError(f"{name}: {scores.shape} scores for {machine.shape} of the machine; one each is needed")
    labels = range(len(machine)) if clusters is None else clusters
    if len(labels) != len(machine):
        raise RequestError(f"{len(labels)} images for {len(machine)} blocks; one each is needed")
    jackknife = ClusterJackknife(labels, intervals, unit)
    found: dict[str, Correlation] = {}
    samples: dict[str, Array] = {}
    for name, scores in metrics.items():
        found[name], sample = _judged(scores, machine, jackknife, (rises or {}).get(name))
        if sample is not None:
            samples[name] = sample
        done(name)
    best = max(found, key=lambda name: found[name].strength, default=None)
    best = best if best is not None and found[best].follows else None
    predicted = {} if clusters is None else baselines.predictions(metrics, machine, clusters, places)
    beside = {name: _without_intervals(scores, machine) for name, scores in predicted.items()}
    return Comparison(len(machine), jackknife.units, found, best, _differences(found, samples, best), beside)


def _without_intervals(predicted: Array, machine: Array) -> Correlation:
    """Of a baseline: each sample's prediction hangs on all other units, of which no jackknife and no p knows."""
    with np.errstate(all="ignore"):
        found = correlate(predicted, machine)
    why = "no interval: predictions hang on the other images"
    values = {key: replace(value, p=None, reason=value.reason or why) for key, value in found.values.items()}
    return replace(found, values=values, rises=True)


def _judged(
    scores: Array, machine: Array, jackknife: ClusterJackknife, rises: bool | None
) -> tuple[Correlation, Array | None]:
    """The correlation with what intervals there are, and SROCC without each unit, (units,)."""
    with np.errstate(all="ignore"):  # what overflows or divides by 0 is not finite, and said to be missing
        found = replace(correlate(scores, machine), rises=rises)
        if jackknife.lacking:
            values = {key: interval(value, None, jackknife.lacking) for key, value in found.values.items()}
            return replace(found, values=values), None
        if found.values["SROC"].value is None:
            return found, None
        return _with_intervals(found, scores, machine, jackknife)


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
    found: Correlation, scores: Array, machine: Array, jackknife: ClusterJackknife
) -> tuple[Correlation, Array]:
    """The correlation with intervals, and SROCC without each unit, (units,)."""
    spearman, differing = jackknife.spearman(scores, machine)
    samples = {"PLCC": jackknife.pearson(scores, machine), "SROC": spearman}
    if len(scores) <= _MOST_FOR_KROCC:
        samples["KROCC"] = jackknife.kendall(scores, machine, differing)
    if found.fit:
        fitted = found.fit.of(scores)
        samples["PLCC_fit"] = jackknife.pearson(fitted, machine)
    lacking = {"KROCC": f"more than {_MOST_FOR_KROCC} blocks", "RMSE_fit": "the curve was fitted to the same blocks"}
    values = {name: interval(value, samples.get(name), f"no interval: {lacking.get(name)}", scale=FISHER)
              for name, value in found.values.items()}  # fmt: skip
    return replace(found, values=values), spearman


def _differences(found: dict[str, Correlation], samples: dict[str, Array], best: str | None) -> tuple[Difference, ...]:
    """Paired tests of oriented SROCC, every metric with every other; those with the best one, which are shown, are
    corrected by Holm. A metric that may go either way keeps the sign that it has on all data."""
    oriented = {}
    for name, sample in samples.items():
        rises, value = found[name].rises, found[name].values["SROC"].value or 0.0
        oriented[name] = sample * (np.sign(value) if rises is None else 1 if rises else -1)
    tests = []
    for a, b in combinations(oriented, 2):
        estimate = with_p(Estimate(found[a].strength - found[b].strength), oriented[a] - oriented[b])
        if estimate.p is not None:
            tests.append(Difference(a, b, estimate))
    shown = [one.estimate.p for one in tests if best in (one.a, one.b)]
    corrected = iter(holm([p for p in shown if p is not None]))
    return tuple(replace(one, p_holm=next(corrected)) if best in (one.a, one.b) else one for one in tests)


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected for many comparisons (S. Holm, 1979).

    The i-th smallest of m is multiplied by m - i + 1; none is less than the one before it, or more than 1.
    """
    corrected, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = highest
    return corrected
