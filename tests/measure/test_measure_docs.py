"""What docs/metrics.md says is so: keys and their defaults, options, files and columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.measuring import JPEG, Results, once, typed, write_toml
from tests.helpers.paths import CHECKOUT
from vcmbench import experiment
from vcmbench.analysis.tables import OVER_TIME
from vcmbench.experiment import Metrics, TaskChoice

DOCS = CHECKOUT / "docs/metrics.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCS.read_text(encoding="utf-8")


def test_the_experiment_of_the_docs_is_the_default_one(text: str, tmp_path: Path) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    found = experiment.load(str(write_toml(tmp_path, JPEG, head=toml)))
    assert (found.task, found.metrics) == (TaskChoice(), Metrics())
    for key in (*Metrics.model_fields, *Metrics().blocks.__class__.model_fields, "predictions"):
        assert re.search(rf"^(# |\[metrics\.)?{key}\b", toml, re.MULTILINE), key


def test_options_of_the_docs_are_there(text: str) -> None:
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    known = "".join(typed(command, "--help").out for command in ("metrics", "report", "blocks"))
    assert options and {option for option in options if option not in known} == set()


def test_columns_and_files_of_the_docs_are_there(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    results = Results(once(tmp_path_factory) / "data")
    table = text[text.index("| column of") : text.index("`block_scores` has")]
    named = set(re.findall(r"`([\w]+)`", table))
    ours = {*results.table("image_scores")[0], *OVER_TIME}
    assert {name for name in named if name not in ours} <= {"image_scores", "options", "_labels"} - ours
    assert {name for name in ours if name not in named and not name.endswith("_labels")} == {
        "accuracy_15_30m_pseudo", "accuracy_30_60m_pseudo", "SSIM",
    }  # fmt: skip
    listing = text[text.index("DATA/results/<experiment>/\n") : text.index("Predictions are palette PNGs")]
    for name in ("image_scores.csv", "block_scores.csv", "correlation_image.json", "measured.json", "scores/pristine/"):
        assert name in listing and (results.folder / name).exists()


def test_fields_of_a_record_are_those_of_the_docs(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    score = Results(once(tmp_path_factory) / "data").scores()[0]
    part = text[text.index("A score record holds") : text.index("Everything else is made of")]
    for name in ("schema_version", "configuration", "source", "frame", "frames", "compression_key", "bitstream_sha256",
                 "rate_bpp", "size_bytes", "coded_qp", "qp_map"):  # fmt: skip
        assert f"`{name}`" in part and name in score
    for name in score["machine"]["pseudo"]:
        assert f"`.{name}`" in part
    for name in {"identity", "key", "notes", "pseudo", "labels"}:
        assert name in score["machine"] and re.search(rf"`(machine)?\.{name}`", part)
