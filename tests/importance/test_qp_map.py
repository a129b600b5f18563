"""QP maps: against a reference in plain loops, by their properties, and with whatever can be wrong with input."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tests.helpers.commands import tree, type_command
from tests.helpers.pictures import save
from vcmbench.errors import RequestError
from vcmbench.importance import qp_map

SETTINGS = settings(max_examples=60, deadline=None)
importances = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24), elements=st.floats(0, 1, width=32)
)
means_of_blocks = hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.floats(0, 1))
scalings = st.sampled_from(qp_map.SCALINGS)
gammas = st.floats(0.1, 10)


def gradient(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.arange(height * width) / (height * width - 1)).reshape(height, width).astype(np.float32)


def reference(importance: Any, size: int, base: int, delta: int, scaling: str, gamma: float) -> list[list[int]]:
    """The published rule with Python's own numbers, one block at a time."""
    height, width = importance.shape
    means = [
        [
            sum(float(importance[y, x]) for y in range(top, top + size) for x in range(left, left + size)) / size**2
            for left in range(0, width, size)
        ]
        for top in range(0, height, size)
    ]
    flat = [mean for row in means for mean in row]
    low, high = (min(flat), max(flat)) if scaling == "minmax" else (0.0, 1.0)
    share = [[(mean - low) / (high - low) if high > low else 0.0 for mean in row] for row in means]
    return [[round((base + delta) - n**gamma * 2 * delta) for n in row] for row in share]


@pytest.mark.parametrize("scaling", qp_map.SCALINGS)
@pytest.mark.parametrize("gamma", [1, 0.5, 2.2])
def test_is_what_the_published_rule_gives(scaling: str, gamma: float) -> None:
    importance = np.random.default_rng(5).random((48, 80)).astype(np.float32) ** 2
    found = qp_map.qp_map(importance, 8, 32, 7, scaling, gamma)
    assert found.dtype == np.int64
    assert found.tolist() == reference(importance, 8, 32, 7, scaling, gamma)


def test_values_done_by_hand() -> None:
    importance = np.repeat(np.repeat(np.float32([[0, 0.25, 0.5], [0.75, 0.625, 0.5]]), 8, 0), 8, 1)
    # absolute: 35 - 6 n = 35 33.5 32 / 30.5 31.25 32, halves to the even number
    assert qp_map.qp_map(importance, 8, 32, 3, "absolute").tolist() == [[35, 34, 32], [30, 31, 32]]
    # minmax: 0.75 becomes 1, so 35 - 8 n = 35 33 31 / 29 30 31
    assert qp_map.qp_map(importance, 8, 32, 3, "minmax").tolist() == [[35, 33, 31], [29, 30, 31]]
    # gamma 2: 35 - 6 n^2
    assert qp_map.qp_map(importance, 8, 32, 3, "absolute", 2).tolist() == [[35, 35, 34], [32, 33, 34]]


@pytest.mark.parametrize(("scaling", "qp"), [("minmax", 35), ("absolute", 30)])
def test_a_flat_map(scaling: str, qp: int) -> None:
    """Under minmax it has nothing to stretch, and gets base + delta as in the published code."""
    assert np.all(qp_map.qp_map(np.full((32, 64), 0.75, np.float32), 16, 32, 3, scaling) == qp)


def test_a_delta_that_is_no_whole_number_is_not_rounded_out_of_its_range() -> None:
    found = qp_map.qp_map(gradient(16, 64), 8, 29, 2.5)
    assert (found.min(), found.max()) == (27, 31)


@SETTINGS
@given(means_of_blocks, st.floats(0, 60), scalings, gammas)
def test_offsets_fall_with_importance_and_stay_in_range(means: Any, delta: float, scaling: str, gamma: float) -> None:
    offsets = qp_map.qp_offsets(means, delta, scaling, gamma)
    assert offsets.shape == means.shape
    assert np.all(np.abs(offsets) <= delta * (1 + 1e-12))
    order = np.argsort(means, axis=None)
    assert np.all(np.diff(offsets.ravel()[order]) <= 0)


@SETTINGS
@given(importances, st.integers(1, 24), st.integers(3, 48), st.integers(0, 3), scalings, gammas)
def test_a_block_of_higher_mean_never_gets_a_higher_qp(
    small: Any, size: int, base: int, delta: int, scaling: str, gamma: float
) -> None:
    importance = np.repeat(np.repeat(small, size, 0), size, 1)
    found = qp_map.qp_map(importance, size, base, delta, scaling, gamma)
    assert found.min() >= base - delta and found.max() <= base + delta
    order = np.argsort(qp_map.block_means(importance, size), axis=None)
    assert np.all(np.diff(found.ravel()[order]) <= 0)


@SETTINGS
@given(importances, st.integers(1, 30))
def test_means_are_of_what_a_block_has(importance: Any, size: int) -> None:
    found = qp_map.block_means(importance, size)
    height, width = importance.shape
    for i, top in enumerate(range(0, height, size)):
        for j, left in enumerate(range(0, width, size)):
            block = [float(value) for value in importance[top : top + size, left : left + size].ravel()]
            assert found[i, j] == pytest.approx(sum(block) / len(block), abs=1e-12)
    assert found.shape == (-(-height // size), -(-width // size))


@SETTINGS
@given(st.floats(0, 1, width=32), st.integers(1, 40), st.integers(1, 70), st.integers(1, 70))
def test_the_mean_of_a_constant_is_the_constant(value: float, size: int, height: int, width: int) -> None:
    means = qp_map.block_means(np.full((height, width), value, np.float32), size)
    assert np.allclose(means, value, rtol=1e-15, atol=0)


def test_means_of_many_small_numbers_are_exact() -> None:
    """A sum of float32 numbers in float32 would be off by more than 1e-5 here."""
    importance = np.full((2048, 2048), 0.1, np.float32)
    assert qp_map.block_means(importance, 2048)[0, 0] == pytest.approx(float(np.float32(0.1)), abs=1e-12)


@SETTINGS
@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(-99, 999)))
def test_csv_there_and_back(tmp_path_factory: Any, qp: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "there_and_back.csv"
    qp_map.write_csv(path, qp)
    assert np.array_equal(qp_map.read_csv(path), qp)
    lines = path.read_text().splitlines()
    assert lines == [",".join(map(str, row)) for row in qp.tolist()]  # no header, a line a row


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("1,2\n3\n", "line 2: 1 values, line 1 has 2"),
        ("1,2\n3,4.5\n", "line 2, value 2: '4.5' is no whole number"),
        ("qp,qp\n1,2\n", "line 1, value 1: 'qp' is no whole number"),
        ("1,,3\n", "value 2: '' is no whole number"),
        ("1,\u0663\n", "value 2"),  # a digit, but of another script
        ("1,99999999999999999999\n", "no whole number"),
    ],
)
def test_a_csv_that_is_no_map(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "map.csv"
    path.write_text(text)
    with pytest.raises(RequestError, match=r"map\.csv") as found:
        qp_map.read_csv(path)
    assert complaint in str(found.value)


def test_a_csv_as_others_write_it(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    path.write_bytes(b"29, 30\r\n31, +32\r\n")
    assert qp_map.read_csv(path).tolist() == [[29, 30], [31, 32]]


def test_a_huge_csv_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "map.csv"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(RequestError, match="at most"):
        qp_map.read_csv(path)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.float32([[0, 0.5], [np.nan, 1]]), "nan in row 1, column 0 is not within"),
        (np.float32([[0, 0.5], [0, np.inf]]), "inf in row 1, column 1"),
        (np.float32([[0, -0.5], [0, 7]]), "-0.5 in row 0, column 1"),
        (np.array([[0, 1.0000000001]]), "1.0000000001 in row 0, column 1"),  # which float32 would not tell from 1
        (np.array([[0, 255]], np.uint8), "255 in row 0, column 1"),
        (np.zeros((2, 2, 3)), r"\(2, 2, 3\)"),
        (np.zeros(4), r"\(4,\)"),
        (np.zeros((0, 4)), r"\(0, 4\)"),
        (np.array([["a"]]), "holds <U1"),
        (np.array([[1j]]), "holds complex128"),
        (np.array([[None]]), "holds object"),
    ],
)
def test_importance_that_is_none(values: Any, complaint: str) -> None:
    with pytest.raises(RequestError, match=f"^a map: .*{complaint}"):
        qp_map.check_importance(values, "a map")


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.bool_])
def test_importance_of_other_types_is_taken(dtype: Any) -> None:
    found = qp_map.check_importance(np.array([[0, 1]], dtype))
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"block_size_px": 48}, "block size 48 does not divide 96x64 px; 8 16 32 would"),
        ({"block_size_px": 0}, "block size 0"),
        ({"block_size_px": 8.0}, "block size 8.0"),
        ({"base_qp": 50}, r"base QP 50 with delta 3: 47..53 leaves the codec's QP range 0..51"),
        ({"base_qp": 2}, "-1..5 leaves"),
        ({"qp_range": (1, 63), "base_qp": 61}, "58..64 leaves the codec's QP range 1..63"),
        ({"base_qp": 32.5}, "must be a whole number"),
        ({"delta": -1}, "delta -1"),
        ({"delta": float("nan")}, "delta nan"),
        ({"gamma": 0}, "gamma 0"),
        ({"gamma": float("inf")}, "gamma inf"),
        ({"scaling": "linear"}, "scaling 'linear': must be one of minmax absolute"),
    ],
)
def test_settings_that_cannot_be(changed: dict[str, Any], complaint: str) -> None:
    asked: dict[str, Any] = {"block_size_px": 16, "base_qp": 32, "delta": 3} | changed
    with pytest.raises(RequestError, match=complaint):
        qp_map.qp_map(gradient(64, 96), **asked)


def test_a_size_that_no_usual_block_divides() -> None:
    with pytest.raises(RequestError, match="nor do 8 16 32 64"):
        qp_map.qp_map(gradient(30, 50), 16, 32, 3)


def _npy(path: Path, header: str, data: bytes = b"") -> None:
    text = header.ljust(117).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("-" * 9000, "header"),
        ("1+" * 4500 + "1", "header"),
        ("{[]: 1}", "unhashable"),
        ("{'descr': (), 'fortran_order': False, 'shape': (4, 4)}", "index"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True, True)}", "integer"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 16)}", "integer"),
        (
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427387904)}",
            "more pixels",
        ),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1if 1else 2, 4)}", "malformed"),
    ],
    ids=lambda text: text[-30:],
)
def test_a_hostile_header_is_one_line(tmp_path: Path, header: str, complaint: str) -> None:
    path = tmp_path / "hostile.npy"
    _npy(path, header, bytes(64))
    with pytest.raises(RequestError) as found:
        qp_map.load_importance(path)
    assert str(found.value).startswith(f"{path}: ")
    assert complaint in str(found.value)
    read = "from vcmbench.importance.qp_map import load_importance; load_importance(Path(sys.argv[1]))"
    code = f"import sys; from pathlib import Path; {read}"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60)
    assert "Warning" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("vcmbench.errors.RequestError: ")


def test_files_that_hold_no_importance(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", gradient(8, 8))
    np.savez(tmp_path / "archive.npz", gradient(8, 8))
    whole = (tmp_path / "good.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-1])
    (tmp_path / "header.npy").write_bytes(whole[:50])
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_text("0.5 0.5\n")
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps([[0.5]]))
    np.save(tmp_path / "objects.npy", np.array([[None]]), allow_pickle=True)
    _npy(tmp_path / "huge.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000)}")
    _npy(tmp_path / "negative.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, 4)}", bytes(64))
    _npy(tmp_path / "code.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (print(1), 4)}", bytes(64))
    _npy(tmp_path / "brackets.npy", "((((((", bytes(64))
    _npy(tmp_path / "sparse.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (1048576, 1048576)}")
    with (tmp_path / "sparse.npy").open("r+b") as file:  # all there, in a file system that keeps no zeros
        file.truncate(128 + (4 << 40))
    (tmp_path / "folder.npy").mkdir()
    assert qp_map.load_importance(tmp_path / "good.npy").shape == (8, 8)
    bad = sorted(set(tmp_path.iterdir()) - {tmp_path / "good.npy"})
    assert len(bad) == 13
    for path in [*bad, tmp_path / "missing.npy"]:
        with pytest.raises(RequestError) as found:
            qp_map.load_importance(path)
        assert str(found.value).startswith(f"{path}: ")
        assert "\n" not in str(found.value)


@pytest.fixture
def importance(tmp_path: Path) -> Path:
    path = tmp_path / "maps" / "a_importance.npy"
    path.parent.mkdir()
    np.save(path, gradient(64, 128))
    return path


def test_the_function_of_the_published_example(importance: Path, tmp_path: Path) -> None:
    found = qp_map.generate_qp_map_csv(
        importance_map_path=str(importance),
        output_csv_path=str(tmp_path / "out" / "a_qp_map.csv"),
        block_size=16,
        base_qp=32,
        delta=3,
    )
    assert sorted(tree(tmp_path / "out")) == ["a_qp_map.csv", "a_qp_map_vis.png"]
    assert np.array_equal(qp_map.read_csv(tmp_path / "out" / "a_qp_map.csv"), found)
    assert (found.min(), found.max()) == (29, 35)


def test_the_picture_shows_low_qps_blue_and_high_ones_yellow(importance: Path, tmp_path: Path) -> None:
    target = tmp_path / "a_qp_map.csv"
    qp_map.generate_qp_map_csv(importance, target, 16, 32, 3)
    first = qp_map.vis_path(target).read_bytes()
    qp_map.generate_qp_map_csv(importance, target, 16, 32, 3)
    assert qp_map.vis_path(target).read_bytes() == first
    with Image.open(qp_map.vis_path(target)) as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    # the gradient's least important block is at the upper left, its most important one at the lower right
    height, width = picture.shape[:2]
    assert (width, height) == (1180, 585)
    red, green, blue = picture[60, 110]
    assert red > 200 and green > 200 and blue < 100
    red, green, blue = picture[500, 1040]
    assert red < 100 and green < 50 and blue > 60
    # and the bar beside it goes through all seven QPs
    bar = picture[30:520, 1105]
    assert len(np.unique(bar[np.any(bar != bar[:, :1], axis=1)], axis=0)) >= 7


def test_a_map_of_another_size_than_its_picture(importance: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is 128x64 px, the picture is 128x96 px"):
        qp_map.generate_qp_map_csv(importance, tmp_path / "out.csv", 16, 32, 3, image_size=(128, 96))
    assert not (tmp_path / "out.csv").exists()


def test_one_map_as_typed(importance: Path, tmp_path: Path, astronaut: Any) -> None:
    picture = save(tmp_path / "a.png", astronaut[:64, :128])
    target = tmp_path / "b_qp_map.csv"
    words = ("qpmap", importance, "--base-qp", 50, "--delta", 9, "--scaling", "absolute", "--gamma", 2, "--codec")
    done = type_command(*words, "vvenc", "-o", target, "--image", picture)
    assert done.code == 0, done.err
    expected = qp_map.qp_map(np.load(importance), 16, 50, 9, "absolute", 2, (0, 63))
    assert np.array_equal(qp_map.read_csv(target), expected)
    assert qp_map.vis_path(target).is_file()
    refused = type_command(*words, "x265", "-o", tmp_path / "c.csv")
    assert refused.code == 2
    assert refused.err == ("vcmbench: error: base QP 50 with delta 9: 41..59 leaves the codec's QP range 0..51\n")
    assert not (tmp_path / "c.csv").exists()


def test_a_full_disk_names_the_file(importance: Path, tmp_path: Path) -> None:
    def few_bytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))

    for more, name in ((["--no-picture"], "a_qp_map.csv"), ([], "a_qp_map_vis.png")):
        target = tmp_path / "out" / "a_qp_map.csv"
        words = ("qpmap", importance, "-o", target, "--base-qp", 32, "--delta", 3, *more)
        done = type_command(*words, preexec_fn=few_bytes)
        assert done.code == 1
        assert done.err.splitlines()[-1] == f"vcmbench: error: {target.parent / name}: File too large"
        assert not tree(target.parent)


@pytest.mark.parametrize(("base", "delta", "flat_at"), [(30, 0.5, 30), (31, 0.5, 31), (30, 1, None), (30, 0, None)])
def test_a_delta_that_is_rounded_away_is_said(
    importance: Path, tmp_path: Path, base: int, delta: float, flat_at: int | None, capsys: Any
) -> None:
    from vcmbench import cli

    np.save(importance.with_name("flat.npy"), np.full((64, 128), 0.3))
    words = ["qpmap", importance.parent, "-o", tmp_path, "--base-qp", base, "--delta", delta, "--no-picture"]
    assert cli.main(list(map(str, words))) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note")]
    found = qp_map.read_csv(tmp_path / "a_qp_map.csv")
    if flat_at is None:
        assert not notes
    else:
        assert np.all(found == flat_at)
        (note,) = notes
        assert f"{tmp_path / 'a_qp_map.csv'}: QP {flat_at} everywhere" in note and f"--delta {delta:g}" in note


def test_a_pipe_is_no_picture(importance: Path, tmp_path: Path, capsys: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    code, said = _typed(capsys, importance, "-o", tmp_path / "out", "--image", tmp_path / "pipe")
    assert (code, said) == (2, f"vcmbench: error: --image {tmp_path}/pipe: is no file\n")


def test_a_folder_as_typed(importance: Path, tmp_path: Path) -> None:
    """The bad one is named, the others finish."""
    np.save(importance.with_name("bad.npy"), np.full((64, 128), 2.0))
    (importance.parent / "val").mkdir()
    np.save(importance.parent / "val" / "b_importance.npy", gradient(32, 32))
    done = type_command(
        "qpmap", importance.parent, "-o", tmp_path / "out", "--base-qp", 32, "--delta", 3, "--no-picture"
    )
    assert done.code == 1
    assert f"failed: {importance.parent}/bad.npy: 2.0 in row 0, column 0 is not within [0, 1]" in done.err
    assert "2 done, 1 failed" in done.err
    assert sorted(tree(tmp_path / "out")) == ["a_qp_map.csv", "val/b_qp_map.csv"]


def _typed(capsys: Any, *words: object) -> tuple[int, str]:
    from vcmbench import cli

    code = cli.main(["qpmap", *map(str, words), "--base-qp", "32", "--delta", "3"])
    return code, capsys.readouterr().err


def test_requests_that_cannot_be(importance: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    (tmp_path / "file").write_text("")
    (tmp_path / "none").mkdir()
    np.save(importance.with_name("a.npy"), gradient(8, 8))
    for words, complaint in [
        ((tmp_path / "no.npy", "-o", out), "no.npy: no such file or folder"),
        ((tmp_path / "none", "-o", out), "holds no .npy files"),
        ((importance.parent, "-o", tmp_path / "out.csv"), "several maps go to a folder"),
        ((importance, "-o", tmp_path / "file"), "several maps go to a folder"),
        ((importance.parent, "-o", out), "would both become"),
        ((importance, "-o", out, "--codec", "jpeg"), "high is better"),
        ((importance, "-o", out, "--codec", "none"), "has no quality scale"),
        ((importance, "-o", out, "--codec", "mpeg2"), "unknown"),
        ((importance, "-o", out, "--image", tmp_path / "file"), "not an image"),
        ((importance, "-o", out, "--block-size", "24"), "does not divide"),
        ((importance, "-o", out, "--gamma", "-1"), "gamma -1"),
    ]:
        code, said = _typed(capsys, *words)
        assert code == 2
        assert complaint in said
        assert len(said.splitlines()) == 1
    assert not out.exists() and not (tmp_path / "out.csv").exists()
