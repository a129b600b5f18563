"""Networks of torchvision and folders of transformers, with random weights that the tests save."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from safetensors.torch import save_file
from torchvision import models
from torchvision.models import detection
from torchvision.models.detection import backbone_utils, faster_rcnn, mask_rcnn

from vcmbench import tasks
from vcmbench.data.labels import CLASSES
from vcmbench.errors import RequestError
from vcmbench.tasks import TaskSettings, torchvision_networks
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.batching import as_chw
from vcmbench.tasks.segments import unpacked
from vcmbench.tasks.sensitivity import SegmentationSensitivity

KIND = kinds.get("instances")
Picture = NDArray[np.uint8]
WITHOUT: dict[str, Any] = {"weights": None, "weights_backbone": None}


def picture(height: int = 48, width: int = 80, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def opened(**keys: Any) -> tasks.Task:
    return tasks.open_task(TaskSettings(**keys), "local", "none", 2)


def saved(network: torch.nn.Module, path: Path) -> str:
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


def lively(network: torch.nn.Module, inputs: Any) -> torch.nn.Module:
    """With the statistics of a picture in its batch norms, so that not all pixels are answered alike."""
    network.eval()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.train()
            part.momentum = None
    with torch.no_grad():
        network(inputs)
    return network.eval()


def alone(run: Callable[[], Any]) -> Any:
    """On one thread, as pictures are looked at."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            return run()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "count", "aux", "ending"),
    [("lraspp_mobilenet_v3_large", 19, {}, "safetensors"),
     ("deeplabv3_mobilenet_v3_large", 21, {"aux_loss": True}, "pth")],
)  # fmt: skip
def test_torchvision_segments_at_full_size(name: str, count: int, aux: Any, ending: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pixels = torch.from_numpy(picture().transpose(2, 0, 1).copy()).float() / 255
    network = lively(models.get_model(name, **WITHOUT, num_classes=count, **aux), torch.stack([pixels, pixels.flip(2)]))
    weights = saved(network, tmp_path / f"w.{ending}")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    wanted = alone(lambda: network(((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))[None])["out"][0].argmax(0))
    with opened(model=f"torchvision/{name}", checkpoint=weights) as task:
        found = task.predict([picture(), picture(60, 64)])
        assert task.classes == (
            CLASSES if count == 19 else tuple(models.get_model_weights(name).DEFAULT.meta["categories"])
        )
        assert task.identity()["network"] == f"torchvision/{name}"
    assert len(np.unique(found[0])) > 1 and np.mean(found[0] == wanted.numpy()) > 0.999
    assert found[1].shape == (60, 64)
    asked = SegmentationSensitivity(TaskSettings(model=f"torchvision/{name}", checkpoint=weights))
    decoded = np.clip(picture().astype(int) + 9, 0, 255).astype(np.uint8)
    told = asked.contributions(picture(), decoded, 1)
    assert told.shape == (48, 80) and np.isfinite(told).all() and told.any()


@pytest.mark.parametrize(
    ("name", "count"),
    [("fasterrcnn_mobilenet_v3_large_320_fpn", 91), ("ssdlite320_mobilenet_v3_large", 4)],
)
def test_torchvision_detects(name: str, count: int, tmp_path: Path) -> None:
    """Labels of COCO by name, without the background and its numbers that have no class; corners in the picture."""
    torch.manual_seed(0)
    network = models.get_model(name, **WITHOUT, num_classes=count)
    for each, weight in network.named_parameters():  # sure of something
        if each.endswith("cls_score.weight") or "classification_head.module_list" in each:
            weight.data.normal_(0, 0.3)
    pixels = torch.from_numpy(picture().transpose(2, 0, 1).copy()).float() / 255
    lively(network, [pixels, pixels.flip(2)])
    weights = saved(network, tmp_path / "w.safetensors")
    (wanted,) = alone(lambda: network([pixels]))
    with opened(name="detection", model=f"torchvision/{name}", checkpoint=weights) as task:
        (found,), names = task.predict([picture()]), task.classes
        assert np.array_equal(task.predict([picture(), picture(seed=1)])[0], found)
    pair = torch.stack([as_chw(picture()), as_chw(picture(seed=1))])
    both = alone(lambda: torchvision_networks.boxes(network, pair, list(range(count))))  # as a GPU is given them
    filled = [int((~one[:, 0].isnan()).sum()) for one in both]
    assert filled[0] == len(wanted["boxes"]) and max(filled) == both.shape[1]
    categories = models.get_model_weights(name).DEFAULT.meta["categories"]
    if count == 91:
        assert len(names) == 80 and names[:3] == ("person", "bicycle", "car") and names[-1] == "toothbrush"
        kept = [i for i, label in enumerate(wanted["labels"]) if categories[label] != "N/A"]
        assert [names[int(which)] for which in found[:, 4]] == [categories[wanted["labels"][i]] for i in kept]
    else:
        assert names == tuple(f"class {number}" for number in range(1, count))
        kept = list(range(len(wanted["labels"])))
        assert np.array_equal(found[:, 4], wanted["labels"].numpy() - 1)
    assert len(found) > 3
    assert found[:, :4] == pytest.approx(wanted["boxes"][kept].numpy(), abs=1e-3)
    assert found[:, 5] == pytest.approx(wanted["scores"][kept].numpy(), abs=1e-5)


def small_mask_rcnn(_name: str, num_classes: int = 91, **without: Any) -> torch.nn.Module:
    """In place of the network of 170 MB."""
    assert without == WITHOUT
    backbone = backbone_utils.resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    return detection.MaskRCNN(
        backbone, min_size=64, max_size=120, rpn_post_nms_top_n_test=40, box_detections_per_img=15,
        box_head=faster_rcnn.TwoMLPHead(256 * 7 * 7, 32), box_predictor=faster_rcnn.FastRCNNPredictor(32, num_classes),
        mask_predictor=mask_rcnn.MaskRCNNPredictor(256, 32, num_classes),
    )  # fmt: skip


def test_torchvision_finds_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of at least 0.5 of what it pastes into the picture by itself."""
    name = "maskrcnn_resnet50_fpn"
    monkeypatch.setattr(models, "get_model", small_mask_rcnn)
    torch.manual_seed(0)
    network = models.get_model(name, **WITHOUT, num_classes=4)
    network.roi_heads.box_predictor.cls_score.weight.data.normal_(0, 0.3)
    network.roi_heads.mask_predictor.mask_fcn_logits.weight.data.normal_(0, 0.5)
    pixels = torch.from_numpy(picture().transpose(2, 0, 1).copy()).float() / 255
    lively(network, [pixels, pixels.flip(2)])
    weights = saved(network, tmp_path / "w.safetensors")
    (wanted,) = alone(lambda: network([pixels]))
    keys = {"name": "instances", "model": f"torchvision/{name}", "checkpoint": weights}
    with opened(**keys, classes=["a", "b", "c"]) as task:
        answers = task.predict([picture(), picture(60, 64)])
        assert task.identity()["network"] == f"torchvision/{name}" and task.classes == ("a", "b", "c")
    KIND.check(answers[1], (60, 64), 3)
    found = unpacked(answers[0])
    expected = (wanted["masks"][:, 0] >= 0.5).numpy()
    there = expected.any(axis=(1, 2))
    assert len(found) == there.sum() > 3
    assert [which for which, *_ in found] == (wanted["labels"].numpy() - 1)[there].tolist()
    assert [score for _, score, _ in found] == pytest.approx(wanted["scores"].numpy()[there].tolist(), abs=1e-5)
    pasted = np.array([coco_mask.decode(one).astype(bool) for *_, one in found])
    assert np.mean(pasted == expected[there]) > 0.9999 and 0.05 < pasted.mean() < 0.95


def test_all_labels_of_a_detector_may_have_names(tmp_path: Path) -> None:
    """RetinaNet answers label 0, too: then it is no background."""
    network = models.get_model("retinanet_resnet50_fpn", **WITHOUT, num_classes=3)
    keys = {"name": "detection", "model": "torchvision/retinanet_resnet50_fpn"}
    prepared = tasks.get("detection").prepare(
        TaskSettings(**keys, checkpoint=saved(network, tmp_path / "w.safetensors"))  # type: ignore[arg-type]
    )
    prepared.options["classes"] = ["cat", "dog", "cow"]
    assert torchvision_networks.detecting(prepared)[1:] == (("cat", "dog", "cow"), [0, 1, 2])
    prepared.options["classes"] = ["cat"]
    with pytest.raises(RequestError, match="1 names were given, but the network has 2 outputs"):
        torchvision_networks.detecting(prepared)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"model": "torchvision/deeplab_resnet50"}, "none of torchvision's for segmentation; near it: deeplabv3_r"),
        ({"model": "torchvision/fcn_resnet50", "checkpoint": "none.pth"}, "checkpoint none.pth: no such file"),
        ({"model": "torchvision/fcn_resnet50", "input": {"scale": 1}}, "only an ONNX file as model has this table"),
        ({"model": "torchvision/resnet18", "name": "detection"}, "none of torchvision's for detection"),
        ({"model": "torchvision/ssd300_vgg16", "name": "instances"}, "masks of objects is an ONNX file, .onnx, or"),
        ({"model": "x.pt", "name": "detection"}, "a detector is 'demo', an ONNX file or torchvision/NAME"),
        ({"model": "torchvision/fcn_resnet50", "checkpoint": "other.safetensors"}, "of another network: missing"),
    ],
)  # fmt: skip
def test_wrong_networks_of_torchvision(
    keys: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file({"a": torch.zeros(1)}, "other.safetensors")
    with pytest.raises(RequestError, match=reason):
        opened(**keys)
