"""A plan that was written, and the runs since: how far off it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vcmbench.compress.forecast.prediction import SCHEMA_VERSION, Prediction
from vcmbench.data import runlog
from vcmbench.data.runlog import RunLog, Step
from vcmbench.data.store import Store
from vcmbench.io.files import read_bounded
from vcmbench.io.progress import clock

FILE = "plan.json"
_MAX_BYTES = 1 << 20
_STEPS: tuple[Step, ...] = ("compress", "metrics")
_DONE = {"compress": "jobs", "metrics": "pictures"}


@dataclass(frozen=True)
class Account:
    """A step as it was planned and as it went: `done` of `planned` jobs in `wall_s` on `workers`, predicted for as many
    workers in `predicted_s`. `predicted_core_s` are core-seconds and `cpu_s` the processor time that was used: the two
    agree where the wall time was off because others were at work on the machine. Bytes are of bitstreams. None is what
    the runs do not say."""

    step: Step
    planned: int
    done: int
    workers: int
    predicted_s: float
    wall_s: float
    predicted_core_s: float
    cpu_s: float | None
    predicted_bytes: int | None = None
    written_bytes: int | None = None

    @property
    def off(self) -> float:
        """How much more it took than predicted, as a share; negative where less. Of what was done, where that is not
        all."""
        return self.wall_s / (self.predicted_s * self._share) - 1

    @property
    def _share(self) -> float:
        """Of what was predicted; more than 1 where jobs were done again that the plan took for done."""
        return self.done / self.planned

    def __str__(self) -> str:
        where = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        due_s = self.predicted_s * self._share
        text = f"{self.step}: predicted {clock(due_s)} for {where}, took {clock(self.wall_s)} ({_off(self.off)})"
        if self.done < self.planned:
            text += f" for {self.done} of {self.planned} {_DONE[self.step]} so far"
        elif self.done > self.planned:
            text += f" for {self.done} {_DONE[self.step]}, where {self.planned} were planned"
        if self.predicted_core_s and self.cpu_s:
            core_s = self.predicted_core_s * self._share
            text += f"; core time {clock(core_s)}, {clock(self.cpu_s)} ({_off(self.cpu_s / core_s - 1)})"
        if self.predicted_bytes and self.written_bytes:
            due = self.predicted_bytes * self._share
            text += f"; storage {_size(due)}, {_size(self.written_bytes)} ({_off(self.written_bytes / due - 1)})"
        return text


def keep(store: Store, prediction: Prediction) -> bool:
    """Write a prediction beside the experiment's results. A step that has nothing to do keeps the plan by which it was
    done; where both have nothing, nothing is written. Raises OSError."""
    plan, before = prediction.as_json(), recall(store) or {}
    ended = [name for name in _STEPS if plan[name] is None or plan[name]["jobs"] == plan[name]["done"]]
    if len(ended) == len(_STEPS):
        return False
    plan |= {name: before.get(name) or plan[name] for name in ended}
    store.write_table(FILE, json.dumps(plan, indent=1, allow_nan=False).encode())
    return True


def recall(store: Store) -> dict[str, Any] | None:
    """The last plan that was written; None where there is none, or it is damaged."""
    try:
        plan = json.loads(read_bounded(store.folder / FILE, _MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    try:
        _check(plan)
    except (KeyError, TypeError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def _check(plan: Any) -> None:
    """Raises KeyError, TypeError or ValueError where a plan lacks what is relied upon."""
    if plan["schema_version"] != SCHEMA_VERSION:
        raise ValueError
    for name in _STEPS:
        if (step := plan[name]) is not None:
            if datetime.fromisoformat(step["date"]).tzinfo is None:
                raise ValueError
            numbers = [step["jobs"], step["done"], step["wall_s"], step["core_s"], *step["storage"].values()]
            numbers += [number for rung in step["ladder"] for number in (rung["workers"], rung["wall_s"])]
            if not all(isinstance(one, int | float) and 0 <= one < 1e18 for one in numbers):
                raise ValueError
            if min(rung["workers"] for rung in step["ladder"]) != 1:
                raise ValueError


def accounts(store: Store) -> list[Account]:
    """Each step of the last plan that runs have worked on since; where they were several, their sums."""
    plan = recall(store)
    if plan is None:
        return []
    runs = runlog.read(store)
    found = (_account(step, plan[step], runs) for step in _STEPS if plan[step] is not None)
    return [one for one in found if one is not None]


def _account(step: Step, planned: dict[str, Any], all_runs: list[RunLog]) -> Account | None:
    todo, began = planned["jobs"] - planned["done"], datetime.fromisoformat(planned["date"])
    runs = [run for run in all_runs if run.step == step and run.done and datetime.fromisoformat(run.date) >= began]
    if not runs or todo < 1 or not planned["wall_s"]:
        return None
    wall_s, done = sum(run.wall_s for run in runs), sum(run.done for run in runs)
    # pieces may have had different numbers of workers: that of the most work counts
    workers = max(runs, key=lambda run: run.wall_s).workers
    used = [run.cpu_s for run in runs if run.cpu_s is not None]
    return Account(
        step, todo, done, workers, _wall_s(planned["ladder"], workers), wall_s, planned["core_s"],
        sum(used) if len(used) == len(runs) else None,
        planned["storage"].get("bitstreams") if step == "compress" else None,
        sum(run.written_bytes for run in runs) or None,
    )  # fmt: skip


def _wall_s(ladder: list[dict[str, Any]], workers: int) -> float:
    """The predicted time on that many workers; between two rungs in a straight line over 1 / workers."""
    below = max((rung for rung in ladder if rung["workers"] <= workers), key=lambda rung: int(rung["workers"]))
    above = min((rung for rung in ladder if rung["workers"] >= workers), key=lambda rung: int(rung["workers"]),
                default=below)  # fmt: skip
    if above["workers"] == below["workers"]:
        return float(below["wall_s"])
    share = (1 / below["workers"] - 1 / workers) / (1 / below["workers"] - 1 / above["workers"])
    return float(below["wall_s"] + share * (above["wall_s"] - below["wall_s"]))


def compare(store: Store, step: Step | None = None) -> str | None:
    """How far off the last plan was, a line a step: "plan: compress: predicted 0:42 for 2 workers, took 0:45 (7 %
    more); storage 1.2 MB, 1.3 MB (8 % more)". None where there is no plan, or no run has worked on it."""
    lines = [f"plan: {one}" for one in accounts(store) if step in (None, one.step)]
    return "\n".join(lines) or None


def _off(share: float) -> str:
    if abs(share) < 0.005:
        return "as predicted"
    return f"{abs(share):.0%}".replace("%", " %") + (" more" if share > 0 else " less")


def _size(size_bytes: float) -> str:
    for unit, many in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= many:
            return f"{size_bytes / many:.3g} {unit}"
    return f"{size_bytes / 1e3:.3g} kB"
