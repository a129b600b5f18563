"""Times of tools in containers: the arithmetic over two clocks, and the shell around a tool."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from vcmbench.execution.runner import timing

S = 10**9
NOW_NS = 1_790_000_000 * S


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (f"{NOW_NS}:{NOW_NS + 1_234_567_890}:100.00:101.23\n", 1.23456789),  # both agree: the finer one
        (f"{NOW_NS}:{NOW_NS + 5_000_000}:100.00:100.00", 0.005),  # too short for the uptime
        (f"{NOW_NS}:{NOW_NS + 40_000_000}:100.00:100.00", 0.04),  # within what the uptime cannot tell
        (f"{NOW_NS}:{NOW_NS - 3600 * S}:100.00:102.50", 2.5),  # set back by an hour
        (f"{NOW_NS}:{NOW_NS + 3602 * S}:100.00:102.50", 2.5),  # set forward
        (f"{NOW_NS}:{NOW_NS - 1000}:100.00:100.00", None),  # set back by a trifle within a hundredth
        (f"{NOW_NS}:{NOW_NS + 2 * S}::", 2.0),  # no /proc
        (f"{NOW_NS}:{NOW_NS - 2 * S}::", None),
        ("::100.00:102.50", 2.5),  # no date
        (f"{NOW_NS}N:{NOW_NS}N:100.00:102.50", 2.5),  # a date without nanoseconds
        (":::", None),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_wall_clock_unless_the_uptime_contradicts(text: str, seconds: float | None) -> None:
    found = timing.elapsed_s(text)
    assert found == (None if seconds is None else pytest.approx(seconds, abs=1e-9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def run(folder: Path, *argv: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    # ends_all is for containers only: here it would end this test, and all else
    return subprocess.run(
        timing.wrapped(argv, ends_all=False), cwd=folder, env={"PATH": path}, capture_output=True, text=True
    )


def test_the_shell_hands_on_code_output_and_arguments(folder: Path) -> None:
    done = run(folder, "sh", "-c", 'printf "<%s>" "$@"; echo err >&2; exit 7', "sh", "a b", "*", "$(id)", "")
    assert (done.returncode, done.stdout, done.stderr) == (7, "<a b><*><$(id)><>", "err\n")
    assert 0 <= timing.elapsed_s(timing.read(folder) or "") < 5  # type: ignore[operator]
    assert run(folder, "sh", "-c", "kill -SEGV $$").returncode == 128 + 11
    assert run(folder, "/nowhere/tool").returncode == 127


def test_the_time_is_the_tools(folder: Path) -> None:
    start = time.perf_counter()
    run(folder, "sleep", "0.3")
    outside = time.perf_counter() - start
    assert 0.3 <= timing.elapsed_s(timing.read(folder) or "") < outside  # type: ignore[operator]


def test_a_clock_that_is_set_back_meanwhile(folder: Path) -> None:
    """A `date` that tells an earlier time with each call."""
    (folder / "bin").mkdir()
    (folder / "bin/date").write_text(
        f"#!/bin/sh\nn=$(/bin/cat {folder}/n 2>/dev/null || echo 5000); echo $((n - 1)) > {folder}/n\n"
        'echo "${n}000000000"\n'
    )
    (folder / "bin/date").chmod(0o755)
    run(folder, "sleep", "0.2", path=f"{folder}/bin:/usr/bin:/bin")
    assert (timing.read(folder) or "").startswith("5000000000000:4999000000000:")
    assert timing.elapsed_s(timing.read(folder) or "") == pytest.approx(0.2, abs=0.1)


def test_what_lies_in_the_results_place_is_no_result(folder: Path) -> None:
    place = folder / timing.RESULT
    assert timing.read(folder) is None
    place.mkdir()
    (place / "full").touch()
    assert timing.read(folder) is None
    assert run(folder, "true").returncode == 0
    assert timing.elapsed_s(timing.read(folder) or "") is not None, "replaced"
    place.unlink()
    subprocess.run(["mkfifo", place], check=True)
    assert timing.read(folder) is None, "and is not waited for"
    place.unlink()
    place.write_bytes(b"\xff" * 10)
    assert timing.read(folder) is None


def test_a_tool_that_writes_without_end_is_stopped(folder: Path) -> None:
    """A hole makes a file of that size at no cost."""
    limit = timing.FILE_LIMIT_BYTES
    if shutil.disk_usage(folder).free < 1 << 20:
        pytest.skip("no room")
    assert run(folder, "truncate", "-s", str(limit), "file").returncode == 0
    (folder / "file").unlink()
    done = run(folder, "truncate", "-s", str(limit + 1), "file")
    assert done.returncode == 128 + 25, "SIGXFSZ"
