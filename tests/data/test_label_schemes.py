"""Labels of other data sets, each in its own encoding and folders, as its makers describe them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.data import label_schemes
from vcmbench.data.dataset import Source, find_sources, look, open_root
from vcmbench.data.labels import CLASSES
from vcmbench.data.selection import Selection
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import ImportanceSettings
from vcmbench.importance.source import ImportanceSource
from vcmbench.measure import ground_truth
from vcmbench.tasks import kind as kinds

Array = NDArray[Any]
Save = Callable[[Path, Array], None]
HEIGHT, WIDTH = 12, 20
SEGMENTATION = kinds.get("segmentation")
WITHOUT_DISTANCE = ImportanceSource(settings=ImportanceSettings(use_distance=False))


def gray(path: Path, values: Array) -> None:
    save(path, values.astype(np.uint8))


def palette(path: Path, values: Array) -> None:
    picture = Image.fromarray(values.astype(np.uint8)).convert("L")
    picture.putpalette(np.random.default_rng(0).integers(0, 256, 768, np.uint8).tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    with Image.open(path) as again:
        assert again.mode == "P"


def colours(path: Path, values: Array) -> None:
    save(path, np.stack([values >> 16, values >> 8 & 255, values & 255], axis=-1).astype(np.uint8))


@dataclass(frozen=True)
class DataSet:
    """A picture and its labels below the data root; `values` are what pixels hold, and classes that networks know."""

    scheme: str
    picture: str
    labels: str
    save: Save
    values: dict[int, str | None]
    keys: dict[str, Any]


CITYSCAPES: dict[int, str | None] = {
    7: "road", 8: "sidewalk", 11: "building", 17: "pole", 19: "traffic light", 23: "sky", 26: "car", 33: "bicycle",
    0: None, 4: None, 9: None,
}  # fmt: skip
TRAIN: dict[int, str | None] = {0: "road", 5: "pole", 10: "sky", 13: "car", 16: "train", 18: "bicycle", 255: None}
SETS = [
    DataSet("bdd100k", "images/10k/val/7d06fefd-f7be05a6.jpg", "labels/sem_seg/masks/val/7d06fefd-f7be05a6.png", gray,
            TRAIN, {}),
    DataSet("kitti", "training/image_2/000000_10.png", "training/semantic/000000_10.png", gray, CITYSCAPES, {}),
    DataSet("mapillary", "validation/images/_1Gn.jpg", "validation/v1.2/labels/_1Gn.png", palette,
            {13: "road", 2: "sidewalk", 15: "sidewalk", 20: "rider", 24: "road", 47: "pole", 48: "traffic light",
             50: "traffic sign", 49: None, 55: "car", 58: "train", 30: "vegetation", 64: None, 65: None}, {}),
    DataSet("acdc", "rgb_anon/fog/val/GOPR0476/GOPR0476_frame_000854_rgb_anon.png",
            "gt/fog/val/GOPR0476/GOPR0476_frame_000854_gt_labelTrainIds.png", gray, TRAIN, {}),
    DataSet("gta5", "images/00001.png", "labels/00001.png", palette, {**CITYSCAPES, 34: None}, {}),
    DataSet("a2d2", "camera_lidar_semantic/20180807_145028/camera/cam_front_center/"
                    "20180807145028_camera_frontcenter_000000091.png",
            "camera_lidar_semantic/20180807_145028/label/cam_front_center/"
            "20180807145028_label_frontcenter_000000091.png", colours,
            {0xFF00FF: "road", 0x8000FF: "road", 0xFF0000: "car", 0x800000: "car", 0xCC99FF: "person",
             0xB496C8: "sidewalk", 0xF1E6FF: "building", 0x87CEFF: "sky", 0x93FDC2: "vegetation",
             0x0080FF: "traffic light", 0xFF8000: "truck", 0x48D1CC: None, 0x60458F: None, 0xCCFF99: None}, {}),
    DataSet("cocostuff", "images/val2017/000000000139.jpg", "annotations/val2017/000000000139.png", gray,
            {0: "person", 1: "bicycle", 2: "car", 9: "traffic light", 12: "traffic sign", 95: "building", 112: "fence",
             123: "terrain", 148: "road", 139: "sidewalk", 156: "sky", 168: "vegetation", 172: "wall", 61: None,
             255: None}, {}),
    DataSet("index", "rgb/val/a.png", "gt/val/a_id.png", gray, TRAIN,
            {"images": "rgb/{split}/*.png", "labels": "gt/{split}/{stem}_id.png"}),
]  # fmt: skip


def lay(root: Path, one: DataSet, labels: Array) -> tuple[Path, Source]:
    save(root / one.picture, np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
    one.save(root / one.labels, labels)
    (source,) = find_sources(open_root(root), Selection(scheme=one.scheme, **one.keys))
    return root, source


def by_hand(answer: Array, truth: list[list[str | None]], known: set[str]) -> float:
    """Mean IoU over classes of the data set that occur in labels or answer, pixel by pixel."""
    right, union = dict.fromkeys(known, 0), dict.fromkeys(known, 0)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            label, said = truth[y][x], CLASSES[answer[y, x]]
            if label is None:
                continue
            right[label] += label == said
            for name in {label, said} & known:
                union[name] += 1
    found = [right[name] / union[name] for name in known if union[name]]
    return sum(found) / len(found)


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.scheme)
def test_labels_of_a_data_set_are_those_of_its_makers(one: DataSet, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    raw = rng.choice(np.array(list(one.values)), (HEIGHT, WIDTH))
    root, source = lay(tmp_path, one, raw)
    truth = ground_truth.read(open_root(root), source, ImportanceSource())
    answer = rng.integers(0, 19, (HEIGHT, WIDTH)).astype(np.uint8)
    names = [[one.values[int(value)] for value in row] for row in raw]
    for y, x in np.ndindex(HEIGHT // 2, WIDTH):  # half of it is right, where it can be
        answer[y, x] = CLASSES.index(names[y][x]) if names[y][x] else answer[y, x]
    part = kinds.count(SEGMENTATION, answer, None, truth, CLASSES)["labels"]
    scheme = label_schemes.find(one.scheme)
    said = {name for names in scheme.classes or [CLASSES] for name in names}
    found = SEGMENTATION.reduce([part], 19, np.ones((1, 1)))["miou"][0]
    assert found == pytest.approx(by_hand(answer, names, said & set(CLASSES)), abs=1e-12)
    assert truth.distance_m is None
    if one.scheme != "index":
        disparity = Image.fromarray(np.full((HEIGHT, WIDTH), 256 * 8 + 1, np.uint16))
        path = root / "disparity" / f"{source.name}_disparity.png"
        path.parent.mkdir(parents=True)
        disparity.save(path)
        again = ground_truth.read(open_root(root), source, ImportanceSource()).distance_m
        assert again is not None and again == pytest.approx(2262.52 * WIDTH / 2048 * 0.209313 / 8)
        values = WITHOUT_DISTANCE.read(open_root(root), source, WIDTH, HEIGHT).values
        high = {"road", "sidewalk", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"}
        for y, x in np.ndindex(HEIGHT, WIDTH):
            assert names[y][x] is None or values[y, x] == np.float32(1 if names[y][x] in high else 0.1)


def test_vistas_is_read_by_the_names_of_its_own_file(tmp_path: Path) -> None:
    vistas = next(one for one in SETS if one.scheme == "mapillary")
    names = ["object--vehicle--car", "construction--flat--road", "object--new", "nature--sky"]
    (tmp_path / "config.json").write_text(json.dumps({"labels": [{"name": name, "readable": "x"} for name in names]}))
    root, source = lay(tmp_path, vistas, np.tile([0, 1, 2, 3], (HEIGHT, WIDTH // 4)))
    truth = ground_truth.read(open_root(root), source, ImportanceSource())
    found = kinds.count(SEGMENTATION, np.full((HEIGHT, WIDTH), 13, np.uint8), None, truth, CLASSES)
    assert sorted(found["labels"]["confusion"]) == [[0, 13, 60], [10, 13, 60], [13, 13, 60]]
    assert found["notes"]["unknown labels"] == "the scheme mapillary does not know ids 2 (60 px)"
    (tmp_path / "config.json").write_text('{"labels": [1]}')
    with pytest.raises(RequestError, match=r"config\.json: must be JSON with \"labels\""):
        find_sources(open_root(root), Selection(scheme="mapillary"))


def test_a_network_takes_the_most_special_name_that_it_knows(tmp_path: Path) -> None:
    """Whatever its case; and of what it does not know nothing is counted, which is said."""
    vistas = next(one for one in SETS if one.scheme == "mapillary")
    root, source = lay(tmp_path, vistas, np.tile([2, 15, 55, 33], (HEIGHT, WIDTH // 4)))
    truth = ground_truth.read(open_root(root), source, ImportanceSource())
    answer = np.zeros((HEIGHT, WIDTH), np.uint8)
    found = kinds.count(SEGMENTATION, answer, None, truth, ("Curb", "Sidewalk", "Car"))
    assert sorted(found["labels"]["confusion"]) == [[0, 0, 60], [1, 0, 60], [2, 0, 60]]
    assert found["notes"]["unknown classes"] == "the network does not know bench"
    other = kinds.count(SEGMENTATION, answer, None, truth, ("cat",))
    assert other["labels"] is None
    assert other["notes"]["labels"] == "the network knows none of the labelled classes"


MINE = '[colours]\n"#ff0000" = "car"\n"#000000" = "ignore"\n'
PATTERNS = 'images = "a/{split}/*.png"\nlabels = "b/{stem}.png"\n'


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ('scheme = "bdd10k"', r"scheme 'bdd10k': there is no such one; did you mean bdd100k\? there are a2d2, "
                              r"acdc, .*or the path of a \.toml file"),
        ('scheme = "index"', "scheme 'index': says not where files lie; give images and labels"),
        ('scheme = "none.toml"', r"none\.toml: label scheme cannot be read: No such file"),
        ('scheme = "../data/schemes/x.toml"', "x.toml: label scheme cannot be read"),
        ('labels = "b/{stem}.png"', r"labels: what do their pixels stand for\? scheme is one of a2d2, "),
        ('images = "left"', "images 'left': one of leftImg8bit, .* or a pattern"),
        ('images = "../{split}/*.png"', "must be a path of a file below the data folder"),
        ('images = "a/{split}/{x.png"', "braces hold a word"),
        (PATTERNS.replace("{stem}", "{city}") + 'scheme = "index"', r"labels .*\{city\} is no word of images"),
        (PATTERNS.replace("{stem}", "*") + 'scheme = "index"', r"\* could be many files"),
    ],
)  # fmt: skip
def test_wrong_keys_are_named(keys: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f'name = "x"\n[dataset]\n{keys}\n[[coding]]\nencoder = "jpeg"\nquality = [5]\n'
    Path("x.toml").write_text(text)
    with pytest.raises(RequestError, match=reason):
        experiment.load("x.toml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "one of ids, colours and names must be there"),
        ("[ids]\n-1 = 'car'", "ids: '-1' is no id, 0..65535"),
        ("[colours]\nred = 'car'", "colours: 'red' is no colour"),
        ("[ids]\n1 = 'ignore'", "names 0 classes; 1 to 255"),
        ("[ids]\n1 = 3", "ids"),
        ("ids = [", "not TOML"),
    ],
)
def test_wrong_schemes_are_named(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(RequestError, match=reason):
        label_schemes.find(str(tmp_path / "s.toml"))


@pytest.mark.parametrize(
    ("scheme", "write", "reason"),
    [
        (MINE, lambda path: gray(path, np.zeros((8, 8))), "has colour mode L; scheme 's' is of colours"),
        (MINE, lambda path: colours(path, np.full((8, 8), 0xABCDEF)), r"none of its pixels: colours #abcdef \(64 px\)"),
        (MINE, lambda path: colours(path, np.zeros((8, 9), int)), "is 9x8 px, its picture 8x8 px"),
        (MINE, lambda path: path.write_bytes(b""), "not an image"),
        ("[ids]\n0 = 'car'", lambda path: colours(path, np.zeros((8, 8), int)), "mode RGB; scheme 's' is of ids"),
        ("[ids]\n0 = 'car'", lambda path: gray(path, np.full((8, 8), 3)), r"knows none of its pixels: ids 3 \(64 px\)"),
    ],
)  # fmt: skip
def test_label_pictures_of_another_kind_fail_by_name(scheme: str, write: Any, reason: str, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(scheme)
    write(tmp_path / "a.png")
    with pytest.raises(JobError, match=reason):
        label_schemes.LabelFile(tmp_path / "a.png", label_schemes.find(str(tmp_path / "s.toml"))).read(8, 8)


def test_palettes_are_read_as_ids_or_as_colours(tmp_path: Path) -> None:
    """As the scheme is; 16-bit ids are read, too."""
    picture = Image.new("P", (2, 1))
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png")
    Image.fromarray(np.array([[1, 1000]], np.uint16)).save(tmp_path / "b.png")
    for text, name in ((MINE, "a"), ("[ids]\n0 = 'ignore'\n1 = 'car'", "a"), ("[ids]\n1000 = 'car'", "b")):
        (tmp_path / "s.toml").write_text(text)
        file = label_schemes.LabelFile(tmp_path / f"{name}.png", label_schemes.find(str(tmp_path / "s.toml")))
        assert file.read(2, 1).ids.tolist() == [[255, 0]], text


def test_what_patterns_do_not_find_is_said(tmp_path: Path) -> None:
    root, source = lay(tmp_path, SETS[-1], np.zeros((HEIGHT, WIDTH)))
    save(tmp_path / "rgb/val/b.png", np.zeros((4, 4, 3), np.uint8))
    keys: dict[str, Any] = {"scheme": "index", **SETS[-1].keys}
    data = open_root(root)
    found = look(data, Selection(**keys))
    assert [one.name for one in found.sources] == [source.name, PurePosixPath("rgb/val/b")]
    assert found.notes == [f"1 of 2 pictures have no labels: no {data.root}/gt/val/b_id.png"]
    found = look(data, Selection(**keys | {"labels": "x/{stem}.png"}))
    assert found.notes == [f"2 of 2 pictures have no labels: no {data.root}/x/a.png"]
    for changed, reason in (
        ({"split": "test"}, r"no folder 'test' in .*rgb; there are: val"),
        (
            {"images": "rgb/{split}/*.jpg"},
            r"'rgb/\{split\}/\*\.jpg': matches none of 2 pictures in .*, as rgb/val/a\.png",
        ),
    ):
        with pytest.raises(RequestError, match=reason):
            look(data, Selection(**keys | changed))
    (tmp_path / "cityscapes").mkdir()
    with pytest.raises(RequestError, match="has a folder cityscapes, whose layout is known"):
        look(open_root(root), Selection(**keys))
