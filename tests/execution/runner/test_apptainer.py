"""The apptainer runner: its command lines, and its contract with a stand-in that isolates by the same command line.

Apptainer itself is not run here: see `stand_ins/apptainer` for what takes its place, and docs/apptainer.md.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from tests.helpers.commands import JPEG, X265, type_command
from tests.helpers.paths import CHECKOUT
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Command
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.execution.runner import apptainer, images, leftovers, probe
from vcmbench.execution.runner.apptainer import ApptainerRunner, exec_argv
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.opening import open_runner
from vcmbench.execution.runner.tool import FoundTool
from vcmbench.io.files import is_alive
from vcmbench.iqa import Scorer

Write = Callable[..., Path]
STAND_IN = CHECKOUT / "tests/helpers/apptainer_stand_in"


def scratch(root: str) -> Any:
    return SimpleNamespace(inputs=Path(root, "in"), outputs=Path(root, "out"))


def test_the_command_line() -> None:
    argv = exec_argv("/usr/bin/apptainer", Path("/sif/x265.sif"), ["x265", "-o", "a b"], scratch("/tmp/s"), "4g", 1000)
    assert argv == [
        "/usr/bin/apptainer", "--silent", "exec", "--containall", "--cleanenv", "--no-eval", "--no-home",
        "--no-mount", "hostfs,cwd", "--net", "--network", "none", "--no-privs", "--drop-caps", "all",
        "--memory", "4g", "--memory-swap", "4g", "--cpus", "1", "--pids-limit", "256",
        "--mount", "type=bind,source=/tmp/s/in,destination=/job/in,ro",
        "--mount", "type=bind,source=/tmp/s/out,destination=/job/out",
        "--pwd", "/job/out", "--env", "LC_ALL=C", "/sif/x265.sif", "x265", "-o", "a b",
    ]  # fmt: skip
    as_root = exec_argv("apptainer", Path("/x.sif"), ["true"], None, None, 0)
    assert as_root[-12:] == [
        "--drop-caps", "all", "--security", "uid:65534", "--security", "gid:65534", "--pwd", "/tmp",
        "--env", "LC_ALL=C", "/x.sif", "true",
    ]  # fmt: skip
    assert "--memory" not in as_root
    assert "--mount" not in as_root


NAMES = ["with space", "a,b", "a:b", 'say "hi"', '"', ",", "a=b,ro", "서울", "two\nlines", "x\\,y"]


@pytest.mark.parametrize("name", NAMES)
def test_folders_of_any_name_are_bound(name: str) -> None:
    """Read back by the rules of CSV, the mount is the folder that was meant, whatever its name."""
    argv = exec_argv("apptainer", Path("/x.sif"), ["true"], scratch(f"/{name}/s"), "1g", 1000)
    texts = [argv[i + 1] for i, word in enumerate(argv) if word == "--mount"]
    fields = [next(csv.reader(text.splitlines(keepends=True), strict=True)) for text in texts]
    assert fields == [
        ["type=bind", f"source=/{name}/s/in", "destination=/job/in", "ro"],
        ["type=bind", f"source=/{name}/s/out", "destination=/job/out"],
    ]


def test_the_callers_environment_changes_no_container() -> None:
    caller = {
        "PATH": "/bin", "APPTAINER_BIND": "/home", "SINGULARITY_BINDPATH": "/data", "APPTAINERENV_LD_PRELOAD": "x.so",
        "APPTAINER_TMPDIR": "/big", "SINGULARITY_CACHEDIR": "/cache", "XDG_RUNTIME_DIR": "/run/user/1",
    }  # fmt: skip
    gone = {"APPTAINER_BIND", "SINGULARITY_BINDPATH", "APPTAINERENV_LD_PRELOAD"}
    kept = {name: value for name, value in caller.items() if name not in gone}
    assert apptainer.environment("/usr/bin/apptainer", "m", caller) == kept | {"APPTAINERENV_VCMBENCH_TOOL": "m"}
    assert apptainer.environment("singularity", "m", caller) == kept | {
        "APPTAINERENV_VCMBENCH_TOOL": "m",
        "SINGULARITYENV_VCMBENCH_TOOL": "m",
    }


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with the stand-in under Apptainer's name."""
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        if os.environ.get("VCMBENCH_REQUIRE_DOCKER"):
            pytest.fail("the stand-in needs root, or user namespaces")
        pytest.skip("the stand-in needs root, or user namespaces")
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "apptainer").write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(STAND_IN)])} "$@"\n')
    (folder / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return folder


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's FFmpeg under its own name."""
    folder = tmp_path_factory.mktemp("tools")
    folder.chmod(0o755)  # for nobody, who root's containers run as
    shutil.copy(imageio_ffmpeg.get_ffmpeg_exe(), folder / "ffmpeg")
    return folder


@pytest.fixture
def sif_dir(tmp_path: Path, tools: Path) -> Path:
    """A folder with an image that has FFmpeg in it."""
    folder = tmp_path / "a folder, of: images"
    folder.mkdir()
    (folder / "x265.sif").write_text(json.dumps({"binds": {"/tools": str(tools)}}))
    return folder


@pytest.fixture
def runner(path: Path, sif_dir: Path) -> ApptainerRunner:
    return ApptainerRunner(sif_dir, "1g")


@pytest.fixture
def worker(runner: ApptainerRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / 'scratch, of: "all"').mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / 'scratch, of: "all"'))
    one = runner.worker()
    yield one
    one.close()


def shell(worker: Any, script: str, timeout_s: float = 30, argv: tuple[str, ...] = ()) -> str:
    runner = worker._runner
    one = plugins.get("x265")
    found = runner.find(one, one.encode_tools)
    assert found is not None
    sh = FoundTool("sh", "/bin/sh", "", found.digest, found.image)
    return str(worker.run(sh, Command(("sh", "-c", script, "sh", *argv)), timeout_s).log)


def test_tools_are_known_by_their_images_hash(runner: ApptainerRunner, sif_dir: Path) -> None:
    one = plugins.get("x265")
    found = runner.find(one, one.encode_tools)
    assert found is not None
    done = subprocess.run(["sha256sum", sif_dir / "x265.sif"], capture_output=True, text=True, check=True)
    assert found.digest == found.image == "sha256:" + done.stdout.split()[0]
    assert (found.program, found.path) == ("ffmpeg", "/tools/ffmpeg")
    assert found.version.startswith("ffmpeg version")
    none = plugins.get("none")
    builtin = runner.find(none, none.encode_tools)
    assert builtin is not None
    assert builtin.is_builtin


def test_containers_are_closed(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the caller")
    monkeypatch.setenv("APPTAINER_BIND", "/root:/host")
    (worker.scratch.inputs / "source").write_text("in")
    assert shell(worker, "id -u").split() == [str(os.getuid() or 65534)]
    assert shell(worker, "tail -n +3 /proc/net/dev | cut -d: -f1").split() == ["lo"]
    assert shell(worker, "pwd; cat ../in/source").split() == ["/job/out", "in"]
    for script in ("echo x > ../in/source", "echo x > /usr/x", "echo x > /x", "mkdir /data", "ls /root", "ls /host"):
        with pytest.raises(JobError, match="exited with code"):
            shell(worker, script)
    status = shell(worker, "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status").split()
    assert sorted(status) == sorted(["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"])
    variables = dict(line.partition("=")[::2] for line in shell(worker, "env").splitlines() if "=" in line)
    assert variables["LC_ALL"] == "C"
    assert "SECRET" not in variables
    assert variables[leftovers.VARIABLE].endswith(str(worker.scratch.lease)), "its mark, whatever the folder's name"
    assert shell(worker, 'printf "<%s>" "$@"', argv=("a b", "$(id)", "`id`", "*", "é", "")).strip() == (
        "<a b><$(id)><`id`><*><é><>"
    )


def test_a_run_is_the_local_one(path: Path, sif_dir: Path, photos: Path, write_experiment: Write) -> None:
    """The same FFmpeg, in an image and not: the same bitstreams, and records that say where they were made."""
    config = write_experiment(X265)
    streams = {}
    for words in (("local",), ("apptainer", "--sif-dir", sif_dir)):
        done = type_command("compress", "-d", photos, "-s", config, "--json", "--force", "--runner", *words)
        assert done.code == 0, done.err
        records = done.records()
        streams[words[0]] = [record["bitstream_sha256"] for record in records]
        assert {record["runner"] for record in records} == {words[0]}
        assert all(0 < record["encode_s"] < 10 for record in records)
    assert streams["local"] == streams["apptainer"]
    digest = records[0]["image_digest"]
    assert digest == records[0]["tool"]["encode"]["digest"]
    assert str(sif_dir) not in json.dumps(records)
    environment = {**os.environ, "VCMBENCH_SIF_DIR": str(sif_dir)}
    again = type_command("compress", "-d", photos, "-s", config, "--json", env=environment)
    assert {event["state"] for event in again.events} == {"resumed"}, again.err
    assert "runner: apptainer (as the results that are there)" in again.err


def test_times_and_ends_of_tools(worker: Any) -> None:
    one = plugins.get("x265")
    found = worker._runner.find(one, one.encode_tools)
    sh = FoundTool("sh", "/bin/sh", "", found.digest, found.image)
    start = time.perf_counter()
    inside = worker.run(sh, Command(("sh", "-c", "sleep 0.3")), 30).seconds
    assert 0.3 <= inside < time.perf_counter() - start - 0.05, "the start of a container is not the tool's"
    with pytest.raises(JobError, match="sh was killed by signal 11"):
        shell(worker, "kill -SEGV $$")
    with pytest.raises(JobError, match="sh exited with code 3"):
        shell(worker, "exit 3")
    with pytest.raises(JobError, match=r"sh was killed, most likely at the memory limit of 1g"):
        shell(worker, "kill -9 $$")
    with pytest.raises(JobError):
        shell(worker, "exec tail /dev/zero")
    with pytest.raises(JobError, match="sh was stopped after 1 s"):
        shell(worker, "sleep 600 & sleep 600", timeout_s=1)
    with pytest.raises(JobError, match=r"left coded\.265, a link: only files are taken"):
        shell(worker, "ln -s /etc/passwd coded.265")
    assert shell(worker, "echo alive").strip() == "alive"


def marked(worker: Any) -> list[int]:
    """The processes of this machine that carry a mark of this worker's."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(worker.scratch.lease) in environment and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def test_what_a_tool_leaves_behind_ends_with_it(worker: Any) -> None:
    shell(worker, "for i in 1 2 3; do setsid sleep 600 & done; exec setsid -f sleep 600")
    assert marked(worker) == []


def test_cancelling_ends_what_runs(worker: Any, runner: ApptainerRunner) -> None:
    def cancel() -> None:
        deadline = time.monotonic() + 30
        while not (worker.scratch.outputs / "started").exists() and time.monotonic() < deadline:
            os.sched_yield()
        runner.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(Cancelled):
        shell(worker, "echo > started; sleep 600 & sleep 600")
    canceller.join()
    assert marked(worker) == []


def test_a_run_that_is_killed_leaves_nothing(path: Path, sif_dir: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from vcmbench.encoder import Command, plugins\n"
        "from vcmbench.execution.runner.apptainer import ApptainerRunner\n"
        "from vcmbench.execution.runner.tool import FoundTool\n"
        "runner = ApptainerRunner(Path(sys.argv[1])); one = plugins.get('x265')\n"
        "found = runner.find(one, one.encode_tools); worker = runner.worker()\n"
        "print(worker.scratch.root, flush=True)\n"
        "sh = FoundTool('sh', '/bin/sh', '', found.digest, found.image)\n"
        "worker.run(sh, Command(('sh', '-c', 'echo > started; sleep 600')), 600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, sif_dir], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        root = Path(process.stdout.readline().strip())
        deadline = time.monotonic() + 60
        while not (root / "out/started").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            os.sched_yield()
        lease = SimpleNamespace(scratch=SimpleNamespace(lease=root.with_suffix("")))
        pids = marked(lease)
        assert pids
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    while any(is_alive(pid) for pid in marked(lease)):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_without_cgroups_addresses_are_limited_and_a_note_says_so(
    path: Path, sif_dir: Path, photos: Path, write_experiment: Write
) -> None:
    image = json.loads((sif_dir / "x265.sif").read_text())
    (sif_dir / "x265.sif").write_text(json.dumps({**image, "cgroups": False}))
    runner = ApptainerRunner(sif_dir, "64m")
    assert not runner.has_limits
    worker = runner.worker()
    try:
        assert shell(worker, "ulimit -v").strip() == str(64 * 1024)
        with pytest.raises(JobError):
            shell(worker, "exec tail /dev/zero")
    finally:
        worker.close()
    done = type_command(
        "compress", "-d", photos, "-s", write_experiment(X265), "--runner", "apptainer", "--sif-dir", sif_dir
    )
    assert done.code == 0, done.err
    assert "note: no cgroups for Apptainer here" in done.err


def test_an_image_that_changes_or_goes_fails_its_jobs(worker: Any, sif_dir: Path) -> None:
    assert shell(worker, "echo x").strip() == "x"
    one = plugins.get("x265")
    before = worker._runner.find(one, one.encode_tools)
    image = json.loads((sif_dir / "x265.sif").read_text())
    (sif_dir / "x265.sif").write_text(json.dumps({**image, "other": 1}))
    for _ in range(2):
        with pytest.raises(JobError, match="is gone, or another one now"):
            worker.run(before, Command(("ffmpeg", "-version")), 10)
        (sif_dir / "x265.sif").unlink(missing_ok=True)
    (sif_dir / "renamed.sif").write_text(json.dumps(image))
    assert "ffmpeg version" in worker.run(before, Command(("ffmpeg", "-version")), 10).log, "by its hash, not its name"


def test_what_is_missing_is_said(path: Path, sif_dir: Path, photos: Path, write_experiment: Write) -> None:
    words = ["compress", "-d", photos, "-s", write_experiment(X265, JPEG)]
    environment = {name: value for name, value in os.environ.items() if name != apptainer.VARIABLE}

    def refused(*more: object, **changes: str) -> str:
        done = type_command(*words, *more, env={**environment, **changes})
        assert done.code == 2, done.err
        return done.err

    make = f"docker save {images.tag('jpeg')} -o jpeg.tar && apptainer build jpeg.sif docker-archive:jpeg.tar"
    assert f"jpeg: no {sif_dir}/jpeg.sif; make it by: {make}" in refused("--runner", "apptainer", "--sif-dir", sif_dir)
    assert f"no {sif_dir}/jpeg.sif" in refused("--sif-dir", sif_dir), "to name the folder is to ask for the runner"
    assert f"no {sif_dir}/jpeg.sif" in refused("--runner", "apptainer", VCMBENCH_SIF_DIR=str(sif_dir))
    assert "by --sif-dir or VCMBENCH_SIF_DIR; one is made by: docker save" in refused("--runner", "apptainer")
    assert "'/nowhere': is not a folder" in refused("--runner", "apptainer", "--sif-dir", "/nowhere")
    assert "--sif-dir: is for --runner apptainer" in refused("--runner", "local", "--sif-dir", sif_dir)
    assert "--bin-dir: containers bring their own tools" in refused("--runner", "apptainer", "--bin-dir", ".")
    assert "no apptainer or singularity on PATH" in refused("--sif-dir", sif_dir, PATH="/nowhere")
    (sif_dir / "x265.sif").write_bytes(b"\0SIF, cut off")
    assert "apptainer cannot run it: FATAL:   while opening image" in refused("--sif-dir", sif_dir)


def copied(choice: RunnerChoice) -> RunnerChoice:
    copy = pickle.loads(pickle.dumps(choice))  # noqa: S301  # our own
    assert copy == choice
    return copy  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "choice",
    [RunnerChoice("local"), RunnerChoice("local", bin_dir=Path("/usr/bin")), RunnerChoice("apptainer", memory="2g")],
)
def test_a_choice_opens_the_same_runner_elsewhere(
    choice: RunnerChoice, path: Path, sif_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(apptainer.VARIABLE, str(sif_dir))
    runner = open_runner(copied(choice))
    again = open_runner(copied(runner.choice))
    assert (type(again), again.choice) == (type(runner), runner.choice)
    assert runner.choice.name == choice.name
    if choice.name == "apptainer":
        assert (runner.choice.memory, runner.choice.sif_dir) == ("2g", sif_dir)


def test_a_choice_of_nothing() -> None:
    with pytest.raises(RequestError, match="runner 'podman': there are docker, local, apptainer"):
        open_runner(RunnerChoice("podman"))


def test_metrics_that_need_ffmpeg_take_the_images(runner: ApptainerRunner) -> None:
    rng = np.random.default_rng(0)
    pristine, decoded = rng.integers(0, 256, (2, 1, 48, 48, 3), np.uint8)
    inside, here = Scorer(["XPSNR"], runner=runner), Scorer(["XPSNR"])
    digest = inside.identity("XPSNR")["ffmpeg"]["digest"]
    assert digest == probe.sha256(runner.sif_dir / "x265.sif")
    assert inside.score(pristine, decoded).at("XPSNR", 0) == here.score(pristine, decoded).at("XPSNR", 0)
    (runner.sif_dir / "x265.sif").unlink()
    assert Scorer(["XPSNR"], runner=runner).missing["XPSNR"].startswith("no FFmpeg with the filter xpsnr in the images")
