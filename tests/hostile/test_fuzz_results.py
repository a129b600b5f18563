"""Records, folder names, and what tools print: anything may stand there."""

from __future__ import annotations

import re
import string
import struct
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import hostile
from tests.helpers.commands import JPEG
from tests.helpers.fuzzing import BYTES, VALUES, as_bytes, fuzz, lay, mutated, only_documented, spoilt
from vcmbench.data import frames
from vcmbench.data.record import as_json, read_record
from vcmbench.encoder import ffmpeg, plugins
from vcmbench.encoder.configuration import CodingConfiguration, from_record
from vcmbench.execution.runner import probe
from vcmbench.importance.qp_map import QpMap
from vcmbench.importance.source import ImportanceSource
from vcmbench.io import archives, documents
from vcmbench.io import text as shown
from vcmbench.measure.blocks import published
from vcmbench.measure.blocks.published import PublishedBlock, PublishedCoding
from vcmbench.tasks import checkpoints, configs, messages

# --- records


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A record of a real job, as it was written."""
    import numpy as np

    from tests.helpers.pictures import save

    folder = tmp_path_factory.mktemp("fuzz")
    save(folder / "data/a.png", np.arange(64 * 96 * 3, dtype=np.uint8).reshape(64, 96, 3))
    (folder / "trial.toml").write_text(f'name = "trial"\n[[coding]]\n{JPEG}\n')
    assert hostile.compress(folder / "data", folder / "trial.toml").code == 0
    return next((folder / "data/results/trial/records").rglob("*.json")).read_bytes()


_TIMES = re.compile(rb'\n *"(?:encode_s|decode_s|filter_s)": [^\n]*')


def test_every_byte_of_a_record_is_sealed_but_its_times(sealed: bytes, tmp_path: Path) -> None:
    """All of them, one after the other, each with bits of every place flipped: digits, letters, brackets, spaces."""
    path = tmp_path / "r.json"
    assert read_record(lay(path, sealed)) is not None
    times = {at for match in _TIMES.finditer(sealed) for at in range(match.start(), match.end() + 1)}
    assert 20 < len(times) < 200
    for at in range(len(sealed)):
        if at in times:
            continue
        for bit in (0, 1, 3, 5):
            flipped = bytearray(sealed)
            flipped[at] ^= 1 << bit
            assert read_record(lay(path, bytes(flipped))) is None, (at, bit, sealed[at - 20 : at + 20])


@fuzz(200)
@given(st.data())
def test_records_of_any_bytes(sealed: bytes, tmp_path: Path, data: st.DataObject) -> None:
    content = data.draw(spoilt(sealed) | BYTES | VALUES.map(as_bytes))
    found = read_record(lay(tmp_path / "r.json", content))
    assert found is None or found["frames"] == len(found["sources"])


@fuzz(300)
@given(st.data())
def test_records_that_were_sealed_by_others(sealed: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Whoever edits a record can seal it again: whatever is taken for one is what the next steps rely on."""
    import json

    value = data.draw(mutated(json.loads(sealed)))
    try:
        content = as_json(value) if isinstance(value, dict) else as_bytes(value)
    except (ValueError, RecursionError):  # as Python writes it: NaN, lone surrogates
        content = as_bytes(value)
    found = read_record(lay(tmp_path / "r.json", content))
    if found is not None:
        name = PurePosixPath(found["bitstream"])
        assert not name.is_absolute() and ".." not in name.parts
        assert found["width_px"] > 0


# --- folder names and what is published

ENCODERS = st.sampled_from(sorted(plugins.discover()))
FACTORS = st.floats(0.01, 1, allow_subnormal=False).map(lambda x: round(x, 3))
MAPS = st.builds(
    QpMap, st.just("block"), st.sampled_from([1.0, 2.5, 6.0]), st.sampled_from([8, 16, 64]),
    st.sampled_from(["minmax", "absolute"]), st.sampled_from([1.0, 2.0]), st.sampled_from([None, "prefilter"]),
)  # fmt: skip
WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=6)
CODINGS = st.builds(
    CodingConfiguration, ENCODERS, st.none() | st.integers(-100, 100), st.sampled_from(["420", "422", "444", "400"]),
    FACTORS, st.none() | WORDS, st.none() | WORDS, st.booleans(), st.booleans(), st.none() | MAPS,
    st.none() | st.just(ImportanceSource(region=0.5)), st.booleans(), st.none() | st.sampled_from([0.1, 0.25]),
    st.lists(st.tuples(WORDS, WORDS), max_size=3, unique_by=lambda one: one[0]).map(sorted).map(tuple),
)  # fmt: skip


def of(coding: CodingConfiguration) -> Any:
    """What decides a folder's name."""
    return plugins.get(coding.encoder).folder_name(coding)


@fuzz(300)
@given(CODINGS)
def test_folder_names_are_names(coding: CodingConfiguration) -> None:
    name = of(coding)
    assert name.isprintable() and "/" not in name and name not in (".", "..")
    assert name.endswith(")") and name.startswith(plugins.get(coding.encoder).label)


@fuzz(300)
@given(CODINGS, CODINGS)
def test_other_folders_are_told_otherwise(one: CodingConfiguration, other: CodingConfiguration) -> None:
    """The published form of two configurations is the same where their folders are, and only there."""
    assert (published.coding_of(one) == published.coding_of(other)) == (of(one) == of(other))


@fuzz(200)
@given(CODINGS)
def test_a_record_gives_its_configuration_back(coding: CodingConfiguration) -> None:
    import json

    found = from_record(json.loads(json.dumps(coding.as_dict())))
    assert found.as_dict() | {"importance": None} == coding.as_dict() | {"importance": None}


NAMES = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and name.isprintable()
)
PUBLISHED = st.builds(
    PublishedBlock, st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.builds(PublishedCoding, NAMES, st.none() | st.integers(-100, 100) | st.floats(-100, 100),
              st.sampled_from(["420", "444"]), st.floats(0.001, 1)),
    st.integers(0, 2**20), st.integers(0, 2**20), st.integers(1, 2**20), st.integers(1, 2**20), st.floats(0, 1),
)  # fmt: skip


@fuzz(150)
@given(st.dictionaries(st.text(max_size=6), PUBLISHED, min_size=1, max_size=4))
def test_published_blocks_come_back(tmp_path: Path, table: dict[str, PublishedBlock]) -> None:
    """Whatever the codecs are called, those of the published numbers too."""
    usable = {number.encode("utf-8", "replace").decode(): block for number, block in table.items()}
    published.write_blocks(tmp_path / "b.json", usable)
    assert published.read_blocks(tmp_path / "b.json") == usable


@fuzz(150)
@given(st.lists(NAMES, min_size=1, max_size=4))
def test_images_keep_a_name_of_their_own(parts: list[str]) -> None:
    plain, scene = "/".join(parts), "/".join(["leftImg8bit", "val", *parts, "x_leftImg8bit"])
    assert published.image_id(scene) == "/".join([*parts, "x"])
    if not plain.startswith("leftImg8bit/"):
        assert published.image_id(plain) == plain


# --- what tools print

PIECES = st.sampled_from(
    ["00000(IDR)", "00001( I )", "POC ", "POC 0 ", "QP 32 )", " QP 32 ", "Avg QP:31.50", "Avg QP: 1.2.3", "frame I:3 ",
     "encoded 1 frames ", "encoded ", "Processed 1 frames, ", " bits", "Bytes written to file: 2098", "total_size=7014",
     "total_size=", "Total Frames Frame Rate Byte Count", " fps ", "Unknown option: ", "Error parsing option '", "'",
     "Invalid value for ", "Error parsing", "n: 1 XPSNR y: 3", "9" * 30, "9" * 5000, "\u0663", "\n", "\r\n", " ", "\t",
     "(", ")", ".", "...", "-1", "1e5", "\0", "\ufffd"]
)  # fmt: skip
LOGS = st.lists(PIECES | st.text(max_size=10), max_size=40).map("".join)


def read_all(log: str) -> None:
    """Everything that is read from logs: figures, or nothing."""
    for tool in plugins.discover().values():
        qp, size, complaint = tool.coded_qp(log), tool.reported_bytes(log), tool.complaint(log)
        assert qp is None or isinstance(qp, float | int)
        assert size is None or (isinstance(size, int) and size >= 0)
        assert complaint is None or (isinstance(complaint, str) and "\n" not in complaint)
    assert len(probe.first_line(log)) <= 200
    probe.lists_component(log, "libx265")
    ffmpeg.complaint(log)
    ffmpeg.reported_bytes(log)


@fuzz(300)
@given(LOGS)
def test_logs_of_tools(log: str) -> None:
    read_all(log)


@pytest.mark.parametrize(
    "piece",
    ["\n", " ", "9", "POC 1 ", "POC ", "encoded 1 frames ", "encoded 1 frames\n", "frame I:3 ", "00000(IDR) ", "QP 1 ",
     "Total Frames Frame Rate Byte Count", "Total Frames Frame Rate Byte Count\n 1 1.0 fps", "total_size=9",
     "Error parsing option '", "Unknown option: ", "Bytes written to file: ", "Processed 1 frames, ", "(", "\t\n"],
)  # fmt: skip
def test_a_megabyte_of_it_is_read_in_no_time(piece: str) -> None:
    """As much as is kept of what a tool prints, and nothing but the beginnings of what is looked for."""
    with hostile.within(20):
        read_all(piece * ((1 << 20) // len(piece)))


# --- what is below all of them


@fuzz(200)
@given(VALUES, st.integers(10, 200))
def test_any_value_is_shown_in_a_line(value: Any, most: int) -> None:
    text = documents.short(value, most)
    assert len(text) <= most and "\n" not in text


@fuzz(200)
@given(st.text() | st.lists(st.sampled_from(["\u202e", "\x1b[2J", "\ud800", "\n", "é", "\u2028", "\r"])).map("".join))
def test_any_text_can_be_shown(text: str) -> None:
    found = shown.visible(text)
    assert (found.encode() and not set(found) & {"\x1b", "\u202e", "\r", "\u2028"}) or not text
    assert shown.visible(found) == found
    assert all(line.startswith("  ") for line in shown.lines(text).split("\n")[1:])


@fuzz(150)
@given(BYTES | VALUES.map(as_bytes) | st.text('[]{},:"0123456789.eE+-\\untrfalsN', max_size=60).map(str.encode))
def test_json_of_any_bytes(content: bytes) -> None:
    try:
        documents.parse_json(content)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 500


@fuzz(200)
@given(
    BYTES | VALUES.map(lambda value: struct.pack(">I", len(as_bytes({"arrays": value}))) + as_bytes({"arrays": value}))
)
def test_messages_of_other_processes(content: bytes) -> None:
    import io

    stream = io.BytesIO(content)

    def read(buffer: memoryview) -> None:
        if stream.readinto(buffer) < len(buffer):
            raise EOFError

    try:
        messages.receive(read)
    except (ValueError, EOFError):
        pass


@fuzz(100)
@given(spoilt(b"P6\n4 3\n255\n" + bytes(36)) | BYTES)
def test_decoded_pictures(tmp_path: Path, content: bytes) -> None:
    found = only_documented(lambda: frames.read_ppm(lay(tmp_path / "d.ppm", content), 4, 3))
    assert found is None or found.shape == (3, 4, 3)


# --- networks

SMALL = {"a.weight": torch.zeros(3), "b.weight": torch.ones(2, 2)}


def _checkpoint(suffix: str) -> bytes:
    import io

    from safetensors.torch import save

    if suffix == ".safetensors":
        return save(SMALL, {"classes": '["x", "y"]'})
    data = io.BytesIO()
    torch.save(SMALL, data, _use_new_zipfile_serialization=suffix == ".pth")
    return data.getvalue()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.filterwarnings("ignore")
def test_checkpoints(suffix: str, tmp_path: Path) -> None:
    """.pt stands for PyTorch's older form here, a pickle and no archive."""

    @fuzz(120)
    @given(spoilt(_checkpoint(suffix)) | BYTES)
    def run(content: bytes) -> None:
        found = only_documented(lambda: checkpoints.load(lay(tmp_path / f"a{suffix}", content)))
        assert found is None or found.tensors

    run()


@fuzz(150)
@given(spoilt(_checkpoint(".pth")) | BYTES | BYTES.map(lambda data: b"PK\3\4" + data + b"PK\5\6" + bytes(18)))
def test_archives(tmp_path: Path, content: bytes) -> None:
    with lay(tmp_path / "a.pth", content).open("rb") as file:
        try:
            archives.check(file)
        except ValueError as error:
            assert "\n" not in str(error)


CONFIG = {
    "model": {"type": "EncoderDecoder", "data_preprocessor": {"type": "SegDataPreProcessor"},
              "backbone": {"type": "UNet"}, "decode_head": {"type": "FCNHead", "num_classes": 19}},
    "dataset_type": "CityscapesDataset", "classes": ["a", "b"],
}  # fmt: skip


@fuzz(150)
@given(mutated(CONFIG).map(as_bytes) | BYTES, st.sampled_from([".json", ".yaml"]))
def test_configs_of_networks(tmp_path: Path, content: bytes, suffix: str) -> None:
    found = only_documented(lambda: configs.read(lay(tmp_path / f"n{suffix}", content)))
    assert found is None or isinstance(found.model, dict)
