"""What there is to measure: the bitstreams of an experiment, each with the pictures that are in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from shlex import quote

from vcmbench.compress import job_keys
from vcmbench.data.dataset import DataRoot, Picture, Source
from vcmbench.data.record import Record
from vcmbench.data.store import Store
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment

_NAMED, _LOOKED_AT = 3, 20


@dataclass(frozen=True)
class Unit:
    """A bitstream, its record, the name of its configuration's folder, and the pictures in it, in stacking order."""

    record: Record
    coding: CodingConfiguration
    folder: str
    sources: tuple[Source, ...]

    @property
    def title(self) -> str:
        return (
            f"{self.folder} {self.sources[0].name.name if len(self.sources) == 1 else self.sources[0].sequence_title}"
        )

    def pristine_sha256(self, index: int) -> str:
        """SHA-256 (hex) of the file that was compressed."""
        return str(self.record["sources"][index]["sha256"])

    def pristine(self, index: int) -> Picture:
        """The picture that was compressed. Raises JobError where it cannot be read, or is another one by now: what was
        decoded must not be held against what it never was."""
        source = self.sources[index]
        picture = source.read()
        if picture.sha256 != self.pristine_sha256(index):
            raise self.is_another(index)
        return picture

    def is_another(self, index: int) -> JobError:
        """What is wrong where a picture is not the one that was compressed."""
        path = self.sources[index].path
        return JobError(f"{path}: is another picture than the one that was compressed; compress it again")


def find(
    experiment: Experiment, data: DataRoot, sources: list[Source], store: Store, *, partial: bool, config: str = ""
) -> list[Unit]:
    """The units of an experiment that are compressed. `config` is what `-s` named, for the command in a message.

    Raises RequestError, which names the command to run, where some are not and `partial` is False, or where none is;
    and where two bitstreams would have their scores in one place.
    """
    found: list[Unit] = []
    missing: dict[str, tuple[Source, ...]] = {}
    taken: dict[tuple[str, PurePosixPath], PurePosixPath] = {}
    for bitstream, coding, folder, chosen in job_keys.bitstreams(experiment, data, sources):
        for source in chosen:
            if (other := taken.setdefault((folder, source.name), bitstream)) != bitstream:
                raise RequestError(
                    f"experiment {experiment.name}: {other} and {bitstream} are of one configuration by its name, "
                    "stacked and not; their scores would have one place, so make them two experiments"
                )
        record = store.read(bitstream)
        if record is None or not (data.root / bitstream).is_file() or not _is_of(record, chosen):
            missing[str(bitstream)] = chosen
        else:
            found.append(Unit(record, coding, folder, chosen))
    if missing and (not partial or not found):
        some = "".join(f"\n  {name}" for name in list(missing)[:_NAMED]) + ("\n  ..." if len(missing) > _NAMED else "")
        some += _unreadable(missing.values())
        hint = "" if partial or not found else "; or measure what is there, with --skip-missing"
        raise RequestError(
            f"experiment {experiment.name}: {len(missing)} of {len(missing) + len(found)} bitstreams are not there; "
            f"run first: python run_compression.py -d {quote(str(data.root))} -s {config or quote(experiment.name)}"
            f"{hint}{some}"
        )
    return found


def _unreadable(missing: Iterable[tuple[Source, ...]]) -> str:
    """Lines about pictures that no run can compress, of the first ones that nothing is there of."""
    first = list(dict.fromkeys(source for sources in missing for source in sources))[:_LOOKED_AT]
    found = ""
    for source in first:
        try:
            source.read()
        except (JobError, OSError) as error:
            found += f"\n  {source.name} cannot be compressed: {error}"
    return found


def _is_of(record: Record, sources: tuple[Source, ...]) -> bool:
    """Whether a bitstream holds just these pictures: a stack is coded anew when a picture joins its folder."""
    return [one["name"] for one in record["sources"]] == [str(source.name) for source in sources]
