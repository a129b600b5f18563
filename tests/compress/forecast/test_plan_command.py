"""`vcmbench plan`: grids without data, data roots with and without results, and how far off a plan was."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import JPEG, X265, Typed, compress_here, tree
from vcmbench import cli
from vcmbench.compress import forecast
from vcmbench.compress.forecast.figures import Figures
from vcmbench.compress.forecast.prediction import simulate
from vcmbench.data import runlog
from vcmbench.data.dataset import open_root
from vcmbench.data.runlog import RunLog
from vcmbench.data.store import Store
from vcmbench.encoder import CodingConfiguration
from vcmbench.encoder.plugins import get
from vcmbench.importance.qp_map import QpMap

Write = Callable[..., Path]
CODINGS = (JPEG, X265)


def plan(*words: object) -> Typed:
    """`vcmbench plan WORDS` in this process: nothing is started, so nothing of it can linger."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(["plan", *map(str, words)])
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return Typed(code, out.getvalue(), err.getvalue())


def as_json(*words: object) -> dict[str, Any]:
    done = plan(*words, "--json")
    assert done.code == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


# --- without data


def test_a_network_in_the_loop_takes_its_time() -> None:
    """Roughly by its passes, and once there are records, by theirs."""
    coding = CodingConfiguration("x264", 37, qp_map=QpMap(refine=2), match_rate=True)
    once = replace(coding, qp_map=QpMap())
    figures, x264 = Figures(), get("x264")
    assert figures.job(x264, coding, 0.5).seconds > figures.job(x264, once, 0.5).seconds + 2 * 0.5 * 5
    figures.add({
        **coding.as_dict(), "width_px": 1000, "height_px": 500, "frames": 1, "encode_s": 0.5, "decode_s": 0.5,
        "size_bytes": 5000, "rate_search": {"encodes": 7}, "evidence": {"passes": [{"network_s": 40.0}] * 3},
    })  # fmt: skip
    assert figures.job(x264, coding, 0.5).seconds == pytest.approx(3 * 40 + 8 * 0.5 + 0.5, abs=0.1)


def test_the_published_grid_at_the_size_of_cityscapes() -> None:
    found = as_json("-s", "qomex2023", "-w", 32)
    assert found["configurations"] == 176
    assert found["pictures"] == "500 pictures of 2048x1024 px as Cityscapes' val"
    assert {row["encoder"]: row["jobs"] for row in found["rows"]} == {"jpeg": 22_000, "jm": 132, "x265": 132,
                                                                       "vvenc": 132}  # fmt: skip
    step = found["compress"]
    assert (step["jobs"], step["done"]) == (22_396, 0)
    assert found["metrics"]["jobs"] == 88_000
    # the largest city's stack bounds it: 267 of the 500 pictures
    assert "frankfurt (267 pictures)" in step["longest"]
    assert [rung["workers"] for rung in step["ladder"]] == [1, 2, 4, 8, 16, 32]
    walls = [rung["wall_s"] for rung in step["ladder"]]
    assert walls == sorted(walls, reverse=True)
    assert step["wall_s"] == walls[-1] >= max(step["longest_s"], step["core_s"] / 32 * 0.99)
    assert sum(row["core_s"] for row in found["rows"]) == pytest.approx(walls[0], rel=0.02)
    assert {row["source"] for row in found["rows"]} == {"rough"}


def test_more_workers_stop_helping_at_the_longest_job() -> None:
    few, many = (as_json("-s", "qomex2023", "-w", count)["compress"] for count in (1, 4096))
    assert many["wall_s"] >= many["longest_s"]
    assert many["wall_s"] < 1.1 * many["longest_s"]
    assert few["useful_workers"] == many["useful_workers"]
    assert few["wall_s"] > 20 * many["wall_s"]


def test_another_set_of_another_size(write_experiment: Write) -> None:
    config = write_experiment(*CODINGS)
    small, large = (
        as_json("-s", config, "-w", 1, "--pictures", 10, "--size", size) for size in ("640x480", "1280x960")
    )
    assert small["pictures"] == "10 pictures of 640x480 px in one folder"
    assert small["compress"]["jobs"] == large["compress"]["jobs"] == 20
    for name in ("bitstreams",):
        assert 2 < large["compress"]["storage"][name] / small["compress"]["storage"][name] < 4.1


def test_cities_and_limit_of_an_experiment_hold(write_experiment: Write) -> None:
    config = write_experiment(JPEG, head='[dataset]\ncities = ["lindau"]\nlimit = 50')
    assert as_json("-s", config, "-w", 1)["compress"]["jobs"] == 50


def test_gpus_take_networks_and_metrics_off_the_workers(write_experiment: Write) -> None:
    config = write_experiment(X265, head='[task]\nname = "segmentation"\n[metrics]\nlevels = ["image"]')
    cpu = as_json("-s", config, "-w", 4)["metrics"]
    gpu = as_json("-s", config, "-w", 4, "--gpus", 2)["metrics"]
    assert (cpu["workers"], gpu["workers"]) == (4, 2)
    assert gpu["wall_s"] < cpu["wall_s"]
    assert "a GPU is taken for 20 cores" in plan("-s", config, "-w", 4, "--gpus", 2).out


def test_what_cannot_be_coded_is_said_and_left_out(write_experiment: Write) -> None:
    config = write_experiment('encoder = "svtav1"\nquality = [32]\nsubsampling_factor = [1.0, 0.25]', JPEG)
    found = as_json("-s", config, "-w", 1, "--pictures", 3, "--size", "128x128")
    assert found["compress"]["jobs"] == 6
    assert [note for note in found["notes"] if note.startswith("3 jobs cannot be done: svtav1: coded size 32x32")]


def test_the_tables_say_it_in_words(write_experiment: Write) -> None:
    config = write_experiment(*CODINGS, head='[task]\nname = "segmentation"')
    done = plan("-s", config, "-w", 3)
    assert done.code == 0, done.err
    for words in ("encoder", "rough", "compressing: 1000 jobs to do", "measuring: 1000 pictures to do",
                  "storage", "wall time", "longest:", "both, one after the other"):  # fmt: skip
        assert words in done.out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-w", "0"), "'0' is no whole number from 1"),
        (("-w", "-3"), "is no whole number from 1"),
        (("-w", "two"), "is no whole number from 1"),
        (("-w", "1000000"), "--workers 1000000: must be 1 to"),
        (("-w", "1", "--gpus", "-1"), "is no whole number from 0"),
        (("-w", "1", "--size", "10"), "'10' is no size such as 2048x1024"),
        (("-w", "1", "--size", "0x10"), "--size 0x10: sides must be 1 to"),
        (("-w", "1", "--size", "9x999999"), "sides must be 1 to"),
        (("-w", "1", "--pictures", "0"), "is no whole number from 1"),
        (("-w", "1", "--pictures", "99999999"), "--pictures 99999999: must be 1 to"),
        (("-w", "1", "-d", "."), "--pictures and --size are for a plan without data"),
        (("-w", "1", "-d", "nowhere"), "does not exist"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(words: tuple[str, ...], complaint: str) -> None:
    more = ("--size", "64x64") if words[-1:] == (".",) else ()
    done = plan("-s", "quick", *words, *more)
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err


def test_an_unknown_experiment_is_refused() -> None:
    done = plan("-s", "nonesuch", "-w", 1)
    assert (done.code, done.out) == (2, "")
    assert "no experiment 'nonesuch'" in done.err


# --- with data


def test_a_plan_of_a_data_root_reads_headers_and_writes_one_file(streets: Path, write_experiment: Write) -> None:
    before = tree(streets)
    found = as_json("-d", streets, "-s", write_experiment(*CODINGS), "-w", 2)
    assert found["pictures"] == "5 pictures of the data root"
    assert (found["compress"]["jobs"], found["compress"]["done"]) == (10, 0)
    after = {name: digest for name, digest in tree(streets).items() if ".leases" not in name}
    assert after.keys() - before.keys() == {"results/trial/plan.json"}
    assert {name: digest for name, digest in after.items() if name in before} == before
    assert json.loads((streets / "results/trial/plan.json").read_text()) == found


def test_what_is_done_is_subtracted_and_records_give_the_figures(streets: Path, write_experiment: Write) -> None:
    config = write_experiment(*CODINGS)
    assert compress_here(streets, config, "--encoder", "jpeg").code == 0
    found = as_json("-d", streets, "-s", config, "-w", 2)
    rows = {row["encoder"]: row for row in found["rows"]}
    assert (rows["jpeg"]["jobs"], rows["jpeg"]["done"], rows["jpeg"]["core_s"]) == (5, 5, 0)
    assert (rows["x265"]["jobs"], rows["x265"]["done"]) == (5, 0)
    assert (rows["jpeg"]["source"], rows["x265"]["source"]) == ("records", "rough, this machine's pace")
    assert found["records"] == 5
    everything = as_json("-d", streets, "-s", config, "-w", 2, "--all")
    assert (everything["compress"]["jobs"], everything["compress"]["done"]) == (10, 0)
    written = sum(path.stat().st_size for path in streets.rglob("*.jpg"))
    bytes_of = {row["encoder"]: row["bitstream_bytes"] for row in everything["rows"]}
    assert bytes_of["jpeg"] == pytest.approx(written, rel=0.01), "its own records say it"


def test_a_job_whose_bitstream_or_record_is_gone_is_to_be_done(streets: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG)
    compress_here(streets, config)
    next(streets.glob("cityscapes_JPEG*/leftImg8bit/val/frankfurt/*.jpg")).unlink()
    next(streets.glob("results/trial/records/*/leftImg8bit/val/lindau/*.json")).unlink()
    found = as_json("-d", streets, "-s", config, "-w", 2)["compress"]
    assert (found["jobs"], found["done"]) == (5, 3)


def test_records_of_another_experiment_count(streets: Path, write_experiment: Write) -> None:
    compress_here(streets, write_experiment(JPEG, name="first"))
    found = as_json("-d", streets, "-s", write_experiment(*CODINGS, name="second"), "-w", 2)
    assert (found["compress"]["jobs"], found["compress"]["done"], found["records"]) == (10, 5, 5)


def test_a_stack_that_a_picture_joined_is_to_be_done(streets: Path, write_experiment: Write) -> None:
    config = write_experiment(X265 + "\nstacked = true")
    compress_here(streets, config)
    assert as_json("-d", streets, "-s", config, "-w", 1)["compress"]["done"] == 2
    city = streets / "cityscapes/leftImg8bit/val/lindau"
    shutil.copy(next(city.glob("*.png")), city / "lindau_000009_000019_leftImg8bit.png")
    found = as_json("-d", streets, "-s", config, "-w", 1)["compress"]
    assert (found["jobs"], found["done"]) == (2, 1)
    assert "lindau (3 pictures)" in found["longest"]


def test_pictures_that_cannot_be_read_are_said(photos: Path, write_experiment: Write) -> None:
    (photos / "c.png").write_bytes(b"no picture")
    found = as_json("-d", photos, "-s", write_experiment(JPEG), "-w", 1)
    assert found["compress"]["jobs"] == 2
    assert found["notes"] == ["1 pictures cannot be read, and are left out"]


def test_a_plan_and_its_run(streets: Path, write_experiment: Write) -> None:
    """Counts are exact and storage is near; time is only told, since others may be at work on this machine."""
    config = write_experiment(JPEG, 'encoder = "x265"\nquality = [22, 37]\nsubsampling_factor = [1.0, 0.5]')
    planned = as_json("-d", streets, "-s", config, "-w", 2)["compress"]
    assert compress_here(streets, config).code == 0
    store = Store(open_root(streets), "trial")
    (run,) = runlog.read(store)
    assert (run.step, run.done, run.failed) == ("compress", planned["jobs"], 0)
    assert run.tool_s.keys() == {"jpeg", "x265"}
    files = [path for path in streets.glob("cityscapes_*/**/*") if path.suffix in (".jpg", ".265")]
    assert run.written_bytes == sum(path.stat().st_size for path in files)
    assert 0.2 < run.written_bytes / planned["storage"]["bitstreams"] < 5, "rough, and yet of this order"
    records = [path for path in (streets / "results/trial").rglob("*") if path.suffix in (".json", ".csv")
               and path.name != "plan.json"]  # fmt: skip
    assert 0.8 < sum(path.stat().st_size for path in records) / planned["storage"]["records"] < 1.25
    line = forecast.compare(store, "compress")
    assert line is not None
    assert re.fullmatch(r"plan: compress: predicted \d+:\d\d on 2 workers, took \d+:\d\d on \d+", line)
    assert forecast.compare(store, "metrics") is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"[" * 9999, b'{"schema_version": 1}', b"\xff"])
def test_a_damaged_plan_is_no_plan(photos: Path, write_experiment: Write, content: bytes) -> None:
    config = write_experiment(JPEG)
    as_json("-d", photos, "-s", config, "-w", 1)
    store = Store(open_root(photos), "trial")
    (store.folder / forecast.FILE).write_bytes(content)
    assert forecast.compare(store, "compress") is None
    assert plan("-d", photos, "-s", config, "-w", 1).code == 0


def test_a_run_in_pieces_is_held_against_its_part_of_the_plan(streets: Path, write_experiment: Write) -> None:
    config, store = write_experiment(*CODINGS), Store(open_root(streets), "trial")
    as_json("-d", streets, "-s", config, "-w", 4, "--all")
    compress_here(streets, config, "--encoder", "jpeg")
    assert forecast.compare(store, "compress") is None, "a plan of everything is no plan of what is to be done"
    as_json("-d", streets, "-s", config, "-w", 4)
    compress_here(streets, config, "--encoder", "jpeg", "--force")
    assert " for 5 of 5 " not in (line := forecast.compare(store, "compress") or "")
    assert " on 4 workers, took " in line


def test_jobs_are_taken_in_their_order_by_whoever_is_free() -> None:
    assert simulate([3, 2, 2], 2) == 4
    assert simulate([1] * 10, 3) == 4
    assert simulate([5, 1], 100) == 5
    assert simulate([], 4) == 0


# --- measuring

MEASURED = '[task]\nname = "segmentation"\n[metrics]\niqa = ["PSNR", "SSIM"]\nlevels = ["image"]\n'
FIVE = 'encoder = "jpeg"\nquality = [10, 30, 50, 70, 90]'


def test_pictures_that_have_scores_are_done(streets: Path, write_experiment: Write) -> None:
    config = write_experiment(FIVE, head=MEASURED)
    before = as_json("-d", streets, "-s", config, "-w", 1)["metrics"]
    assert (before["jobs"], before["done"]) == (25, 0)
    folder = "cityscapes_JPEG(quality=10, color_subsampling=420, subsampling_factor=1.0)"
    for picture in (streets / "cityscapes/leftImg8bit/val/frankfurt").glob("*.png"):
        place = streets / "results/trial/scores" / folder / "leftImg8bit/val/frankfurt" / f"{picture.stem}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("{}")
    after = as_json("-d", streets, "-s", config, "-w", 1)["metrics"]
    assert (after["jobs"], after["done"]) == (25, 3)
    assert after["core_s"] < before["core_s"]
    assert as_json("-d", streets, "-s", config, "-w", 1, "--all")["metrics"]["done"] == 0


def test_what_a_measuring_run_took_corrects_the_next_plan(streets: Path, write_experiment: Write) -> None:
    config = write_experiment(FIVE, head=MEASURED)
    usual = as_json("-d", streets, "-s", config, "-w", 2)["metrics"]
    store = Store(open_root(streets), "trial")
    for wall_s in (1000.0, 2000.0):
        runlog.append(store, RunLog("metrics", "2026-01-01T00:00:00+00:00", "threads", 2, wall_s, 25))
        found = as_json("-d", streets, "-s", config, "-w", 2, "--all")["metrics"]
        assert found["wall_s"] == pytest.approx(wall_s, rel=0.25), "as the last run, for the same work"
    assert usual["wall_s"] < 100
    runlog.append(store, RunLog("metrics", "2026-01-01T00:00:00+00:00", "threads", 2, 5.0, 3))
    again = as_json("-d", streets, "-s", config, "-w", 2, "--all")["metrics"]
    assert again["wall_s"] == found["wall_s"], "a run of three pictures says nothing"


def test_blocks_and_metrics_cost(write_experiment: Write) -> None:
    words = ("-w", 1, "--pictures", 20)
    image = as_json("-s", write_experiment(FIVE, head=MEASURED), *words)["metrics"]
    head = MEASURED.replace('["image"]', '["image", "block"]') + "[metrics.blocks]\nsize_px = [32, 64]\ncount = 1000\n"
    blocks = as_json("-s", write_experiment(FIVE, head=head), *words)["metrics"]
    assert blocks["core_s"] > image["core_s"]
    assert sum(blocks["storage"].values()) > sum(image["storage"].values())
    learned = as_json("-s", write_experiment(FIVE, head=head.replace('"SSIM"', '"LPIPS"')), *words)["metrics"]
    assert learned["core_s"] > 5 * blocks["core_s"]


def test_without_a_task_and_metrics_there_is_nothing_to_measure(write_experiment: Write) -> None:
    assert as_json("-s", write_experiment(JPEG, head="[metrics]\niqa = []"), "-w", 1)["metrics"] is None
