"""Small networks with seeded random weights, saved as users' checkpoints are: what the tests of tasks look through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.tasks import TaskSettings

Picture = NDArray[np.uint8]


def fast_scnn(classes: int = 19) -> dict[str, Any]:
    """An mmseg config of a Fast-SCNN with few channels."""
    norm = {"type": "SyncBN", "requires_grad": True}
    return {
        "model": {
            "type": "EncoderDecoder",
            "data_preprocessor": {
                "type": "SegDataPreProcessor",
                "mean": [123.675, 116.28, 103.53],
                "std": [58.395, 57.12, 57.375],
                "bgr_to_rgb": True,
                "pad_val": 0,
                "seg_pad_val": 255,
            },
            "backbone": {
                "type": "FastSCNN",
                "downsample_dw_channels": [8, 8],
                "global_in_channels": 8,
                "global_block_channels": [8, 8, 8],
                "global_block_strides": [2, 2, 1],
                "global_out_channels": 16,
                "higher_in_channels": 8,
                "lower_in_channels": 16,
                "fusion_out_channels": 16,
                "norm_cfg": norm,
                "align_corners": False,
            },
            "decode_head": {
                "type": "DepthwiseSeparableFCNHead",
                "in_channels": 16,
                "channels": 16,
                "num_classes": classes,
                "in_index": -1,
                "norm_cfg": norm,
                "align_corners": False,
            },
            "auxiliary_head": {
                "type": "FCNHead", "in_channels": 16, "channels": 8, "num_convs": 1, "num_classes": classes,
                "in_index": -2, "norm_cfg": norm,
            },
            "test_cfg": {"mode": "whole"},
        }
    }  # fmt: skip


def seeded(config: dict[str, Any], seed: int = 0) -> Any:
    """The network of a config with random weights, large enough that its answers vary over a picture."""
    import torch

    from vcmbench.tasks import mmsegmentation

    mmsegmentation.prepare()
    generator = torch.Generator().manual_seed(seed)
    network = mmsegmentation.build(config["model"])
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (0.5 if tensor.ndim > 1 else 1.0))
    return network


def save(path: Path, tensors: dict[str, Any], **meta: Any) -> Path:
    """A checkpoint: .safetensors, or .pth as mmengine lays it out."""
    import torch
    from safetensors.torch import save_file

    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save({"meta": meta, "state_dict": tensors}, path)
    return path


def segmentation(
    folder: Path, suffix: str = ".safetensors", classes: int = 19, seed: int = 0, **more: Any
) -> TaskSettings:
    """Settings of a small network that segments, its config and weights below `folder`."""
    config = fast_scnn(classes)
    (folder / "config.json").write_text(json.dumps(config))
    weights = save(folder / f"weights{suffix}", seeded(config, seed).state_dict())
    return TaskSettings(model=str(folder / "config.json"), checkpoint=str(weights), **more)


def classification(folder: Path, count: int = 3, **more: Any) -> TaskSettings:
    """Settings of a small timm network with `count` outputs."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=count)
    weights = save(folder / "resnet.safetensors", network.state_dict())
    named = {"classes": ["cat", "dog", "street"]} if count == 3 else {}
    settings = {"name": "classification", "model": "test_resnet.r160_in1k", "checkpoint": str(weights)}
    return TaskSettings(**{**settings, **named, **more})


def scenes(photograph: Picture) -> list[Picture]:
    """Pictures of several sizes, some equal, some odd."""
    return [
        photograph[:128, :192],
        np.ascontiguousarray(photograph[:128, :192][:, ::-1]),
        photograph[50:147, 20:221],
        photograph[100:228, :192],
        photograph[:64, :64],
    ]
