"""Built-in figures of the measuring step: see `vcmbench.compress.forecast.builtin`, of which this is the other half.

`benchmarks/figures_steps.py` prints them; LPIPS and DISTS are VGG16 without weights, twice a picture.
"""

from __future__ import annotations

from vcmbench.errors import RequestError

NETWORK_S_PER_MPX = 0.67
"""The embedded network."""
READ_S_PER_MPX, TO_RGB_S_PER_MPX, ENLARGE_RGB_S_PER_MPX = 0.025, 0.010, 0.012
COUNT_S_PER_MPX, WRITE_S_PER_MPX, READ_PREDICTION_S_PER_MPX = 0.012, 0.036, 0.0015
"""Confusion matrices against both truths, what they are read from, and a prediction as a PNG."""
STRATA_S_PER_MPX, OFFER_S = 0.004, 0.0005
"""Sampling: the accuracy of every block of a picture, and the draw for each block of the sample."""
SCORE_S = 0.003
"""Finding out what is to be done of a picture, its hash, and its record."""
GPU_SPEED = 20.0
"""How many cores a GPU is taken for. An assumption: no GPU was at hand to measure it."""
START_S, PLAIN_START_S = 5.5, 2.5
"""Imports and opening the network; without one."""
TELL_S, TELL_FRAME_S, RESAMPLE_S = 3.5, 0.002, 1.5e-7
"""Figures and report; a record read and told; a sample of a metric in a resample."""

PROCESS_MB, PLAIN_PROCESS_MB = 900.0, 250.0
"""A worker's process with PyTorch, and without."""
NETWORK_MB_PER_MPX, METRICS_MB_PER_MPX, LEARNED_MB_PER_MPX = 470.0, 95.0, 1200.0
"""What a picture adds: layers of the embedded network, of metrics without weights, and of VGG16 twice."""

PREDICTION_BYTES, PREDICTION_BYTES_PER_MPX = 1700, 20_500
SCORE_BYTES, SCORE_OF_METRIC_BYTES, SCORE_OF_MACHINE_BYTES, SCORE_OF_LABELS_BYTES = 900, 150, 2500, 6300
ROW_BYTES, ROW_OF_METRIC_BYTES, ROW_OF_LABELS_BYTES = 280, 25, 450
"""A row of image_scores, as CSV and Parquet; and what labels and distances add."""
BLOCK_BYTES, BLOCK_OF_METRIC_BYTES = 270, 75
"""A block: in its sample, its scores, and block_scores."""
REPORT_BYTES, REPORT_OF_METRIC_BYTES = 300_000, 450_000
"""report.html, figures and correlations."""

_VGG_PAIR = (0.02, 14.5, 0.078)
_METRICS: dict[str, dict[str, tuple[float, float, float]]] = {
    "standard": {
        "PSNR": (0.000, 0.018, 0.00014), "SSIM": (0.000, 0.119, 0.0015), "MS_SSIM": (0.001, 0.164, 0.0015),
        "VIFp": (0.000, 0.828, 0.0035), "FSIM": (0.064, 0.047, 0.0027), "SR_SIM": (0.027, 0.035, 0.0028),
        "GMSD": (0.000, 0.049, 0.0008), "MS_GMSD": (0.000, 0.110, 0.0015), "VSI": (0.007, 0.080, 0.0103),
        "DSS": (0.001, 0.129, 0.0040), "HaarPSI": (0.001, 0.096, 0.0013), "MDSI": (0.016, 0.018, 0.0017),
        "XPSNR": (0.050, 0.147, 0.0020), "VMAF": (0.030, 0.290, 0.0026),
        "LPIPS": _VGG_PAIR, "DISTS": _VGG_PAIR, "PieAPP": _VGG_PAIR,
    },
    "qomex2023": {
        "PSNR": (0.000, 0.011, 0.00033), "SSIM": (0.000, 0.013, 0.0004), "MS_SSIM": (0.002, 0.020, 0.0015),
        "VIFp": (0.000, 0.797, 0.0044), "FSIM": (0.074, 0.003, 0.0029), "SR_SIM": (0.026, 0.005, 0.0015),
        "GMSD": (0.001, 0.025, 0.0006), "MS_GMSD": (0.000, 0.077, 0.0015), "VSI": (0.009, 0.038, 0.0088),
        "DSS": (0.002, 0.125, 0.0036), "HaarPSI": (0.002, 0.064, 0.0014), "MDSI": (0.017, 0.011, 0.0019),
        "XPSNR": (0.068, 0.162, 0.0027), "VMAF": (0.050, 0.212, 0.0033),
        "LPIPS": _VGG_PAIR, "DISTS": _VGG_PAIR, "PieAPP": _VGG_PAIR,
    },
}  # fmt: skip
"""By profile and metric: seconds of one core for a picture, more for each Mpx of it, and for a block of 64x64 px."""


def _of(name: str, profile: str) -> tuple[float, float, float]:
    """A metric that was added since is taken for the slowest of the usual ones."""
    if profile not in _METRICS:
        raise RequestError(f"profile {profile!r}: is unknown; known: {', '.join(_METRICS)}")
    return _METRICS[profile].get(name, _METRICS[profile]["VIFp"])


def metric_s(name: str, profile: str, mpx: float) -> float:
    """Seconds of one core for one picture."""
    fixed, per_mpx, _ = _of(name, profile)
    return fixed + per_mpx * mpx


def block_s(name: str, profile: str, side_px: int) -> float:
    """Seconds of one core for one block: half of a small one's time does not depend on its size."""
    _, per_mpx, of_64 = _of(name, profile)
    return of_64 / 2 + max(of_64 / 2 * (side_px / 64) ** 2, per_mpx * side_px**2 / 1e6)
