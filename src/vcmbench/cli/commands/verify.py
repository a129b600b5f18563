"""Find results that were damaged, and make them again."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from contextlib import suppress
from pathlib import Path, PurePosixPath

from vcmbench.cli import INTERRUPTED, runners, which
from vcmbench.cli.argtypes import positive_int, positive_seconds
from vcmbench.cli.terminal import say
from vcmbench.compress.job import Job
from vcmbench.compress.job_keys import bitstreams
from vcmbench.compress.run import CompressRun, CompressSettings, cores
from vcmbench.data.dataset import find_sources, open_root
from vcmbench.data.record import Record
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.io.files import check_inside
from vcmbench.io.progress import Progress
from vcmbench.measure import verify
from vcmbench.measure.verify import Damaged, Verified

_EXAMPLES = """\
examples:
  vcmbench verify -d vcmbench-demo/data -s demo
  vcmbench verify -d vcmbench-demo/data -s demo --repair
  vcmbench verify -d data -s qomex2023 --json > damages.jsonl

Reads every record, bitstream, QP map, score record, prediction and table of an experiment. Records are checked by
their seals, what lies beside them by the hashes in them, predictions by their own checksums and keys, tables and files
of blocks by the lists compression.sha256 and measured.sha256. --repair codes again what is damaged and nothing else;
damaged scores, predictions and tables are removed, and the script that is named makes them again (exit code 1 until it
has).

exit codes: 0 all is as it was written, or is again; 1 something is damaged; 2 the request was
wrong; 130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Hold all results of an experiment against what was recorded when they were written."
    parser.epilog = _EXAMPLES
    defaults = CompressSettings()
    which.add_which(parser)
    parser.add_argument("--repair", action="store_true", help="do the damaged jobs again, and only those")
    parser.add_argument("-j", "--jobs", type=positive_int, default=defaults.jobs, metavar="N",
                        help="files, or jobs, at once (default: the cores, %(default)s here)")  # fmt: skip
    parser.add_argument(
        "--timeout", type=positive_seconds, default=defaults.timeout_s, metavar="SECONDS",
        help="with --repair: stop a tool that takes longer per picture (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="one JSON object a damaged file on stdout")
    runners.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    wanted = which.wanted(arguments)
    root = open_root(arguments.data)
    store = Store(root, wanted.name, wanted.seed)
    if not store.records.is_dir():
        raise RequestError(
            f"{store.records}: no such folder; nothing of experiment {wanted.name} was compressed here yet"
        )
    with Progress(verify.count(store), "file") as progress:
        places = (place for place, *_ in bitstreams(wanted, root, find_sources(root, wanted.dataset)))
        found = verify.verify(store, places, arguments.jobs, progress.advance)
    for damage in found.damages:
        _tell(damage, root.root, as_json=arguments.json)
    say(f"{found.jobs} jobs ({found.size_bytes / 1e6:.1f} MB of bitstreams), {found.scores} score records and "
         f"{found.predictions} predictions looked at: {len(found.damages)} damaged")  # fmt: skip
    if found.not_done:
        say(f"{found.not_done} jobs have no record (yet): python run_compression.py "
             f"{which.again(arguments)}")  # fmt: skip
    if not found.damages:
        return 0
    if not arguments.repair:
        say("--repair makes them again, and nothing else")
        return 1
    return _repair(wanted, store, found, arguments)


def _tell(damage: Damaged, root: Path, *, as_json: bool) -> None:
    path = damage.path.relative_to(root)
    if as_json:
        bitstream = str(damage.bitstream) if damage.bitstream else None
        print(json.dumps({"path": str(path), "why": damage.why, "bitstream": bitstream}), flush=True)
    else:
        print(f"damaged: {path}: {damage.why}", flush=True)


def _repair(wanted: Experiment, store: Store, found: Verified, arguments: argparse.Namespace) -> int:
    left = _remove_loose(wanted, store, [damage for damage in found.damages if damage.bitstream is None], arguments)
    before = {damage.bitstream: damage.sha256 for damage in found.damages if damage.bitstream is not None}
    if not before:
        return left
    runner = runners.choose(arguments, wanted.encoders(), store.any_runner())
    settings = CompressSettings(
        jobs=min(arguments.jobs, cores()), force=True, timeout_s=arguments.timeout, only=frozenset(before)
    )
    again: dict[PurePosixPath, Record] = {}

    def listen(state: str, job: Job, record: Record | None, error: JobError | None) -> None:
        if state == "done" and record is not None:
            again[job.bitstream] = record

    outcome = CompressRun(wanted, arguments.data, runner, settings, runners.asked_by(wanted)).execute(listen)
    return _told(before, again, interrupted=outcome.interrupted) or left


def _remove_loose(wanted: Experiment, store: Store, loose: list[Damaged], arguments: argparse.Namespace) -> int:
    """Remove damaged scores, predictions and tables, which are made anew; predictions that are the user's own stay.

    Returns the exit code: 1 where something is left to be done.
    """
    is_own = wanted.task is not None and wanted.task.predictions == "files"
    kept = [damage for damage in loose if is_own and damage.path.suffix == ".png"]
    for damage in kept:
        say(f"left alone: {damage.path.relative_to(store.data.root)} is yours; lay it there again", always=True)
    removed: Counter[str] = Counter()
    for damage in loose:
        if damage not in kept:
            with suppress(OSError):  # where a link leads out of the data root
                check_inside(store.data.root, damage.path)
                damage.path.unlink(missing_ok=True)
                removed[damage.maker] += 1
    for maker, count in sorted(removed.items()):
        say(f"{count} files were removed; made again by: python {maker} {which.again(arguments)}")
    return 1 if loose else 0


def _told(before: dict[PurePosixPath, str | None], again: dict[PurePosixPath, Record], *, interrupted: bool) -> int:
    """What became of a repair."""
    known = {bitstream: sha256 for bitstream, sha256 in before.items() if sha256 is not None and bitstream in again}
    same = sum(again[bitstream]["bitstream_sha256"] == sha256 for bitstream, sha256 in known.items())
    unknown = len(again) - len(known)
    note = f", {unknown} had no sound record to compare with" if unknown else ""
    say(f"{len(again)} jobs were done again; {same} of {len(known)} gave the very bitstream that was lost{note}")
    left = [bitstream for bitstream in before if bitstream not in again]
    for bitstream in left[:20]:
        say(f"not repaired: {bitstream} (its configuration or its picture is not in the experiment any more, or it "
             "failed, see above)", always=True)  # fmt: skip
    if interrupted:
        return INTERRUPTED
    return 1 if left else 0
