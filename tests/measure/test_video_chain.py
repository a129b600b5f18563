"""Sequences through the whole chain: coded as video from a file and from its frames, measured over time, exported."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers import sequences, videos
from tests.helpers.measuring import compressed, measure, outcome, typed
from vcmbench.data import colour
from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.data.video_frames import read_all
from vcmbench.encoder.base import Clip
from vcmbench.measure.stability import backward_flow, changed
from vcmbench.tasks.predictions import read_prediction

FRAMES = 10
EXPERIMENT = """
name = "moving"
[task]
model = "demo"
[metrics]
iqa = ["PSNR"]
levels = ["image"]
[[coding]]
encoder = "x264"
quality = [27, 42]
structure = "lowdelay"
intra_period = 8
[[coding]]
encoder = "x265"
quality = [32]
structure = "intra"
[[coding]]
encoder = "jpeg"
quality = [50]
"""


def pictures() -> list[NDArray[np.uint8]]:
    clip = Clip(128, 64, FRAMES, CHROMA_FORMATS["420"])
    planes = np.frombuffer(sequences.moving(clip), np.uint8).reshape(FRAMES, -1)[:, : 128 * 64]
    return [np.repeat(luma.reshape(64, 128, 1), 3, axis=2) for luma in planes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video, measured; results lie beside it."""
    made = tmp_path_factory.mktemp("moving")
    (made / "moving.toml").write_text(EXPERIMENT)
    video = videos.write(made / "drive.mp4", options={"crf": "8", "bf": "2"}, pictures=pictures())
    compressed(video, made / "moving.toml")
    assert outcome(measure(video, made / "moving.toml"))["failed"] == []
    return made


def records(root: Path) -> dict[str, dict[str, Any]]:
    """Of the sequences."""
    found = {path.parts[-3]: json.loads(path.read_text())
             for path in sorted(root.glob("results/moving/records/*/drive/drive.*.json"))}  # fmt: skip
    return {f"{record['encoder']} {record['quality']}": record for record in found.values()}


def test_a_record_accounts_for_every_frame(folder: Path) -> None:
    for name, record in records(folder / "drive.mp4.vcmbench").items():
        frames, is_intra = record["coded_frames"], name == "x265 32"
        assert sum(frames["size_bytes"]) + frames["header_bytes"] == record["size_bytes"]
        assert frames["type"] == ("I" * FRAMES if is_intra else "IPPPPPPPIP")
        asked = record["quality"]
        assert frames["qp"] == [asked if is_intra or kind == "P" else asked - 3 for kind in frames["type"]]
        assert len(record["frame_psnr_y_db"]) == record["frames"] == FRAMES
        seconds = FRAMES / videos.RATE
        assert record["rate_kbps"] == pytest.approx(record["size_bytes"] * 8 / 1000 / seconds)
        assert not is_intra or record["coded_qp"] == asked
    with (folder / "drive.mp4.vcmbench/results/moving/compression.csv").open() as file:
        rates: dict[str, list[float]] = {}
        for row in csv.DictReader(file):
            rates.setdefault(f"{row['encoder']} {row['quality']}", []).append(float(row["rate_kbps"]))
    frame_by_frame = rates.pop("jpeg 50")
    assert rates == {name: [record["rate_kbps"]] for name, record in records(folder / "drive.mp4.vcmbench").items()}
    sizes = [path.stat().st_size for path in sorted(folder.rglob("*.jpg"))]
    assert frame_by_frame == pytest.approx([size * 8 / 1000 * videos.RATE for size in sizes]) and len(sizes) == FRAMES


def test_a_video_and_its_frames_in_a_folder_are_coded_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "drive"
    own.mkdir()
    for number, rgb in enumerate(read_all(folder / "drive.mp4")):
        Image.fromarray(rgb).save(own / f"{number:06}.png")
    compressed(own.parent, folder / "moving.toml")
    first, second = records(folder / "drive.mp4.vcmbench"), records(own.parent)
    assert first.keys() == second.keys() and len(first) == 3
    assert [one["bitstream_sha256"] for one in first.values()] == [one["bitstream_sha256"] for one in second.values()]


def test_stability_is_counted_along_the_pristine_motion(folder: Path) -> None:
    root = folder / "drive.mp4.vcmbench"
    with (root / "results/moving/image_scores.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["encoder"] == "x264" and row["quality"] == "42"]
    assert [row["source"] for row in rows] == [f"drive/{number:06}" for number in range(FRAMES)]
    assert rows[0]["changed_share"] == "", "nothing lies before the first frame"
    gray = [colour.luma(rgb) for rgb in read_all(folder / "drive.mp4")]
    for number in (1, FRAMES - 1):
        flow, valid = backward_flow(gray[number - 1], gray[number])
        for column, place in (("changed_share", f"P_hat_C/{rows[0]['configuration']}"),
                              ("changed_share_pristine", "P_GT")):  # fmt: skip
            before, after = (read_prediction(next((root / place).rglob(f"{one:06}*.png")), None, 19)
                             for one in (number - 1, number))  # fmt: skip
            by_hand = changed(before, after, flow, valid) / valid.sum()
            assert float(rows[number][column]) == pytest.approx(by_hand)


def test_a_row_a_sequence_is_exported(folder: Path) -> None:
    done = typed("export", "-d", folder / "drive.mp4", "-s", folder / "moving.toml", "--runner", "local")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert done.code == 0 and [row["quality"] for row in rows] == ["27", "42", "32"]
    assert {row["sequence"] for row in rows} == {"drive"} and {row["frames"] for row in rows} == {str(FRAMES)}
    with (folder / "drive.mp4.vcmbench/results/moving/points.csv").open() as file:
        points = {(row["encoder"], row["quality"]): row for row in csv.DictReader(file)}
    for row in rows:  # of one sequence all frames are the sequence's
        point = points[row["encoder"], row["quality"]]
        for name in ("rate_kbps", "accuracy_pseudo", "miou_pseudo", "PSNR", "instability"):
            assert float(row[name]) == pytest.approx(float(point[name])), name


def test_the_report_follows_the_sequence(folder: Path) -> None:
    target = folder / "report.html"
    done = typed("report", "-d", folder / "drive.mp4", "-s", folder / "moving.toml", "-o", target, "--runner", "local")
    assert done.code == 0, done.err
    page = target.read_text()
    assert "Rate in kbit/s" in page and 'id="time"' in page
    assert "10 frames of 1 sequence" in page and not re.search(r"\d source pictures?\b", page)
    assert re.search(r"at about \d+ kbit/s", page) and not re.search(r"at about [\d.]+ bpp", page)
    titles = re.findall(r"<h3[^>]*>(drive, [^<]*)|<details><summary>(drive, [^<]*)", page)
    assert titles == [("drive, x264 low delay 27", ""), ("", "drive, x265 intra 32")], "the others are to be opened"
    start = page.index("data:image/webp;base64,")
    clip = Image.open(io.BytesIO(base64.b64decode(page[start + 23 : page.index('"', start)])))
    assert (getattr(clip, "n_frames", 1), clip.size) == (FRAMES, (128, 3 * 64 + 4))
