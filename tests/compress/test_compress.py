"""The chain end to end with real encoders of this machine: what users do."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.commands import JPEG, X265, compress, compress_here, half_written, tree, type_command
from tests.helpers.paths import CHECKOUT
from tests.helpers.pictures import save
from tests.helpers.tools import faulty_ffmpeg, scripted_jm
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.dataset import read_picture
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.io.progress import Progress

U8 = NDArray[np.uint8]
Write = Callable[..., Path]


def test_the_photos_experiment_and_its_second_run(photos: Path) -> None:
    """Six codecs at four qualities each: more bits always give more PSNR; the second run does nothing."""
    first = compress_here(photos, "photos")
    assert first.code == 0, first.err
    records = first.records()
    assert len(records) == 2 * 6 * 4
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for record in records:
        curve = curves.setdefault((record["encoder"], record["sources"][0]["name"]), [])
        curve.append((record["size_bytes"], record["psnr_y_db"]))
    assert len(curves) == 12
    for curve in curves.values():
        psnrs = [psnr for _, psnr in sorted(curve)]
        assert psnrs == sorted(psnrs)
        assert len(set(psnrs)) == 4
    before = tree(photos)
    second = compress_here(photos, "photos")
    assert second.code == 0
    assert {event["state"] for event in second.events} == {"resumed"}
    assert tree(photos) == before
    table = (photos / "results/photos/compression.csv").read_text().splitlines()
    assert len(table) == 1 + 48


def test_records_hold_what_they_promise(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(X265, head="seed = 7")
    record = compress_here(photos, config).records()[0]
    stored = json.loads(
        (photos / "results/trial/records" / (record["bitstream"] + ".json")).read_text(encoding="utf-8")
    )
    assert stored == record
    bitstream = photos / record["bitstream"]
    assert record["bitstream"] == (
        "images_x265(quality=32, color_subsampling=420, subsampling_factor=1.0, preset=ultrafast)/a.265"
    )
    assert record["bitstream_sha256"] == hashlib.sha256(bitstream.read_bytes()).hexdigest()
    assert record["sources"] == [{"name": "a", "sha256": hashlib.sha256((photos / "a.png").read_bytes()).hexdigest()}]
    assert (record["seed"], record["experiment"], record["runner"]) == (7, "trial", "local")
    assert record["coded_qp"] == 32
    assert record["argv"]["encode"][0] == "ffmpeg"
    assert record["tool"]["encode"]["version"].startswith("ffmpeg version")
    assert record["tool"]["encode"]["digest"].startswith("sha256:")
    assert record["image_digest"] is None


def test_the_same_run_twice_gives_the_same_bytes(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(X265, JPEG)
    one, two = compress_here(photos, config).records(), compress_here(photos, config, "--force", "--jobs", 1).records()
    assert len(two) == 4
    times = ("encode_s", "decode_s")
    strip = [{k: v for k, v in record.items() if k not in times} for record in one + two]
    by_bitstream = sorted(strip, key=lambda record: record["bitstream"])
    assert by_bitstream[::2] == by_bitstream[1::2]


def test_downscaling_keeps_the_original_size_as_reference(photos: Path, write_experiment: Write) -> None:
    config = write_experiment('encoder = "x264"\nquality = [20]\nsubsampling_factor = [0.25, 0.5, 1.0]')
    records = [r for r in compress_here(photos, config).records() if r["sources"][0]["name"] == "a"]
    by_factor = sorted(records, key=lambda record: record["subsampling_factor"])
    assert [(r["scaled_width_px"], r["scaled_height_px"]) for r in by_factor] == [(80, 64), (160, 128), (320, 256)]
    assert [r["width_px"] for r in by_factor] == [320, 320, 320]
    psnrs = [r["psnr_y_db"] for r in by_factor]
    assert psnrs == sorted(psnrs)
    assert psnrs[1] < 35 < psnrs[2], "what half size loses is lost at any QP"
    assert all(r["rate_bpp"] == r["size_bytes"] * 8 / (320 * 256) for r in by_factor)


def test_chroma_formats_keep_luma(photos: Path, write_experiment: Write) -> None:
    """Luma is the same whatever chroma does: a range or plane mixed up on the way would show here."""
    for name in ("x264", "x265"):
        config = write_experiment(
            f'encoder = "{name}"\nquality = [18]\ncolor_subsampling = ["400", "420", "422", "444"]', name=name
        )
        psnrs = [r["psnr_y_db"] for r in compress_here(photos, config).records() if r["sources"][0]["name"] == "a"]
        assert len(psnrs) == 4
        assert max(psnrs) - min(psnrs) < 0.7
        assert min(psnrs) > 42


def test_stacks_have_the_published_names(streets: Path, write_experiment: Write) -> None:
    config = write_experiment(
        'encoder = "x265"\nquality = [30]\ncompat = "qomex2023"\nstacked = true\nkeep_reconstruction = true',
        'encoder = "jpeg"\nquality = [90]\ncompat = "qomex2023"',
    )
    records = compress_here(streets, config).records()
    video = streets / "cityscapes_x265(quality=30, color_subsampling=420, subsampling_factor=1.0)"
    cities = video / "leftImg8bit/val"
    assert sorted(str(p.relative_to(cities)) for p in cities.rglob("*.*")) == [
        "frankfurt/frankfurt.265",
        "frankfurt/frankfurt_rec.yuv",
        "lindau/lindau.265",
        "lindau/lindau_rec.yuv",
    ]
    assert (cities / "frankfurt/frankfurt_rec.yuv").stat().st_size == 3 * 192 * 128 * 3 // 2
    still = streets / "cityscapes_JPEG(quality=90, color_subsampling=420, subsampling_factor=1.0)"
    assert (still / "leftImg8bit/val/lindau/lindau_000001_000019_leftImg8bit.jpg").is_file()
    for folder in (video, still):
        assert os.readlink(folder / "gtFine") == "../cityscapes/gtFine"
        assert (folder / "val.txt").read_text() == "frankfurt/frankfurt_000000_000019\n"
    stack = next(r for r in records if r["frames"] == 3)
    names = [source["name"].split("/")[-1] for source in stack["sources"]]
    assert names == [f"frankfurt_{i:06}_000019_leftImg8bit" for i in range(3)]
    assert len(stack["frame_psnr_y_db"]) == 3
    assert stack["coded_qp"] == 27, "the published parameters code QP - 3"


def test_a_still_and_a_stack_share_no_file(photos: Path, write_experiment: Write) -> None:
    """The published stack of a folder has the folder's name, and so has this picture in it."""
    (photos / "a").mkdir()
    for name in "ab":
        (photos / f"{name}.png").rename(photos / f"a/{name}.png")
    stack = 'encoder = "x265"\nquality = [40]\ncompat = "qomex2023"\nstacked = true'
    done = compress_here(photos, write_experiment('encoder = "x265"\nquality = [40]', stack))
    assert (done.code, len(done.records())) == (0, 3), done.err
    found = {record["bitstream"].partition("/")[2]: record["frames"] for record in done.records()}
    assert found == {"a/a.265": 1, "a/b.265": 1, "a/a_stack.265": 2}
    again = compress_here(photos, write_experiment(stack, name="other"))
    assert [event["state"] for event in again.events] == ["resumed"]


def test_decoded_frames_that_are_wanted_later_are_decoded_once(photos: Path, write_experiment: Write) -> None:
    plain = {r["bitstream"]: r for r in compress_here(photos, write_experiment(X265, JPEG)).records()}
    written = {name: (photos / name).stat().st_mtime_ns for name in plain}
    config = write_experiment(*(f"{one}\nkeep_reconstruction = true" for one in (X265, JPEG)))
    assert [event["state"] for event in compress_here(photos, config).events] == ["done"] * 4
    for record in compress_here(photos, config).records():
        before = plain[record["bitstream"]]
        assert (record["keep_reconstruction"], record["encode_s"]) == (True, before["encode_s"])
        assert (photos / record["bitstream"]).stat().st_mtime_ns == written[record["bitstream"]], "nothing was encoded"
        ((name, digest),) = record["files"].items()
        frames = (photos / record["bitstream"]).with_name(name).read_bytes()
        assert hashlib.sha256(frames).hexdigest() == digest
    assert [event["state"] for event in compress_here(photos, config).events] == ["resumed"] * 4
    (photos / record["bitstream"]).with_name(name).unlink()
    assert sorted(event["state"] for event in compress_here(photos, config).events) == ["done"] + ["resumed"] * 3
    assert [event["state"] for event in compress_here(photos, write_experiment(X265, JPEG)).events] == ["resumed"] * 4


def test_a_stack_of_one_size_only(streets: Path, astronaut: U8, write_experiment: Write) -> None:
    save(streets / "cityscapes/leftImg8bit/val/lindau/lindau_000009_000019_leftImg8bit.png", astronaut[:64, :64])
    done = compress_here(streets, write_experiment(X265 + "\nstacked = true"))
    assert done.code == 1
    assert "lindau_000009_000019_leftImg8bit.png: is 64x64 px, to be stacked with" in done.err
    assert [event["state"] for event in done.events].count("done") == 1


def test_the_published_x265_codes_three_below(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(f'encoder = "x265"\nquality = {list(range(10, 46, 5))}\ncompat = "qomex2023"')
    records = compress_here(photos, config).records()
    assert {r["quality"] - r["coded_qp"] for r in records} == {3.0}
    assert {r["colour"]["matrix"] for r in records} == {"bt601"}


def test_svtav1_codes_the_requested_quantiser(photos: Path, write_experiment: Write) -> None:
    """Read from the bitstream: AV1's quantiser index is 4 times the QP that SVT-AV1 counts in."""
    config = write_experiment('encoder = "svtav1"\nquality = [10, 32, 50]')
    for record in compress_here(photos, config).records():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-f", "obu", "-i", str(photos / record["bitstream"])]
        trace = subprocess.run(
            [*command, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-"], capture_output=True, text=True
        ).stderr
        indices = [int(line.split("=")[-1]) for line in trace.splitlines() if " base_q_idx " in line]
        assert indices == [4 * record["quality"]]


def test_two_experiments_share_what_they_share(photos: Path, write_experiment: Write) -> None:
    compress_here(photos, write_experiment(JPEG, name="first"))
    second = write_experiment(JPEG, X265, name="second")
    before = tree(photos)
    plan = type_command("compress", "-d", photos, "-s", second, "--dry-run", "--runner", "local")
    assert "4 jobs, 2 done" in plan.out
    assert tree(photos) == before, "a dry run takes nothing over"
    again = compress_here(photos, second)
    assert sorted(event["state"] for event in again.events) == ["done", "done", "resumed", "resumed"]
    assert {record["experiment"] for record in again.records()} == {"second"}


def test_a_changed_picture_is_coded_anew_and_others_are_not(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG)
    compress_here(photos, config)
    save(photos / "a.png", np.rot90(read_picture(photos / "a.png").rgb, 2).copy())
    states = {Path(event["bitstream"]).name: event["state"] for event in compress_here(photos, config).events}
    assert states == {"a.jpg": "done", "b.jpg": "resumed"}


def test_a_lost_or_shortened_bitstream_is_made_again(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG)
    records = compress_here(photos, config).records()
    (photos / records[0]["bitstream"]).unlink()
    (photos / records[1]["bitstream"]).write_bytes(b"short")
    again = compress_here(photos, config)
    assert [event["state"] for event in again.events] == ["done", "done"]
    assert sorted(r["bitstream_sha256"] for r in again.records()) == sorted(r["bitstream_sha256"] for r in records)


def test_another_binary_is_another_job(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """What one tool coded must not pass for another's, though folder and command are the same."""
    config = write_experiment(X265)
    one, two = (faulty_ffmpeg(tmp_path / name, f': {name}; exec "$real" "$@"') for name in ("one", "two"))
    runs = [compress_here(photos, config, "--bin-dir", tool) for tool in (one, one, two, two)]
    states = [{event["state"] for event in run.events} for run in runs]
    assert states == [{"done"}, {"resumed"}, {"done"}, {"resumed"}]
    note = "results that another tool made are there (experiment trial), and are made anew"
    assert [note in run.err for run in runs] == [False, False, True, False]


def test_a_run_that_waits_for_another_says_for_whom(
    photos: Path, write_experiment: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CompressRun(experiment.load(str(write_experiment(JPEG))), photos, LocalRunner(), CompressSettings(jobs=1))
    run.store.prepare()
    first = next(run.jobs())
    claim, lines = run.store.claim(first.bitstream), list[str]()

    def say(_: Progress, line: str) -> None:
        lines.append(line)
        if "waiting for another run" in line and claim is not None:
            claim.release()

    monkeypatch.setattr(Progress, "say", say)
    assert run.execute(lambda *_: None).done == 2
    assert any(f"1 jobs, {first.title}: process {os.getpid()} on {socket.gethostname()}, since " in line
               for line in lines)  # fmt: skip


def test_a_picture_replaced_while_the_run_is_on(photos: Path, write_experiment: Write) -> None:
    """A record must never name another picture than the one that was coded."""
    run = CompressRun(experiment.load(str(write_experiment(JPEG))), photos, LocalRunner(), CompressSettings(jobs=1))
    planned = list(run.jobs())
    save(photos / "a.png", read_picture(photos / "b.png").rgb)
    assert planned[0].sha256 != (hashlib.sha256((photos / "a.png").read_bytes()).hexdigest(),)
    outcome = run.execute(lambda *_: None)
    assert [(job.sources[0].path.name, "changed since this run" in str(error)) for job, error in outcome.failed] == [
        ("a.png", True)
    ]
    assert outcome.done == 1


def test_stray_files_and_damaged_records_hinder_nothing(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG)
    compress_here(photos, config)
    (photos / "results/.DS_Store").write_text("")
    (photos / "results/zzz").write_text("")
    record = next((photos / "results/trial/records").rglob("a.jpg.json"))
    good = json.loads(record.read_text())
    damaged: list[bytes] = [
        b"", b"\xff", b"[]", b"[" * 100_000, b'{"schema_version": 1}',
        *(json.dumps({**good, **change}).encode() for change in (
            {"bitstream": None}, {"bitstream": "a\0b"}, {"bitstream": "../../x"}, {"bitstream": "/etc/passwd"},
            {"frames": 7}, {"color_subsampling": "999"}, {"sources": [1]}, {"width_px": 0}, {"key": "x"},
        )),
    ]  # fmt: skip
    for content in damaged:
        record.write_bytes(content)
        again = compress_here(photos, config)
        assert again.code == 0, again.err
        assert sorted(event["state"] for event in again.events) == ["done", "resumed"], content[:80]


def test_the_table_holds_every_record_of_the_experiment(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG, X265)
    compress_here(photos, config)
    compress_here(photos, config, "--encoder", "jpeg")
    table = (photos / "results/trial/compression.csv").read_text()
    assert len(table.splitlines()) == 5
    for option in (("--limit", "1"), ("--exclude", "b*")):
        done = compress_here(photos, config, *option)
        assert done.code == 0, done.err
        rows = (photos / "results/trial/compression.csv").read_text().splitlines()
        assert len(rows) == 3, "rows that are not asked for now"
    (photos / "a.png").write_bytes((photos / "a.png").read_bytes()[:5000])
    compress_here(photos, config)
    table = (photos / "results/trial/compression.csv").read_text()
    assert len(table.splitlines()) == 3, "what failed has no record that still holds"


def test_a_taken_over_record_gets_this_experiments_seed(photos: Path, write_experiment: Write) -> None:
    compress_here(photos, write_experiment(JPEG, name="first", head="seed = 1"))
    again = compress_here(photos, write_experiment(JPEG, name="second", head="seed = 2"))
    assert {(r["experiment"], r["seed"]) for r in again.records()} == {("second", 2)}


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    root = tmp_path / "linked"
    root.mkdir()
    (root / "elsewhere").symlink_to(photos)
    (photos / "circle").symlink_to(root)
    done = compress_here(root, write_experiment(JPEG))
    assert [Path(r["bitstream"]).parts[1:] for r in done.records()] == [("elsewhere", "a.jpg"), ("elsewhere", "b.jpg")]


def test_results_do_not_leave_the_data_root(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (photos / "images_JPEG(quality=30, color_subsampling=420, subsampling_factor=1.0)").symlink_to(outside)
    done = compress_here(photos, write_experiment(JPEG))
    assert done.code == 1
    assert "leads out of the data root" in done.err
    assert not list(outside.iterdir())


def test_names_that_hardly_fit_and_names_that_do_not(photos: Path, astronaut: U8, write_experiment: Write) -> None:
    for length in (246, 247, 251):  # .jpg.json is the longest that is appended, 255 bytes the limit
        save(photos / f"{'n' * length}.png", astronaut[:32, :32])
    done = compress_here(photos, write_experiment(JPEG))
    states = {len(Path(event["bitstream"]).stem): event["state"] for event in done.events}
    assert states == {1: "done", 246: "done", 247: "failed", 251: "failed"}
    assert "File name too long" in done.err
    assert len(list(photos.rglob("*.jpg"))) == 3
    assert not half_written(photos)


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_a_name_that_is_not_utf8(photos: Path, astronaut: U8, write_experiment: Write) -> None:
    os.rename(photos / "b.png", os.fsencode(photos) + b"/b\xff.png")
    done = compress(photos, write_experiment(JPEG), env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.code == 1
    assert sorted(event["state"] for event in done.events) == ["done", "failed"]
    assert "its name is not UTF-8; rename it" in done.err


def test_a_data_root_that_cannot_be_written(photos: Path, write_experiment: Write) -> None:
    (photos / "results").write_text("a file where the folder should be")
    done = compress_here(photos, write_experiment(JPEG))
    assert (done.code, done.out) == (2, "")
    assert "results/trial: cannot be written" in done.err


def test_more_jobs_than_cores(photos: Path, write_experiment: Write) -> None:
    done = compress_here(photos, write_experiment(JPEG), "--jobs", 1000)
    assert done.code == 0
    assert "--jobs 1000: this machine has" in done.err


def test_without_a_home(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    assert compress(photos, write_experiment(JPEG), env=environment).code == 0
    (tmp_path / "home").write_text("")
    environment["HOME"] = str(tmp_path / "home")
    assert compress(photos, write_experiment(X265), env=environment).code == 0


def test_the_way_of_a_jm_job(tmp_path: Path, streets: Path, write_experiment: Write) -> None:
    """Not JM itself, which is not to be had here: its command lines, its scratch folder and its log on their way."""
    config = write_experiment(
        'encoder = "jm"\nquality = [0, 30]', 'encoder = "jm"\nquality = [30]\ncompat = "qomex2023"\nstacked = true'
    )
    done = compress_here(streets, config, "--bin-dir", scripted_jm(tmp_path / "bin"))
    assert done.code == 0, done.err
    assert len(done.records()) == 12
    stack = next(r for r in done.records() if r["frames"] == 3)
    assert stack["bitstream"].endswith("subsampling_factor=1.0)/leftImg8bit/val/frankfurt/frankfurt.264")
    assert {r["coded_qp"] == r["quality"] for r in done.records()} == {True}
    assert stack["tool"]["encode"]["version"] == "JM-19 (FRExt)"
    assert not list(streets.rglob("*.dat")) + list(streets.rglob("*.dec")) + list(Path.cwd().glob("log.dat"))
    cut = compress_here(streets, config, "--bin-dir", scripted_jm(tmp_path / "cut", cut_bytes=100))
    assert {event["state"] for event in cut.events} == {"failed"}
    assert re.search(r"lencod reports \d+ bytes but its file has \d+: cut off", cut.err)


def test_dry_run_plans_and_starts_nothing(streets: Path, write_experiment: Write) -> None:
    before = tree(streets)
    done = type_command("compress", "-d", streets, "-s", "qomex2023", "--dry-run", "--runner", "local")
    assert done.code == 0, done.err
    assert "176 coding configurations, 5 pictures, 484 jobs, 0 done" in done.out  # 44 x 5 + 3 x 44 x 2 cities
    assert tree(streets) == before
    config = write_experiment(JPEG)
    compress_here(streets, config)
    again = type_command("compress", "-d", streets, "-s", config, "--dry-run", "--runner", "local")
    assert "5 jobs, 5 done, about 0.0 MB" in again.out


def test_only_some_encoders(photos: Path, write_experiment: Write) -> None:
    config = write_experiment(JPEG, X265)
    assert {r["encoder"] for r in compress_here(photos, config, "--encoder", "jpeg").records()} == {"jpeg"}
    wrong = compress_here(photos, config, "--encoder", "vvenc")
    assert (wrong.code, wrong.out) == (2, "")
    assert "--encoder 'vvenc': experiment 'trial' has jpeg x265" in wrong.err


def test_the_script_of_the_published_sentence(photos: Path) -> None:
    script = CHECKOUT / "run_compression.py"
    done = subprocess.run(
        [sys.executable, script, "-d", photos, "-s", "quick", "--runner", "local"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    header = done.stdout.splitlines()[0].split()
    assert header[:3] == ["encoder", "quality", "chroma"]
    assert "bpp" in header
    assert str(photos / "results/quick") in done.stderr
