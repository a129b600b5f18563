"""The jobs of an experiment over a data root, which of them are done, and what the rest will cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import metadata
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from vcmbench import mapping
from vcmbench.coding import CodingConfiguration, ImportanceSource
from vcmbench.dataset import DataRoot, Source, read_picture
from vcmbench.encoder import Clip, Command, Encoder, Tool
from vcmbench.encoder import get as get_encoder
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.forecast.figures import Figures
from vcmbench.forecast.grid import cost_of
from vcmbench.job import Geometry, Job, Tools, geometry
from vcmbench.runner import builtin
from vcmbench.runner.base import Runner
from vcmbench.runner.found import FoundTool
from vcmbench.store import Store, job_key


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
    """Every job of an experiment: picture by picture, so that the configurations of one share its preparation.

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
    for group in groups.values():
        for coding in configurations:
            if coding.stacked:
                yield make(coding, *group)
        for source in group:
            for coding in configurations:
                if not coding.stacked:
                    yield make(coding, source)


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

    Figures come from the records of this data root where there are any, else from the encoder's built-in ones: those
    of `vcmbench plan`, which also simulates the schedule.
    """
    rows: defaultdict[str, Estimate] = defaultdict(Estimate)
    figures = Figures()
    waiting: list[Job] = []
    for job in all_jobs:
        rows[job.encoder.name].jobs += 1
        record = store.finished(job.bitstream, job.key, adopt=False) if job.key else None
        if record is not None:
            rows[job.encoder.name].done += 1
            figures.add(record)
        else:
            waiting.append(job)
    for job in waiting:
        if job.geometry is not None:
            row, cost = rows[job.encoder.name], cost_of(figures, job.encoder, job.coding, job.geometry)
            row.bits += cost.tools.bits
            row.seconds += cost.seconds
    for name, row in rows.items():
        row.is_measured = figures.source(name) == "records"
    return dict(rows)
