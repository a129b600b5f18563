"""Sequences as they are typed: odd and bad ones, cut off ones, runs that are killed, workers that share them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import videos
from tests.helpers.clusters import cluster, end, start
from tests.helpers.commands import type_command
from tests.helpers.measuring import typed
from tests.helpers.tools import faulty_ffmpeg

EXPERIMENT = """
name = "short"
[[coding]]
encoder = "x264"
quality = [27, 37]
preset = "ultrafast"
structure = "lowdelay"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(EXPERIMENT)
    return path


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    return videos.write(tmp_path / "drive.mp4")


def results(video: Path) -> dict[str, Any]:
    """Records but for the times that things took, and bitstreams, by their names."""
    root = Path(f"{video}.vcmbench")
    found: dict[str, Any] = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.264")}
    for path in root.rglob("records/**/*.json"):
        record = json.loads(path.read_text())
        found[str(path.relative_to(root))] = {
            name: value for name, value in record.items() if name not in ("encode_s", "decode_s", "seal", "created")
        }
    return found


def test_of_a_bitstream_that_is_cut_off_the_first_missing_frame_is_named(
    config: Path, drive: Path, tmp_path: Path
) -> None:
    """Beside its record, by `verify`, which makes it again, and by the tool that wrote it."""
    run = ("compress", "-d", drive, "-s", config, "--runner", "local")
    assert typed(*run).code == 0
    path = next(path for path in drive.parent.rglob("records/**/*.json") if "quality=27" in str(path))
    frames = json.loads(path.read_text())["coded_frames"]
    stream = next(path for path in drive.parent.rglob("*.264") if "quality=27" in str(path))
    begun = r"; 18 of 24 frames begin in it, the first missing is drive/000018"
    with stream.open("r+b") as file:
        file.truncate(frames["header_bytes"] + sum(frames["size_bytes"][:17]) + frames["size_bytes"][17] // 2)
    done = typed("decode", path, "-o", tmp_path / "frames", "--runner", "local")
    assert done.code == 1 and re.search(f"drive.264: has .* bytes, its record says .*{begun}", done.err), done.err
    size = stream.stat().st_size
    verify = ("verify", "-d", drive, "-s", config)
    found = typed(*verify).out
    assert re.search(f"damaged: .*drive.264: has .* bytes, its record says .*{begun}", found) and found.count("\n") == 1
    assert "1 of 1 gave the very bitstream" in typed(*verify, "--repair", "--runner", "local").err
    assert typed(*verify).code == 0
    cut = faulty_ffmpeg(tmp_path / "bin", f'"$real" "$@"; truncate -s {size} "$out"')
    done = typed(*run, "--force", "--bin-dir", cut)
    assert done.code == 1 and re.search(f"quality=27.*: cut off{begun}", done.err), done.err
    assert typed("clean", "-d", drive, "-s", config, "--yes").code == 0
    assert not results(drive) and drive.exists()


def test_a_run_killed_in_a_sequence_goes_on_to_the_same_results(config: Path, drive: Path, tmp_path: Path) -> None:
    """kill -9 while the second one is coded, of which half is written."""
    hang = f'[ ! -e {tmp_path}/free ] && case "$*" in *qp=37*) head -c 500 /dev/zero > "$out"; exec sleep 600;; esac'
    bins = faulty_ffmpeg(tmp_path / "bin", hang + '; exec "$real" "$@"')
    words = ("compress", "-d", drive, "-s", config, "--runner", "local", "--json", "--bin-dir", bins)
    process = start(*words, "--jobs", 1, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["state"] == "done"
    finally:
        end(process)
    (tmp_path / "free").touch()
    again = typed(*words)
    assert [event["state"] for event in again.events] == ["resumed", "done"], again.err
    before = results(drive)
    assert typed(*words, "--force").code == 0
    assert results(drive) == before and len(before) == 4


def test_two_workers_code_sequences_as_one_process_does(config: Path, drive: Path, tmp_path: Path) -> None:
    words = ("compress", "-d", drive, "-s", config, "--runner", "local", "--json")
    with cluster(tmp_path / "cluster") as made:
        done = type_command(*words, "--scheduler", made.address)
    assert [event["state"] for event in done.events] == ["done"] * 2, done.err
    before = results(drive)
    assert typed(*words, "--force").code == 0
    assert results(drive) == before and len(before) == 4


TARGET = 'preset = "ultrafast"\nstructure = "lowdelay"\ntarget = { bpp = 0.5 }\n'
SEARCHED = (
    'name = "short"\n[dataset]\nframes = 9\n[importance]\nsource = "files"\n'
    + "".join(f'[[coding]]\nencoder = "{name}"\n{TARGET}' for name in ("x264", "x265", "kvazaar"))
    + '[[coding]]\nencoder = "x265"\npreset = "ultrafast"\nstructure = "intra"\nquality = [27]\n'
    'qp_map = { mode = "frame", delta = 3 }\n'
)


def test_of_the_best_of_a_search_every_picture_is_accounted_for(config: Path, drive: Path) -> None:
    """Those of an encode that was not the last one."""
    config.write_text(SEARCHED)
    maps = Path(f"{drive}.vcmbench/importance_map/drive")
    maps.mkdir(parents=True)
    for number in range(9):
        np.save(maps / f"{number:06}_importance.npy", np.full((64, 64), number / 8, np.float32))
    done = typed("compress", "-d", drive, "-s", config, "--runner", "local")
    assert done.code == 0, done.err
    for path in Path(f"{drive}.vcmbench").rglob("records/**/*.json"):
        record = json.loads(path.read_text())
        frames = record["coded_frames"]
        assert sum(frames["size_bytes"]) + frames["header_bytes"] == record["size_bytes"]
        if record["structure"]["kind"] == "intra":
            assert frames["qp"] == record["map"]["qualities"] == [30, 29, 28, 28, 27, 26, 26, 25, 24], frames["qp"]
        else:
            assert frames["type"] == ("IBBBBBBBB" if record["encoder"] == "kvazaar" else "IPPPPPPPP")
            tried = dict(record["rate_search"]["tried"])
            assert tried[record["found_quality"]] == record["size_bytes"]
            if record["encoder"] != "kvazaar":
                assert frames["qp"][1] == record["found_quality"]
        assert record["coded_qp"] == pytest.approx(np.mean(frames["qp"]))


@pytest.mark.parametrize(("words", "said"), [
    (["dataset.fps=0"], "dataset.fps: Input should be greater than 0"),
    (["dataset.start=24"], "dataset.start = 24: drive has 24 frames, 0 to 23"),
    (['dataset.clips=["a"]'], "no sequence is named a; there are: drive"),
])  # fmt: skip
def test_what_no_frame_is_left_of_is_one_line(config: Path, drive: Path, words: list[str], said: str) -> None:
    done = typed("compress", "-d", drive, "-s", config, "--runner", "local", "--set", *words)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1


def test_frames_of_odd_sides_are_chosen_coded_and_decoded_by_their_names(config: Path, tmp_path: Path) -> None:
    pictures = [np.full((95, 127, 3), 10 * number, np.uint8) for number in range(8)]
    drive = videos.write(tmp_path / "drive.mkv", "ffv1", pixels="yuv444p", pictures=pictures)
    chosen = [word for one in ("start=1", "step=3", "frames=2") for word in ("--set", f"dataset.{one}")]
    assert typed("compress", "-d", drive, "-s", config, "--runner", "local", *chosen).code == 0
    path = next(Path(f"{drive}.vcmbench").rglob("records/**/*.json"))
    record = json.loads(path.read_text())
    assert (record["fps"], record["coded_width_px"], record["coded_height_px"]) == (pytest.approx(25 / 3), 128, 96)
    assert typed("decode", path, "-o", tmp_path / "frames", "--runner", "local").code == 0
    for number in (1, 4):
        with Image.open(next((tmp_path / "frames").rglob(f"{number:06}.png"))) as image:
            assert image.size == (127, 95) and abs(float(np.asarray(image).mean()) - 10 * number) < 3
