"""A command with what it needed: seconds by the clock and of the processor, and the peak memory of its processes.

Peaks are the kernel's own (VmHWM on Linux; elsewhere the largest resident size that was seen), asked for again and
again while the processes live. So a peak of the last moments of a process can be missed, and a process that lives
shorter than the pause between two looks; those of vcmbench do not.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PAUSE_S = 0.05
RESCANS = 10
"""Every so many looks the tree is searched for new processes: that takes longer than to look at known ones."""


@dataclass(frozen=True)
class Used:
    wall_s: float
    processor_s: float
    """Of the process and of all that it waited for."""
    memory_mb: float
    """The sum over all processes of the peak of each: at least what they had at once."""
    processes: int


def watched(argv: Sequence[object], *, tree: bool = True) -> Used:
    """Run a command that must succeed. Without `tree`, only the memory of its first process is looked at."""
    peaks: dict[int, float] = {}
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen([str(word) for word in argv], stdout=subprocess.DEVNULL, stderr=log)
        looked, known = 0, [psutil.Process(process.pid)]
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if tree and looked % RESCANS == 0:
                with suppress(psutil.Error):
                    known = [known[0], *known[0].children(recursive=True)]
            looked += 1
            for one in known:
                peaks[one.pid] = max(peaks.get(one.pid, 0.0), _peak_mb(one))
            time.sleep(PAUSE_S)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            told = log.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{argv}: ended with {process.returncode}: {told}")
    return Used(wall_s, usage.ru_utime + usage.ru_stime, sum(peaks.values()), sum(peak > 0 for peak in peaks.values()))


def _peak_mb(process: psutil.Process) -> float:
    try:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0  # it has ended
    except ProcessLookupError:
        return 0.0
    except OSError:
        with suppress(psutil.Error):
            return float(process.memory_info().rss / (1 << 20))
        return 0.0
