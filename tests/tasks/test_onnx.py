"""ONNX files as networks: files of others need keys alone, and what is wrong says which key or what of the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from tests.helpers import onnx_files
from tests.helpers.onnx_files import FREE, WEIGHTS
from tests.helpers.paths import SHARED
from tests.tasks.test_serve import ProcessTransport
from vcmbench import experiment, tasks
from vcmbench.cli import build_parser
from vcmbench.data.labels import CLASSES, VOID
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import Device, TaskSettings
from vcmbench.tasks.remote import RemoteTask

Picture = NDArray[np.uint8]
ESPNET = {
    "input": {
        "size": [512, 1024], "mean": [72.3923111, 82.90893555, 73.15840149],
        "std": [45.3192215, 46.15289307, 44.91483307], "scale": "1/255", "scale_at": "last", "colours": "bgr",
    },
    "output": {"void": 19, "upsample": "labels"},
}  # fmt: skip


def picture(height: int = 21, width: int = 30, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def opened(path: Path, jobs: int = 1, **keys: Any) -> tasks.Task:
    return tasks.open_task(TaskSettings(model=str(path), **{"input": {"scale": 1}, **keys}), "local", "none", jobs)


def answer(path: Path, image: Picture, **keys: Any) -> Picture:
    with opened(path, **keys) as task:
        found: Picture = task.predict([image])[0]
    return found


def of_pixels(pixels: NDArray[Any], weights: NDArray[Any] = WEIGHTS) -> NDArray[Any]:
    return (pixels.astype(np.float64) @ weights.T.astype(np.float64)).argmax(axis=2)


@pytest.mark.parametrize("name", ["frankfurt_000000_000294", "frankfurt_000000_002196", "street"])
def test_a_real_network_says_what_its_own_code_says(name: str) -> None:
    frames = SHARED / "data/frames"
    file = next(frames.glob(f"{name}*Img8bit.png"), frames / f"{name}.png")
    if not file.is_file():
        pytest.skip("no real frames here")
    with Image.open(file) as frame, Image.open(frames / f"{name}_prediction.png") as theirs:
        image, wanted = np.asarray(frame.convert("RGB")), np.asarray(theirs)
    with opened(SHARED / "data/espnet/espnet_p2q8_cityscapes.onnx", **ESPNET) as task:
        assert task.classes == CLASSES
        found = task.predict([image])[0]
    assert found.shape == image.shape[:2] and set(np.unique(found)) <= {*range(19), VOID}
    wanted = np.where(wanted == 19, VOID, wanted)
    assert (found == wanted.repeat(2, axis=0).repeat(2, axis=1)).mean() >= 0.999


def test_of_another_opset_with_pixels_normalised(tmp_path: Path) -> None:
    """Both orders of scale and mean, computed by hand; the classes' names lie in the metadata."""
    names = ["road", "sky", "car", "tree"]
    path = onnx_files.by_pixel(tmp_path / "n.onnx", opset=11, metadata={"names": str(dict(enumerate(names)))})
    image, mean, std = picture(), np.array([0.5, 0.1, 0.3]), np.array([0.2, 0.6, 0.3])
    keys: dict[str, Any] = {"mean": mean.tolist(), "std": std.tolist(), "scale": "1/255"}
    with opened(path, input=keys) as task:
        assert task.classes == tuple(names)
        np.testing.assert_array_equal(task.predict([image])[0], of_pixels((image / 255 - mean) / std))
    keys |= {"mean": (mean * 255).tolist(), "scale": 3, "scale_at": "last", "colours": "bgr"}
    expected = of_pixels((image[..., ::-1] - mean * 255) / std * 3)
    np.testing.assert_array_equal(answer(path, image, input=keys), expected)


@pytest.mark.parametrize("resize", ["bilinear", "bilinear-antialias", "nearest"])
def test_with_its_channels_last_and_a_fixed_size(tmp_path: Path, resize: str) -> None:
    """Sizes and layouts are read from the file. The picture is brought to its size as PyTorch does it."""
    import torch
    from torch.nn.functional import interpolate

    path = onnx_files.channels_last(tmp_path / "n.onnx", 16, 24)
    image = picture(40, 37)
    how = "nearest" if resize == "nearest" else "bilinear"
    more = {} if how == "nearest" else {"antialias": resize != "bilinear", "align_corners": False}
    small = interpolate(torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None], (16, 24), mode=how, **more)
    logits = torch.einsum("kc,nchw->nkhw", torch.from_numpy(WEIGHTS).double(), small)
    found = answer(path, image, input={"scale": 1, "resize": resize})
    large = interpolate(logits, (40, 37), mode="bilinear", align_corners=False).argmax(1)[0].numpy()
    assert (found == large).mean() > 0.995
    by_labels = answer(path, image, input={"scale": 1, "resize": resize}, output={"upsample": "labels"})
    nearest = interpolate(logits.argmax(1)[None].double(), (40, 37), mode="nearest")[0, 0].numpy()
    assert (by_labels == nearest).mean() > 0.995


def test_with_logits_of_an_eighth_of_the_size(tmp_path: Path) -> None:
    """Zeros on the right and below, cut off again; against PyTorch."""
    import torch
    from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

    path, image = onnx_files.at_an_eighth(tmp_path / "n.onnx"), picture(45, 67)
    padded = pad(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None], (0, 5, 0, 3))
    logits = conv2d(avg_pool2d(padded, 8), torch.from_numpy(WEIGHTS)[:, :, None, None])
    expected = interpolate(logits, (48, 72), mode="bilinear", align_corners=False).argmax(1)[0, :45, :67].numpy()
    keys = {"scale": 1, "multiple": 8}
    assert (answer(path, image, input=keys) == expected).mean() > 0.995
    nearest = logits.argmax(1)[0].numpy().repeat(8, axis=0).repeat(8, axis=1)[:45, :67]
    np.testing.assert_array_equal(answer(path, image, input=keys, output={"upsample": "labels"}), nearest)
    half = answer(path, picture(96, 160), input={"scale": 1, "size": 0.5})
    assert half.shape == (96, 160)


def test_void_and_names_of_classes(tmp_path: Path) -> None:
    path, image = onnx_files.by_pixel(tmp_path / "n.onnx"), picture()
    plain = of_pixels(image)
    expected = np.array([0, VOID, 1, 2])[plain]
    for classes, names in ((None, ("class 0", "class 2", "class 3")), (list("abc"), tuple("abc")),
                           (list("abcd"), tuple("acd"))):  # fmt: skip
        with opened(path, output={"void": 1}, classes=classes) as task:
            assert task.classes == names
            np.testing.assert_array_equal(task.predict([image])[0], expected)
    as_labels = onnx_files.labels(tmp_path / "l.onnx")
    largest = image.argmax(axis=2)
    np.testing.assert_array_equal(answer(as_labels, image, classes=list("abc")), largest)
    found = answer(as_labels, image, classes=list("ab"), output={"void": 0})
    np.testing.assert_array_equal(found, np.array([VOID, 0, 1])[largest])
    single = onnx_files.by_pixel(tmp_path / "s.onnx", WEIGHTS[:1])
    np.testing.assert_array_equal(answer(single, image), image[..., 0] > image[..., 2])


def test_the_same_answer_with_more_threads_and_in_another_process(tmp_path: Path) -> None:
    """The other process stands for the container: it gets the files under other names, external data, too."""
    weights = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    how: dict[str, Any] = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    path = onnx_files.by_pixel(tmp_path / "n.onnx", weights, **how)
    images = [picture(seed=seed) for seed in range(5)]
    settings = TaskSettings.model_validate({"model": str(path), "input": {"scale": 1}})
    with opened(path) as one, opened(path, jobs=3) as three:
        expected = one.predict(images)
        for found, wanted in zip(three.predict(images), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        before = one.identity()
    prepared = tasks.get("segmentation").prepare(settings)
    moved = {name: tmp_path / f"{name}.moved" for name in prepared.files}
    for name, file in prepared.files.items():
        moved[name].write_bytes(file.read_bytes())
    far = RemoteTask(ProcessTransport(), "segmentation", tasks.Prepared(prepared.options, moved), Device(), "none")
    with far:
        assert far.identity() == before
        for found, wanted in zip(far.predict(images), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    (tmp_path / "weights.bin").write_bytes((weights * 2).tobytes())
    with opened(path) as other:
        assert other.identity() | {"external_sha256": before["external_sha256"]} == before != other.identity()
    with opened(path, input={"scale": 2}) as other:
        assert other.identity()["input"] != before["input"]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(
        RequestError, match=r"n\.onnx: its weights lie in files of their own, and weights\.bin is not in"
    ):
        opened(path)


def test_an_experiment_and_the_file_beside_the_network(tmp_path: Path) -> None:
    """A path is meant from the experiment's folder; the experiment's keys win, one by one."""
    (tmp_path / "nets").mkdir()
    path = onnx_files.by_pixel(tmp_path / "nets/net.onnx")
    (tmp_path / "nets/names.txt").write_text("a\nb\nc\n")
    path.with_suffix(".toml").write_text(
        '[task]\nclasses = "names.txt"\n[task.input]\nscale = 1\ncolours = "bgr"\n[task.output]\nvoid = 0\n'
    )
    (tmp_path / "e.toml").write_text(
        'name = "e"\n[task]\nmodel = "nets/net.onnx"\n[task.input]\ncolours = "rgb"\n[[coding]]\nencoder = "lossless"\n'
    )
    choice = experiment.load(str(tmp_path / "e.toml")).task
    assert choice is not None and choice.model == str(path)
    image = picture()
    with tasks.open_task(choice, "local", "none") as task:
        assert task.classes == ("a", "b", "c")
        np.testing.assert_array_equal(task.predict([image])[0], np.array([VOID, 0, 1, 2])[of_pixels(image)])
    path.with_suffix(".toml").write_text("[task.input]\nscale = 1\nmeen = [1, 2, 3]\n")
    with pytest.raises(RequestError, match=r"net\.toml: task\.input\.meen: unknown key.*did you mean mean"):
        opened(path)
    path.with_suffix(".toml").write_text("name = 'an experiment'\ncoding = []\n")
    answer(path, image)


def test_inspecting_gives_a_table_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aux = helper.make_tensor_value_info("aux", TensorProto.FLOAT, ["n", 3])
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"]), helper.make_node("GlobalAveragePool", ["x"], ["g"]),
             helper.make_node("Flatten", ["g"], ["aux"])]  # fmt: skip
    path = onnx_files.save(tmp_path / "net.onnx", nodes, weights={"w": WEIGHTS[:, :, None, None]}, more=([], [aux]))
    arguments = build_parser("tasks").parse_args(["tasks", "inspect", str(path)])
    assert arguments.run(arguments) == 0
    out = capsys.readouterr().out
    for fact in ("opset ai.onnx 17", "input x: (n, 3, h, w) tensor(float)", "output aux: (n, 3) tensor(float)"):
        assert fact in out
    path.with_suffix(".toml").write_text(out)
    table = tomllib.loads(out)["task"]
    assert table["output"] == {"name": "y", "kind": "logits"}
    np.testing.assert_array_equal(
        answer(path, picture(), input=None), of_pixels(picture() / 255)
    )  # by the file beside it alone


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has 0 bytes"),
        (b"<html>no network</html>", "is no ONNX file"),
        (b"\x08\x08:\x04\xff\xff\xff\xff", "is no ONNX file"),
        (None, "no such file"),
    ],
)
def test_what_is_no_onnx_file(tmp_path: Path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "n.onnx").write_bytes(content)
    with pytest.raises(RequestError, match=rf"n\.onnx: {why}"):
        opened(tmp_path / "n.onnx")


def test_every_cut_of_a_file_is_one_line(tmp_path: Path) -> None:
    whole = onnx_files.by_pixel(tmp_path / "n.onnx").read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (tmp_path / "n.onnx").write_bytes(whole[:length])
        with pytest.raises(RequestError, match=r"n\.onnx: [^\n]+$"):
            opened(tmp_path / "n.onnx")


def _node(kind: str, domain: str = "") -> Any:
    return helper.make_node(kind, ["x"], ["y"], domain=domain)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"nodes": [_node("Relu")], "opset": 99}, r"is of opset 99 of ai\.onnx, and onnxruntime \S+ runs up to \d+;"),
        ({"nodes": [_node("Deform", "my.ops")]}, r"needs the custom operator Deform of my\.ops, which onnxruntime"),
        ({"nodes": [_node("Foo")]}, "needs the operator Foo, which onnxruntime .* does not have in opset 17"),
        (
            {"nodes": [helper.make_node("Add", ["x", "z"], ["y"])],
             "more": ([helper.make_tensor_value_info("z", TensorProto.FLOAT, FREE)], [])},
            r"has 2 inputs \(x, z\); one",
        ),
        ({"nodes": [_node("Relu")], "shapes": ([4, 3, "h", "w"], [4, 3, "h", "w"])}, "4 pictures at once"),
        ({"nodes": [_node("Relu")], "shapes": ([1, 4, "h", 5], [1, 4, "h", 5])}, "none of whose sides are 3 colours"),
        ({"nodes": [_node("Relu")], "shapes": ([1, "c", "h", "w"], [1, "c", "h", "w"])}, "layout: .*say nchw"),
        ({"nodes": [_node("Flatten")], "shapes": (FREE, ["n", "m"])}, r"'y' is \(n, m\) .*no mask"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    nodes, shapes = how.pop("nodes"), how.pop("shapes", (FREE, FREE))
    path = onnx_files.save(tmp_path / "n.onnx", nodes, shapes, **how)
    with pytest.raises(RequestError, match=why) as caught:
        opened(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"input": {"colours": "bgr"}}, r"task\.input: the input 'x' .*no key says how pixels"),
        ({"input": {"scale": 1, "name": "image"}}, r"task\.input\.name = 'image': the network has x"),
        ({"output": {"name": "logits"}}, r"task\.output\.name = 'logits': the network has y"),
        ({"input": {"scale": 1, "layout": "nhwc"}}, r"task\.input\.layout = 'nhwc': .*which is nchw"),
        (
            {"input": {"scale": 1, "size": [30, 40]}},
            r"task\.input\.size = \[30, 40\]: the input 'x' is \(1, 3, 32, 48\)",
        ),
        ({"input": {"scale": 1, "size": 0.5}}, r"task\.input\.size: the input 'x' is .*say \[height, width\]"),
        ({"input": {"scale": 1, "multiple": 64}}, r"task\.input\.multiple = 64: the size \[32, 48\]"),
        ({"output": {"void": 4}}, r"task\.output\.void = 4: .*outputs are 0\.\.3"),
        ({"output": {"kind": "labels", "upsample": "logits"}}, r"task\.output\.upsample = 'logits'"),
        (
            {"output": {"kind": "labels"}},
            r"task\.output\.kind = 'labels': the output 'y' is \(1, 4, 32, 48\), .*no labels",
        ),
        ({"classes": ["a", "b"]}, "2 names were given, but the network has 4 outputs"),
        ({"checkpoint": "w.pth"}, "an ONNX file has its weights"),
    ],
)
def test_keys_that_contradict_the_file(tmp_path: Path, keys: dict[str, Any], why: str) -> None:
    path = onnx_files.by_pixel(tmp_path / "n.onnx", shapes=([1, 3, 32, 48], [1, 4, 32, 48]))
    with pytest.raises(RequestError, match=why):
        opened(path, **keys)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"size": [0, 4]}, "height, width"),
        ({"size": 9}, "height, width"),
        ({"scale": "1/0"}, "must be a number, or a fraction"),
        ({"mean": [1, 2]}, "at least 3 items"),
        ({"std": [1, 0, 1]}, "greater than 0"),
        ({"colors": "rgb"}, r"task\.input\.colors: unknown key.*did you mean colours"),
    ],
)
def test_keys_that_are_none(tmp_path: Path, keys: dict[str, Any], why: str) -> None:
    text = "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    (tmp_path / "e.toml").write_text(
        f'name = "e"\n[task]\nmodel = "n.onnx"\n[task.input]\n{text}[[coding]]\nencoder = "lossless"\n'
    )
    with pytest.raises(RequestError, match=why):
        experiment.load(str(tmp_path / "e.toml"))


def test_answers_that_are_none(tmp_path: Path) -> None:
    """Of a picture, and by its name: the others are looked at all the same."""
    reshape = [helper.make_node("Concat", ["x", "x"], ["y"], axis=3)]
    wide = onnx_files.save(tmp_path / "wide.onnx", reshape, (FREE, ["n", 3, "h", "w2"]))
    with pytest.raises(JobError, match=r"of \d+x\d+ px: .*|'y' is \(1, 3, 21, 60\) for an input of 30x21 px"):
        answer(wide, picture())
    nan = onnx_files.save(tmp_path / "nan.onnx", [_node("Log")], (FREE, FREE))
    with pytest.raises(JobError, match="holds numbers that are not finite"):
        answer(nan, np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(JobError, match="holds the label 2, which is none of the 2 classes"):
        answer(onnx_files.labels(tmp_path / "l.onnx"), picture(), classes=["a", "b"])
    added = {"z": np.zeros((1, 3, 8, 8), np.float32)}
    fussy = onnx_files.save(
        tmp_path / "f.onnx", [helper.make_node("Add", ["x", "z"], ["y"])], (FREE, FREE), weights=added
    )
    with opened(fussy) as task:
        assert task.predict([picture(8, 8)])[0].shape == (8, 8)
        with pytest.raises(JobError, match=r"cannot take a picture of 30x21 px: .*"):
            task.predict([picture()])


def test_the_tables_are_of_onnx_files_alone() -> None:
    settings = TaskSettings.model_validate({"input": {"scale": 1}})
    with pytest.raises(RequestError, match=r"task\.input: only an ONNX file as model has this table"):
        tasks.open_task(settings, "local", "none")
    with pytest.raises(
        RequestError, match='an ONNX file: is the model of name = "segmentation", "detection" or "instances" alone'
    ):
        tasks.open_task(TaskSettings(name="classification", model="n.onnx"), "local", "none")


def test_external_data_stays_beside_the_file(tmp_path: Path) -> None:
    how: dict[str, Any] = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    path = onnx_files.by_pixel(tmp_path / "n.onnx", **how)
    path.write_bytes(path.read_bytes().replace(b"w.bin", b"../.x"))
    with pytest.raises(RequestError, match=r"external data '\.\./\.x': does not lie beside it"):
        opened(path)
