"""What an experiment will take on some workers: time, storage, memory."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from vcmbench.cli import table, which
from vcmbench.cli.argtypes import positive_int, whole_number
from vcmbench.cli.terminal import say
from vcmbench.compress import forecast
from vcmbench.compress.forecast import Measuring, PlanRequest, Prediction, Step
from vcmbench.compress.run import cores
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment
from vcmbench.io.progress import clock
from vcmbench.iqa import METRICS

_EXAMPLES = """\
examples:
  vcmbench plan -s qomex2023 -w 32  # the published grid, as large as Cityscapes
  vcmbench plan -s quick --pictures 200 --size 1920x1080 --workers 8
  vcmbench plan -d data -s my.toml -w 16 --gpus 2  # less what is done
  vcmbench plan -d data -s my.toml --workers 16 --all --json

With -d the plan is written to DATA/results/<experiment>/plan.json, and runs end with how far off it was.
What is predicted from what: docs/plan.md.
"""
_NETWORK_S_PER_MPX, _PREDICTION_BYTES_PER_MPX = 0.7, 20_000
_METRIC_S_PER_MPX = {None: 0.1, "ffmpeg": 0.3, "weights": 15.0}
"""By what a metric needs; one with weights is a VGG16 on both pictures."""
_BLOCK_S = 0.003
"""A metric of a sampled block."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Simulate an experiment's schedule on some workers, compressing and measuring: wall time, "
        "core-hours and storage, from the records so far or, where there are none, from rough figures. Starts nothing."
    )
    parser.epilog = _EXAMPLES
    which.add_experiment(parser)
    parser.add_argument("-d", "--data", type=Path, metavar="DATA",
                        help="the data root; without it 500 pictures in three cities, as Cityscapes' val")  # fmt: skip
    parser.add_argument("-w", "--workers", type=positive_int, default=cores(), metavar="N",
                        help="how many workers, of one core each (default: the cores, %(default)s here)")  # fmt: skip
    parser.add_argument("--gpus", type=whole_number, default=0, metavar="G",
                        help="GPUs that networks and metrics run on (default: none)")  # fmt: skip
    parser.add_argument("--pictures", type=positive_int, metavar="N", help="without DATA: so many pictures")
    parser.add_argument("--size", type=_size, metavar="WxH", help="without DATA: of this size in pixels")
    parser.add_argument("--all", action="store_true", help="everything, as if nothing were done")
    parser.add_argument("--json", action="store_true", help="the prediction as one JSON object on stdout")
    table.add_option(parser)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 2048x1024")
    return int(found[1]), int(found[2])


def run(arguments: argparse.Namespace) -> int:
    wanted = which.wanted(arguments)
    request = PlanRequest(arguments.workers, arguments.gpus, arguments.data, arguments.pictures, arguments.size,
                        arguments.all)  # fmt: skip
    prediction, store = forecast.ask(wanted, request, _measuring(wanted))
    if arguments.json:
        print(json.dumps(prediction.as_json(), allow_nan=False))
    else:
        _print(prediction)
    if store is not None and not arguments.all:
        try:
            if forecast.keep(store, prediction):
                say(f"written: {store.folder / forecast.FILE}; runs end with how far off it was")
        except OSError as error:
            raise RequestError(f"{store.folder}: the plan cannot be written: {error.strerror}") from None
    return 0


def _measuring(wanted: Experiment) -> Measuring | None:
    """What measuring takes, roughly; None where nothing is measured."""
    task, names = wanted.task, wanted.metrics.iqa
    if task is None and not names:
        return None
    has_network = task is not None and task.predictions == "network"
    of_pictures = names if "image" in wanted.metrics.levels else []
    s_per_mpx = 0.08 + sum(_METRIC_S_PER_MPX.get(METRICS[name].needs, 0.1) for name in of_pictures)
    blocks = wanted.metrics.blocks.count * len(wanted.metrics.blocks.size_px) if task else 0
    blocks = blocks if "block" in wanted.metrics.levels else 0
    return Measuring(
        s_per_mpx + (_NETWORK_S_PER_MPX if has_network else 0.0), 3000.0 + 200 * len(of_pictures),
        float(_PREDICTION_BYTES_PER_MPX if has_network else 0), 10.0 + blocks * len(names) * _BLOCK_S,
        300_000.0 + 450_000 * len(names) + blocks * (270 + 75 * len(names)),
    )  # fmt: skip


def _print(prediction: Prediction) -> None:
    header = ("encoder", "jobs", "done", "core time", "bitstreams", "estimated from")
    rows = [
        (row.encoder, str(row.jobs), str(row.done), _long(row.core_s), _bytes(row.bitstream_bytes), row.source)
        for row in prediction.rows
    ]
    count = prediction.configurations
    print(f"experiment {prediction.experiment}: {count} coding configurations, {prediction.pictures}")
    print(table.render(header, rows))
    if any(row.source != "records" for row in prediction.rows):
        print("rough: right within a factor of two or so; records of a small run (dataset.limit) make it better")
    _print_step("compressing", prediction.compress, "jobs", "workers")
    if prediction.metrics is not None:
        _print_step("measuring", prediction.metrics, "pictures", "GPUs" if prediction.gpus else "workers")
    for note in prediction.notes:
        print(f"note: {note}")
    if prediction.metrics is not None:
        both = prediction.compress.wall_s + prediction.metrics.wall_s
        print(f"\nboth, one after the other: {_long(both)} on {prediction.workers} workers")


def _print_step(name: str, step: Step, what: str, places: str) -> None:
    todo = step.jobs - step.done
    print(f"\n{name}: {todo} {what} to do, {step.done} done")
    if not todo:
        return
    print(f"  wall time  {_long(step.wall_s)} on {step.workers} {places}; {step.core_s / 3600:.2f} hours of their time")
    stored = ", ".join(f"{part} {_bytes(size)}" for part, size in step.storage.items() if size)
    print(f"  storage    {_bytes(sum(step.storage.values()))}: {stored}")
    rungs = [(str(rung.workers), _long(rung.wall_s), f"{rung.utilisation:.0%}") for rung in step.ladder]
    print("  " + table.render((places, "wall time", "busy"), rungs).replace("\n", "\n  "))
    print(f"  longest: {_long(step.longest_s)}, {step.longest}")
    print(f"  beyond {step.useful_workers} {places} little is gained")


def _long(seconds: float) -> str:
    """`1:02:03`, and seconds with a tenth where it is short."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def _bytes(size_bytes: float) -> str:
    unit, many = ("GB", 1e9) if size_bytes >= 1e9 else ("MB", 1e6) if size_bytes >= 1e6 else ("kB", 1e3)
    return f"{size_bytes / many:.1f} {unit}"
