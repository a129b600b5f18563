"""Which answers a network is expected to change, from one look at the pristine picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from vcmbench.errors import JobError
from vcmbench.iqa import Scorer
from vcmbench.tasks import TaskSettings
from vcmbench.tasks.flips import ExpectedFlips
from vcmbench.tasks.sensitivity import Differentiable

U8 = NDArray[np.uint8]
SLOPES = np.array([[0.5, -0.25, 0.125], [0.0, 0.25, 0.25], [-0.5, 0.0, 0.0]], np.float32)


class Linear(Differentiable):
    """Three classes of each pixel by its colour alone: margins and what moves them are known exactly."""

    def __init__(self, every: int = 1) -> None:
        self.every, self.seen = every, 0

    def input(self, image: U8) -> torch.Tensor:
        return torch.from_numpy(image).permute(2, 0, 1)[None].float()

    def logits(self, numbers: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return torch.einsum("kc,nchw->nkhw", torch.from_numpy(SLOPES), numbers)[..., :: self.every, :: self.every]

    def at_pixels(self, values: torch.Tensor, image: U8) -> NDArray[np.float32]:
        found: NDArray[np.float32] = values.sum(1)[0].numpy()
        return found


def opened(network: Linear, monkeypatch: pytest.MonkeyPatch) -> ExpectedFlips:
    found = ExpectedFlips(TaskSettings())
    monkeypatch.setattr(found, "_made", network)
    return found


@pytest.fixture
def pair() -> tuple[U8, U8]:
    rng = np.random.default_rng(0)
    pristine = rng.integers(0, 256, (40, 48, 3), np.uint8)
    return pristine, np.clip(pristine + rng.normal(0, 4, pristine.shape), 0, 255).astype(np.uint8)


def test_of_a_linear_network_it_is_what_can_be_reckoned(pair: tuple[U8, U8], monkeypatch: pytest.MonkeyPatch) -> None:
    pristine, decoded = pair
    scores = pristine.astype(np.float64) @ SLOPES.T
    order = scores.argsort(2)
    best, next_best = order[..., 2], order[..., 1]
    margins = np.diff(np.sort(scores, axis=2))[..., -1]
    energy = (SLOPES[best] - SLOPES[next_best]) ** 2
    variance = gaussian_filter((energy * (decoded.astype(float) - pristine) ** 2).sum(2), 8)
    expected = norm.cdf(-margins / (4 * np.sqrt(variance)))
    np.testing.assert_allclose(opened(Linear(), monkeypatch).of(pristine, decoded), expected, atol=2e-4)  # float32


def test_coarser_answers_have_the_energy_of_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of stride 4 whose answers are those of one of stride 1, on a picture in blocks of 4 pixels."""
    rng = np.random.default_rng(1)
    pristine = np.full((32, 48, 3), (120, 60, 90), np.uint8)
    decoded = (pristine + rng.integers(-3, 4, pristine.shape)).astype(np.uint8)
    fine, coarse = (opened(Linear(every), monkeypatch).of(pristine, decoded) for every in (1, 4))
    assert coarse.mean() == pytest.approx(fine.mean(), rel=0.25)


def test_the_decoded_picture_is_not_shown_to_the_network(pair: tuple[U8, U8], monkeypatch: pytest.MonkeyPatch) -> None:
    network = Linear()
    flips = opened(network, monkeypatch)
    assert not flips.of(pair[0], pair[0]).any()
    for _ in range(3):
        assert 0 < flips.of(*pair).mean() < 0.5
    assert network.seen == 1


def test_metrics_of_blocks_are_those_of_their_places(pair: tuple[U8, U8], monkeypatch: pytest.MonkeyPatch) -> None:
    """The network sees whole pictures; a picture that it cannot take has a reason, and other metrics go on."""
    flips = opened(Linear(), monkeypatch)
    scorer = Scorer(["Flips", "PSNR"], network=flips)
    pristine, decoded = pair
    whole = scorer.flips(pristine, decoded, scorer.names)
    assert whole is not None
    assert scorer.score(pristine[None], decoded[None]).at("Flips", 0)[0] == pytest.approx(whole.mean(), rel=1e-6)
    cut = np.s_[4:40, 8:44]
    of_block = scorer.score(pristine[cut][None], decoded[cut][None], flips=whole[cut][None])
    assert of_block.at("Flips", 0)[0] == pytest.approx(whole[cut].mean(), rel=1e-6)

    def refuse(*_: object) -> None:
        raise JobError("the network cannot take a picture of 48x40 px")

    monkeypatch.setattr(flips, "of", refuse)
    found = scorer.score(pristine[None], decoded[None])
    assert found.at("Flips", 0) == (None, "the network cannot take a picture of 48x40 px")
    assert found.at("PSNR", 0)[1] is None


def test_without_a_network_it_is_missing() -> None:
    assert "[metrics] network" in Scorer(["Flips"]).missing["Flips"]
