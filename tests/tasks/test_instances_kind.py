"""Average precision of masks against pycocotools' segm by hand, labels with masks, and files of masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vcmbench.data import masks
from vcmbench.data.objects import LabelledObjects, ObjectFiles, of_cityscapes, of_folder
from vcmbench.errors import JobError
from vcmbench.tasks import kind as kinds
from vcmbench.tasks.kind import Part, Truth
from vcmbench.tasks.segments import Found, Segments, packed, unpacked

KIND = kinds.get("instances")
CLASSES = ("car", "person", "bus")
SHAPE = (200, 240)
Pixels = NDArray[np.bool_]


def ellipse(rng: np.random.Generator, near: NDArray[np.float64] | None = None) -> tuple[NDArray[np.float64], Pixels]:
    """Its centre and half axes, and its pixels: a new one, or one like another."""
    about = np.array([*rng.uniform(0, 200, 2), *np.exp(rng.uniform(np.log(4), np.log(90), 2))])
    about = about if near is None else near + rng.normal(0, 2, 4) * (rng.random() < 0.7)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cx, cy, a, b = about
    return about, ((x - cx) / max(a, 1)) ** 2 + ((y - cy) / max(b, 1)) ** 2 <= 1


def scene(seed: int) -> tuple[Segments, LabelledObjects]:
    """Objects of two classes, some of them crowds, and what is found: near them, doubled, made up, of equal scores."""
    rng = np.random.default_rng(seed)
    drawn, which = [ellipse(rng) for _ in range(9)], rng.integers(0, 2, 9)
    outlines = [masks.of_pixels(pixels) for _, pixels in drawn]
    areas = masks.areas(outlines) * rng.uniform(0.6, 1, 9)
    known = LabelledObjects(tuple(CLASSES[i] for i in which), masks.boxes(outlines), areas, rng.random(9) < 0.2,
                            lambda: outlines)  # fmt: skip
    again = [ellipse(rng, about)[1] for about, _ in (*drawn, *drawn[:3])] + [ellipse(rng)[1] for _ in range(4)]
    classes = [*which, *which[:3], *rng.integers(0, 3, 4)]
    found: list[Found] = [(int(one), float(np.round(rng.random(), 1)), masks.of_pixels(pixels))
                          for one, pixels in zip(classes, again, strict=True)]  # fmt: skip
    return packed(found), known


def by_hand(scenes: list[tuple[Segments, LabelledObjects]], folder: Path) -> COCOeval:
    """pycocotools on the same, as files."""

    def text(one: masks.Mask) -> dict[str, Any]:
        return {"size": one["size"], "counts": one["counts"].decode()}

    truths, results = [], []
    for number, (found, known) in enumerate(scenes, 1):
        outlines = known.masks()
        assert outlines is not None
        for name, outline, area, crowd in zip(known.names, outlines, known.areas, known.crowd, strict=True):
            truths.append({"id": len(truths) + 1, "image_id": number, "category_id": CLASSES.index(name) + 1,
                           "segmentation": text(outline), "area": float(area), "iscrowd": int(crowd)})  # fmt: skip
        for which, score, outline in unpacked(found):
            results.append({"image_id": number, "category_id": which + 1, "segmentation": text(outline),
                            "score": score})  # fmt: skip
    pictures = [{"id": i + 1, "height": SHAPE[0], "width": SHAPE[1]} for i in range(len(scenes))]
    content = {"info": {}, "annotations": truths, "images": pictures,
               "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]}  # fmt: skip
    (folder / "truth.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    truth = COCO(str(folder / "truth.json"))
    judged = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "segm")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged


def counted(found: Segments, known: LabelledObjects | None, pristine: Segments | None = None) -> Part:
    part: Part = json.loads(json.dumps(kinds.count(KIND, found, pristine, Truth(objects=known), CLASSES)))
    return part


def test_kept_matches_give_what_pycocotools_gives_by_hand(tmp_path: Path) -> None:
    scenes = [scene(seed) for seed in range(4)]
    parts = [counted(*one)["labels"] for one in scenes]
    weights = np.vstack([np.ones(4), 1 - np.eye(4)])
    found = KIND.reduce(parts, 3, weights)
    for row in range(5):
        judged = by_hand([one for i, one in enumerate(scenes) if weights[row, i]], tmp_path)
        expected = dict(zip(KIND.measures, judged.stats[:6], strict=True))
        assert {name: np.nan_to_num(one[row], nan=-1) for name, one in found.items()} == pytest.approx(
            expected, abs=1e-9
        )
        assert 0 < expected["ap"] < expected["ap50"] < 1 and expected["ap_small"] >= 0


def test_pseudo_ground_truth_perfect_and_nothing(tmp_path: Path) -> None:
    pristine, known = scene(0)
    sure = packed([one for one in unpacked(pristine) if one[1] >= 0.5])
    part = counted(sure, None, pristine)
    assert KIND.score(part["pseudo"], 3, "ap") == pytest.approx(1)
    assert packed([(0, 1, masks.of_pixels(np.zeros(SHAPE, np.bool_)))]).tobytes() == b"[]"
    assert (part["labels"], part["notes"]) == (None, {"labels": "no objects are labelled"})
    assert part["masks"] == [len(unpacked(pristine)), len(unpacked(sure))]
    seven = packed([(0, float(np.float32(0.7)), masks.of_pixels(np.ones(SHAPE, np.bool_)))])
    assert kinds.count(KIND, seven, seven, Truth(score=0.7), CLASSES)["pseudo"]["matches"]["0"]["truths"][0] == 1
    assert KIND.score(counted(packed([]), None, pristine)["pseudo"], 3, "ap") == 0
    assert KIND.score(counted(pristine, None, packed([]))["pseudo"], 3, "ap") is None
    boxes = counted(pristine, replace(known, masks=lambda: None))
    assert (boxes["labels"], boxes["notes"]) == (None, {"labels": "labelled objects have no masks"})


def test_what_a_mask_covers_decides_its_distance() -> None:
    pristine, _ = scene(0)
    values = np.random.default_rng(1).uniform(1, 90, SHAPE).astype(np.float32)
    for *_, one in unpacked(pristine):
        inside = coco_mask.decode(one).astype(bool)
        assert np.sort(masks.covered(values, one)).tolist() == np.sort(values[inside]).tolist()
    half = np.zeros(SHAPE, np.bool_)
    half[10:20, 10:20] = True
    half[10:20, 10:14] = False
    one = packed([(0, 0.9, masks.of_pixels(half))])
    near = np.where(half, 10, np.inf).astype(np.float32)
    part = kinds.count(KIND, one, one, Truth(distance_m=near, importance=half.astype(np.float32)), CLASSES)["pseudo"]
    assert part["ranges"] == [*KIND.ranges["distance"], *KIND.ranges["importance"]]
    assert part["matches"]["0"]["truths"][4:] == [1, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [(np.zeros((2, 6), np.float32), "must be what tasks.segments.packed makes"), (np.zeros(3, np.uint8), "is none of"),
     (packed([(3, 0.5, masks.of_pixels(np.ones(SHAPE, np.bool_)))]), "there is no class 3"),
     (packed([(0, 1.5, masks.of_pixels(np.ones(SHAPE, np.bool_)))]), "a score is 1.5, not in 0..1"),
     (packed([(0, 0.5, masks.of_pixels(np.ones((3, 4), np.bool_)))]), r"size \[3, 4\] \(height, width\), its picture"),
     (np.frombuffer(b'[[0, 0.5, [200, 240], "99"]]', np.uint8), "are of 18 px, its picture has 48000")],
    ids=["boxes", "bytes", "class", "score", "size", "counts"],
)  # fmt: skip
def test_what_is_no_answer_is_refused(answer: Any, why: str) -> None:
    KIND.check(scene(0)[0], SHAPE, 3)
    KIND.check(packed([]), SHAPE, 3)
    with pytest.raises(JobError, match=why):
        KIND.check(answer, SHAPE, 3)


def labelled(files: ObjectFiles | None) -> list[Pixels]:
    assert files is not None
    found = files.read(SHAPE).masks()
    assert found is not None and len(found) == len(files.read(SHAPE).names)
    return [coco_mask.decode(one).astype(bool) for one in found]


def test_masks_of_cityscapes_are_its_instances(tmp_path: Path) -> None:
    ids = np.zeros(SHAPE, np.uint16)
    ids[10:20, 30:60], ids[50:60, 0:10], ids[12, 34], ids[100:110, 100:120] = 26000, 24001, 7, 26
    path = tmp_path / "a_gtFine_instanceIds.png"
    Image.fromarray(ids).save(path)
    found = labelled(of_cityscapes(path, tmp_path))
    assert all(np.array_equal(pixels, ids == number) for pixels, number in zip(found, (26, 24001, 26000), strict=True))
    polygons = tmp_path / "a_gtFine_polygons.json"
    polygons.write_text(json.dumps({"objects": [{"label": "car", "polygon": [[30, 10], [60, 10], [60, 20]]}]}))
    known = of_cityscapes(tmp_path / "none.png", polygons)
    assert known is not None and known.read(SHAPE).masks() is None, "outlines do not say what is in front"


def test_masks_of_coco_are_polygons_and_rle(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations/val.json"
    pixels = np.zeros(SHAPE, np.bool_)
    pixels[10:20, 30:60] = True
    rle = masks.of_pixels(pixels)
    lengths = masks.runs(rle["counts"])
    size = list(SHAPE)
    polygons = [[30, 10, 60, 10, 60, 20, 30, 20], [100, 100, 110, 100, 110, 110]]
    forms = [polygons, {"size": size, "counts": lengths}, {"size": size, "counts": rle["counts"].decode()}]
    ones: list[dict[str, Any]] = [{"id": i, "image_id": 7, "category_id": 3, "bbox": [30, 10, 30, 10], "area": 300,
                                   "segmentation": one} for i, one in enumerate(forms)]  # fmt: skip
    content = {"images": [{"id": 7, "file_name": "a.jpg"}], "categories": [{"id": 3, "name": "car"}]}

    def files(annotations: list[dict[str, Any]]) -> ObjectFiles:
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(content | {"annotations": annotations}))
        found = of_folder(tmp_path, PurePosixPath("images/a"), ".jpg")
        assert found is not None
        return found

    found = labelled(files(ones))
    whole = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *SHAPE)))
    assert np.array_equal(found[0], whole) and whole[100:110, 100:110].any()
    assert np.array_equal(found[1], pixels) and np.array_equal(found[2], pixels)
    before = files(ones)
    assert before.masks_digest() != files(ones[:1] + ones[:2]).masks_digest()
    without = [{key: value for key, value in one.items() if key != "segmentation"} for one in ones]
    assert files(without).read(SHAPE).masks() is None and files([]).read(SHAPE).masks() == []
    assert files(without).digest() == before.digest(), "boxes alone are not of other masks"
    for wrong, why in (
        (None, "annotation 0 has no mask, others of its picture have"),
        ({"size": [9, 9], "counts": [81]}, r"annotation 0: its mask is of the size \[9, 9\] \(height, width\)"),
        ({"size": size, "counts": [3]}, "are of 3 px, its picture has 48000"),
        ({"size": size, "counts": "~~"}, "are no RLE"),
        ({"size": size, "counts": "o"}, "break off"),
        ({"size": size, "counts": [-1, 48001]}, "are no lengths of runs"),
        ([[1, 2, 3, 4]], "no list of three or more x, y"),
        ([[1, 2, 3, 4, 1e30, 2]], "far outside"),
        ("all", "neither polygons nor RLE"),
    ):
        known = files([ones[0] | {"segmentation": wrong}, ones[1]]).read(SHAPE)
        with pytest.raises(JobError, match=rf"val.json: .*{why}"):
            known.masks()


def test_masks_of_yolo_are_polygons(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/classes.txt").write_text("car\nperson\n")
    path = tmp_path / "labels/a.txt"
    path.write_text("1 0.125 0.05 0.25 0.05 0.25 0.1 0.125 0.1\n0 0.5 0.5 0.75 0.5 0.75 1\n")
    files = of_folder(tmp_path, PurePosixPath("images/a"), ".jpg")
    found, (square, triangle) = labelled(files), ([30, 10, 60, 10, 60, 20, 30, 20], [120, 100, 180, 100, 180, 200])
    for pixels, polygon in zip(found, (square, triangle), strict=True):
        assert np.array_equal(pixels, coco_mask.decode(coco_mask.frPyObjects([polygon], *SHAPE))[..., 0])
    assert files is not None
    known = files.read(SHAPE)
    assert (known.names, known.areas.tolist()) == (("person", "car"), [pytest.approx(300), pytest.approx(3000)])
    assert known.boxes == pytest.approx(np.array([[30, 10, 60, 20], [120, 100, 180, 200]]))
    path.write_text(path.read_text() + "0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(JobError, match=r"a.txt: .*line 3 has no mask, others of its picture have"):
        files.read(SHAPE).masks()
    path.write_text("0 0.5 0.5 0.1 0.1\n")
    assert files.read(SHAPE).masks() is None
    path.write_text("0 0.5 0.5 0.1 0.1 0.3\n")
    with pytest.raises(JobError, match="line 1 is no object: 5 columns, or a class and three or more points, are"):
        files.read(SHAPE)


def test_runs_are_those_of_pycocotools() -> None:
    for seed in range(20):
        pixels = np.random.default_rng(seed).random((37, 53)) < 0.055 * seed  # none to all
        pixels[:, : seed % 3], pixels[:, 53 - seed % 4 :] = False, False
        rle = masks.of_pixels(pixels)
        flat, value, expected = pixels.T.ravel(), False, [0]
        for one in flat:
            if one != value:
                expected.append(0)
                value = one
            expected[-1] += 1
        assert masks.runs(rle["counts"]) == expected
        assert rle == coco_mask.encode(np.asfortranarray(pixels, np.uint8))


def test_masks_of_others_are_read(tmp_path: Path) -> None:
    path, files = tmp_path / "a.json", KIND.files
    assert files is not None
    answer, _ = scene(2)
    files.write(path, answer, CLASSES, "a key", None)
    assert np.array_equal(files.read(path, SHAPE, CLASSES), answer) and files.key(path) == "a key"
    content = json.loads(path.read_bytes())["annotations"]
    (_, _, first), *_ = unpacked(answer)
    assert content[0]["bbox"] == coco_mask.toBbox(first).tolist()
    one = {"category_id": 2, "segmentation": [[30, 10, 60, 10, 60, 20, 30, 20]], "score": 0.75}
    path.write_text(json.dumps([one]))
    [(which, score, outline)] = unpacked(files.read(path, SHAPE, CLASSES))
    assert (which, score, float(coco_mask.area(outline))) == (1, 0.75, 300)
    for wrong, why in (
        ({"segmentation": None}, "result 1 has no segmentation"),
        ({"segmentation": {"size": [240, 200], "counts": "0"}}, r"result 1: its mask is of the size \[240, 200\]"),
        ({"score": -0.1}, "a score is not in 0..1"),
        ({"category_id": 4}, "category_id 4; there are 1..3"),
    ):
        path.write_text(json.dumps([one | wrong]))
        with pytest.raises(JobError, match=f"a.json: is no COCO JSON of masks: ValueError: {why}"):
            files.read(path, SHAPE, CLASSES)
