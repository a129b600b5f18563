"""Make importance maps from labels, distance and speed."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from vcmbench.cli import table
from vcmbench.cli.argtypes import number, positive_int, whole_number
from vcmbench.cli.terminal import say
from vcmbench.compress.run import cores
from vcmbench.data.dataset import find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.errors import RequestError
from vcmbench.importance.batch import ImportanceBatch, MapResult
from vcmbench.importance.classes import Named
from vcmbench.importance.generate import tasks_of
from vcmbench.importance.inputs import FOLDER
from vcmbench.importance.record import Record
from vcmbench.importance.settings import Aggregate, ImportanceSettings
from vcmbench.io.files import check_inside

_EXAMPLES = """\
examples:
  vcmbench importance -d data
  vcmbench importance -d data --split train --cities aachen zurich \\
      --visualize-every 30
  vcmbench importance -d data --no-speed -o data/importance_map_no_speed
  vcmbench importance -d data --aggregate pixel \\
      --classes my.toml --json > maps.jsonl

Of each picture DATA/cityscapes/{leftImg8bit,gtFine,disparity,camera,vehicle}/<split>/<city>/ is read, and written are
DATA/importance_map/<split>/<city>/*_importance.npy (float32, 0 to 1), *_importance.png (gray), *_importance.json (all
distances, and what was missing), *_importance_vis.png (colours of heat), *_distance_annotation.png (red within the
safe distance, blue beyond). What is done is not done twice.

exit codes: 0 all done, 1 some pictures failed (each is named), 2 the request was wrong (nothing was started),
130 interrupted
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Make importance maps: how much each pixel of a driving scene matters, from labels, stereo "
        "disparity and the speed of the car."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("-d", "--data", type=Path, required=True, metavar="DATA", help="the data root")
    parser.add_argument("--split", default="val", help="which pictures (default: %(default)s)")
    parser.add_argument("--cities", nargs="+", metavar="CITY", help="only these cities of the split")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N pictures")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help=f"where the maps go (default: DATA/{FOLDER})")
    parser.add_argument(
        "--visualize-every", type=whole_number, default=1, metavar="N",
        help="pictures of every Nth map; 0: of none (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-j", "--jobs", type=positive_int, default=cores(), metavar="N",
        help="how many pictures at once (default: the cores, %(default)s here)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="make finished maps again")
    parser.add_argument("--json", action="store_true", help="one JSON object a picture on stdout")
    table.add_option(parser)
    _add_settings(parser)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group, defaults = parser.add_argument_group("what importance is"), ImportanceSettings()
    group.add_argument(
        "--aggregate", choices=get_args(Aggregate), default=defaults.aggregate,
        help="which pixels share one distance, the median of their valid ones (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--no-distance", action="store_true", help="objects count 1 at any distance")
    group.add_argument("--no-class", action="store_true", help="everything but void counts by its distance")
    group.add_argument("--no-speed", action="store_true", help="the safe distance is that at 10 m/s")
    for flag, name, unit, text in (
        ("--reaction-time", "reaction_s", "S", "of the driver, in s"),
        ("--deceleration", "deceleration_mps2", "A", "of the braking car, in m/s^2"),
        ("--d-safe-floor", "d_safe_floor_m", "M", "smallest safe distance in m, for a car that stands"),
    ):
        default = getattr(defaults, name)
        group.add_argument(
            flag, dest=name, type=number, default=default, metavar=unit, help=f"{text} (default: %(default)g)"
        )
    group.add_argument(
        "--classes", type=lambda text: text if text in get_args(Named) else Path(text), metavar="TOML",
        help="another class table: a file, or seed000, in which the road counts as little as the sky",
    )  # fmt: skip


def _settings(arguments: argparse.Namespace) -> ImportanceSettings:
    return ImportanceSettings(
        aggregate=arguments.aggregate,
        use_distance=not arguments.no_distance,
        use_class=not arguments.no_class,
        use_speed=not arguments.no_speed,
        reaction_s=arguments.reaction_s,
        deceleration_mps2=arguments.deceleration_mps2,
        d_safe_floor_m=arguments.d_safe_floor_m,
        classes=arguments.classes,
    )


def _dataset(arguments: argparse.Namespace) -> Selection:
    try:
        return Selection(split=arguments.split, cities=arguments.cities, limit=arguments.limit)
    except ValueError:  # of pydantic: the names must be those of one folder each
        found = " ".join([arguments.split, *(arguments.cities or [])])
        raise RequestError(f"--split, --cities: names of folders are needed, found {found!r}") from None


def run(arguments: argparse.Namespace) -> int:
    settings, wanted = _settings(arguments), _dataset(arguments)
    data = open_root(arguments.data)
    tasks = tasks_of(data, find_sources(data, wanted), arguments.visualize_every)
    output = arguments.output or data.root / FOLDER
    if arguments.output is None:
        check_inside(data.root, output / "any")
    batch, tally = ImportanceBatch(tasks, output, settings, arguments.jobs, arguments.force), _Tally()

    def listen(result: MapResult, record: Record | None) -> None:
        tally.add(result, record)
        if arguments.json:
            _print_json(result, record)

    results = batch.execute(listen)
    if not arguments.json and tally.folders:
        print(_table(results, tally))
    _print_end(tally, output)
    return 1 if tally.states["failed"] else 0


@dataclass
class _Sums:
    """What a line of the table says of a folder's pictures, as sums."""

    pictures: int = 0
    mean_importance: float = 0.0
    share_at_one: float = 0.0
    objects: int = 0
    within: int = 0
    with_fallbacks: int = 0

    def add(self, other: _Sums) -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    def cells(self, name: str) -> tuple[str, ...]:
        return (
            name,
            str(self.pictures),
            f"{self.mean_importance / self.pictures:.4f}",
            f"{self.share_at_one / self.pictures * 100:.2f}",
            str(self.objects),
            str(self.within),
            str(self.with_fallbacks),
        )


@dataclass
class _Tally:
    """What is said at the end of a run: sums and counts, for the records of thousands of pictures fill the memory."""

    states: Counter[str] = field(default_factory=Counter)
    folders: dict[str, _Sums] = field(default_factory=dict)
    fallbacks: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unmeasured: int = 0
    with_unmeasured: int = 0

    def add(self, result: MapResult, record: Record | None) -> None:
        self.states[result.state] += 1
        if record is None:
            return
        objects = record["objects"]
        unmeasured = sum("reason" in one for one in objects)
        self.unmeasured += unmeasured
        self.with_unmeasured += bool(unmeasured)
        self.fallbacks.update(record["fallbacks"])
        self.faults += record.get("faults", [])  # records of earlier versions have none
        self.folders.setdefault(_folder(result), _Sums()).add(
            _Sums(
                1,
                record["mean_importance"],
                record["share_at_one"],
                len(objects),
                sum(one["within"] for one in objects),
                bool(record["fallbacks"]),
            )
        )


def _folder(result: MapResult) -> str:
    return result.name.rpartition("/")[0]


def _print_json(result: MapResult, record: Record | None) -> None:
    event: dict[str, Any] = {"state": result.state, "image": result.name}
    if record is not None:
        event["record"] = record
    if result.error is not None:
        event |= {"error": str(result.error), "log": result.error.log[-4000:]}
    print(json.dumps(event, allow_nan=False), flush=True)


def _table(results: list[MapResult], tally: _Tally) -> str:
    """One row a city: pictures, mean importance, share of pixels at 1, objects, pictures with fallbacks."""
    header = ("folder", "n", "mean importance", "at 1.0 %", "objects", "within d_safe", "fallbacks")
    # in the order of the pictures, not in that in which threads finished them
    names = [name for name in dict.fromkeys(map(_folder, results)) if name in tally.folders]
    rows = [tally.folders[name].cells(name) for name in names]
    if len(rows) > 1:
        every = _Sums()
        for sums in tally.folders.values():
            every.add(sums)
        rows.append(every.cells("all"))
    return table.render(header, rows)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_end(tally: _Tally, output: Path) -> None:
    states = tally.states
    end = [f"{states['done']} done, {states['resumed']} were done before, {states['failed']} failed"]
    end += [f"fallback: {name} is missing for {_count(n, 'picture')}" for name, n in sorted(tally.fallbacks.items())]
    if tally.unmeasured:
        where = _count(tally.with_unmeasured, "picture")
        end.append(f"no distance of their own: {_count(tally.unmeasured, 'object')} in {where}")
    end += sorted(tally.faults)
    end.append(f"maps, and records with all notes: {output}")
    say("\n".join(end), always=bool(states["failed"]))
