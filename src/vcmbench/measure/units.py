"""What there is to measure: the bitstreams of an experiment, each with the pictures that are in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from vcmbench import encoder, plan
from vcmbench.coding import CodingConfiguration
from vcmbench.dataset import DataRoot, Source
from vcmbench.errors import RequestError
from vcmbench.experiment import Experiment
from vcmbench.store import Record, Store

_NAMED = 3


@dataclass(frozen=True)
class Unit:
    """A bitstream, its record, the name of its configuration's folder, and the pictures in it, in stacking order."""

    record: Record
    coding: CodingConfiguration
    folder: str
    sources: tuple[Source, ...]

    @property
    def title(self) -> str:
        return f"{self.folder} {self.sources[0].name.name if len(self.sources) == 1 else self.sources[0].group.name}"


def _places(
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
                        tool = encoder.get(coding.encoder)
                        place = plan.bitstream_path(data, tool, coding, chosen)
                        yield place, coding, data.configuration_folder(tool.folder_name(coding)).name, chosen


def find(experiment: Experiment, data: DataRoot, sources: list[Source], store: Store, *, partial: bool) -> list[Unit]:
    """The units of an experiment that are compressed.

    Raises RequestError, which names the command to run, where some are not and `partial` is False, or where none is.
    """
    found, missing = [], []
    for place, coding, folder, chosen in _places(experiment, data, sources):
        record = store.read(place)
        if record is None or not (data.root / place).is_file():
            missing.append(str(place))
        else:
            found.append(Unit(record, coding, folder, chosen))
    if missing and (not partial or not found):
        some = "".join(f"\n  {name}" for name in missing[:_NAMED]) + ("\n  ..." if len(missing) > _NAMED else "")
        hint = "" if partial or not found else "; or measure what is there, with --skip-missing"
        raise RequestError(
            f"experiment {experiment.name}: {len(missing)} of {len(missing) + len(found)} bitstreams are not there; "
            f"run first: python run_compression.py -d {data.root} -s {experiment.name}{hint}{some}"
        )
    return found
