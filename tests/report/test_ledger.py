"""The block ledger of a measured run, against sums over its pictures made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.helpers.measuring import FOLDERS, Results, copy, network, typed
from vcmbench import experiment
from vcmbench.analysis.run import recalled
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.measure.outcome import MeasureSettings
from vcmbench.measure.run import MeasureRun
from vcmbench.report import ledger
from vcmbench.report.build import report_content
from vcmbench.tasks.segmentation import Segmentation


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path_factory.mktemp("ledger") / "folder")


def blocks(results: Results, *words: object) -> tuple[int, list[dict[str, Any]], str]:
    config = results.root.parent / "trial.toml"
    done = typed("blocks", "-d", results.root, "-s", config, "--runner", "local", "--json", "-n", 10_000, *words)
    return done.code, [json.loads(line) for line in done.out.splitlines()], done.err


def test_rows_are_sums_over_the_pictures(results: Results) -> None:
    code, rows, err = blocks(results, "--size", 40, "--where", "1")
    assert code == 0, err
    assert len(rows) == 4 * 3 * 5 * 3, "192x96 px in blocks of 40, the last ones smaller"
    for score in results.scores():
        own = [
            row for row in rows if (row["configuration"], row["picture"]) == (score["configuration"], score["source"])
        ]
        right, whole = score["machine"]["pseudo"]["bands"] and _right(score)
        assert sum(row["lost_px"] for row in own) == whole - right
        assert sum(row["width_px"] * row["height_px"] for row in own) == 192 * 96
    city = "lindau"
    first, second = (np.asarray(Image.open(results.prediction(of, city))) for of in (None, "jpeg 5"))
    row = next(row for row in rows if row["configuration"] == FOLDERS["jpeg 5"] and city in row["picture"]
               and (row["row"], row["column"]) == (1, 2))  # fmt: skip
    part = np.s_[40:80, 80:120]
    assert (row["x_px"], row["y_px"], row["coded_by"]) == (80, 40, "JPEG 5")
    assert row["lost_px"] == (first[part] != second[part]).sum()
    assert row["lost"] == pytest.approx(100 * row["lost_px"] / 1600)
    assert row["bits"] is None, "units of 16 px do not divide 40"


def _right(score: dict[str, Any]) -> tuple[int, int]:
    counts = score["machine"]["pseudo"]["confusion"]
    return sum(one[2] for one in counts if one[0] == one[1]), sum(one[2] for one in counts)


def test_bits_of_jpeg_sum_to_the_file_less_its_headers(results: Results) -> None:
    _, rows, err = blocks(results, "--where", "bits not null")
    assert rows, err
    for score in results.scores():
        own = [row["bits"] for row in rows if (row["configuration"], row["picture"])
               == (score["configuration"], score["source"])]  # fmt: skip
        assert bool(own) == (score["encoder"] == "jpeg")
        if own:
            data = (results.root / score["bitstream"]).read_bytes()
            start = data.index(b"\xff\xda")
            scan = data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") : -2]
            assert 0 <= 8 * (len(scan) - scan.count(b"\xff\x00")) - sum(own) < 8


def test_margins_are_those_of_the_network_s_two_first_classes(results: Results) -> None:
    words = ("--size", 48, "--where", "1")
    code, rows, err = blocks(results, *words, "--margin")
    assert code == 0, err
    with network() as task:
        assert isinstance(task, Segmentation) and task.logits is not None
        source = rows[0]["picture"]
        pristine, _ = results.decoded(next(one for one in results.scores() if one["source"] == source))
        with torch.inference_mode():
            outputs = task.logits(task.network, torch.from_numpy(pristine[..., ::-1].copy()).permute(2, 0, 1)[None])
    raised = np.exp(outputs[0].double().numpy() - outputs[0].double().numpy().max(axis=0))
    sure = np.sort(raised / raised.sum(axis=0), axis=0)
    margin = sure[-1] - sure[-2]
    own = [row for row in rows if row["picture"] == source]
    assert len(own) == 4 * 2 * 4 and 0 < margin.mean() < 1
    for row in own:
        part = margin[row["y_px"] : row["y_px"] + 48, row["x_px"] : row["x_px"] + 48]
        assert row["margin"] == pytest.approx(part.mean(), abs=1e-5)
    assert blocks(results, *words)[1] == rows, "what was asked once stays"
    assert {row["margin"] for row in blocks(results, "--size", 96, "--where", "1")[1]} == {None}


def test_bits_that_an_encoder_said_are_added_up(results: Results) -> None:
    """A record of kvazaar's program, 192x96 px in blocks of 64; in other sizes they do not fit, and edited ones count
    for nothing."""
    path, said = results.root / "a.265", {"block_px": 64, "bits": [[8, 16, 24], [40, 80, 160]]}
    for size, expected in ((64, [[8, 16, 24], [40, 80, 160]]), (128, [[144, 184]]), (32, None), (96, None)):
        record: dict[str, Any] = {"subsampling_factor": 1.0, "block_bits": said}
        found = ledger._bits(path, record, ledger._Blocks(96, 192, size))
        assert (None if found is None else found.tolist()) == expected
    blocks_of_64 = ledger._Blocks(96, 192, 64)
    for wrong in ({"bits": [[8, 16, 24]]}, {"bits": "x"}, {"bits": [[1], [2, 3]]}, {"block_px": 0}, {"block_px": None}):
        assert ledger._bits(path, {"subsampling_factor": 1.0, "block_bits": said | wrong}, blocks_of_64) is None
    assert ledger._bits(path, {"subsampling_factor": 0.5, "block_bits": said}, blocks_of_64) is None
    assert ledger._bits(path, {"subsampling_factor": 1.0}, blocks_of_64) is None


def test_a_block_under_the_mouse_of_a_report_says_its_row(results: Results) -> None:
    wanted = experiment.load(str(results.root.parent / "trial.toml"))
    run = MeasureRun(wanted, results.root, LocalRunner(), MeasureSettings(jobs=1, quiet=True))
    overlay = report_content(run, recalled(run)).overlays[0]
    picture, coded_by = overlay.title.split(", ", 1)
    _, rows, err = blocks(results, "--where", "1")
    known = {(row["x_px"], row["y_px"]): row for row in rows
             if row["coded_by"] == coded_by and row["picture"].endswith(picture)}  # fmt: skip
    assert len(overlay.blocks) == len(known) == 6 * 3, err
    for x, y, width, height, words in overlay.blocks:
        row = known[x, y]
        assert (width, height) == (32, 32)
        assert words.startswith(f"{row['class']}; x {x}, y {y}, 32x32 px; ")
        assert words.endswith(f"luma PSNR in dB {row['psnr_y_db']:.4g}; {row['lost']:.3g} % of its pixels lost")
        assert ("bits" in words) == (row["bits"] is not None) and f"importance {row['importance']:.4g}" in words


def test_conditions_order_pictures_and_what_is_kept(results: Results, tmp_path: Path) -> None:
    marked = tmp_path / "marked"
    words = ("--where", "class = 'road' and coded_by = 'JPEG 5'", "--order", "0 - psnr_y_db", "--pictures", marked)
    code, rows, err = blocks(results, *words)
    assert code == 0 and rows and {row["class"] for row in rows} == {"road"}, err
    assert [row["psnr_y_db"] for row in rows] == sorted(row["psnr_y_db"] for row in rows)
    found = {path.relative_to(marked / FOLDERS["jpeg 5"]).as_posix() for path in marked.rglob("*.png")}
    assert found == {f"{row['picture']}.png" for row in rows}
    table = results.folder / f"ledger/{FOLDERS['jpeg 5']}/32px.parquet"
    before = table.stat().st_mtime_ns
    assert blocks(results, *words)[1] == rows and table.stat().st_mtime_ns == before
    assert parquet.read_table(table).num_rows == 3 * 6 * 3
    for where in ("lost >", "1); drop table blocks; --", "load_extension('x')"):
        code, _, err = blocks(results, "--where", where)
        assert code == 2 and "--where" in err and "Traceback" not in err
