"""Folders of transformers, tiny ones with random weights, against the library's own way to a mask."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.tasks.test_library_networks import alone, opened, picture
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import TaskSettings, transformers_networks
from vcmbench.tasks.sensitivity import SegmentationSensitivity

library = pytest.importorskip("transformers", reason="transformers is not installed")
SIZE = (64, 96)
NAMES = {0: "road", 1: "car", 2: "sky"}
LABELS = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}
TRANSFORMER = {
    "encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "encoder_feedforward_dim": 16,
    "dim_feedforward": 16, "hidden_dim": 32, "num_queries": 5,
}  # fmt: skip
TEXT = {
    "is_training": False, "text_encoder_width": 16, "text_encoder_num_layers": 1, "text_encoder_context_length": 8,
    "text_encoder_vocab_size": 60, "task_seq_len": 8, "query_dec_layers": 1, "text_encoder_proj_layers": 1,
    "text_encoder_n_ctx": 2,
}  # fmt: skip
SURE = ("class_predictor", "mask_embedder", "class_embed", "mask_embed", "queries_embedder", "query_transformer")


def swin() -> Any:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    return library.SwinConfig(embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_features=stages)


def network(name: str) -> Any:
    """Of random weights, sure enough of its answers that pixels differ."""
    torch.manual_seed(3 if name == "oneformer" else 5)
    found = _network(name).eval()
    for each, weight in found.named_parameters():
        if any(part in each for part in SURE) and weight.ndim > 1:
            weight.data.normal_(0, 1)
    return found


def _network(name: str) -> Any:
    if name == "segformer":
        small: dict[str, Any] = {
            "hidden_sizes": [8, 16, 16, 16],
            "depths": [1] * 4,
            "num_attention_heads": [1, 2, 2, 2],
        }
        return library.SegformerForSemanticSegmentation(
            library.SegformerConfig(**small, decoder_hidden_size=16, **LABELS)
        )
    if name == "upernet":
        small = {"hidden_size": 16, "auxiliary_channels": 8, "auxiliary_in_channels": 32, "pool_scales": [1, 2]}
        return library.UperNetForSemanticSegmentation(library.UperNetConfig(backbone_config=swin(), **small, **LABELS))
    if name == "dpt":
        small = {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 16, "fusion_hidden_size": 8}
        config = library.DPTConfig(hidden_size=16, image_size=64, backbone_out_indices=[0, 1, 2, 3],
                                   neck_hidden_sizes=[8] * 4, **small, **LABELS)  # fmt: skip
        return library.DPTForSemanticSegmentation(config)
    if name == "mask2former":
        config = library.Mask2FormerConfig(backbone_config=swin(), feature_size=32, mask_feature_size=32, **TRANSFORMER,
                                           **LABELS)  # fmt: skip
        return library.Mask2FormerForUniversalSegmentation(config)
    config = library.OneFormerConfig(backbone_config=swin(), conv_dim=32, mask_dim=32, **TRANSFORMER, **TEXT, **LABELS)
    return library.OneFormerForUniversalSegmentation(config)


def folder(name: str, path: Path) -> Path:
    network(name).save_pretrained(path)
    library.SegformerImageProcessor().save_pretrained(path)
    if name == "oneformer":
        from tokenizers import Tokenizer, models, pre_tokenizers

        pad = {"pad_token": "<pad>"}
        words = Tokenizer(models.WordLevel({"the": 1, "task": 2, "is": 3, "semantic": 4, "<pad>": 0}, "<pad>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        library.PreTrainedTokenizerFast(tokenizer_object=words, **pad).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", ["segformer", "upernet", "dpt", "mask2former", "oneformer"])
def test_a_folder_segments_as_its_library_does(name: str, tmp_path: Path) -> None:
    path = folder(name, tmp_path / "net")
    own, way_in = network(name), library.SegformerImageProcessor()
    image = picture(64, 64) if name == "dpt" else picture(*SIZE)
    pixels = way_in(images=image, do_resize=False, return_tensors="pt")["pixel_values"]
    more = {"task_inputs": torch.tensor([[1, 2, 3, 4, 0, 0, 0, 0]])} if name == "oneformer" else {}
    answer = alone(lambda: own(pixel_values=pixels, **more))
    if name in ("mask2former", "oneformer"):
        masks = answer.masks_queries_logits.sigmoid()[0].numpy()
        shares = answer.class_queries_logits.softmax(-1)[0, :, :-1].numpy()
        summed = torch.from_numpy(np.tensordot(shares.T, masks, axes=1))[None]
        wide = torch.nn.functional.interpolate(summed, SIZE, mode="bilinear", align_corners=False)
        wanted = wide[0].argmax(0).numpy()
    else:
        wanted = way_in.post_process_semantic_segmentation(answer, [image.shape[:2]])[0].numpy()
    with opened(model=str(path)) as task:
        (found,), identity = task.predict([image]), task.identity()
        assert task.classes == ("road", "car", "sky")
        if name in ("segformer", "mask2former", "dpt"):
            assert task.predict([picture(50, 71)])[0].shape == (50, 71)
    assert len(np.unique(found)) > 1, "a picture of one class shows nothing"
    assert np.mean(found == wanted) > 0.999
    assert len(identity["weights_sha256"]) == 64 and identity["network"] == f"transformers {name}"
    if name == "segformer":
        asked = SegmentationSensitivity(TaskSettings(model=str(path)))
        decoded = np.clip(image.astype(int) + 9, 0, 255).astype(np.uint8)
        assert asked.contributions(image, decoded, 1).any()


@pytest.mark.parametrize("of", ["Segformer", "MobileViT", "MobileNetV2", "Beit"])
def test_pixels_go_in_as_the_library_has_them(of: str, tmp_path: Path) -> None:
    """MobileViT takes BGR and means that its file holds are not used."""
    path, way_in, image = (
        folder("segformer", tmp_path / "net"),
        getattr(library, f"{of}ImageProcessor")(),
        picture(8, 8),
    )
    way_in.save_pretrained(path)
    how = transformers_networks.prepare(TaskSettings(model=str(path))).options["pixels"]
    found = (image[..., ::-1] if how["is_bgr"] else image) * how["scale"]
    found = ((found - how["mean"]) / how["std"]).transpose(2, 0, 1)
    given = {"do_resize": False, **({} if of == "Segformer" else {"do_center_crop": False}), "return_tensors": "pt"}
    assert found == pytest.approx(way_in(images=image, **given)["pixel_values"][0].numpy(), abs=1e-5)


def test_shards_and_classes_of_a_user(tmp_path: Path) -> None:
    path = folder("segformer", tmp_path / "net")
    with opened(model=str(path)) as task:
        whole = task.predict([picture()])[0]
    (path / "model.safetensors").unlink()
    network("segformer").save_pretrained(path, max_shard_size="60KB")
    assert len(list(path.glob("*.safetensors"))) > 1
    with opened(model=str(path), classes=["a", "b", "c"]) as task:
        assert np.array_equal(task.predict([picture()])[0], whole) and task.classes == ("a", "b", "c")
        assert task.identity()["more_sha256"]


def changed(path: Path, file: str, **values: Any) -> None:
    content = json.loads((path / file).read_text())
    (path / file).write_text(json.dumps(content | values))


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    path = folder("segformer", tmp_path / "net")

    def refused(reason: str, **keys: Any) -> None:
        with pytest.raises(RequestError, match=reason):
            opened(model=str(path), **keys)
        shutil.rmtree(path)
        folder("segformer", path)

    refused("has its weights; leave it out", checkpoint="x.pth")
    refused("task.input.scale: of a folder of transformers only size and resize", input={"scale": 1})
    changed(path, "config.json", model_type="bert")
    refused("model_type 'bert' is none that segments; there are beit, .*segformer")
    (path / "preprocessor_config.json").unlink()
    refused("has no preprocessor_config.json, which says how pixels")
    changed(path, "preprocessor_config.json", image_mean=[0.5])
    refused("has no rescale_factor, image_mean and image_std of three colours")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    refused(r"has no model.safetensors; a .bin is a pickle")
    changed(path, "config.json", id2label={str(number): str(number) for number in range(7)})
    refused("its weights are of another network: of another shape: decode_head.classifier.bias")
    changed(path, "config.json", depths=[2, 1, 1, 1])
    refused("its weights are of another network: missing: segformer")
    (path / "config.json").write_text("{")
    refused("config.json: cannot be read")
    (path / "model.safetensors").write_bytes(b"x" * 50)
    refused("damaged or truncated, or no safetensors file")


def test_a_size_can_be_said(tmp_path: Path) -> None:
    """Resized on the way in, and the logits back; what no network of the kind takes fails by name."""
    path, image = folder("segformer", tmp_path / "net"), picture()
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).float()[None]
    small = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    numbers = (small / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    logits = alone(lambda: network("segformer")(pixel_values=numbers).logits)
    wanted = torch.nn.functional.interpolate(logits, image.shape[:2], mode="bilinear")[0].argmax(0).numpy()
    with opened(model=str(path), input={"size": [32, 32]}) as task:
        assert np.mean(task.predict([image])[0] == wanted) > 0.999
    sized = {"size": [7, 9]}
    with (
        opened(model=str(folder("dpt", tmp_path / "dpt")), input=sized) as task,
        pytest.raises(JobError, match="cannot"),
    ):
        task.predict([image])
