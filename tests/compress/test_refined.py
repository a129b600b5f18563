"""The encoder in a network's loop: a network of which it is known what matters, and what is kept and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vcmbench import experiment
from vcmbench.compress.allocation import offsets
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.record import Record
from vcmbench.errors import RequestError
from vcmbench.execution.runner.local import LocalRunner

Picture = NDArray[np.uint8]
TASK = '[importance]\nsource = "task"\nsmoothing_px = 8'


class LeftHalf:
    """Sees the left half alone: it takes a pixel for another where its green is off by 6 or more."""

    def __init__(self, name: str = "left half", sign: int = 1) -> None:
        self.name, self.sign = name, sign

    def identity(self) -> dict[str, Any]:
        return {"network": self.name}

    def agreement(self, pristine: Picture, decoded: Picture) -> float:
        return self.sign * float(np.mean(np.abs(self._errors(pristine, decoded)) < 6))

    def contributions(self, pristine: Picture, decoded: Picture, points: int) -> NDArray[np.float32]:
        errors = np.zeros(pristine.shape[:2], np.float32)
        errors[:, : pristine.shape[1] // 2] = self._errors(pristine, decoded) ** 2
        return errors

    def _errors(self, pristine: Picture, decoded: Picture) -> NDArray[np.float32]:
        left = pristine.shape[1] // 2
        return pristine[:, :left, 1].astype(np.float32) - decoded[:, :left, 1]


def coded(data: Path, path: Path, asked: LeftHalf | None) -> list[Record]:
    found: list[Record] = []

    def listen(state: str, job: object, record: Record | None, error: object) -> None:
        assert record is not None and error is None, error
        found.append(record | {"state": state})  # type: ignore[arg-type]

    run = CompressRun(experiment.load(str(path)), data, LocalRunner(), CompressSettings(jobs=1), asked)
    run.execute(listen)
    return found


@pytest.fixture
def one(photos: Path) -> Path:
    (photos / "b.png").unlink()
    return photos


def coding(encoder: str, more: str = "refine = 2") -> str:
    return f'encoder = "{encoder}"\nquality = [37]\nqp_map = {{ delta = 8, {more} }}\nmatch = "rate"\n'


@pytest.mark.parametrize(("encoder", "more"), [
    ("x264", ""), ("x265", ""), ("jpeg", ""), ("x264", ', method = "prefilter"'),
])  # fmt: skip
def test_bits_go_where_the_network_looks(
    encoder: str, more: str, one: Path, write_experiment: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_experiment(coding(encoder, f"refine = 2{more}"), head=TASK)
    (record,) = coded(one, path, LeftHalf())
    passes: list[dict[str, Any]] = record["evidence"]["passes"]  # type: ignore[typeddict-item]
    kept = passes[record["evidence"]["kept_pass"]]  # type: ignore[typeddict-item]
    assert len(passes) == 3 and record["evidence"]["asked"] == LeftHalf().identity()  # type: ignore[typeddict-item]
    assert kept["agreement"] == max(each["agreement"] for each in passes) > passes[0]["agreement"] + 0.02
    assert abs(record["size_bytes"] / passes[0]["size_bytes"] - 1) <= 0.01
    assert record["size_bytes"] == kept["size_bytes"]
    (csv,) = one.glob("images_*/a_qp_map.csv")
    qps = np.loadtxt(csv, delimiter=",")
    middle = qps.shape[1] // 2
    assert qps[:, : middle - 1].mean() < qps[:, middle + 1 :].mean() - 6

    bitstream = one / record["bitstream"]
    before = bitstream.read_bytes()
    assert coded(one, path, LeftHalf())[0]["state"] == "resumed"  # type: ignore[typeddict-item]
    bitstream.unlink()
    again = coded(one, path, LeftHalf())[0]
    assert bitstream.read_bytes() == before, "the same bytes again"
    capsys.readouterr()
    other = coded(one, path, LeftHalf("another"))[0]
    assert other["state"] == "done"  # type: ignore[typeddict-item]
    assert "for which another network was asked" in capsys.readouterr().err
    assert other["key"] != again["key"] == record["key"]


def test_a_uniform_encode_that_is_best_is_kept(one: Path, write_experiment: Callable[..., Path]) -> None:
    path = write_experiment(coding("x264", "refine = 1"), 'encoder = "x264"\nquality = [37]', head=TASK)
    mapped, uniform = sorted(coded(one, path, LeftHalf(sign=-1)), key=lambda record: record["qp_map"] is None)
    assert mapped["bitstream_sha256"] == uniform["bitstream_sha256"]
    assert mapped["evidence"]["kept_pass"] == 0  # type: ignore[typeddict-item]
    assert any("uniform encode, which is kept" in note for note in mapped["notes"])  # type: ignore[typeddict-item]


def test_without_a_word_there_are_three_passes_and_maps_of_labels_are_as_before(
    write_experiment: Callable[..., Path],
) -> None:
    text = coding("x265", "block_size = 16")
    (asking,) = experiment.load(str(write_experiment(text, head=TASK))).configurations()
    (plain,) = experiment.load(str(write_experiment(text))).configurations()
    assert asking.as_dict()["qp_map"]["refine"] == 3
    assert "refine" not in plain.as_dict()["qp_map"], "it would change keys"


REFUSED = {
    "without the source": (coding("x265"), "", r'refine 2: needs \[importance\] source = "task"'),
    "no pass": (coding("x265", "refine = 0"), TASK, "refine 0: .*asks once at least"),
    "no rate": (coding("x265").replace("match", "#"), TASK, 'match = "rate"'),
    "frames": (coding("x265", 'mode = "frame"').replace("match", "#"), TASK, 'mode = "block"'),
    "no network": (coding("x265"), f'{TASK}\n[task]\npredictions = "files"', "no network to ask"),
    "points": (coding("x265"), f"{TASK}\npoints = 0", "points 0: must be within 1..64"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_ask_is_one_clear_line(case: str, write_experiment: Callable[..., Path]) -> None:
    text, head, complaint = REFUSED[case]
    with pytest.raises(RequestError, match=complaint) as caught:
        experiment.load(str(write_experiment(text, head=head)))
    assert "\n" not in str(caught.value)


def test_a_command_that_opens_no_task_says_so(one: Path, write_experiment: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match="only vcmbench compress opens the task"):
        coded(one, write_experiment(coding("x264"), head=TASK), None)


def test_where_every_bit_buys_the_same_nothing_moves() -> None:
    before, bits = np.array([[3.0, -2.0], [0.0, 0.0]]), np.array([[4.0, 8.0], [2.0, 2.0]])
    assert np.array_equal(offsets.moved(before, 5 * bits, bits, 8, 0), before)
    moved = offsets.moved(np.zeros((1, 5)), np.array([[1.0, 1, 1, 4, -1]]), np.ones((1, 5)), 8, 0)
    # -1 counts as 0.05 of the mean of 7/5: log2(1 / 0.07) = 3.8
    assert moved.tolist() == [[0, 0, 0, -2, 4]]
