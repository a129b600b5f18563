"""kill -9 at random moments, over and over: is anything lost, half-written, or done differently afterwards?

    python benchmarks/kills.py --kills 1000          about twenty minutes on two cores; not part of the tests

A small experiment (six pictures, five configurations) is started, killed after a random while, and started again, until
it is finished; then it begins anew. What is killed is drawn, too: the run alone, the run with all its children at once,
or one of the worker processes of a local cluster (`--jobs 2`), which the run must survive. After every kill it is
checked that

- every record is whole, sealed, and has its bitstream, of the very SHA-256 that it says,
- every job that the run had told of as done or resumed has a record,
- once the experiment is finished, bitstreams, seals and the table equal those of a run that was never killed.

What fails there is a loss. Counted apart: what a finished run leaves behind once its processes had ten seconds to end
(temporary files, leases, claims, scratch folders, processes), its own or that of the killed ones before it.

Each loss and each leftover is told at once on the standard error; --keep saves the data root, and what the run said, as
they were at a loss. Prints one JSON object. Exits with 1 where anything was lost or left.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from vcmbench.data.record import read_record

KINDS = ("run", "all", "run of processes", "worker")
CODINGS = (
    'encoder = "none"',
    'encoder = "jpeg"\nquality = [30, 60]',
    'encoder = "x264"\nquality = [30]\npreset = "ultrafast"',
    'encoder = "x265"\nquality = [32]\npreset = "ultrafast"',
)


class Bench:
    """One data root that is killed at, and what was seen of it."""

    def __init__(self, work: Path, seed: int) -> None:
        self.root, self.scratch, self.config = work / "pictures", work / "tmp", work / "kills.toml"
        self.draw = random.Random(seed)  # noqa: S311  # moments to kill at, no secrets
        self.counts: Counter[str] = Counter()
        self.losses: list[str] = []
        self.left: list[str] = []
        self.keep: Path | None = None
        self.root.mkdir()
        self.scratch.mkdir()
        pixels = np.random.default_rng(seed).integers(0, 255, (6, 12, 16, 3), dtype=np.uint8)
        for i, picture in enumerate(pixels):
            Image.fromarray(picture).resize((128, 96), Image.Resampling.BICUBIC).save(self.root / f"{i}.png")
        self.config.write_text('name = "kills"\n' + "".join(f"[[coding]]\n{coding}\n" for coding in CODINGS))

    def lost(self, what: str) -> None:
        self.losses.append(what)
        print(f"\nLOST, after {self.kills} kills: {what}", file=sys.stderr, flush=True)
        if self.keep is not None:
            self.keep.mkdir(parents=True, exist_ok=True)
            with suppress(OSError, shutil.Error):  # processes that end change it meanwhile
                shutil.copytree(self.root.parent, Path(tempfile.mkdtemp(dir=self.keep)) / "was", symlinks=True)

    @property
    def kills(self) -> int:
        return sum(self.counts[kind] for kind in KINDS)

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "vcmbench", "compress", "-d", self.root, "-s", self.config, "--runner", "local"]
        return subprocess.Popen(
            [*map(str, argv), "--json", *map(str, words)],
            stdout=(self.scratch.parent / "told.jsonl").open("wb"),
            stderr=(self.scratch.parent / "said.txt").open("wb"),
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(self.scratch)},
        )

    def told(self) -> dict[str, str]:
        """Bitstreams that the last run told of, and what became of them; a last line may have been cut off."""
        found = {}
        for line in (self.scratch.parent / "told.jsonl").read_text().split("\n")[:-1]:
            event = json.loads(line)
            found[event["bitstream"]] = event["state"]
        return found

    def results(self) -> dict[str, Any]:
        """Bitstreams by hash, records by seal. What is not whole is a loss."""
        found: dict[str, Any] = {}
        for path in sorted(self.root.glob("results/kills/records/**/*.json")):
            record = read_record(path)
            if record is None:
                self.lost(f"half record: {path.name}")
                continue
            data = (self.root / record["bitstream"]).read_bytes()
            if hashlib.sha256(data).hexdigest() != record["bitstream_sha256"]:
                self.lost(f"bitstream differs from its record: {record['bitstream']}")
            found[record["bitstream"]] = record["seal"]
        return found

    def table(self) -> list[tuple[str, str]]:
        rows = csv.DictReader((self.root / "results/kills/compression.csv").open())
        return [(row["bitstream"], row["key"]) for row in rows]

    def afresh(self) -> None:
        for path in (self.root / "results", *self.root.glob("images_*")):
            shutil.rmtree(path, ignore_errors=True)

    def check_leftovers(self) -> None:
        """What a finished run must not leave, of those before it either. Each is counted once: it is ended."""
        deadline = time.monotonic() + 10
        while (left := self._leftovers()) and time.monotonic() < deadline:
            threading.Event().wait(0.2)
        for what, found in left:
            self.left.append(what)
            print(f"\nLEFT, after {self.kills} kills: {what}", file=sys.stderr, flush=True)
            with suppress(OSError, psutil.Error):  # it went in this moment
                if isinstance(found, psutil.Process):
                    found.kill()
                elif found.is_dir():
                    shutil.rmtree(found)
                else:
                    found.unlink()

    def _leftovers(self) -> list[tuple[str, Path | psutil.Process]]:
        found: list[tuple[str, Path | psutil.Process]] = []
        for path in (*self.root.glob("results/.*/*"), *self.scratch.iterdir()):
            with suppress(OSError):
                inside = sorted(one.name for one in path.iterdir()) if path.is_dir() else []
                found.append((f"{path.relative_to(self.root.parent)} {inside or ''}".strip(), path))
        for process in psutil.process_iter():
            if self._is_ours(process):
                found.append((f"process {process.pid}", process))
        return found

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("TMPDIR") == str(self.scratch) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


def reference(bench: Bench) -> tuple[dict[str, Any], list[tuple[str, str]], float]:
    """What a run makes that nobody kills, and how long it takes."""
    bench.start().wait()
    bench.afresh()
    began = time.perf_counter()
    bench.start().wait()
    seconds = time.perf_counter() - began
    made, table = bench.results(), bench.table()
    if len(made) != 30 or bench.losses:
        sys.exit(f"the run that nobody kills does not work: {len(made)} of 30 jobs, {bench.losses}")
    bench.afresh()
    return made, table, seconds


def kill(bench: Bench, how: str, process: subprocess.Popen[bytes], delay_s: float) -> bool:
    """Kill after a while. Returns whether there was something left to kill."""
    threading.Event().wait(delay_s)
    if process.poll() is not None:
        return False
    if how == "worker":
        workers = [one for one in psutil.Process(process.pid).children(recursive=True) if _is_worker(one)]
        if not workers:
            return False
        os.kill(bench.draw.choice(workers).pid, signal.SIGKILL)
        process.wait(timeout=120)
        return True
    if how == "all":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.Error:
        return False


def one(bench: Bench, seconds: float, expected: tuple[dict[str, Any], list[tuple[str, str]]]) -> None:
    """One run, killed or not, and what is to be checked after it."""
    how = bench.draw.choices(KINDS, [6, 2, 1, 1])[0]
    processes = how in ("run of processes", "worker")
    process = bench.start(*(("--jobs", 2) if processes else ()))
    was_killed = False
    try:
        span = seconds + 2.5 if processes else seconds
        was_killed = kill(bench, how, process, bench.draw.uniform(0.05, span))
        if not was_killed:
            process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        bench.lost(f"a run did not end within two minutes ({how})")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    bench.counts[how if was_killed else "not killed"] += 1
    told, made = bench.told(), bench.results()
    for name, state in told.items():
        if state in ("done", "resumed") and name not in made:
            bench.lost(f"told of as {state}, but not there: {name}")
    if process.returncode in (0, 1):  # it came to its end
        bench.counts["finished"] += 1
        if process.returncode == 1 or (made, bench.table()) != expected:
            failed = [name for name, state in told.items() if state == "failed"]
            bench.lost(f"a finished run differs from the one that nobody killed ({how}, failed: {failed})")
        bench.check_leftovers()
        bench.afresh()
    elif process.returncode != -signal.SIGKILL:
        bench.lost(f"a run ended with {process.returncode} ({how})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="save the data root here whenever something is lost")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.seed)
        expected_made, expected_table, seconds = reference(bench)
        bench.keep = arguments.keep
        began = time.monotonic()
        while bench.kills < arguments.kills and len(bench.losses) + len(bench.left) < 50:
            one(bench, seconds, (expected_made, expected_table))
            if sys.stderr.isatty() or bench.kills % 50 == 0:
                print(f"\r{bench.kills} kills, {len(bench.losses)} losses, {len(bench.left)} left behind",
                      end="", file=sys.stderr, flush=True)  # fmt: skip
        print(file=sys.stderr)
        print(json.dumps({
            "kills": bench.kills, "by": {kind: bench.counts[kind] for kind in KINDS},
            "runs_finished": bench.counts["finished"], "ended_before_the_kill": bench.counts["not killed"],
            "losses": len(bench.losses), "lost": bench.losses, "left_behind": len(bench.left), "left": bench.left,
            "minutes": round((time.monotonic() - began) / 60, 1),
        }, indent=1))  # fmt: skip
        sys.exit(1 if bench.losses or bench.left else 0)


if __name__ == "__main__":
    main()
