"""What an experiment will take on some workers: time, storage, memory."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from vcmbench import experiment
from vcmbench.cli import table
from vcmbench.cli.argtypes import positive_int, whole_number
from vcmbench.compress import forecast
from vcmbench.compress.forecast.asking import Question, ask
from vcmbench.compress.forecast.prediction import Prediction, Step
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.errors import RequestError
from vcmbench.io.progress import clock

_EXAMPLES = """\
examples:
  vcmbench plan -s qomex2023 --workers 32                    # the published grid, at the size of Cityscapes' val
  vcmbench plan -s quick --pictures 200 --size 1920x1080 --workers 8
  vcmbench plan -d data -s my.toml --workers 16 --gpus 2     # these pictures, less what is done
  vcmbench plan -d data -s my.toml --workers 16 --all --json

With -d the plan is written to DATA/results/<experiment>/plan.json; once runs have worked on it, the next
`vcmbench plan` begins with how far off it was. What is predicted from what: docs/plan.md.
"""
_WORDS = {"records": "records here", "pace": "built-in, this machine's pace", "built-in": "built-in figures"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Simulate an experiment's schedule on some workers, compressing and measuring: wall time, "
        "core-hours, storage and peak memory, from the records so far or from built-in figures. Starts nothing."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("-s", "--config", required=True, metavar="CONFIG",
                        help="an experiment: a name in val_config/ or a .toml file")  # fmt: skip
    parser.add_argument("-d", "--data", type=Path, metavar="DATA",
                        help="the data root; without it 500 pictures in three cities, as Cityscapes' val")  # fmt: skip
    parser.add_argument("-w", "--workers", type=positive_int, required=True, metavar="N",
                        help="how many workers, of one core each")  # fmt: skip
    parser.add_argument("--gpus", type=whole_number, default=0, metavar="G",
                        help="GPUs that networks and metrics run on (default: none)")  # fmt: skip
    parser.add_argument("--pictures", type=positive_int, metavar="N", help="without DATA: so many pictures")
    parser.add_argument("--size", type=_size, metavar="WxH", help="without DATA: of this size in pixels")
    parser.add_argument("--all", action="store_true", help="everything, as if nothing were done")
    parser.add_argument("--json", action="store_true", help="the prediction as one JSON object on stdout")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 2048x1024")
    return int(found[1]), int(found[2])


def run(arguments: argparse.Namespace) -> int:
    wanted = experiment.load(arguments.config)
    question = Question(arguments.workers, arguments.gpus, arguments.data, arguments.pictures, arguments.size,
                        arguments.all)  # fmt: skip
    question.check()
    before = None
    if arguments.data is not None:
        before = forecast.compare(Store(open_root(arguments.data), wanted.name))
    if before is not None:
        print(before, file=sys.stderr if arguments.json else sys.stdout)
    prediction, store = ask(wanted, question)
    if arguments.json:
        print(json.dumps(prediction.as_json(), allow_nan=False))
    else:
        _print(prediction)
    if store is not None and not arguments.all:
        _keep(store, prediction)
    return 0


def _keep(store: Store, prediction: Prediction) -> None:
    try:
        if forecast.keep(store, prediction):
            where = store.folder / forecast.FILE
            print(f"written: {where}; later plans and runs say how far off it was", file=sys.stderr)
    except OSError as error:
        raise RequestError(f"{store.folder}: the plan cannot be written: {error.strerror}") from None


def _print(prediction: Prediction) -> None:
    header = ("encoder", "jobs", "done", "core time", "bitstreams", "tool MB", "estimated from")
    rows = [
        (row.encoder, str(row.jobs), str(row.done), _long(row.core_s), _bytes(row.bitstream_bytes),
         f"{row.tool_mb:.0f}", _WORDS[row.source])
        for row in prediction.rows
    ]  # fmt: skip
    count = prediction.configurations
    print(f"experiment {prediction.experiment}: {count} coding configurations, {prediction.pictures}")
    print(table.render(header, rows))
    if prediction.records:
        pace = f"this machine takes {prediction.pace:.2f} times the built-in time"
        print(f"{prediction.records} records were looked at; {pace}")
    _print_step("compressing", prediction.compress, "jobs")
    if prediction.metrics is not None:
        _print_step("measuring", prediction.metrics, "pictures")
    for note in prediction.notes:
        print(f"note: {note}")
    if prediction.metrics is not None:
        both = prediction.compress.wall_s + prediction.metrics.wall_s
        print(f"\nboth, one after the other: {_long(both)} on {prediction.workers} workers")


def _print_step(name: str, step: Step, what: str) -> None:
    todo = step.jobs - step.done
    print(f"\n{name}: {todo} {what} to do, {step.done} done")
    if not todo:
        return
    places = f"{step.gpus} GPUs" if step.gpus else f"{step.workers} workers"
    used = f"{step.core_s / 3600:.2f} core-hours" + (f", {step.gpu_s / 3600:.2f} GPU-hours" if step.gpus else "")
    print(f"  wall time    {_long(step.wall_s)} on {places}; {used}")
    stored = ", ".join(f"{part} {_bytes(size)}" for part, size in step.storage.items() if size)
    print(f"  storage      {_bytes(sum(step.storage.values()))}: {stored}")
    memory = step.memory_mb
    tool = f" + tool {memory['tool']:.0f} MB" if memory["tool"] else ""
    one = f"process {memory['process']:.0f} MB{tool}"
    print(f"  peak memory  {memory['all'] / 1e3:.2f} GB for all together; one worker: {one}")
    if step.scratch_bytes:
        print(f"  scratch      {_bytes(step.scratch_bytes)} of temporary files a worker, at most")
    label = "GPUs" if step.gpus else "workers"
    rungs = [(str(rung.workers), _long(rung.wall_s), f"{rung.utilisation:.0%}") for rung in step.ladder]
    print("  " + table.render((label, "wall time", "busy"), rungs).replace("\n", "\n  "))
    print(f"  longest: {_long(step.longest_s)}, {step.longest}")
    print(f"  beyond {step.useful_workers} {label} little is gained")
    for note in step.notes:
        print(f"  note: {note}")


def _long(seconds: float) -> str:
    """`1:02:03`, and seconds with a tenth where it is short."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _bytes(size_bytes: float) -> str:
    for unit, many in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= many:
            return f"{size_bytes / many:.1f} {unit}"
    return f"{size_bytes / 1e3:.1f} kB"
