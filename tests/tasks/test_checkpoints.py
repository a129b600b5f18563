"""Checkpoints of others: their weights are read, their code is not run, and what does not fit is refused by name."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import small_networks
from vcmbench import tasks
from vcmbench.errors import RequestError
from vcmbench.tasks import TaskSettings, checkpoints

SMALL = {"a.weight": torch.arange(4.0)}


class _Trap:
    """Pickled, it asks whoever unpickles it to call a function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def _traps(target: Path) -> dict[str, _Trap]:
    return {
        "os.system": _Trap(os.system, f"touch '{target}'"),
        "builtins.exec": _Trap(exec, f"open({str(target)!r}, 'w').close()"),
        "open": _Trap(open, str(target), "w"),
    }


@pytest.mark.parametrize("name", ["os.system", "builtins.exec", "open"])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, name: str, is_zip: bool) -> None:
    target, path = tmp_path / "was-run", tmp_path / "trap.pth"
    content = {"state_dict": SMALL, "meta": {"x": _traps(target)[name]}}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    torch.load(path, weights_only=False)  # the trap is our own, and only writes into this test's folder
    assert target.exists(), "the trap works on those who trust the file"
    target.unlink()
    with pytest.raises(
        RequestError, match=r"trap\.pth: refused: it holds a pickled .*reading that could run code"
    ) as e:
        checkpoints.load(path)
    assert "\n" not in str(e.value)
    assert not target.exists()
    settings = small_networks.segmentation(tmp_path).model_copy(update={"checkpoint": str(path)})
    with pytest.raises(RequestError, match="refused"):
        tasks.open_task(settings, "local", "none")
    assert not target.exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    target, path = tmp_path / "was-run", tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps(_traps(target)["os.system"]))
    with pytest.raises(RequestError, match="refused"):
        checkpoints.load(path)
    assert not target.exists()


def test_getattr_is_not_let_in_by_the_back_door(tmp_path: Path) -> None:
    """Histories of mmengine name their methods by `getattr`; nothing else may be had by it."""
    path = tmp_path / "trap.pth"
    torch.save({"state_dict": SMALL, "x": _Trap(getattr, argparse.Namespace(), "__class__")}, path)
    with pytest.raises(RequestError, match="refused: it holds a pickled getattr"):
        checkpoints.load(path)


def test_what_training_tools_lay_beside_weights_is_read(tmp_path: Path) -> None:
    from mmengine.logging.history_buffer import HistoryBuffer

    path = tmp_path / "x.pth"
    torch.save(
        {
            "state_dict": OrderedDict((f"module.{name}", tensor) for name, tensor in SMALL.items()),
            "meta": {"dataset_meta": {"classes": ("x", "y")}, "time": np.float64(3), "seen": np.arange(3)},
            "message_hub": {"log_scalars": {"loss": HistoryBuffer([1.0, 0.5], [1, 1])}},
            "args": argparse.Namespace(lr=0.1),
            "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
        },
        path,
    )
    found = checkpoints.load(path)
    assert torch.equal(found.tensors["a.weight"], SMALL["a.weight"])
    assert found.classes == ("x", "y")


def test_bare_and_old_state_dicts_are_read(tmp_path: Path) -> None:
    for name, content, classes in (
        ("bare", SMALL, None),
        ("old", {"state_dict": SMALL, "meta": {"CLASSES": ["p", "q"]}}, ("p", "q")),
        ("other", {"model": SMALL, "epoch": 3}, None),
    ):
        torch.save(content, tmp_path / f"{name}.pth", _use_new_zipfile_serialization=name != "old")
        found = checkpoints.load(tmp_path / f"{name}.pth")
        assert list(found.tensors) == ["a.weight"]
        assert found.classes == classes


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    settings = small_networks.segmentation(tmp_path, suffix)
    path = Path(str(settings.checkpoint))
    whole = path.read_bytes()
    for length in (len(whole) - 5, len(whole) // 2, 7, 0):
        path.write_bytes(whole[:length])
        with pytest.raises(RequestError, match=f"{path.name}: damaged or truncated") as error:
            tasks.open_task(settings, "local", "none")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"epoch": 3}, "holds no state_dict"),
        ([1, 2], "holds no state_dict"),
        ({}, "holds no state_dict"),
        ({"a": torch.tensor([1.0, float("nan")])}, "a holds NaN or infinity; its training had failed"),
    ],
)
def test_what_holds_no_weights(tmp_path: Path, content: Any, why: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(RequestError, match=why):
        checkpoints.load(tmp_path / "x.pth")


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "x.pth")
    with pytest.raises(RequestError, match=r"refused: it holds a pickled torch\.nn\.modules\.linear\.Linear"):
        checkpoints.load(tmp_path / "x.pth")


def test_files_that_are_none(tmp_path: Path) -> None:
    settings = small_networks.segmentation(tmp_path)
    for checkpoint, why in (
        (tmp_path / "none.pth", "no such file"),
        (tmp_path, "is not a regular file"),
        (tmp_path / "config.json", "must end in .pth, .pt, .safetensors"),
    ):
        with pytest.raises(RequestError, match=why):
            tasks.open_task(settings.model_copy(update={"checkpoint": str(checkpoint)}), "local", "none")


def _renamed(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("backbone", "encoder"): tensor for name, tensor in tensors.items()}


def _without(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in tensors.items() if name != "decode_head.conv_seg.weight"}


def _with_more(tensors: dict[str, Any]) -> dict[str, Any]:
    return {**tensors, "neck.conv.weight": torch.zeros(1)}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_renamed, r"missing: backbone\..* and \d+ more; left over: encoder\..* and \d+ more$"),
        (_without, r"of another network: missing: decode_head\.conv_seg\.weight$"),
        (_with_more, r"of another network: left over: neck\.conv\.weight$"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_checkpoint_of_another_network(tmp_path: Path, change: Any, why: str, suffix: str) -> None:
    settings = small_networks.segmentation(tmp_path)
    own = checkpoints.load(Path(str(settings.checkpoint))).tensors
    path = small_networks.save(tmp_path / f"other{suffix}", change(own))
    with pytest.raises(RequestError, match=why) as error:
        tasks.open_task(settings.model_copy(update={"checkpoint": str(path)}), "local", "none")
    assert len(str(error.value)) < 1000


def test_a_checkpoint_with_other_classes(tmp_path: Path) -> None:
    settings = small_networks.segmentation(tmp_path, classes=19)
    (tmp_path / "seven").mkdir()
    other = small_networks.segmentation(tmp_path / "seven", classes=7)
    with pytest.raises(
        RequestError, match=r"another shape: .*decode_head\.conv_seg\.weight is \(7, 16, 1, 1\), not \(19, 16, 1, 1\)"
    ):
        tasks.open_task(settings.model_copy(update={"checkpoint": other.checkpoint}), "local", "none")


def test_weights_of_the_training_heads_may_be_there_or_not(tmp_path: Path) -> None:
    settings = small_networks.segmentation(tmp_path)
    own = checkpoints.load(Path(str(settings.checkpoint))).tensors
    assert any(name.startswith("auxiliary_head.") for name in own)
    bare = {name: tensor for name, tensor in own.items() if not name.startswith("auxiliary_head.")}
    path = small_networks.save(tmp_path / "bare.pth", bare)
    tasks.open_task(settings.model_copy(update={"checkpoint": str(path)}), "local", "none").close()


def test_both_formats_give_the_same_masks(tmp_path: Path, astronaut: np.ndarray) -> None:
    masks = []
    for suffix in (".pth", ".safetensors"):
        with tasks.open_task(small_networks.segmentation(tmp_path, suffix), "local", "none") as task:
            masks.append(task.predict([astronaut])[0])
    assert np.array_equal(*masks)


def test_classes_of_a_checkpoint(tmp_path: Path) -> None:
    settings = small_networks.segmentation(tmp_path, ".pth", classes=7)
    own = checkpoints.load(Path(str(settings.checkpoint))).tensors
    for classes, expected in ((list("abcdefg"), tuple("abcdefg")), (["a"], tuple(f"class {i}" for i in range(7)))):
        small_networks.save(Path(str(settings.checkpoint)), own, dataset_meta={"classes": classes})
        with tasks.open_task(settings, "local", "none") as task:
            assert task.classes == expected
    from safetensors.torch import save_file

    save_file(dict(own), tmp_path / "x.safetensors", metadata={"classes": json.dumps(list("tuvwxyz"))})
    named = TaskSettings(model=settings.model, checkpoint=str(tmp_path / "x.safetensors"))
    with tasks.open_task(named, "local", "none") as task:
        assert task.classes == tuple("tuvwxyz")
