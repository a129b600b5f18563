"""Blocks that a file names, as they were published or drawn before, in place of sampled ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.measuring import Results, compressed, copy, counts, measure, outcome, tree, write_toml
from vcmbench.iqa import Scorer
from vcmbench.tasks.predictions import read_prediction, write_prediction

IMAGE = "lindau/lindau_000000_000019"
JPEG40, X265 = [1, 40, "420", 1.0], ["x265(preset=ultrafast)", 46, "420", 1.0]


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


def write(path: Path, blocks: list[Any]) -> Path:
    path.write_text(json.dumps({str(number): block for number, block in enumerate(blocks)}))
    return path


def published(cities: tuple[str, ...] = ("lindau", "munster")) -> list[Any]:
    """Blocks as the published file has them; the accuracy there is of another network and another coding."""
    return [
        [f"{city}/{city}_000000_000019", coding, [x, y], [40, 24], 0.123]
        for city in cities for coding in (JPEG40, X265) for x, y in ((0, 0), (100, 30), (152, 72))
    ]  # fmt: skip


def test_blocks_of_a_file_are_used(results: Results, config: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "their 2023_40x24_val_blocks.json", published())
    done = measure(results.root, config, "--blocks", path)
    assert done.code == 0, done.err
    assert list(outcome(done)["correlations"]) == ["image", "block 40x24"]
    rows = results.table("block_scores")
    assert len(rows) == 12
    of = {(score["configuration"], score["source"]): score for score in results.scores()}
    scorer = Scorer(["PSNR", "SSIM"])
    for row, (image, coding, (x, y), _, told) in zip(rows, published(), strict=True):
        assert image in row["source"]
        assert row["quality"] == str(coding[1])
        box = slice(y, y + 24), slice(x, x + 40)
        score = of[row["configuration"], row["source"]]
        pair = [read_prediction(path)[box] for path in paths(results, score)]
        assert float(row["accuracy"]) == (pair[0] == pair[1]).mean() != told
        cut = [picture[box][None] for picture in results.decoded(score)]
        assert float(row["PSNR"]) == pytest.approx(scorer.score(*cut).values["PSNR"][0], abs=1e-6)
    metrics = results.json("blocks/their 2023_40x24_val_metrics.json")
    assert [entry["acc"] for entry in metrics.values()] == [float(row["accuracy"]) for row in rows]
    kept = results.blocks("their 2023_40x24")
    assert [block.accuracy for block in kept.values()] == [float(row["accuracy"]) for row in rows]
    before = tree(results.root)
    assert measure(results.root, config, "--blocks", path).code == 0
    assert tree(results.root) == before


def paths(results: Results, score: dict[str, Any]) -> tuple[Path, Path]:
    name = score["source"].removeprefix("leftImg8bit/") + ".png"
    return results.root / "P_GT" / name, results.root / "P_hat_C" / score["configuration"] / name


def test_blocks_can_be_named_in_the_experiment(results: Results, tmp_path: Path, config: Path) -> None:
    """The file is meant from where the experiment lies."""
    write(tmp_path / "set_val_blocks.json", published())
    config.write_text(config.read_text().replace("size_px = [32]", 'file = "set_val_blocks.json"'))
    done = measure(results.root, config)
    assert done.code == 0, done.err
    assert len(results.table("block_scores")) == 12


def test_a_file_named_as_our_own_blocks(results: Results, config: Path, tmp_path: Path) -> None:
    """Its scores must not be taken for those of the blocks that were drawn, nor theirs for its."""
    before = tree(results.root)
    drawn = results.table("block_scores")
    path = write(tmp_path / "trial_32x32_val_blocks.json", published())
    assert measure(results.root, config, "--blocks", path).code == 0
    assert len(results.table("block_scores")) == 12
    assert measure(results.root, config).code == 0
    assert results.table("block_scores") == drawn
    assert {name: one for name, one in tree(results.root).items() if "state" not in name} == {
        name: one for name, one in before.items() if "state" not in name
    }


def test_drawn_blocks_can_be_given_to_others(results: Results, config: Path, tmp_path: Path) -> None:
    """The file of one run as the blocks of another, with the same result."""
    drawn = results.table("block_scores")
    path = tmp_path / "given_val_blocks.json"
    shutil.copy(results.folder / "blocks/trial_32x32_val_blocks.json", path)
    assert measure(results.root, config, "--blocks", path).code == 0
    assert results.table("block_scores") == drawn
    own = results.folder / "blocks/trial_32x32_val_blocks.json"
    assert measure(results.root, config, "--blocks", own).code == 0
    assert results.table("block_scores") == drawn


def test_a_changed_file_of_blocks_is_read_anew(results: Results, config: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "set_val_blocks.json", published())
    assert measure(results.root, config, "--blocks", path).code == 0
    write(path, published()[2:9])
    done = measure(results.root, config, "--blocks", path)
    assert done.code == 0, done.err
    rows = results.table("block_scores")
    assert [(row["x"], row["y"]) for row in rows] == [(str(x), str(y)) for _, _, (x, y), _, _ in published()[2:9]]
    assert all(row["SSIM"] for row in rows)


def test_blocks_of_several_sizes_and_of_one_picture(results: Results, config: Path, tmp_path: Path) -> None:
    blocks = published(("lindau",))
    blocks[0][3] = [32, 32]
    done = measure(results.root, config, "--blocks", write(tmp_path / "b.json", blocks), "--level", "block")
    assert done.code == 0, done.err
    assert "one source image only" in outcome(done)["correlations"]["block mixed"]
    assert len(results.table("block_scores")) == 6


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda b: b.__setitem__(0, "lindau/lindau_000009_000019"), "is none of the 3 of this experiment"),
        (lambda b: b.__setitem__(1, [4, 30, "420", 1.0]), "is none of the 3 configurations of this experiment"),
        (lambda b: b.__setitem__(1, [0, None, "444", 1.0]), "is none of the 3 configurations of this experiment"),
        (lambda b: b.__setitem__(0, "../../etc/passwd"), "the image must be a name"),
        (lambda b: b.__setitem__(2, [0.5, 0]), "x must be a whole number"),
        (lambda b: b.pop(), "must be [image, [codec, quality, chroma, factor]"),
    ],
)
def test_files_that_cannot_be_used_start_nothing(
    results: Results, config: Path, tmp_path: Path, spoil: Any, complaint: str
) -> None:
    blocks = published()
    spoil(blocks[3])
    shutil.rmtree(results.folder / "scores")
    before = tree(results.root)
    done = measure(results.root, config, "--blocks", write(tmp_path / "b.json", blocks))
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err and "block '3'" in done.err
    assert tree(results.root) == before


@pytest.mark.parametrize("place", [[153, 72], [0, 73]])
def test_a_block_outside_of_its_picture_starts_nothing(
    results: Results, config: Path, tmp_path: Path, place: list[int]
) -> None:
    blocks = published()
    blocks[5][2] = place
    shutil.rmtree(results.folder / "scores")
    before = tree(results.root)
    done = measure(results.root, config, "--blocks", write(tmp_path / "b.json", blocks))
    assert (done.code, done.out) == (2, "")
    told = f"block '5': 40x24 px at ({place[0]}, {place[1]}) is not inside the picture of 192x96 px"
    assert told in done.err
    assert tree(results.root) == before


def test_the_seed_decides_which_blocks(results: Results, config: Path, tmp_path: Path) -> None:
    drawn = list(results.blocks().values())
    config.write_text(config.read_text().replace('name = "trial"', 'name = "trial"\nseed = 7'))
    assert measure(results.root, config).code == 0
    assert list(results.blocks().values()) != drawn
    strata = np.floor(np.array([block.accuracy for block in results.blocks().values()]) * 3).clip(max=2)
    assert set(strata) == {0, 1, 2}


def test_blocks_of_stacks_are_cut_from_their_frame(results: Results, tmp_path: Path) -> None:
    for kind in (results.root / "cityscapes").glob("*/val"):
        for path in list(kind.glob("*/*")):
            if (city := path.parent.name) != "frankfurt":
                path.rename(kind / "frankfurt" / path.name.replace(city, f"frankfurt_{city}", 1))
    stack = 'encoder = "x265"\nquality = [46]\npreset = "ultrafast"\nstacked = true'
    head = '[task]\n[metrics]\niqa = ["PSNR"]\n[metrics.blocks]\nsize_px = [24]\ncount = 30\nstrata = 2\n'
    config = write_toml(tmp_path, stack, head=head, name="stack")
    compressed(results.root, config)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (3, 0, 0)), done.err
    found = Results(results.root, "stack")
    of = {score["source"]: score for score in found.scores()}
    scorer = Scorer(["PSNR"])
    rows = found.table("block_scores")
    assert {of[row["source"]]["frame"] for row in rows} == {0, 1, 2}
    for row in rows:
        box = slice(int(row["y"]), int(row["y"]) + 24), slice(int(row["x"]), int(row["x"]) + 24)
        cut = [picture[box][None] for picture in found.decoded(of[row["source"]])]
        assert float(row["PSNR"]) == pytest.approx(scorer.score(*cut).values["PSNR"][0], abs=1e-6)


def test_void_pixels_do_not_count_in_blocks_nor_in_pictures(results: Results, config: Path, tmp_path: Path) -> None:
    """Blocks that tile a picture have, together, the accuracy of the picture."""
    config.write_text(config.read_text().replace("[task]\n", '[task]\npredictions = "files"\n'))
    for path in results.root.glob("P_*/**/lindau*.png"):
        prediction = read_prediction(path)
        prediction[24:48, 40:60] = 255
        write_prediction(path, prediction)
    boxes = [(x, y, 48, 24) for y in range(0, 96, 24) for x in range(0, 192, 48)]
    blocks = [[IMAGE, X265, [*box[:2]], [*box[2:]], 0.5] for box in boxes]
    done = measure(results.root, config, "--blocks", write(tmp_path / "tiles_val_blocks.json", blocks))
    assert done.code == 0, done.err
    (score,) = (one for one in results.scores() if one["encoder"] == "x265" and "lindau" in one["source"])
    pristine = read_prediction(paths(results, score)[0])
    counted = [(pristine[y : y + h, x : x + w] != 255).sum() for x, y, w, h in boxes]
    assert sorted(set(counted)) == [24 * 36, 24 * 40, 24 * 48]
    shares = [float(row["accuracy"]) for row in results.table("block_scores")]
    (row,) = (row for row in results.table("image_scores") if row["encoder"] == "x265" and "lindau" in row["source"])
    assert np.average(shares, weights=counted) == pytest.approx(float(row["accuracy_pseudo"]), abs=1e-12)
