"""Published networks by one word: found in mmsegmentation's list, fetched once, checked, and taken from the cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers import small_networks
from tests.helpers.commands import tree
from tests.helpers.web import Web
from vcmbench import tasks
from vcmbench.errors import RequestError
from vcmbench.tasks import TaskSettings, fetch, published_weights, zoo

FAST_SCNN = "fast_scnn_8xb4-160k_cityscapes-512x1024"
NOWHERE = "http://127.0.0.1:9"  # the port "discard": nobody listens


@pytest.fixture(autouse=True)
def cache(web: Web, tmp_path: Path) -> Path:
    return tmp_path / "cache/vcmbench/networks"


def _name(data: bytes) -> str:
    return f"net_20210101_000000-{hashlib.sha256(data).hexdigest()[:8]}.pth"


def test_the_zoo_is_known_without_a_network() -> None:
    known = zoo.networks()
    assert len(known) > 500
    assert known[FAST_SCNN].data == "Cityscapes"
    assert known[FAST_SCNN].config.is_file()
    assert {len(str(fetch.checksum_in_name(network.url))) for network in known.values()} == {8}


def test_a_word_without_a_network(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """It says which file to put where. Put there, it is taken."""
    entry = zoo.networks()[FAST_SCNN]
    moved = zoo.ZooNetwork(entry.name, entry.config, f"{NOWHERE}/{Path(entry.url).name}", entry.data)
    monkeypatch.setattr(zoo, "networks", lambda: {FAST_SCNN: moved})
    place = cache / "fast_scnn_lr0.12_8x4_160k_cityscapes_20210630_164853-0cec9937.pth"
    with pytest.raises(RequestError, match=r"cannot be fetched \(.*refused.*\); where there is a network") as error:
        tasks.open_task(TaskSettings(model=FAST_SCNN), "local", "none")
    assert str(error.value).endswith(f"fetch it and lay it at {place}")
    place.write_bytes(b"something else")
    with pytest.raises(RequestError, match=r"in place of .*, which has another SHA-256"):
        tasks.open_task(TaskSettings(model=FAST_SCNN), "local", "none")


def test_a_word_with_a_network(web: Web, cache: Path, monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray) -> None:
    """The zoo's own Fast-SCNN by its own config, with weights that only this test has."""
    import torch

    from vcmbench.tasks import configs

    entry = zoo.networks()[FAST_SCNN]
    network = small_networks.seeded({"model": configs.read(entry.config).model})
    cache.parent.mkdir(parents=True)
    torch.save({"meta": {}, "state_dict": network.state_dict()}, cache.parent / "made.pth")
    data = (cache.parent / "made.pth").read_bytes()
    web.files[f"/{_name(data)}"] = data
    served = zoo.ZooNetwork(entry.name, entry.config, f"{web.address}/{_name(data)}", entry.data)
    monkeypatch.setattr(zoo, "networks", lambda: {FAST_SCNN: served})
    masks = []
    for _ in range(2):
        with tasks.open_task(TaskSettings(model=FAST_SCNN), "local", "none") as task:
            masks.append(task.predict([astronaut])[0])
            assert task.identity()["network"] == FAST_SCNN
            assert task.identity()["weights_sha256"] == hashlib.sha256(data).hexdigest()
    assert web.asked == [f"GET /{_name(data)}"], "fetched once"
    assert np.array_equal(*masks)
    assert list(tree(cache)) == [_name(data)]


def test_a_word_that_means_nothing() -> None:
    with pytest.raises(RequestError, match=rf"no network of mmsegmentation's zoo; near it: {FAST_SCNN}"):
        tasks.open_task(TaskSettings(model="fast_scnn"), "local", "none")
    with pytest.raises(ValidationError):
        TaskSettings.model_validate({"model": 3})


def test_words_are_not_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of that name beside us is a config, and must end like one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / FAST_SCNN).write_text("")
    with pytest.raises(RequestError, match=r"config ends in \.py"):
        tasks.open_task(TaskSettings(model=FAST_SCNN), "local", "none")


def test_a_classifier_from_the_hub(web: Web, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = small_networks.classification(tmp_path, 1000)
    data = Path(str(settings.checkpoint)).read_bytes()
    path = "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors"
    monkeypatch.setenv("HF_ENDPOINT", web.address)
    by_name = TaskSettings(name="classification", model="test_resnet.r160_in1k")
    with pytest.raises(RequestError, match=r"cannot be fetched from .*404.*a network without weights is never used"):
        tasks.open_task(by_name, "local", "none")
    web.files[path] = data
    web.asked.clear()
    for _ in range(2):
        with tasks.open_task(by_name, "local", "none") as task:
            assert task.identity()["weights_sha256"] == hashlib.sha256(data).hexdigest()
            assert task.classes[0] == "n01440764"
    assert web.asked == [f"HEAD {path}", f"GET {path}"]
    assert list(tree(cache)) == [f"timm--test_resnet.r160_in1k-{hashlib.sha256(data).hexdigest()}.safetensors"]


@pytest.mark.parametrize("model", ["test_resnet.r160_in1k", "torchvision/resnet18"])
def test_a_classifier_without_a_network(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never random weights."""

    def no_network(*_: object, **__: object) -> Any:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.create_connection", no_network)
    with pytest.raises(RequestError, match=r"cannot be fetched.*Network is unreachable"):
        tasks.open_task(TaskSettings(name="classification", model=model), "local", "none")


def test_timm_addresses_with_a_checksum(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    about = timm.get_pretrained_cfg("resnet18")
    assert fetch.checksum_in_name(str(about.url)) == "d63eafa0"  # type: ignore[union-attr]
    data = json.dumps({"weights": 1}).encode()
    monkeypatch.setattr(about, "url", f"{web.address}/{_name(data)}")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: about)
    web.files[f"/{_name(data)}"] = data
    assert published_weights.of_timm("resnet18").read_bytes() == data
