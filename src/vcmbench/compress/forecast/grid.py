"""Every job of an experiment over some pictures: what it costs, whether it is done, and in which order it is taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from vcmbench.compress.forecast import builtin
from vcmbench.compress.forecast.figures import Cost, Figures, memory_mb
from vcmbench.compress.forecast.pictures import Picture, Pictures
from vcmbench.compress.forecast.results import Results
from vcmbench.compress.forecast.schedule import Task
from vcmbench.compress.job import Geometry, geometry
from vcmbench.data.dataset import DataRoot
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.plugins import get as get_encoder
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment


@dataclass(frozen=True)
class JobCost:
    """What one job takes: its tools, seconds of its own and of what its picture's other jobs share, and its room."""

    encoder: Encoder
    coding: CodingConfiguration
    geometry: Geometry
    tools: Cost
    own_s: float
    shared_s: float
    bitstream_bytes: float
    more_bytes: float
    """QP maps and decoded frames that are kept."""
    record_bytes: float
    scratch_bytes: float
    """Room in the folder for temporary files while it runs."""
    tool_mb: float
    process_mb: float
    """Peak memory of the worker's own process."""

    @property
    def seconds(self) -> float:
        return self.own_s + self.shared_s


class Planned(NamedTuple):
    """One job: its configuration and the first of its pictures (by place in `Pictures`), and how many there are."""

    coding: int
    picture: int
    frames: int
    cost: JobCost
    is_done: bool


def cost_of(figures: Figures, encoder: Encoder, coding: CodingConfiguration, size: Geometry) -> JobCost:
    """A job's cost by what is known."""
    tools, clip, pace = figures.job(encoder, coding, size), size.clip, figures.pace
    mpx = size.width * size.height / 1e6
    is_scaled = coding.subsampling_factor < 1
    prepare_s = mpx * (builtin.PREPARE_SCALED_S_PER_MPX if is_scaled else builtin.PREPARE_S_PER_MPX)
    compare_s = builtin.COMPARE_S_PER_MPX + (builtin.ENLARGE_LUMA_S_PER_MPX if is_scaled else 0.0)
    own_s = builtin.JOB_S + clip.frames * mpx * compare_s
    cells = 0
    if coding.qp_map is not None:
        own_s += builtin.IMPORTANCE_S_PER_MPX * mpx * clip.frames
        cells = clip.frames if coding.qp_map.mode == "frame" else -(-clip.width // coding.qp_map.block_size) * (
            -(-clip.height // coding.qp_map.block_size))  # fmt: skip
        if encoder.method(coding) == "prefilter":
            encodes = figures.encodes(coding.encoder) if coding.is_searched else 1
            own_s += builtin.LOW_PASS_S_PER_MPX * clip.width * clip.height / 1e6 * encodes
    if clip.frames > 1:  # nobody else has use for what a stack reads
        own_s, prepare_s = own_s + prepare_s * clip.frames, 0.0
    bitstream_bytes = tools.bits / 8
    planes = 3.0 if encoder.pixels == "rgb" else _samples(coding.color_subsampling)
    frames_bytes = clip.width * clip.height * clip.frames * planes
    more = builtin.CELL_BYTES * cells + (frames_bytes if coding.keep_reconstruction else 0)
    is_built_in = all(tool.program in builtin.PROGRAMS for tool in encoder.decode_tools[-1:])
    tool_mb = memory_mb(encoder, clip)
    process_mb = builtin.PROCESS_MB + builtin.PROCESS_MB_PER_MPX * mpx + bitstream_bytes / 1e6
    return JobCost(
        encoder, coding, size, tools, tools.seconds + own_s * pace, prepare_s * pace, bitstream_bytes, more,
        builtin.RECORD_BYTES + builtin.FRAME_BYTES * clip.frames,
        2 * frames_bytes + bitstream_bytes + (mpx * 1e6 * clip.frames if clip.frames > 1 else 0),
        0.0 if is_built_in else tool_mb, process_mb + (tool_mb if is_built_in else 0.0),
    )  # fmt: skip


def _samples(chroma: str) -> float:
    """Bytes of a pixel in planes of 8 bits."""
    return {"400": 1.0, "420": 1.5, "422": 2.0}.get(chroma, 3.0)


class Grid:
    """The jobs of an experiment over pictures. What cannot be coded at all is in `impossible`, by reason."""

    def __init__(
        self, experiment: Experiment, pictures: Pictures, figures: Figures, data: DataRoot | None = None,
        results: Results | None = None, *, everything: bool = False,
    ) -> None:  # fmt: skip
        """`results` are what lies in `data`; `everything` plans as if nothing were done."""
        self.codings = experiment.configurations()
        self.encoders = [get_encoder(coding.encoder) for coding in self.codings]
        self.folders = [folder_of(data, tool, coding) for tool, coding in zip(self.encoders, self.codings, strict=True)]
        self.pictures, self.figures = pictures.found, figures
        self.impossible: defaultdict[str, int] = defaultdict(int)
        self._results = None if everything else results
        self._cost = lru_cache(maxsize=None)(self._cost_of)
        groups: defaultdict[PurePosixPath, list[int]] = defaultdict(list)
        for number, picture in enumerate(self.pictures):
            groups[picture.group].append(number)
        self.groups = list(groups.values())
        self.jobs = [*self._stacks(), *self._singles()]

    def _cost_of(self, coding: int, width: int, height: int, frames: int) -> JobCost | str:
        """What such a job costs, or why it cannot be done."""
        tool, wanted = self.encoders[coding], self.codings[coding]
        try:
            return cost_of(self.figures, tool, wanted, geometry(tool, wanted, width, height, frames))
        except (RequestError, JobError) as error:
            return f"{wanted.encoder}: {error}"

    def _stacks(self) -> list[Planned]:
        """Stacked jobs of all groups, the longest first."""
        found = []
        for coding in [number for number, one in enumerate(self.codings) if one.stacked]:
            for group in self.groups:
                sizes = {(self.pictures[number].width, self.pictures[number].height) for number in group}
                cost = self._cost(coding, *sizes.pop(), len(group)) if len(sizes) == 1 else "pictures differ in size"
                if isinstance(cost, str):
                    self.impossible[cost] += 1
                    continue
                found.append(Planned(coding, group[0], len(group), cost, self._is_done_stack(coding, group)))
        return sorted(found, key=lambda one: -one.cost.seconds)

    def _singles(self) -> Iterator[Planned]:
        """The other jobs: large files first, and of each picture the costliest configurations first."""
        single = [number for number, one in enumerate(self.codings) if not one.stacked]
        by_size: dict[tuple[int, int], list[tuple[int, JobCost]]] = {}
        order = sorted(range(len(self.pictures)), key=lambda i: (-self.pictures[i].octave, self.pictures[i].name))
        for number in order if single else ():
            picture = self.pictures[number]
            size = picture.width, picture.height
            if size not in by_size:
                costs = [(coding, self._cost(coding, *size, 1)) for coding in single]
                possible = [(coding, cost) for coding, cost in costs if not isinstance(cost, str)]
                by_size[size] = sorted(possible, key=lambda one: -one[1].seconds)
            if len(by_size[size]) < len(single):
                for coding in single:
                    if isinstance(reason := self._cost(coding, *size, 1), str):
                        self.impossible[reason] += 1
            for coding, cost in by_size[size]:
                yield Planned(coding, number, 1, cost, self._is_done(coding, picture))

    def bitstream(self, coding: int, picture: Picture) -> str:
        """A bitstream's name below its configuration folder: as `plan.bitstream_path` says, but cheaper."""
        if self.codings[coding].stacked:
            return f"{picture.group / (picture.group.name or 'images')}{self.encoders[coding].extension}"
        return f"{picture.name}{self.encoders[coding].extension}"

    def _is_done(self, coding: int, picture: Picture) -> bool:
        return self._results is not None and self._results.is_done(
            self.folders[coding], self.bitstream(coding, picture)
        )

    def _is_done_stack(self, coding: int, group: list[int]) -> bool:
        """A stack is coded anew where a picture joins its folder."""
        first = self.pictures[group[0]]
        if self._results is None or not self._is_done(coding, first):
            return False
        record = self._results.read(self.folders[coding], self.bitstream(coding, first))
        names = [str(self.pictures[number].name) for number in group]
        return record is not None and [one["name"] for one in record["sources"]] == names

    def task(self, job: Planned) -> Task:
        """A job as the schedule sees it."""
        cost = job.cost
        if job.frames > 1:
            return Task(cost.own_s)
        size = cost.geometry
        shared = (job.picture, size.scaled_width, size.scaled_height, cost.encoder.pixels)
        return Task(cost.own_s, cost.shared_s, shared)

    def title(self, job: Planned) -> str:
        """A job in words: its configuration's folder and its picture or city."""
        picture = self.pictures[job.picture]
        what = f"{picture.group.name or 'all'} ({job.frames} pictures)" if job.frames > 1 else picture.name.name
        return f"{self.encoders[job.coding].folder_name(self.codings[job.coding])} {what}"


def folder_of(data: DataRoot | None, tool: Encoder, coding: CodingConfiguration) -> str:
    """The name of a configuration's folder in a data root."""
    name = tool.folder_name(coding)
    return data.configuration_folder(name).name if data is not None else name
