"""Reading published scores: what is understood, and one clear line for everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vcmbench.errors import RequestError
from vcmbench.measure.blocks import published_scores


def good() -> dict[str, dict[str, Any]]:
    return {str(i): {"acc": i / 5, "PSNR": 30 + i * i, "SSIM": 0.9 + i / 100} for i in range(5)}


def write(path: Path, what: object) -> Path:
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path


def test_what_is_there_in_its_order(tmp_path: Path) -> None:
    read = published_scores.read_scores(write(tmp_path / "m.json", good()))
    assert read.ids == ("0", "1", "2", "3", "4")
    assert list(read.metrics) == ["PSNR", "SSIM"]
    np.testing.assert_array_equal(read.machine, np.arange(5) / 5)
    np.testing.assert_array_equal(read.metrics["PSNR"], [30, 31, 34, 39, 46])


def test_chosen_metrics_and_another_machine_score(tmp_path: Path) -> None:
    read = published_scores.read_scores(write(tmp_path / "m.json", good()), "SSIM", ["PSNR", "acc", "PSNR"])
    assert list(read.metrics) == ["PSNR", "acc"]
    assert read.machine[1] == 0.91


def test_missing_scores_are_kept_for_the_statistics_to_name(tmp_path: Path) -> None:
    table = good()
    table["1"]["PSNR"], table["2"]["PSNR"], table["3"]["SSIM"] = None, float("nan"), float("inf")
    read = published_scores.read_scores(write(tmp_path / "m.json", table))
    assert np.isnan(read.metrics["PSNR"]).tolist() == [False, True, True, False, False]
    assert np.isinf(read.metrics["SSIM"]).tolist() == [False, False, False, True, False]


def changed(block: str, **values: object) -> dict[str, dict[str, Any]]:
    table = good()
    table[block] |= values
    return table


def without(block: str, name: str) -> dict[str, dict[str, Any]]:
    table = good()
    del table[block][name]
    return table


@pytest.mark.parametrize(
    ("what", "arguments", "words"),
    [
        ("{", {}, ["not JSON"]),
        ("", {}, ["not JSON"]),
        ("[" * 100_000, {}, ["not JSON"]),
        ('{"0": {"acc": ' + "9" * 5000 + "}}", {}, ["not JSON"]),
        ("[]", {}, ["JSON object keyed by block", "list"]),
        ("{}", {}, ["0 blocks", "3 or more"]),
        ({k: v for k, v in good().items() if k < "2"}, {}, ["2 blocks", "3 or more"]),
        ('{"0": {"acc": 1}, "0": {"acc": 1}}', {}, ["'0'", "twice"]),
        ('{"0": {"acc": 1, "acc": 2}}', {}, ["'acc'", "twice"]),
        (good() | {"3": [1, 2]}, {}, ["'3'", "scores by name", "list"]),
        (without("3", "SSIM"), {}, ["'3' lacks 'SSIM'", "write NaN"]),
        (without("0", "SSIM"), {}, ["'0' lacks 'SSIM'", "'1' has"]),
        (changed("2", VSI=0.1), {}, ["'0' lacks 'VSI'", "'2' has"]),
        (changed("2", PSNR="31"), {}, ["'2'", "'PSNR'", "number", "str '31'"]),
        (changed("2", PSNR=True), {}, ["'2'", "'PSNR'", "number", "bool"]),
        (changed("2", PSNR=10**400), {}, ["'2'", "'PSNR'", "too large"]),
        (changed("2", acc=float("nan")), {}, ["'2'", "'acc'", "missing or infinite"]),
        (changed("2", acc=float("-inf")), {}, ["'2'", "'acc'", "missing or infinite"]),
        ({k: v | {"acc": 0.5} for k, v in good().items()}, {}, ["'acc'", "0.5 for every block"]),
        ({k: {"acc": v["acc"]} for k, v in good().items()}, {}, ["beside 'acc'", "no score"]),
        (good(), {"against": "miou"}, ["'miou'", "--against", "acc, PSNR, SSIM"]),
        (good(), {"names": ["PSNR", "VMAF"]}, ["'VMAF'", "PSNR, SSIM"]),
        (good(), {"names": ["acc"]}, ["'acc'", "--metrics"]),
    ],
)
def test_one_line_says_what_is_wrong(tmp_path: Path, what: object, arguments: dict[str, Any], words: list[str]) -> None:
    path = write(tmp_path / "m.json", what)
    with pytest.raises(RequestError) as caught:
        published_scores.read_scores(path, **arguments)
    line = str(caught.value)
    assert line.startswith(str(path)) and "\n" not in line
    assert all(word in line for word in words), line


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00\x81" * 9)
    with pytest.raises(RequestError, match="not JSON"):
        published_scores.read_scores(tmp_path / "m.json")


def test_a_huge_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_scores, "_MOST_BYTES", 2**20)
    with (tmp_path / "m.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(RequestError, match="larger than 1 MiB"):
        published_scores.read_scores(tmp_path / "m.json")


def entry(image: object = "city/a", codec: object = 3) -> list[Any]:
    return [image, [codec, 35, "420", 0.25], [926, 442], [64, 64], 0.25]


def test_blocks_by_the_ids_of_the_scores(tmp_path: Path) -> None:
    table = {"0": entry(), "1": entry("city/b", 1), "2": entry("city/b", "svtav1"), "9": "not asked for"}
    blocks = published_scores.read_blocks(write(tmp_path / "b.json", table), ["2", "1", "0"])
    assert blocks.images == ("city/b", "city/b", "city/a")
    assert blocks.codecs == ("svtav1", "JPEG", "x265")
    assert blocks.codec_names() == ["JPEG", "x265", "svtav1"]
    np.testing.assert_array_equal(blocks.accuracy, 0.25)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({}, ["no block '0'", "same draw"]),
        ({"0": {"image": "a"}}, ["'0'", "[image, [codec"]),
        ({"0": entry()[:4]}, ["'0'", "[image, [codec"]),
        ({"0": [1, 2, 3, 4, 5]}, ["'0'", "[image, [codec"]),
        ({"0": entry(image=7)}, ["'0'", "image", "int 7"]),
        ({"0": entry(image="")}, ["'0'", "image"]),
        ({"0": entry(codec=5)}, ["'0'", "codec int 5", "1 JPEG"]),
        ({"0": entry(codec=True)}, ["'0'", "codec bool"]),
        ({"0": [*entry()[:4], "high"]}, ["'0'", "'accuracy'", "str 'high'"]),
    ],
)
def test_wrong_blocks(tmp_path: Path, wrong: object, words: list[str]) -> None:
    path = write(tmp_path / "b.json", wrong)
    with pytest.raises(RequestError) as caught:
        published_scores.read_blocks(path, ["0"])
    assert all(word in str(caught.value) for word in (str(path), *words)), caught.value
