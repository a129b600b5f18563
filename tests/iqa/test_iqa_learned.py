"""Learned metrics: the real code, with weights that the tests make, and files that must be refused."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.helpers.iqa_weights import CHANNELS, seal
from tests.helpers.web import Web
from vcmbench.errors import RequestError
from vcmbench.iqa import Scorer, learned
from vcmbench.iqa.weights import DISTS, LPIPS, PIEAPP, SUMS, VGG16, WeightFile, cache_folder

U8 = NDArray[np.uint8]
NAMES = ("LPIPS", "DISTS", "PieAPP")


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


def test_a_metric_that_cannot_be_opened_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(learned, "dists")
    missing = Scorer(["DISTS", "PSNR"], weights=tmp_path).missing
    assert list(missing) == ["DISTS"] and missing["DISTS"].startswith("DISTS cannot be opened: AttributeError: ")


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
