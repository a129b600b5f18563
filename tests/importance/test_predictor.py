"""The predictor of sensitivity: what PyTorch makes of its weights, exactness, and files coded by it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from tests.helpers.commands import compress_here
from tests.helpers.pictures import save
from vcmbench.demo import train_sensitivity
from vcmbench.importance import predictor
from vcmbench.importance.predictor import MOST_STEPS, UNIT, WEIGHTS, Convolution, LayerShape

MAP = "qp_map = { delta = 12 }\n"
HEAD = '[importance]\nsource = "predicted"\n'


@pytest.mark.parametrize("size", [(256, 320), (45, 70), (1, 1)])
def test_steps_are_those_that_pytorch_comes_to(size: tuple[int, int], astronaut: NDArray[np.uint8]) -> None:
    rgb = astronaut[: size[0], : size[1]]
    steps = predictor.load()[0].steps(rgb, 0.05)
    assert steps.shape == (-(-size[0] // 16), -(-size[1] // 16)) and np.median(steps) == 0
    network = train_sensitivity.TrainedPredictor()
    network.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    network.eval()
    pictures = torch.from_numpy(predictor.scaled(rgb).transpose(2, 0, 1)[None].copy()).float() * UNIT
    with torch.inference_mode():
        found = network(pictures, torch.tensor([-2.0]))[0].numpy()  # log2(0.05 / 0.2)
    assert np.abs(steps - np.clip(found - np.median(found), -MOST_STEPS, MOST_STEPS)).max() < 0.03


LAYERS = [
    LayerShape(2, 3),
    LayerShape(2, 3, stride=2),
    LayerShape(2, 2, dilation=2, is_added=True),
    LayerShape(2, 3, is_halved=True),
]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_rounds_once(layer: LayerShape) -> None:
    """Against whole numbers of any length; strips of rows leave no seam."""
    rng = np.random.default_rng(0)
    lowest = 0 if layer.is_added else -(2**15) + 1
    values = rng.integers(lowest, 2**15, (8, 6, 2)).astype(np.int16)
    weight = rng.normal(0, 2, (layer.outputs, 2, 3, 3)).astype(np.float16)
    bias = rng.normal(0, 60, layer.outputs).astype(np.float16)
    found = Convolution(layer, weight.astype(np.float64), bias.astype(np.float64))(values, lowest)
    given = values.reshape(4, 2, 3, 2, 2).max(axis=(1, 3)) if layer.is_halved else values
    reach, height, width = layer.dilation, *given.shape[:2]
    for y, x, out in np.ndindex(found.shape):
        total = Fraction(float(bias[out])) * 256
        for i, j, channel in np.ndindex(3, 3, 2):
            row, column = y * layer.stride + (i - 1) * reach, x * layer.stride + (j - 1) * reach
            if 0 <= row < height and 0 <= column < width:
                total += Fraction(float(weight[out, channel, i, j])) * int(given[row, column, channel])
        wanted = int(np.clip(round(total), lowest, 2**15 - 1))
        if layer.is_added:
            wanted = min(wanted + int(given[y, x, out]), 2**15 - 1)
        assert found[y, x, out] == wanted


def test_without_pytorch(astronaut: NDArray[np.uint8], tmp_path: Path) -> None:
    """Nothing of it is needed, on whatever number of threads."""
    np.save(tmp_path / "a.npy", astronaut)
    text = (
        "import sys; sys.modules.update(torch=None, safetensors=None)\n"
        "import numpy; from vcmbench.importance import predictor\n"
        "print(predictor.load()[0].steps(numpy.load(sys.argv[1]), 0.1).tobytes().hex())"
    )
    paths = {"OPENBLAS_NUM_THREADS": "2", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", text, tmp_path / "a.npy"], capture_output=True, text=True, env=paths)
    assert done.stdout.strip() == predictor.load()[0].steps(astronaut, 0.1).tobytes().hex(), done.stderr


def test_files_are_coded_by_it(
    photos: Path, write_experiment: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (photos / "b.png").unlink()
    codings = [f'encoder = "{name}"\nquality = {quality}\n{MAP}match = "rate"'
               for name, quality in (("x264", [22, 37]), ("jpeg", [30]))]  # fmt: skip
    config = write_experiment(*codings, head=HEAD)
    done = compress_here(photos, config)
    assert done.code == 0, done.err
    records = done.records()
    assert [record["importance"]["source"] for record in records] == ["predicted"] * 3
    assert all(record["rate_search"]["is_equal"] for record in records)
    maps = [np.loadtxt(path, delimiter=",") for path in sorted(photos.glob("images_x264*/a_qp_map.csv"))]
    fine, coarse = (steps - np.median(steps) for steps in maps)
    assert np.ptp(fine) > 3 and not np.array_equal(fine, coarse), "it depends on how coarsely a picture is coded"

    (bitstream, *_) = (photos / record["bitstream"] for record in records)
    before = bitstream.read_bytes()
    bitstream.unlink()
    assert sorted(event["state"] for event in compress_here(photos, config).events) == ["done", "resumed", "resumed"]
    assert bitstream.read_bytes() == before, "the same bytes again"
    (tmp_path / "other.safetensors").write_bytes(WEIGHTS.read_bytes()[:-2] + b"\0\0")
    monkeypatch.setattr(predictor, "WEIGHTS", tmp_path / "other.safetensors")
    assert {event["state"] for event in compress_here(photos, config).events} == {"done"}, (
        "weights count by their content"
    )


def test_a_sequence_has_a_map_a_picture(
    tmp_path: Path, astronaut: NDArray[np.uint8], write_experiment: Callable[..., Path]
) -> None:
    for number in range(2):
        save(tmp_path / f"drive/clip/{number}.png", np.roll(astronaut[:128, :192], 64 * number, axis=1))
    config = write_experiment(
        f'encoder = "x264"\nquality = [32]\nstructure = "lowdelay"\n{MAP}match = "rate"', head=HEAD
    )
    done = compress_here(tmp_path / "drive", config)
    assert done.code == 0, done.err
    (record,) = done.records()
    assert record["map"]["pictures"] == record["map"]["different_maps"] == 2
