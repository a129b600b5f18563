"""Pictures and maps that unpack into more than they are, say more than they hold, or are no pictures at all."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers import hostile
from tests.helpers.commands import JPEG
from tests.helpers.pictures import save
from vcmbench.data.dataset import read_picture
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import inputs, qp_map
from vcmbench.tasks.predictions import is_whole, prediction_key, read_prediction

Write = Callable[..., Path]
MIB = 1 << 20


def tiff(tags: list[tuple[int, int, int, int]], pictures: int = 1, data: bytes = b"") -> bytes:
    """A TIFF of so many directories with the same entries: tag, type, count, value."""
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    found = bytearray(b"II*\0" + struct.pack("<I", 8))
    for number in range(1, pictures + 1):
        following = 8 + number * (len(body) + 4) if number < pictures else 0
        found += body + struct.pack("<I", following)
    return bytes(found) + data


def gray(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, width * height),
    ]  # fmt: skip


def tiles() -> bytes:
    """10 x 10 pixels, in one tile of 2 ** 30."""
    packed = hostile.bomb(1 << 28)
    tags = [(256, 4, 1, 10), (257, 4, 1, 10), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1),
            (322, 4, 1, 1 << 15), (323, 4, 1, 1 << 15), (324, 4, 1, 134), (325, 4, 1, len(packed))]  # fmt: skip
    return tiff(tags, data=packed)


def scans() -> bytes:
    """A progressive JPEG that goes over its 16 million pixels a thousand times."""
    data = io.BytesIO()
    Image.new("L", (4000, 4000), 77).save(data, "JPEG", progressive=True)
    whole = data.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + 1000 * last + whole[-2:]


def exif() -> bytes:
    """A directory of 65535 entries, and 64 MiB after it."""
    entries = b"".join(struct.pack("<HHII", i, 2, 1 << 26, 8) for i in range(65535))
    return hostile.chunk(b"eXIf", b"II*\0" + struct.pack("<IH", 8, 65535) + entries + bytes(1 << 26))


SMALL = b"\0" * (8 * (8 * 3 + 1))
PICTURES: dict[str, Callable[[], bytes]] = {
    "a PNG of 60000 px": lambda: hostile.png(60_000, 60_000, b"x"),
    "a TIFF of 60000 px": lambda: tiff(gray(60_000, 60_000)),
    "a PPM of 60000 px": lambda: b"P6 60000 60000 255\n" + bytes(64),
    "a BMP of 60000 px": lambda: b"BM" + struct.pack("<IIIIiiHHIIIIII", 64, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
    "a WebP of no pixels": lambda: b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 18) + b"\x2f\xff",
    "a text chunk": lambda: hostile.png(8, 8, SMALL, hostile.chunk(b"zTXt", b"k\0\0" + hostile.bomb(1 << 28))),
    "text chunks": lambda: hostile.png(
        8, 8, SMALL, b"".join(hostile.chunk(b"zTXt", b"k%d\0\0" % i + hostile.bomb(1 << 20)) for i in range(70))
    ),
    "a text in UTF-8": lambda: hostile.png(
        8, 8, SMALL, hostile.chunk(b"iTXt", b"k\0\1\0\0\0" + hostile.bomb(1 << 28))
    ),
    "a colour profile": lambda: hostile.png(8, 8, SMALL, hostile.chunk(b"iCCP", b"k\0\0" + hostile.bomb(1 << 28))),
    "a tile": tiles,
    "many pictures": lambda: tiff(gray(1, 1), 50_000),
    "a circle of pictures": lambda: tiff(gray(1, 1), 2)[:-4] + struct.pack("<I", 8),
    "many scans": scans,
    "a program": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(id) (w) file showpage\n",
    "another format": lambda: b"8BPS\0\1" + bytes(64),
    "a lying length": lambda: hostile.png(8, 8, SMALL)[:33] + struct.pack(">I", 0x7FFFFFFF) + b"IDAT" + bytes(64),
    "nothing": lambda: b"",
}  # fmt: skip


@pytest.mark.parametrize("what", PICTURES)
def test_whatever_it_is(what: str, tmp_path: Path) -> None:
    """A picture, labels and predictions alike, in every one of the functions that read one."""
    path = tmp_path / "a.png"
    path.write_bytes(PICTURES[what]())
    for read in (
        read_picture,
        read_prediction,
        lambda path: inputs._read_png(path, ("L",), "an 8-bit gray PNG"),
        lambda path: inputs._check_size(path, path, 3, 3),
    ):
        try:
            with hostile.within(10):
                read(path)  # type: ignore[operator]
        except JobError as error:
            assert hostile.one_line(error).startswith(f"{path}: ")
        else:
            pytest.fail(f"{read} took it")
    with hostile.within(10):
        assert prediction_key(path) is None
        is_whole(path)  # whether it is does not matter here


@pytest.mark.parametrize("what", ["a pipe", "a folder", "a device", "three gigabytes", "a name too long", "nothing"])
def test_what_is_no_picture(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    if what == "a pipe":
        hostile.pipe(path)
    elif what == "a folder":
        path.mkdir()
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "three gigabytes":
        hostile.sparse(path, 3 * hostile.GIGABYTE, hostile.png(8, 8, SMALL))
    elif what == "a name too long":
        path = tmp_path / ("x" * 300 + ".png")
    for read in (read_picture, read_prediction, lambda path: inputs._read_png(path, ("L",), "gray")):
        with hostile.within(5), pytest.raises(JobError) as error:
            read(path)  # type: ignore[operator]
        hostile.one_line(error.value)
    with hostile.within(5):
        assert prediction_key(path) is None
        assert not is_whole(path)


def test_memory_stays_small(tmp_path: Path) -> None:
    """Whatever they say of themselves: all of them in one process, and labels that are read for a key."""
    for number, make in enumerate(PICTURES.values()):
        (tmp_path / f"{number}.png").write_bytes(make())
    (tmp_path / "exif.png").write_bytes(hostile.png(8, 8, SMALL, exif()))
    endless = hostile.png(8, 8)[:33] + hostile.chunk(b"IDAT", hostile.bomb(1 << 28)) + hostile.chunk(b"IEND", b"")
    (tmp_path / "rows.png").write_bytes(endless)
    hostile.sparse(tmp_path / "sparse.png", 3 * hostile.GIGABYTE, hostile.png(8, 8, SMALL))
    hostile.sparse(tmp_path / "labels.png", 1 << 28, hostile.png(8, 8, SMALL))
    peak, told = hostile.peak_mib(
        """
        import sys, warnings
        from pathlib import Path
        warnings.simplefilter("ignore")
        from vcmbench.data.dataset import Source, read_picture
        from vcmbench.errors import JobError
        from vcmbench.importance.inputs import digest_of_files
        from vcmbench.tasks.predictions import prediction_key
        refused = 0
        for path in sorted(Path(sys.argv[1]).glob("*.png")):
            prediction_key(path)
            if path.name == "labels.png":
                digest_of_files("", [("labels", path)])
                continue
            try:
                read_picture(path)
            except JobError:
                refused += 1
        print(refused)
        """,
        tmp_path,
    )
    assert int(told) >= len(PICTURES) + 1
    assert peak < 600


def npy(header: str, version: bytes = b"\1\0", length: int | None = None) -> bytes:
    form = "<H" if version == b"\1\0" else "<I"
    return b"\x93NUMPY" + version + struct.pack(form, len(header) if length is None else length) + header.encode()


def shaped(shape: str, kind: str = "'<f4'") -> bytes:
    return npy(f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n") + bytes(64)


MAPS: dict[str, bytes] = {
    "a terabyte": shaped("(1000000, 1000000)"),
    "more than there is": shaped("(10**30, 10**30)"),
    "many sides": shaped(f"({'1, ' * 70})"),
    "less than nothing": shaped("(-1, -1)"),
    "objects": shaped("(2, 2)", "'|O'"),
    "pickled objects": shaped("(1,)", "'|O'") + b"\x80\x04c" + b"os\nsystem\n(S'touch trap'\ntR.",
    "fields": shaped("(2, 2)", "[('a', '<f4'), ('b', '|O')]"),
    "a long text": shaped("(2, 2)", "'<U1000000'"),
    "a header of gigabytes": npy("", b"\2\0", 0xFFFFFFF0),
    "a header of gigabytes, version 3": npy("", b"\3\0", 0xFFFFFFF0),
    "a header of brackets": npy("[" * 9000),
    "a header of minus signs": npy("-" * 9000 + "1"),
    "a header of powers": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9**9**9, 1)}"),
    "another version": npy("{}", b"\x09\0"),
    "a magic alone": b"\x93NUMPY",
}


@pytest.mark.parametrize("what", MAPS)
def test_importance_maps(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.npy"
    path.write_bytes(MAPS[what])
    if "gigabytes" in what:
        os.truncate(path, 5 * hostile.GIGABYTE)
    with hostile.within(10), pytest.raises(RequestError) as error:
        qp_map.load_importance(path)
    assert hostile.one_line(error.value).startswith(f"{path}: ")
    assert os.listdir(tmp_path) == ["a.npy"], "nothing was run"


def test_memory_of_maps_stays_small(tmp_path: Path) -> None:
    for number, content in enumerate(MAPS.values()):
        path = tmp_path / f"{number}.npy"
        path.write_bytes(content)
        os.truncate(path, 5 * hostile.GIGABYTE)
    hostile.sparse(tmp_path / "a.csv", 5 * hostile.GIGABYTE)
    peak, told = hostile.peak_mib(
        """
        import sys
        from pathlib import Path
        from vcmbench.errors import RequestError
        from vcmbench.importance import qp_map
        refused = 0
        for path in sorted(Path(sys.argv[1]).iterdir()):
            try:
                qp_map.read_csv(path) if path.suffix == ".csv" else qp_map.load_importance(path)
            except RequestError:
                refused += 1
        print(refused)
        """,
        tmp_path,
    )
    assert int(told) == len(MAPS) + 1
    assert peak < 400


@pytest.mark.parametrize("make", [hostile.pipe, Path.mkdir, lambda path: path.symlink_to("/dev/zero")], ids="pfd")
def test_maps_that_are_no_files(make: Callable[[Path], object], photos: Path, write_experiment: Write) -> None:
    """Maps of one's own in a run: the job fails, nothing waits, and the other pictures finish."""
    good = np.zeros((256, 320), np.float32)
    (photos / "importance_map").mkdir()
    np.save(photos / "importance_map/b_importance.npy", good)
    make(photos / "importance_map/a_importance.npy")
    head = '[importance]\nsource = "files"'
    config = write_experiment(
        'encoder = "jpeg"\nquality = [50]\nqp_map = { delta = 3, method = "prefilter" }', head=head
    )
    with hostile.within(60):
        done = hostile.compress(photos, config)
    assert done.code == 1, done.err
    assert {event["bitstream"].rpartition("/")[2]: event["state"] for event in done.events} == {
        "a.jpg": "failed",
        "b.jpg": "done",
    }
    assert "Traceback" not in done.err
    assert "a_importance.npy" in done.err


CSVS = {
    "one line": b"1," * 100_000,
    "no numbers": b"a,b\nc,d\n",
    "a long number": b"9" * 1_000_000,
    "no rectangle": b"1,2\n3\n",
    "NUL": b"1,\0\n",
    "other digits": "١,٢\n".encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("what", CSVS)
def test_qp_maps(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(CSVS[what])
    with hostile.within(10), pytest.raises(RequestError) as error:
        qp_map.read_csv(path)
    assert hostile.one_line(error.value).startswith(f"{path}")


def test_a_run_names_them_and_goes_on(photos: Path, write_experiment: Write) -> None:
    """Each bad picture fails alone, with exit code 1, and again when the run is typed again."""
    bad = {f"{number:02}.png": make for number, make in enumerate(PICTURES.values())}
    for name, make in bad.items():
        (photos / name).write_bytes(make())
    hostile.sparse(photos / "sparse.png", 3 * hostile.GIGABYTE, hostile.png(8, 8, SMALL))
    (photos / "exif.png").write_bytes(hostile.png(8, 8, SMALL, exif()))
    hostile.pipe(photos / "pipe.png")
    config = write_experiment(JPEG)
    for good in ("done", "resumed"):
        with hostile.within(60):
            done = hostile.compress(photos, config)
        assert done.code == 1, done.err
        assert "Traceback" not in done.err
        assert "Warning" not in done.err
        states = {Path(event["bitstream"]).stem: event["state"] for event in done.events}
        failed = dict.fromkeys([*(Path(name).stem for name in bad), "sparse"], "failed")
        assert states == {"a": good, "b": good, "exif": good, **failed}


def test_labels_of_a_scene(streets: Path, tmp_path: Path) -> None:
    """Of three pictures one has labels that unpack into gigabytes, one a gigabyte of camera."""
    scene = streets / "cityscapes"
    for part, ending, depth in (("gtFine", "gtFine_labelIds", 1), ("gtFine", "gtFine_instanceIds", 1),
                                ("disparity", "disparity", 2)):  # fmt: skip
        for path in (scene / "leftImg8bit/val/frankfurt").iterdir():
            name = path.name.replace("leftImg8bit", ending)
            values = np.full((128, 192), 7 if part == "gtFine" else 900, np.uint8 if depth == 1 else np.uint16)
            save(scene / part / "val/frankfurt" / name, values)
    names = sorted(
        path.name.removesuffix("_leftImg8bit.png") for path in (scene / "leftImg8bit/val/frankfurt").iterdir()
    )
    (scene / f"gtFine/val/frankfurt/{names[0]}_gtFine_labelIds.png").write_bytes(hostile.png(60_000, 60_000, b"x"))
    hostile.sparse(scene / f"camera/val/frankfurt/{names[1]}_camera.json")
    with hostile.within(60):
        done = hostile.typed("importance", "-d", streets, "--cities", "frankfurt", "--json")
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    states = {json.loads(line)["image"].rpartition("/")[2]: json.loads(line)["state"] for line in done.out.splitlines()}
    assert states == {names[0]: "failed", names[1]: "failed", names[2]: "done"}
    assert not list((streets / "importance_map").rglob(f"{names[0]}*"))
