"""What goes wrong for users: pictures, requests, tools, disks, signals. Each is named, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.commands import JPEG, X265, compress, half_written, tree, type_command
from tests.helpers.pictures import save, write_png16
from tests.helpers.tools import faulty_ffmpeg
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.encoder import plugins
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.io import locks
from vcmbench.io.files import is_alive

U8 = NDArray[np.uint8]
Write = Callable[..., Path]


STRANGE = [
    "with spaces",
    "a,b",
    "it's",
    'say "hi"',
    "$(touch x)`y`",
    "서울 거리",
    "-dash",
    "a=b(c)",
    "perc%20d",
    "new\nline",
]


@pytest.mark.parametrize("name", STRANGE)
def test_strange_names(name: str, tmp_path: Path, astronaut: U8, write_experiment: Write) -> None:
    root = tmp_path / name / name
    save(root / f"{name}.png", astronaut)
    done = compress(root, write_experiment(JPEG, X265))
    assert done.code == 0, done.err
    assert [Path(record["bitstream"]).name for record in done.records()] == [f"{name}.jpg", f"{name}.265"]
    assert all((root / record["bitstream"]).is_file() for record in done.records())


def test_bad_pictures_are_named_and_the_others_finish(photos: Path, astronaut: U8, write_experiment: Write) -> None:
    data = (photos / "a.png").read_bytes()
    (photos / "truncated.png").write_bytes(data[: len(data) // 2])
    (photos / "not an image.png").write_text("hello")
    Image.fromarray(np.zeros((64, 64), np.uint16)).save(photos / "deep.png")
    write_png16(photos / "deep colour.png")
    save(photos / "dot.png", astronaut[:1, :1])
    save(photos / "odd.png", astronaut[:97, :63])
    save(photos / "gray.png", astronaut[..., 1])
    config = write_experiment(X265)
    done = compress(photos, config)
    assert done.code == 1
    states = {Path(event["bitstream"]).name: event["state"] for event in done.events}
    good, bad = (
        ["a.265", "b.265", "gray.265", "odd.265"],
        ["deep.265", "deep colour.265", "dot.265", "not an image.265", "truncated.265"],
    )
    assert {name: states[name] for name in good} == dict.fromkeys(good, "done")
    assert {name: states[name] for name in bad} == dict.fromkeys(bad, "failed")
    for complaint in (
        "truncated.png: damaged or truncated image",
        "not an image.png: not an image that can be read",
        "deep.png: more than 8 bits a sample",
        "deep colour.png: more than 8 bits a sample",
        "dot.png: coded size 1x1: x265 takes sides of 16..8192 px",
    ):
        assert complaint in done.err
    assert f"failed: {photos / 'truncated.png'}: damaged" in done.err.splitlines()[0], "it is no coding's fault"
    odd = next(r for r in done.records() if r["sources"][0]["name"] == "odd")
    assert (odd["width_px"], odd["height_px"], odd["coded_width_px"], odd["coded_height_px"]) == (63, 97, 64, 98)
    assert next(r for r in done.records() if r["sources"][0]["name"] == "gray")["notes"] == [
        "gray: mode L converted to RGB"
    ]
    assert not half_written(photos)
    assert not list(photos.rglob("truncated.265*"))
    again = compress(photos, config)
    assert sorted(event["state"] for event in again.events) == ["failed"] * 5 + ["resumed"] * 4
    assert "\nbitstreams: " in again.err
    for path in [one for one in photos.iterdir() if one.is_dir() or one.name != "truncated.png"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    nothing = compress(photos, config)
    assert nothing.code == 1 and "0 done, 0 were done before, 1 failed" in nothing.err
    assert "bitstreams:" not in nothing.err and "table:" not in nothing.err, "there are none"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-s", "nothing"], "no experiment 'nothing'"),
        (["-s", "quick", "-d", "/nowhere"], "data folder '/nowhere': does not exist"),
        (["-s", "quick", "--jobs", "0"], "'0' is no whole number from 1"),
        (["-s", "quick", "--timeout", "-1"], "'-1' is no positive number"),
        (["-s", "quick", "--bin-dir", "/nowhere"], "--bin-dir '/nowhere': is not a folder"),
        (
            ["-s", "qomex2023", "--runner", "local"],
            "jm: no lencod in --bin-dir or on PATH; install it, or: vcmbench encoders build jm",
        ),
        (["-s", "quick", "--runner", "docker", "--bin-dir", "."], "--bin-dir: containers bring their own tools"),
        (["-s", "quick", "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_requests_start_nothing(photos: Path, words: list[str], complaint: str) -> None:
    before = tree(photos)
    done = type_command("compress", "-d", photos, *words, env={**os.environ, "PATH": ""})
    assert (done.code, done.out) == (2, "")
    assert complaint in done.err
    assert "Traceback" not in done.err
    assert tree(photos) == before


@pytest.mark.parametrize(
    ("encode", "complaint"),
    [
        ("echo I am broken >&2; exit 1", "ffmpeg exited with code 1"),
        ("exit 0", "ended well but wrote no bitstream"),
        (': > "$out"', "ended well but wrote no bitstream"),
        ('"$real" "$@"; truncate -s -20 "$out"', "bytes but its file has"),
        ('"$real" "$@"; truncate -s 50% "$out" || truncate -s 1000 "$out"', "bytes but its file has"),
        ('head -c 3000 /dev/urandom > "$out"', "ffmpeg exited with code|decoded nothing|decoder wrote"),
        ("kill -SEGV $$", "ffmpeg was killed by signal 11"),
        ("sleep 600 & sleep 600", "ffmpeg was stopped after 2 s"),
    ],
)
def test_tools_that_fail(tmp_path: Path, photos: Path, write_experiment: Write, encode: str, complaint: str) -> None:
    before = tree(photos)
    config = write_experiment(X265, JPEG)
    start = time.monotonic()
    done = compress(photos, config, "--bin-dir", faulty_ffmpeg(tmp_path / "bin", encode), "--timeout", 2)
    assert time.monotonic() - start < 60
    assert done.code == 1
    states = {Path(event["bitstream"]).name: event["state"] for event in done.events}
    assert states == {"a.265": "failed", "b.265": "failed", "a.jpg": "done", "b.jpg": "done"}
    failed = next(event for event in done.events if event["state"] == "failed")
    assert re.search(complaint, failed["error"])
    assert failed["command"][0] == "ffmpeg", "the command line stands in the message"
    if "broken" in encode:
        assert "| I am broken" in done.err
    assert not half_written(photos)
    assert not [name for name in tree(photos) if ".265" in name]
    assert {name: tree(photos)[name] for name in before} == before
    assert compress(photos, config).code == 0, "with a sound tool the same run goes on"


def test_a_named_folder_of_binaries_is_not_passed_over(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ffmpeg").write_text("#!/bin/sh\nexit 1\n")
    (folder / "ffmpeg").chmod(0o755)
    done = compress(photos, write_experiment(X265), "--bin-dir", folder)
    assert done.code == 2
    assert f"{folder}/ffmpeg: has no encoder libx265 (it gave no list)" in done.err


def test_a_tool_that_cannot_start_does_not_hide_another(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """Built for a newer libc, or for another machine: FFmpeg does it, and the reason is said."""
    folder = tmp_path / "bin"
    folder.mkdir()
    complaint = "vvencFFapp: /lib/libc.so.6: version `GLIBC_2.99' not found (required by vvencFFapp)"
    (folder / "vvencFFapp").write_text(f'#!/bin/sh\necho "{complaint}" >&2\nexit 1\n'.replace("`", "\\`"))
    (folder / "vvdecapp").write_bytes(b"\x7fELF of another machine")
    for tool in folder.iterdir():
        tool.chmod(0o755)
    done = compress(photos, write_experiment('encoder = "vvenc"\nquality = [40]'), "--bin-dir", folder)
    assert (done.code, done.records()[0]["tool"]["encode"]["program"]) == (0, "ffmpeg"), done.err
    assert f"warning: {folder}/vvencFFapp: cannot be started here and is passed over: {complaint}" in done.err
    assert f"warning: {folder}/vvdecapp: cannot be started here and is passed over: Exec format error" in done.err
    (folder / "lencod").write_bytes((folder / "vvencFFapp").read_bytes())
    (folder / "lencod").chmod(0o755)
    tested = type_command("encoders", "test", "jm", "vvenc", "--bin-dir", folder)
    assert "jm: no lencod in" in tested.out and "GLIBC_2.99" in tested.out
    assert "vvenc: ok: " in tested.out


def test_encoders_test_shows_what_a_tool_printed(tmp_path: Path) -> None:
    folder = faulty_ffmpeg(tmp_path / "bin", "echo I am broken >&2; exit 1")
    tested = type_command("encoders", "test", "x265", "--bin-dir", folder)
    assert tested.code == 1
    assert "x265: failed: ffmpeg exited with code 1" in tested.out and "    | I am broken" in tested.out


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("where", [(), ("--jobs", 2)])
def test_disk_full(where: tuple[object, ...], tmp_path: Path, write_experiment: Write) -> None:
    """On a file system of 700 kB nothing is half-written; with room again the same run goes on."""
    root = tmp_path / "small"
    root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", root], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        rng = np.random.default_rng(0)
        for name in "abcd":
            save(root / f"{name}.png", rng.integers(0, 255, (160, 160, 3), dtype=np.uint8))
        config = write_experiment('encoder = "none"', 'encoder = "lossless"', JPEG)
        done = compress(root, config, *where)
        assert done.code == 1
        assert "No space left on device" in done.err
        assert "Traceback" not in done.err
        assert not half_written(root)
        for record in root.rglob("*.json"):
            assert json.loads(record.read_text())["size_bytes"] > 0
        subprocess.run(["mount", "-o", "remount,size=16m", root], check=True)
        again = compress(root, config, *where)
        assert again.code == 0, again.err
        assert len(again.events) == 12
        assert type_command("verify", "-d", root, "-s", config).code == 0
    finally:
        subprocess.run(["umount", root], check=True)


def test_a_binary_that_is_swapped_while_a_run_goes_makes_no_record(
    tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """Neither of what it coded before the swap and might not have, nor of what the other one would code."""
    config = write_experiment(X265, X265.replace("32", "40"))
    # a copy of each start's own: two jobs that share one would start what the other is still writing
    swapping = 'cp -p "$0" "$0.$$"; mv "$0.$$" "$0"; exec "$real" "$@"'
    for script, why in (
        (swapping, "was replaced or changed while it ran"),
        (swapping.replace("mv", 'echo >> "$0.$$"; mv'), "is another binary than when this run began"),
    ):
        folder = faulty_ffmpeg(tmp_path / "bin", script)
        done = compress(photos, config, "--bin-dir", folder)
        assert done.code == 1 and not done.records()
        assert {why in event["error"] for event in done.events} >= {True}, done.err
        assert all(str(folder / "ffmpeg") in event["error"] for event in done.events)
    assert compress(photos, config, "--bin-dir", faulty_ffmpeg(folder, 'exec "$real" "$@"')).code == 0


@pytest.mark.parametrize("coding", [JPEG, X265])
def test_a_full_scratch_folder_is_named_and_not_the_data_root(
    coding: str, tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """Whether we or a tool fill it up."""
    small = tmp_path / "small"
    small.mkdir()
    size = "16k" if coding == JPEG else "300k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        done = compress(photos, write_experiment(coding), env={**os.environ, "TMPDIR": str(small)})
        assert done.code == 1
        errors = [event["error"] for event in done.events]
        assert errors and all(str(small) in error and str(photos) not in error for error in errors)
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_at_once_and_goes_on_later(
    tmp_path: Path, photos: Path, write_experiment: Write, number: signal.Signals
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    slow = faulty_ffmpeg(tmp_path / "bin", 'touch "$HOME/started"; sleep 600 & wait')
    config = write_experiment(X265, JPEG)
    words = ["compress", "-d", photos, "-s", config, "--runner", "local", "--bin-dir", slow, "--jobs", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vcmbench", *map(str, words)],
        env={**os.environ, "HOME": str(tmp_path), "TMPDIR": str(scratch), "PYTHONFAULTHANDLER": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "started").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            os.sched_yield()
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler shows where its threads are
        pytest.fail("did not end: " + process.communicate()[1])
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted: run the same command again to go on" in err
    assert not list(scratch.iterdir()), "its scratch folders are gone"
    assert not subprocess.run(["pgrep", "-f", str(slow / "ffmpeg")], capture_output=True).stdout
    assert not half_written(photos)
    assert compress(photos, config).code == 0


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux's setpriv")
def test_tools_of_a_killed_run_end_with_it(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    slow = faulty_ffmpeg(tmp_path / "bin", 'echo $$ > "$HOME/$$.pid"; exec sleep 600')
    config = write_experiment(X265, JPEG)
    process = subprocess.Popen(
        [sys.executable, "-m", "vcmbench", "compress", "-d", photos, "-s", config, "--bin-dir", slow],
        env={**os.environ, "HOME": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (pids := [file.read_text() for file in tmp_path.glob("*.pid")]) or not pids[0]:
            assert time.monotonic() < deadline
            assert process.poll() is None
            os.sched_yield()
    finally:
        process.kill()
        process.wait()
    while is_alive(int(pids[0])):
        assert time.monotonic() < deadline
        os.sched_yield()
    assert compress(photos, config).code == 0
    assert not half_written(photos)


def test_scratch_of_killed_runs_is_removed(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    stale, alive = f"vcmbench-{'a' * 32}", f"vcmbench-{'b' * 32}"
    (tmp_path / f"{stale}.scratch/in").mkdir(parents=True)
    (tmp_path / stale).touch()  # its lease, which nobody holds
    (tmp_path / f"vcmbench-{'c' * 32}").touch()  # that of a run which was killed before it had a folder
    (tmp_path / f"{alive}.scratch").mkdir()
    lease = locks.take(tmp_path / alive)
    assert lease is not None
    done = type_command(
        "compress", "-d", photos, "-s", write_experiment(JPEG), "--runner", "local",
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.code == 0, done.err
    assert sorted(path.name for path in tmp_path.glob("vcmbench-*")) == [alive, f"{alive}.scratch"]
    lease.release()


def test_a_fault_in_an_encoders_file_fails_its_jobs_only(
    photos: Path, write_experiment: Write, monkeypatch: pytest.MonkeyPatch
) -> None:

    def broken(*_: object) -> float:
        raise KeyError("oops")

    monkeypatch.setattr(type(plugins.get("x265")), "coded_qp", broken)
    outcome = CompressRun(
        experiment.load(str(write_experiment(X265, JPEG))), photos, LocalRunner(), CompressSettings()
    ).execute(lambda *_: None)
    assert outcome.done == 2
    assert [(job.encoder.name, "KeyError('oops')" in str(error)) for job, error in outcome.failed] == [
        ("x265", True)
    ] * 2
