"""The block ledger of a measured run, against sums over its pictures made by hand."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from tests.helpers.measuring import FOLDERS, Results, copy, typed


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


def test_a_block_under_the_mouse_of_a_report_says_its_row(results: Results, tmp_path: Path) -> None:
    config = results.root.parent / "trial.toml"
    assert typed("report", "-d", results.root, "-s", config, "--runner", "local", "-o", tmp_path / "r.html").code == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    article = page.split('<article class="overlay">')[1].split("</article>")[0]
    picture, coded_by = html.unescape(re.findall(r"<h3.*?><bdi>(.*?)</bdi>", article)[0]).split(", ", 1)
    rects = re.findall(r'<rect x="(\d+)" y="(\d+)" width="32" height="32"><title>(.*?)</title></rect>', article)
    _, rows, err = blocks(results, "--where", "1")
    known = {(row["x_px"], row["y_px"]): row for row in rows
             if row["coded_by"] == coded_by and row["picture"].endswith(picture)}  # fmt: skip
    assert len(rects) == len(known) == 6 * 3, err
    for x, y, words in rects:
        row = known[int(x), int(y)]
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
