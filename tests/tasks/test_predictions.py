"""Predictions as files: what is written is read again, and what is no prediction is told from one."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PIL import Image

from tests.helpers.commands import half_written
from tests.helpers.pictures import write_png
from vcmbench.data.labels import CLASSES, PALETTE, VOID
from vcmbench.errors import JobError
from vcmbench.tasks.predictions import palette, prediction_key, prediction_path, read_prediction, write_prediction

IDS = [*range(len(CLASSES)), VOID]
MAPS = stn.arrays(np.uint8, stn.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.sampled_from(IDS))


@given(labels=MAPS, key=st.sampled_from(["", "0123abcd"]))
@settings(deadline=None, max_examples=60)
def test_written_and_read_again(labels: np.ndarray, key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "P_GT/val/city/x.png"
        write_prediction(path, labels, key)
        assert np.array_equal(read_prediction(path, labels.shape), labels)
        assert prediction_key(path) == (key or None)
        assert [file.name for file in path.parent.iterdir()] == ["x.png"]
        with Image.open(path) as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture), labels), "the index is the train id"
            shown = np.asarray(picture.convert("RGB"))
        colours = np.vstack([PALETTE, np.zeros((256 - 19, 3), np.uint8)])
        assert np.array_equal(shown, colours[labels])


@given(labels=MAPS)
@settings(deadline=None, max_examples=40)
def test_published_rgb_files_are_read(labels: np.ndarray) -> None:
    """In Cityscapes' colours, void black; and whatever palette a tool that makes files smaller gave them."""
    colours = np.vstack([PALETTE, np.zeros((256 - 19, 3), np.uint8)])[labels]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        Image.fromarray(colours).save(path)
        assert np.array_equal(read_prediction(path), labels)
        Image.fromarray(colours).convert("RGBA").save(path)
        assert np.array_equal(read_prediction(path), labels)
        Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(path, optimize=True)
        assert np.array_equal(read_prediction(path), labels)


def test_gray_pictures_of_train_ids_are_read(tmp_path: Path) -> None:
    labels = np.array([IDS], np.uint8)
    Image.fromarray(labels).save(tmp_path / "x.png")
    assert np.array_equal(read_prediction(tmp_path / "x.png"), labels)


def test_more_classes_than_cityscapes(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_prediction(tmp_path / "x.png", labels)
    assert np.array_equal(read_prediction(tmp_path / "x.png", class_count=255), labels)
    with pytest.raises(JobError, match="entry 19 of its palette is colour 143,15,15, which is no colour of"):
        read_prediction(tmp_path / "x.png")


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({tuple(colour) for colour in palette().tolist()}) == 256
    assert np.array_equal(palette()[:19], PALETTE)


def test_smaller_than_the_same_in_rgb(tmp_path: Path) -> None:
    """On a picture like a prediction's, regions with ragged outlines; by Pillow (which tries filters) and OpenCV."""
    import cv2

    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 19, (8, 16), dtype=np.uint8), np.ones((64, 64), np.uint8))
    y, x = (
        np.clip(at + rng.integers(-1, 2, at.shape), 0, limit)
        for at, limit in zip(np.mgrid[0:512, 0:1024], (511, 1023), strict=True)
    )
    labels = labels[y, x]
    write_prediction(tmp_path / "x.png", labels)
    size = (tmp_path / "x.png").stat().st_size
    by_pillow = io.BytesIO()
    Image.fromarray(PALETTE[labels]).save(by_pillow, "PNG")
    assert size < 0.7 * len(by_pillow.getvalue())
    assert size < 0.45 * len(cv2.imencode(".png", PALETTE[labels])[1])


def test_a_missing_file_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"x\.png: no such prediction; run_metrics\.py \(vcmbench metrics\) writes it"):
        read_prediction(tmp_path / "x.png")
    assert prediction_key(tmp_path / "x.png") is None


def test_another_size(tmp_path: Path) -> None:
    write_prediction(tmp_path / "x.png", np.zeros((4, 6), np.uint8))
    with pytest.raises(JobError, match="6x4 px, but its picture has 8x4"):
        read_prediction(tmp_path / "x.png", (4, 8))


def test_label_ids_are_told_from_train_ids(tmp_path: Path) -> None:
    Image.fromarray(np.array([[7, 26]], np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(JobError, match=r"holds index 26; the classes are 0\.\.18 and 255 is void \(is it a picture of"):
        read_prediction(tmp_path / "x.png")


def test_colours_must_be_exact(tmp_path: Path) -> None:
    picture = np.full((4, 6, 3), PALETTE[0])
    picture[2, 3] += 1
    Image.fromarray(picture).save(tmp_path / "x.png")
    with pytest.raises(JobError, match="1 pixels are of no class, the first, at 3,2, colour 129,65,129, which is no"):
        read_prediction(tmp_path / "x.png")
    Image.fromarray(picture).save(tmp_path / "x.jpg", quality=20)
    with pytest.raises(JobError, match="which is no colour of Cityscapes"):
        read_prediction(tmp_path / "x.jpg")


def test_another_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([1, 2, 3, 4, 5, 6])
    picture.save(tmp_path / "x.png")
    with pytest.raises(JobError, match="entry 0 of its palette is colour 1,2,3"):
        read_prediction(tmp_path / "x.png")


def test_gray_of_few_bits_is_refused(tmp_path: Path) -> None:
    """Pillow would stretch them: 4 bits 0..15 to 0..255."""
    write_png(tmp_path / "x.png", 4, 1, 4, 0, b"\0\x01\x23")
    with pytest.raises(JobError, match="must have 8 bits a pixel"):
        read_prediction(tmp_path / "x.png")


@pytest.mark.parametrize("values", [[0, 255], [255, 255]])
def test_masks_are_refused(tmp_path: Path, values: list[int]) -> None:
    """White would be void, so that only the background counted."""
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "x.png")
    with pytest.raises(JobError, match=r"255 alone, as masks do; 255 is void"):
        read_prediction(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["1", "I;16", "LA", "CMYK"])
def test_modes_that_are_no_prediction(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(JobError, match="is no prediction; palette, 8-bit gray or 8-bit RGB are"):
        read_prediction(path)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_prediction(path, np.random.default_rng(0).integers(0, 19, (64, 64), dtype=np.uint8), "key")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match="damaged or truncated prediction"):
        read_prediction(path)
    path.write_bytes(b"no picture")
    with pytest.raises(JobError, match="not an image that can be read"):
        read_prediction(path)
    assert prediction_key(path) is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.png"
    write_prediction(path, np.zeros((4, 4), np.uint8))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_prediction(path, np.ones((4, 4), np.uint8))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]
    assert not half_written(tmp_path)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4), np.int64), np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_map_of_classes_is_not_written(tmp_path: Path, wrong: np.ndarray) -> None:
    with pytest.raises(JobError, match=r"must be \(H, W\) uint8"):
        write_prediction(tmp_path / "x.png", wrong)


def test_where_predictions_lie() -> None:
    root = Path("data")
    street, flat = PurePosixPath("leftImg8bit/val/frankfurt/a_leftImg8bit"), PurePosixPath("b")
    assert prediction_path(root, street) == root / "P_GT/val/frankfurt/a_leftImg8bit.png"
    assert prediction_path(root, street, "cityscapes_JPEG(q)") == (
        root / "P_hat_C/cityscapes_JPEG(q)/val/frankfurt/a_leftImg8bit.png"
    )
    assert prediction_path(root, flat) == root / "P_GT/b.png"
    assert prediction_path(root, PurePosixPath("x/y.z"), "c") == root / "P_hat_C/c/x/y.z.png"
