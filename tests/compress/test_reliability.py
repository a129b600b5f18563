"""What days of work meet: killed workers, killed runs, schedulers that go away, two runs at once, clocks, damage.

Each with real processes. Nothing is lost, no record is half, and what was done is not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.clusters import Cluster, cluster, end, start, wait_until
from tests.helpers.commands import JPEG, X265, compress, half_written, tree, type_command
from tests.helpers.paths import CHECKOUT
from tests.helpers.pictures import save
from tests.helpers.tools import faulty_ffmpeg
from vcmbench.data.record import read_record
from vcmbench.io.files import is_alive

U8 = NDArray[np.uint8]
Write = Callable[..., Path]

# The first encode tells who its worker is and hangs; all others are real.
HANG_ONCE = (
    'if mkdir "$HOME/once" 2>/dev/null; then echo $PPID > "$HOME/x"; mv "$HOME/x" "$HOME/worker"; exec sleep 600; fi; '
    'exec "$real" "$@"'
)


def sound(root: Path) -> int:
    """How many records there are; each must be whole and have its bitstream."""
    from hashlib import sha256

    paths = list(root.glob("results/*/records/**/*.json"))
    for path in paths:
        record = read_record(path)
        assert record is not None, path
        assert sha256((root / record["bitstream"]).read_bytes()).hexdigest() == record["bitstream_sha256"]
    return len(paths)


def worker_of(home: Path) -> int:
    return int(wait_until(lambda: (home / "worker").exists() and (home / "worker").read_text()))


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux's setpriv")
@pytest.mark.parametrize("where", ["--jobs", "--scheduler"])
def test_a_worker_killed_in_the_middle_of_an_encode(
    where: str, tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """kill -9: its job runs again elsewhere, its tool does not go on, and the run ends as if nothing had been."""
    bins = faulty_ffmpeg(tmp_path / "bin", HANG_ONCE)
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265.replace("[32]", "[30, 31, 32]"), JPEG)
    with cluster(tmp_path / "cluster", 0) as made:
        for _ in range(2 if where == "--scheduler" else 0):
            made.start_worker(env=home)
        place = made.address if where == "--scheduler" else 2
        words = ("compress", "-d", photos, "-s", config, "--runner", "local", "--json", "--bin-dir", bins)
        process = start(*words, where, place, env=home)
        try:
            os.kill(worker_of(tmp_path), signal.SIGKILL)
            out, err = process.communicate(timeout=90)
        finally:
            end(process)
    assert process.returncode == 0, err
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["done"] * 8
    assert sound(photos) == 8
    assert not half_written(photos)
    wait_until(lambda: not subprocess.run(["pgrep", "-f", str(bins)], capture_output=True).stdout)


def test_a_job_that_kills_its_workers_fails_and_the_others_finish(
    tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """After the third death the job is given up, by name; a local cluster starts its workers again."""
    deadly = faulty_ffmpeg(
        tmp_path / "bin", 'case "$*" in *crf=31*|*qp=31*) kill -9 $PPID; sleep 600;; esac; exec "$real" "$@"'
    )
    config = write_experiment(X265.replace("[32]", "[31, 32]"), JPEG, head="[dataset]\nlimit = 1\n")
    done = compress(photos, config, "--jobs", 2, "--bin-dir", deadly)
    assert done.code == 1, done.err
    # what was done on a worker that died before it could tell is found finished, hence "resumed"
    failed = [event["bitstream"] for event in done.events if event["state"] not in ("done", "resumed")]
    assert len(done.events) == 3
    assert len(failed) == 1, done.err
    assert "quality=31" in failed[0]
    assert "its worker died 3 times over it" in done.err
    assert sound(photos) == 2
    assert compress(photos, config).code == 0


@pytest.mark.parametrize("where", [(), ("--jobs", 2), ("--scheduler",)])
def test_a_run_killed_and_resumed(
    where: tuple[object, ...], tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """kill -9 of the whole run: what it had told of as done is there, and the next run does only the rest."""
    count = 'n=$(cat "$HOME/n" 2>/dev/null || echo 0); echo $((n + 1)) > "$HOME/n"'
    hang_later = f'{count}; [ $n -ge 3 -a ! -e "$HOME/free" ] && exec sleep 600; exec "$real" "$@"'
    bins = faulty_ffmpeg(tmp_path / "bin", hang_later)
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265.replace("[32]", "[28, 29, 30, 31, 32]"))
    with cluster(tmp_path / "cluster", 0) as made:
        if where == ("--scheduler",):
            made.start_worker(env=home)
            made.wait_for_workers(1)
            where = ("--scheduler", made.address)
        words = ("compress", "-d", photos, "-s", config, "--runner", "local", "--json", "--bin-dir", bins, *where)
        process = start(*words, env=home, stderr=subprocess.DEVNULL)
        try:
            assert process.stdout is not None
            told = [json.loads(process.stdout.readline()) for _ in range(2)]
        finally:
            end(process)
        assert sound(photos) >= 2
        (tmp_path / "free").touch()
        again = type_command(*words, env=home)
        assert again.code == 0, again.err
    states = {event["bitstream"]: event["state"] for event in again.events}
    assert len(states) == sound(photos) == 10
    assert {states[event["bitstream"]] for event in told} == {"resumed"}
    assert not half_written(photos)
    assert compress(photos, config).code == 0


@pytest.mark.parametrize("how", ["stopped", "restarted"])
def test_the_scheduler_gone_for_ten_seconds(how: str, tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """It does not answer for ten seconds, or it is another one after ten seconds (then its workers are new, too)."""
    gate = 'while [ ! -e "$HOME/open" ]; do sleep 0.1; done; exec "$real" "$@"'
    bins = faulty_ffmpeg(tmp_path / "bin", f'touch "$HOME/started"; {gate}')
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265.replace("[32]", "[30, 31, 32]"), JPEG)
    with cluster(tmp_path / "cluster", 0) as made:
        made.start_worker(env=home)
        made.wait_for_workers(1)
        words = ("compress", "-d", photos, "-s", config, "--runner", "local", "--json", "--bin-dir", bins)
        process = start(*words, "--scheduler", made.address, env=home)
        try:
            wait_until((tmp_path / "started").exists, why=lambda: str(process.poll()))
            _take_scheduler_away(made, how, home)
            (tmp_path / "open").touch()
            out, err = process.communicate(timeout=120)
        finally:
            end(process)
    assert process.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert len({event["bitstream"] for event in events}) == len(events) == sound(photos) == 8
    assert {event["state"] for event in events} <= {"done", "resumed"}
    if how == "restarted":
        assert "the scheduler does not answer; waiting for it" in err
        assert "the scheduler is back" in err


def test_ctrl_c_under_a_scheduler_that_hangs(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """Nothing can be asked of it; the run ends all the same, and whoever asks it again later goes on."""
    bins = faulty_ffmpeg(
        tmp_path / "bin", 'touch "$HOME/started"; while [ ! -e "$HOME/open" ]; do sleep 0.1; done; exit 1'
    )
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265)
    with cluster(tmp_path / "cluster", 0) as made:
        made.start_worker(env=home)
        made.wait_for_workers(1)
        words = ("compress", "-d", photos, "-s", config, "--runner", "local", "--bin-dir", bins)
        process = start(*words, "--scheduler", made.address, env=home)
        try:
            wait_until((tmp_path / "started").exists, why=lambda: str(process.poll()))
            assert made.scheduler is not None
            made.scheduler.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 130, err
            made.scheduler.send_signal(signal.SIGCONT)
            (tmp_path / "open").touch()
            again = type_command(*words[:-2], "--scheduler", made.address, "--json")
        finally:
            end(process)
    assert again.code == 0, again.err
    assert sound(photos) == 2


def _take_scheduler_away(made: Cluster, how: str, home: dict[str, str]) -> None:
    assert made.scheduler is not None
    clock = subprocess.Popen(["sleep", "10"])  # the ten seconds are what is asked for
    if how == "stopped":
        made.scheduler.send_signal(signal.SIGSTOP)
        clock.wait()
        made.scheduler.send_signal(signal.SIGCONT)
        return
    end(made.scheduler)
    clock.wait()
    made.start_scheduler()
    made.start_worker(env=home)


def test_two_runs_at_once_share_the_work(tmp_path: Path, photos: Path, write_experiment: Write, astronaut: U8) -> None:
    """Both finish, no job is done twice, and both tell the same. Different experiments with common jobs, too."""
    for i in range(4):
        save(photos / f"more{i}.png", np.roll(astronaut, 16 * i, axis=0))
    log = faulty_ffmpeg(tmp_path / "bin", 'echo "$PWD" >> "$HOME/encodes"; exec "$real" "$@"')
    home = {**os.environ, "HOME": str(tmp_path)}
    grid = (X265.replace("[32]", "[28, 30, 32]"), JPEG)
    configs = [write_experiment(*grid), write_experiment(*grid), write_experiment(*grid, name="other")]
    words = ("--runner", "local", "--json", "--bin-dir", log)
    runs = [start("compress", "-d", photos, "-s", config, *words, env=home) for config in configs]
    try:
        said = [process.communicate(timeout=180) for process in runs]
    finally:
        for process in runs:
            end(process)
    assert [process.returncode for process in runs] == [0, 0, 0], [err for _, err in said]
    states = Counter()
    for out, _ in said:
        events = [json.loads(line) for line in out.splitlines()]
        assert len(events) == len({event["bitstream"] for event in events}) == 24
        states.update(event["state"] for event in events)
    assert states == {"done": 24, "resumed": 48}, "every job was done once"
    assert len((tmp_path / "encodes").read_text().splitlines()) == 18
    first, second = (sorted(photos.glob(f"results/{name}/records/**/*.json")) for name in ("trial", "other"))
    assert len(first) == len(second) == 24
    for one, other in zip(first, second, strict=True):
        records = [json.loads(path.read_text()) | {"experiment": "", "seal": ""} for path in (one, other)]
        assert records[0] == records[1]


def test_a_run_takes_over_what_another_one_was_killed_at(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """While the first hangs in an encode, the second does all else and waits; then the first is killed."""
    bins = faulty_ffmpeg(tmp_path / "bin", HANG_ONCE)
    home = {**os.environ, "HOME": str(tmp_path)}
    config = write_experiment(X265, JPEG)
    words = ("compress", "-d", photos, "-s", config, "--runner", "local", "--json", "--bin-dir", bins)
    first = start(*words, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = None
    try:
        worker_of(tmp_path)
        second = start(*words, env=home)
        wait_until(lambda: len(list(photos.glob("results/trial/records/**/*.json"))) == 3)
        assert second.poll() is None, "it waits for the one that the first is at"
        end(first)
        out, err = second.communicate(timeout=60)
    finally:
        end(first)
        if second is not None:
            end(second)
    assert second.returncode == 0, err
    assert len(out.splitlines()) == sound(photos) == 4


@pytest.fixture
def settable_clock(tmp_path: Path) -> dict[str, str]:
    """The environment of processes whose wall clock is moved by the seconds in tmp_path/shift."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        if os.environ.get("VCMBENCH_REQUIRE_DOCKER"):
            pytest.fail("needs a C compiler")
        pytest.skip("needs a C compiler")
    library, source = tmp_path / "clock.so", CHECKOUT / "tests/helpers/shifted_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    (tmp_path / "shift").write_text("0")
    return {**os.environ, "HOME": str(tmp_path), "LD_PRELOAD": str(library), "SHIFT_FILE": str(tmp_path / "shift")}


@pytest.mark.parametrize("where", [(), ("--jobs", 2)])
def test_a_clock_that_jumps_back(
    where: tuple[object, ...], tmp_path: Path, photos: Path, write_experiment: Write, settable_clock: dict[str, str]
) -> None:
    """By a day, in the middle of an encode: the run goes on, its times are sane, and what is done stays done."""
    jump = 'echo -86400 > "$HOME/new"; mv "$HOME/new" "$HOME/shift"; touch "$HOME/jumped"'
    bins = faulty_ffmpeg(tmp_path / "bin", f'[ -e "$HOME/jumped" ] || {{ {jump}; }}; exec "$real" "$@"')
    config = write_experiment(X265.replace("[32]", "[30, 31, 32]"), JPEG)
    done = compress(photos, config, "--bin-dir", bins, *where, env=settable_clock)
    assert done.code == 0, done.err
    asked = subprocess.run([sys.executable, "-c", "import time; print(time.time())"], env=settable_clock,
                           capture_output=True, text=True, check=True)  # fmt: skip
    assert float(asked.stdout) < time.time() - 80_000, "the clock was set back"
    assert [event["state"] for event in done.events] == ["done"] * 8
    assert all(0 < record["encode_s"] < 60 and 0 < record["decode_s"] < 60 for record in done.records())
    assert sound(photos) == 8
    again = compress(photos, config, "--bin-dir", bins, *where)
    assert {event["state"] for event in again.events} == {"resumed"}


def test_what_nobody_holds_any_more_is_removed(photos: Path, write_experiment: Write) -> None:
    """Leases, claims and half-written files of processes that are gone; not those of the living."""
    from vcmbench.data.dataset import open_root
    from vcmbench.data.store import Store

    config = write_experiment(JPEG)
    compress(photos, config)
    results = photos / "results"
    for name in (".leases/dead", ".claims/dead", ".tmp/dead.abc"):
        (results / name).write_text("")
    store = Store(open_root(photos), "trial")
    mine = store.temporary()
    mine.write_text("half")
    with store.claim(Path("x")) as claim:  # type: ignore[union-attr, arg-type]
        assert compress(photos, config).code == 0
        assert mine.exists()
        assert claim.path.exists()
    mine.unlink()
    assert {path.name for path in results.glob(".*/*")} == {mine.name.split(".")[0]}


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    from vcmbench.io import locks

    hold = (
        "import sys; from pathlib import Path; from vcmbench.io import locks; "
        "lease = locks.take(Path(sys.argv[1])); print(lease is not None, flush=True); sys.stdin.read()"
    )
    path = tmp_path / "claim"
    process = subprocess.Popen([sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        assert locks.is_held(path)
        assert locks.take(path) is None
    finally:
        end(process)
    assert not is_alive(process.pid)
    assert not locks.is_held(path)
    lease = locks.take(path)
    assert lease is not None
    lease.release()
    assert not path.exists()


def test_on_many_threads_one_claim_at_a_time(tmp_path: Path) -> None:
    """Taken and let go of by many, the file removed each time: never two at once."""
    from concurrent.futures import ThreadPoolExecutor

    from vcmbench.io import locks

    inside: list[int] = []

    def try_often(_: int) -> int:
        taken = 0
        while taken < 40:
            if (lease := locks.take(tmp_path / "claim")) is not None:
                inside.append(1)
                assert len(inside) == 1
                inside.pop()
                lease.release()
                taken += 1
        return taken

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(try_often, range(8))) == [40] * 8


def test_records_of_the_version_before_count(photos: Path, write_experiment: Write) -> None:
    """They have no seal, and are not made again for that."""
    config = write_experiment(JPEG)
    compress(photos, config)
    for path in photos.glob("results/trial/records/**/*.json"):
        record: dict[str, Any] = json.loads(path.read_text())
        del record["seal"]
        path.write_text(json.dumps(record | {"schema_version": 2}))
    assert {event["state"] for event in compress(photos, config).events} == {"resumed"}


def test_a_symlink_out_of_the_results_is_no_claim(tmp_path: Path, photos: Path, write_experiment: Write) -> None:
    """A link in the place of a lease leads nowhere: it is neither written through nor removed."""
    config = write_experiment(JPEG)
    compress(photos, config)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (photos / "results/.leases/link").symlink_to(victim)
    before = tree(tmp_path / "photos")
    assert compress(photos, config).code == 0
    assert victim.read_text() == "precious"
    assert tree(tmp_path / "photos") == before
