"""Pieces of the work, each done by a process of its own, come to the same bytes as a run that does them all."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.helpers.measuring import (
    CONFIGURATIONS,
    PICTURES,
    TASK,
    Results,
    compressed,
    copy,
    draw,
    measure,
    once,
    tree,
    write_toml,
)
from tests.helpers.paths import CHECKOUT
from vcmbench import experiment
from vcmbench.analysis.run import analyse
from vcmbench.data.dataset import open_root
from vcmbench.data.store import Store
from vcmbench.execution.runner.choice import RunnerChoice
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.measure.outcome import MeasureSettings
from vcmbench.measure.pictures_run import MeasuredPictures
from vcmbench.measure.predictions import RecordedPredictor
from vcmbench.measure.run import MeasureRun
from vcmbench.measure.worker import (
    MeasureWorkerSpec,
    Piece,
    PieceOutcome,
    describe,
    measure_piece,
    open_scorer,
    together,
)
from vcmbench.measure.worker import pieces as pieces_of

ALL = CONFIGURATIONS * PICTURES

# What a worker does: it opens its place, and is sent the names of pieces.
_WORKER = """
    import pickle, sys
    sys.path.insert(0, sys.argv[1])
    from vcmbench.measure.worker import describe, measure_piece

    def tell(answer):
        pickle.dump(answer, out)
        out.flush()

    out = sys.stdout.buffer
    with pickle.load(sys.stdin.buffer).open() as place:
        tell(describe(place))
        while (piece := pickle.load(sys.stdin.buffer)) is not None:
            tell(measure_piece(place, piece))
    """


def settings(results: Results, **more: Any) -> MeasureWorkerSpec:
    wanted = experiment.load(str(results.root.parent / "trial.toml"))
    return MeasureWorkerSpec("trial", results.root, wanted, RunnerChoice("local"), tasks="local", gpu="none", **more)


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Compressed, and nothing of it measured."""
    found = copy(tmp_path_factory, tmp_path)
    found.remove("P_GT", "P_hat_C", "results/trial/scores", "results/trial/blocks")
    for path in found.folder.iterdir():
        if path.is_file() and path.name != "compression.csv":
            path.unlink()
    return found


def run_of(results: Results) -> MeasureRun:
    path = results.root.parent / "trial.toml"
    return MeasureRun(
        experiment.load(str(path)), results.root, LocalRunner(), MeasureSettings(1, quiet=True), str(path)
    )


class Worker:
    """A fresh process with a place."""

    def __init__(self, place: MeasureWorkerSpec) -> None:
        script = "\n".join(line.removeprefix("    ") for line in _WORKER.splitlines())
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(CHECKOUT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.machine = self._ask(place)

    def _ask(self, what: object) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        pickle.dump(what, self.process.stdin)
        self.process.stdin.flush()
        return pickle.load(self.process.stdout)  # noqa: S301  # of our own process

    def measure(self, piece: Piece) -> PieceOutcome:
        found: PieceOutcome = self._ask(piece)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        pickle.dump(None, self.process.stdin)
        self.process.stdin.close()
        assert self.process.wait(60) == 0


def test_pieces_in_other_processes_give_the_same_bytes(
    results: Results, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = run_of(results)
    pieces = pieces_of(run.units)
    assert [(len(piece.sources), len(piece.bitstreams), piece.pictures) for piece in pieces] == [(1, 4, 4)] * PICTURES
    workers = [Worker(settings(results)) for _ in range(2)]

    def elsewhere(_: threading.Event) -> MeasuredPictures:
        # in any order, some by one process and some by another
        found = [workers[number % 2].measure(piece) for number, piece in enumerate(reversed(pieces))]
        for worker in workers:
            worker.close()
        return together(found)

    machine, missing = workers[0].machine
    assert (machine.kind, len(machine.classes), missing) == ("segmentation", 19, {})
    answers = RecordedPredictor(machine.kind, machine.classes, machine.identity, run.store)
    done = run.execute(
        answers, open_scorer(run.experiment, "none", None, run.runner), ["image", "block"], (), elsewhere
    )
    assert (done.done, done.resumed, done.failed) == (ALL, 0, [])
    analyse(run, done)
    assert workers[1].machine == workers[0].machine
    wanted = tree(once(tmp_path_factory) / "data")
    found = tree(results.root)
    # what was typed is in there
    assert found.pop("results/trial/measured.json") and wanted.pop("results/trial/measured.json")
    for name in ("compression", "measured"):  # the lists of tables, which the commands write
        found.pop(f"results/trial/{name}.sha256", None), wanted.pop(f"results/trial/{name}.sha256", None)
    assert found == wanted
    assert measure(results.root, results.root.parent / "trial.toml").code == 0


def test_pieces_at_the_same_time_on_one_place(results: Results, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As a worker with several threads does them: the line is theirs together."""
    pieces = pieces_of(run_of(results).units)
    with settings(results, jobs=2).open() as place, ThreadPoolExecutor(len(pieces)) as pool:
        found = together(pool.map(lambda piece: measure_piece(place, piece), pieces))
        assert (found.done, found.resumed, found.failed) == (ALL, 0, [])
        again = together(measure_piece(place, piece) for piece in pieces)
        assert (again.done, again.resumed, again.failed) == (0, ALL, [])
        assert again.truths == found.truths and len(found.truths) == PICTURES
        assert again.known == found.known == {"PSNR", "SSIM"}
        assert together([measure_piece(place, pieces[0], True)]).done == CONFIGURATIONS
    wanted = {name: found for name, found in tree(once(tmp_path_factory) / "data").items() if "/scores/" in name}
    assert wanted.items() <= tree(results.root).items()


def test_what_another_run_is_at_is_left(results: Results) -> None:
    first = pieces_of(run_of(results).units)[0]
    score = results.score_path("x265", "frankfurt").relative_to(results.root)
    claim = Store(open_root(results.root), "trial").claim(PurePosixPath(score))
    assert claim is not None
    with settings(results).open() as place:
        with claim:
            found = measure_piece(place, first)
            assert (found.done, len(found.failed)) == (CONFIGURATIONS - 1, 0)
            assert found.put_off is not None and found.put_off.sources == first.sources
            assert ["x265" in name for name in found.put_off.bitstreams] == [True]
        rest = measure_piece(place, found.put_off)
        assert (rest.done, rest.put_off) == (1, None)


def test_failures_come_back_as_text(results: Results) -> None:
    pieces = pieces_of(run_of(results).units)
    lost, damaged = (results.root / pieces[0].bitstreams[number] for number in (0, 1))
    lost.unlink()
    damaged.write_bytes(b"")
    with settings(results).open() as place:
        found = pickle.loads(pickle.dumps(measure_piece(place, pieces[0])))  # noqa: S301
    assert found.done == CONFIGURATIONS - 2
    (gone, why), (title, reason) = found.failed
    assert gone == pieces[0].bitstreams[0] and "is not there any more" in why
    assert "frankfurt" in title and "has 0 bytes, its record says" in reason


def test_a_place_that_is_cancelled_ends_soon(results: Results) -> None:
    pieces = pieces_of(run_of(results).units)
    with settings(results).open() as place:
        place.cancel()
        found = measure_piece(place, pieces[0])
        assert (found.done, found.failed, found.is_stopped) == (0, (), True)


def test_a_stack_is_one_piece(tmp_path: Path) -> None:
    draw(tmp_path / "data", val_per_city=2)
    config = write_toml(
        tmp_path, 'encoder = "x265"\nquality = [30, 46]\npreset = "ultrafast"\nstacked = true', head=TASK
    )
    compressed(tmp_path / "data", config)
    results = Results(tmp_path / "data")
    pieces = pieces_of(run_of(results).units)
    assert [(len(piece.sources), len(piece.bitstreams)) for piece in pieces] == [(2, 2)] * 3
    with settings(results, levels=("block",)).open() as place:
        found = together(measure_piece(place, piece) for piece in pieces)
        assert describe(place)[0] is not None
    assert (found.done, found.failed) == (12, [])
    assert all(score["iqa"] == {} for score in results.scores())
