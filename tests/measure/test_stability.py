"""Stability over time, on sequences whose motion is known."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from vcmbench.measure.outcome import MeasureOutcome
from vcmbench.measure.run import MeasureRun
from vcmbench.measure.stability import backward_flow, changed
from vcmbench.tasks.kind import get as get_kind

H, W = 96, 128
U8 = NDArray[np.uint8]


def panning(shift: tuple[int, int]) -> tuple[U8, U8, U8, U8]:
    """Two frames of a texture that moves by (x, y) pixels, and masks of classes that move with it."""
    rng = np.random.default_rng(3)
    texture = ndimage.gaussian_filter(rng.normal(size=(H + 40, W + 40)), 1.5)
    luma = np.rint(127 + 120 * texture / abs(texture).max()).astype(np.uint8)
    classes = (ndimage.gaussian_filter(rng.normal(size=luma.shape), 8) > 0).astype(np.uint8)
    (x, y), old = shift, (slice(20, 20 + H), slice(20, 20 + W))
    new = slice(20 - y, 20 - y + H), slice(20 - x, 20 - x + W)
    return luma[old], luma[new], classes[old], classes[new]


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (-5, 2), (9, -4)])
def test_what_moves_with_its_object_is_steady(shift: tuple[int, int]) -> None:
    before, after, answer, moved = panning(shift)
    flow, valid = backward_flow(before, after)
    inner = slice(12, -12), slice(12, -12)
    assert np.median(flow[inner], axis=(0, 1)) == pytest.approx([-shift[0], -shift[1]], abs=0.1)
    assert valid[inner].mean() > 0.97
    assert changed(answer, moved, flow, valid) < 0.005 * valid.sum()
    if shift != (0, 0):  # answers that stay where they are while the picture moves are not
        assert changed(answer, answer, flow, valid) > 0.02 * valid.sum()


def test_flicker_is_counted_to_the_pixel() -> None:
    before, _, answer, _ = panning((0, 0))
    flow, valid = backward_flow(before, before)
    assert valid.all() and not flow.any()
    flickering = answer.copy()
    flickering[10:18, 20:28] ^= 1
    assert changed(answer, flickering, flow, valid) == changed(flickering, answer, flow, valid) == 64


def test_what_comes_into_view_is_not_counted() -> None:
    before, after, answer, moved = panning((9, 0))
    flow, valid = backward_flow(before, after)
    assert not valid[:, :4].any(), "it was outside"
    other = moved.copy()
    other[:, :4] ^= 1
    assert changed(answer, moved, flow, valid) == changed(answer, other, flow, valid)


def test_flicker_of_what_is_no_mask_is_missing_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    run, outcome, predictor = object.__new__(MeasureRun), MeasureOutcome(), SimpleNamespace(kind=get_kind("detection"))
    monkeypatch.setattr(run, "stability", lambda: SimpleNamespace(sequences=["drive"]))
    run._follow(predictor, outcome, threading.Event())  # type: ignore[arg-type]
    assert outcome.reasons == ["stability: the task is a detection; only pictures of labels have it"]
