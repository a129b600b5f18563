"""`vcmbench verify`: every kind of damage is found and named, and --repair makes those jobs again and no others."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.commands import JPEG, X265, Typed, tree
from tests.helpers.measuring import typed, write_toml
from tests.helpers.pictures import save

MAPPED = 'encoder = "x264"\nquality = [30]\nqp_map = { delta = 6 }'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, astronaut: NDArray[np.uint8]) -> Path:
    """Eight finished jobs in `photos`, two of them with QP maps beside their bitstreams, and their experiment."""
    folder: Path = tmp_path_factory.mktemp("finished")
    for letter, picture in (("a", astronaut), ("b", astronaut[:, ::-1])):
        save(folder / f"photos/{letter}.png", picture)
        importance = np.zeros((256, 320), np.float32)
        importance[64:192, 80:240] = 1
        (folder / "photos/importance_map").mkdir(exist_ok=True)
        np.save(folder / f"photos/importance_map/{letter}_importance.npy", importance)
    config = write_toml(folder, 'encoder = "none"', JPEG, X265, MAPPED, head='[importance]\nsource = "files"\n')
    assert compress(folder / "photos", config).code == 0
    return folder


@pytest.fixture
def photos(finished: Path, tmp_path: Path) -> Path:
    """A copy of them, to be damaged."""
    return Path(shutil.copytree(finished / "photos", tmp_path / "photos"))


@pytest.fixture
def config(finished: Path) -> Path:
    return finished / "trial.toml"


def compress(root: Path, config: Path) -> Typed:
    return typed("compress", "-d", root, "-s", config, "--runner", "local", "--json")


def verify(root: Path, config: Path, *words: object) -> tuple[int, dict[str, str], str]:
    """Exit code, what was found damaged and why, and what was said."""
    done = typed("verify", "-d", root, "-s", config, "--json", *words)
    found = {event["path"]: event["why"] for event in done.events}
    return done.code, found, done.err


def files(root: Path) -> list[Path]:
    """Every bitstream, QP map and record."""
    results = [path for folder in root.glob("images_*") for path in folder.rglob("*")]
    return sorted(path for path in (*results, *root.glob("results/*/records/**/*.json")) if path.is_file())


def test_what_is_whole_is_left_alone(photos: Path, config: Path) -> None:
    before = tree(photos)
    assert verify(photos, config)[:2] == (0, {})
    assert verify(photos, config, "--repair")[:2] == (0, {})
    assert tree(photos) == before


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte is another one": change_a_byte,
    "it is cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "it is empty": lambda path: path.write_bytes(b""),
    "it is longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "it is zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "it is gone": lambda path: path.unlink(),
    "it is a folder": lambda path: (path.unlink(), path.mkdir()),
    "it is a link": lambda path: (path.rename(path.with_suffix(".away")), path.symlink_to(path.with_suffix(".away"))),
}


@pytest.mark.parametrize("what", list(DAMAGES))
@pytest.mark.parametrize("ending", [".265", "qp_map.csv", ".jpg.json"])
def test_each_damage_is_found_and_only_that_is_done_again(what: str, ending: str, photos: Path, config: Path) -> None:
    victim = next(path for path in files(photos) if path.name.endswith(ending))
    before = tree(photos)
    DAMAGES[what](victim)
    code, found, said = verify(photos, config)
    assert code == 1, said
    assert list(found) == [str(victim.relative_to(photos))]
    code, found, said = verify(photos, config, "--repair")
    if "folder" in what:  # nobody's to remove
        assert code == 1
        assert "Traceback" not in said
        return
    assert code == 0, said
    assert "1 jobs were done again" in said
    assert verify(photos, config)[:2] == (0, {})
    after = tree(photos)
    again = {name for name, digest in after.items() if before.get(name) != digest and name.endswith(".json")}
    assert len(again) <= 1, "other jobs were left alone; the record of this one has other times"
    for name, digest in before.items():
        if name.startswith("images_") and not name.endswith(".away"):
            assert after[name] == digest, "the very same file as before"


def test_any_byte_of_a_record(photos: Path, config: Path) -> None:
    """Digits of figures, too: they would look like a record. Only the times are not sealed."""
    record = next(path for path in files(photos) if path.name == "a.265.json")
    good = record.read_bytes()
    draw = random.Random(0)
    lines = [line for line in good.split(b"\n") if not any(word in line for word in (b'_s": ', b'"seal"'))]
    for _ in range(12):
        line = draw.choice([line for line in lines if len(line) > 8])
        at = good.index(line) + draw.randrange(1, len(line))
        record.write_bytes(good[:at] + bytes([good[at] ^ draw.choice([1, 2, 4])]) + good[at + 1 :])
        code, found, _ = verify(photos, config)
        assert code == 1, good[at - 20 : at + 20]
        assert "its seal does not hold" in next(iter(found.values()))
    assert {e["state"] for e in compress(photos, config).events} == {"resumed", "done"}, "nor does a run believe it"


def test_many_damages_at_once(photos: Path, config: Path) -> None:
    victims = [path for path in files(photos) if path.name in ("a.265", "b.265.json", "a.jpg.json", "b.jpg", "a.264")]
    for path in victims:
        change_a_byte(path)
    code, found, _ = verify(photos, config)
    assert code == 1
    assert set(found) == {str(path.relative_to(photos)) for path in victims}
    assert verify(photos, config, "--repair")[0] == 0
    assert verify(photos, config)[:2] == (0, {})


def test_jobs_that_are_not_done_are_no_damage_and_are_not_done(photos: Path, config: Path) -> None:
    for path in files(photos):
        if path.name.startswith("b.265"):
            path.unlink()
    code, found, said = verify(photos, config, "--repair")
    assert (code, found) == (0, {})
    assert "1 jobs have no record (yet): python run_compression.py" in said
    assert not [path for path in files(photos) if path.name.startswith("b.265")]


def test_what_cannot_be_repaired_is_said(photos: Path, config: Path) -> None:
    """A picture that has gone since, and a configuration that the experiment asks for no more."""
    change_a_byte(next(path for path in files(photos) if path.name == "a.265"))
    change_a_byte(next(path for path in files(photos) if path.name == "b.jpg"))
    (photos / "a.png").unlink()
    config.write_text(config.read_text().replace("[30]", "[31]", 1))
    code, found, said = verify(photos, config, "--repair")
    assert code == 1
    assert len(found) == 2
    assert said.count("not repaired: ") == 2


def test_damaged_scores_are_removed_and_named(photos: Path, config: Path) -> None:
    folder = photos / "results/trial/scores/images_x"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"half": ')
    code, found, said = verify(photos, config)
    assert (code, list(found.values())) == (1, ["is no whole score record"])
    code, _, said = verify(photos, config, "--repair")
    assert code == 1, "until they are there again"
    assert "made again by: python run_metrics.py" in said
    assert not (folder / "a.json").exists()


@pytest.mark.parametrize("words", [["-s", "nothing"], ["-s", "quick"]])
def test_nothing_to_verify(photos: Path, words: list[str]) -> None:
    done = typed("verify", "-d", photos, *words)
    assert done.code == 2
    assert "no experiment 'nothing'" in done.err or "nothing of experiment quick was compressed here yet" in done.err


def test_json_names_the_job(photos: Path, config: Path) -> None:
    change_a_byte(next(path for path in files(photos) if path.name == "a.265"))
    done = typed("verify", "-d", photos, "-s", config, "--json")
    event = json.loads(done.out)
    assert event["bitstream"] == event["path"]
    assert event["bitstream"].endswith("/a.265")
