"""Proof that an encoder obeyed a QP map. Encoders exist that ignore one without a word; here that is an error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.errors import JobError

F64 = NDArray[np.float64]

# Below it, blocks' errors do not follow the map. An encoder that ignores one gives identical pictures or, where the map
# also moves its base, a correlation around zero; with maps of its own, delta 1 still gave over 0.7.
MIN_RANK_CORRELATION = 0.3
_ENOUGH_BLOCKS = 16
_SOMETHING_TO_LOSE = 1.0
"""Mean squared error of a block, below which a picture may well be the same at any quantiser: it is blank."""
_TO_DIFFER = 1.0
"""How far a mean must be from the uniform quantiser to tell obeying from ignoring, in steps."""


def rank_correlation(first: F64, second: F64) -> float | None:
    """Spearman's rank correlation; None where one of them is constant."""
    from scipy.stats import rankdata  # imported late: not every run has a map

    a, b = rankdata(first), rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / scale if scale else None


def of_block_qps(requested: F64, coded: F64) -> dict[str, Any]:
    """Of QPs that the decoder tells block by block, (rows, columns) each. Raises JobError where they do not follow.

    A block without coefficients codes no QP and takes over that of the block before it (H.264, 7.4.5), so the mean is
    also given without blocks that only repeat their predecessor. x264 itself keeps a QP that would change by one.
    """
    rows, columns = requested.shape
    coded = coded[:rows, :columns]
    before = np.concatenate([coded.ravel()[:1], coded.ravel()[:-1]]).reshape(coded.shape)
    repeats = (coded == before) & (np.abs(coded - requested) > 1)
    told: dict[str, Any] = {
        "kind": "QP of every block, from the bitstream",
        "requested_mean_qp": round(float(requested.mean()), 4),
        "coded_mean_qp": round(float(coded.mean()), 4),
        "coded_mean_qp_of_coded_blocks": round(float(coded[~repeats].mean()), 4) if not repeats.all() else None,
        "requested_mean_qp_of_coded_blocks": round(float(requested[~repeats].mean()), 4) if not repeats.all() else None,
        "blocks": int(coded.size),
        "blocks_as_requested": int(np.sum(coded == requested)),
        "blocks_that_repeat": int(repeats.sum()),
        "rank_correlation": _rounded(rank_correlation(requested, coded)),
    }
    is_off = abs(told["coded_mean_qp"] - told["requested_mean_qp"]) > 1
    follows = (told["rank_correlation"] or 0.0) >= 0.5 if np.ptp(requested) > 1 else not is_off
    if not follows or told["blocks_as_requested"] + told["blocks_that_repeat"] < told["blocks"] / 2:
        raise JobError(f"the QP map took no effect: coded QPs do not follow it ({_short(told)})")
    return told


def of_mean_qp(requested: F64, coded_mean: float) -> dict[str, Any]:
    """Of the mean QP that the tool reports, over its blocks, `requested` (rows, columns): those that reach over the
    edge count in full."""
    return {
        "kind": "mean QP, as the tool reports it",
        "requested_mean_qp": round(float(requested.mean()), 4),
        "coded_mean_qp": coded_mean,
    }


def tells(evidence: dict[str, Any], uniform_qp: float) -> bool:
    """Whether a mean can prove anything: it must be asked to differ from what a deaf encoder would code."""
    return bool(abs(evidence["requested_mean_qp"] - uniform_qp) >= _TO_DIFFER)


def check_mean(evidence: dict[str, Any], uniform_qp: float) -> None:
    """Raises JobError where the coded mean stayed nearer to the uniform QP than it came to the requested one."""
    asked, coded = evidence["requested_mean_qp"], evidence["coded_mean_qp"]
    if abs(coded - uniform_qp) <= abs(coded - asked):
        raise JobError(f"the QP map took no effect: mean QP {coded:g}, asked {asked:g}, uniform {uniform_qp:g}")


def of_block_errors(
    steps: F64, mapped_mse: F64, uniform_mse: F64, *, is_identical: bool, method: str = "native"
) -> dict[str, Any]:
    """Of how the blocks' errors changed against the uniform encode, (rows, columns) each. Raises JobError where they do
    not follow the map, or where the two pictures are the same although the map asks for a difference.

    Where there are many blocks, only the half with the larger errors counts: flat ones have no detail to lose, at any
    quantiser.
    """
    if is_identical and np.any(steps != 0) and uniform_mse.max() >= _SOMETHING_TO_LOSE:
        raise JobError("the QP map took no effect: the decoded picture is that of the uniform encode")
    has_detail = uniform_mse >= (np.median(uniform_mse) if uniform_mse.size >= 4 * _ENOUGH_BLOCKS else 0)
    steps, change = steps[has_detail], np.log2((mapped_mse + 0.1) / (uniform_mse + 0.1))[has_detail]
    told: dict[str, Any] = {
        "kind": "rank correlation of requested steps and change of block error against the uniform encode",
        "rank_correlation": _rounded(rank_correlation(steps, change)),
        "blocks": int(steps.size),
        "mean_error_change_octaves": round(float(change.mean()), 4),
    }
    provable = told["rank_correlation"] is not None and steps.size >= _ENOUGH_BLOCKS and np.ptp(steps) >= 1
    # What we do to coefficients and pixels ourselves is there by construction; it may be weak, but not reversed.
    least = MIN_RANK_CORRELATION if method == "native" else -2 / np.sqrt(steps.size)
    if provable and told["rank_correlation"] < least:
        raise JobError(f"the QP map took no effect: blocks' errors do not follow it ({_short(told)})")
    if not provable:
        told["note"] = "too flat a map or too few blocks for a correlation"
    return told


def of_pictures(steps: F64, mse: F64, uniform_mse: F64) -> dict[str, Any]:
    """Of a stack with a QP a picture, (frames,) each: every picture that was asked to be coarser must have become
    worse, every one to be finer better. Raises JobError that names the first that did not."""
    wrong = np.flatnonzero((steps != 0) & (np.sign(mse - uniform_mse) != np.sign(steps)))
    if len(wrong):
        raise JobError(
            f"the QPs of pictures took no effect: picture {wrong[0] + 1} of {len(steps)} was to be coded with "
            f"{steps[wrong[0]]:+g}, its squared error went from {uniform_mse[wrong[0]]:.4g} to {mse[wrong[0]]:.4g}"
        )
    return {"kind": "each picture's error against the uniform encode", "pictures": int(np.count_nonzero(steps))}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _short(told: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items() if name != "kind")
