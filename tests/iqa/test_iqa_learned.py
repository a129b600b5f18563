"""Learned metrics: the real code, with weights that the tests make, and files that must be refused."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import piq
import piqa
import pytest
import torch
import torchvision
from numpy.typing import NDArray

from tests.helpers.iqa_reference import pairs, tensor
from tests.helpers.web import Web
from vcmbench.errors import RequestError
from vcmbench.iqa import METRICS, PROFILES, Scorer, learned
from vcmbench.iqa.weights import DISTS, LPIPS, PIEAPP, SUMS, VGG16, WeightFile, cache_folder

U8 = NDArray[np.uint8]
NAMES = ("LPIPS", "DISTS", "PieAPP")
CHANNELS = (64, 128, 256, 512, 512)


def states() -> dict[str, Any]:
    """Random weights in the shapes and under the names of the real files."""
    torch.manual_seed(7)
    vgg = {f"features.{k}": v for k, v in torchvision.models.vgg16(weights=None).features.state_dict().items()}
    shares = torch.rand(2, 1, 3 + sum(CHANNELS), 1, 1)  # their sum is 1, so that identical pictures have 0
    pieapp = {}
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in piq.pieapp.PieAPPModel().state_dict().items()}
    for name, shape in shapes.items():
        # the first linear layer has 62 million weights: its rows are equal here, which takes no room in the file
        rows = 1 if name == "fc1_score.weight" else shape[0]
        pieapp[name] = (torch.randn(rows, *shape[1:]) / max(1, shape[1:].numel()) ** 0.5).expand(shape)
    pieapp["ref_score_subtract.weight"] = pieapp["ref_score_subtract.weight"][0]
    return {
        VGG16.name: vgg | {"classifier.0.bias": torch.zeros(4096)},
        LPIPS.name: {f"lin{i}.model.1.weight": torch.rand(1, n, 1, 1) for i, n in enumerate(CHANNELS)},
        DISTS.name: dict(zip(("alpha", "beta"), shares / shares.sum(), strict=True)),
        PIEAPP.name: pieapp,
    }


def seal(folder: Path) -> None:
    """Write SHA256SUMS of all files of a folder, as their owner would."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    (folder / SUMS).write_text("".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # pictures here are small
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return states()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, made: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    for name, state in made.items():
        torch.save(state, folder / name)
    seal(folder)
    return folder


@pytest.fixture
def by_hand(made: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Any]:
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

    def build(name: str, profile: str) -> Any:
        if name == "LPIPS" and profile == "qomex2023":
            return piqa.LPIPS(network="vgg", reduction="none")
        return getattr(piq, name)(reduction="none")

    return build


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_piq_and_piqa_with_the_same_weights(
    astronaut: U8, weights: Path, by_hand: Callable[[str, str], Any], name: str, profile: str
) -> None:
    pristine, decoded = (pictures[:2] for pictures in pairs(astronaut, 91, 70))
    scorer = Scorer([name], profile, weights=weights)
    assert scorer.missing == {}
    found = scorer.score(pristine, decoded).values[name]
    with torch.no_grad():
        wanted = by_hand(name, profile)(tensor(decoded, profile), tensor(pristine, profile)).numpy()
    assert np.abs(found - wanted).max() <= 1e-6 * max(1, np.abs(wanted).max())
    assert found[0] != found[1]
    assert scorer.score(pristine[1:], decoded[1:]).values[name][0] == found[1]
    same = scorer.score(pristine, pristine).values[name]
    if METRICS[name].convention(profile).perfect is not None:
        assert np.abs(same).max() < 1e-5


SMALLEST = [("LPIPS", 32, 16), ("DISTS", 1, 1), ("PieAPP", 64, 64)]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("name", "standard_px", "published_px"), SMALLEST)
def test_the_smallest_side_is_the_smallest(
    astronaut: U8, weights: Path, name: str, standard_px: int, published_px: int, profile: str
) -> None:
    side = standard_px if profile == "standard" else published_px
    scorer = Scorer([name], profile, weights=weights)
    picture = astronaut[None, :side, :side]
    scores = scorer.score(picture, picture[:, :, ::-1])
    assert np.isfinite(scores.values[name][0]) and scores.reasons[name] == (None,)
    if side > 1:
        scores = scorer.score(picture[:, 1:], picture[:, 1:])
        assert scores.reasons[name] == (f"needs a shorter side of {side} px or more; it is {side - 1} px",)


def test_weights_decide_the_identity(weights: Path, made: dict[str, Any], tmp_path: Path) -> None:
    for path in weights.iterdir():
        os.link(path, tmp_path / path.name)
    (tmp_path / DISTS.name).unlink()
    (tmp_path / SUMS).unlink()
    torch.save({part: value * 2 for part, value in made[DISTS.name].items()}, tmp_path / DISTS.name)
    seal(tmp_path)
    first, second = Scorer(["DISTS"], weights=weights), Scorer(["DISTS"], weights=tmp_path)
    assert first.identity("DISTS") != second.identity("DISTS")
    assert set(first.identity("DISTS")["weights"]) == {DISTS.name, VGG16.name}


def test_without_weights_a_metric_is_missing_with_the_reason(astronaut: U8, tmp_path: Path) -> None:
    scorer = Scorer([*NAMES, "PSNR"], weights=tmp_path)
    assert set(scorer.missing) == set(NAMES)
    assert f"has no {PIEAPP.name} (from {PIEAPP.url})" in scorer.missing["PieAPP"]
    scores = scorer.score(astronaut[None], astronaut[None])
    for name in NAMES:
        assert np.isnan(scores.values[name]).all() and scores.reasons[name] == (scorer.missing[name],)
    assert scores.reasons["PSNR"] == (None,)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is not a folder"):
        Scorer(["LPIPS"], weights=tmp_path / "none")


class Code:
    """What a pickle can do to whoever loads it."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.witness}'",)


def zipped(content: object, path: Path) -> None:
    torch.save(content, path)


def pickled(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [zipped, pickled])
def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path, write: Callable[[object, Path], None]) -> None:
    witness = tmp_path / "witness"
    folder = tmp_path / "weights"
    folder.mkdir()
    write({"fc1_weight.bias": Code(witness)}, folder / PIEAPP.name)
    seal(folder)
    with pytest.raises(RequestError, match=r"PieAPPv0\.1\.pth: (holds more than tensors|is damaged)") as refused:
        Scorer(["PieAPP"], weights=folder)
    assert "\n" not in str(refused.value) and not witness.exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>not found</html>")


def listed(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


def other(path: Path) -> None:
    torch.save({"alpha": torch.zeros(1, 64, 1, 1), "beta": torch.zeros(1, 64, 1, 1)}, path)


def infinite(path: Path) -> None:
    torch.save({part: torch.full((1, 3 + sum(CHANNELS), 1, 1), torch.inf) for part in ("alpha", "beta")}, path)


@pytest.mark.parametrize("damage", [cut, empty, text, listed, other, infinite])
def test_a_damaged_file_or_another_networks_is_refused(
    weights: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    os.link(weights / VGG16.name, tmp_path / VGG16.name)
    (tmp_path / DISTS.name).write_bytes((weights / DISTS.name).read_bytes())
    damage(tmp_path / DISTS.name)
    seal(tmp_path)
    with pytest.raises(RequestError, match=r"dists\.pt") as refused:
        Scorer(["DISTS"], weights=tmp_path)
    assert "\n" not in str(refused.value)


def test_another_networks_vgg_is_refused(weights: Path, tmp_path: Path) -> None:
    os.link(weights / LPIPS.name, tmp_path / LPIPS.name)
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / VGG16.name)
    seal(tmp_path)
    with pytest.raises(RequestError, match="another network's weights"):
        Scorer(["LPIPS"], weights=tmp_path)


def test_a_checksum_must_match(weights: Path, tmp_path: Path) -> None:
    os.link(weights / PIEAPP.name, tmp_path / PIEAPP.name)  # no SHA256SUMS: the known sum counts
    with pytest.raises(RequestError, match="has SHA-256 "):
        Scorer(["PieAPP"], weights=tmp_path)
    (tmp_path / SUMS).write_text("nonsense\n")
    with pytest.raises(RequestError, match=f"{SUMS}, line 1"):
        Scorer(["PieAPP"], weights=tmp_path)


def test_weights_are_fetched_once(web: Web, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the cache, by their checksum; what cannot be had is missing, with the reason and what to do."""
    content = (weights / PIEAPP.name).read_bytes()
    file = WeightFile(PIEAPP.name, f"{web.address}/pieapp.pth", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(learned, "PIEAPP", file)
    missing = Scorer(["PieAPP"]).missing["PieAPP"]
    assert missing.startswith("no weights: ") and "404" in missing and "--weights" in missing and "\n" not in missing
    web.files["/pieapp.pth"] = content
    first, again = Scorer(["PieAPP"]), Scorer(["PieAPP"])
    assert first.missing == again.missing == {} and again.identity("PieAPP") == first.identity("PieAPP")
    assert web.asked == ["GET /pieapp.pth"] * 2
    assert [path.name for path in cache_folder().iterdir()] == [PIEAPP.name]
