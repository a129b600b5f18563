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
"""How far a mean must be from the uniform quantiser for obeying to differ from ignoring, in steps."""

_TO_SHOW = 3.0
"""Differences in steps, below which what blocks hold may outweigh them: a doubt, not a failure."""


def rank_correlation(first: F64, second: F64) -> float | None:
    """Spearman's rank correlation; None where one of them is constant."""
    from scipy.stats import rankdata  # imported late: not every run has a map

    a, b = rankdata(first), rankdata(second)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / scale if scale else None


def of_block_qps(sent: F64, coded: F64) -> dict[str, Any]:
    """Of QPs that the decoder reports block by block, against those that the tool was given, (rows, columns) each.
    Raises JobError where they do not follow.

    A block without coefficients codes no QP and takes over that of the block before it (H.264, 7.4.5), so the mean is
    also given without blocks that only repeat their predecessor. x264 itself keeps a QP that would change by one.
    """
    rows, columns = sent.shape
    coded = coded[:rows, :columns]
    before = np.concatenate([coded.ravel()[:1], coded.ravel()[:-1]]).reshape(coded.shape)
    repeats = (coded == before) & (np.abs(coded - sent) > 1)
    found: dict[str, Any] = {
        "kind": "QP of every block, from the bitstream",
        "sent_mean_qp": round(float(sent.mean()), 4),
        "coded_mean_qp": round(float(coded.mean()), 4),
        "coded_mean_qp_of_coded_blocks": round(float(coded[~repeats].mean()), 4) if not repeats.all() else None,
        "sent_mean_qp_of_coded_blocks": round(float(sent[~repeats].mean()), 4) if not repeats.all() else None,
        "blocks": int(coded.size),
        "blocks_as_requested": int(np.sum(coded == sent)),
        "blocks_that_repeat": int(repeats.sum()),
        "rank_correlation": _rounded(rank_correlation(sent, coded)),
    }
    is_off = abs(found["coded_mean_qp"] - found["sent_mean_qp"]) > 1
    follows = (found["rank_correlation"] or 0.0) >= 0.5 if np.ptp(sent) > 1 else not is_off
    # a deaf encoder's blocks all repeat each other
    is_shown = (
        found["blocks_that_repeat"] <= found["blocks"] / 3 and found["blocks_as_requested"] >= found["blocks"] / 2
    )
    if not follows or not is_shown:
        raise JobError(f"the QP map took no effect: coded QPs do not follow it ({_short(found)})")
    return found


def of_mean_qp(sent: F64, coded_mean: float) -> dict[str, Any]:
    """Of the mean QP that the tool reports, over its blocks, `sent` (rows, columns): those that reach over the
    edge count in full."""
    return {
        "kind": "mean QP, as the tool reports it",
        "sent_mean_qp": round(float(sent.mean()), 4),
        "coded_mean_qp": coded_mean,
    }


def proves(evidence: dict[str, Any], uniform_qp: float) -> bool:
    """Whether a mean can prove anything: it must be asked to differ from what a deaf encoder would code."""
    return bool(abs(evidence["sent_mean_qp"] - uniform_qp) >= _TO_DIFFER)


def check_mean(evidence: dict[str, Any], uniform_qp: float) -> None:
    """Raises JobError where the coded mean stayed nearer to the uniform QP than it came to the one that was sent."""
    asked, coded = evidence["sent_mean_qp"], evidence["coded_mean_qp"]
    if abs(coded - uniform_qp) <= abs(coded - asked):
        raise JobError(f"the QP map took no effect: mean QP {coded:g}, asked {asked:g}, uniform {uniform_qp:g}")


def of_block_errors(
    steps: F64,
    mapped_mse: F64,
    uniform_mse: F64,
    *,
    is_identical: bool,
    method: str = "native",
    asked: F64 | None = None,
) -> dict[str, Any]:
    """Of how the blocks' errors changed against the uniform encode, (rows, columns) each. Raises JobError where the two
    pictures are the same although the map asks for a difference, or where those of a native map do not follow it. What
    we do to coefficients and pixels ourselves is no tool's to ignore: where it hardly shows, that is a `doubt`, and so
    it is with small differences.

    Blocks without an error to speak of have nothing to lose at any quantiser and do not count; where there are many,
    only the half with the larger errors does. `asked` is the map before it was put into the tool's terms: where that is
    flat, what differs is the search's own dither, and proves nothing.
    """
    has_detail = np.maximum(mapped_mse, uniform_mse) >= _SOMETHING_TO_LOSE
    is_flat = asked is not None and np.ptp(asked) < 1
    asked = steps if asked is None else asked
    if is_identical and not is_flat and np.any(steps[has_detail] != 0):
        raise JobError("the QP map took no effect: the decoded picture is that of the uniform encode")
    if uniform_mse.size >= 4 * _ENOUGH_BLOCKS:
        has_detail &= uniform_mse >= np.median(uniform_mse)
    change = np.log2((mapped_mse + 0.1) / (uniform_mse + 0.1))[has_detail]
    steps, asked = steps[has_detail], asked[has_detail]
    found: dict[str, Any] = {
        "kind": "rank correlation of requested steps and change of block error against the uniform encode",
        "rank_correlation": _rounded(rank_correlation(steps, change)) if steps.size else None,
        "blocks": int(steps.size),
        "mean_error_change_octaves": round(float(change.mean()), 4) if steps.size else None,
    }
    span = min(float(np.ptp(steps)), float(np.ptp(asked))) if steps.size else 0.0
    # What we do to coefficients and pixels ourselves is weaker than a quantiser, and is seen in many blocks only.
    is_native = method == "native"
    enough, wide = (_ENOUGH_BLOCKS, 1) if is_native else (4 * _ENOUGH_BLOCKS, _TO_SHOW)
    provable = found["rank_correlation"] is not None and steps.size >= enough and span >= wide and _varies(asked)
    least = MIN_RANK_CORRELATION if is_native else 2 / np.sqrt(max(steps.size, 1))
    if provable and found["rank_correlation"] < least:
        doubt = f"blocks' errors do not follow it ({_short(found)})"
        if is_native and span >= _TO_SHOW:
            raise JobError(f"the QP map took no effect: {doubt}")
        found["doubt"] = f"the QP map shows weakly: {doubt}"
    if not provable:
        found["note"] = "too flat a map or too few blocks with an error for a correlation"
    return found


def of_pictures(steps: F64, mse: F64, uniform_mse: F64) -> dict[str, Any]:
    """Of a stack with a QP a picture, (frames,) each: every picture that was asked to be coarser must have become
    worse, every one to be finer better. Raises JobError that names the first that did not."""
    has_detail = np.maximum(mse, uniform_mse) >= _SOMETHING_TO_LOSE
    wrong = np.flatnonzero(has_detail & (steps != 0) & (np.sign(mse - uniform_mse) != np.sign(steps)))
    if len(wrong):
        raise JobError(
            f"the QPs of pictures took no effect: picture {wrong[0] + 1} of {len(steps)} was to be coded with "
            f"{steps[wrong[0]]:+g}, its squared error went from {uniform_mse[wrong[0]]:.4g} to {mse[wrong[0]]:.4g}"
        )
    return {
        "kind": "each picture's error against the uniform encode",
        "pictures": int(np.sum(has_detail & (steps != 0))),
    }


def _varies(steps: F64) -> bool:
    """Whether enough blocks differ from the most frequent step for a correlation to mean something."""
    _, counts = np.unique(np.rint(steps), return_counts=True)
    others = int(steps.size - counts.max())
    return others >= 4 and others >= 0.05 * steps.size


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _short(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items() if name != "kind")
