"""A tool inside a container, timed and seen to its end by a shell beside it.

Starting a process in a container costs 60 ms that are not the tool's, so its time is taken inside. The wall clock has
nanoseconds but may be set while the tool runs; the uptime only ever grows, but counts in hundredths of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vcmbench.io.files import read_bounded

RESULT = ".elapsed"
FILE_LIMIT_BYTES = 64 << 30
"""Of one file that a tool writes. Raw frames are the largest that are meant to be: this is eleven thousand of 2048x1024
in 4:4:4, or 690 of 8K. A tool that writes without end is stopped there instead of at the end of the disk."""
INIT = ("sh", "-c", "env --ignore-signal=CHLD true && exec env --ignore-signal=CHLD cat; exec cat")
"""A container's first process: it lives as long as its input is open. With SIGCHLD ignored, the kernel buries what
tools leave behind; else the dead would count against the limit of processes. (Debian's shell cannot ignore it.)"""

_CLOCK_TOLERANCE_S = 0.05
_READ = "read -r {0} _ < /proc/uptime"  # builtins only: right before and after the tool nothing else is started
# SIGKILL to all but the first process and the shell itself, so that no command finds what an earlier one left running.
# Only where the first process is ours: an engine may be told to put containers into the host's process namespace.
_END_ALL = 'read -r p < /proc/1/comm; [ "$p" != cat ] || kill -9 -1'


def wrapped(argv: Sequence[str], *, ends_all: bool, addresses_bytes: int | None = None) -> list[str]:
    """The command as a shell runs it: limits on files (and addresses, if asked for), the time, and (where `ends_all`)
    an end of all else.

    What the tool starts and leaves behind ends before the time is written, and with it whatever could change a file
    afterwards.
    """
    script = [
        f"{{ ulimit -c 0; ulimit -f {FILE_LIMIT_BYTES // 512}; }} 2>/dev/null",  # it may be lower as it is
        "" if addresses_bytes is None else f"ulimit -v {addresses_bytes // 1024}",
        f"s=$(date +%s%N); {_READ.format('u')}",
        '"$@"; c=$?',
        _READ.format("v"),
        f"{{ {_END_ALL}; }} 2>/dev/null" if ends_all else "",
        f'e=$(date +%s%N); rm -rf {RESULT}; echo "$s:$e:$u:$v" > {RESULT}; exit $c',
    ]
    return ["sh", "-c", "\n".join(filter(None, script)), "sh", *argv]


def elapsed_s(text: str) -> float | None:
    """Seconds from what the shell wrote, START_NS:END_NS:UPTIME_S:UPTIME_S; None where it tells nothing.

    The wall clock's difference, unless the uptime contradicts it: then somebody set the clock, and the uptime holds.
    """
    fields = (text.strip().split(":") + [""] * 4)[:4]
    wall_s = _difference(fields[0], fields[1], 1e-9)
    uptime_s = _difference(fields[2], fields[3], 1.0)
    if wall_s is None or (uptime_s is not None and abs(wall_s - uptime_s) > _CLOCK_TOLERANCE_S):
        wall_s = uptime_s
    return wall_s if wall_s is not None and wall_s >= 0 else None


def _difference(start: str, end: str, unit: float) -> float | None:
    try:
        # whole numbers are subtracted before they are scaled: nanoseconds since 1970 are too long for a float
        return (int(end) - int(start)) * unit if unit < 1 else round(float(end) - float(start), 2)
    except ValueError:
        return None


def read(folder: Path) -> str | None:
    """What the shell wrote at its end; None where it did not come that far: it was killed, or there was no room."""
    try:
        text = read_bounded(folder / RESULT, 1 << 10).decode("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.strip() else None
