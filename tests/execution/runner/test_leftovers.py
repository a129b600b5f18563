"""What tools leave behind: it ends with its command, others' processes do not, a killed run's ends with the next."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcmbench.encoder.base import Command
from vcmbench.errors import Cancelled, JobError
from vcmbench.execution.runner import leftovers
from vcmbench.execution.runner.base import Worker
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.execution.runner.scratch import remove_stale_scratch
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.io import locks
from vcmbench.io.files import is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="by /proc")

SH = FoundTool("sh", "/bin/sh", "", "")


@pytest.fixture
def worker() -> Iterator[Worker]:
    one = LocalRunner().worker()
    yield one
    one.close()


def run(worker: Worker, script: str, timeout_s: float = 30) -> str:
    return worker.run(SH, Command(("sh", "-c", script)), timeout_s).log


def processes(marker: str) -> list[int]:
    """The living processes whose environment has that text."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(marker) in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def of(worker: Worker) -> list[int]:
    return processes(str(worker.scratch.lease))


LEAVING = [
    "sleep 600 &",
    "setsid sleep 600 &",
    "setsid -f sleep 600",
    "setsid sh -c 'setsid sleep 600 & sleep 600 & wait' &",
    "set -m; sleep 600 & sleep 600 &",
    "trap '' HUP TERM INT; setsid sh -c \"trap '' HUP TERM INT; sleep 600; sleep 600\" &",
]


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("ending", ["exit 0", "exit 3", "kill -9 $$", "sleep 600"])
def test_what_a_tool_leaves_behind_ends_with_it(leaving: str, ending: str, worker: Worker) -> None:
    """However it ends, and although what it leaves keeps its output open."""
    start = time.monotonic()
    try:
        run(worker, f"{leaving}\necho said; {ending}", timeout_s=1 if ending == "sleep 600" else 60)
    except JobError as error:
        expected = {"exit 3": "code 3", "kill -9 $$": "signal 9", "sleep 600": "after 1 s"}[ending]
        assert expected in str(error)
    assert time.monotonic() - start < 30, "nobody waits for what is left behind"
    assert of(worker) == []


def test_output_is_kept_to_its_end(worker: Worker) -> None:
    assert run(worker, "echo out; echo err >&2; setsid sleep 600 &").split() == ["out", "err"]
    log = run(worker, "yes | head -c 3000000; echo last")
    assert log.strip().endswith("last")
    assert len(log) < 2 << 20, "and memory does not grow with it"
    assert run(worker, "exec >&- 2>&-; sleep 0.1").strip() == "", "a tool that closes its output is waited for"


def test_children_of_others_are_left_alone(worker: Worker) -> None:
    """Also orphans that were given to us, and the tools of another worker at the same time."""
    ours = subprocess.Popen(["sleep", "600"])
    other = LocalRunner().worker()
    said: list[str] = []
    script = "echo > started; until [ -e go ]; do :; done; echo finished"
    thread = threading.Thread(target=lambda: said.append(run(other, f"(setsid sleep 600 &) ; {script}")))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not (other.scratch.outputs / "started").exists():
            assert time.monotonic() < deadline
            os.sched_yield()
        orphaning = ["sh", "-c", "sleep 600 >&- 2>&- & echo $!"]
        orphan = int(subprocess.run(orphaning, capture_output=True, check=True).stdout)
        before = of(other)
        assert len(before) >= 2
        for _ in range(3):
            run(worker, "setsid sleep 600 & setsid -f sleep 600")
        assert of(worker) == []
        assert sorted(pid for pid in before if is_alive(pid)) == sorted(before)
        (other.scratch.outputs / "go").touch()
        thread.join(timeout=60)
        assert said[0].strip() == "finished"
        assert of(other) == []
        assert ours.poll() is None
        assert Path(f"/proc/{orphan}/status").read_text().split("PPid:")[1].split()[0] == str(os.getpid())
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)
    finally:
        ours.kill()
        ours.wait()
        other.close()


def test_orphans_are_ours_only_while_a_tool_runs(worker: Worker) -> None:
    """Nobody here would bury what has nothing to do with a tool."""
    for script in ("true", "exit 3"):
        with contextlib.suppress(JobError):
            run(worker, script)
        answer = ctypes.c_int(-1)
        assert ctypes.CDLL(None).prctl(37, ctypes.byref(answer), 0, 0, 0) == 0  # PR_GET_CHILD_SUBREAPER
        assert answer.value == 0


def test_no_zombies_gather(worker: Worker) -> None:
    """What ended before its tool did is buried, too."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text().split()
    for _ in range(5):
        run(worker, "(true &); (sh -c 'exit 3' &); (sleep 600 &); sleep 0.05")
    assert children.read_text().split() == before


def test_cancelling_ends_leftovers_too(worker: Worker) -> None:
    runner = LocalRunner()
    one = runner.worker()

    def cancel() -> None:
        deadline = time.monotonic() + 30
        while not (one.scratch.outputs / "started").exists() and time.monotonic() < deadline:
            os.sched_yield()
        runner.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        run(one, "setsid sleep 600 & echo > started; sleep 600")
    thread.join()
    assert of(one) == []
    one.close()


def test_a_killed_runs_tools_end_when_the_next_run_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """setpriv ends the tool itself; its children in sessions of their own live on until somebody looks."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "from vcmbench.encoder import Command; from vcmbench.execution.runner.tool import FoundTool\n"
        "from vcmbench.execution.runner.local import LocalRunner; worker = LocalRunner().worker()\n"
        "print(worker.scratch.lease, flush=True)\n"
        "sh = FoundTool('sh', '/bin/sh', '', '')\n"
        "leaving = 'setsid sleep 600 & setsid sleep 600 & echo > started; sleep 600'\n"
        "worker.run(sh, Command(('sh', '-c', leaving)), 600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    living = LocalRunner().worker()  # of a run that lives: nothing of it may end
    alive = subprocess.Popen(
        ["sleep", "600"], env={**os.environ, leftovers.VARIABLE: leftovers.new(living.scratch.lease)}
    )
    unknown = subprocess.Popen(
        ["sleep", "600"], env={**os.environ, leftovers.VARIABLE: leftovers.new(tmp_path / "no such")}
    )
    # names that mean something else where those processes live
    namespace, rest = leftovers.new(tmp_path / "stale").split(" ", 1)
    foreign = [f"1 {rest}", f"{namespace} 1:1:1 0 {tmp_path}/no such", f"{namespace} 1", ""]
    others = [subprocess.Popen(["sleep", "600"], env={**os.environ, leftovers.VARIABLE: mark}) for mark in foreign]
    (tmp_path / "stale").touch()
    try:
        assert process.stdout is not None
        lease = Path(process.stdout.readline().strip())
        deadline = time.monotonic() + 60
        while not (lease.with_suffix(".scratch") / "out/started").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
        remove_stale_scratch()
        assert len(processes(str(lease))) >= 3, "its run lives"
        process.kill()
        process.wait()
        assert processes(str(lease))
        assert locks.is_held(living.scratch.lease)
        remove_stale_scratch()
        while processes(str(lease)):
            assert time.monotonic() < deadline
            os.sched_yield()
        assert not lease.exists()
        assert not lease.with_suffix(".scratch").exists()
        assert [one.poll() for one in (alive, unknown, *others)] == [None] * 6
    finally:
        for one in (process, alive, unknown, *others):
            one.kill()
            one.wait()
        living.close()


def test_what_was_missed_once_is_found_later(tmp_path: Path) -> None:
    """A run's scratch folder and lease may have been removed by somebody who did not see a process of it."""
    owner = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from vcmbench.execution.runner import leftovers\n"
         "print(leftovers.new(Path(sys.argv[1])), flush=True); sys.stdin.read()", tmp_path / "no such"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    mark = owner.stdout.readline().strip()
    orphan = subprocess.Popen(["sleep", "600"], env={**os.environ, leftovers.VARIABLE: mark})
    try:
        leftovers.end_abandoned()
        assert orphan.poll() is None, "its owner lives"
        owner.communicate()
        leftovers.end_abandoned()
        assert orphan.wait(timeout=60) == -signal.SIGKILL
    finally:
        owner.kill()
        orphan.kill()
        owner.wait()
        orphan.wait()


def test_a_process_between_two_programs_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it starts another program a process has no environment: here one that does nothing else."""
    (tmp_path / "lease").touch()
    mark = leftovers.new(tmp_path / "lease")
    script = 'export n=$((${n:-0} + 1)); exec sh "$0"'
    (tmp_path / "again").write_text(script)
    for _ in range(10):
        restless = subprocess.Popen(["sh", tmp_path / "again"], env={**os.environ, leftovers.VARIABLE: mark})
        try:
            leftovers.end_abandoned()
            assert restless.wait(timeout=60) == -signal.SIGKILL
        finally:
            restless.kill()
            restless.wait()


def test_looking_costs_next_to_nothing(worker: Worker) -> None:
    """Bounded far above what was measured (9 microseconds without, 0.24 ms with 20 children of others)."""
    run(worker, "true")
    others = [subprocess.Popen(["sleep", "600"]) for _ in range(20)]
    try:
        times_s = []
        for _ in range(50):
            start = time.perf_counter()
            leftovers.end_leftovers(2**22 + 1, "nobody's")
            times_s.append(time.perf_counter() - start)
        assert min(times_s) < 0.005
        assert all(other.poll() is None for other in others)
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_folders_of_any_depth_are_cleared(worker: Worker) -> None:
    deep = f'{sys.executable} -c \'import os\nfor _ in range(3000): os.mkdir("d"); os.chdir("d")\''
    run(worker, deep)
    worker.scratch.clear()
    assert list(worker.scratch.outputs.iterdir()) == []
    run(worker, deep)
    worker.close()
    assert not worker.scratch.root.exists()


@pytest.mark.parametrize("strange", ["ln -s /etc/passwd coded", "ln -s nowhere coded", "mkfifo coded", "ln -s . coded"])
@pytest.mark.parametrize("ending", ["exit 0", "exit 3"])
def test_only_files_are_taken(strange: str, ending: str, worker: Worker) -> None:
    """Whatever is read or written in the scratch folder by name afterwards is no way out of it."""
    with pytest.raises(JobError, match=r"sh left coded, a (link|pipe)|exited with code 3"):
        run(worker, f"{strange}; mkdir folder; echo x > folder/file; echo y > file; {ending}")
    assert sorted(path.name for path in worker.scratch.outputs.iterdir()) == ["file", "folder"]
    assert run(worker, "cat file folder/file").split() == ["y", "x"]
