"""The jobs of an experiment over a data root, which of them are done, and what the rest will cost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import metadata
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from vcmbench import mapping
from vcmbench.coding import CodingConfiguration, ImportanceSource
from vcmbench.dataset import DataRoot, Source, read_picture
from vcmbench.encoder import Clip, Command, Encoder, Tool, Typical
from vcmbench.encoder import get as get_encoder
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.job import Geometry, Job, Tools, geometry
from vcmbench.runner import builtin
from vcmbench.runner.base import Runner
from vcmbench.runner.found import FoundTool
from vcmbench.store import Record, Store, job_key


@dataclass(frozen=True)
class Measured:
    """What a plan knows of a picture without decoding it; `problem` where it cannot be read at all."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


def measure(source: Source) -> Measured:
    try:
        str(source.path).encode()
    except UnicodeEncodeError:
        return Measured(problem=f"{source.path}: its name is not UTF-8; rename it")
    try:
        with Image.open(source.path) as image:
            width, height = image.size
        return Measured(source.sha256(), width, height)
    except Exception:  # whatever a hostile header makes the decoder raise; read_picture names it
        try:
            read_picture(source.path)
        except JobError as error:
            return Measured(problem=str(error))
        return Measured(problem=f"{source.path}: cannot be read")


_SEARCH_ENCODES = 4  # about as many as the search for a rate takes, the uniform encode among them

Toolbox = dict[tuple[str, tuple[Tool, ...]], FoundTool]
"""For each encoder's name and choice of tools, the one that was found: containers have an image an encoder."""


def find_tools(experiment: Experiment, runner: Runner) -> tuple[Toolbox, dict[str, str]]:
    """The tools that an experiment calls, and for each encoder that lacks one, a line that says so.

    A tool that is missing is replaced by one that cannot be called, so that a plan can still be made.
    """
    tools: Toolbox = {}
    missing: dict[str, str] = {}
    for coding in experiment.configurations():
        one = get_encoder(coding.encoder)
        for wanted in (one.tools_to_encode(coding), one.decode_tools):
            if (one.name, wanted) not in tools:
                found = runner.find(one, wanted)
                if found is None:
                    missing.setdefault(one.name, runner.missing(one, wanted))
                tools[one.name, wanted] = found or FoundTool(wanted[0].program, "", "missing", "")
    return tools, missing


def bitstream_path(
    data: DataRoot, encoder: Encoder, coding: CodingConfiguration, sources: tuple[Source, ...]
) -> PurePosixPath:
    """Where the bitstream of these pictures goes, below the data root."""
    folder = data.configuration_folder(encoder.folder_name(coding)).name
    name = sources[0].group / (sources[0].group.name or "images") if coding.stacked else sources[0].name
    return PurePosixPath(f"{folder}/{name}{encoder.extension}")


@lru_cache(maxsize=4096)
def _commands(encoder: Encoder, coding: CodingConfiguration, tools: Tools, clip: Clip) -> tuple[Command, ...]:
    """Pictures of one size share their commands; building them anew would be most of the cost of a plan.

    What a QP map adds differs from picture to picture and is not known before it is read; an even map stands for it,
    so that a change of how an encoder is called with maps makes its jobs new.
    """
    program = tools.encode.program
    if coding.quality is None and encoder.quality is not None:
        coding = replace(coding, quality=encoder.quality.minimum)
    commands = [encoder.encode(program, coding, clip), encoder.decode(tools.decode.program, coding, clip)]
    if coding.qp_map is not None and encoder.method(coding) in ("native", "coefficients"):
        even = encoder.quantisers(coding.quality or 0, np.zeros((1, 1)), 0.0, encoder.map_unit_px(coding, clip))
        commands.append(encoder.encode_mapped(program, coding, clip, even))
    return tuple(commands)


def _builtin_version(program: str) -> str:
    tool = builtin.find(program)
    return tool.version if tool else ""


def _make_job(
    data: DataRoot,
    encoder: Encoder,
    coding: CodingConfiguration,
    tools: Tools,
    sources: tuple[Source, ...],
    measure: Callable[[Source], Measured],
    digest: Callable[[Source, ImportanceSource], str],
) -> Job:
    measured = [measure(source) for source in sources]
    bitstream = bitstream_path(data, encoder, coding, sources)
    digests = tuple(one.sha256 for one in measured)
    size: Geometry | None = None
    problem = next((one.problem for one in measured if one.problem), "")
    first = measured[0]
    odd_one = next(
        (i for i, one in enumerate(measured) if (one.width, one.height) != (first.width, first.height)), None
    )
    if not problem and odd_one is not None:
        problem = (
            f"{sources[odd_one].path}: is {measured[odd_one].width}x{measured[odd_one].height} px, to be stacked "
            f"with {sources[0].path} of {first.width}x{first.height} px"
        )
    if not problem:
        try:
            size = geometry(encoder, coding, first.width, first.height, len(sources))
            commands = _commands(encoder, coding, tools, size.clip)
            maps = tuple(digest(source, coding.importance) for source in sources) if coding.importance else ()
        except RequestError as error:
            problem = f"{sources[0].path}: {error}"
        except JobError as error:
            size, problem = None, str(error)
        except Exception as error:  # a fault in an encoder's file must not end the other jobs
            size, problem = None, f"{encoder.name} cannot make its command: {error!r}"
    if size is None:
        return Job(encoder, coding, tools, sources, digests, bitstream, None, "", problem)
    parts = {
        "sources": digests,
        "coding": coding.as_dict(),
        "commands": [[command.argv, command.files, command.then] for command in commands],
        "builtin": sorted({_builtin_version(argv[0]) for command in commands for argv in command.then}),
        "maps": maps,
        "version": [mapping.VERSION, encoder.typical.bpp] if coding.is_searched or coding.qp_map else None,
        "filter": metadata.version("scipy") if coding.qp_map and encoder.method(coding) == "prefilter" else None,
        "tools": [tools.encode.identity(), tools.decode.identity()],
        "geometry": [size.width, size.height, size.scaled_width, size.scaled_height, size.clip.width, size.clip.height],
    }
    return Job(encoder, coding, tools, sources, digests, bitstream, size, job_key(parts), maps=maps)


def jobs(
    experiment: Experiment,
    data: DataRoot,
    sources: list[Source],
    tools: Toolbox,
    measure: Callable[[Source], Measured] = measure,
) -> Iterator[Job]:
    """Every job of an experiment, long ones first, so that no worker is left alone with one at the end: stacks, then
    picture by picture, so that the configurations of one share its preparation; large pictures before small ones, and
    of each the costliest configurations first.

    Pictures are measured as they come up, so that the first jobs can start at once.
    """
    configurations = experiment.configurations()
    encoders = {encoder.name: encoder for encoder in experiment.encoders()}
    digest = lru_cache(maxsize=4096)(lambda source, wanted: mapping.digest(data, source, wanted))

    def make(coding: CodingConfiguration, *chosen: Source) -> Job:
        one = encoders[coding.encoder]
        found = Tools(tools[one.name, one.tools_to_encode(coding)], tools[one.name, one.decode_tools])
        return _make_job(data, one, coding, found, chosen, measure, digest)

    groups: defaultdict[PurePosixPath, list[Source]] = defaultdict(list)
    for source in sources:
        groups[source.group].append(source)

    def cost(coding: CodingConfiguration, pictures: int = 1) -> float:
        return _cost(encoders[coding.encoder], coding, coding.subsampling_factor**2 * 1e6 * pictures)

    stacks = [(coding, group) for group in groups.values() for coding in configurations if coding.stacked]
    for coding, group in sorted(stacks, key=lambda one: -cost(one[0], len(one[1]))):
        yield make(coding, *group)
    single = sorted((coding for coding in configurations if not coding.stacked), key=lambda one: -cost(one))
    for source in sorted(sources, key=lambda one: -_octave(one)) if single else ():
        for coding in single:
            yield make(coding, source)


def _octave(source: Source) -> int:
    """Of the size of a picture's file, which tells about how large the picture is, and opens none."""
    try:
        return source.path.stat().st_size.bit_length()
    except (OSError, UnicodeError):
        return 0


def seconds(job: Job) -> float:
    """How long a job will take on one core, by built-in figures: enough to know which are the long ones."""
    clip = job.geometry.clip if job.geometry else None
    return _cost(job.encoder, job.coding, clip.width * clip.height * clip.frames if clip else 0)


def _cost(encoder: Encoder, coding: CodingConfiguration, pixels: float) -> float:
    return encoder.typical.seconds_per_mpx * pixels / 1e6 * (_SEARCH_ENCODES if coding.is_searched else 1)


@dataclass
class Figures:
    """What one encoder's jobs cost: bits per coded pixel by quality, seconds per coded megapixel."""

    typical: Typical
    bpp: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    seconds_per_mpx: list[float] = field(default_factory=list)

    def add(self, record: Record) -> None:
        pixels = record["coded_width_px"] * record["coded_height_px"] * record["frames"]
        quality = record["quality"] or 0 if record["target_bpp"] is None else record.get("found_quality")
        if isinstance(quality, int):  # a map with a target has none of its own
            self.bpp[quality].append(record["size_bytes"] * 8 / pixels)
        self.seconds_per_mpx.append((record["encode_s"] + record["decode_s"]) / pixels * 1e6)

    def bits(self, quality: int | None, pixels: int) -> float:
        """Estimated bits: log-linear between the nearest known qualities."""
        known = {q: sum(values) / len(values) for q, values in self.bpp.items()} or dict(self.typical.bpp)
        return pixels * _interpolate(sorted(known.items()), quality or 0)

    def seconds(self, pixels: int) -> float:
        known = self.seconds_per_mpx
        return pixels / 1e6 * (sum(known) / len(known) if known else self.typical.seconds_per_mpx)


def _interpolate(anchors: list[tuple[int, float]], quality: int) -> float:
    if len(anchors) == 1:
        return anchors[0][1]
    index = next((i for i in range(1, len(anchors)) if quality <= anchors[i][0]), len(anchors) - 1)
    (q0, b0), (q1, b1) = anchors[index - 1], anchors[index]
    slope = (math.log(b1) - math.log(b0)) / (q1 - q0)
    return math.exp(math.log(b0) + slope * (quality - q0))


@dataclass
class Estimate:
    """One encoder's row of a dry run."""

    jobs: int = 0
    done: int = 0
    bits: float = 0.0
    seconds: float = 0.0
    is_measured: bool = False


def estimate(all_jobs: Iterable[Job], store: Store) -> dict[str, Estimate]:
    """Per encoder: how many jobs there are, how many are done, and what the rest will cost in bits and core-seconds.

    Figures come from the records of this data root where there are any, else from the encoder's built-in ones.
    """
    rows: defaultdict[str, Estimate] = defaultdict(Estimate)
    figures: dict[str, Figures] = {}
    waiting: list[Job] = []
    for job in all_jobs:
        known = figures.setdefault(job.encoder.name, Figures(job.encoder.typical))
        rows[job.encoder.name].jobs += 1
        record = store.finished(job.bitstream, job.key, adopt=False) if job.key else None
        if record is not None:
            rows[job.encoder.name].done += 1
            known.add(record)
        else:
            waiting.append(job)
    for job in waiting:
        if job.geometry is not None:
            clip = job.geometry.clip
            pixels = clip.width * clip.height * clip.frames
            row, known = rows[job.encoder.name], figures[job.encoder.name]
            if job.coding.target_bpp is not None:
                row.bits += job.coding.target_bpp * job.geometry.width * job.geometry.height * clip.frames
            else:
                row.bits += known.bits(job.coding.quality, pixels)
            row.seconds += known.seconds(pixels) * (_SEARCH_ENCODES if job.coding.is_searched else 1)
            row.is_measured = bool(known.bpp)
    return dict(rows)
