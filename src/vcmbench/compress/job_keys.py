"""How jobs of one coding configuration are made: what all of them share is worked out once, for there may be many."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from vcmbench.compress import importance_steps, pixels
from vcmbench.compress.job import Geometry, Job, Tools, geometry
from vcmbench.data import resampling
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.data.walk import SUFFIXES
from vcmbench.encoder.base import Clip, Command, Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.plugins import get as get_encoder
from vcmbench.errors import JobError, RequestError
from vcmbench.execution.runner import builtin
from vcmbench.experiment import Experiment
from vcmbench.importance.source import ImportanceSource

_KEPT_SIZES = 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """What a plan knows of a picture without decoding it; `problem` where it cannot be read at all."""

    sha256: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


@dataclass(frozen=True)
class _OfSize:
    """What jobs on pictures of one size share: sizes, and the texts around what differs in what their keys hash; or why
    there can be none."""

    geometry: Geometry | None = None
    before: str = ""
    after: str = ""
    problem: str = ""


def bitstream_path(
    data: DataRoot, encoder: Encoder, coding: CodingConfiguration, sources: tuple[Source, ...]
) -> PurePosixPath:
    """Where the bitstream of these pictures goes, below the data root."""
    return _place(data.configuration_folder(encoder.folder_name(coding)).name, encoder, coding, sources)


def _place(folder: str, encoder: Encoder, coding: CodingConfiguration, sources: Sequence[Source]) -> PurePosixPath:
    name = _stack_name(sources) if coding.stacked else sources[0].name
    return PurePosixPath(f"{folder}/{name}{encoder.extension}")


def _stack_name(sources: Sequence[Source]) -> PurePosixPath:
    """That of the pictures' folder, as published; where one of them has it too, its still would be the same file."""
    group, folder = sources[0].group, sources[0].path.parent
    name = group.name or "images"
    taken = {source.name.name for source in sources}
    while name in taken or any((folder / f"{name}{suffix}").exists() for suffix in SUFFIXES):
        name += "_stack"
    return group / name


def bitstreams(
    experiment: Experiment, data: DataRoot, sources: list[Source]
) -> Iterator[tuple[PurePosixPath, CodingConfiguration, str, tuple[Source, ...]]]:
    """Every bitstream that the experiment wants: picture by picture, so that a picture's configurations follow."""
    groups: defaultdict[PurePosixPath, list[Source]] = defaultdict(list)
    for source in sources:
        groups[source.group].append(source)
    for group in groups.values():
        for stacked in (True, False):
            for chosen in [tuple(group)] if stacked else [(source,) for source in group]:
                for coding in experiment.configurations():
                    if coding.stacked is stacked:
                        tool = get_encoder(coding.encoder)
                        place = bitstream_path(data, tool, coding, chosen)
                        yield place, coding, data.configuration_folder(tool.folder_name(coding)).name, chosen


class JobMaker:
    """One coding configuration on its way to jobs. `digest` tells what a picture's importance is made of."""

    def __init__(
        self, data: DataRoot, encoder: Encoder, coding: CodingConfiguration, tools: Tools,
        digest: Callable[[Source, ImportanceSource], str],
    ) -> None:  # fmt: skip
        self.encoder, self.coding, self._tools, self._digest = encoder, coding, tools, digest
        self._data = data
        self._folder = data.configuration_folder(encoder.folder_name(coding)).name
        self._sizes: dict[tuple[int, int, int], _OfSize] = {}

    def job(self, sources: tuple[Source, ...], measured: Sequence[Measured]) -> Job:
        """The job of these pictures, in stacking order; where it cannot be done it says why."""
        bitstream = _place(self._folder, self.encoder, self.coding, sources)
        digests = tuple(one.sha256 for one in measured)
        maps: tuple[str, ...] = ()
        shared, problem = _OfSize(), _problem(sources, measured)
        if not problem:
            shared = self._of_size(measured[0].width, measured[0].height, len(sources))
            problem = f"{sources[0].path}: {shared.problem}" if shared.problem else ""
        if not problem and self.coding.importance is not None:
            try:
                wanted, chosen = self.coding.importance, sources
                if self.coding.structure is not None:
                    chosen = tuple(wanted.over_time(self._data, sources))
                maps = tuple(self._digest(source, wanted) for source in chosen)
            except JobError as error:
                problem = str(error)
        if problem:
            return Job(self.encoder, self.coding, self._tools, sources, digests, bitstream, None, "", problem)
        key, former = _keys(shared, digests, maps)
        return Job(self.encoder, self.coding, self._tools, sources, digests, bitstream, shared.geometry, key, maps=maps,
                   former_key=former)  # fmt: skip

    def _of_size(self, width: int, height: int, pictures: int) -> _OfSize:
        which = width, height, pictures
        if which not in self._sizes:
            if len(self._sizes) >= _KEPT_SIZES:
                self._sizes.clear()
            self._sizes[which] = self._make(width, height, pictures)
        return self._sizes[which]

    def _make(self, width: int, height: int, pictures: int) -> _OfSize:
        try:
            size = geometry(self.encoder, self.coding, width, height, pictures)
            parts = _parts(self.encoder, self.coding, self._tools, size)
        except RequestError as error:
            return _OfSize(problem=str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a fault in an encoder's file must not end the other jobs
            return _OfSize(problem=f"{self.encoder.name} cannot make its command: {error!r}")
        names = sorted(parts)
        first = {name: parts[name] for name in names if name < "maps"}
        last = {name: parts[name] for name in names if name > "sources"}
        return _OfSize(size, _dump(first)[:-1], _dump(last)[1:])


def _problem(sources: Sequence[Source], measured: Sequence[Measured]) -> str:
    """What is wrong with the pictures: one cannot be read, or they differ in size."""
    first = measured[0]
    for source, one in zip(sources, measured, strict=True):
        if one.problem:
            return one.problem
        if (one.width, one.height) != (first.width, first.height):
            return (
                f"{source.path}: is {one.width}x{one.height} px, to be stacked with {sources[0].path} of "
                f"{first.width}x{first.height} px"
            )
    return ""


def _parts(encoder: Encoder, coding: CodingConfiguration, tools: Tools, size: Geometry) -> dict[str, Any]:
    """What decides a job's result beside its pictures and their maps; those come between `geometry` and `tools`."""
    commands = _commands(encoder, coding, tools, size.clip)
    resampler = None if coding.resampler == resampling.DEFAULT else resampling.get(coding.resampler).identity()
    more: dict[str, Any] = {} if resampler is None else {"with_resampler": resampler}
    # luma of smaller R'G'B' pictures was once compared by another way than that of Y'CbCr
    is_new = encoder.pixels == "rgb" and (size.scaled_width, size.scaled_height) != (size.width, size.height)
    if is_new or pixels.preparation() != pixels.FIRST:
        more["frames"] = pixels.preparation()
    return more | {
        "coding": _described(coding),
        "commands": [[command.argv, command.files, command.then] for command in commands],
        "builtin": sorted({_builtin_version(argv[0]) for command in commands for argv in command.then}),
        "version": _version(encoder, coding),
        "filter": metadata.version("scipy") if coding.qp_map and encoder.method(coding) == "prefilter" else None,
        "tools": [tools.encode.identity(), tools.decode.identity()],
        "geometry": [size.width, size.height, size.scaled_width, size.scaled_height, size.clip.width, size.clip.height],
    }


def _version(encoder: Encoder, coding: CodingConfiguration) -> list[Any] | None:
    """Of the rule by which a map becomes steps, and where a search for a quality begins; None: there is neither."""
    if coding.qp_map is None and not coding.is_searched:
        return None
    by_rate = coding.importance is not None and coding.importance.origin.by_rate
    rates = encoder.rates if coding.target_bpp is not None or by_rate else None
    # records of before lack the account of their pictures
    is_new = coding.structure is not None and (coding.qp_map is None or coding.qp_map.mode != "block")
    return [importance_steps.VERSION if coding.qp_map else 1, rates, *(["frames"] if is_new else [])]


def _described(coding: CodingConfiguration) -> dict[str, Any]:
    """The configuration, but for where files lie that settings of importance name: maps' digests have their content."""
    described = coding.as_dict()
    if coding.importance is not None:
        settings = described["importance"]["settings"]
        settings |= {name: "" for name in coding.importance.origin.paths if settings[name] is not None}
    return described


def _keys(shared: _OfSize, digests: Sequence[str], maps: Sequence[str]) -> tuple[str, str]:
    """A job's key, the hash of all parts together: they are sorted by name, so only these two have to be put between.
    And the one that it had when decoded frames that are to be kept were a part of it; empty where that is no other."""
    text = f'{shared.before}, "maps": {_dump(maps)}, "sources": {_dump(digests)}, {shared.after}'
    plain = text.replace('"keep_reconstruction": true', '"keep_reconstruction": false', 1)
    key, former = (hashlib.sha256(one.encode()).hexdigest() for one in (plain, text))
    return key, former if former != key else ""


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _commands(encoder: Encoder, coding: CodingConfiguration, tools: Tools, clip: Clip) -> list[Command]:
    """What a QP map adds differs from picture to picture and is not known before it is read; an even map stands for it,
    so that a change of how an encoder is called with maps makes its jobs new.
    """
    program = tools.encode.program
    if coding.quality is None and encoder.quality is not None:
        coding = replace(coding, quality=encoder.quality.minimum)
    commands = [encoder.encode(program, coding, clip), encoder.decode(tools.decode.program, coding, clip)]
    if coding.qp_map is not None and encoder.method(coding) in ("native", "coefficients"):
        unit_px = encoder.map_unit_px(coding, clip)
        even = encoder.quantisers(coding.quality or 0, np.zeros((1, 1)), 0.0, unit_px)
        if coding.structure is not None and coding.qp_map.mode == "block":
            flat = [np.zeros((1, 1), np.int8)] * clip.frames
            even = encoder.sequence_quantisers(coding.quality or 0, flat, 0.0, unit_px)
        commands.append(encoder.encode_mapped(program, coding, clip, even))
    return commands


def _builtin_version(program: str) -> str:
    tool = builtin.find(program)
    return tool.version if tool else ""
