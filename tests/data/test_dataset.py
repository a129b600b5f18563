"""Which pictures a data root has, and what is said of those that cannot be coded."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.pictures import save, write_png, write_png16
from vcmbench.data import images
from vcmbench.data.dataset import find_sources, look, open_root, read_picture
from vcmbench.data.selection import Selection
from vcmbench.errors import JobError, RequestError

U8 = NDArray[np.uint8]
ALL = Selection()


def names(root: Path, wanted: Selection = ALL) -> list[str]:
    return [str(source.name) for source in find_sources(open_root(root), wanted)]


def test_cityscapes_layout(streets: Path) -> None:
    found = names(streets)
    assert found[0] == "leftImg8bit/val/frankfurt/frankfurt_000000_000019_leftImg8bit"
    assert len(found) == 5
    assert len(names(streets, Selection(cities=["lindau"]))) == 2
    assert names(streets, Selection(limit=4)) == found[:4]


def test_results_are_no_sources_however_deep_they_lie(photos: Path, astronaut: U8) -> None:
    """What a run below left there, decoded pictures and pictures of maps: of two pictures there are still two."""
    for folder in ("results/x/figures", "P_GT", "P_hat_C/images_JPEG(quality=30)", "images_JPEG(quality=30)",
                   "out/images_JPEG(quality=30)", "cityscapes_JPEG(quality=30)", "importance_map",
                   "a.png.vcmbench/images_JPEG(quality=30)"):  # fmt: skip
        save(photos / "seq1" / folder / "a.png", astronaut)
    save(photos / "maps" / "a_qp_map_vis.png", astronaut)
    assert names(photos) == ["a", "b"]


def test_what_is_left_out_is_named(photos: Path, astronaut: U8) -> None:
    save(photos / "d.jfif", astronaut)
    save(photos / "e.pgm", astronaut)
    for name in ("f.gif", "g.jp2", "h.avif", "i.wmv", "notes.txt"):
        (photos / name).write_bytes(b"")
    (photos / "gone.png").symlink_to("nowhere.png")
    save(photos / "city" / "leftImg8bit" / "j.png", astronaut)
    save(photos / "city" / "gtFine" / "j.png", astronaut)
    found = look(open_root(photos), ALL)
    assert [str(source.name) for source in found.sources] == ["a", "b", "city/leftImg8bit/j", "d", "e"]
    root = photos.resolve()
    assert sorted(found.notes) == [
        f"1 left out, labels and disparities of a Cityscapes data set: {root}/city/gtFine",
        f"1 left out, links that lead nowhere: {root}/gone.png",
        f"4 left out, of formats that are not read: {root}/f.gif, {root}/g.jp2, {root}/h.avif, ...",
    ]


def test_patterns_choose_pictures(photos: Path, astronaut: U8) -> None:
    """Label maps of a data set of another layout, which are pictures to anybody else."""
    save(photos / "labels" / "a.png", astronaut)
    found = look(open_root(photos), ALL)
    assert len(found.sources) == 3
    assert found.notes == [
        "1 of 3 pictures may be label maps, by their folders' names; if so, leave them out: "
        '[dataset] exclude = ["*labels/*"]'
    ]
    assert names(photos, Selection(exclude=["*labels/*"])) == ["a", "b"]
    assert names(photos, Selection(include=["a.*", "labels/*"], exclude=["lab*"])) == ["a"]
    assert look(open_root(photos), Selection(include=["b.png", "c*"])).notes == [
        "dataset: the pattern 'c*' matches no picture"
    ]
    with pytest.raises(RequestError, match="holds no pictures or videos of 3 that are wanted"):
        names(photos, Selection(include=["c*"]))


def test_pictures_beside_cities(streets: Path, astronaut: U8) -> None:
    save(streets / "cityscapes" / "leftImg8bit" / "val" / "a.png", astronaut)
    assert len(names(streets)) == 6
    assert "leftImg8bit/val/a" in names(streets)


def test_one_picture_has_its_results_in_a_folder_beside_it(photos: Path) -> None:
    data = open_root(photos / "a.png")
    assert data.root == photos.resolve() / "a.png.vcmbench"
    assert [str(source.name) for source in find_sources(data, ALL)] == ["a"]
    data.root.mkdir()
    assert open_root(data.root) == data


def test_flat_folder_leaves_results_and_hidden_files_out(photos: Path, astronaut: U8) -> None:
    save(photos / "day 1" / "c.jpg", astronaut)
    save(photos / ".hidden" / "d.png", astronaut)
    save(photos / "results" / "e.png", astronaut)
    save(photos / "images_JPEG(quality=30)" / "f.png", astronaut)
    (photos / "notes.txt").write_text("no picture")
    assert names(photos) == ["a", "b", "day 1/c"]


def test_two_pictures_of_one_name(photos: Path, astronaut: U8) -> None:
    save(photos / "a.jpg", astronaut)
    with pytest.raises(RequestError, match=r"results would have the same name, .*a\.jpg and .*a\.png"):
        names(photos)


@pytest.mark.parametrize(
    ("make", "wanted", "complaint"),
    [
        (lambda root: None, ALL, "holds no pictures or videos"),
        (lambda root: (root / "cityscapes").mkdir(), ALL, "no such split; there are: none"),
        (lambda root: (root / "cityscapes/leftImg8bit/train").mkdir(parents=True), ALL, "no such split.*: train"),
        (
            lambda root: (root / "cityscapes/leftImg8bit/val/ulm").mkdir(parents=True),
            ALL,
            "holds no pictures or videos",
        ),
        (
            lambda root: (root / "cityscapes/leftImg8bit/val/ulm").mkdir(parents=True),
            Selection(cities=["bonn"]),
            "no city 'bonn'; there are: ulm",
        ),
        (lambda root: None, Selection(cities=["bonn"]), "is a flat folder, it has no cities"),
    ],
)
def test_roots_without_pictures(tmp_path: Path, make: object, wanted: Selection, complaint: str) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(RequestError, match=complaint):
        names(tmp_path, wanted)


def test_a_cityscapes_data_set_itself_is_no_flat_folder(streets: Path) -> None:
    """Its labels and disparities would be coded as if they were photographs."""
    with pytest.raises(RequestError, match=r"is a Cityscapes data set itself; .* give the folder that it lies in"):
        open_root(streets / "cityscapes")


def test_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not exist"):
        open_root(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="is not a folder"):
        open_root(tmp_path / "file")


def test_reads_rgb_as_it_is(tmp_path: Path, astronaut: U8) -> None:
    path = save(tmp_path / "a.png", astronaut)
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.rgb, astronaut)
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not picture.notes


def test_gray_palette_and_opaque_alpha_become_rgb_and_are_noted(tmp_path: Path, astronaut: U8) -> None:
    image = Image.fromarray(astronaut)
    for mode in ("L", "P", "RGBA", "1"):
        path = tmp_path / f"{mode}.png"
        image.convert(mode).save(path)
        picture = read_picture(path)
        assert picture.rgb.shape == astronaut.shape
        assert picture.notes == (f"mode {mode} converted to RGB",)
    np.testing.assert_array_equal(read_picture(tmp_path / "RGBA.png").rgb, astronaut)
    gray = read_picture(tmp_path / "L.png").rgb
    assert (gray[..., 0] == gray[..., 2]).all()


def write_transparent(path: Path) -> None:
    image = Image.new("RGBA", (32, 32), (9, 9, 9, 255))
    image.putpixel((3, 3), (9, 9, 9, 254))
    image.save(path)


def write_animation(path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda p: p.write_bytes(b""), "not an image"),
        (lambda p: p.write_text("<html>not found</html>"), "not an image"),
        (lambda p: Image.fromarray(np.zeros((8, 8), np.uint16)).save(p), "more than 8 bits a sample; convert"),
        (lambda p: write_png16(p, colour_type=2), "more than 8 bits a sample; convert"),
        (lambda p: write_png16(p, colour_type=6), "more than 8 bits a sample; convert"),
        (lambda p: write_png16(p, colour_type=4), "more than 8 bits a sample; convert"),
        (lambda p: p.write_bytes(b"P6 2 1 65535\n" + bytes(12)), "more than 8 bits a sample; convert"),
        (lambda p: p.write_bytes(b"P6 2 1 1023\n" + bytes(12)), "more than 8 bits a sample; convert"),
        (lambda p: p.write_bytes(b"P3 2 1 1023\n1 2 3 4 5 6\n"), "more than 8 bits a sample; convert"),
        (lambda p: Image.new("CMYK", (8, 8)).save(p, "TIFF"), "colour mode CMYK is not RGB"),
        (write_transparent, "partly transparent; flatten"),
        (write_animation, "holds 2 pictures"),
    ],
)
def test_pictures_that_cannot_be_coded(tmp_path: Path, make: object, complaint: str) -> None:
    path = tmp_path / "wrong.png"
    make(path)  # type: ignore[operator]
    with pytest.raises(JobError, match=complaint) as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_truncated_pictures(tmp_path: Path, astronaut: U8, suffix: str, share: float) -> None:
    path = save(tmp_path / f"cut.{suffix}", astronaut)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(JobError, match=r"cut\.\w+: (damaged or truncated|not an image)"):
        read_picture(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_pixels_are_taken_as_they_are_stored(tmp_path: Path, astronaut: U8, suffix: str, orientation: int) -> None:
    """Labels know no orientation; Pillow turns TIFF on its own."""
    exif, path = Image.Exif(), tmp_path / f"a.{suffix}"
    exif[0x0112] = orientation
    Image.fromarray(astronaut).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    picture = read_picture(path)
    assert picture.notes == (f"EXIF orientation {orientation} not applied",)
    assert images.size_of(path) == (astronaut.shape[1], astronaut.shape[0])
    assert np.abs(picture.rgb.astype(int) - astronaut).mean() < (5 if suffix == "jpg" else 1e-9)


def test_what_else_a_picture_says_of_itself_is_noted(tmp_path: Path, astronaut: U8) -> None:
    image, path = Image.fromarray(astronaut), tmp_path / "a.jpg"
    for profile, notes in ((b"Display P3", ("ICC profile not applied",)), (b"s\0R\0G\0B", ())):
        image.save(path, icc_profile=profile)
        assert read_picture(path).notes == notes
    image.save(path, "MPO", save_all=True, append_images=[image.resize((8, 8))])
    assert read_picture(path).notes == ("the first of 2 pictures of the file taken",)
    assert read_picture(path).rgb.shape == astronaut.shape


def test_few_bits_a_sample(tmp_path: Path) -> None:
    """Pillow opens them all as 8 bits; 5-6-5 is what small cameras write."""
    path = tmp_path / "a.bmp"
    head = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    path.write_bytes(b"BM" + struct.pack("<IHHI", 70, 0, 0, 66) + head + struct.pack("<HH", 0xF81F, 0x07E0))
    picture = read_picture(path)
    assert picture.rgb.tolist() == [[[255, 0, 255], [0, 255, 0]]]
    assert picture.notes == ("fewer than 8 bits a sample, stretched over 0..255",)


def test_decompression_bombs_are_refused(tmp_path: Path) -> None:
    """A PNG header that promises 60000 x 60000 pixels in a hundred bytes."""
    path = tmp_path / "bomb.png"
    write_png(path, 60000, 60000, 8, 2, b"\0" * 64)
    with pytest.raises(JobError, match="bomb"):
        read_picture(path)
