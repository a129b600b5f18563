"""The contract of an encoder, over every file in `encoders/`: a new file adds its tests by lying there."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.commands import ENCODERS
from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.compress.summary import CompressOutcome
from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.encoder import checks, plugins
from vcmbench.encoder.base import DECODED, SOURCE, Clip, Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.execution.runner.local import LocalRunner

over_encoders = pytest.mark.parametrize("name", ENCODERS)


def best_and_worst(one: Encoder) -> list[int | None]:
    """Two qualities well inside the scale, the better first; [None] where there is none."""
    if one.quality is None:
        return [None]
    span = one.quality.maximum - one.quality.minimum
    low, high = one.quality.minimum + span // 3, one.quality.minimum + 3 * span // 4
    return [low, high] if one.quality.better == "low" else [high, low]


def codings(one: Encoder) -> list[CodingConfiguration]:
    quality = best_and_worst(one)[0]
    base = [CodingConfiguration(one.name, quality, chroma) for chroma in one.chroma]
    presets = [CodingConfiguration(one.name, quality, one.chroma[0], preset=preset) for preset in one.presets]
    published = [CodingConfiguration(one.name, quality, one.chroma[0], compat=compat) for compat in one.compat]
    stacked = [CodingConfiguration(one.name, quality, one.chroma[0], stacked=True)] if one.stackable else []
    return base + presets + published + stacked


@over_encoders
def test_says_what_it_is(name: str) -> None:
    one = plugins.get(name)
    assert one.name == name
    assert re.fullmatch(r"\.[a-z0-9]+", one.extension)
    assert re.fullmatch(r"[A-Za-z0-9]+", one.label), "a label stands in folder names"
    assert one.chroma
    assert set(one.chroma) <= set(CHROMA_FORMATS)
    assert one.encode_tools
    assert one.decode_tools
    assert 1 <= one.min_side_px <= one.max_side_px
    assert one.typical.seconds_per_mpx > 0
    assert all(bpp > 0 for _, bpp in one.typical.bpp)
    if one.quality:
        assert one.quality.minimum < one.quality.maximum
        assert one.quality.better in ("low", "high")


def test_labels_differ_so_that_folders_do() -> None:
    labels = [one.label.lower() for one in plugins.discover().values()]
    assert len(labels) == len(set(labels))


@over_encoders
def test_commands_hold_no_path_of_this_machine(name: str) -> None:
    """argv names the tool, the source, the bitstream and the decoded file, all relative, and nothing of the user's."""
    one = plugins.get(name)
    for coding in codings(one):
        checks.check(one, coding)
        clip = Clip(64, 48, 2 if coding.stacked else 1, CHROMA_FORMATS[coding.color_subsampling])
        for tools, make, reads, writes in (
            (one.encode_tools, one.encode, SOURCE[one.pixels], one.bitstream),
            (one.decode_tools, one.decode, one.bitstream, DECODED[one.pixels]),
        ):
            for tool in tools:
                command = make(tool.program, coding, clip)
                assert command == make(tool.program, coding, clip), "the same job has the same command"
                assert command.argv[0] == tool.program
                words = " ".join(command.argv)
                assert reads in words
                assert writes in words
                assert not any(PurePath(word).is_absolute() for word in command.argv if word)
                assert all(isinstance(word, str) for word in command.argv)


@over_encoders
def test_refuses_what_it_cannot_do(name: str) -> None:
    one = plugins.get(name)
    good = codings(one)[0]
    wrong: list[dict[str, object]] = [{"color_subsampling": "411"}, {"preset": "nonsense"}, {"compat": "nonsense"}]
    if one.quality is None:
        wrong.append({"quality": 1})
    else:
        wrong += [{"quality": one.quality.minimum - 1}, {"quality": one.quality.maximum + 1}, {"quality": None}]
    if not one.stackable:
        wrong.append({"stacked": True})
    for change in wrong:
        with pytest.raises(RequestError, match=name):
            checks.check(one, CodingConfiguration(**{**good.as_dict(), **change}))  # type: ignore[arg-type]


@over_encoders
def test_needs_an_image_or_a_builtin_tool(name: str) -> None:
    one = plugins.get(name)
    if images.has_dockerfile(name):
        text = (Path(images.resources.folder("docker")) / name / "Dockerfile").read_text()
        assert re.search(r"^USER (?!root|0)", text, re.MULTILINE), "containers do not run as root"
        assert f'vcmbench.encoder="{name}"' in text
    else:
        assert LocalRunner().find(one, one.encode_tools), "without an image its tool must come with vcmbench"


@over_encoders
def test_real_pictures_through_the_real_tool(name: str, tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    """From pixels to record: odd sides, every chroma format, half size, and stacks; more bits give more PSNR."""
    one, runner = plugins.get(name), LocalRunner()
    if not (runner.find(one, one.encode_tools) and runner.find(one, one.decode_tools)):
        pytest.skip(runner.missing(one, one.encode_tools))
    picture = astronaut[:131, :177]  # both sides odd
    save(tmp_path / "a.png", picture)
    save(tmp_path / "b.png", picture[:, ::-1])
    qualities = [q for q in best_and_worst(one) if q is not None]
    grid: dict[str, object] = {"encoder": name, "color_subsampling": list(one.chroma), "subsampling_factor": [1.0, 0.5]}
    if qualities:
        grid["quality"] = qualities
    coding = [grid]
    if one.stackable:
        coding.append({"encoder": name, "quality": qualities[:1], "stacked": True})
    wanted = experiment.Experiment.model_validate({"name": "contract", "coding": coding})
    records = []
    outcome = CompressRun(wanted, tmp_path, runner, CompressSettings()).execute(
        lambda state, job, record, error: records.append(record)
    )
    assert not outcome.failed
    assert len(records) == 2 * len(one.chroma) * 2 * max(1, len(qualities)) + one.stackable

    by_point = {}
    for record in records:
        assert record is not None
        path = tmp_path / record["bitstream"]
        assert path.suffix == one.extension
        assert record["size_bytes"] == path.stat().st_size > 0
        assert record["rate_bpp"] == pytest.approx(record["size_bytes"] * 8 / (177 * 131 * record["frames"]))
        assert record["encode_s"] > 0
        assert record["frames"] == (2 if record["stacked"] else 1)
        assert (record["psnr_y_db"] is None) == ("psnr_y_db" in record["missing"])
        assert (record["coded_qp"] is None) == ("coded_qp" in record["missing"])
        if not record["stacked"]:
            point = (record["sources"][0]["name"], record["color_subsampling"], record["subsampling_factor"])
            by_point[(*point, record["quality"])] = record
    for (picture_name, chroma, factor, quality), better in by_point.items():
        if qualities and quality == qualities[0]:
            worse = by_point[(picture_name, chroma, factor, qualities[1])]
            assert better["size_bytes"] > worse["size_bytes"]
            assert better["psnr_y_db"] > worse["psnr_y_db"]


MPEG2 = """\
from vcmbench.encoder import Command, Encoder, QualityScale, ffmpeg

class Mpeg2(Encoder):
    label, extension, chroma = "MPEG2", ".m2v", ("420",)
    quality = QualityScale("quantiser scale", 2, 31, "low")
    encode_tools = (ffmpeg.encoder_tool("mpeg2video"),)
    decode_tools = (ffmpeg.decoder_tool("mpeg2video"),)

    def encode(self, program, coding, clip):
        options = {"c:v": "mpeg2video", "q:v": coding.quality}
        return Command(ffmpeg.encode(clip, self.bitstream, "mpeg2video", **options))

    def decode(self, program, coding, clip):
        return Command(ffmpeg.decode(clip, self.bitstream, "mpegvideo"))
"""


def run_added(root: Path, name: str, quality: list[int]) -> CompressOutcome:
    coding = [{"encoder": name, "quality": quality}, {"encoder": "jpeg", "quality": [50]}]
    wanted = experiment.Experiment.model_validate({"name": "added", "coding": coding})
    return CompressRun(wanted, root, LocalRunner(), CompressSettings()).execute(lambda *_: None)


def test_an_added_file_is_an_encoder(tmp_path: Path, encoders_folder: Path, astronaut: NDArray[np.uint8]) -> None:
    """MPEG-2 by FFmpeg, in one file and nothing else."""
    (encoders_folder / "mpeg2.py").write_text(MPEG2)
    save(tmp_path / "data/a.png", astronaut)
    outcome = run_added(tmp_path / "data", "mpeg2", [3, 30])
    assert (outcome.done, outcome.failed) == (3, [])
    folders = [next((tmp_path / "data").glob(f"images_MPEG2(quality={quality}, *)")) for quality in (3, 30)]
    fine, coarse = [(folder / "a.m2v").stat().st_size for folder in folders]
    assert fine > 2 * coarse > 0


def test_an_added_file_that_cannot_make_its_command_fails_its_jobs_only(
    tmp_path: Path, encoders_folder: Path, astronaut: NDArray[np.uint8]
) -> None:
    (encoders_folder / "mpeg2.py").write_text(MPEG2.replace("coding.quality", "coding.qualty"))
    save(tmp_path / "data/a.png", astronaut)
    outcome = run_added(tmp_path / "data", "mpeg2", [3])
    assert outcome.done == 1
    ((job, error),) = outcome.failed
    assert job.encoder.name == "mpeg2"
    assert "has no attribute 'qualty'" in str(error)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def broken(:", r"line 1: SyntaxError"),
        ("import os\nimport no_such_module", r"line 2: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1", "holds 0 subclasses of Encoder, must hold one"),
        ("from vcmbench.encoder import Encoder\nclass A(Encoder):\n    label = 'A'", "TypeError: Can't instantiate"),
        (MPEG2.replace(", chroma = ", ", chrome = "), "Mpeg2 does not set chroma"),
    ],
)
def test_a_faulty_file_is_named_and_the_others_work(text: str, complaint: str, encoders_folder: Path) -> None:
    (encoders_folder / "faulty.py").write_text(text)
    (encoders_folder / "_helper.py").write_text("raise RuntimeError('not an encoder')")
    (encoders_folder / "Bad-Name.py").write_text("")
    assert sorted(plugins.discover()) == sorted(ENCODERS)
    assert sorted(plugins.faults()) == ["Bad-Name", "faulty"]
    with pytest.raises(RequestError, match=complaint):
        plugins.get("faulty")
