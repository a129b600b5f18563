"""The whole chain with the real embedded network: every number that is told is found again by another way."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from statistics import median
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow import parquet

from tests.helpers.commands import half_written
from tests.helpers.measuring import (
    CONFIGURATIONS,
    FOLDERS,
    PICTURES,
    U8,
    Results,
    compressed,
    copy,
    counts,
    measure,
    network,
    once,
    outcome,
    typed,
    write_toml,
)
from vcmbench.analysis.correlation import correlate
from vcmbench.data import labels
from vcmbench.data.dataset import Source, open_root
from vcmbench.importance import ImportanceSettings
from vcmbench.importance.compute import compute
from vcmbench.importance.inputs import files_of, read_inputs
from vcmbench.iqa import Scorer
from vcmbench.tasks.predictions import read_prediction

VOID = 255


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(once(tmp_path_factory) / "data")


def counted(prediction: U8, truth: U8) -> dict[tuple[int, int], int]:
    """Confusion counts, pixel by pixel; void of the truth is not counted, void of the prediction is column 19."""
    pairs = Counter(zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    return {(t, min(p, 19)): n for (t, p), n in pairs.items() if t != VOID}


def told(triplets: list[list[int]]) -> dict[tuple[int, int], int]:
    return {(t, p): n for t, p, n in triplets}


def accuracy(pairs: dict[tuple[int, int], int]) -> float:
    return sum(n for (t, p), n in pairs.items() if t == p) / sum(pairs.values())


def mean_iou(pairs: dict[tuple[int, int], int]) -> float:
    found = []
    for k in range(19):
        union = sum(n for (t, p), n in pairs.items() if k in (t, p))
        if union:
            found.append(pairs.get((k, k), 0) / union)
    return math.fsum(found) / len(found)


def label_ids(results: Results, score: dict[str, Any]) -> U8:
    name = score["source"].replace("leftImg8bit/", "gtFine/", 1).replace("_leftImg8bit", "_gtFine_labelIds")
    return np.asarray(Image.open(results.root / f"cityscapes/{name}.png"))


def train_ids(results: Results, score: dict[str, Any]) -> U8:
    """The labels of a scene, by the table that Cityscapes publishes."""
    ids = label_ids(results, score)
    known = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    return np.array([known.index(i) if i in known else VOID for i in range(256)], np.uint8)[ids]


def predictions(results: Results, score: dict[str, Any]) -> tuple[U8, U8]:
    name = score["source"].removeprefix("leftImg8bit/") + ".png"
    pristine, decoded = results.root / "P_GT", results.root / "P_hat_C" / score["configuration"]
    return read_prediction(pristine / name), read_prediction(decoded / name)


def test_predictions_are_what_the_network_says_when_called_by_hand(results: Results) -> None:
    with network() as task:
        assert task.classes == labels.CLASSES
        for score in results.scores():
            pictures = results.decoded(score)
            for kept, rgb in zip(predictions(results, score), pictures, strict=True):
                (by_hand,) = task.predict([rgb])
                np.testing.assert_array_equal(kept, by_hand)


def test_counts_are_those_of_brute_force(results: Results) -> None:
    scores = results.scores()
    assert len(scores) == CONFIGURATIONS * PICTURES
    for score in scores:
        pristine, decoded = predictions(results, score)
        assert told(score["machine"]["pseudo"]["confusion"]) == counted(decoded, pristine)
        assert told(score["machine"]["labels"]["confusion"]) == counted(decoded, train_ids(results, score))
        assert score["machine"]["notes"] == {}
    for score in scores[:PICTURES]:  # the pristine pictures' own score
        reference = json.loads((results.folder / f"scores/pristine/{score['source']}.json").read_bytes())
        pristine, _ = predictions(results, score)
        assert told(reference["machine"]["labels"]["confusion"]) == counted(pristine, train_ids(results, score))
        assert reference["machine"]["pseudo"] is None


def test_weighted_and_banded_accuracy_are_those_of_own_loops(results: Results) -> None:
    data = open_root(results.root)
    some = [score for score in results.scores() if "JPEG(quality=5" in score["configuration"]]
    assert len(some) == PICTURES
    for score in some:
        pristine, decoded = predictions(results, score)
        picture = results.root / "cityscapes" / f"{score['source']}.png"
        files = files_of(data, Source(PurePosixPath(score["source"]), picture))
        inputs = read_inputs(files, ImportanceSettings())
        importance = compute(files, inputs, ImportanceSettings()).values
        distance = _distance_m(results, score)
        for against, truth in (("pseudo", pristine), ("labels", train_ids(results, score))):
            part = score["machine"][against]
            right = weight = 0.0
            bands: list[Counter[tuple[int, int]]] = [Counter() for _ in range(4)]
            for t, p, i, d in zip(truth.ravel(), decoded.ravel(), importance.ravel(), distance.ravel(), strict=True):
                if t == VOID:
                    continue
                weight += float(i)
                right += float(i) * bool(t == p)
                if not np.isnan(d):
                    bands[sum(bool(d >= start_m) for start_m in (15, 30, 60))][int(t), min(int(p), 19)] += 1
            assert part["importance"] == pytest.approx([right, weight], rel=1e-9)
            assert [told(band) for band in part["bands"]] == [dict(band) for band in bands]


def _distance_m(results: Results, score: dict[str, Any]) -> NDArray[np.float64]:
    """fx * baseline / disparity, as Cityscapes' README has it: disparity = (p - 1) / 256, p = 0 was not measured."""
    name, folder = score["source"], results.root / "cityscapes"
    raw = np.asarray(Image.open(folder / f"{name.replace('leftImg8bit', 'disparity')}.png")).astype(np.float64)
    camera = json.loads((folder / f"{name.replace('leftImg8bit', 'camera')}.json").read_text())
    with np.errstate(divide="ignore", invalid="ignore"):
        found = camera["intrinsic"]["fx"] * camera["extrinsic"]["baseline"] * 256 / (raw - 1)
    found[raw == 0] = np.nan
    found[raw == 1] = np.inf
    return found


def test_metrics_are_those_of_a_scorer_called_by_hand(results: Results) -> None:
    scorer = Scorer(["PSNR", "SSIM"])
    for score in results.scores():
        pristine, decoded = results.decoded(score)
        by_hand = scorer.score(pristine[None], decoded[None])
        for name in ("PSNR", "SSIM"):
            assert score["iqa"][name]["value"] == pytest.approx(by_hand.values[name][0], abs=1e-6)
            assert score["iqa"][name]["reason"] is None


def test_lossless_loses_nothing(results: Results) -> None:
    rows = [row for row in results.table("image_scores") if row["encoder"] == "lossless"]
    assert len(rows) == PICTURES
    for row in rows:
        assert {row[f"{name}_pseudo"] for name in ("accuracy", "miou", "micro_iou", "accuracy_importance")} == {"1.0"}
        assert (row["SSIM"], row["psnr_y_db"]) == ("1.0", "")
        reference = json.loads((results.folder / f"scores/pristine/{row['source']}.json").read_bytes())
        counts = told(reference["machine"]["labels"]["confusion"])
        assert float(row["miou_labels"]) == pytest.approx(mean_iou(counts)), "as on the pristine picture"


def test_tables_have_a_row_for_each_picture_and_configuration(results: Results) -> None:
    rows = results.table("image_scores")
    assert Counter(row["configuration"] for row in rows) == dict.fromkeys(FOLDERS.values(), PICTURES)
    assert len({(row["configuration"], row["source"]) for row in rows}) == len(rows)
    of = {(score["configuration"], score["source"]): score for score in results.scores()}
    for row in rows:
        score = of[row["configuration"], row["source"]]
        for against in ("pseudo", "labels"):
            part = score["machine"][against]
            pairs = told(part["confusion"])
            assert float(row[f"accuracy_{against}"]) == pytest.approx(accuracy(pairs), abs=1e-12)
            assert float(row[f"miou_{against}"]) == pytest.approx(mean_iou(pairs), abs=1e-12)
            right, weight = part["importance"]
            assert float(row[f"accuracy_importance_{against}"]) == pytest.approx(right / weight)
            for band, name in zip(part["bands"], ("0_15m", "15_30m", "30_60m", "60m_up"), strict=True):
                cell = row[f"accuracy_{name}_{against}"]
                assert (float(cell) == pytest.approx(accuracy(told(band)))) if band else cell == ""
        assert float(row["rate_bpp"]) == score["rate_bpp"] == score["size_bytes"] * 8 / (192 * 96)
        assert float(row["PSNR"]) == score["iqa"]["PSNR"]["value"]


@pytest.mark.parametrize("name", ["image_scores", "block_scores"])
def test_csv_and_parquet_say_the_same(results: Results, name: str) -> None:
    rows = results.table(name)
    typed_rows = parquet.read_table(results.folder / f"{name}.parquet").to_pylist()
    assert len(rows) == len(typed_rows) > 0
    for row, typed_row in zip(rows, typed_rows, strict=True):
        assert row == {column: "" if value is None else str(value) for column, value in typed_row.items()}


def test_correlations_are_those_of_the_tables(results: Results) -> None:
    for level, table, column in (
        ("image", "image_scores", "accuracy_pseudo"),
        ("block_32x32", "block_scores", "accuracy"),
    ):
        rows = [row for row in results.table(table) if row["encoder"] != "lossless"]
        machine = np.array([float(row[column]) for row in rows])
        found = results.json(f"correlation_{level}.json")
        about = found.pop("vcmbench")
        assert (about["level"], about["intervals"], about["clustered_by"]) == (level.replace("_", " "), True, "image")
        for name in ("PSNR", "SSIM"):
            by_hand = correlate(np.array([float(row[name]) for row in rows]), machine)
            assert found[name]["SROC"][0] == pytest.approx(by_hand.values["SROC"].value, abs=1e-12)
            assert found[name]["PLCC"][0] == pytest.approx(by_hand.values["PLCC"].value, abs=1e-12)


def test_blocks_are_what_they_are_said_to_be(results: Results) -> None:
    """Accuracy and metrics of every block, cut out anew."""
    rows, blocks = results.table("block_scores"), list(results.blocks().values())
    metrics = results.json("blocks/trial_32x32_val_metrics.json")
    assert len(rows) == len(blocks) == len(metrics) == 40
    of = {(score["configuration"], score["source"]): score for score in results.scores()}
    scorer = Scorer(["PSNR", "SSIM"])
    for number, row in enumerate(rows):
        score = of[row["configuration"], row["source"]]
        x, y = int(row["x"]), int(row["y"])
        box = slice(y, y + 32), slice(x, x + 32)
        pristine, decoded = (labels_[box] for labels_ in predictions(results, score))
        assert float(row["accuracy"]) == (pristine == decoded).mean() == metrics[str(number)]["acc"]
        assert (blocks[number].x, blocks[number].y, blocks[number].accuracy) == (x, y, float(row["accuracy"]))
        assert row["encoder"] != "lossless"
        assert (label_ids(results, score)[box] > 4).all(), "none of the ids that are black: no void"
        cut = [picture[box][None] for picture in results.decoded(score)]
        for name, values in scorer.score(*cut).values.items():
            assert float(row[name]) == pytest.approx(values[0], abs=1e-6)
            assert metrics[str(number)][name] == float(row[name])


def test_stacks_half_sizes_and_searched_rates(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Frames of one bitstream are told apart, downscaled pictures are compared at their own size."""
    results = copy(tmp_path_factory, tmp_path)
    codings = (
        'encoder = "x265"\nquality = [40]\npreset = "ultrafast"\nstacked = true',
        'encoder = "jpeg"\nquality = [40]\nsubsampling_factor = [0.5]',
        'encoder = "jpeg"\ntarget = { bpp = 0.8 }',
    )
    # all three scenes in one city, so that there is a stack of three
    for kind in (results.root / "cityscapes").glob("*/val"):
        for path in list(kind.glob("*/*")):
            if path.parent.name != "frankfurt":
                path.rename(
                    kind / "frankfurt" / path.name.replace(path.parent.name, f"frankfurt_{path.parent.name}", 1)
                )
    config = write_toml(
        tmp_path, *codings, name="stack", head="[task]\n[metrics]\niqa = ['PSNR']\nlevels = ['image']\n"
    )
    compressed(results.root, config)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (9, 0, 0)), done.err
    found = Results(results.root, "stack")
    scorer = Scorer(["PSNR"])
    scores = found.scores()
    assert sorted(score["frames"] for score in scores) == [1] * 6 + [3] * 3
    for score in scores:
        pristine, decoded = found.decoded(score)
        assert decoded.shape == pristine.shape == (96, 192, 3)
        assert score["iqa"]["PSNR"]["value"] == pytest.approx(
            scorer.score(pristine[None], decoded[None]).values["PSNR"][0]
        )
    stacked = [score for score in scores if score["frames"] == 3]
    assert sorted(score["frame"] for score in stacked) == [0, 1, 2]
    assert len({score["rate_bpp"] for score in stacked}) == 1 and len({score["psnr_y_db"] for score in stacked}) == 3
    record = json.loads(next((found.folder / "records").rglob("*.265.json")).read_bytes())
    assert [s["psnr_y_db"] for s in sorted(stacked, key=lambda s: int(s["frame"]))] == record["frame_psnr_y_db"]


def test_a_mean_of_means_is_nowhere(results: Results) -> None:
    """What is printed of a configuration is from summed counts: all right pixels over all, all bits over all pixels."""
    done = typed("metrics", "-d", results.root, "-s", results.root.parent / "trial.toml", "--runner", "local", "--gpu",
                 "none", "--no-report", "--wide")  # fmt: skip
    assert done.code == 0, done.err
    _, header, _, *lines = (re.split(r"\s{2,}", line.strip()) for line in done.out.split("\n\n")[0].splitlines())
    rows = [dict(zip(header, line, strict=True)) for line in lines if line[0] == "JPEG"]
    assert rows
    for cells, quality in ((row, row["quality"]) for row in rows):
        summed: Counter[tuple[int, int]] = Counter()
        for score in results.scores():
            if score["configuration"] == FOLDERS[f"jpeg {quality}"]:
                summed.update(told(score["machine"]["pseudo"]["confusion"]))
        assert cells["accuracy (pseudo)"] == f"{accuracy(summed):.4f}"
        assert cells["mIoU (pseudo)"] == f"{mean_iou(summed):.4f}"


def test_nothing_half_written_is_left(results: Results) -> None:
    assert half_written(results.root) == []
    assert not [path for path in results.root.rglob(".*") if path.is_file()]


def test_block_metrics_file_is_one_that_correlate_takes(results: Results) -> None:
    done = typed("correlate", results.folder / "blocks/trial_32x32_val_metrics.json", "--bootstrap", 0)
    assert done.code == 0, done.err


def test_the_outcome_names_its_files(results: Results) -> None:
    done = measure(results.root, results.root.parent / "trial.toml")
    assert outcome(done)["correlations"] == {"image": "correlation_image.json",
                                             "block 32x32": "correlation_block_32x32.json"}  # fmt: skip
    with (results.folder / "image_scores.csv").open(newline="") as file:
        assert next(csv.reader(file))[:3] == ["configuration", "encoder", "quality"]


def test_points_are_a_table_for_bdrate(results: Results) -> None:
    """One row a coding point, with sums over pictures; `vcmbench bdrate` takes it as it is."""
    points, pictures = results.table("points"), results.table("image_scores")
    assert {row["configuration"] for row in points} == {row["configuration"] for row in pictures}
    for row in points:
        own = [one for one in pictures if one["configuration"] == row["configuration"]]
        assert int(row["pictures"]) == len(own)
        pixels = [int(one["width_px"]) * int(one["height_px"]) for one in own]
        bits = sum(float(one["rate_bpp"]) * size for one, size in zip(own, pixels, strict=True))
        assert float(row["rate_bpp"]) == pytest.approx(bits / sum(pixels))
        right = sum(float(one["accuracy_pseudo"]) * size for one, size in zip(own, pixels, strict=True))
        assert float(row["accuracy_pseudo"]) == pytest.approx(right / sum(pixels), abs=1e-9)
    seconds: dict[str, list[float]] = {}
    for row in results.table("compression"):
        spent = float(row["encode_s"]) / (int(row["width_px"]) * int(row["height_px"]) * int(row["frames"])) * 1e6
        assert float(row["encode_s_per_mpx"]) == pytest.approx(spent, rel=1e-3)
        seconds.setdefault(row["bitstream"].partition("/")[0], []).append(spent)
    for row in points:
        assert row["preset_used"] == ("ultrafast" if row["encoder"] == "x265" else "")
        assert float(row["encode_s_per_mpx"]) == pytest.approx(median(seconds[row["configuration"]]), rel=1e-3)
    done = typed("bdrate", results.folder / "points.csv", "--quality", "accuracy_pseudo", "--json")
    assert done.code == 0, done.err
