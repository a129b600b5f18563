"""The contract of an encoder, as checks of one: `CHECKS` run over every file of `encoders/`, and over those of a user.

Each says what its author has to do.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers import sequences
from tests.helpers.pictures import save
from vcmbench import experiment
from vcmbench.compress.run import CompressRun, CompressSettings
from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.data.record import Record
from vcmbench.encoder import checks
from vcmbench.encoder.base import DECODED, SOURCE, Clip, CodedFrame, Command, Encoder
from vcmbench.encoder.configuration import LOOP_FILTERS, SWITCHES, CodingConfiguration, from_record
from vcmbench.encoder.structure import KINDS, Structure
from vcmbench.errors import RequestError
from vcmbench.execution.runner import images
from vcmbench.execution.runner.local import LocalRunner

U8 = NDArray[np.uint8]


def better_and_worse(one: Encoder) -> list[int | None]:
    """Two qualities well inside the scale, the better first; [None] where there is no scale."""
    if one.quality is None:
        return [None]
    span = one.quality.maximum - one.quality.minimum
    low, high = one.quality.minimum + span // 3, one.quality.minimum + 3 * span // 4
    return [low, high] if one.quality.better == "low" else [high, low]


def codings(one: Encoder) -> list[CodingConfiguration]:
    quality = better_and_worse(one)[0]
    base = [CodingConfiguration(one.name, quality, chroma) for chroma in one.chroma]
    presets = [CodingConfiguration(one.name, quality, one.chroma[0], preset=preset) for preset in one.presets]
    published = [CodingConfiguration(one.name, quality, one.chroma[0], compat=compat) for compat in one.compat]
    stacked = [CodingConfiguration(one.name, quality, one.chroma[0], stacked=True)] if one.stackable else []
    sequences = [replace(one_stack, structure=structure) for one_stack in stacked for structure in structures(one)]
    return base + presets + published + stacked + sequences


def structures(one: Encoder) -> list[Structure]:
    """Of each kind that it says it codes, with its usual offsets and with none; those that it refuses by name apart."""
    wanted = [Structure("intra"), *(Structure("lowdelay", 8, layer_offsets=offsets) for offsets in (True, False)),
              *(Structure("randomaccess", 8, 8, offsets) for offsets in (True, False))]  # fmt: skip
    found = []
    for structure in [structure for structure in wanted if structure.kind in one.structures and one.stackable]:
        try:
            one.check_structure(structure)
        except RequestError as error:
            assert one.name in str(error), f"{one.name}: check_structure must name the encoder: {error}"
            assert structure.layer_offsets is False, (
                f"{one.name}: its own offsets must do where it has {structure.kind}"
            )
            continue
        found.append(structure)
    return found


def check_what_it_is(one: Encoder, folder: Path, picture: U8) -> None:
    name = one.name
    assert re.fullmatch(r"\.[a-z0-9]+", one.extension), f"{name}: extension {one.extension!r} must be such as '.265'"
    assert re.fullmatch(r"[A-Za-z0-9]+", one.label), f"{name}: label {one.label!r} stands in folder names: letters only"
    assert one.chroma, f"{name}: chroma must name a format that it codes, the default first"
    assert set(one.chroma) <= set(CHROMA_FORMATS), f"{name}: chroma must be of {list(CHROMA_FORMATS)}"
    assert one.encode_tools and one.decode_tools, f"{name}: encode_tools and decode_tools must name a Tool each"
    assert 1 <= one.min_side_px <= one.max_side_px, f"{name}: min_side_px must be 1..max_side_px"
    if one.quality:
        assert one.quality.minimum < one.quality.maximum, f"{name}: quality.minimum must be below quality.maximum"
        assert one.quality.better in ("low", "high"), f"{name}: quality.better must be 'low' or 'high'"
        qualities = [quality for quality, _ in one.rates]
        assert len(qualities) > 1 and qualities == sorted(set(qualities)), (
            f"{name}: search_rates must name two qualities or more, ascending"
        )
        bpps = [bpp for _, bpp in one.rates][:: -1 if one.quality.better == "low" else 1]
        assert bpps == sorted(bpps), f"{name}: search_rates must rise towards the better end of the scale"
        assert [one.usual_bpp(quality) for quality in qualities] == pytest.approx([bpp for _, bpp in one.rates])


def check_commands(one: Encoder, folder: Path, picture: U8) -> None:
    """argv names the tool, the source, the bitstream and the decoded file, all relative, and nothing of the user's."""
    for coding in codings(one):
        checks.check(one, coding)
        clip = Clip(64, 48, 2 if coding.stacked else 1, CHROMA_FORMATS[coding.color_subsampling])
        for tool in one.encode_tools:
            _check_command(one, lambda program, c=coding, s=clip: one.encode(program, c, s), tool.program,
                           SOURCE[one.pixels], one.bitstream)  # fmt: skip
        for tool in one.decode_tools:
            _check_command(one, lambda program, c=coding, s=clip: one.decode(program, c, s), tool.program,
                           one.bitstream, DECODED[one.pixels])  # fmt: skip


def _check_command(one: Encoder, make: Callable[[str], Command], program: str, reads: str, writes: str) -> None:
    command, what = make(program), f"{one.name}: the command of {program}"
    assert command == make(program), f"{what} must be the same for the same job: its key hashes it"
    assert all(isinstance(word, str) for word in command.argv), f"{what} must be of text alone: {command.argv}"
    assert command.argv[0] == program, f"{what} must begin with the program that it was given"
    words = " ".join(command.argv)
    assert reads in words, f"{what} must read {reads}"
    assert writes in words, f"{what} must write {writes}"
    assert not any(PurePath(word).is_absolute() for word in command.argv if word), f"{what} must hold no absolute path"


def check_refusals(one: Encoder, folder: Path, picture: U8) -> None:
    good = codings(one)[0]
    wrong: list[dict[str, object]] = [{"color_subsampling": "411"}, {"preset": "nonsense"}, {"compat": "nonsense"}]
    if one.quality is None:
        wrong.append({"quality": 1})
    else:
        wrong += [{"quality": one.quality.minimum - 1}, {"quality": one.quality.maximum + 1}, {"quality": None}]
    if not one.stackable:
        wrong.append({"stacked": True})
    for change in wrong:
        with pytest.raises(RequestError, match=one.name):
            checks.check(one, CodingConfiguration(**{**good.as_dict(), **change}))  # type: ignore[arg-type]


def check_image(one: Encoder, folder: Path, picture: U8) -> None:
    path = Path(images.resources.folder("docker")) / one.name / "Dockerfile"
    if path.is_file():
        text = path.read_text()
        assert re.search(r"^USER (?!root|0)", text, re.MULTILINE), (
            f"{path}: needs a USER: containers do not run as root"
        )
        label = f'vcmbench.encoder="{one.name}"'
        assert label in text, f"{path}: must set LABEL {label}, by which the image is found"
    else:
        found = LocalRunner().find(one, one.encode_tools)
        assert found, f"{one.name}: write {path}, or name a tool that comes with vcmbench in encode_tools"


def check_logs(one: Encoder, folder: Path, picture: U8) -> None:
    for method in (one.coded_qp, one.reported_bytes, one.complaint):
        assert method("") is None, f"{one.name}: {method.__name__} must return None for a log that says nothing"


def check_scale(one: Encoder, folder: Path, picture: U8) -> None:
    """Qualities and steps, of which 6 double the quantiser step; by them maps and rates are put into QPs."""
    if one.quality is None:
        return
    todo = f"{one.name}: log2_step must be the binary logarithm of the quantiser step, strictly coarser along the scale"
    scale, direction = one.quality, 1 if one.quality.better == "low" else -1
    for quality in range(scale.minimum, scale.maximum + 1):
        assert one.quality_at(quality, 0) == pytest.approx(quality, abs=1e-9), todo
        coarser = one.quality_at(quality, 6)
        if one.is_in_range(coarser):
            below, above = (one.log2_step(end) for end in (math.floor(coarser), math.ceil(coarser)))
            assert min(below, above) - 1e-9 <= one.log2_step(quality) + 1 <= max(below, above) + 1e-9, todo
    for quality in (scale.minimum, (scale.minimum + scale.maximum) // 2, scale.maximum):
        found = [one.quality_at(quality, float(steps)) * direction for steps in np.linspace(-90, 90, 361)]
        assert all(after > before for before, after in itertools.pairwise(found)), todo
        low, high = one.shift_range(quality)
        assert low <= 0 <= high, todo
        assert all(one.is_in_range(round(one.quality_at(quality, end), 6)) for end in (low, high)), todo
        assert not any(one.is_in_range(one.quality_at(quality, end)) for end in (low - 0.1, high + 0.1)), todo


def check_what_structures_are(one: Encoder, folder: Path, picture: U8) -> None:
    """What needs no tool: the kinds, the offsets, and what it reads from a log that says nothing."""
    name, quality = one.name, better_and_worse(one)[0]
    kinds = set(one.structures)
    assert "intra" in kinds and kinds <= set(KINDS), f"{name}: structures must be of {KINDS}, and have intra"
    assert one.stackable or kinds == {"intra"}, f"{name}: is not stackable: leave structures out"
    assert one.coded_frames("", "") is None, f"{name}: coded_frames must return None for logs that say nothing"
    for structure in structures(one):
        if quality is not None:
            offsets = one.layer_offsets(structure, quality)
            assert "I" in offsets, f"{name}: layer_offsets must name what intra pictures have, as I: {offsets}"
            exact = structure.kind == "intra" or not structure.layer_offsets
            assert not exact or not any(offsets.values()), f"{name}: {structure} asks for no offsets: {offsets}"


def check_real_sequences(one: Encoder, folder: Path, picture: U8) -> None:
    """A moving picture in every structure: types, QPs and numbers of pictures are what was asked for."""
    name, runner, quality = one.name, LocalRunner(), better_and_worse(one)[1 if one.quality else 0]
    if not structures(one):
        pytest.skip(f"{name} codes every picture by itself")
    if not (runner.find(one, one.encode_tools) and runner.find(one, one.decode_tools)):
        pytest.skip(runner.missing(one, one.encode_tools))
    plain = sequences.code(one, None, quality)
    for structure in structures(one):
        coded = sequences.code(one, structure, quality)
        assert len(coded.decoded) == len(sequences.moving()), f"{name}, {structure}: must code every picture, once"
        assert coded.squared_error() < 2000, (
            f"{name}, {structure}: pictures come out in another order, or as other ones"
        )
        if structure.kind == "intra":
            assert coded.stream == plain.stream, f"{name}: structure intra must be coded as a stack without one"
        else:
            assert len(coded.stream) < len(plain.stream), f"{name}, {structure}: must take fewer bits than intra"
        if coded.frames is not None:
            _check_frames(one, structure, quality, coded.frames)
    again = sequences.code(one, structure, quality)
    assert again.stream == coded.stream, f"{name}, {structure}: must give the same bytes twice: one thread"


def _check_frames(one: Encoder, structure: Structure, quality: int | None, frames: list[CodedFrame]) -> None:
    what, count = f"{one.name}, {structure}: coded_frames", sequences.CLIP.frames
    places = [frame.index for frame in frames]
    assert sorted(places) == list(range(count)), (
        f"{what} must name every picture by its place in display order: {places}"
    )
    if structure.kind == "lowdelay":
        assert places == sorted(places), f"{what}: low delay codes in display order: {places}"
    period = 1 if structure.kind == "intra" else structure.intra_period or count
    intra = sorted(frame.index for frame in frames if frame.type == "I")
    assert intra == list(range(0, count, period)), (
        f"{what}: pictures that must be intra are not, or others are: {intra}"
    )
    if quality is None or any(frame.qp is None for frame in frames):
        return
    offsets = one.layer_offsets(structure, quality)
    for frame in frames:
        allowed = [offsets["I"]] if frame.type == "I" else [value for key, value in offsets.items() if key != "I"]
        qps = {min(max(quality + value, one.scale.minimum), one.scale.maximum) for value in allowed}
        assert frame.qp in qps, f"{what}: {frame} is coded with none of {qps}, which layer_offsets says"


def check_switches(one: Encoder, folder: Path, picture: U8) -> None:
    """What is switched off changes the file of a real tool, which decodes to about the same picture; each changes it
    otherwise. What an encoder has no switch for is refused by name."""
    assert set(one.switches) <= set(SWITCHES)
    for name in SWITCHES:
        if name not in one.switches:
            with pytest.raises(RequestError, match=f"off '{name}': {one.name} can switch off"):
                checks.check(one, replace(codings(one)[0], off=(name,)))
    runner = LocalRunner()
    if not one.switches:
        return
    if not (runner.find(one, one.encode_tools) and runner.find(one, one.decode_tools)):
        pytest.skip(runner.missing(one, one.encode_tools))
    save(folder / "a.png", picture[:128, :192])
    qualities = [better_and_worse(one)[1]]
    grids = [
        {"encoder": one.name, "quality": qualities, "off": off} for off in ([], *([name] for name in one.switches))
    ]
    if set(LOOP_FILTERS) & set(one.switches) and len(one.switches) > 1:
        grids.append({"encoder": one.name, "quality": qualities, "off": [*one.switches]})
    wanted = experiment.Experiment.model_validate({"name": "contract", "coding": grids})
    records: list[Record] = []
    outcome = CompressRun(wanted, folder, runner, CompressSettings()).execute(
        lambda state, job, record, error: records.append(record) if record else None
    )
    assert not outcome.failed, "\n".join(f"{job.title}: {error}\n{error.log[-800:]}" for job, error in outcome.failed)
    assert len({record["bitstream_sha256"] for record in records}) == len(grids), f"{one.name}: a switch does nothing"
    if one.fixed_parameters is not None:
        for name, own in one.switches.items():
            given = tuple((key.removeprefix("no-"), "1") for key in own)
            with pytest.raises(RequestError, match="leave one of them out"):
                checks.check(one, replace(codings(one)[0], off=(name,), parameters=given))
    kept = {from_record(json.loads(json.dumps(record))).off for record in records}
    assert kept == {coding.off for coding in wanted.configurations()}
    psnrs = [record["psnr_y_db"] for record in records]
    assert max(psnrs) - min(psnrs) < 3


def check_real_pictures(one: Encoder, folder: Path, picture: U8) -> None:
    """From pixels to record: odd sides, every chroma format, half size, and stacks; more bits give more PSNR."""
    name, runner = one.name, LocalRunner()
    if not (runner.find(one, one.encode_tools) and runner.find(one, one.decode_tools)):
        pytest.skip(runner.missing(one, one.encode_tools))
    save(folder / "a.png", picture[:131, :177])  # both sides odd
    save(folder / "b.png", picture[:131, 176::-1])
    qualities = [quality for quality in better_and_worse(one) if quality is not None]
    grid: dict[str, object] = {"encoder": name, "color_subsampling": list(one.chroma), "subsampling_factor": [1.0, 0.5]}
    stack: dict[str, object] = {"encoder": name, "stacked": True}
    if qualities:
        grid, stack = grid | {"quality": qualities}, stack | {"quality": qualities[:1]}
    wanted = experiment.Experiment.model_validate(
        {"name": "contract", "coding": [grid, stack] if one.stackable else [grid]}
    )
    records: list[Record | None] = []
    outcome = CompressRun(wanted, folder, runner, CompressSettings()).execute(
        lambda state, job, record, error: records.append(record)
    )
    assert not outcome.failed, f"{name}: " + "\n".join(
        f"{job.title}: {error}\n{error.log[-1000:]}" for job, error in outcome.failed
    )
    assert len(records) == 2 * len(one.chroma) * 2 * max(1, len(qualities)) + one.stackable
    by_point = {}
    for record in records:
        assert record is not None
        path = folder / record["bitstream"]
        assert record["size_bytes"] == path.stat().st_size > 0, f"{name}: encode must write self.bitstream"
        assert record["rate_bpp"] == pytest.approx(record["size_bytes"] * 8 / (177 * 131 * record["frames"]))
        assert record["encode_s"] > 0
        assert record["frames"] == (2 if record["stacked"] else 1)
        if record["coded_qp"] is not None or name in ("x264", "x265", "vvenc"):  # these always report it
            assert record["coded_qp"] == record["quality"], f"{name}: encode must code the QP that it is asked for"
        for value in ("psnr_y_db", "coded_qp"):
            assert (record[value] is None) == (value in record["missing"])
        if not record["stacked"]:
            point = (record["sources"][0]["name"], record["color_subsampling"], record["subsampling_factor"])
            by_point[(*point, record["quality"])] = record
    for (*point, quality), better in by_point.items():
        if qualities and quality == qualities[0]:
            worse = by_point[(*point, qualities[1])]
            for value in ("size_bytes", "psnr_y_db"):
                assert better[value] > worse[value], (
                    f"{name}: {value} must be higher at {quality} than at {qualities[1]}: does encode pass on "
                    f"coding.quality, and is quality.better {one.scale.better!r} right?"
                )


CHECKS = (
    check_what_it_is, check_commands, check_refusals, check_image, check_logs, check_scale, check_what_structures_are,
    check_switches, check_real_pictures, check_real_sequences,
)  # fmt: skip
