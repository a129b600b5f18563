"""JSON that others wrote: whatever it holds, it is refused in one line, or taken for what is not there. Nothing waits,
and nothing is read that is larger than such a file can be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import hostile
from tests.helpers.paths import CHECKOUT
from vcmbench.analysis import correlated
from vcmbench.data.dataset import DataRoot
from vcmbench.data.record import read_record
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import inputs, polygons
from vcmbench.importance import record as importance_record
from vcmbench.measure import outcome, records
from vcmbench.measure.blocks import published, published_scores, state
from vcmbench.tasks import configs

Read = Callable[[Path], Any]


def _store(root: Path) -> Store:
    return Store(DataRoot(root, False), "trial")


READERS: dict[str, tuple[str, Read]] = {
    "metrics": ("m.json", published_scores.read_scores),
    "blocks of correlate": ("b.json", lambda path: published_scores.read_blocks(path, ["0"])),
    "blocks": ("b.json", published.read_blocks),
    "camera": ("c.json", lambda path: inputs.read_json(path, 1 << 20)),
    "polygons": ("p.json", lambda path: polygons.read_polygons(path, 64, 64)),
    "record of a map": ("i.json", importance_record.read),
    "record": ("r.json", read_record),
    "score record": ("s.json", records.read),
    "state of blocks": (
        "results/trial/blocks/x.state.json",
        lambda path: state.read(_store(path.parents[3]), "x"),
    ),
    "measured": ("results/trial/measured.json", lambda path: outcome.recall(_store(path.parents[2]))),
    "correlation": ("results/trial/correlation_image.json", correlated.read_about),
    "network": ("n.json", configs.read),
}
"""Every place that reads JSON which others may have written, by where such a file lies."""
NOTHING: tuple[Any, ...] = (None, {})


def refused(read: Read, path: Path) -> None:
    """It is not taken: an error of one line, or as if it was not there."""
    try:
        with hostile.within(20):
            found = read(path)
    except (JobError, RequestError) as error:
        hostile.one_line(error)
    else:
        assert found in NOTHING


@pytest.mark.parametrize("text", hostile.TEXTS)
@pytest.mark.parametrize("reader", READERS)
def test_whatever_it_holds(reader: str, text: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    if reader == "camera" and hostile.TEXTS[text].startswith(b"{"):
        return  # any object is one; its numbers are looked at later (see tests/fuzz)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hostile.TEXTS[text])
    refused(read, path)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    path = tmp_path / name
    refused(read, hostile.pipe(path))
    path.unlink()
    path.mkdir()
    refused(read, path)
    path.rmdir()
    for target in ("/dev/zero", path.name, "nowhere"):
        path.symlink_to(target)
        refused(read, path)
        path.unlink()


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    """By none of them: all in one process, whose memory tells."""
    for name, _ in READERS.values():
        hostile.sparse(tmp_path / name, 2 * hostile.GIGABYTE, b'{"schema_version": 1}')
    peak, told = hostile.peak_mib(
        """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from tests.hostile.test_hostile_json import READERS, refused
        for name, read in READERS.values():
            refused(read, Path(sys.argv[1]) / name)
        print(len(READERS))
        """,
        tmp_path,
        CHECKOUT,
    )
    assert told == str(len(READERS))
    assert peak < 500


def test_more_values_than_memory_should_hold(tmp_path: Path) -> None:
    """Empty lists take twenty times their text."""
    path = tmp_path / "b.json"
    path.write_bytes(b'{"0": [' + b"[]," * 11_000_000 + b"[]]}")
    with hostile.within(20), pytest.raises(RequestError, match="values, the most that are read"):
        published.read_blocks(path)


def test_a_million_blocks_are_taken_in_their_size() -> None:
    """The published file has 4,096 in half a megabyte; a million, with longer names, is still below the bound."""
    row = json.dumps({"1000000": ["x" * 100, [3, 35, "420", 0.25], [926, 442], [64, 64], 0.897216796875]})
    assert len(row) * 1_000_000 < published._MOST_BYTES
    assert (row.count(",") + row.count("[") + row.count("{")) * 1_000_000 < published._MOST_VALUES


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": NaN}', b"\x00", b"9" * 1_000_000], ids=range(4))
def test_the_commands_say_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(content)
    for words in (["correlate", path], ["bdrate", path, "--quality", "q"]):
        done = hostile.typed(*words)
        assert done.code == 2, done.err
        assert "Traceback" not in done.err
        assert done.err.startswith("vcmbench: error: ")
        assert done.err.count("\n") == 1


def test_pipes_are_not_waited_for_by_commands(tmp_path: Path) -> None:
    path = hostile.pipe(tmp_path / "m.json")
    good = tmp_path / "good.json"
    good.write_text(json.dumps({str(i): {"acc": i / 5, "PSNR": i * i} for i in range(5)}))
    for words in (
        ["correlate", path],
        ["correlate", good, "--blocks", path],
        ["bdrate", path, "--quality", "q"],
        ["qpmap", path, "-o", tmp_path / "x.csv", "--base-qp", 32, "--delta", 3],
        ["decode", path, "-o", tmp_path / "out"],
        ["compress", "-d", tmp_path, "-s", path],
    ):
        with hostile.within(60):
            done = hostile.typed(*words)
        assert done.code == 2, (words, done.err)
        assert "Traceback" not in done.err
    assert set(os.listdir(tmp_path)) == {"m.json", "good.json"}


def test_names_that_would_move_the_cursor_are_refused(tmp_path: Path) -> None:
    """Of metrics and of codecs: they are printed in a table."""
    table = {str(i): {"acc": i / 5, "\x1b[2JPSNR": i * i} for i in range(5)}
    (tmp_path / "m.json").write_text(json.dumps(table))
    done = hostile.typed("correlate", tmp_path / "m.json")
    assert done.code == 2
    assert "\x1b" not in done.err + done.out
    assert "cannot be the name of a metric" in done.err
    with pytest.raises(RequestError, match="codec"):
        (tmp_path / "b.json").write_text(json.dumps({"0": ["a", ["\x1b[31mred", 1, "420", 1], [0, 0], [1, 1], 1]}))
        published_scores.read_blocks(tmp_path / "b.json", ["0"])
