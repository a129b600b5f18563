"""Confusion counts against loops over pixels, and what must hold for all pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from vcmbench.errors import JobError
from vcmbench.tasks import confusion

K = 4
Ids = NDArray[np.uint8]
IDS = st.sampled_from([0, 1, 2, 3, 4, 9, 255])
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def pictures(draw: Callable[..., Any]) -> tuple[Ids, Ids]:
    shape = draw(SHAPES)
    return draw(arrays(np.uint8, shape, elements=IDS)), draw(arrays(np.uint8, shape, elements=IDS))


def counted_by_hand(prediction: Ids, truth: Ids) -> NDArray[np.int64]:
    counts = np.zeros((K, K + 1), np.int64)
    for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if t < K:
            counts[t, p if p < K else K] += 1
    return counts


def ious_by_hand(prediction: Ids, truth: Ids) -> list[float | None]:
    found: list[float | None] = []
    for k in range(K):
        both = either = 0
        for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
            if t < K:
                both += p == k and t == k
                either += p == k or t == k
        found.append(both / either if either else None)
    return found


@given(pictures())
def test_counts_are_those_of_a_loop(pair: tuple[Ids, Ids]) -> None:
    prediction, truth = pair
    counts = confusion.confusion(prediction, truth, K)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, counted_by_hand(prediction, truth))
    assert counts.sum() == (truth < K).sum()


@given(pictures())
def test_measures_are_those_of_a_loop(pair: tuple[Ids, Ids]) -> None:
    prediction, truth = pair
    counts = confusion.confusion(prediction, truth, K)
    ious = ious_by_hand(prediction, truth)
    assert confusion.class_ious(counts) == pytest.approx(ious)
    known = [value for value in ious if value is not None]
    assert confusion.mean_iou(counts) == (pytest.approx(sum(known) / len(known)) if known else None)
    valid = [(p, t) for p, t in zip(prediction.ravel(), truth.ravel(), strict=True) if t < K]
    right = sum(bool(p == t) for p, t in valid)
    assert confusion.accuracy(counts) == (right / len(valid) if valid else None)
    if all(p < K for p, _ in valid) and valid:  # torchmetrics: TP / (2 N - TP)
        assert confusion.micro_iou(counts) == pytest.approx(right / (2 * len(valid) - right))


@given(pictures(), st.randoms(use_true_random=False))
def test_the_order_of_pixels_does_not_matter(pair: tuple[Ids, Ids], random: Any) -> None:
    prediction, truth = (picture.ravel() for picture in pair)
    order = list(range(truth.size))
    random.shuffle(order)
    np.testing.assert_array_equal(
        confusion.confusion(prediction[order], truth[order], K), confusion.confusion(prediction, truth, K)
    )


@given(pictures(), st.data())
def test_parts_add_up(pair: tuple[Ids, Ids], data: st.DataObject) -> None:
    prediction, truth = pair
    rows, columns = truth.shape
    x, y = data.draw(st.integers(1, columns)), data.draw(st.integers(1, rows))
    boxes = [
        box
        for box in ((0, 0, x, y), (x, 0, columns - x, y), (0, y, x, rows - y), (x, y, columns - x, rows - y))
        if box[2] and box[3]
    ]
    cut = ((confusion.crop(prediction, box), confusion.crop(truth, box)) for box in boxes)
    parts = np.stack([confusion.confusion(*pair, K) for pair in cut])
    np.testing.assert_array_equal(parts.sum(axis=0), confusion.confusion(prediction, truth, K))


@given(pictures(), st.data())
def test_bands_are_those_of_a_loop(pair: tuple[Ids, Ids], data: st.DataObject) -> None:
    prediction, truth = pair
    distances = st.sampled_from([math.nan, -1.0, 0.0, 14.99, 15.0, 29.5, 30.0, 59.0, 60.0, 1e9, math.inf])
    distance_m = data.draw(arrays(np.float32, truth.shape, elements=distances.map(np.float32)))
    counts = confusion.distance_confusions(prediction, truth, distance_m, K)
    for band, (start_m, end_m) in enumerate(confusion.BANDS_M):
        inside = (distance_m >= start_m) & ((distance_m < end_m) | (np.isinf(distance_m) & (end_m == math.inf)))
        np.testing.assert_array_equal(counts[band], counted_by_hand(prediction[inside], truth[inside]))
    measured = distance_m >= 0
    np.testing.assert_array_equal(counts.sum(axis=0), counted_by_hand(prediction[measured], truth[measured]))


@given(pictures(), st.data())
def test_importance_weighs_pixels(pair: tuple[Ids, Ids], data: st.DataObject) -> None:
    prediction, truth = pair
    importance = data.draw(arrays(np.float32, truth.shape, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])))
    right = whole = 0.0
    for p, t, weight in zip(prediction.ravel(), truth.ravel(), importance.ravel(), strict=True):
        if t < K:
            whole += float(weight)
            right += float(weight) * bool(p == t)
    assert confusion.weighted(prediction, truth, importance, K) == (right, whole)


def test_equal_importance_is_accuracy() -> None:
    rng = np.random.default_rng(3)
    prediction, truth = rng.integers(0, K, (2, 20, 30), np.uint8)
    right, whole = confusion.weighted(prediction, truth, np.full(truth.shape, 0.5), K)
    assert right / whole == confusion.accuracy(confusion.confusion(prediction, truth, K))


def test_the_published_accuracy_is_the_share_of_equal_pixels() -> None:
    rng = np.random.default_rng(4)
    pristine = rng.integers(0, 19, (40, 50), np.uint8)
    decoded = np.where(rng.random(pristine.shape) < 0.3, rng.integers(0, 19, pristine.shape, np.uint8), pristine)
    counts = confusion.confusion(decoded, pristine)
    assert counts.shape == (19, 20)
    share = float((decoded == pristine).mean())
    assert confusion.accuracy(counts) == pytest.approx(share, abs=1e-15)
    assert confusion.micro_iou(counts) == pytest.approx(share / (2 - share))


def test_figures_worked_out_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, 255, 255]], np.uint8)
    prediction = np.array([[0, 0, 1, 1], [1, 255, 0, 2]], np.uint8)
    counts = confusion.confusion(prediction, truth, 3)
    assert counts.tolist() == [[2, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0]]
    assert confusion.class_ious(counts) == [2 / 3, 2 / 4, None]
    assert confusion.mean_iou(counts) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert confusion.micro_iou(counts) == pytest.approx(4 / 7)
    assert confusion.accuracy(counts) == pytest.approx(4 / 6)


def test_nothing_to_count_is_none() -> None:
    void = np.full((3, 3), 255, np.uint8)
    counts = confusion.confusion(np.zeros((3, 3), np.uint8), void)
    assert not counts.any()
    assert confusion.accuracy(counts) is confusion.mean_iou(counts) is confusion.micro_iou(counts) is None
    assert confusion.class_ious(counts) == [None] * 19


@pytest.mark.parametrize("classes", [1, 19, 255])
def test_any_number_of_classes(classes: int) -> None:
    truth = np.arange(256, dtype=np.uint8)
    counts = confusion.confusion(truth, truth, classes)
    np.testing.assert_array_equal(counts, np.eye(classes, classes + 1, dtype=np.int64))
    bands = confusion.distance_confusions(truth, truth, np.full(256, 70.0), classes)
    np.testing.assert_array_equal(bands[3], counts)
    assert not bands[:3].any()


BLANK = np.zeros((4, 6), np.uint8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: confusion.confusion(BLANK[:3], BLANK), ["prediction", "6x3", "6x4"]),
        (lambda: confusion.confusion(BLANK.astype(np.int64), BLANK), ["uint8", "int64"]),
        (lambda: confusion.confusion(BLANK, BLANK.astype(np.float32)), ["uint8", "float32"]),
        (lambda: confusion.confusion(BLANK, BLANK, 256), ["256 classes"]),
        (lambda: confusion.distance_confusions(BLANK, BLANK, np.zeros((4, 5))), ["distance", "5x4", "6x4"]),
        (lambda: confusion.weighted(BLANK, BLANK, np.zeros((1, 6))), ["importance", "6x1", "6x4"]),
        (lambda: confusion.weighted(BLANK, BLANK, np.full((4, 6), math.nan)), ["importance", "not finite"]),
        (lambda: confusion.weighted(BLANK, BLANK, np.full((4, 6), math.inf)), ["importance", "not finite"]),
        (lambda: confusion.weighted(BLANK, BLANK, np.full((4, 6), -0.1)), ["importance", "negative"]),
        (lambda: confusion.crop(BLANK, (3, 0, 4, 1)), ["4x1 px at (3, 0)", "6x4"]),
        (lambda: confusion.crop(BLANK, (-1, 0, 2, 1)), ["2x1 px at (-1, 0)"]),
        (lambda: confusion.crop(BLANK, (0, 0, 0, 1)), ["0x1 px"]),
    ],
)
def test_what_does_not_fit_is_said(call: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(JobError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(1, 9))
def test_a_crop_is_what_numpy_cuts(width: int, height: int) -> None:
    picture = np.arange(12 * 12, dtype=np.uint8).reshape(12, 12)
    np.testing.assert_array_equal(
        confusion.crop(picture, (2, 3, width, height)), picture[3 : 3 + height, 2 : 2 + width]
    )
