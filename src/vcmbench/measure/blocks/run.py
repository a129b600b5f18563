"""The block level of a run: which blocks are asked for, and what an earlier run found out about others."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from vcmbench.data.dataset import RESULTS
from vcmbench.data.store import Store, job_key
from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.execution.runner.base import Runner
from vcmbench.experiment import Experiment
from vcmbench.io.progress import Progress
from vcmbench.iqa import Scorer
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.blocks import state
from vcmbench.measure.blocks.level import BlockLevel, name_of
from vcmbench.measure.blocks.sampler import Block, NoBlocksError
from vcmbench.measure.blocks.state import SampledBlocks
from vcmbench.measure.decoders import Decoded, decoded
from vcmbench.measure.outcome import MeasureOutcome, MeasureSettings, as_job_error, asked
from vcmbench.measure.predictions import Predictor

_PAUSE_S = 0.2


class BlockRun:
    """Blocks of an experiment's units."""

    def __init__(
        self, experiment: Experiment, store: Store, units: Sequence[Unit], runner: Runner, settings: MeasureSettings
    ) -> None:
        self._experiment, self._store, self._units = experiment, store, units
        self._runner, self._settings = runner, settings
        self._names = list(dict.fromkeys(experiment.metrics.iqa))

    def level(self, classes: int, key: str) -> BlockLevel:
        """The block level of these units; see there for `key`."""
        return BlockLevel(self._store, self._units, classes, key)

    def named(self, path: Path) -> list[Block]:
        """The blocks that a file names. Raises RequestError as `BlockLevel.named`."""
        return self.level(1, "").named(path)

    def execute(
        self, predictor: Predictor | None, scorer: Scorer | None, truths: dict[str, str], outcome: MeasureOutcome,
        stop: threading.Event,
    ) -> None:  # fmt: skip
        """Sample and score what is asked for, into `outcome`. Another run that is at it is waited for."""
        if (reason := _why_no_blocks(predictor, scorer, outcome)) or predictor is None or scorer is None:
            outcome.reasons.append(f"blocks: {reason}")
            return
        wanted = self._experiment.metrics.blocks
        level = self.level(len(predictor.classes), self._predictions_key(predictor, truths))
        if not level.pairs:
            outcome.reasons.append("blocks: no configuration loses anything, so none would differ")
            return
        for size_px in [0] if wanted.file else dict.fromkeys(wanted.size_px):
            title = f"blocks of {wanted.file}" if wanted.file else f"blocks of {size_px} px"
            try:
                name = name_of(Path(wanted.file)) if wanted.file else level.drawn_name(size_px)
                with _alone(self._store, f"{state.FOLDER}/{name}", stop):
                    sampled = self._blocks_of(level, size_px, scorer, stop)
            except Cancelled:
                return
            except NoBlocksError as none:  # mild coding has no blocks that are all wrong: there is nothing to mend
                outcome.reasons.append(str(none))
            except (RequestError, JobError, OSError) as error:
                outcome.failed.append((title, as_job_error(error)))
            else:
                outcome.sampled.append(sampled)

    def _predictions_key(self, predictor: Predictor, truths: dict[str, str]) -> str:
        return job_key({"answers": [predictor.key(unit, i) for unit in self._units for i in range(len(unit.sources))],
                        "truths": [truths[str(one.name)] for unit in self._units for one in unit.sources]})  # fmt: skip

    def of_before(
        self, predictor: Predictor | None, scorer: Scorer | None, truths: dict[str, str], before: dict[str, Any] | None,
        outcome: MeasureOutcome,
    ) -> list[SampledBlocks]:  # fmt: skip
        """Blocks that the run `before` measured, which still hold and this one was not asked for."""
        if predictor is None or scorer is None or _why_no_blocks(predictor, scorer, outcome):
            return []
        wanted = self._experiment.metrics.blocks
        if before is not None and before["asked"] == asked(self._experiment):
            names = [*before["blocks"], *before["kept"]]
        elif wanted.file is not None:
            names = [name_of(Path(wanted.file))]
        else:
            names = [self.level(1, "").drawn_name(size_px) for size_px in dict.fromkeys(wanted.size_px)]
        if not any(state.read(self._store, name) for name in names):
            return []
        level = self.level(len(predictor.classes), self._predictions_key(predictor, truths))
        return [found for name in names if (found := level.known(name, scorer, self._names)) is not None]

    def _blocks_of(self, level: BlockLevel, size_px: int, scorer: Scorer, stop: threading.Event) -> SampledBlocks:
        """Blocks of one size, or those of the file, and their scores."""
        wanted, quiet, jobs = self._experiment.metrics.blocks, self._settings.quiet, self._settings.jobs

        def go_on() -> None:
            if stop.is_set():
                raise Cancelled

        with Progress(level.pairs, "picture", quiet=quiet) as progress:

            def sampling(name: str) -> None:
                go_on()
                progress.advance(f"sampling blocks in {name}")

            if wanted.file is not None:
                sampled = level.of_file(Path(wanted.file))
            else:
                sampled = level.drawn(wanted, size_px, self._experiment.seed, jobs, sampling)

        def decode(units: Iterable[Unit]) -> Iterator[Decoded]:
            return decoded(units, self._store.data.root, self._runner, jobs, self._settings.timeout_s, stop.is_set)

        with Progress(len(sampled.blocks), "block", quiet=quiet) as progress:
            return level.score(
                sampled, scorer, self._names, decode,
                lambda n: progress.advance("quality of blocks", progress.done + n), force=self._settings.force,
            )  # fmt: skip


@contextmanager
def _alone(store: Store, name: str, stop: threading.Event) -> Iterator[None]:
    """No other run makes what lies at `name` in the experiment's folder meanwhile. Raises Cancelled where `stop` is set
    while it is waited for."""
    place, awaited = PurePosixPath(RESULTS, store.folder.name, name), ""
    while (lease := store.claim(place)) is None:
        if (whom := store.holder(place)) != awaited:
            awaited = whom
            Progress(0).say(f"another run is at work on {name}; waiting for it: {whom}")
        if stop.wait(_PAUSE_S):
            raise Cancelled
    with lease:
        yield


def _why_no_blocks(predictor: Predictor | None, scorer: Scorer | None, outcome: MeasureOutcome) -> str:
    """Why no blocks are drawn; empty where they are."""
    if predictor is None:
        return "no [task] in the experiment; blocks are drawn by what a machine predicts"
    if scorer is None:
        return "no metric was asked for (metrics.iqa)"
    if not predictor.kind.has_label_pictures:
        return f"the task is a {predictor.kind.name}; only pictures of labels have blocks"
    return "some pictures failed; mend that and run again" if outcome.failed else ""
