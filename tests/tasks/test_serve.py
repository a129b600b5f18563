"""A task in another process: the same answers, over messages that hold no code; and what happens when it dies."""

from __future__ import annotations

import io
import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from tests.helpers import small_networks
from vcmbench import tasks
from vcmbench.errors import JobError, RequestError
from vcmbench.tasks import Device, TaskSettings, messages, remote, serve
from vcmbench.tasks.remote import ProcessTransport, RemoteTask

ARRAYS = st.lists(
    st.one_of(
        stn.arrays(np.uint8, stn.array_shapes(max_dims=4, min_side=0, max_side=5)),
        stn.arrays(np.float32, stn.array_shapes(max_dims=3, max_side=5), elements=st.floats(width=32)),
    ),
    max_size=4,
)
HEADERS = st.dictionaries(st.text().filter(lambda key: key != "arrays"), st.integers() | st.text() | st.none())


def _reader(data: bytes) -> Callable[[memoryview], None]:
    stream = io.BytesIO(data)

    def read(buffer: memoryview) -> None:
        if stream.readinto(buffer) != len(buffer):
            raise EOFError

    return read


def _sent(header: dict[str, Any], arrays: list[np.ndarray]) -> bytes:
    sent = bytearray()
    messages.send(sent.extend, header, arrays)
    return bytes(sent)


@given(header=HEADERS, arrays=ARRAYS)
@settings(deadline=None)
def test_messages_arrive_as_they_were_sent(header: dict[str, Any], arrays: list[np.ndarray]) -> None:
    message = messages.receive(_reader(_sent(header, arrays)))
    assert message.header == header
    assert len(message.arrays) == len(arrays)
    for sent, came in zip(arrays, message.arrays, strict=True):
        assert sent.dtype == came.dtype
        np.testing.assert_array_equal(sent, came)


@given(cut=st.integers(0, 60))
@settings(deadline=None)
def test_a_message_that_breaks_off(cut: int) -> None:
    data = _sent({"a": 1}, [np.zeros((3, 4), np.uint8)])
    with pytest.raises(EOFError):
        messages.receive(_reader(data[: min(cut, len(data) - 1)]))


@given(data=st.binary(max_size=200))
@settings(deadline=None)
def test_noise_is_no_message(data: bytes) -> None:
    with pytest.raises((EOFError, ValueError)):
        messages.receive(_reader(data))


@pytest.mark.parametrize(
    "about",
    [
        [{"shape": [1 << 20, 1 << 20], "dtype": "uint8"}],
        [{"shape": [-1], "dtype": "uint8"}],
        [{"shape": [1.5], "dtype": "uint8"}],
        [{"shape": [], "dtype": "uint8"}],
        [{"shape": [4], "dtype": "object"}],
        [{"shape": "x", "dtype": "uint8"}],
        [3],
        None,
    ],
)
def test_arrays_that_cannot_be(about: Any) -> None:
    """None is allocated, least of all one of objects."""
    text = json.dumps({"arrays": about}).encode()
    with pytest.raises(ValueError, match="no message of the channel"):
        messages.receive(_reader(struct.pack(">I", len(text)) + text + b"x" * 64))


def test_only_plain_arrays_are_sent() -> None:
    with pytest.raises(ValueError, match="must be of uint8 or float32"):
        messages.send(lambda _: None, {}, [np.array([None])])


def _settings(folder: Path) -> TaskSettings:
    return small_networks.segmentation(folder)


def _remote(task: TaskSettings, transport: ProcessTransport) -> RemoteTask:
    prepared = tasks.get(task.name).prepare(task)
    return RemoteTask(transport, task.name, prepared, Device("cpu", 2), "none")


class _Kept(ProcessTransport):
    """Outlives what is opened over it: starting Python and its libraries takes seconds."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("network")


@pytest.fixture(scope="module")
def far(folder: Path) -> Iterator[RemoteTask]:
    """Opened where something else was refused before: that is the request's fault, and the other end lives on."""
    task, transport = _settings(folder), _Kept()
    torn = folder / "torn.safetensors"
    torn.write_bytes(b"\0" * 100)
    with pytest.raises(RequestError, match=r"torn\.safetensors: damaged or truncated"):
        _remote(task.model_copy(update={"checkpoint": str(torn)}), transport)
    yield _remote(task, transport)
    transport.end()


def test_the_same_masks_as_in_this_process(far: RemoteTask, folder: Path, astronaut: np.ndarray) -> None:
    pictures = small_networks.scenes(astronaut)
    with tasks.open_task(_settings(folder), "local", "none", jobs=1) as near:
        assert far.identity() == near.identity()
        assert (far.kind, far.classes) == (near.kind, near.classes)
        for a, b in zip(far.predict(pictures), near.predict(pictures), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


def test_many_pictures_go_in_pieces(far: RemoteTask, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = small_networks.scenes(astronaut)
    whole = far.predict(pictures)
    for limit in (1, 100_000):
        monkeypatch.setattr(remote, "_CHUNK_BYTES", limit)
        pieces = far.predict(pictures)
        assert all(np.array_equal(a, b) for a, b in zip(whole, pieces, strict=True))


def test_a_picture_that_is_refused_does_not_end_it(far: RemoteTask, astronaut: np.ndarray) -> None:
    with pytest.raises(JobError, match=r"must be \(H, W, 3\) uint8"):
        far.predict([np.zeros((4, 4, 3), np.float32)])
    with pytest.raises(JobError, match=r"must be \(H, W, 3\) uint8"):
        far._ask({"op": "predict"}, [np.zeros((4, 4), np.uint8)])
    assert len(far.predict([astronaut])) == 1


def test_a_process_that_is_killed(folder: Path, astronaut: np.ndarray) -> None:
    transport = ProcessTransport()
    task = _remote(_settings(folder), transport)
    transport.process.kill()
    with pytest.raises(JobError, match=rf"the task's process was killed by signal {int(signal.SIGKILL)}"):
        task.predict([astronaut] * 3)
    with pytest.raises(JobError, match="has ended; nothing can be asked any more"):
        task.predict([astronaut])
    task.close()
    task.close()


def test_a_process_that_cannot_begin_says_why(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "__name__", "vcmbench.tasks.no_such_module")
    with pytest.raises(
        JobError, match=r"exited with code 1; it said: .*No module named vcmbench\.tasks\.no_such_module"
    ):
        _remote(_settings(folder), ProcessTransport())


def test_it_ends_with_its_input_and_keeps_its_output_clean() -> None:
    """What a library prints goes to standard error, and a broken-off message ends it with an error, not a hang."""
    code = "import vcmbench.tasks.serve as s, sys; code = s.main(); print('printed'); sys.exit(code)"
    for data, expected in ((b"\0\0", 0), (struct.pack(">I", 5) + b"[1,2]", 1)):
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=False)
        assert done.returncode == expected, done.stderr
        assert done.stdout == b""
