"""Sequences as they are typed: odd and bad ones, cut off ones, runs that are killed, workers that share them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers import videos
from tests.helpers.clusters import cluster, end, start
from tests.helpers.commands import compress, tree, type_command
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
    """Beside its record, and by the tool that wrote it."""
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
    cut = faulty_ffmpeg(tmp_path / "bin", f'"$real" "$@"; truncate -s {stream.stat().st_size} "$out"')
    done = typed(*run, "--force", "--bin-dir", cut)
    assert done.code == 1 and re.search(f"quality=27.*: cut off{begun}", done.err), done.err
