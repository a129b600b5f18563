"""Find the smallest coding of an experiment with which the machine loses no more than so much."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from vcmbench import tasks
from vcmbench.analysis.smallest import Raced, race
from vcmbench.cli import runners, table, which
from vcmbench.cli.argtypes import positive_int
from vcmbench.cli.measure_options import check_packages
from vcmbench.cli.terminal import say, wrapped
from vcmbench.compress.run import cores
from vcmbench.data.dataset import find_sources, open_root
from vcmbench.data.estimate import Estimate
from vcmbench.data.store import Store
from vcmbench.encoder.grid import CodingGrid
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.tasks import kind

if TYPE_CHECKING:  # measuring takes long to import
    from vcmbench.cli.trials import Family, Trials
    from vcmbench.data.dataset import Source

_ENDING = "-smallest"
_EXAMPLES = """\
examples:
  vcmbench smallest -d vcmbench-demo/data -s demo --within 5 --measure accuracy
  vcmbench smallest -d data -s my.toml --within 1.0

Every [[coding]] of the experiment races, with each whole quality between the best and the coarsest that it names.
Half of the pictures (sequences, groups) choose: the anchor's largest step within the loss is found first; another
coding is only coded until it is smaller, and leaves where the machine loses more there. The other half confirms, and
its figures are what to expect. The loss, in points, is that of the pristine pictures less that of the decoded ones,
against metrics.against. It is taken to grow from quality to quality.

What was tried lies in DATA/results/<experiment>-smallest/: smallest.csv, and smallest.toml, which codes a folder so.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EXAMPLES
    which.add_which(parser)
    parser.add_argument("--within", type=float, required=True, metavar="POINTS",
                        help="how much of the measure may be lost, in points of 100")  # fmt: skip
    parser.add_argument("--measure", metavar="NAME",
                        help="what of the machine is measured: miou, accuracy, ap .. (default: the task's "
                        "own, miou for segmentation)")  # fmt: skip
    parser.add_argument("--gpu", default="auto", metavar="auto|none|N",
                        help="where the network runs: the first GPU, the CPU, or GPU N (default: auto)")  # fmt: skip
    parser.add_argument("-j", "--jobs", type=positive_int, default=cores(), metavar="N",
                        help="pictures at once (default: the cores, %(default)s here)")  # fmt: skip
    parser.add_argument("--skip-missing", action="store_true", help="leave out encoders whose tools are not found")
    parser.add_argument("--json", action="store_true", help="what was found as one JSON object on stdout, no tables")
    table.add_option(parser)
    runners.add_options(parser)


def run(arguments: argparse.Namespace) -> int:
    check_packages()
    from vcmbench.cli.trials import Trials, families, halves

    wanted = _named(which.wanted(arguments))
    if wanted.task is None:
        raise RequestError(f"experiment {arguments.config}: has no [task], and the machine is what may lose something")
    if not 0 <= arguments.within < 100:
        raise RequestError(f"--within {arguments.within:g}: must be points of 100, from 0 on")
    measure = _measure_of(wanted, arguments.measure)
    data = open_root(arguments.data)
    sources = find_sources(data, wanted.dataset)
    racing, (choosing, confirming) = families(wanted), halves(wanted, sources)
    runner = runners.choose(arguments, wanted.encoders(), Store(data, wanted.name).any_runner())
    with ExitStack() as stack:
        trials = Trials(wanted, data, runner, measure, min(arguments.jobs, cores()),
                        arguments.gpu, arguments.runner, stack)  # fmt: skip
        lacking = trials.missing(sources)
        if lacking and not arguments.skip_missing:
            why = "nothing was started (--skip-missing leaves these out):"
            raise RequestError("\n  ".join([why, *lacking.values()]))
        racing = [family for family in racing if family.grid.encoder not in lacking]
        if not racing:
            raise RequestError("--skip-missing: nothing is left of the experiment")
        for line in lacking.values():
            say(f"left out: {line}", always=True)
        say(f"{len(racing)} codings race on {len(choosing)} pictures; {len(confirming)} confirm")

        def loss(family: int, step: int) -> float:
            found = trials.loss(racing[family].at(step), tuple(choosing)).value
            return float("inf") if found is None else found

        raced = race(
            [len(family.qualities) for family in racing],
            lambda family, step: trials.size_bytes(racing[family].at(step), tuple(choosing)), loss, arguments.within,
        )  # fmt: skip
        store = Store(data, wanted.name)
        _write(store, racing, raced, {})  # what was tried is not lost where the other half cannot be measured
        confirmed = {number: _confirmed(trials, racing[number].at(raced[number].step or 0), confirming)
                     for number in _shown(raced)}  # fmt: skip
    return _end(arguments, wanted, store, racing, raced, confirmed)


def _named(wanted: Experiment) -> Experiment:
    """Its records are beside those of the experiment, whose tables stay as they are."""
    name, most = wanted.name, 64 - len(_ENDING)
    if len(name) > most:
        name = f"{name[: most - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return wanted.model_copy(update={"name": f"{name}{_ENDING}"})


def _measure_of(wanted: Experiment, asked: str | None) -> str:
    """Raises RequestError where the task's kind has no such measure."""
    of_task = kind.get(tasks.get(wanted.task.name if wanted.task else "segmentation").kind)
    measures = [name for name in of_task.measures if name not in of_task.lower_is_better]
    if (asked is not None and asked not in measures) or not measures:
        raise RequestError(f"--measure {asked}: of a {of_task.name} it may be {', '.join(measures) or 'none'}")
    return asked or ("miou" if "miou" in measures else measures[0])


def _confirmed(trials: Trials, coding: CodingGrid, sources: Sequence[Source]) -> tuple[int | None, Estimate]:
    """Bytes and loss on the other half, or why they are not known."""
    try:
        return trials.size_bytes(coding, tuple(sources)), trials.loss(coding, tuple(sources))
    except JobError as error:
        return None, Estimate(reason=str(error))


def _shown(raced: Sequence[Raced]) -> list[int]:
    """The smallest, and the anchor, which it is held against, where that is within."""
    within = [number for number, one in enumerate(raced) if one.is_in]
    return sorted({*within[-1:], *(number for number in within if number == 0)})


def _end(
    arguments: argparse.Namespace, wanted: Experiment, store: Store, racing: Sequence[Family], raced: Sequence[Raced],
    confirmed: dict[int, tuple[int | None, Estimate]],
) -> int:  # fmt: skip
    rows = _write(store, racing, raced, confirmed)
    if arguments.json:
        print(json.dumps({"within": arguments.within, "tried": rows}, allow_nan=False))
    else:
        columns = ("coding", "quality", "bytes", "loses", "verdict", "confirmed bytes", "confirmed loss")
        print(table.render(columns, [tuple(_cell(row[name]) for name in columns) for row in rows]))
    if not (shown := _shown(raced)):
        failed = next((one.verdict for one in raced if one.step is None), "")
        say(f"nothing is within {arguments.within:g} points: name better qualities, or allow more"
            + (f"; {failed}" if failed else ""), always=True)  # fmt: skip
        return 1
    best = shown[-1]
    size, loss = confirmed[best]
    text = f"smallest: {_called(racing[best], raced[best])}"
    if size is None or loss.value is None:
        text += f"; it could not be confirmed: {loss.reason}"
    else:
        text += f" loses {loss:.2f} points on pictures that did not choose it"
        text += _against(racing, raced, confirmed, best)
        if loss.value > arguments.within:
            text += f"; that is more than {arguments.within:g}: to be sure, choose with a smaller --within"
    path = store.folder / "smallest.toml"
    store.write_table(path.name, _toml(wanted, racing[best], raced[best]).encode())
    say(wrapped(text, "  "))
    say(f"tried: {store.folder / 'smallest.csv'}\n"
        f"code a folder so: python run_compression.py -d FOLDER -s {shlex.quote(str(path))}")  # fmt: skip
    return 1 if any(one.verdict.startswith("failed") for one in raced) else 0


def _against(
    racing: Sequence[Family], raced: Sequence[Raced], confirmed: dict[int, tuple[int | None, Estimate]], best: int
) -> str:
    """How much smaller the best is than the anchor, on both halves."""
    if best == 0:
        return "; it is the anchor: nothing else is smaller"
    if 0 not in confirmed:
        return f"; the anchor, {racing[0]}, is not within at any quality"
    (size, _), (whole, loss) = confirmed[best], confirmed[0]
    if not size or not whole:
        return f"; the anchor could not be confirmed: {loss.reason}"
    chosen = (raced[best].size_bytes or 0) / (raced[0].size_bytes or 1)
    return (f", with {1 - size / whole:.0%} fewer bytes than {_called(racing[0], raced[0])}, which loses {loss:.2f} "
            f"there; on those that chose it {1 - chosen:.0%} fewer")  # fmt: skip


def _write(
    store: Store, racing: Sequence[Family], raced: Sequence[Raced],
    confirmed: dict[int, tuple[int | None, Estimate]],
) -> list[dict[str, Any]]:  # fmt: skip
    """The rows of smallest.csv."""
    rows = [_row(family, one, confirmed.get(number))
            for number, (family, one) in enumerate(zip(racing, raced, strict=True))]  # fmt: skip
    store.write_table("smallest.csv", _csv(rows))
    return rows


def _called(family: Family, one: Raced) -> str:
    quality = family.qualities[one.step or 0]
    return str(family) if quality is None else f"{family} at quality {quality}"


def _row(family: Family, one: Raced, confirmed: tuple[int | None, Estimate] | None) -> dict[str, Any]:
    quality = None if one.step is None else family.qualities[one.step]
    return {
        "coding": str(family), "quality": quality, "bytes": one.size_bytes,
        "loses": None if one.loss is None else round(one.loss, 4), "verdict": one.verdict,
        "confirmed bytes": confirmed[0] if confirmed else None,
        "confirmed loss": _said(confirmed[1]) if confirmed else None,
    }  # fmt: skip


def _said(loss: Estimate) -> str:
    return str(loss.reason) if loss.value is None else format(loss, ".2f")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _toml(wanted: Experiment, family: Family, one: Raced) -> str:
    """An experiment of that coding alone, for other pictures: of [dataset] nothing is kept."""
    tables = {"importance": wanted.importance, "task": wanted.task}
    # importance is of maps; the task measures what was coded so
    needed = {name: model for name, model in tables.items()
              if model is not None and (name == "task" or family.grid.qp_map is not None)}  # fmt: skip
    said = "" if one.loss is None else f", where it lost {one.loss:.2f} points"
    lines = [f"# The smallest of {wanted.name.removesuffix(_ENDING)} on the half that chose{said}: vcmbench smallest",
             f'name = "{wanted.name}"', f"seed = {wanted.seed}"]  # fmt: skip
    for name, model in needed.items():
        lines += ["", f"[{name}]", *_keys(model.model_dump(mode="json", exclude_unset=name == "task"))]
    lines += ["", "[[coding]]", *_keys(family.at(one.step or 0).model_dump(mode="json", exclude_defaults=True))]
    return "\n".join(lines) + "\n"


def _keys(values: dict[str, Any]) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in values.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(_keys(value))} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
