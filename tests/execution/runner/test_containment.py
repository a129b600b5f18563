"""What a tool in a container can reach and use up: tried from inside, and read from the engine's own account."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import X265, compress, type_command
from tests.helpers.tools import faulty_ffmpeg
from vcmbench.encoder import plugins
from vcmbench.encoder.base import Command
from vcmbench.errors import JobError, Lost
from vcmbench.execution.runner import images
from vcmbench.execution.runner.base import Completed
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.containers import OWNER_LABEL, RUN_LABEL
from vcmbench.execution.runner.docker import DockerRunner, DockerWorker
from vcmbench.execution.runner.opening import open_runner
from vcmbench.execution.runner.tool import FoundTool

Write = Callable[..., Path]

ENCODER = "hm"  # the smallest image
MEMORY = "256m"
SECRET = b"nobody but the caller may read this\n"


@pytest.fixture(scope="module")
def built(engine: Any) -> Iterator[Any]:
    done = type_command("encoders", "build", ENCODER)
    assert done.code == 0, done.err
    yield engine
    listed = engine.containers.list(all=True, ignore_removed=True, filters={"label": RUN_LABEL})
    assert not [one for one in listed if one.labels[OWNER_LABEL].split()[-1] == str(os.getpid())]


@pytest.fixture
def worker(built: Any) -> Iterator[DockerWorker]:
    runner = DockerRunner(MEMORY)
    one = runner.worker()
    yield one
    one.close()
    runner.close()


def run(worker: DockerWorker, *argv: str, timeout_s: float = 60) -> Completed:
    """Run a command of the image exactly as a tool would be."""
    one = plugins.get(ENCODER)
    found = worker._runner.find(one, one.encode_tools)
    assert found is not None
    return worker.run(FoundTool(argv[0], argv[0], "", found.digest, found.image), Command(argv), timeout_s)


def shell(worker: DockerWorker, script: str, *arguments: str, timeout_s: float = 60) -> str:
    return run(worker, "/bin/sh", "-c", script, "sh", *arguments, timeout_s=timeout_s).log.strip()


def fails(worker: DockerWorker, script: str) -> str:
    with pytest.raises(JobError, match="exited with code") as failed:
        shell(worker, script)
    assert not isinstance(failed.value, Lost)
    return failed.value.log


pytestmark = pytest.mark.docker


def test_the_engine_says_what_a_container_is_denied(worker: DockerWorker, built: Any) -> None:
    run(worker, "true")
    (container,) = built.containers.list(filters={"label": f"{RUN_LABEL}={worker._runner.run_id}"})
    host, config = container.attrs["HostConfig"], container.attrs["Config"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Privileged"], host["PidMode"], host["UsernsMode"], host["Devices"] or []) == (False, "", "", [])
    assert host["IpcMode"] in ("private", "shareable")  # nobody joins it
    assert (host["Memory"], host["MemorySwap"]) == (256 << 20, 256 << 20), "no swap beyond the memory"
    assert (host["NanoCpus"], host["PidsLimit"]) == (10**9, 256)
    assert host["AutoRemove"] is True
    assert config["User"] == (f"{os.getuid()}:{os.getgid()}" if os.getuid() else "65534:65534")
    mounts = {mount["Destination"]: (mount["Source"], mount["RW"]) for mount in container.attrs["Mounts"]}
    assert mounts == {
        "/job/in": (str(worker.scratch.inputs), False),
        "/job/out": (str(worker.scratch.outputs), True),
    }, "its scratch folders, and nothing else of the host: no data root, no socket of the engine"


def test_who_it_is_and_what_it_may(worker: DockerWorker) -> None:
    assert shell(worker, "id -u; id -g").split() == [str(os.getuid() or 65534), str(os.getgid() or 65534)]
    status = shell(worker, "grep -E '^(Cap|NoNewPrivs)' /proc/self/status").split()
    assert dict(zip(status[::2], status[1::2], strict=True)) == {
        **{f"Cap{kind}:": "0" * 16 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")},
        "NoNewPrivs:": "1",
    }
    assert shell(worker, "find / -xdev -perm -4000 -name su; true"), "a program that would make it root"
    for script in (
        "su -c true </dev/null",
        "mount -t tmpfs none /tmp",
        "mknod device c 1 1",
        "chown 0 .",
        "unshare --user true",
        "kill -9 1; test ! -e /proc/1",
        "dmesg",
    ):
        fails(worker, script)


def test_files_of_others_cannot_be_written_or_seen(worker: DockerWorker) -> None:
    (worker.scratch.inputs / "source").write_text("in")
    assert shell(worker, "pwd; cat ../in/source").split() == ["/job/out", "in"]
    for script in (
        "echo x > ../in/source",
        "echo x > ../in/new",
        "rm ../in/source",
        "echo x > ../new",
        "echo x > /usr/x",
        "echo x > /etc/passwd",
        "mkdir /data",
        "mount -o remount,rw /",
        "find / -name '*docker*.sock' -o -name 'containerd.sock' 2>/dev/null | grep .",
        f"ls {worker.scratch.root}",
    ):
        fails(worker, script)
    assert (worker.scratch.inputs / "source").read_text() == "in"
    assert shell(worker, "echo x > /tmp/own && cat /tmp/own") == "x", "a place of its own, in memory"
    variables = dict(line.partition("=")[::2] for line in shell(worker, "env").splitlines())
    assert (variables["LC_ALL"], variables["HOME"]) == ("C", "/tmp")
    assert not [name for name in variables if "DOCKER" in name or "VCMBENCH" in name]


def test_there_is_no_network(worker: DockerWorker, built: Any) -> None:
    assert shell(worker, "tail -n +3 /proc/net/dev | cut -d: -f1").split() == ["lo"]
    assert shell(worker, "tail -n +2 /proc/net/route") == ""
    connect = (
        'perl -MSocket -e \'socket(S, AF_INET, SOCK_STREAM, 0); connect(S, sockaddr_in($ARGV[1], inet_aton($ARGV[0])))'
        ' or die "$!\\n"\' {} {}'
    )  # fmt: skip
    bridges = [network.attrs["IPAM"]["Config"] for network in built.networks.list(filters={"driver": "bridge"})]
    host = next((config[0]["Gateway"] for config in bridges if config and "Gateway" in config[0]), "192.0.2.1")
    for address in (host, "192.0.2.1"):
        assert "Network is unreachable" in fails(worker, connect.format(address, 80))
    fails(worker, "getent hosts localhost.example")


def test_arguments_are_no_shells(worker: DockerWorker) -> None:
    """Names with all that a shell would understand go through as they are, and so do files of such names."""
    strange = ["a b", "$(touch x)", "`touch x`", "; touch x", "&& x", "*", "'", '"', "\\", "$HOME", "~", "é", "-n"]
    assert shell(worker, 'printf "<%s>" "$@"', *strange, "") == "".join(f"<{word}>" for word in strange) + "<>"
    for name in strange:
        shell(worker, 'printf x > "./$1" && test -f "./$1"', name)
    assert sorted(path.name for path in worker.scratch.outputs.iterdir() if path.name[0] != ".") == sorted(strange)


def test_memory_is_limited_and_the_next_command_works(worker: DockerWorker) -> None:
    files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes"
    assert shell(worker, f"cat {files} 2>/dev/null || true") == str(256 << 20)
    with pytest.raises(JobError, match=r"killed, most likely at the memory limit of 256m \(--memory\)") as failed:
        shell(worker, "exec tail /dev/zero")
    assert not isinstance(failed.value, Lost), "to do it again would not help"
    for place in ("/tmp", "/dev/shm"):  # files in memory count as memory; they are limited to less
        assert "No space left on device" in fails(worker, f"head -c 300m /dev/zero > {place}/full")
    assert shell(worker, "rm -f /tmp/full /dev/shm/full; echo alive") == "alive"


def test_one_core_is_all(worker: DockerWorker) -> None:
    """Four busy processes get no more than one core together."""
    start = time.perf_counter()
    said = shell(worker, "for i in 1 2 3 4; do timeout 2 sh -c 'while :; do :; done' & done; wait; times | tail -n 1")
    elapsed_s = time.perf_counter() - start
    minutes_and_seconds = [time.rstrip("s").split("m") for time in said.split()]
    assert sum(60 * int(m) + float(s) for m, s in minutes_and_seconds) < 1.25 * elapsed_s


def test_a_fork_bomb_ends_at_the_limit_and_the_next_command_works(worker: DockerWorker) -> None:
    """Three times, since the dead would count, too, if nobody buried them."""
    bomb = "i=0; while [ $i -lt 300 ]; do sleep 600 & i=$((i + 1)); echo $i > count; done"
    for _ in range(3):
        assert "Cannot fork" in fails(worker, bomb)
        assert 150 < int((worker.scratch.outputs / "count").read_text()) < 256
        assert shell(worker, "cat /proc/[0-9]*/comm").split().count("sleep") == 0


def test_what_a_tool_leaves_behind_ends_with_it(worker: DockerWorker) -> None:
    for ending in ("", "; exit 3"):
        script = f"setsid -f sleep 600; (trap '' TERM HUP; setsid sleep 600 & sleep 600 &); echo said{ending}"
        start = time.perf_counter()
        if ending:
            assert "said" in fails(worker, script)
        else:
            assert shell(worker, script) == "said"
        assert time.perf_counter() - start < 20, "nobody waits for it, although it has the output open"
        assert shell(worker, "cat /proc/[0-9]*/comm").split().count("sleep") == 0


def test_a_tool_that_kills_the_shell_beside_it_gains_nothing(worker: DockerWorker) -> None:
    """What it left running could change files behind our back: its container goes."""
    before = shell(worker, "cat /etc/hostname")
    with pytest.raises(JobError, match="was killed"):
        shell(worker, "exec >/dev/null 2>&1; setsid -f sleep 600; kill -9 $PPID; sleep 600")
    assert shell(worker, "cat /etc/hostname") != before
    assert shell(worker, "cat /proc/[0-9]*/comm").split().count("sleep") == 0


def test_a_choice_opens_the_same_runner_elsewhere(built: Any) -> None:
    choice = DockerRunner(MEMORY).choice
    assert choice == RunnerChoice("docker", memory=MEMORY)
    again = open_runner(choice)
    assert isinstance(again, DockerRunner)
    assert again.choice == choice


def test_one_container_serves_many_commands(worker: DockerWorker) -> None:
    assert len({shell(worker, "cat /etc/hostname") for _ in range(3)}) == 1


def test_a_tool_that_hangs_is_ended_and_the_next_command_works(worker: DockerWorker) -> None:
    with pytest.raises(JobError, match="sh was stopped after 1 s"):
        shell(worker, "sleep 600 & sleep 600", timeout_s=1)
    assert shell(worker, "echo alive") == "alive"


def test_a_tool_that_is_silent_for_longer_than_the_engine_has_to_answer(
    worker: DockerWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection's own limit (a minute; here a second) is for answers, not for tools."""
    monkeypatch.setattr(images, "TIMEOUT_S", 1)
    assert shell(worker, "sleep 3; echo done") == "done"


def test_the_tools_own_time_is_recorded(worker: DockerWorker) -> None:
    """Less than the time around the call, which holds the start of a process; not less than the tool's own."""
    start = time.perf_counter()
    inside = run(worker, "sleep", "0.3").seconds
    assert 0.3 <= inside < time.perf_counter() - start


def test_a_tool_that_writes_without_end(worker: DockerWorker) -> None:
    """A hole makes a file of any size at no cost."""
    with pytest.raises(JobError, match="dd wrote more than 64 GiB into one file"):
        run(worker, "dd", "if=/dev/zero", "of=big", "bs=1", "count=1", "seek=70000000000")
    assert (worker.scratch.outputs / "big").stat().st_size <= 64 << 30


@pytest.mark.skipif(os.getuid() != 0, reason="mounting a small file system needs root")
def test_a_tool_that_fills_the_scratch_disk(built: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails, as a tool that did wrong does; the disk is as free as before for the next one."""
    small = tmp_path / "small, of: 8 MB"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        monkeypatch.setattr("tempfile.tempdir", str(small))
        worker = DockerRunner(MEMORY).worker()
        for script in ("cat /dev/zero > big", "cat /dev/zero > big; exit 3"):
            assert "No space left on device" in fails(worker, script)
        worker.scratch.clear()
        assert shell(worker, "head -c 7000000 /dev/zero > big; echo alive") == "alive"
        worker.close()
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "pipe"])
def test_outputs_lead_nowhere_else(kind: str, worker: DockerWorker, tmp_path: Path) -> None:
    """The caller reads and writes outputs by name, with rights that the tool does not have."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    script = {"link to a file": f"ln -s {secret} coded.bin", "pipe": "mkfifo coded.bin"}.get(kind, "ln -s x coded.bin")
    with pytest.raises(JobError, match=r"sh left coded\.bin, a (link|pipe.*): only files are taken"):
        shell(worker, script)
    assert not os.path.lexists(worker.scratch.outputs / "coded.bin")
    with pytest.raises(JobError, match="exited with code 3"):
        shell(worker, f"{script}; exit 3")
    assert not os.path.lexists(worker.scratch.outputs / "coded.bin"), "nor where the tool failed"


@pytest.mark.parametrize("output", ["out", "source"])
def test_a_run_does_not_follow_links_out_of_its_scratch_folder(
    output: str, tmp_path: Path, photos: Path, write_experiment: Write
) -> None:
    """Neither to publish what lies there, nor to write the next input over it."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    name = {"out": '"$out"', "source": "source.yuv"}[output]
    hostile = faulty_ffmpeg(tmp_path / "bin", f'"$real" "$@"; rm -f {name}; ln -s {secret} {name}')
    done = compress(photos, write_experiment(X265), "--bin-dir", hostile)
    assert done.code == 1
    assert "a link: only files are taken" in done.err
    assert secret.read_bytes() == SECRET
    assert not [path for path in photos.rglob("*") if path.is_symlink() or path.suffix == ".265"]
