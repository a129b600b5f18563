"""Codings of an experiment tried one by one on some of its pictures: how large they are, and what the machine loses."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from vcmbench.analysis.curves import joined
from vcmbench.analysis.run import measured
from vcmbench.analysis.summary import Summary
from vcmbench.cli.runners import asked_by
from vcmbench.cli.terminal import say
from vcmbench.compress.job_keys import bitstreams
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.estimate import Estimate
from vcmbench.data.resampling import DEFAULT
from vcmbench.encoder import plugins
from vcmbench.encoder.grid import CodingGrid
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.experiment import Experiment, grouping
from vcmbench.io.text import visible
from vcmbench.measure.outcome import MeasureSettings
from vcmbench.measure.predictions import Predictor
from vcmbench.measure.records import PRISTINE
from vcmbench.measure.run import MeasureRun
from vcmbench.measure.worker import open_predictor
from vcmbench.tasks.sensitivity import SegmentationSensitivity

_T = TypeVar("_T")


@dataclass(frozen=True)
class Family:
    """A coding configuration but for its quality: `qualities`, the best one first; [None] where it has none."""

    grid: CodingGrid
    qualities: tuple[int | None, ...]

    def at(self, step: int) -> CodingGrid:
        quality = self.qualities[step]
        return self.grid if quality is None else self.grid.model_copy(update={"quality": [quality]})

    def __str__(self) -> str:
        coding = self.at(0).configurations()[0]
        chroma, factor = coding.color_subsampling, coding.subsampling_factor
        words = [coding.encoder, "" if chroma == "420" else chroma, "" if factor == 1 else f"x{factor:g}"]
        return " ".join(filter(None, [*words, *coding.extras]))


def families(experiment: Experiment) -> list[Family]:
    """Those of an experiment, with every whole quality between the best and the coarsest that it asks for; the anchor
    first: of its encoder (as in a report, else the one with most configurations) the plain one at full size."""
    found = []
    for grid in experiment.coding:
        encoder = plugins.get(grid.encoder)
        for chroma, factor in itertools.product(grid.color_subsampling or [encoder.chroma[0]], grid.subsampling_factor):
            changes: dict[str, Any] = {"color_subsampling": [chroma], "subsampling_factor": [factor]}
            if factor == 1:  # a resampler would have nothing to do, and be refused
                changes["resampler"] = DEFAULT
            found.append(Family(grid.model_copy(update=changes), _between(grid)))
    most = Counter(coding.encoder for coding in experiment.configurations()).most_common(1)[0][0]
    anchor = experiment.report.anchor or most

    def beyond(family: Family) -> tuple[bool, bool, bool, int]:
        """How far it is from the anchor."""
        grid = family.grid
        more = len(grid.off) + len(grid.parameters) + (grid.target is not None)
        return grid.encoder != anchor, grid.subsampling_factor != [1], grid.qp_map is not None, more

    return sorted(found, key=beyond)


def _between(grid: CodingGrid) -> tuple[int | None, ...]:
    scale = plugins.get(grid.encoder).quality
    if scale is None or not grid.quality:
        return (None,)
    every = range(min(grid.quality), max(grid.quality) + 1)
    return tuple(every) if scale.better == "low" else tuple(reversed(every))


def halves(experiment: Experiment, sources: list[Source]) -> tuple[list[Source], list[Source]]:
    """The pictures to choose by, and those to confirm with: what belongs together (sequences, stacks, `groups`) stays
    so. Raises RequestError where there are not two units."""
    groups = grouping(experiment, sources)
    if any(coding.stacked for coding in experiment.configurations()):
        units = [str(source.group) for source in sources]
    else:
        names = [str(source.name) for source in sources]
        units = groups.units(names) if groups.pattern else [groups.sequences.get(name, name) for name in names]
    every = list(dict.fromkeys(units))
    if len(every) < 2:
        raise RequestError("one picture or sequence: two are needed, to choose by one and to confirm with the other")
    mixed = np.random.default_rng(experiment.seed).permutation(len(every))
    chosen = {every[number] for number in mixed[: (len(every) + 1) // 2]}
    return ([source for source, unit in zip(sources, units, strict=True) if unit in chosen],
            [source for source, unit in zip(sources, units, strict=True) if unit not in chosen])  # fmt: skip


class Trials:
    """Codes and measures what is asked for, once each; results lie in DATA/results/<experiment>, as those of all runs,
    so that what was tried before is not tried again. `measure` is a measure of the task's kind."""

    def __init__(
        self, experiment: Experiment, data: DataRoot, runner: Runner, measure: str, jobs: int, gpu: str, tasks: str,
        held: ExitStack,
    ) -> None:  # fmt: skip
        self.experiment, self.data, self._runner, self._measure = experiment, data, runner, measure
        self._jobs, self._gpu, self._tasks, self._held = jobs, gpu, tasks, held
        self.size_bytes: Callable[[CodingGrid, tuple[Source, ...]], int] = _once(self._size_bytes)
        self.loss: Callable[[CodingGrid, tuple[Source, ...]], Estimate] = _once(self._loss)
        self._predictor: Predictor | None = None
        self._asked: SegmentationSensitivity | None = None

    def _of(self, grid: CodingGrid) -> Experiment:
        return self.experiment.model_copy(update={"coding": [grid]})

    def missing(self, sources: list[Source]) -> dict[str, str]:
        """By encoder a line about the tool that it lacks. Raises RequestError where maps have nothing to be made of."""
        return self._run(self.experiment, sources).missing

    def _run(self, wanted: Experiment, sources: list[Source]) -> CompressRun:
        if wanted.asks and self._asked is None:
            self._asked = asked_by(wanted)
        settings = CompressSettings(jobs=self._jobs, quiet=True, whole=wanted)
        return CompressRun(wanted, self.data.root, self._runner, settings, self._asked, sources)

    def _size_bytes(self, grid: CodingGrid, sources: tuple[Source, ...]) -> int:
        """Of all files of a coding together. Raises JobError where one of them failed."""
        wanted = self._of(grid)
        try:
            run = self._run(wanted, list(sources))
            outcome = run.execute(lambda *_: None)
        except RequestError as error:  # of this coding; the others race on
            raise JobError(str(error)) from None
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.failed:
            raise JobError(str(outcome.failed[0][1]))
        records = (run.store.read(place) for place, *_ in bitstreams(wanted, self.data, list(sources)))
        return sum(record["size_bytes"] for record in records if record is not None)

    def _loss(self, grid: CodingGrid, sources: tuple[Source, ...]) -> Estimate:
        """In points, 100 times what the measure loses to coding. Raises JobError where it is not known."""
        size, wanted = self.size_bytes(grid, sources), self._of(grid)
        settings = MeasureSettings(self._jobs, quiet=True)
        run = MeasureRun(wanted, self.data.root, self._runner, settings, "", list(sources))
        if self._predictor is None:
            for line in run.warnings:
                say(f"warning: {line}", always=True)
            self._predictor = open_predictor(wanted, run.store, self._tasks, self._gpu, self._jobs, self._held)
        outcome = run.execute(self._predictor, None, ["image"])
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.failed:
            raise JobError(str(outcome.failed[0][1]))
        pristine = (score for source in sources if (score := run.scores.read(PRISTINE, source)) is not None)
        summary = Summary(measured(run, (), {}), pristine, True, grouping(wanted, list(sources)))
        loss = self._lost(summary)
        if loss.value is None:
            raise JobError(loss.reason or "not known")
        quality = "" if grid.quality is None else f" {grid.quality[0]}"
        say(f"{visible(str(Family(grid, (None,))))}{quality}: {size} bytes, loses {loss.value:.2f}")
        return loss

    def _lost(self, summary: Summary) -> Estimate:
        against = self.experiment.metrics.against
        if not summary.has(against):
            return Estimate(reason=f"no picture was held against {against}")
        found = summary.measures(against)
        if against == "pseudo":
            return found[self._measure].estimate(0).scaled(-100, 100)
        whole = summary.over(against).pristine_measures()
        if whole is None:
            return Estimate(reason="the pristine pictures were not held against labels")
        return joined([whole[self._measure], found[self._measure]]).difference(0, 1).scaled(100)


def _once(ask: Callable[[CodingGrid, tuple[Source, ...]], _T]) -> Callable[[CodingGrid, tuple[Source, ...]], _T]:
    """The same, remembered by what the grid says."""
    known: dict[tuple[str, tuple[Source, ...]], _T] = {}

    def remembered(grid: CodingGrid, sources: tuple[Source, ...]) -> _T:
        key = (grid.model_dump_json(), sources)
        if key not in known:
            known[key] = ask(grid, sources)
        return known[key]

    return remembered
