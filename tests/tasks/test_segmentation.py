"""Segmentation: a config is obeyed as mmsegmentation itself does it; what is no config is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import small_networks
from vcmbench import tasks
from vcmbench.data.labels import CLASSES
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import Device, TaskSettings, configs, mmsegmentation, segmentation, zoo

Picture = NDArray[np.uint8]


def _opened(folder: Path, config: dict[str, Any], **more: Any) -> tasks.Task:
    """A network of a config with seeded weights."""
    weights = small_networks.save(folder / "w.safetensors", small_networks.seeded(config).state_dict())
    (folder / "c.json").write_text(json.dumps(config))
    return tasks.open_task(TaskSettings(model=str(folder / "c.json"), checkpoint=str(weights), **more), "local", "none")


def _by_mmseg(config: dict[str, Any], picture: Picture) -> Picture:
    """What mmsegmentation's own `predict` says of a picture."""
    import torch
    from mmseg.structures import SegDataSample

    network = small_networks.seeded(config).eval()
    size = picture.shape[:2]
    about = {"ori_shape": size, "img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
    bgr = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)))
    with torch.inference_mode():
        data = network.data_preprocessor({"inputs": [bgr], "data_samples": [SegDataSample(metainfo=about)]})
        (found,) = network.predict(data["inputs"], data["data_samples"])
    labels: Picture = found.pred_sem_seg.data[0].numpy().astype(np.uint8)
    return labels


def _changed(**parts: dict[str, Any]) -> dict[str, Any]:
    config = small_networks.fast_scnn()
    for part, changes in parts.items():
        config["model"][part] = {**config["model"][part], **changes}
    return config


CONFIGS = {
    "plain": _changed(),
    "slide": _changed(test_cfg={"mode": "slide", "crop_size": [64, 64], "stride": [48, 48]}),
    "bgr": _changed(data_preprocessor={"bgr_to_rgb": False}),
    "other mean": _changed(data_preprocessor={"mean": [0.0, 0.0, 0.0], "std": [255.0, 200.0, 100.0]}),
    "padded": _changed(data_preprocessor={"test_cfg": {"size_divisor": 64}}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_as_mmsegmentation_itself(tmp_path: Path, astronaut: Picture, name: str) -> None:
    """But for pixels where two classes are equal to the last bits: the layout of tensors differs."""
    picture = np.ascontiguousarray(astronaut[:94, :125])
    with _opened(tmp_path, CONFIGS[name]) as task:
        (ours,) = task.predict([picture])
    theirs = _by_mmseg(CONFIGS[name], picture)
    assert (ours != theirs).mean() < 1e-3
    assert len(np.unique(theirs)) > 3


def test_each_part_of_a_config_matters(tmp_path: Path, astronaut: Picture) -> None:
    """Else the test above would compare the same thing five times."""
    masks, hashes = [], set()
    for name, config in CONFIGS.items():
        folder = tmp_path / name
        folder.mkdir()
        with _opened(folder, config) as task:
            masks.append(task.predict([np.ascontiguousarray(astronaut[:94, :125])])[0].tobytes())
            hashes.add(task.identity()["config_sha256"])
    assert len(set(masks)) == len(hashes) == len(CONFIGS)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (31, 33), (65, 129), (200, 40)])
def test_odd_and_tiny_pictures(tmp_path: Path, astronaut: Picture, shape: tuple[int, int]) -> None:
    with _opened(tmp_path, CONFIGS["plain"]) as task:
        (labels,) = task.predict([np.ascontiguousarray(astronaut[: shape[0], : shape[1]])])
        assert labels.shape == shape


def test_batches_of_a_gpu(tmp_path: Path, astronaut: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here on the CPU: pictures of one size together, every batch full, and each prediction at its picture's place."""
    sizes = []

    def noted(network: Any, batch: Any) -> Any:
        sizes.append(tuple(batch.shape))
        return segment(network, batch)

    segment = segmentation.segment
    pictures = small_networks.scenes(astronaut)
    with _opened(tmp_path, CONFIGS["plain"], batch_size=4) as task:
        alone = task.predict(pictures)
        lanes = task._lanes  # type: ignore[attr-defined]
        monkeypatch.setattr(lanes, "_pool", None)
        monkeypatch.setattr(lanes, "_place", Device("cpu", 1, 4))
        monkeypatch.setattr(lanes, "_forward", noted)
        together = task.predict(pictures)
    assert sizes == [(4, 3, 128, 192), (4, 3, 97, 201), (4, 3, 64, 64)]
    for a, b in zip(alone, together, strict=True):
        assert a.shape == b.shape
        assert (a != b).mean() < 1e-3


def test_a_size_that_a_network_cannot_take(tmp_path: Path, astronaut: Picture) -> None:
    """A U-Net halves a picture several times; one that cannot be halved is one job's fault, and the next goes on."""
    config = json.loads(json.dumps(CONFIGS["plain"]))
    norm = {"type": "BN"}
    config["model"] |= {
        "backbone": {"type": "UNet", "base_channels": 4, "num_stages": 3, "strides": [1, 1, 1],
                     "enc_num_convs": [1, 1, 1], "dec_num_convs": [1, 1], "downsamples": [True, True],
                     "enc_dilations": [1, 1, 1], "dec_dilations": [1, 1], "norm_cfg": norm},
        "decode_head": {"type": "FCNHead", "in_channels": 4, "in_index": 2, "channels": 4, "num_convs": 0,
                        "concat_input": False, "num_classes": 19, "norm_cfg": norm},
        "auxiliary_head": None,
    }  # fmt: skip
    with _opened(tmp_path, config) as task:
        with pytest.raises(JobError, match=r"the network cannot take a picture of 67x65 px: .*divisible"):
            task.predict([np.ascontiguousarray(astronaut[:65, :67])])
        assert task.predict([np.ascontiguousarray(astronaut[:64, :68])])[0].shape == (64, 68)


@pytest.mark.parametrize("count", [2, 7, 150])
def test_other_numbers_of_classes(tmp_path: Path, astronaut: Picture, count: int) -> None:
    with _opened(tmp_path, small_networks.fast_scnn(count)) as task:
        assert len(task.classes) == count
        assert task.predict([astronaut])[0].max() < count


def test_nineteen_classes_are_cityscapes(tmp_path: Path) -> None:
    with _opened(tmp_path, CONFIGS["plain"]) as task:
        assert task.classes == CLASSES


def test_classes_by_the_config(tmp_path: Path) -> None:
    names = [f"kind {i}" for i in range(7)]
    for more, expected in (
        ({"classes": names}, tuple(names)),
        ({"test_dataloader": {"dataset": {"metainfo": {"classes": names}}}}, tuple(names)),
    ):
        with _opened(tmp_path, {**small_networks.fast_scnn(7), **more}) as task:
            assert task.classes == expected
    ade = {**small_networks.fast_scnn(150), "dataset_type": "ADE20KDataset"}
    with _opened(tmp_path, ade) as task:
        assert task.classes[:2] == ("wall", "building")


def test_too_many_classes_for_a_byte(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="has 256 classes; predictions are uint8 with 255 for void"):
        _opened(tmp_path, small_networks.fast_scnn(256))


def test_one_output_tells_two_classes(tmp_path: Path, astronaut: Picture) -> None:
    config = _changed(decode_head={"num_classes": 2, "out_channels": 1, "threshold": 0.5})
    config["model"].pop("auxiliary_head")
    with _opened(tmp_path, config) as task:
        (labels,) = task.predict([astronaut])
        assert len(task.classes) == 2
    assert np.array_equal(labels, _by_mmseg(config, astronaut))
    assert set(np.unique(labels)) == {0, 1}


def test_nothing_is_fetched_for_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _changed(backbone={"init_cfg": {"type": "Pretrained", "checkpoint": "http://127.0.0.1:9/none.pth"}})
    config["model"]["pretrained"] = "open-mmlab://resnet50_v1c"

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("a network was asked for")

    monkeypatch.setattr("socket.socket.connect", no_network)
    _opened(tmp_path, config).close()


def test_python_configs_with_bases(tmp_path: Path, astronaut: Picture) -> None:
    """The same network as by its JSON; tuples stay tuples, which some networks insist on."""
    (tmp_path / "base.py").write_text(f"model = {small_networks.fast_scnn()['model']!r}\ncrop = (64, 64)\n")
    (tmp_path / "own.py").write_text(
        "_base_ = ['base.py']\nmodel = dict(backbone=dict(out_indices=(0, 1, 2)))\ndataset_type = 'CityscapesDataset'\n"
    )
    read = configs.read(tmp_path / "own.py")
    assert read.model["backbone"]["out_indices"] == (0, 1, 2)
    assert read.classes == CLASSES
    settings = small_networks.segmentation(tmp_path)
    masks = []
    for model in (settings.model, str(tmp_path / "own.py")):
        with tasks.open_task(settings.model_copy(update={"model": model}), "local", "none") as task:
            masks.append(task.predict([astronaut])[0])
    assert np.array_equal(*masks)


def test_a_users_own_code_decides_the_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    code = tmp_path / "own_backbone.py"
    helper = tmp_path / "own_helper.py"
    helper.write_text("DEPTH = 3\n")
    code.write_text(
        "import numpy\nfrom own_helper import DEPTH\n"
        "from mmseg.models.backbones import FastSCNN\nfrom mmseg.registry import MODELS\n"
        "@MODELS.register_module(force=True)\nclass OwnBackbone(FastSCNN): pass\n"
    )
    (tmp_path / "base.py").write_text(f"model = {small_networks.fast_scnn()['model']!r}\n")
    (tmp_path / "own.py").write_text(
        "_base_ = ['base.py']\ncustom_imports = dict(imports=['own_backbone'])\n"
        "model = dict(backbone=dict(type='OwnBackbone'))\n"
    )
    published = small_networks.segmentation(tmp_path)
    settings = published.model_copy(update={"model": str(tmp_path / "own.py")})
    found = []
    for file, more in ((code, ""), (code, "# changed\n"), (helper, "# what it imports, too\n")):
        file.write_text(file.read_text() + more)
        with tasks.open_task(settings, "local", "none") as task:
            found.append(task.identity()["code_sha256"])
    assert len(set(found)) == 3
    with tasks.open_task(published, "local", "none") as task:
        assert "code_sha256" not in task.identity()


def test_yaml_configs_are_data_only(tmp_path: Path) -> None:
    """mmengine's own YAML reader would make the file below run a command."""
    target = tmp_path / "was-run"
    path = tmp_path / "c.yaml"
    path.write_text(f"model: !!python/object/apply:os.system ['touch {target}']\n")
    with pytest.raises(RequestError, match=r"c\.yaml: cannot be read as YAML"):
        configs.read(path)
    assert not target.exists()
    path.write_text(json.dumps(small_networks.fast_scnn()))  # JSON is YAML, too
    assert configs.read(path).model["backbone"]["type"] == "FastSCNN"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("c.json", "{", "cannot be read"),
        ("c.json", "[1]", "holds no table of settings"),
        ("c.json", "{}", "has no `model`"),
        (
            "c.json",
            '{"model": {"type": "EncoderDecoder"}}',
            r"its `model` has no data_preprocessor; configs of .* 1\.x",
        ),
        ("c.json", '{"_base_": "x.py", "model": {}}', "followed in .py configs only"),
        ("c.py", "model = 1 / 0", "cannot be read: ZeroDivisionError"),
        (
            "c.py",
            "import torch.nn as nn\nclass Net(nn.Module):\n    pass\n",
            "the code of a network, write a task for it",
        ),
        ("c.py", "size = 3", "has no `model`.*if it is the code of a network, write a task for it"),
        ("c.py", "custom_imports = dict(imports=['my_net'])\nmodel = dict()", "modules on PYTHONPATH"),
        ("c.py", "model = dict(", "cannot be read: "),
        ("c.txt", "", "is no file and no network|ends in"),
    ],
)
def test_configs_that_are_none(tmp_path: Path, name: str, text: str, why: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RequestError, match=why) as error:
        configs.read(path)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_config_must_be_a_regular_file(tmp_path: Path) -> None:
    import os

    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    for name, why in (
        ("folder.py", "is not a regular file"),
        ("pipe.py", "is not a regular file"),
        ("no.py", "no such"),
        (f"{'x' * 300}.py", "no such"),
        ("x" * 300, "is no file and no network"),
    ):
        with pytest.raises(RequestError, match=why):
            tasks.open_task(TaskSettings(model=str(tmp_path / name), checkpoint="x.pth"), "local", "none")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": "NoSuchNetwork"}, "cannot build this config's model: .*NoSuchNetwork"),
        ({"backbone": {"type": "FastSCNN", "no_such": 1}}, "cannot build this config's model: .*no_such"),
    ],
)
def test_models_that_cannot_be_built(change: dict[str, Any], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        mmsegmentation.build({**small_networks.fast_scnn()["model"], **change})


def test_a_network_of_a_sister_project_says_so() -> None:
    config = configs.read(zoo.networks()["mask2former_r50_8xb2-90k_cityscapes-512x1024"].config)
    with pytest.raises(RequestError, match=r"cannot build .* \(it has parts of mmdet, which this Python does not"):
        mmsegmentation.build(config.model)


def test_a_network_that_does_not_bear_the_fast_layout(tmp_path: Path, astronaut: Picture) -> None:
    """It cuts up its tensors as if channels came first in memory; it is found out, and answers as it always did."""
    mmsegmentation.prepare()
    import torch
    from mmseg.models.backbones.fast_scnn import FastSCNN
    from mmseg.registry import MODELS

    class Rigid(FastSCNN):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return [y.view(-1).view(y.shape) for y in super().forward(x)]

    MODELS.register_module(module=Rigid, force=True)
    config = _changed(backbone={"type": "Rigid"})
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        network = small_networks.seeded(config).eval().to(memory_format=torch.channels_last)
        network.extract_feat(torch.rand(1, 3, 64, 64))
    with _opened(tmp_path, config) as task:
        (labels,) = task.predict([astronaut])
    assert (labels != _by_mmseg(config, astronaut)).mean() < 1e-3


def test_what_needs_compiled_mmcv_says_so() -> None:
    """Only where mmcv-lite is installed; its stand-in lets everything be imported and nothing be computed."""
    mmsegmentation.prepare()
    import sys

    extension = sys.modules["mmcv._ext"]
    if not isinstance(extension, mmsegmentation._StandIn):
        pytest.skip("a compiled mmcv is installed")
    with pytest.raises(JobError, match=r"needs compiled mmcv \(ms_deform_attn_forward\)"):
        extension.ms_deform_attn_forward()
    with pytest.raises(AttributeError):
        extension.__file__  # noqa: B018


def test_settings_that_do_not_go_together(tmp_path: Path) -> None:
    settings = small_networks.segmentation(tmp_path)
    for change, why in (
        ({"model": "demo"}, "the model 'demo' has its own"),
        ({"checkpoint": None}, "a config has no weights; give its checkpoint, too"),
        ({"model": "x.tflite"}, "model 'x.tflite': networks in this form are not run here; write a task .*or lay its"),
        ({"checkpoint": "x.ONNX"}, "an ONNX file: is the model of"),
        (
            {"model": "x.pth"},
            "model 'x.pth': are weights; name them as checkpoint, and as model the network's",
        ),
        ({"name": "classification", "model": "x.pth"}, "model 'x.pth': are weights; .* the network's name in timm"),
        ({"name": "classification", "model": "Model.py"}, "none of timm's; .*for a network of your own, write a task"),
    ):
        with pytest.raises(RequestError, match=why):
            tasks.open_task(settings.model_copy(update=change), "local", "none")


def test_the_embedded_network(astronaut: Picture) -> None:
    """It needs nothing but this installation, and knows a street from a face."""
    with tasks.open_task(TaskSettings(), "local", "none") as task:
        assert task.classes == CLASSES
        assert task.identity()["network"] == "demo"
        (labels,) = task.predict([np.ascontiguousarray(astronaut[:224, :320])])
    assert labels.shape == (224, 320)
    assert len(np.unique(labels)) > 2
