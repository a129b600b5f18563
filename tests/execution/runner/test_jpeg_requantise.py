"""Coarser JPEG blocks, quantiser tables, and AV1 out of IVF: what is done to bitstreams after their encoder."""

from __future__ import annotations

import io
import itertools
import struct
import subprocess
import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jpeglib
import numpy as np
import pytest
from PIL import Image

from vcmbench.encoder import jpeg_tables
from vcmbench.execution.runner import builtin, jpeg_requantise

SAMPLINGS = ("420", "422", "444", "400")


@pytest.fixture
def ppm(tmp_path: Path, astronaut: Any) -> Path:
    """301x205 pixels: no multiple of a block."""
    path = tmp_path / "in.ppm"
    Image.fromarray(astronaut[:205, :301]).save(path)
    return path


def encode(ppm: Path, *options: object, name: str = "fine.jpg") -> Path:
    builtin.run(["pillow-jpeg", "encode", *map(str, options), ppm.name, name], ppm.parent)
    return ppm.parent / name


def coefficients(path: Path) -> list[Any]:
    jpeg = jpeglib.read_dct(str(path))
    return [getattr(jpeg, name) for name in ("Y", "Cb", "Cr")[: jpeg.num_components]]


def coarser(fine: Path, excess: Any, block: int = 16) -> Path:
    target = fine.with_name("coded.jpg")
    jpeg_requantise.requantise(fine, target, np.asarray(excess, np.float64), block)
    return target


def psnr(path: Path, original: Path) -> float:
    with Image.open(path) as found, Image.open(original) as wanted:
        error = np.asarray(found.convert("L")).astype(float) - np.asarray(wanted.convert("L"))
    return float(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.parametrize("quality", [1, 2, 10, 24, 30, 49, 50, 51, 75, 90, 99, 100])
def test_tables_are_those_of_libjpeg(quality: int) -> None:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "JPEG", quality=quality)
    with Image.open(data) as image:
        wanted = image.quantization  # type: ignore[attr-defined]
    for table, found in zip((wanted[0], wanted[1]), jpeg_tables.scaled_tables(quality), strict=True):
        assert found.shape == (8, 8)
        assert found.ravel().tolist() == list(table)


def test_six_steps_double_the_tables() -> None:
    for plain, coarse, fine in zip(*(jpeg_tables.scaled_tables(50, steps) for steps in (0, 6, -6)), strict=True):
        assert np.array_equal(coarse, np.minimum(2 * plain, 255))
        assert np.array_equal(fine, (plain + 1) // 2)
    for extreme, value in ((60, 255), (-60, 1)):
        assert all(np.all(table == value) for table in jpeg_tables.scaled_tables(50, extreme))
    assert jpeg_tables.scaled_tables(100, 6 * 5)[0].max() > 1
    for quality, steps in ((0, 0), (101, 0), (50, 61), (50, float("nan"))):
        with pytest.raises(ValueError, match=r"must be"):
            jpeg_tables.scaled_tables(quality, steps)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_tables_of_a_file_give_the_bytes_of_their_quality(ppm: Path, sampling: str) -> None:
    (ppm.parent / "tables.txt").write_text("# luma, chroma\n" + jpeg_tables.tables_text(*jpeg_tables.scaled_tables(37)))
    plain = encode(ppm, "--quality", 37, "--sampling", sampling)
    tables = encode(ppm, "--qtables", "tables.txt", "--sampling", sampling, name="tables.jpg")
    assert tables.read_bytes() == plain.read_bytes()


@pytest.mark.parametrize("text", ["", "1 2 3", "1 " * 65, "0 " * 64, "256 " * 128, "-1 " * 64, "a " * 64])
def test_tables_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="quantiser tables"):
        jpeg_tables.read_tables(text)


def test_tables_and_quality_are_one_too_many(ppm: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        encode(ppm, "--quality", 30, "--qtables", "tables.txt")


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_without_excess_only_the_huffman_tables_are_optimised(ppm: Path, sampling: str) -> None:
    fine = encode(ppm, "--quality", 60, "--sampling", sampling)
    optimised = encode(ppm, "--quality", 60, "--optimize", "--sampling", sampling, name="optimised.jpg")
    assert coarser(fine, np.zeros((13, 19))).read_bytes() == optimised.read_bytes()


@pytest.mark.parametrize(("quality", "saved"), [(5, 0.3), (20, 0.1), (80, 0.02)])
def test_optimised_huffman_tables_change_no_pixel(ppm: Path, quality: int, saved: float) -> None:
    plain = encode(ppm, "--quality", quality)
    optimised = encode(ppm, "--quality", quality, "--optimize", name="optimised.jpg")
    assert optimised.stat().st_size < (1 - saved) * plain.stat().st_size
    with Image.open(plain) as one, Image.open(optimised) as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_noise_at_its_finest_is_optimised_too(tmp_path: Path) -> None:
    """Pillow gathers an optimised file in a buffer, by itself one that is too small for this."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in.ppm")
    coded = encode(tmp_path / "in.ppm", "--quality", 100, "--optimize", "--sampling", "444")
    assert psnr(coded, tmp_path / "in.ppm") > 50


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_only_blocks_with_excess_change(ppm: Path, sampling: str) -> None:
    fine = encode(ppm, "--quality", 60, "--sampling", sampling)
    excess = np.zeros((13, 19))
    excess[4:, 7:] = 12
    coded = coarser(fine, excess)
    plain = encode(ppm, "--quality", 60, "--optimize", "--sampling", sampling, name="plain.jpg")
    assert coded.stat().st_size < 0.85 * plain.stat().st_size
    for before, after in zip(coefficients(fine), coefficients(coded), strict=True):
        per_block = np.repeat(np.repeat(excess, before.shape[0] // 13, 0), before.shape[1] // 19, 1)
        assert np.array_equal(before[per_block == 0], after[per_block == 0])
        assert np.array_equal(before[..., 0, 0], after[..., 0, 0])
        assert np.all(np.abs(after) <= np.abs(before))
        assert np.all(after.astype(int) * before >= 0)
        assert np.any(before[per_block > 0] != after[per_block > 0])
    with Image.open(coded) as image:
        image.load()
        assert image.size == (301, 205)


def test_more_excess_costs_fewer_bytes_and_more_quality(ppm: Path) -> None:
    fine = encode(ppm, "--quality", 75)
    sizes, qualities = [fine.stat().st_size], [psnr(fine, ppm)]
    for excess in (0.5, 1, 2, 4, 6, 9, 12, 18, 30, 60):
        coded = coarser(fine, np.full((13, 19), excess))
        sizes.append(coded.stat().st_size)
        qualities.append(psnr(coded, ppm))
    assert sizes == sorted(sizes, reverse=True)
    assert qualities == sorted(qualities, reverse=True)
    assert not any(np.any(plane.reshape(-1, 64)[:, 1:]) for plane in coefficients(fine.with_name("coded.jpg")))


@pytest.mark.parametrize("excess", [3, 6])
def test_costs_no_more_than_a_plain_jpeg_of_that_size(ppm: Path, excess: int) -> None:
    """Rounding to multiples of the coarser step would lose more than a decibel here."""
    coded = coarser(encode(ppm, "--quality", 60), np.full((13, 19), float(excess)))
    plain = [encode(ppm, "--quality", quality, "--optimize", name=f"{quality}.jpg") for quality in range(20, 60, 2)]
    largest = [path for path in plain if path.stat().st_size <= coded.stat().st_size][-1]
    assert psnr(coded, ppm) > psnr(largest, ppm)


def test_chooses_what_costs_least(ppm: Path) -> None:
    """Against all choices, for blocks of up to four nonzero coefficients."""
    rng = np.random.default_rng(1)
    bits, end = jpeg_requantise._bits(jpeglib.read_dct(str(encode(ppm, "--quality", 50))).huffmans[0]["AC"])
    weights = rng.uniform(0.5, 3, 63)
    blocks = np.zeros((80, 63), np.int64)
    for block in blocks:
        where = rng.choice(63, rng.integers(1, 5), replace=False)
        block[where] = rng.integers(1, 20, len(where)) * rng.choice([-1, 1], len(where))
    slopes = rng.uniform(0.1, 30, len(blocks))

    def cost(block: Any, choice: Any, slope: float) -> float:
        where = np.flatnonzero(choice)
        zeros = np.diff(where, prepend=-1) - 1
        spent = sum(bits[z, int(abs(choice[w])).bit_length()] for z, w in zip(zeros, where, strict=True))
        spent += end * (len(where) == 0 or where[-1] < 62)
        return float(np.sum((block - choice) ** 2 * weights) + slope * spent)

    found = jpeg_requantise._cheapest(blocks, slopes, weights, bits, end)
    for block, choice, slope in zip(blocks, found, slopes, strict=True):
        where = np.flatnonzero(block)
        options = []
        for value in block[where]:
            lower = np.sign(value) * (2 ** (int(abs(value)).bit_length() - 1) - 1)
            options.append((value, lower, 0))
        costs = []
        for values in itertools.product(*options):
            tried = np.zeros(63, np.int64)
            tried[where] = values
            costs.append(cost(block, tried, slope))
        assert cost(block, choice, slope) == pytest.approx(min(costs))


def test_counts_the_bits_that_a_file_has(ppm: Path) -> None:
    fine = encode(ppm, "--quality", 80, "--sampling", "400")
    jpeg = jpeglib.read_dct(str(coarser(fine, np.full((13, 19), 9.0))))
    jpeg.load()
    jpeg.markers, jpeg.qt = [], -1
    coded = fine.with_name("standard.jpg")
    jpeg.write_dct(str(coded))  # with the tables that bits are counted by
    bits, end = jpeg_requantise._bits(jpeglib.read_dct(str(fine)).huffmans[0]["AC"])

    def spent(path: Path) -> float:
        total = 0.0
        for block in coefficients(path)[0].reshape(-1, 64)[:, jpeg_requantise._ZIGZAG[1:]]:
            where = np.flatnonzero(block)
            zeros = np.diff(where, prepend=-1) - 1
            total += sum(bits[z, int(abs(block[w])).bit_length()] for z, w in zip(zeros, where, strict=True))
            total += end * (len(where) == 0 or where[-1] < 62)
        return total

    saved = fine.stat().st_size - coded.stat().st_size
    assert (spent(fine) - spent(coded)) / 8 == pytest.approx(saved, rel=0.01)


def test_a_chroma_block_takes_the_mean_of_what_it_covers() -> None:
    values = np.array([[0.0, 2, 4], [6, 8, 10], [1, 3, 5]])
    assert jpeg_requantise._pooled(values, 2, 2).tolist() == [[4, 7], [2, 5]]
    assert jpeg_requantise._pooled(values, 1, 2).tolist() == [[1, 4], [7, 10], [2, 5]]


@pytest.mark.parametrize(
    ("shape", "block", "complaint"),
    [
        ((12, 19), 16, "map of 12 rows and 19 columns: a 301x205 picture in blocks of 16 px has 13 and 19"),
        ((14, 19), 16, "14 rows"),
        ((13, 19), 32, "7 and 10"),
        ((13, 19), 12, "multiple of 8"),
        ((13, 19), 0, "multiple of 8"),
    ],
)
def test_a_map_that_does_not_fit(ppm: Path, shape: tuple[int, int], block: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        coarser(encode(ppm, "--quality", 60), np.ones(shape), block)


@pytest.mark.parametrize("value", [-1, 61, float("nan"), float("inf")])
def test_an_excess_that_cannot_be(ppm: Path, value: float) -> None:
    fine = encode(ppm, "--quality", 60)
    with pytest.raises(ValueError, match="within 0"):
        coarser(fine, np.full((13, 19), value))
    (ppm.parent / "map.csv").write_text(f"1.5,{value}\n")
    with pytest.raises(ValueError, match=r"map\.csv, line 1: excess"):
        jpeg_requantise.read_excess(ppm.parent / "map.csv")


def test_a_file_that_is_no_whole_jpeg(ppm: Path) -> None:
    fine = encode(ppm, "--quality", 60)
    whole = fine.read_bytes()
    for data in (b"", b"no picture", whole[:100], whole[:-1000]):
        fine.write_bytes(data)
        with pytest.raises(OSError):
            coarser(fine, np.ones((13, 19)))
    for mode, form in (("CMYK", "JPEG"), ("RGB", "PNG")):
        Image.new(mode, (301, 205)).save(fine, form)
        with pytest.raises(ValueError, match="must be a JPEG"):
            coarser(fine, np.ones((13, 19)))


def test_a_full_disk_is_an_error_of_the_job(ppm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**6, 10**6, 0))
    with pytest.raises(OSError, match="0 bytes are free"):
        coarser(encode(ppm, "--quality", 60), np.ones((13, 19)))


def test_several_at_once_do_what_one_does(ppm: Path) -> None:
    fine = encode(ppm, "--quality", 60)
    excess = np.linspace(0, 12, 13 * 19).reshape(13, 19)
    wanted = coarser(fine, excess).read_bytes()
    targets = [ppm.parent / f"{i}.jpg" for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda target: jpeg_requantise.requantise(fine, target, excess, 16), targets))
    assert all(target.read_bytes() == wanted for target in targets)


def test_as_a_tool(ppm: Path) -> None:
    """By hand and by a runner: the same bytes, errors in one line, and versions for the job's key."""
    encode(ppm, "--quality", 60)
    (ppm.parent / "in").mkdir()
    (ppm.parent / "in" / "map.csv").write_text(
        "\n".join(",".join(f"{i + j / 8:.3f}" for j in range(19)) for i in range(13))
    )
    argv = ["jpeg-requantise", "--map", "../in/map.csv", "--block", "16", "../fine.jpg", "coded.jpg"]
    outputs = [ppm.parent / name for name in ("out", "by_hand")]
    for output in outputs:
        output.mkdir()
    builtin.run(argv, outputs[0])
    command = [sys.executable, "-m", "vcmbench.execution.runner.builtin", *argv]
    subprocess.run(command, cwd=outputs[1], check=True)
    assert (outputs[0] / "coded.jpg").read_bytes() == (outputs[1] / "coded.jpg").read_bytes()
    (ppm.parent / "in" / "map.csv").write_text("1,2\n")
    failed = subprocess.run(command, cwd=outputs[1], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("jpeg-requantise: map of 1 rows and 2 columns")
    found = builtin.find("jpeg-requantise")
    assert found is not None and found.is_builtin
    assert "vcmbench" in found.version and "jpeglib 1" in found.identity()["digest"]


def ivf(*units: bytes, codec: bytes = b"AV01") -> bytes:
    header = struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, codec, 64, 64, 25, 1, len(units), 0)
    return header + b"".join(struct.pack("<IQ", len(unit), i) + unit for i, unit in enumerate(units))


def test_av1_out_of_ivf(tmp_path: Path) -> None:
    units = b"\x12\x00first", b"\x12\x00", b"\x12\x00third one"
    (tmp_path / "coded.ivf").write_bytes(ivf(*units))
    builtin.run(["ivf-to-obu", "coded.ivf", "coded.obu"], tmp_path)
    assert (tmp_path / "coded.obu").read_bytes() == b"".join(units)
    found = builtin.find("ivf-to-obu")
    assert found is not None and found.is_builtin


def test_an_ivf_file_that_is_none(tmp_path: Path) -> None:
    whole = ivf(b"\x12\x00picture")
    bad = [whole[:length] for length in range(len(whole))]
    bad += [ivf(), ivf(b"\x12\x00", codec=b"VP90"), b"RIFF" + whole[4:], whole + b"\0"]
    for data in bad:
        (tmp_path / "coded.ivf").write_bytes(data)
        with pytest.raises(ValueError, match=r"coded\.ivf: .*IVF"):
            builtin.run(["ivf-to-obu", "coded.ivf", "coded.obu"], tmp_path)
    assert not (tmp_path / "coded.obu").exists()
