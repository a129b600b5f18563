"""Average precision of kept matches against pycocotools by hand, labels of four formats, and files of detections."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.helpers.pictures import save
from vcmbench.data import objects
from vcmbench.data.objects import ANY, LabelledObjects, ObjectFiles, of_cityscapes, of_folder
from vcmbench.errors import JobError
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.kind import Part, Truth

KIND = kinds.get("detection")
CLASSES = ("car", "person", "bus")
SHAPE = (400, 600)
F32 = NDArray[np.float32]


def boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    sides = np.exp(rng.uniform(np.log(8), np.log(200), (count, 2)))
    at = rng.uniform(0, 380, (count, 2))
    return np.round(np.hstack([at, at + sides]), 1)


def scene(seed: int) -> tuple[F32, LabelledObjects]:
    """Objects of two classes, some of them crowds, and detections: shifted, doubled, made up, of equal scores."""
    rng = np.random.default_rng(seed)
    truths, which = boxes(rng, 12), rng.integers(0, 2, 12)
    truths[1], which[1] = truths[0], which[0]
    areas = (truths[:, 2] - truths[:, 0]) * (truths[:, 3] - truths[:, 1]) * rng.uniform(0.5, 1, 12)
    known = LabelledObjects(tuple(CLASSES[i] for i in which), truths, areas, rng.random(12) < 0.15)
    shifted = truths + rng.normal(0, 6, truths.shape) * (rng.random((12, 1)) < 0.7)
    found = np.vstack([shifted, shifted[:4] + 2, boxes(rng, 6)])
    found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
    classes = np.concatenate([which, which[:4], rng.integers(0, 3, 6)])
    scores = np.round(rng.random(len(found)), 1)
    return np.column_stack([found, classes, scores]).astype(np.float32), known


def by_hand(scenes: list[tuple[F32, LabelledObjects]], folder: Path) -> COCOeval:
    """pycocotools on the same, as files."""
    truths, results = [], []
    for number, (found, known) in enumerate(scenes, 1):
        for name, box, area, crowd in zip(known.names, known.boxes, known.areas, known.crowd, strict=True):
            truths.append({"id": len(truths) + 1, "image_id": number, "category_id": CLASSES.index(name) + 1,
                           "bbox": xywh(box), "area": float(area), "iscrowd": int(crowd)})  # fmt: skip
        for row in found.astype(np.float64):
            results.append({"image_id": number, "category_id": int(row[4]) + 1, "bbox": xywh(row), "score": row[5]})
    content = {"info": {}, "images": [{"id": i + 1} for i in range(len(scenes))], "annotations": truths,
               "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]}  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    truth = COCO(str(folder / "truth.json"))
    judged = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged


def xywh(box: NDArray[np.float64]) -> list[float]:
    return [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]


def counted(found: F32, known: LabelledObjects | None, pristine: F32 | None = None, score: float = 0.5) -> Part:
    part = kinds.count(KIND, found, pristine, Truth(objects=known, score=score), CLASSES)
    recalled: Part = json.loads(json.dumps(part))
    return recalled


def test_kept_matches_give_what_pycocotools_gives_by_hand(tmp_path: Path) -> None:
    scenes = [scene(seed) for seed in range(7)]
    parts = [counted(*one)["labels"] for one in scenes]
    weights = np.vstack([np.ones(7), 1 - np.eye(7)])
    found = KIND.reduce(parts, 3, weights)
    for row in range(8):
        left = [one for i, one in enumerate(scenes) if weights[row, i]]
        judged = by_hand(left, tmp_path)
        expected = dict(zip(KIND.measures, judged.stats[:6], strict=True))
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected, abs=1e-9)
        precision = judged.eval["precision"][:, :, :, 0, 2]
        of_classes = KIND.by_class(parts, 3, weights)
        assert [of_classes[which][row] for which in (0, 1)] == pytest.approx(
            [precision[..., which].mean() for which in (0, 1)], abs=1e-9
        )
        assert np.isnan(of_classes[2][row]), "a class without objects has no figure"


def test_ranges_of_distance_and_importance_are_what_pycocotools_gives_of_areas_by_hand(tmp_path: Path) -> None:
    """Its range of areas is one of any number that truths and detections have: here the median of what they cover."""
    rng, scenes, parts, covered = np.random.default_rng(5), [], [], []
    for seed in range(5):
        found, known = scene(seed)
        distance = np.kron(rng.choice([4, 14, 15, 22, 45, 61, np.inf, np.nan], (8, 12)), np.ones((50, 50)))
        importance = np.kron(rng.choice([0.2, 0.6, 1], (8, 12)), np.ones((50, 50)))
        maps = {"distance_m": distance.astype(np.float32), "importance": importance.astype(np.float32)}
        parts.append(kinds.count(KIND, found, None, Truth(objects=known, region=0.6, **maps), CLASSES)["labels"])
        scenes.append((found, known))
        covered.append([median(one, box) for one in (distance, importance) for box in (*known.boxes, *found[:, :4])])
    assert all(kinds.is_part(KIND, json.loads(json.dumps(part)), 3) and KIND.has_ranges(part, "distance")
               for part in parts)  # fmt: skip
    assert not kinds.is_part(KIND, parts[0] | {"ranges": ["0_15m"]}, 3)
    limits = {"distance": [(0, 14.999), (15, 29.999), (30, 59.999), (60, 1e10)], "importance": [(0.6, 2), (0, 0.599)]}
    judged = by_hand(scenes, tmp_path)
    weights = np.vstack([np.ones(5), np.arange(5) > 0])
    for place, (by, ranges) in enumerate(limits.items()):
        for number, values in enumerate(covered):
            here = [one for one in judged.cocoGt.dataset["annotations"] if one["image_id"] == number + 1]
            here += [one for one in judged.cocoDt.dataset["annotations"] if one["image_id"] == number + 1]
            for one, value in zip(here, np.split(np.array(values), 2)[place], strict=True):
                one["area"] = -1.0 if np.isnan(value) else min(value, 1e9)
        judged.params.areaRng, judged.params.areaRngLbl = ranges, [str(one) for one in ranges]
        judged.evaluate()
        judged.accumulate()
        precision = judged.eval["precision"][:, :, :, :, 2]
        found = KIND.by_range(parts, weights, by=by)
        for which, name in enumerate(KIND.ranges[by]):
            for measure, of_one in (("ap", precision[..., which]), ("ap50", precision[0, ..., which])):
                expected = of_one[of_one > -1].mean()
                assert found[f"{measure}_{name}"][0] == pytest.approx(expected, abs=1e-9), (measure, name)
        left_out = KIND.by_range(parts[1:], np.ones((1, 4)), by=by)
        assert all(values[1] == pytest.approx(left_out[name][0]) and values[0] > 0 for name, values in found.items())
    away = LabelledObjects(("car",), np.array([[-90.0, -80, -20, -10]]), np.array([4900.0]), np.zeros(1, np.bool_))
    nowhere = kinds.count(KIND, np.zeros((0, 6), np.float32), None, Truth(objects=away, **maps), CLASSES)
    assert nowhere["labels"]["matches"]["0"]["truths"][4:] == [0] * 6, "it covers no pixel"
    without = kinds.count(KIND, scenes[0][0], None, Truth(objects=scenes[0][1], importance=maps["importance"]), CLASSES)
    assert without["labels"]["ranges"] == ["important", "unimportant"]
    mixed = KIND.by_range([without["labels"], parts[1]], np.array([[0.0, 1]]), by="importance")
    alone = KIND.by_range(parts[1:2], np.ones((1, 1)), by="importance")
    assert mixed["ap_important"] == pytest.approx(alone["ap_important"])


def median(values: NDArray[np.float64], box: NDArray[np.floating]) -> float:
    """NaN of fewer than five pixels that are known."""
    x0, y0, x1, y1 = int(box[0]), int(box[1]), int(np.ceil(box[2])), int(np.ceil(box[3]))
    inside = values[y0:y1, x0:x1]
    inside = inside[~np.isnan(inside)]
    return float(np.percentile(inside, 50, method="lower")) if inside.size >= 5 else np.nan


def test_perfect_is_1_nothing_is_0_and_no_objects_are_missing() -> None:
    found, known = scene(3)
    pristine = found[:6]
    assert KIND.score(counted(pristine, None, pristine, 0.0)["pseudo"], 3, "ap") == 1
    nothing = np.zeros((0, 6), np.float32)
    assert KIND.score(counted(nothing, None, pristine, 0.0)["pseudo"], 3, "ap") == 0
    assert KIND.score(counted(found, None, nothing)["pseudo"], 3, "ap") is None
    assert counted(found, None)["labels"] is None
    assert "no objects are labelled" in counted(found, None)["notes"]["labels"]
    others = LabelledObjects(("zebra",), known.boxes[:1], known.areas[:1], known.crowd[:1])
    car = np.array([[10, 10, 60, 60, 0, 0.5]], np.float32)
    right = LabelledObjects(("car",), car[:, :4].astype(float), np.array([2500.0]), np.zeros(1, np.bool_))
    parts = [counted(car, right)["labels"], counted(car + np.float32([0, 0, 0, 0, 0, 0.4]), others)["labels"]]
    assert [KIND.score(part, 3, "ap") for part in parts] == [pytest.approx(1), None]
    assert KIND.reduce(parts, 3, np.ones((1, 2)))["ap"] == pytest.approx(0.5), (
        "a car where only a zebra is labelled is wrong"
    )


def test_the_score_decides_the_pseudo_ground_truth() -> None:
    found, _ = scene(1)
    for score in (0.3, 0.7, 0.8):
        part = counted(found, None, found, score)["pseudo"]
        assert sum(one["truths"][0] for one in part["matches"].values()) == np.count_nonzero(found[:, 5] >= score)


def test_crowds_and_regions_of_any_class_are_not_counted() -> None:
    truths = np.array([[0, 0, 50, 50], [100, 100, 300, 300]], np.float64)
    for name in ("car", ANY):
        known = LabelledObjects(("car", name), truths, np.array([2500.0, 40000]), np.array([False, True]))
        inside = [[110, 110, 150, 150, 0, 0.9], [200, 200, 260, 260, 0, 0.8]]
        answer = np.array([*inside, [0, 0, 50, 50, 0, 0.5]], np.float32)
        assert KIND.score(counted(answer, known)["labels"], 3, "ap") == pytest.approx(1)
        known = LabelledObjects(("car", name), truths, np.array([2500.0, 40000]), np.array([False, False]))
        if name:
            assert (KIND.score(counted(answer, known)["labels"], 3, "ap") or 0) < 0.5


@pytest.mark.parametrize(
    "damage", [{"scores": [2]}, {"hits": 3}, {"truths": [1]}, {"ignored": [[1 << 10]] * 4}, {"x": 1}]
)
def test_parts_that_were_edited_are_none(damage: dict[str, Any]) -> None:
    part = counted(*scene(0))["labels"]
    assert kinds.is_part(KIND, part, 3) and not kinds.is_part(KIND, part, 1)
    assert not kinds.is_part(KIND, {"matches": part["matches"] | {"0": part["matches"]["0"] | damage}}, 3)


@pytest.mark.parametrize(
    "answer",
    [np.zeros((2, 5), np.float32), np.zeros((2, 6)), np.array([[9, 0, 1, 1, 0, 1]], np.float32),
     np.array([[0, 0, 1, 1, 3, 1]], np.float32), np.array([[0, 0, 1, 1, 0, np.nan]], np.float32), "boxes"],
    ids=["columns", "float64", "turned", "class", "NaN", "text"],
)  # fmt: skip
def test_what_is_no_answer_is_refused(answer: Any) -> None:
    with pytest.raises(JobError, match="its answer"):
        KIND.check(answer, SHAPE, 3)


def labelled(files: ObjectFiles | None) -> list[tuple[str, list[float], float, bool]]:
    assert files is not None
    known = files.read(SHAPE)
    assert files.digest() == files.digest() != ""
    return [(name, box.tolist(), float(area), bool(crowd)) for name, box, area, crowd in
            zip(known.names, known.boxes, known.areas, known.crowd, strict=True)]  # fmt: skip


def test_labels_of_cityscapes(tmp_path: Path) -> None:
    ids = np.zeros(SHAPE, np.uint16)
    ids[10:20, 30:60], ids[50:60, 0:10], ids[52, 4] = 26000, 24001, 7
    ids[100:110, 100:120] = 26  # a group
    path = tmp_path / "a_gtFine_instanceIds.png"
    Image.fromarray(ids).save(path)
    group = ("car", [100, 100, 120, 110], 200, True)
    assert labelled(of_cityscapes(path, tmp_path)) == [
        group, ("person", [0, 50, 10, 60], 99, False), ("car", [30, 10, 60, 20], 300, False)
    ]  # fmt: skip
    polygons = tmp_path / "a_gtFine_polygons.json"
    shapes = [("car", [[30, 10], [60, 10], [60, 20]]), ("cargroup", [[100, 100], [120, 100], [120, 110], [100, 110]]),
              ("sky", [[0, 0], [9, 0], [9, 9]])]  # fmt: skip
    polygons.write_text(json.dumps({"objects": [{"label": label, "polygon": polygon} for label, polygon in shapes]}))
    assert labelled(of_cityscapes(tmp_path / "none.png", polygons)) == [("car", [30, 10, 60, 20], 150, False), group]
    polygons.write_text('{"objects": [{"label": "car"}]}')
    with pytest.raises(JobError, match=r"polygons.json: is no file of objects: KeyError"):
        labelled(of_cityscapes(tmp_path / "none.png", polygons))


def test_labels_of_coco_kitti_and_yolo(tmp_path: Path) -> None:
    for folder in ("annotations", "label_2", "labels"):
        (tmp_path / folder).mkdir()
    name = PurePosixPath("images/a")
    (tmp_path / "labels/a.txt").write_text("1 0.5 0.5 0.1 0.2\n")
    (tmp_path / "labels/classes.txt").write_text("car\nperson\n")
    [(label, box, _, crowd)] = labelled(of_folder(tmp_path, name, ".png"))
    assert (label, crowd) == ("person", False) and box == pytest.approx([270, 160, 330, 240])
    (tmp_path / "label_2/a.txt").write_text(
        "Car 0.00 0 1.5 10 20 30.5 60 1.6 1.7 3.6 1.8 1.4 8.4 0.0\n"
        "DontCare -1 -1 -10 100 120 200 220 -1 -1 -1 -1000 -1000 -1000 -10\n"
    )
    assert labelled(of_folder(tmp_path, name, ".png")) == [
        ("car", [10, 20, 30.5, 60], 820, False), (ANY, [100, 120, 200, 220], 10000, True)
    ]  # fmt: skip
    content: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.jpg"}], "categories": [{"id": 3, "name": "car"}],
        "annotations": [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 10, 20], "area": 90.5, "iscrowd": 1}],
    }  # fmt: skip
    (tmp_path / "annotations/captions.json").write_text(json.dumps({"images": [], "annotations": [{"caption": "a"}]}))
    (tmp_path / "annotations/val.json").write_text(json.dumps(content))
    assert labelled(of_folder(tmp_path, name, ".png")) == [("car", [1, 2, 11, 22], 90.5, True)]
    for folder in ("images", "annotations/val", "P_GT", "more"):  # those before the last are masks and results
        assert of_folder(tmp_path, name, ".png") is not None
        save(tmp_path / folder / "a.png", np.zeros((4, 4, 3), np.uint8))
        objects._called.cache_clear()
    assert of_folder(tmp_path, name, ".jpg") is not None  # as it is written there, and the only one
    with pytest.raises(JobError, match=r"file_name 'a' could be any of 2 pictures below .*; write all"):
        of_folder(tmp_path, name, ".png")
    shutil.rmtree(tmp_path / "more")
    objects._called.cache_clear()
    text = json.dumps(content)
    wrong = {
        "[" * 100_000: "nested too deeply", text.replace("[1, 2,", f"[{'9' * 401}, 2,"): "OverflowError",
        text.replace("[1, 2, 10", "[1, 2, -10"): "has no box", text.replace("90.5", '"big"'): "ValueError",
    }  # fmt: skip
    for number, (text, why) in enumerate(wrong.items()):
        (tmp_path / "annotations/val.json").unlink()
        (tmp_path / f"annotations/wrong{number}.json").write_text(text)
        with pytest.raises(JobError, match=why):
            of_folder(tmp_path, name, ".png")
        (tmp_path / f"annotations/wrong{number}.json").rename(tmp_path / "annotations/val.json")
    (tmp_path / "annotations/val.json").unlink()
    (tmp_path / "label_2/a.txt").write_text("Car 1 2 3\n")
    with pytest.raises(JobError, match="line 1 is no object: 15 or 16 columns"):
        labelled(of_folder(tmp_path, name, ".png"))
    assert of_folder(tmp_path, PurePosixPath("b"), ".png") is None


def test_detections_of_others_are_read(tmp_path: Path) -> None:
    path, files = tmp_path / "a.json", KIND.files
    assert files is not None
    one = {"image_id": 4, "category_id": 2, "bbox": [-5, 10, 20.5, 30], "score": 0.75}
    expected = [[0, 10, 15.5, 40, 1, 0.75]]
    path.write_text(json.dumps([one]))
    assert files.read(path, SHAPE, CLASSES).tolist() == expected and files.key(path) is None
    named = {"annotations": [one | {"category_id": 9}], "categories": [{"id": 9, "name": "person"}]}
    path.write_text(json.dumps(named))
    assert files.read(path, SHAPE, CLASSES).tolist() == expected
    for wrong, why in (
        ([one | {"category_id": 0}], r"category_id 0; there are 1..3 \(task.classes\)"),
        ([one | {"score": 7}], "a score is not in 0..1"),
        ([one | {"bbox": [1, 2, -3, 4]}], "a bbox is not"),
        (named | {"categories": [{"id": 9, "name": "zebra"}]}, "category 'zebra' is none of the 3 classes"),
        ({"boxes": 1}, "KeyError"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(JobError, match=why):
            files.read(path, SHAPE, CLASSES)
