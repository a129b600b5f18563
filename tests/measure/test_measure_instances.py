"""Masks of objects as files of others, against labels of drawn scenes: what they must give is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.helpers.measuring import Results, compressed, counts, draw, measure, write_toml
from vcmbench.data import masks

CODINGS = 'encoder = "lossless"', 'encoder = "jpeg"\nquality = [10]'
HEAD = """[task]
name = "instances"
predictions = "files"
classes = ["person", "car"]
[metrics]
iqa = ["PSNR"]
levels = ["image"]
"""
NUMBERS = {24: 1, 26: 2}
"""Of labels of Cityscapes, the place in `classes`."""


def lay(root: Path) -> None:
    """On pristine and lossless pictures all cars and people that are labelled, on others their right halves."""
    for labels in (root / "cityscapes/gtFine/val").rglob("*_gtFine_instanceIds.png"):
        ids = np.asarray(Image.open(labels)).astype(int)
        place = f"val/{labels.parent.name}/{labels.name.replace('gtFine_instanceIds.png', 'leftImg8bit.json')}"
        for folder in (root / "P_GT", *(root / "P_hat_C" / one.name for one in root.glob("cityscapes_*"))):
            rows = []
            for number in np.unique(ids):
                if number // 1000 in NUMBERS:
                    pixels = ids == number
                    if "JPEG" in folder.name:
                        pixels &= np.arange(ids.shape[1]) > np.nonzero(pixels)[1].mean()
                    one = masks.of_pixels(pixels)
                    outline = {"size": one["size"], "counts": one["counts"].decode()}
                    rows.append({"category_id": NUMBERS[number // 1000], "score": 0.9, "segmentation": outline})
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / place).write_text(json.dumps(rows))


def test_files_of_masks_against_labels(tmp_path: Path) -> None:
    root = tmp_path / "data"
    draw(root, val_per_city=1)
    config = write_toml(tmp_path, *CODINGS, head=HEAD)
    compressed(root, config)
    lay(root)
    done = measure(root, config)
    assert (done.code, counts(done)) == (0, (6, 0, 0)), done.err
    points = {row["encoder"]: row for row in Results(root).table("points")}
    assert points["lossless"]["ap_labels"] == points["lossless"]["ap_pseudo"] == "1.0"
    assert 0 <= float(points["jpeg"]["ap_labels"]) < 0.2 and points["jpeg"]["ap_labels"] == points["jpeg"]["ap_pseudo"]
    labels = next((root / "cityscapes/gtFine/val/lindau").glob("*_instanceIds.png"))
    ids = np.array(Image.open(labels))
    ids[ids // 1000 == 26] = 26001
    Image.fromarray(ids).save(labels)
    again = measure(root, config)
    assert (again.code, counts(again)) == (0, (2, 4, 0)), "of that picture alone"
    assert float({row["encoder"]: row for row in Results(root).table("points")}["lossless"]["ap_labels"]) < 1
