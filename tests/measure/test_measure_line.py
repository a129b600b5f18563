"""Pictures pass a line of threads: each is read once, few are held at a time, and what fails is one picture's."""

from __future__ import annotations

import json
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import files_up_to
from tests.helpers.measuring import (
    CONFIGURATIONS,
    METRICS,
    PICTURES,
    TASK,
    U8,
    Results,
    compressed,
    copy,
    counts,
    draw,
    measure,
    once,
    outcome,
    tree,
    typed,
    write_toml,
)
from vcmbench.cli import measuring
from vcmbench.compress import decode
from vcmbench.data.dataset import Source
from vcmbench.measure.predictions import NetworkPredictor
from vcmbench.measure.records import PRISTINE, ScoreStore
from vcmbench.measure.steps import Steps
from vcmbench.tasks import predictions
from vcmbench.tasks.predictions import prediction_key, write_prediction

ALL = CONFIGURATIONS * PICTURES
IMAGES = TASK + METRICS


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Compressed, and nothing of it measured."""
    found = copy(tmp_path_factory, tmp_path)
    found.remove("P_GT", "P_hat_C", "results/trial/scores", "results/trial/blocks")
    return found


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


def test_each_bitstream_is_decoded_once_and_each_pristine_picture_read_once(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the machine, its truth and the metrics together, whatever the number of threads."""
    decoded: Counter[str] = Counter()
    read: Counter[Path] = Counter()
    decode_on, read_source = decode.decode_on, Source.read

    def decoding(worker: Any, record: Any, *rest: Any) -> Iterator[U8]:
        decoded[record["bitstream"]] += 1
        return decode_on(worker, record, *rest)

    def reading(source: Source) -> Any:
        read[source.path] += 1
        return read_source(source)

    monkeypatch.setattr(decode, "decode_on", decoding)
    monkeypatch.setattr(Source, "read", reading)
    done = measure(results.root, config, "--level", "image", "--jobs", 2)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert sorted(decoded.values()) == [1] * ALL
    assert sorted(read.values()) == [1] * PICTURES


@pytest.mark.parametrize("jobs", [1, 2])
def test_few_pictures_are_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    """As many of a large experiment as of a small one."""
    draw(tmp_path / "data", val_per_city=3)
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [5, 15, 25, 35, 45, 55, 65, 75]', head=IMAGES)
    compressed(tmp_path / "data", config)
    made: list[weakref.ref[Any]] = []
    most, lock, decode_on = [0], threading.Lock(), decode.decode_on

    def decoding(*arguments: Any) -> Iterator[U8]:
        for picture in decode_on(*arguments):
            own = picture.copy()  # a picture may be a view of what the decoder wrote
            with lock:
                made[:] = [one for one in made if one() is not None] + [weakref.ref(own)]
                most[0] = max(most[0], len(made))
            yield own

    monkeypatch.setattr(decode, "decode_on", decoding)
    done = measure(tmp_path / "data", config, "--level", "image", "--jobs", jobs)
    assert (done.code, counts(done)) == (0, (72, 0, 0)), done.err
    assert 0 < most[0] <= 14 * jobs


def test_a_prediction_that_cannot_be_written_fails_its_picture_alone(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    full = results.prediction("x265")

    def writing(path: Path, *rest: Any) -> None:
        if path == full:
            raise OSError(28, "No space left on device", str(path))
        write_prediction(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(predictions, "write_prediction", writing)
        done = measure(results.root, config)
    assert (done.code, counts(done)) == (1, (ALL - 1, 0, 1))
    assert "No space left on device" in outcome(done)["failed"][0][1]
    assert not results.score_path("x265").exists()
    again = measure(results.root, config)
    assert (again.code, counts(again)) == (0, (1, ALL - 1, 0)), again.err
    assert tree(results.root) == tree(once(tmp_path_factory) / "data")


def test_a_pristine_prediction_that_cannot_be_written_fails_its_picture_under_all_configurations(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = results.prediction(None)

    def writing(path: Path, *rest: Any) -> None:
        if path == full:
            raise OSError(28, "No space left on device", str(path))
        write_prediction(path, *rest)

    monkeypatch.setattr(predictions, "write_prediction", writing)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (1, (ALL - CONFIGURATIONS, 0, CONFIGURATIONS))
    assert not list((results.folder / "scores").rglob("lindau*.json"))


@pytest.mark.parametrize(("step", "file"), [("analyse", "image_scores.parquet"), ("write", "report.html")])
def test_a_disk_that_is_full_when_all_is_measured_is_named_and_costs_nothing(
    step: str, file: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, real = copy(tmp_path_factory, tmp_path), getattr(measuring, step)
    before = (results.folder / file).read_bytes() if (results.folder / file).exists() else None

    def full(*given: Any) -> Any:
        with files_up_to(100):
            return real(*given)

    monkeypatch.setattr(measuring, step, full)
    done = typed("metrics", "-d", results.root, "-s", tmp_path / "trial.toml", "--runner", "local", "--gpu", "none")
    assert done.code == 1 and f"{results.folder / file}: File too large; what was measured is kept" in done.err
    assert not list(results.root.glob("results/.tmp/*"))
    assert ((results.folder / file).read_bytes() if before is not None else None) == before


def test_a_record_is_written_after_the_predictions_that_it_speaks_of(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ScoreStore.write
    seen: list[str] = []

    def writing(self: ScoreStore, folder: str, source: Any, score: Any) -> None:
        name = source.name.relative_to("leftImg8bit").as_posix()
        places = [results.root / "P_GT"] + [results.root / "P_hat_C" / folder] * (folder != PRISTINE)
        assert all(prediction_key(place / f"{name}.png") for place in places)
        seen.append(folder)
        write(self, folder, source, score)

    monkeypatch.setattr(ScoreStore, "write", writing)
    done = measure(results.root, config, "--level", "image")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert len(seen) == ALL + PICTURES


def test_nobody_waits_for_a_pristine_picture_in_the_way_of_who_brings_it(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With one thread behind the network: the first chunk, which asks about the pristine picture, is answered after the
    next one is scored, whose record needs that answer."""
    is_scored, is_first = threading.Event(), threading.Lock()
    answer, score = NetworkPredictor.answer, Steps.score

    def answering(self: NetworkPredictor, questions: Any) -> Any:
        if is_first.acquire(blocking=False):
            assert is_scored.wait(60)
        return answer(self, questions)

    def scoring(self: Steps, frames: Any) -> None:
        score(self, frames)
        is_scored.set()

    monkeypatch.setattr(NetworkPredictor, "answer", answering)
    monkeypatch.setattr(NetworkPredictor, "together", 1, raising=False)
    monkeypatch.setattr(Steps, "score", scoring)
    done = measure(results.root, config, "--jobs", 1)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert tree(results.root) == tree(once(tmp_path_factory) / "data")


def test_one_picture_that_the_network_refuses_fails_alone(
    results: Results, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it was asked about several at a time."""
    from vcmbench.errors import JobError

    answer = NetworkPredictor.answer

    def answering(self: NetworkPredictor, questions: Any) -> Any:
        if any("jpeg" in one.unit.folder.lower() and "quality=5," in one.unit.folder and not one.is_pristine
               and "lindau" in one.unit.title for one in questions):  # fmt: skip
            raise JobError("the network cannot take it")
        return answer(self, questions)

    monkeypatch.setattr(NetworkPredictor, "answer", answering)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (1, (ALL - 1, 0, 1)), done.err
    ((title, why),) = outcome(done)["failed"]
    assert "quality=5" in title and "lindau" in title and why == "the network cannot take it"
    assert json.loads(results.score_path("jpeg 40").read_bytes())["machine"]
