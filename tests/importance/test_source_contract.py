"""What every source of importance keeps to: ours, and those of the folders that VCMBENCH_PLUGINS names."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.commands import compress
from tests.helpers.docs import example
from vcmbench.data.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.data.selection import Selection
from vcmbench.demo import cityscapes
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import JobError, RequestError
from vcmbench.importance import importance_path, source
from vcmbench.importance.source import ImportanceSource
from vcmbench.measure import ground_truth


@pytest.fixture
def scene(tmp_path: Path) -> tuple[DataRoot, Source]:
    """A small scene with all of its files, and a map of its own."""
    cityscapes.write(
        tmp_path / "data", width=128, height=64, val_per_city=1, train_scenes=0, sequences=0, jobs=1
    )  # fmt: skip
    data = open_root(tmp_path / "data")
    one = find_sources(data, Selection())[0]
    path = importance_path(data, one)
    path.parent.mkdir(parents=True)
    np.save(path, np.linspace(0, 1, 64 * 128, dtype=np.float32).reshape(64, 128))
    return data, one


def check(name: str, data: DataRoot, one: Source) -> None:
    origin, wanted = source.get(name), source.choose(name, 1.0, {})
    assert wanted.settings == origin.settings(), f"{name}: every field of its settings needs a default"
    digest = wanted.digest(data, one)
    assert digest == wanted.digest(data, one), f"{name}: the digest of the same files differs from call to call"
    assert not {"source", "region"} & {field.name for field in fields(wanted.settings)}, f"{name}: these keys are taken"
    assert wanted.tag not in [other.tag for other in others(wanted)], (
        f"{name}: another setting must give another folder"
    )
    if origin.is_asked:
        with pytest.raises(JobError, match="no map before a picture is coded"):
            wanted.read(data, one, 128, 64)
        return
    found = wanted.read(data, one, 128, 64)  # refuses another shape, values outside of 0..1 and NaN, and says so
    assert found.values.dtype == np.float32
    again = wanted.read(data, one, 128, 64)
    assert np.array_equal(found.values, again.values), f"{name}: the same files give another map"
    with pytest.raises(JobError, match="128x64 px, the picture 64x64 px"):
        wanted.read(data, one, 64, 64)
    assert wanted.lacking(data, one) is None, f"{name}: lacks a file though all are there"
    for other in others(wanted):
        is_same = np.array_equal(other.read(data, one, 128, 64).values, found.values)
        assert is_same or other.digest(data, one) != digest, f"{name}: {other.tag} gives another map by the same digest"
    beside = data.root / "notes.txt"
    beside.write_text("of nobody's concern")
    assert wanted.digest(data, one) == digest, f"{name}: its digest changes with files that it does not read"
    beside.unlink()
    path = wanted.main_file(data, one)
    if path is None:
        return
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    assert wanted.digest(data, one) != digest, f"{name}: its digest does not depend on {path.name}, its main file"
    path.unlink()
    assert wanted.lacking(data, one) == path, f"{name}: lacking() must name {path.name} where it is not there"
    with pytest.raises(JobError, match=path.name):  # the message names the file that is missing
        wanted.read(data, one, 128, 64)
    path.write_bytes(before)


def others(wanted: ImportanceSource) -> list[ImportanceSource]:
    """The source with one setting changed, for each that is a number or a switch and takes another value."""
    found = []
    for field in fields(wanted.settings):
        value = getattr(wanted.settings, field.name)
        if isinstance(value, int | float):
            other = not value if isinstance(value, bool) else value * 2
            with suppress(RequestError, ValueError):
                found.append(replace(wanted, settings=replace(wanted.settings, **{field.name: other})))
    return found


@pytest.mark.parametrize("name", sorted(source.discover()))
def test_a_source_keeps_the_contract(name: str, scene: tuple[DataRoot, Source]) -> None:
    check(name, *scene)


def test_one_file_is_a_source(plugins: Path, scene: tuple[DataRoot, Source], photos: Path) -> None:
    example("adding-an-importance-source.md", plugins)
    (plugins / "sources/wrong.py").write_text(
        "from vcmbench.importance.source import SourceOfImportance\n\n\nclass Wrong(SourceOfImportance):\n"
        "    def digest(self, data, source, settings): return ''\n"
        "    def read(self, data, source, settings): return 1 / 0\n"
    )
    check("centre", *scene)
    head = 'name = "trial"\n[importance]\nsource = "{}"\n{}\n'
    coding = '[[coding]]\nencoder = "x264"\nquality = [32]\nqp_map = {{ delta = {} }}\n'
    config = photos.parent / "trial.toml"
    config.write_text(head.format("centre", "sharpness = 4.0\nregion = 0.5") + coding.format(4))
    done = compress(photos, config)
    assert done.code == 0, done.err
    for record in done.records():
        assert "importance=centre-sharpness-4.0-region0.5" in record["bitstream"]
        assert record["importance"]["source"] == "centre" and record["importance"]["settings"] == {"sharpness": 4.0}
    sharper = source.choose("centre", 1.0, {"sharpness": 4.0})
    assert ground_truth.digest(*scene, sharper) != ground_truth.digest(*scene, source.choose("centre", 1.0, {}))
    again = "import pickle, sys; print(pickle.load(sys.stdin.buffer).tag)"  # where its file is not loaded yet
    done_there = subprocess.run([sys.executable, "-c", again], input=pickle.dumps(sharper), capture_output=True)
    assert done_there.stdout.decode().strip() == "centre-sharpness-4.0", done_there.stderr.decode()
    config.write_text(head.format("wrong", "") + coding.format(5))
    failed = compress(photos, config)
    assert failed.code == 1
    assert failed.err.count("source of importance 'wrong': read failed: ZeroDivisionError: division by zero") >= 1


FAULTY = """
from dataclasses import dataclass
from vcmbench.errors import RequestError
from vcmbench.importance.source import SourceOfImportance

class Faulty(SourceOfImportance):
    def digest(self, data, source, settings): return ""
    def read(self, data, source, settings): return 1 / 0
    def {}: {}
"""


@pytest.mark.parametrize(
    ("method", "body", "complaint"),
    [
        ("read(self, data, source, settings)", "return 1", "read gave int, must give a PixelImportance"),
        ("read(self, data, source, settings)", "raise RequestError('no net')", "read failed: no net"),
        ("digest(self, data, source, settings)", "return open(data.root / 'no.bin')", "digest failed: .*no.bin"),
        ("digest(self, data, source, settings)", "raise RequestError('no net')", "digest failed: no net"),
        ("main_file(self, data, source)", "return 3", "main_file gave int, must give a Path or None"),
        ("main_file(self, data, source)", "return 1 / 0", "main_file failed: ZeroDivisionError"),
    ],
)
def test_a_faulty_source_fails_its_own_jobs(
    plugins: Path, photos: Path, method: str, body: str, complaint: str
) -> None:
    (plugins / "sources").mkdir()
    (plugins / "sources/faulty.py").write_text(FAULTY.format(method, body))
    config = photos.parent / "trial.toml"
    mapped = '[[coding]]\nencoder = "x264"\nquality = [32]\nqp_map = {}\n'
    config.write_text(f'name = "trial"\n[importance]\nsource = "faulty"\n{mapped}[[coding]]\nencoder = "none"\n')
    done = compress(photos, config)
    errors = [event["error"] for event in done.events if "error" in event]
    assert (done.code, len(done.records()), len(errors)) == (1, 2, 2), done.err
    assert all("source of importance 'faulty'" in one for one in errors)
    assert re.search(complaint, done.err)
    assert "internal error" not in done.err


def test_settings_that_cannot_be_made_are_one_line(plugins: Path) -> None:
    (plugins / "sources").mkdir()
    faulty = "@dataclass(frozen=True)\nclass Settings:\n    net: Unknown = 1\n\nclass Faulty"
    text = "from __future__ import annotations\n" + FAULTY.format("main_file(self, data, source)", "return None")
    text = text.replace("class Faulty", faulty).replace("    def", "    settings = Settings\n    def", 1)
    (plugins / "sources/unsettled.py").write_text(text)
    with pytest.raises(RequestError, match="source 'unsettled': its settings failed: NameError: name 'Unknown'"):
        source.choose("unsettled", 1.0, {})


WEIGHED = """
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from vcmbench.data import images
from vcmbench.importance.source import PixelImportance, SourceOfImportance

@dataclass(frozen=True)
class Settings:
    net: Path | None = None

class Weighed(SourceOfImportance):
    settings, paths = Settings, ("net",)
    def digest(self, data, source, settings): return ""
    def read(self, data, source, settings):
        width, height = images.size_of(source.path)
        values = np.zeros((height, width), np.float32)
        values[: height // 2] = float(settings.net.read_text())
        return PixelImportance(values)
"""


def test_a_file_that_settings_name_counts_by_its_content(plugins: Path, photos: Path) -> None:
    (plugins / "sources").mkdir()
    (plugins / "sources/weighed.py").write_text(WEIGHED)
    config = photos.parent / "trial.toml"

    def states(name: str, content: str) -> set[str]:
        for old in photos.parent.rglob("*.net"):
            old.unlink()
        (photos.parent / name).parent.mkdir(exist_ok=True)
        (photos.parent / name).write_text(content)
        config.write_text(
            f'name = "trial"\n[importance]\nsource = "weighed"\nnet = "{name}"\n'
            '[[coding]]\nencoder = "x264"\nquality = [32]\nqp_map = { delta = 4 }\n'
        )
        done = compress(photos, config)
        assert done.code == 0, done.err
        return {event["state"] for event in done.events}

    assert states("a.net", "1") == {"done"}
    assert states("moved/b.net", "1") == {"resumed"}
    assert states("moved/b.net", "0.5") == {"done"}


def test_no_setting_leads_out_of_its_folder(plugins: Path) -> None:
    (plugins / "sources").mkdir()
    text = FAULTY.format("describe(self, tag)", "return tag").replace(
        "class Faulty", "@dataclass(frozen=True)\nclass Settings:\n    net: str = 'small'\n\nclass Faulty"
    )
    (plugins / "sources/named.py").write_text(text.replace("    def", "    settings = Settings\n    def", 1))
    assert source.choose("named", 1.0, {"net": "large.v2"}).tag == "named-net-large.v2"
    tags = {source.choose("named", 1.0, {"net": net}).tag for net in ("../up", "a/b", "a\nb", "", "x" * 300)}
    assert len(tags) == 5 and all(re.fullmatch("named-net-[0-9a-f]{8}", tag) for tag in tags)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('source = "magic"', "source 'magic': unknown; there are files labels"),
        ("reaction = 2.5", "reaction: unknown key; source 'labels' knows source, region, aggregate"),
        ('use_distance = "yes"', "use_distance: Input should be a valid boolean"),
    ],
)
def test_a_wrong_choice_is_one_line(photos: Path, table: str, complaint: str) -> None:
    config = photos.parent / "trial.toml"
    config.write_text(f'name = "trial"\n[importance]\n{table}\n[[coding]]\nencoder = "none"\n')
    done = compress(photos, config)
    assert done.code == 2
    assert complaint in done.err and len(done.err.strip().splitlines()) == 1


def test_keys_of_jobs_hold_what_they_held() -> None:
    coding = CodingConfiguration("x264", 30, importance=ImportanceSource())
    assert coding.as_dict()["importance"] == {
        "source": "labels", "region": 1.0,
        "settings": {"aggregate": "instance", "use_distance": True, "use_class": True, "use_speed": True,
                     "reaction_s": 2.5, "deceleration_mps2": 3.4, "d_safe_floor_m": 5.0, "classes": None},
    }  # fmt: skip
