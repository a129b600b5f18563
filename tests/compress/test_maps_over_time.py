"""A QP map for every picture of a sequence that is coded as video, with the real encoders."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.commands import compress_here
from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.encoder import Clip, CodingConfiguration, Quantisers, Structure, ffmpeg_regions
from vcmbench.encoder.plugins import get
from vcmbench.errors import JobError
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.importance.qp_map import QpMap
from vcmbench.report.frames import of_frame

Write = Callable[..., Path]
U8 = NDArray[np.uint8]

FRAMES, HEIGHT, WIDTH = 9, 128, 256
FILES = '[importance]\nsource = "files"\n'
MAP = 'qp_map = { delta = 6 }\nmatch = "rate"\n'
LOW_DELAY = 'structure = "lowdelay"\nlayer_offsets = false\n'
PYRAMID = 'structure = "randomaccess"\ngop = 4\n'


def texture(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    coarse = rng.integers(0, 255, (height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
    return 64 + coarse / 2 + rng.normal(0, 8, (height, width))


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square that moves 8 pixels a picture over ground, both textured, under a sensor's noise; it alone matters."""
    root, rng = tmp_path_factory.mktemp("drive"), np.random.default_rng(0)
    ground, thing = texture(rng, HEIGHT, WIDTH), texture(rng, 64, 64)
    (root / "importance_map/drive").mkdir(parents=True)
    for number in range(FRAMES):
        left = 32 + 8 * number
        plane, importance = ground.copy(), np.zeros((HEIGHT, WIDTH), np.float32)
        plane[32:96, left : left + 64] = thing
        importance[32:96, left : left + 64] = 1
        noisy = np.clip(plane + rng.normal(0, 6, plane.shape), 0, 255).astype(np.uint8)
        save(root / f"drive/{number:03}.png", noisy[..., None].repeat(3, 2))
        np.save(root / f"importance_map/drive/{number:03}_importance.npy", importance)
    return root


@pytest.fixture
def root(tmp_path: Path, drive: Path) -> Path:
    root = tmp_path / "data"
    (root / "importance_map/drive").mkdir(parents=True)
    (root / "drive").symlink_to(drive / "drive")
    for path in (drive / "importance_map/drive").iterdir():
        (root / "importance_map/drive" / path.name).symlink_to(path)
    return root


CODINGS = [("x264", LOW_DELAY), ("x264", PYRAMID), ("x265", LOW_DELAY), ("x265", PYRAMID), ("kvazaar", LOW_DELAY)]


def test_bits_follow_what_matters_in_every_picture(root: Path, write_experiment: Write) -> None:
    """3 dB and more inside of every picture, at equal bytes, in one bitstream that is predicted over time."""
    codings = [f'encoder = "{name}"\nquality = [27]\n{structure}{MAP}' for name, structure in CODINGS]
    config = write_experiment(*codings, head=FILES)
    done = compress_here(root, config)
    assert done.code == 0, done.err
    records = done.records()
    assert len(records) == len(CODINGS)
    for record in records:
        assert record["rate_search"]["is_equal"], record["rate_search"]
        assert abs(record["size_bytes"] / record["uniform"]["size_bytes"] - 1) <= 0.01
        frames = record["evidence"]["frames"]
        gains = np.subtract(frames["psnr_y_inside_db"], frames["uniform_psnr_y_inside_db"])
        assert gains.min() >= 3, (record["bitstream"], gains)
        assert len(gains) == record["frames"] == record["map"]["pictures"] == FRAMES
        account = record["coded_frames"]
        assert sum(account["size_bytes"]) + account["header_bytes"] == record["size_bytes"]
        assert set(account["type"][1:]) in ({"P", "B"}, {"P"}, {"B"}), "predicted over time"
        bitstream = root / record["bitstream"]
        table = np.loadtxt(bitstream.with_name(f"{bitstream.stem}_qp_map.csv"), dtype=int, delimiter=",")
        assert table.shape == (FRAMES * HEIGHT // 16, 1 + WIDTH // 16)
        assert table[:, 0].tolist() == np.arange(FRAMES).repeat(HEIGHT // 16).tolist(), "a row begins with its picture"
        maps = table[:, 1:].reshape(FRAMES, HEIGHT // 16, WIDTH // 16)
        assert np.array_equal(of_frame(table.astype(float), 8), maps[8])
        assert {maps[0, 2, 2] - maps[0, 0, 0], maps[8, 2, 6] - maps[8, 2, 2]} == {-12}, "the map moves with the square"
    assert {event["state"] for event in compress_here(root, config).events} == {"resumed"}


DEAF = """
from vcmbench.encoder import ffmpeg
from vcmbench.encoder.plugins import get


class Deaf(type(get("x264"))):
    \"\"\"x264 with a constant QP, which ignores regions without a word.\"\"\"

    label = "deaf"

    def encode_mapped(self, program, coding, clip, quantisers):
        return self.encode(program, coding, clip)
"""


def test_an_encoder_that_ignores_the_maps_of_a_sequence_fails(root: Path, encoders_folder: Path) -> None:
    (encoders_folder / "deaf.py").write_text(DEAF)
    coding = {"encoder": "deaf", "quality": [27], "structure": "lowdelay", "qp_map": {"delta": 6}}
    wanted = {"name": "deaf", "coding": [coding, coding | {"match": "rate"}], "importance": {"source": "files"}}
    run = CompressRun(experiment.Experiment.model_validate(wanted), root, LocalRunner(), CompressSettings())
    outcome = run.execute(lambda *_: None)
    assert outcome.done == 0
    assert [str(error).split(":")[0] for _, error in outcome.failed] == ["the QP map took no effect"] * 2


def test_other_encoders_get_a_sequence_low_passed_by_its_maps(root: Path, write_experiment: Write) -> None:
    """Every picture by its own: the ground loses detail, the square gains, wherever it is."""
    coding = f'encoder = "vvenc"\npreset = "faster"\nquality = [27]\n{LOW_DELAY}{MAP}'
    (record,) = compress_here(root, write_experiment(coding, head=FILES)).records()
    assert record["map"]["method"] == "prefilter"
    assert record["rate_search"]["is_equal"]
    frames = record["evidence"]["frames"]
    assert np.subtract(frames["psnr_y_inside_db"], frames["uniform_psnr_y_inside_db"]).min() > 0.5
    assert np.subtract(frames["psnr_y_outside_db"], frames["uniform_psnr_y_outside_db"]).max() < 0


def test_held_maps(root: Path, write_experiment: Write) -> None:
    """Without a map of its own a picture fails its sequence by name, or with `hold` keeps the last known one; the job
    is done again when another map is known."""
    maps = root / "importance_map/drive"
    for number in (0, 1, 2, 4, 5, 7, 8):
        (maps / f"{number:03}_importance.npy").unlink()
    coding = f'encoder = "x264"\npreset = "ultrafast"\nquality = [27]\n{LOW_DELAY}qp_map = {{ delta = 6 }}\n'
    done = compress_here(root, write_experiment(coding, head=FILES))
    assert done.code == 1
    assert f"importance of drive/000: no {maps / '000_importance.npy'}; 2 of 9 pictures of its sequence" in done.err
    assert "hold = true" in done.err
    holding = write_experiment(coding, head=FILES + "hold = true\n", name="holding")
    done = compress_here(root, holding)
    assert done.code == 0, done.err
    (record,) = done.records()
    assert (record["map"]["held"], record["map"]["different_maps"]) == (7, 2)
    bitstream = root / record["bitstream"]
    table = np.loadtxt(bitstream.with_name(f"{bitstream.stem}_qp_map.csv"), dtype=int, delimiter=",")
    lefts = [int(np.flatnonzero(rows[3, 1:] == 21)[0]) for rows in table.reshape(FRAMES, HEIGHT // 16, -1)]
    assert lefts == [4, 4, 4, 4, 4, 4, 5, 5, 5], "that of picture 3 from the start, that of 6 to the end"
    assert [event["state"] for event in compress_here(root, holding).events] == ["resumed"]
    (maps / "008_importance.npy").symlink_to(maps / "003_importance.npy")
    assert [event["state"] for event in compress_here(root, holding).events] == ["done"]


def test_svtav1_gets_a_line_a_picture() -> None:
    svtav1, clip = get("svtav1"), Clip(128, 64, 3, CHROMA_FORMATS["420"])
    coding = CodingConfiguration("svtav1", 40, stacked=True, structure=Structure("lowdelay"), qp_map=QpMap())
    pictures = [np.array([steps], np.int8) for steps in ((-6, 6), (6, -6), (6, 6))]
    told = svtav1.sequence_quantisers(40, pictures, 0.0, 64)
    command = svtav1.encode_mapped("SvtAv1EncApp", coding, clip, told)
    lines = command.files["roi.txt"].splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    (fine, coarse), *others = [[int(word) for word in line.split()[1:]] for line in lines]
    assert fine == 0
    np.testing.assert_allclose(others, [[coarse, fine], [coarse, coarse]], atol=1)  # the dither of the rest
    assert svtav1.log2_step(int(told.base)) == pytest.approx(svtav1.log2_step(40) - 1, abs=0.1), "the finest block's"
    words = dict(itertools.pairwise(command.argv))
    assert (words["--keyint"], words["--pred-struct"], words["--hierarchical-levels"]) == ("3", "1", "3")
    assert words["--qindex-offsets"].startswith("[-")


def test_maps_of_a_sequence_travel_in_pieces_that_are_bounded() -> None:
    """Pictures of one map share a branch; more than FFmpeg has memory for is refused."""
    clip = Clip(48, 16, 9, CHROMA_FORMATS["420"])
    one, other = np.array([[0, 0, -6]], np.int16), np.array([[0, 0, 6]], np.int16)

    def graphs(*maps: NDArray[np.int16]) -> list[str]:
        told = Quantisers(30, unit_px=16, pictures=maps)
        return list(ffmpeg_regions.encode_mapped(clip, "o.264", "h264", told).files.values())

    (held,) = graphs(*[one] * 5, *[other] * 4)
    assert re.findall(r"trim=start_frame=(\d+):end_frame=(\d+)", held) == [("0", "5"), ("5", "9")]
    assert graphs(*[one] * 5) == ["addroi=32:0:16:16:-6/51"]
    many = graphs(*[one, other] * 100)
    assert [text.count("addroi") for text in many] == [64, 64, 64, 8]
    assert [re.findall(r"start,(\d+),end,(\d+)", text)[0] for text in many[:2]] == [("0", "73728"), ("73728", "147456")]
    checkerboard = np.indices((40, 40)).sum(0) % 2
    assert len(graphs(*[checkerboard + n for n in range(2)])) == 2
    with pytest.raises(JobError, match="come to 240000 rectangles, FFmpeg takes 200000"):
        graphs(*[checkerboard, 1 - checkerboard] * 150)


def test_pieces_make_the_bytes_of_one_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Decoded pictures follow their maps over the seams, too; a piece more or less changes no bit."""
    clip, rng = Clip(64, 32, 7, CHROMA_FORMATS["420"]), np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in/source.yuv").write_bytes(rng.integers(16, 235, 7 * 64 * 32 * 3 // 2, np.uint8).tobytes())
    told = Quantisers(30, unit_px=16, pictures=tuple(rng.integers(-6, 7, (7, 2, 4)).astype(np.int16)))
    coding = CodingConfiguration("x264", 30, stacked=True, structure=Structure("lowdelay"))
    coded = []
    for runs in (64, 3, 1):
        monkeypatch.setattr(ffmpeg_regions, "PIECE_RUNS", runs)
        command = get("x264").encode_mapped("ffmpeg", coding, clip, told)
        assert len(command.files) == -(-7 // runs)
        for name, text in command.files.items():
            (tmp_path / "in" / name).write_text(text)
        subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), *command.argv[1:]], cwd=tmp_path / "out", check=True, capture_output=True
        )
        coded.append((tmp_path / "out" / get("x264").bitstream).read_bytes())
    assert coded[0] == coded[1] == coded[2]
