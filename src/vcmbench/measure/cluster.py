"""Whole pictures measured by other processes: pieces go to an engine, and what became of them is put together."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass

from vcmbench.compress.worker import see
from vcmbench.data.store import job_key
from vcmbench.errors import Cancelled, JobError, WorkerDied
from vcmbench.execution.engine import Engine, Resource, Work
from vcmbench.io.progress import Progress
from vcmbench.measure.bitstreams import Unit
from vcmbench.measure.pictures_run import MeasuredPictures
from vcmbench.measure.worker import (
    Machine,
    MeasureWorker,
    MeasureWorkerSpec,
    Piece,
    PieceOutcome,
    describe,
    measure_piece,
    pieces,
    together,
)

_WAIT_S = 0.2
_AHEAD = 2
_MOST_DEATHS = 3


@dataclass(frozen=True)
class RemoteWorkerSpec:
    """A worker in another process, which must see the same data root and have the same software."""

    settings: MeasureWorkerSpec
    probe: str
    software: str

    @property
    def run_id(self) -> str:
        return self.settings.run_id

    def open(self) -> MeasureWorker:
        """Raises RequestError where this process does not see the data, or would come to other results."""
        see(self.settings.data_root, self.probe, self.software)
        return self.settings.open()


class ClusterMeasure:
    """An engine that measures. `gpu` as `--gpu` says: without one, pieces go where encodes go."""

    def __init__(self, engine: Engine, gpu: str, *, force: bool, quiet: bool) -> None:
        self._engine, self._force, self._quiet = engine, force, quiet
        self._needs: Resource = "CPU" if gpu == "none" else "GPU"

    def describe(self) -> tuple[Machine | None, dict[str, str]]:
        """The network there, and which metrics are lacking there, as one of the processes reports. Raises JobError."""
        found: tuple[Machine | None, dict[str, str]] = self._engine.submit(
            Work("describe", describe, None, needs=self._needs)
        ).result()
        return found

    def measure(self, units: Sequence[Unit], stop: threading.Event) -> MeasuredPictures:
        """All that is not known of some units, until the event is set."""
        waiting = deque(pieces(units))
        running: dict[Future[PieceOutcome], Piece] = {}
        outcomes: list[PieceOutcome] = []
        deaths: Counter[Piece] = Counter()
        with Progress(sum(piece.pictures for piece in waiting), "picture", quiet=self._quiet) as progress:
            while (waiting or running) and not stop.is_set():
                while waiting and len(running) < _AHEAD * self._engine.slots(self._needs):
                    piece = waiting.popleft()
                    running[self._engine.submit(self._work(piece))] = piece
                is_busy = False
                for future in wait(running, timeout=_WAIT_S, return_when=FIRST_COMPLETED).done:
                    piece = running.pop(future)
                    outcome = _outcome(future, piece, deaths)
                    outcomes.append(outcome)
                    self._report(progress, piece, outcome)
                    if outcome.put_off is not None:  # another run is at it, or a worker died
                        waiting.append(outcome.put_off)
                        is_busy = True
                if is_busy:
                    stop.wait(_WAIT_S)
            if stop.is_set():
                self._engine.cancel()
        return together(outcomes)

    def _work(self, piece: Piece) -> Work:
        key = job_key({"sources": piece.sources, "bitstreams": piece.bitstreams})
        return Work(key, _measure, (piece, self._force), piece.pictures, self._needs)

    def _report(self, progress: Progress, piece: Piece, outcome: PieceOutcome) -> None:
        for title, why in dict.fromkeys(outcome.failed):
            progress.failed(f"{title}: {why}")
        left = outcome.put_off.pictures if outcome.put_off else 0
        progress.advance(piece.sources[0], progress.done + piece.pictures - left)


def _measure(worker: MeasureWorker, argument: tuple[Piece, bool]) -> PieceOutcome:
    piece, force = argument
    return measure_piece(worker, piece, force)


def _outcome(future: Future[PieceOutcome], piece: Piece, deaths: Counter[Piece]) -> PieceOutcome:
    try:
        return future.result()
    except (Cancelled, CancelledError):
        return PieceOutcome(is_stopped=True)
    except WorkerDied as error:  # perhaps it only waited there: Dask blames all that was sent to that worker
        deaths[piece] += 1
        if deaths[piece] <= _MOST_DEATHS:
            return PieceOutcome(put_off=piece)
        reason = str(error)
    except JobError as error:
        reason = str(error)
    except Exception as error:  # such as what another machine's Python cannot read
        reason = f"internal error: {error!r:.300}"
    return PieceOutcome(failed=tuple((name, reason) for name in piece.bitstreams for _ in piece.sources))
