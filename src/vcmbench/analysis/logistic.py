"""The monotone logistic that maps a metric's scores to the machine's before PLCC and RMSE, as VQEG does.

The function with 4 parameters of: VQEG, Final report from the Video Quality Experts Group on the validation of
objective models of video quality assessment (FR-TV phase I), 2000. The one with 5 parameters that is often called
VQEG's, too, is not monotone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """The logistic `b2 + (b1 - b2) / (1 + exp(-(x - b3) / |b4|))`.

    b1 and b2, to which it tends for high and low x, are in the machine's unit, b3 and b4 > 0 in the metric's.
    """

    b1: float
    b2: float
    b3: float
    b4: float

    def of(self, scores: Array) -> Array:
        """The curve at (n,) scores: what the machine's score should be there."""
        from scipy.special import expit  # here, because it takes longer to import than most commands take

        y: Array = self.b2 + (self.b1 - self.b2) * expit((scores - self.b3) / self.b4)
        return y


def _starts(z: Array) -> Array:
    """(k, 2) places and widths, b3 and b4, of logistics over standardised scores z, steps to nearly straight lines."""
    outside = np.array([0.5, 2.0, 5.0])
    places = np.concatenate([z.min() - outside, np.quantile(z, np.linspace(0.02, 0.98, 15)), z.max() + outside])
    return np.array([(b3, b4) for b3 in np.unique(places) for b4 in np.geomspace(0.03, 10, 14)])


def _curves(z: Array, grid: Array) -> Array:
    """(n, k) curves over z, each with mean 0 and variance 1 (0 where it is flat over z)."""
    from scipy.special import expit

    y: Array = expit((z[:, None] - grid[:, 0]) / grid[:, 1])
    y -= y.mean(axis=0)
    spread = y.std(axis=0)
    return np.where(spread > 1e-9, y / np.maximum(spread, 1e-9), 0.0)


def fit(scores: Array, machine: Array) -> Fit:
    """The least-squares fit of a monotone logistic from (n,) scores to the machine's (n,).

    All are finite. The fit starts at the best of some 300 curves. b3 stays within 10 standard
    deviations of the scores' range and b4 between 0.01 and 30 of them, so that data without a bend get a straight
    line and not parameters without end. Raises ValueError with the reason where there is no fit.
    """
    from scipy.optimize import curve_fit
    from scipy.special import expit

    if len(scores) < FEWEST:
        raise ValueError(f"{len(scores)} blocks; the fit needs {FEWEST}")
    centre, scale = scores.mean(), scores.std()
    if not np.isfinite(scale) or scale <= 1e-14 * abs(centre):
        raise ValueError("the scores hardly differ; no curve fits")
    z = (scores - centre) / scale

    def curve(x: Array, b1: float, b2: float, b3: float, b4: float) -> Any:
        return b2 + (b1 - b2) * expit((x - b3) / b4)

    grid = _starts(z)
    b3, b4 = grid[np.argmax(np.abs(machine @ _curves(z, grid)))]
    slope, offset = np.polyfit(expit((z - b3) / b4), machine, 1)
    bounds = [-np.inf, -np.inf, z.min() - 10, 0.01], [np.inf, np.inf, z.max() + 10, 30]
    try:
        best, _ = curve_fit(curve, z, machine, p0=(offset + slope, offset, b3, b4), bounds=bounds, max_nfev=2000)
    except (RuntimeError, np.linalg.LinAlgError):
        raise ValueError("the logistic fit did not converge") from None
    found = Fit(float(best[0]), float(best[1]), float(centre + scale * best[2]), float(scale * best[3]))
    fitted = found.of(scores)
    steps = np.diff(fitted[np.argsort(z)]) * np.sign(found.b1 - found.b2)
    if not np.isfinite(fitted).all() or steps.min() < -1e-9 * np.ptp(fitted):
        raise ValueError("the logistic fit is not monotone")
    if np.ptp(fitted) <= 1e-9 * np.ptp(machine):
        raise ValueError("the logistic fit is flat")
    return found
