"""Make the embedded data set and run the whole chain on it."""

from __future__ import annotations

import argparse
from pathlib import Path

from vcmbench import experiment
from vcmbench.cli.argtypes import positive_int, whole_number
from vcmbench.cli.commands.compress import add_run_options, run_experiment
from vcmbench.cli.measure_options import add_measure_options, check_packages
from vcmbench.cli.terminal import say
from vcmbench.compress.run import cores
from vcmbench.data.dataset import MAPS, find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.demo import cityscapes, photos, sequences
from vcmbench.demo.sequences import Drives
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import ImportanceSettings
from vcmbench.importance.batch import ImportanceBatch
from vcmbench.importance.generate import tasks_of
from vcmbench.io.files import is_disk_fault
from vcmbench.io.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draw street scenes in the Cityscapes layout, take the real photographs that come with "
        "scikit-image, and compress both with every codec that this machine can run; make importance maps of the "
        "scenes, and spend the same bits where they matter; code drives as video; then measure what all of that did to "
        "a segmentation network, which quality metrics follow it, and report it."
    )
    parser.epilog = "examples:\n  vcmbench demo\n  vcmbench demo -o /tmp/demo --width 2048 --scenes 1"
    parser.add_argument("-o", "--output", type=Path, default=Path("vcmbench-demo"), metavar="DIR",
                        help="where data and results go (default: %(default)s)")  # fmt: skip
    parser.add_argument("--width", type=positive_int, default=512, metavar="PX",
                        help="width of a scene, twice its height (default: %(default)s; Cityscapes: 2048)")  # fmt: skip
    parser.add_argument("--scenes", type=positive_int, default=4, metavar="N",
                        help="scenes in each of the three val cities (default: %(default)s)")  # fmt: skip
    parser.add_argument("--drives", type=whole_number, default=3, metavar="N",
                        help="sequences, coded as video; 0: none (default: %(default)s)")  # fmt: skip
    parser.add_argument("--frames", type=positive_int, default=24, metavar="N",
                        help="frames of each (default: %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=whole_number, default=0, help="of the scenes (default: %(default)s)")
    parser.add_argument("--data-only", action="store_true", help="make the data and stop")
    add_run_options(parser)
    add_measure_options(parser)
    parser.set_defaults(no_report=False)


def run(arguments: argparse.Namespace) -> int:
    data, photographs = arguments.output / "data", arguments.output / "photos"
    _make_data(arguments, data, photographs)
    if arguments.data_only:
        return 0
    codes = []
    for title, folder, config in (("street scenes", data, "demo"), ("photographs", photographs, "photos")):
        say(f"\n{title}: vcmbench compress -d {folder} -s {config}")
        codes.append(run_experiment(experiment.load(config), folder, arguments))
    say(f"\nbits where they matter: vcmbench importance -d {data}")
    codes.append(_make_maps(data, arguments))
    say(f"\nvcmbench compress -d {data} -s importance --skip-missing")
    codes.append(run_experiment(experiment.load("importance"), data, arguments, skip_missing=True))
    if arguments.drives:
        say(f"\ndrives, as video: vcmbench compress -d {data} -s demo_video")
        codes.append(run_experiment(experiment.load("demo_video"), data, arguments))
        codes.append(_measure(data, "demo_video", arguments))
    codes.append(_measure(data, "demo", arguments))
    return max(codes)


def _measure(data: Path, config: str, arguments: argparse.Namespace) -> int:
    say(f"\nwhat the machine makes of it: vcmbench metrics -d {data} -s {config}")
    try:
        check_packages()
    except RequestError as error:  # what needs no network was worth showing
        say(f"left out: {error}")
        return 0
    from vcmbench.cli import measuring

    wanted = experiment.load(config)
    return measuring.run_experiment(wanted, data, arguments, list(wanted.metrics.levels))


def _make_maps(folder: Path, arguments: argparse.Namespace) -> int:
    data = open_root(folder)
    tasks = tasks_of(data, find_sources(data, Selection()), 1)
    results = ImportanceBatch(
        tasks, data.root / MAPS, ImportanceSettings(), arguments.jobs or cores(), arguments.force
    ).execute()
    say(f"importance maps and pictures of them: {data.root / MAPS}")
    return 1 if any(result.error for result in results) else 0


def _make_data(arguments: argparse.Namespace, data: Path, photographs: Path) -> None:
    sizes = {"val_per_city": arguments.scenes, "train_scenes": 12, "sequences": 1, "frames_per_sequence": 6}
    total = len(cityscapes.plan(arguments.seed, *sizes.values()))
    try:
        with Progress(total, "scene") as progress:
            made = cityscapes.write(
                data,
                width=arguments.width,
                height=arguments.width // 2,
                seed=arguments.seed,
                jobs=arguments.jobs or cores(),
                progress=lambda done, _: progress.advance("drawing street scenes", done),
                **sizes,
            )
        if arguments.drives:
            drives = Drives(arguments.drives, arguments.frames, arguments.width, arguments.width // 2, arguments.seed)
            with Progress(drives.count, "drive") as progress:
                sequences.write(data, drives, arguments.jobs or cores(),
                                lambda done: progress.advance("drawing drives", done))  # fmt: skip
        count = len(photos.write(photographs))
    except (FileExistsError, ValueError) as error:
        raise RequestError(str(error)) from None
    except OSError as error:
        kind = JobError if is_disk_fault(error) else RequestError
        raise kind(f"{error.filename or arguments.output}: {error.strerror}") from None
    say(f"{len(made.val)} val and {len(made.train)} train scenes: {made.folder}")
    say(f"{count} photographs: {photographs}")
