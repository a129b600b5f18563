"""Classification: small networks of timm and torchvision on a folder of class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import small_networks
from tests.helpers.paths import PHOTOGRAPHS
from tests.helpers.pictures import save
from vcmbench import tasks
from vcmbench.data import dataset
from vcmbench.data.dataset import read_picture
from vcmbench.data.selection import Selection
from vcmbench.errors import RequestError
from vcmbench.tasks import TaskSettings, checkpoints
from vcmbench.tasks import kind as kinds


@pytest.fixture
def class_folders(tmp_path: Path, astronaut: NDArray[np.uint8]) -> Path:
    """DATA/<class>/*.png with real photographs."""
    root = tmp_path / "animals"
    with Image.open(PHOTOGRAPHS / "chelsea.png") as cat:
        save(root / "cat/chelsea.png", np.asarray(cat.convert("RGB")))
    save(root / "person/a.png", astronaut)
    save(root / "person/b.png", np.ascontiguousarray(astronaut[:, ::-1]))
    return root


def test_the_same_as_timm_itself(class_folders: Path, tmp_path: Path) -> None:
    import timm
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    settings = small_networks.classification(tmp_path)
    network = timm.create_model(settings.model, num_classes=3)
    network.load_state_dict(checkpoints.load(Path(str(settings.checkpoint))).tensors)
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    sources = dataset.find_sources(dataset.open_root(class_folders), Selection())
    pictures = [read_picture(source.path).rgb for source in sources]
    with torch.inference_mode():
        batch = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
        expected = network.eval()(batch).softmax(dim=1).numpy()
    with tasks.open_task(settings, "local", "none") as task:
        assert np.allclose(task.predict(pictures), expected, atol=1e-6)
    assert [source.name.parent.name for source in sources] == ["cat", "person", "person"]


def test_a_torchvision_checkpoint(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    """As its training script saves it: {"model": state_dict, ..}, here with four classes."""
    import argparse

    from torchvision import models

    torch.manual_seed(0)
    network = models.get_model("mobilenet_v3_small", weights=None, num_classes=4)
    path = tmp_path / "model.pth"
    torch.save({"model": network.state_dict(), "epoch": 3, "args": argparse.Namespace(lr=0.1)}, path)
    settings = TaskSettings(name="classification", model="torchvision/mobilenet_v3_small", checkpoint=str(path))
    transform = models.get_model_weights("mobilenet_v3_small").DEFAULT.transforms()
    with torch.inference_mode():
        expected = network.eval()(transform(Image.fromarray(astronaut))[None]).softmax(dim=1)[0].numpy()
    with tasks.open_task(settings, "local", "none") as task:
        assert task.classes == tuple(f"class {i}" for i in range(4))
        assert np.allclose(task.predict([astronaut])[0], expected, atol=1e-6)


def test_a_label_is_the_folders_name() -> None:
    classes, answer = ("cat", "dog"), np.array([0.25, 0.75], np.float32)

    def label(folder: str) -> int | None:
        found = kinds.count(kinds.get("classification"), answer, None, kinds.Truth(folder=folder), classes)["labels"]
        return found and found["class"]

    assert (label("dog"), label("cat")) == (1, 0)
    assert label("horse") is None and label("") is None, "a picture that lies in no folder of a class"


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("demo", "model 'demo': is none of timm's"),
        ("resnet18000", "is none of timm's; near it: resnet18"),
        ("hf-hub:somebody/something", "is none of timm's"),
        ("torchvision/resnet17", "is none of torchvision's; near it: resnet1"),
    ],
)
def test_models_that_there_are_not(model: str, why: str) -> None:
    with pytest.raises(RequestError, match=why):
        tasks.open_task(TaskSettings(name="classification", model=model), "local", "none")


@pytest.mark.parametrize("model", ["test_vit.r160_in1k", "torchvision/mobilenet_v3_small"])
def test_a_checkpoint_of_another_network(tmp_path: Path, model: str) -> None:
    settings = small_networks.classification(tmp_path, model=model)
    with pytest.raises(RequestError, match="of another network: missing: "):
        tasks.open_task(settings, "local", "none")


def test_a_checkpoint_that_segments(tmp_path: Path) -> None:
    other = small_networks.segmentation(tmp_path)
    settings = small_networks.classification(tmp_path, checkpoint=other.checkpoint)
    with pytest.raises(RequestError, match=r"of another network: missing: fc\.weight"):
        tasks.open_task(settings, "local", "none")
