"""The second task: a classifier on a folder of class folders, through the same chain."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.measuring import U8, Results, compressed, counts, measure, network, outcome, typed, write_toml
from tests.helpers.pictures import save

CLASSES = ("cat", "dog", "street")


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> str:
    """[task] with a small timm network of three outputs; its weights are random, but always the same."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("classifier") / "resnet.safetensors"
    save_file(timm.create_model("test_resnet.r160_in1k", pretrained=False, num_classes=3).state_dict(), path)
    task = f'[task]\nname = "classification"\nmodel = "test_resnet.r160_in1k"\ncheckpoint = "{path}"\n'
    return task + 'classes = ["cat", "dog", "street"]\n[metrics]\niqa = ["PSNR"]\nintervals = false\n'


@pytest.fixture
def results(tmp_path: Path, astronaut: U8, head: str) -> Results:
    """Five pictures; the folder `nothing` is named as no class."""
    root = tmp_path / "data"
    for number, name in enumerate(("cat/a", "cat/b", "dog/a", "street/a", "nothing/a")):
        picture = np.roll(astronaut, 37 * number, axis=1)[:128, :160]
        save(root / f"{name}.png", picture if number % 2 else 255 - picture)
    compressed(root, write_toml(tmp_path, 'encoder = "lossless"', 'encoder = "jpeg"\nquality = [3, 60]', head=head))
    done = measure(root, tmp_path / "trial.toml")
    assert (done.code, counts(done)) == (0, (15, 0, 0)), done.err
    assert outcome(done)["missing"] == [
        "blocks: the task is a classification; only pictures of labels have blocks",
        "figures against labels: 4 of 5 pictures have what they need, and count",
    ]
    return Results(root)


def settings(head: str) -> dict[str, str]:
    import tomllib

    found: dict[str, str] = tomllib.loads(head)["task"]
    return found


def test_answers_are_those_of_the_network_called_by_hand(results: Results, head: str) -> None:
    with network(**settings(head)) as task:
        for score in results.scores():
            pristine, decoded = task.predict(list(results.decoded(score)))
            machine, folder = score["machine"], Path(score["source"]).parent.name
            assert (machine["kind"], machine["classes"], machine["class"]) == ("classification", 3, decoded.argmax())
            assert machine["pseudo"] == {
                "class": pristine.argmax(), "right": [int(decoded.argmax() == pristine.argmax()), 1],
                "probability": pytest.approx(float(decoded[pristine.argmax()]), abs=1e-6),
            }  # fmt: skip
            if folder not in CLASSES:
                assert machine["labels"] is None
                assert "is not named as one of the classes" in machine["notes"]["labels"]
                continue
            wanted = CLASSES.index(folder)
            assert machine["labels"]["right"] == [int(decoded.argmax() == wanted), 1]
            assert machine["labels"]["probability"] == pytest.approx(float(decoded[wanted]), abs=1e-6)


def test_lossless_answers_are_the_pristine_ones(results: Results) -> None:
    rows = [row for row in results.table("image_scores") if row["encoder"] == "lossless"]
    assert [row["accuracy_pseudo"] for row in rows] == ["1.0"] * 5
    assert "miou_pseudo" not in rows[0], "a classification has no IoU"
    assert sum(row["accuracy_labels"] == "" for row in rows) == 1


def test_it_is_printed_correlated_and_resumed(results: Results, tmp_path: Path) -> None:
    assert not list(results.root.glob("P_*")), "answers of classifiers are in the records"
    found = results.json("correlation_image.json")
    assert (found["PSNR"]["n"], found["vcmbench"]["against"]) == (10, "probability, pseudo")
    done = typed("metrics", "-d", results.root, "-s", tmp_path / "trial.toml", "--runner", "local", "--gpu", "none",
                 "--no-report")  # fmt: skip
    assert done.code == 0 and "0 pictures measured, 15 were known, 0 failed" in done.err
    right: defaultdict[str, list[int]] = defaultdict(list)
    for score in results.scores():
        right[str(score["quality"])].append(score["machine"]["pseudo"]["right"][0])
    for line in done.out.partition("\n\n")[0].splitlines():
        if line.startswith("JPEG"):
            quality = line.split()[1]
            assert f"{np.mean(right[quality]):.4f}" in line.split()


def test_other_names_of_classes_are_another_truth(results: Results, tmp_path: Path) -> None:
    config = tmp_path / "trial.toml"
    config.write_text(config.read_text().replace('["cat", "dog", "street"]', '["dog", "cat", "street"]'))
    assert counts(measure(results.root, config)) == (15, 0, 0)
    by_source = {score["source"]: score["machine"] for score in results.scores()}
    assert by_source["cat/a"]["labels"]["class"] == 1


def test_its_report(results: Results, tmp_path: Path) -> None:
    done = typed(
        "report", "-d", results.root, "-s", tmp_path / "trial.toml", "--runner", "local", "-o", tmp_path / "r.html"
    )
    assert done.code == 0, done.err
    assert "only pictures of labels have blocks" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_classifier_with_too_few_names_is_refused(results: Results, tmp_path: Path) -> None:
    config = tmp_path / "trial.toml"
    config.write_text(config.read_text().replace('["cat", "dog", "street"]', '["cat", "dog"]'))
    done = measure(results.root, config)
    assert done.code == 2 and "Traceback" not in done.err
    assert json.loads((results.folder / "measured.json").read_bytes())["failed"] == []
