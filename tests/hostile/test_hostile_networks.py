"""Configs, checkpoints and processes that somebody else made: none of them runs anything, and none fills the memory."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from tests.helpers import hostile
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import (
    checkpoints,
    class_names,
    configs,
    messages,
    mmsegmentation,
    networks,
    published_weights,
    registry_names,
)

MODEL: dict[str, Any] = json.loads((networks.FOLDER / "demo.json").read_text())["model"]


def config(path: Path, **changes: Any) -> Path:
    """The embedded network's config with parts of another type; the keys are those of `model`, joined by two lines."""
    model = json.loads(json.dumps(MODEL))
    for key, value in changes.items():
        node = model
        *way, last = key.split("__")
        for part in way:
            node = node[part]
        node[last] = value
    path.write_text(json.dumps({"model": model, "dataset_type": "CityscapesDataset"}))
    return path


PROGRAMS = [
    "os.system", "subprocess.Popen", "builtins.exec", "mmengine.fileio.io.load", "mmengine.config.Config.fromfile",
    "mmcv.video.processing.convert_video", "torch.load", "torch.hub.load", "mmseg.apis.init_model", "trap", "trap.Trap",
    ".os.system", "os.", "a.b", "\u0000.x",
]  # fmt: skip
KEYS = [
    "type",
    "data_preprocessor__type",
    "backbone__type",
    "backbone__norm_cfg__type",
    "decode_head__loss_decode__type",
]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What would be there if anything was run: a module `trap` lies where Python looks for some."""
    (tmp_path / "trap.py").write_text("import pathlib\npathlib.Path('sprung').touch()\nclass Trap: pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "sprung"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_config_that_is_data_runs_nothing(program: str, key: str, trap: Path, tmp_path: Path) -> None:
    path = config(tmp_path / "n.json", **{key: program})
    with pytest.raises(RequestError) as error:
        mmsegmentation.build(configs.read(path).model)
    assert "part of a network" in str(error.value)
    hostile.one_line(error.value)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["mmengine.load", "mmcv.convert_video", "mmengine.Config", "mmseg.mmengine", "trap"])
def test_a_project_and_a_word_are_a_registered_part(name: str, trap: Path) -> None:
    """`mmengine.load` would be found as a Python object, and would unpickle what it is told to."""
    with pytest.raises(RequestError, match="no registered part"):
        mmsegmentation.build({**MODEL, "backbone": {"type": name, "file": "x.pkl", "command": "touch sprung"}})
    assert not trap.exists()


@pytest.mark.parametrize("scope", ["trap", "os", "../x"])
def test_another_scope_is_not_imported(scope: str, trap: Path, tmp_path: Path) -> None:
    path = config(tmp_path / "n.json", backbone___scope_=scope)
    with pytest.raises(RequestError, match="part of a network"):
        configs.read(path)
    assert not trap.exists()


@pytest.mark.parametrize("kind", ["os.system", "trap.Trap", "trap"])
def test_a_dataset_is_only_looked_up(kind: str, trap: Path, tmp_path: Path) -> None:
    for content in ({"dataset_type": kind}, {"test_dataloader": {"dataset": {"type": kind}}}):
        (tmp_path / "n.json").write_text(json.dumps({"model": MODEL, **content}))
        with pytest.raises(RequestError, match="part of a network"):
            configs.read(tmp_path / "n.json")
        assert not trap.exists()


def test_what_is_registered_is_let_through() -> None:
    for name in ("ResNet", "mmseg.ResNet", "BN", "mmseg.BN", "ReLU", "OHEMPixelSampler"):
        registry_names.check_registered({"backbone": {"type": name}})
    registry_names.check_names(
        Path("x"), {"type": "mmpretrain.ConvNeXt", "neck": [{"type": "MLP", "_scope_": "mmdet"}]}
    )


YAMLS = {
    "aliases": "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "model: {data_preprocessor: {}, decode_head: {}, backbone: *i}\n",
    "a circle": "model: &a {data_preprocessor: {}, decode_head: {}, backbone: *a}\n",
    "lists in lists": "model: " + "[" * 100_000,
    "many levels": "model: {data_preprocessor: {}, decode_head: {}, x: " + "[" * 200 + "]" * 200 + "}",
    "an object": "model: !!python/object/apply:os.system ['touch sprung']\n",
    "a long number": f"model: {{data_preprocessor: {{}}, decode_head: {{}}, x: {'9' * 100_000}}}\n",
    "a set": "model: {data_preprocessor: {}, decode_head: {}, x: !!set {a, b}}\n",
    "nothing": "",
}


@pytest.mark.parametrize("what", YAMLS)
def test_yaml(what: str, trap: Path, tmp_path: Path) -> None:
    path = tmp_path / "n.yaml"
    path.write_text(YAMLS[what])
    with hostile.within(20), pytest.raises(RequestError) as error:
        configs.read(path)
    assert hostile.one_line(error.value).startswith(f"{path}: ")
    assert not trap.exists()


# --- checkpoints


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def repacked(path: Path, change: Callable[[str, bytes], bytes], method: int = zipfile.ZIP_STORED) -> Path:
    """A checkpoint with members that are other ones, or packed otherwise."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(name, change(name, data))
    return path


def small(path: Path) -> Path:
    return saved(path, {"a.weight": torch.zeros(4)})


def inflated(path: Path) -> Path:
    """64 MiB of zeros behind some kilobytes; 64 GiB would be as quick to write."""
    return repacked(small(path), lambda name, data: bytes(1 << 26) if "/data/" in name else data, zipfile.ZIP_DEFLATED)


def pickled_bomb(path: Path) -> Path:
    return repacked(
        small(path), lambda name, data: data + bytes(1 << 26) if "pkl" in name else data, zipfile.ZIP_DEFLATED
    )


def shared(path: Path) -> Path:
    """Many members that lie in one place: each is as large as the file."""
    data = bytearray(saved(path, {f"{i}.weight": torch.zeros(4096) for i in range(3)}).read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        first = next(one for one in archive.infolist() if one.filename.endswith("/data/0"))
    at = -1
    while (at := data.find(b"PK\1\2", at + 1)) >= 0:
        name = data[at + 46 : at + 46 + struct.unpack_from("<H", data, at + 28)[0]]
        if b"/data/" in name:
            struct.pack_into("<LL", data, at + 20, 40_000, 40_000)
            struct.pack_into("<L", data, at + 42, first.header_offset)
    path.write_bytes(bytes(data))
    return path


def elsewhere(path: Path) -> Path:
    """A list of members that Python would look for right before the end, and PyTorch where the archive says."""
    data = bytearray(small(path).read_bytes())
    if (long := data.rfind(b"PK\6\6")) >= 0:
        struct.pack_into("<Q", data, long + 48, struct.unpack_from("<Q", data, long + 48)[0] - 1)
    end = data.rindex(b"PK\5\6")
    struct.pack_into("<L", data, end + 16, struct.unpack_from("<L", data, end + 16)[0] - 1)
    path.write_bytes(bytes(data))
    return path


def listed(path: Path) -> Path:
    """An archive whose list of members would be gigabytes, in a file that has them."""
    size = 3 * hostile.GIGABYTE
    hostile.sparse(path, size)
    with path.open("r+b") as file:
        file.write(b"PK\3\4")
        file.seek(0, os.SEEK_END)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size - 64, 32, 0))
    return path


def quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)


CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "an inflated tensor": inflated,
    "an inflated pickle": pickled_bomb,
    "members in one place": shared,
    "a list elsewhere": elsewhere,
    "a list of gigabytes": listed,
    "a tensor that is unfolded": lambda path: saved(path, {"a": torch.zeros(1).expand(1 << 20, 1 << 20)}),
    "a sparse tensor": lambda path: saved(
        path, {"a": torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (1 << 30, 1 << 30))}
    ),
    "a tensor of nothing": lambda path: saved(path, {"a": torch.zeros(1 << 40, device="meta")}),
    "a quantised tensor": lambda path: saved(path, {"a": quantised()}),
    "a large array beside": lambda path: saved(path, {"state_dict": 3, "meta": np.zeros(3)}),
    "a pickle in a pickle": lambda path: Path(path.write_bytes(b"\x80\x02" + b"]" * 100_000 + b".") and path),
    "a long text": lambda path: Path(path.write_bytes(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".") and path),
    "a gigabyte of zeros": lambda path: hostile.sparse(path),
    "more than any network": lambda path: hostile.sparse(path, 1 << 40),
    "a magic alone": lambda path: Path(path.write_bytes(b"PK\3\4") and path),
    "an end alone": lambda path: Path(path.write_bytes(b"PK\5\6" + bytes(18)) and path),
}  # fmt: skip


@pytest.mark.parametrize("what", CHECKPOINTS)
def test_checkpoints(what: str, tmp_path: Path) -> None:
    path = CHECKPOINTS[what](tmp_path / "a.pth")
    with hostile.within(20), pytest.raises(RequestError) as error:
        checkpoints.load(path)
    assert hostile.one_line(error.value).startswith(f"checkpoint {path}: ")


def lying(header: object, length: int | None = None, data: bytes = b"") -> bytes:
    """A safetensors file with that header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape: list[int], *offsets: int, kind: str = "F32") -> dict[str, Any]:
    return {"a": {"dtype": kind, "shape": shape, "data_offsets": list(offsets)}}


SAFETENSORS: dict[str, bytes] = {
    "a header of exabytes": lying({}, 1 << 62),
    "a header of gigabytes": lying({}, 1 << 32),
    "a tensor of terabytes": lying(tensor([1 << 20, 1 << 20], 0, 1 << 42)),
    "a tensor beyond its data": lying(tensor([4], 0, 16), data=bytes(8)),
    "a tensor of another size": lying(tensor([400], 0, 16), data=bytes(16)),
    "offsets backwards": lying(tensor([4], 16, 0), data=bytes(16)),
    "sides that overflow": lying(tensor([1 << 33, 1 << 33], 0, 0)),
    "less than nothing": lying(tensor([-4], 0, 16), data=bytes(16)),
    "another kind": lying(tensor([4], 0, 16, kind="PICKLE"), data=bytes(16)),
    "two in one place": lying({**tensor([4], 0, 16), "b": tensor([4], 0, 16)["a"]}, data=bytes(16)),
    "lists in lists": lying(b"[" * 100_000),
    "a key twice": lying(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 3}', data=bytes(4)),
    "no text": lying(b"\xff" * 16),
    "nothing": b"",
}


@pytest.mark.parametrize("what", SAFETENSORS)
def test_safetensors(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(SAFETENSORS[what])
    with hostile.within(10), pytest.raises(RequestError) as error:
        checkpoints.load(path)
    assert hostile.one_line(error.value).startswith(f"checkpoint {path}: ")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    for make in (hostile.pipe, Path.mkdir, lambda path: path.symlink_to("/dev/zero")):
        make(path)
        for read in (checkpoints.load, checkpoints.sha256):
            with hostile.within(10), pytest.raises(RequestError, match="not a regular file"):
                read(path)
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(RequestError, match="File name too long"):
        checkpoints.load(tmp_path / f"{'x' * 300}{suffix}")


def test_memory_stays_small(tmp_path: Path) -> None:
    """PyTorch alone takes a few hundred MiB."""
    for number, make in enumerate(CHECKPOINTS.values()):
        make(tmp_path / f"{number}.pth")
    for number, content in enumerate(SAFETENSORS.values()):
        (tmp_path / f"{number}.safetensors").write_bytes(content)
    peak, _ = hostile.peak_mib(
        """
        import sys
        from pathlib import Path
        import torch, safetensors
        from vcmbench.errors import RequestError
        from vcmbench.tasks import checkpoints
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                checkpoints.load(path)
            except RequestError:
                continue
            sys.exit(f"{path} was taken")
        """,
        tmp_path,
    )
    assert peak < 1000


CLASSES = [
    "[" * 100_000, "9" * 1_000_000, '["\\ud800"', "{}", "[1, 2]", '["a", ["b"]]', "null", "NaN",
    "[" + '"a",' * 900_000 + '"a"]',
]  # fmt: skip


@pytest.mark.parametrize("classes", CLASSES, ids=range(len(CLASSES)))
def test_names_of_classes_in_a_checkpoint(classes: str, tmp_path: Path) -> None:
    """They are none where they are no list of texts; the weights are read all the same."""
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"classes": classes})
    with hostile.within(10):
        assert checkpoints.load(tmp_path / "a.safetensors").classes is None


@pytest.mark.parametrize("given", ["~nobody-of-that-name/x", "a\0b", "x" * 5000, "/dev/zero", "", "."])
def test_files_of_names(given: str) -> None:
    with hostile.within(5), pytest.raises(RequestError) as error:
        class_names.given(given)
    hostile.one_line(error.value)


# --- what other machines and processes say


@pytest.mark.parametrize("told", ["../" * 21 + "x", "/" * 64, "a" * 63, "A" * 64, "g" * 64, "a" * 63 + "\n", ""])
def test_a_checksum_becomes_part_of_a_file_name(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    headers = Message()
    headers["X-Linked-Etag"] = f'"{told}"'.replace("\n", "")
    answer = mock.MagicMock()
    answer.__enter__.return_value.headers = headers
    opener = mock.Mock()
    opener.open.return_value = answer
    with (
        mock.patch("urllib.request.build_opener", return_value=opener),
        mock.patch("vcmbench.io.fetch.cached", side_effect=AssertionError("it was believed")),
        pytest.raises(RequestError, match="reports no checksum"),
    ):
        published_weights._from_hub("resnet18", "timm/resnet18")
    assert not list(tmp_path.iterdir())


def framed(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


MESSAGES = {
    "a header of gigabytes": struct.pack(">I", 0xFFFFFFFF),
    "lists in lists": framed(b"[" * 100_000),
    "no arrays": framed(b"{}"),
    "arrays of terabytes": framed(b'{"arrays": [{"shape": [1000000, 1000000], "dtype": "uint8"}]}'),
    "sides below nothing": framed(b'{"arrays": [{"shape": [-1], "dtype": "uint8"}]}'),
    "another kind": framed(b'{"arrays": [{"shape": [1], "dtype": "object"}]}'),
    "a kind that is a list": framed(b'{"arrays": [{"shape": [1], "dtype": []}]}'),
    "a long number": framed(b"9" * 100_000),
    "no text": framed(b"\xff\xfe\xfd\xfc"),
}


@pytest.mark.parametrize("what", MESSAGES)
def test_messages_of_a_task_in_a_container(what: str) -> None:
    """A network that took over its container can only say what ends the run."""
    stream = io.BytesIO(MESSAGES[what])

    def read(buffer: memoryview) -> None:
        if stream.readinto(buffer) < len(buffer):
            raise EOFError

    with hostile.within(5), pytest.raises((ValueError, EOFError)) as error:
        messages.receive(read)
    assert "\n" not in str(error.value)


ANSWERS: list[dict[str, Any]] = [
    {},
    {"kind": 1},
    {"kind": "x", "classes": 3, "identity": {}},
    {"kind": "x", "classes": [], "identity": 3},
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_task_that_does_not_say_what_it_is(answer: dict[str, Any]) -> None:
    from vcmbench.tasks.base import Device, Prepared
    from vcmbench.tasks.remote import RemoteTask, Transport

    class Liar(Transport):
        runner = "process"

        def __init__(self) -> None:
            self.stream = io.BytesIO()
            messages.send(lambda data: self.stream.write(data) and None, answer)
            self.stream.seek(0)

        def read(self, buffer: memoryview) -> None:
            if self.stream.readinto(buffer) < len(buffer):
                raise EOFError

        def write(self, buffer: memoryview) -> None:
            pass

        def last_words(self) -> tuple[str, str]:
            return "has gone", ""

        def close(self) -> None:
            pass

    with pytest.raises(JobError, match="did not say what it is"):
        RemoteTask(Liar(), "segmentation", Prepared({}), Device(), "none")


def test_a_pickle_with_code_is_not_run_wherever_it_lies(trap: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.system, ("touch sprung",)

    for content in (Trap(), {"state_dict": {"a": Trap()}}, {"a": torch.zeros(1), "meta": [Trap()]}):
        path = saved(tmp_path / "a.pth", content)
        with pytest.raises(RequestError, match="refused"):
            checkpoints.load(path)
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(RequestError, match=r"refused|damaged"):
            checkpoints.load(path)
        assert not trap.exists()
