"""XPSNR and VMAF: the values of FFmpeg called by hand, and what is said where it cannot do them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.iqa_reference import pairs
from vcmbench.data.colour import luma
from vcmbench.errors import Cancelled
from vcmbench.execution.runner import local
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.iqa import Scorer

U8 = NDArray[np.uint8]


def by_hand(folder: Path, pristine: U8, decoded: U8) -> tuple[float, float]:
    """XPSNR and VMAF of one pair, its luma as gray video: two equal frames for XPSNR, of which the second counts."""
    height, width = pristine.shape[:2]
    for name, picture in (("decoded", decoded), ("pristine", pristine)):
        frame = luma(np.ascontiguousarray(picture)).tobytes() + b"\x80" * (2 * height * width)
        (folder / name).write_bytes(frame)
        (folder / f"{name}2").write_bytes(frame * 2)
    raw = ["-f", "rawvideo", "-pix_fmt", "yuv444p", "-s", f"{width}x{height}", "-i"]
    for graph, inputs in (
        ("xpsnr=stats_file=x", (*raw, "pristine2", *raw, "decoded2")),
        ("libvmaf=log_path=v:log_fmt=json", (*raw, "decoded", *raw, "pristine")),
    ):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *inputs]
        subprocess.run([*command, "-lavfi", graph, "-f", "null", "-"], cwd=folder, check=True)
    found = re.search(r"n:\s*2\s+XPSNR y: (\S+)", (folder / "x").read_text())
    assert found
    return float(found[1]), json.loads((folder / "v").read_text())["frames"][0]["metrics"]["vmaf"]


def test_values_are_ffmpegs_of_each_picture_alone(astronaut: U8, tmp_path: Path) -> None:
    pristine, decoded = pairs(astronaut, 99, 128)
    scores = Scorer(["XPSNR", "VMAF"]).score(pristine, decoded)
    assert scores.reasons["XPSNR"] == scores.reasons["VMAF"] == (None,) * 5
    for index in range(5):
        xpsnr, vmaf = by_hand(tmp_path, pristine[index], decoded[index])
        assert scores.values["XPSNR"][index] == xpsnr
        assert scores.values["VMAF"][index] == vmaf


def test_xpsnr_weighs_by_the_pristine_picture() -> None:
    """Noise shows on what was flat; what was noise may become flat at the same price: the two differ by the weights."""
    rng = np.random.default_rng(0)
    flat = np.full((64, 64, 3), 120, np.uint8)
    noisy = (flat + rng.integers(-12, 13, (64, 64, 1))).astype(np.uint8)
    values = Scorer(["XPSNR"]).score(np.stack([flat, noisy]), np.stack([noisy, flat])).values["XPSNR"]
    assert values[0] < values[1] - 1


def test_brightness_is_no_motion_to_xpsnr() -> None:
    rng = np.random.default_rng(1)
    texture, noise = rng.integers(0, 20, (64, 64, 1)), rng.integers(-5, 6, (64, 64, 1))
    pristine = np.stack([np.repeat(base + texture, 3, axis=2) for base in (60, 120, 200)]).astype(np.uint8)
    values = Scorer(["XPSNR"]).score(pristine, (pristine + noise).astype(np.uint8)).values["XPSNR"]
    assert np.ptp(values) < 0.3  # luma rounds


@pytest.mark.parametrize("name", ["XPSNR", "VMAF"])
def test_an_ffmpeg_without_the_filter_is_a_reason(
    astronaut: U8, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\necho ' .. scale V->V Scale the input'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(local, "_wheel_ffmpeg", lambda: script)
    scorer = Scorer([name])
    assert scorer.missing[name].startswith("no FFmpeg with the filter ")
    scores = scorer.score(astronaut[None], astronaut[None])
    assert np.isnan(scores.values[name][0]) and scores.reasons[name] == (scorer.missing[name],)


def test_the_ffmpeg_of_bin_dir_is_the_one(tmp_path: Path) -> None:
    (tmp_path / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    there, here = Scorer(["VMAF"], runner=LocalRunner(tmp_path)), Scorer(["VMAF"])
    assert there.identity("VMAF") == here.identity("VMAF")
    (tmp_path / "ffmpeg").unlink()
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho ' .. scale V->V Scale the input'\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    assert "take it out of --bin-dir" in Scorer(["VMAF"], runner=LocalRunner(tmp_path)).missing["VMAF"]


def test_a_cancelled_runner_ends_it(astronaut: U8) -> None:
    runner = LocalRunner()
    scorer = Scorer(["VMAF"], runner=runner)
    runner.cancel()
    with pytest.raises(Cancelled):
        scorer.score(astronaut[None], astronaut[None])


@pytest.mark.parametrize(("name", "component"), [("XPSNR", "xpsnr"), ("VMAF", "libvmaf")])
@pytest.mark.parametrize("behaviour", ["exit 3", "exit 0", "echo nothing > log"])
def test_an_ffmpeg_that_fails_is_a_reason(
    astronaut: U8, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, component: str, behaviour: str
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(
        f"#!/bin/sh\ncase \"$*\" in *-filters*) echo ' .. {component} VV->V x' ;; *) {behaviour} ;; esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    scores = Scorer([name]).score(astronaut[None], astronaut[None, ::-1])
    assert np.isnan(scores.values[name][0])
    assert component in str(scores.reasons[name][0]) or "ffmpeg" in str(scores.reasons[name][0])


def test_where_xpsnr_has_no_blocks_it_is_missing() -> None:
    """Below 45x45 px FFmpeg weighs nothing: PSNR of luma would stand under its name."""
    rng = np.random.default_rng(0)
    pristine = rng.integers(0, 256, (1, 45, 45, 3), np.uint8)
    decoded = np.roll(pristine, 1, axis=2)
    scorer = Scorer(["XPSNR"])
    assert scorer.score(pristine, decoded).reasons["XPSNR"] == (None,)
    (why,) = scorer.score(pristine[:, :44], decoded[:, :44]).reasons["XPSNR"]
    assert why == "needs 2025 pixels or more; there are 1980"
