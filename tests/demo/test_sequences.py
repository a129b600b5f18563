"""Sequences on the disk: layout, labels for every frame, resuming."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vcmbench.demo import sequences

SMALL = sequences.Drives(count=1, frames=2, width=64, height=32)


def test_every_frame_has_its_files_and_a_second_run_keeps_them(tmp_path: Path) -> None:
    names = sequences.write(tmp_path, SMALL)
    assert names == [["frankfurt/frankfurt_000100_000000", "frankfurt/frankfurt_000100_000001"]]
    folder = tmp_path / "cityscapes"
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert len(files) == 2 * 7 + 1
    name = names[0][1]
    with Image.open(folder / f"leftImg8bit_sequence/val/{name}_leftImg8bit.png") as image:
        assert (image.size, image.mode) == ((64, 32), "RGB")
    with Image.open(folder / f"gtFine/val/{name}_gtFine_labelIds.png") as image:
        assert 7 in np.asarray(image)
    flow = np.load(folder / f"flow/val/{name}_flow.npz")
    assert flow["flow_px"].shape == (32, 64, 2)
    assert flow["is_valid"].mean() > 0.5
    assert json.loads((folder / f"vehicle/val/{name}_vehicle.json").read_text())["speed"] > 1
    times = {path: path.stat().st_mtime_ns for path in files if path.name != sequences.MANIFEST}
    lost = folder / f"disparity/val/{name}_disparity.png"
    sequences.write(tmp_path, SMALL)
    assert {path: path.stat().st_mtime_ns for path in times} == times
    before = lost.read_bytes()
    lost.unlink()
    sequences.write(tmp_path, SMALL)
    assert lost.read_bytes() == before


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        sequences.write(tmp_path, sequences.Drives(count=0))
