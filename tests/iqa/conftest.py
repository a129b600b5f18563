"""Weights of learned metrics that the tests make, and piq's and piqa's own objects with the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import piq
import pytest
import torch
import torchvision

from tests.helpers.iqa_weights import seal, states
from vcmbench.iqa.weights import DISTS, LPIPS, PIEAPP, VGG16


@pytest.fixture(scope="session")
def made() -> dict[str, Any]:
    return states()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> Path:
    """A folder with them."""
    folder = tmp_path_factory.mktemp("weights")
    for name, state in made.items():
        torch.save(state, folder / name)
    seal(folder)
    return folder


@pytest.fixture
def references(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """piq's and piqa's own objects; only what they fetch is replaced, by the tests' weights."""
    features = torchvision.models.vgg16(weights=None).features
    features.load_state_dict({k[9:]: v for k, v in made[VGG16.name].items() if k.startswith("features.")})
    fetched = {
        "lpips_weights.pt": list(made[LPIPS.name].values()),
        "vgg.pth": made[LPIPS.name],
        "dists_weights.pt": made[DISTS.name],
        "PieAPPv0.1.pth": dict(made[PIEAPP.name]),
    }
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **_: fetched[url.rsplit("/", 1)[1]])
    monkeypatch.setattr(piq.perceptual, "vgg16", lambda **_: SimpleNamespace(features=features))
    monkeypatch.setattr(torchvision.models, "vgg16", lambda **_: SimpleNamespace(features=features))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # pictures here are small
    yield
    torch.set_num_threads(before)
