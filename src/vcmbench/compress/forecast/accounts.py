"""A plan that was written, and the runs since."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vcmbench.compress.forecast.prediction import Prediction
from vcmbench.data import runlog
from vcmbench.data.store import Store
from vcmbench.io.files import read_bounded
from vcmbench.io.progress import clock

FILE = "plan.json"
_MAX_BYTES = 1 << 20


class _PlannedStep(BaseModel):
    """What is relied upon of a step's plan."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    jobs: int
    done: int
    workers: int
    wall_s: float = Field(ge=0, lt=1e12)


class _Plan(BaseModel):
    model_config = ConfigDict(strict=True)
    date: str
    compress: _PlannedStep
    metrics: _PlannedStep | None


def keep(store: Store, prediction: Prediction) -> bool:
    """Write a prediction beside the experiment's results, unless nothing is left to do. Raises OSError."""
    steps = [step for step in (prediction.compress, prediction.metrics) if step is not None]
    if all(step.done == step.jobs for step in steps):
        return False
    store.write_table(FILE, json.dumps(prediction.as_json(), indent=1, allow_nan=False).encode())
    return True


def compare(store: Store, step: runlog.Step) -> str | None:
    """A line such as "plan: compress: predicted 0:42 on 2 workers, took 0:45 on 2". None where there is no plan (or a
    damaged one), or no run has worked on it since."""
    try:
        plan = _Plan.model_validate_json(read_bounded(store.folder / FILE, _MAX_BYTES))
    except (OSError, ValidationError):
        return None
    planned = plan.compress if step == "compress" else plan.metrics
    runs = [run for run in runlog.read(store) if run.step == step and run.done and run.date >= plan.date]
    if planned is None or planned.jobs <= planned.done or not runs:
        return None
    done, todo = sum(run.done for run in runs), planned.jobs - planned.done
    part = "" if done == todo else f" for {done} of {todo}"
    predicted, took = clock(planned.wall_s * done / todo), clock(sum(run.wall_s for run in runs))
    return f"plan: {step}: predicted {predicted}{part} on {planned.workers} workers, took {took} on {runs[-1].workers}"
