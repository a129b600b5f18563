"""`vcmbench importance`: importance maps and their pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, get_args

from vcmbench import compress, experiment
from vcmbench.cli import table
from vcmbench.cli.compress import positive_int, whole_number
from vcmbench.dataset import find_sources, open_root
from vcmbench.errors import RequestError
from vcmbench.importance.batch import Batch, Result
from vcmbench.importance.generate import tasks_of
from vcmbench.importance.inputs import FOLDER
from vcmbench.importance.settings import Aggregate, ImportanceSettings

_EXAMPLES = """\
examples:
  vcmbench importance -d data
  vcmbench importance -d data --split train --cities aachen zurich --visualize-every 30
  vcmbench importance -d data --no-speed -o data/importance_map_no_speed
  vcmbench importance -d data --aggregate pixel --classes my-classes.toml --json > maps.jsonl

Of each picture DATA/cityscapes/{leftImg8bit,gtFine,disparity,camera,vehicle}/<split>/<city>/ is read, and written are
DATA/importance_map/<split>/<city>/*_importance.npy (float32, 0 to 1), *_importance.png (gray), *_importance.json (all
distances, and what was missing), *_importance_vis.png (colours of heat), *_distance_annotation.png (red within the
safe distance, blue beyond). What is done is not done twice.
exit codes: 0 all done, 1 some pictures failed (each is named), 2 the request was wrong (nothing was started),
130 interrupted
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "importance",
        help="make importance maps from labels, distance and speed",
        description="Make importance maps: how much each pixel of a driving scene matters, from labels, stereo "
        "disparity and the speed of the car.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
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
        "-j", "--jobs", type=positive_int, default=compress.cores(), metavar="N",
        help="how many pictures at once (default: the cores, %(default)s here)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="make finished maps again")
    parser.add_argument("--json", action="store_true", help="one JSON object a picture on stdout")
    _add_settings(parser)
    parser.set_defaults(run=run, parser=parser)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group, defaults = parser.add_argument_group("what importance is"), ImportanceSettings()
    group.add_argument(
        "--aggregate", choices=get_args(Aggregate), default=defaults.aggregate,
        help="which pixels share one distance, the median of their valid ones (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--no-distance", action="store_true", help="objects count 1 at any distance")
    group.add_argument("--no-class", action="store_true", help="everything but void counts by its distance")
    group.add_argument("--no-speed", action="store_true", help="the safe distance is that at 10 m/s")
    for flag, field, unit, text in (
        ("--reaction-time", "reaction_s", "S", "of the driver, in s"),
        ("--deceleration", "deceleration_mps2", "A", "of the braking car, in m/s^2"),
        ("--d-safe-floor", "d_safe_floor_m", "M", "smallest safe distance in m, for a car that stands"),
    ):
        default = getattr(defaults, field)
        group.add_argument(
            flag, dest=field, type=_number, default=default, metavar=unit, help=f"{text} (default: %(default)g)"
        )
    group.add_argument("--classes", type=Path, metavar="TOML", help="another class table than that of Cityscapes")


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


def _dataset(arguments: argparse.Namespace) -> experiment.Dataset:
    try:
        return experiment.Dataset(split=arguments.split, cities=arguments.cities, limit=arguments.limit)
    except ValueError:  # of pydantic: the names must be those of one folder each
        found = " ".join([arguments.split, *(arguments.cities or [])])
        raise RequestError(f"--split, --cities: names of folders are needed, found {found!r}") from None


def run(arguments: argparse.Namespace) -> int:
    settings, wanted = _settings(arguments), _dataset(arguments)
    data = open_root(arguments.data)
    tasks = tasks_of(data, find_sources(data, wanted), arguments.visualize_every)
    output = arguments.output or data.root / FOLDER
    batch = Batch(tasks, output, settings, arguments.jobs, arguments.force)
    results = batch.execute(_print_json if arguments.json else lambda _: None)
    if not arguments.json and any(result.record for result in results):
        print(_table(results))
    _print_end(results, output)
    return 1 if any(result.error for result in results) else 0


def _print_json(result: Result) -> None:
    event: dict[str, Any] = {"state": result.state, "image": result.name}
    if result.record is not None:
        event["record"] = result.record
    if result.error is not None:
        event |= {"error": str(result.error), "log": result.error.log[-4000:]}
    print(json.dumps(event, allow_nan=False), flush=True)


def _table(results: list[Result]) -> str:
    """One row a city: pictures, mean importance, share of pixels at 1, pictures with objects, fallbacks."""
    header = ("folder", "n", "mean importance", "at 1.0 %", "objects", "within d_safe", "fallbacks")
    rows: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result.record is not None:
            rows.setdefault(result.name.rpartition("/")[0], []).append(result.record)
    if len(rows) > 1:
        rows["all"] = [record for records in rows.values() for record in records]
    return table.render(header, [_row(name, records) for name, records in rows.items()])


def _row(name: str, records: list[dict[str, Any]]) -> tuple[str, ...]:
    count = len(records)
    objects = [one for record in records for one in record["objects"]]
    fallbacks = sum(bool(record["fallbacks"]) for record in records)
    return (
        name,
        str(count),
        f"{sum(record['mean_importance'] for record in records) / count:.4f}",
        f"{sum(record['share_at_one'] for record in records) / count * 100:.2f}",
        str(len(objects)),
        str(sum(one["within"] for one in objects)),
        str(fallbacks),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_end(results: list[Result], output: Path) -> None:
    states = Counter(result.state for result in results)
    say = [f"{states['done']} done, {states['resumed']} were done before, {states['failed']} failed"]
    records = [result.record for result in results if result.record]
    fallbacks = Counter(name for record in records for name in record["fallbacks"])
    say += [f"fallback: {name} is missing for {_count(n, 'picture')}" for name, n in sorted(fallbacks.items())]
    unmeasured = [sum("reason" in one for one in record["objects"]) for record in records]
    if any(unmeasured):
        where = _count(sum(map(bool, unmeasured)), "picture")
        say.append(f"no distance of their own: {_count(sum(unmeasured), 'object')} in {where}")
    say.append(f"maps, and records with all notes: {output}")
    print("\n".join(say), file=sys.stderr)
