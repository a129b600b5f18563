"""The contract of an encoder, over every file in `encoders/` and over added ones, which need nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from tests.helpers.commands import ENCODERS
from tests.helpers.docs import example
from tests.helpers.encoder_contract import CHECKS
from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.compress.summary import CompressOutcome
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Encoder
from vcmbench.errors import RequestError
from vcmbench.execution.runner.local import LocalRunner

U8 = NDArray[np.uint8]
Check = Callable[[Encoder, Path, U8], None]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_keeps_the_contract(name: str, check: Check, tmp_path: Path, astronaut: U8) -> None:
    check(plugins.get(name), tmp_path, astronaut)


def test_labels_differ_so_that_folders_do() -> None:
    labels = [one.label.lower() for one in plugins.discover().values()]
    assert len(labels) == len(set(labels)), f"two encoders have one label, and would share their folders: {labels}"


ORDINARY = """\
from vcmbench.encoder import Command, Encoder, QualityScale, ffmpeg


class Toy(Encoder):
    label, extension, chroma = "TOY", ".264", ("420", "444")
    quality = QualityScale("QP", 0, 51, "low")
    encode_tools = (ffmpeg.encoder_tool("libx264"),)
    decode_tools = (ffmpeg.decoder_tool("h264"),)

    def encode(self, program, coding, clip):
        options = {"c:v": "libx264", "preset": "ultrafast", "qp": coding.quality}
        return Command(ffmpeg.encode(clip, self.bitstream, "h264", **options))

    def decode(self, program, coding, clip):
        return Command(ffmpeg.decode(clip, self.bitstream, "h264"))
"""
WITHOUT_A_SCALE = ORDINARY.replace('QualityScale("QP", 0, 51, "low")', "None").replace("coding.quality", "0")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("text", [ORDINARY, WITHOUT_A_SCALE, "docs"], ids=["ordinary", "no scale", "1..31 of the docs"])
def test_an_added_file_keeps_the_contract(
    text: str, check: Check, encoders_folder: Path, tmp_path: Path, astronaut: U8
) -> None:
    name = "toy"
    if text == "docs":
        name = example("adding-an-encoder.md", encoders_folder.parent).stem
        scale = plugins.get(name).scale
        assert (scale.minimum, scale.maximum) == (1, 31)
    else:
        (encoders_folder / "toy.py").write_text(text)
    check(plugins.get(name), tmp_path / "data", astronaut)


def test_an_added_file_takes_maps_and_rates(tmp_path: Path, encoders_folder: Path, astronaut: U8) -> None:
    """Without a word about either."""
    (encoders_folder / "toy.py").write_text(ORDINARY)
    save(tmp_path / "data/a.png", astronaut)
    values = np.zeros(astronaut.shape[:2], np.float32)
    values[64:160, 80:200] = 1
    (tmp_path / "data/importance_map").mkdir()
    np.save(tmp_path / "data/importance_map/a_importance.npy", values)
    qp_map, target = {"delta": 6}, {"bpp": 0.5}
    coding = [{"encoder": "toy", "target": target}, {"encoder": "toy", "qp_map": qp_map, "target": target},
              {"encoder": "toy", "quality": [30], "qp_map": qp_map, "match": "rate"}]  # fmt: skip
    wanted = {"name": "added", "importance": {"source": "files"}, "coding": coding}
    outcome = compress(tmp_path / "data", experiment.Experiment.model_validate(wanted))
    assert (outcome.done, outcome.failed) == (3, [])


def test_an_added_file_that_codes_another_qp_is_noted(tmp_path: Path, encoders_folder: Path, astronaut: U8) -> None:
    (encoders_folder / "toy.py").write_text(f"{ORDINARY}\n    def coded_qp(self, log): return 27.0\n")
    save(tmp_path / "data/a.png", astronaut)
    coding = [{"encoder": "toy", "quality": [27, 30]}]
    wanted = experiment.Experiment.model_validate({"name": "added", "coding": coding})
    notes: dict[int, list[str]] = {}
    run = CompressRun(wanted, tmp_path / "data", LocalRunner(), CompressSettings())
    run.execute(lambda state, job, record, error: notes.update({record["quality"]: record.get("notes", [])}))  # type: ignore[index]
    assert notes == {27: [], 30: ["coded with QP 27, asked was 30"]}


def compress(root: Path, wanted: experiment.Experiment) -> CompressOutcome:
    return CompressRun(wanted, root, LocalRunner(), CompressSettings()).execute(lambda *_: None)


RAISING = {
    "encode": "def encode(self, program, coding, clip): raise LookupError('of its own')",
    "check_size": "def check_size(self, width, height): raise LookupError('of its own')",
    "coded_qp": "def coded_qp(self, log): raise LookupError('of its own')",
    "reported_bytes": "def reported_bytes(self, log): raise LookupError('of its own')",
    "decode": "def decode(self, program, coding, clip): return None",
    "quantisers": "map_method = 'native'\n    def quantisers(self, *_): raise LookupError('of its own')",
}


@pytest.mark.parametrize("method", RAISING)
def test_an_added_file_that_raises_fails_its_jobs_only(
    method: str, tmp_path: Path, encoders_folder: Path, astronaut: U8
) -> None:
    (encoders_folder / "toy.py").write_text(f"{ORDINARY}\n    {RAISING[method]}\n")
    save(tmp_path / "data/a.png", astronaut)
    (tmp_path / "data/importance_map").mkdir()
    np.save(tmp_path / "data/importance_map/a_importance.npy", np.eye(*astronaut.shape[:2], dtype=np.float32))
    toy = {"encoder": "toy", "quality": [30]} | ({"qp_map": {"delta": 6}} if method == "quantisers" else {})
    wanted = {"name": "added", "importance": {"source": "files"}, "coding": [toy, {"encoder": "jpeg", "quality": [50]}]}
    outcome = compress(tmp_path / "data", experiment.Experiment.model_validate(wanted))
    assert outcome.done == 1, "the others finish"
    ((job, error),) = outcome.failed
    assert job.encoder.name == "toy"
    assert re.search("of its own|NoneType", str(error))


@pytest.mark.parametrize("method", ["folder_name", "log2_step"])
def test_an_added_file_that_raises_when_asked_what_it_can_do_is_refused_by_name(
    method: str, encoders_folder: Path
) -> None:
    """Before anything is started: there is no folder for its jobs, or no telling whether they can be done."""
    (encoders_folder / "toy.py").write_text(
        f"{ORDINARY}\n    def {method}(self, *_): raise LookupError('of its own')\n"
    )
    coding = [{"encoder": "toy", "quality": [30], "qp_map": {"delta": 6}}]
    with pytest.raises(ValidationError, match=r"encoder 'toy': .*of its own"):
        experiment.Experiment.model_validate({"name": "added", "coding": coding})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def broken(:", r"line 1: SyntaxError"),
        ("import os\nimport no_such_module", r"line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "holds 0 subclasses of Encoder, must hold one"),
        ("from vcmbench.encoder import Encoder\nclass A(Encoder):\n    label = 'A'", "TypeError: Can't instantiate"),
        (ORDINARY.replace(", chroma = ", ", chrome = "), "Toy does not set chroma"),
        (ORDINARY.replace('"TOY"', '"../TOY"'), "label"),
    ],
)
def test_a_faulty_file_is_named_and_the_others_work(text: str, complaint: str, encoders_folder: Path) -> None:
    (encoders_folder / "faulty.py").write_text(text)
    (encoders_folder / "_helper.py").write_text("raise RuntimeError('not an encoder')")
    (encoders_folder / "Bad-Name.py").write_text("")
    assert sorted(plugins.discover()) == sorted(ENCODERS)
    assert sorted(plugins.faults()) == ["Bad-Name", "faulty"]
    with pytest.raises(RequestError, match=complaint):
        plugins.get("faulty")


@pytest.mark.parametrize(
    ("name", "is_message"),
    [
        ("x264", lambda head: head[0] & 31 == 6),
        ("x265", lambda head: head[0] >> 1 & 63 in (39, 40)),
        ("kvazaar", lambda head: head[0] >> 1 & 63 in (39, 40)),
        ("vvenc", lambda head: head[1] >> 3 in (23, 24)),
    ],
)
def test_streams_hold_no_messages(
    name: str, is_message: Callable[[bytes], bool], tmp_path: Path, astronaut: U8
) -> None:
    """Neither texts of the encoder about itself nor checksums of pictures (SEI): their bytes are not the codec's."""
    save(tmp_path / "a.png", astronaut[:64, :96])
    wanted = experiment.Experiment.model_validate({"name": "sei", "coding": [{"encoder": name, "quality": [40]}]})
    assert compress(tmp_path, wanted).done == 1
    (stream,) = tmp_path.glob(f"*/a{plugins.get(name).extension}")
    units = stream.read_bytes().split(b"\x00\x00\x01")[1:]
    assert units and not any(is_message(unit[:2]) for unit in units)
