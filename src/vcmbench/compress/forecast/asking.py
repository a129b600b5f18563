"""From an experiment, and a data root where there is one, to its prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vcmbench.compress.forecast import pictures
from vcmbench.compress.forecast.figures import Figures
from vcmbench.compress.forecast.grid import Grid, folder_of
from vcmbench.compress.forecast.measuring import Measuring
from vcmbench.compress.forecast.pictures import LARGEST_SIDE_PX, MOST_PICTURES, Pictures
from vcmbench.compress.forecast.prediction import Prediction, predict
from vcmbench.compress.forecast.results import Results, scores
from vcmbench.data import runlog
from vcmbench.data.dataset import DataRoot, open_root
from vcmbench.data.store import Store
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment

MOST_WORKERS = 100_000
_ENOUGH_DONE = 20
"""So many measured pictures that what a run took tells more than built-in figures."""


@dataclass(frozen=True)
class Question:
    """What is asked: on how many workers and GPUs, for which pictures, and whether what is done counts.

    `data` None: as many pictures as Cityscapes has, or `count` of `size` px.
    """

    workers: int
    gpus: int = 0
    data: Path | None = None
    count: int | None = None
    size: tuple[int, int] | None = None
    everything: bool = False
    metrics: bool = True

    def check(self) -> None:
        """Raises RequestError where it cannot be answered."""
        if not 1 <= self.workers <= MOST_WORKERS:
            raise RequestError(f"--workers {self.workers}: must be 1 to {MOST_WORKERS}")
        if not 0 <= self.gpus <= MOST_WORKERS:
            raise RequestError(f"--gpus {self.gpus}: must be 0 to {MOST_WORKERS}")
        if self.count is not None and not 1 <= self.count <= MOST_PICTURES:
            raise RequestError(f"--pictures {self.count}: must be 1 to {MOST_PICTURES}")
        if self.size is not None and not all(1 <= side <= LARGEST_SIDE_PX for side in self.size):
            raise RequestError(f"--size {self.size[0]}x{self.size[1]}: sides must be 1 to {LARGEST_SIDE_PX} px")
        if self.data is not None and (self.count is not None or self.size is not None):
            raise RequestError("--pictures and --size are for a plan without data; leave them out, or -d DATA")


def ask(experiment: Experiment, question: Question) -> tuple[Prediction, Store | None]:
    """The prediction, and the results that it is about. Raises RequestError."""
    question.check()
    data = open_root(question.data) if question.data is not None else None
    wanted = _pictures(experiment, question, data)
    if not wanted.found:
        raise RequestError(f"{data.root if data else 'the plan'}: no picture can be read")
    figures, results, store = Figures(), None, None
    known: dict[str, set[str]] = {}
    blocks: list[str] = []
    runs: Sequence[runlog.RunLog] = ()
    if data is not None:
        store = Store(data, experiment.name, experiment.seed)
        folders = [folder_of(data, tool, coding) for tool, coding in _codings(experiment)]
        results = Results(data, store, folders)
        for record in results.sample():
            figures.add(record)
        if not question.everything:
            known = scores(store, folders)
            blocks = [path.name.removesuffix("_val_metrics.json")
                      for path in (store.folder / "blocks").glob("*_val_metrics.json")]  # fmt: skip
        runs = [run for run in runlog.read(store) if run.step == "metrics" and run.done >= _ENOUGH_DONE]
    grid = Grid(experiment, wanted, figures, data, results, everything=question.everything)
    measuring = None
    if question.metrics and (experiment.task is not None or experiment.metrics.iqa):
        labelled = data.is_cityscapes if data is not None else question.count is None
        measuring = Measuring(experiment, grid, known, blocks, question.gpus, labelled=labelled)
        if runs and not question.gpus and (scale := _scale(experiment, grid, runs[-1])):
            measuring = Measuring(experiment, grid, known, blocks, 0, scale, labelled=labelled)
    notes = [f"{wanted.unreadable} pictures cannot be read, and are left out"] if wanted.unreadable else []
    return predict(experiment.name, wanted.what, grid, measuring, question.workers, notes), store


def _scale(experiment: Experiment, grid: Grid, run: runlog.RunLog) -> float | None:
    """What a measuring run took over what would have been predicted of it."""
    whole = Measuring(experiment, grid, {}, [], 0)
    if not whole.frames:
        return None
    due_s = (sum(task.seconds for task in whole.tasks) + whole.pristine_s + whole.block_s) * run.done / whole.frames
    took_s = (run.wall_s - whole.fixed_s) * run.workers
    return took_s / due_s if due_s > 0 and took_s > 0 else None


def _codings(experiment: Experiment) -> list[tuple[Encoder, CodingConfiguration]]:
    encoders = {tool.name: tool for tool in experiment.encoders()}
    return [(encoders[coding.encoder], coding) for coding in experiment.configurations()]


def _pictures(experiment: Experiment, question: Question, data: DataRoot | None) -> Pictures:
    if data is not None:
        return pictures.of_data(data, experiment.dataset)
    size = question.size or pictures.CITYSCAPES_SIZE
    if question.count is None:
        return pictures.cityscapes(experiment.dataset, size)
    return pictures.any_set(question.count, experiment.dataset, size)
