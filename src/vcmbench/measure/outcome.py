"""How a run is to go, what became of it, and what of that is kept for analysing it again without measuring.

`measured.json` is written when a run has ended and removed when the next one begins: a report is never made of records
of which some are from before a change and some from after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from vcmbench.compress.run import TIMEOUT_S, cores
from vcmbench.data import resampling, sums
from vcmbench.data.store import Store
from vcmbench.errors import JobError, RequestError
from vcmbench.experiment import Experiment
from vcmbench.io.sealed import read_sealed, sealed_json
from vcmbench.io.validation import Loose, is_valid
from vcmbench.measure.blocks.state import SampledBlocks

FILE = "measured.json"
SCHEMA_VERSION = 2
_MAX_BYTES = 1 << 26

_Name = Annotated[str, Field(pattern="^[^/\\x00]*$")]
"""A name of blocks, which becomes a file's."""


_OF_INTERVALS = {"intervals", "bootstrap", "groups"}
_LATER: dict[str, dict[str, Any]] = {
    "dataset": {
        "include": None, "exclude": [], "clips": None, "start": 0, "frames": None, "step": 1, "fps": None, "yuv": None,
        "images": "leftImg8bit", "labels": None, "scheme": None,
    },
    "task": {"input": None, "output": None, "score": 0.5},
    "coding": {
        "resampler": resampling.DEFAULT, "structure": None, "intra_period": None, "gop": None, "layer_offsets": True,
        "off": [],
    },
}  # fmt: skip
"""By table, keys that earlier versions did not have, and what they say by default."""


class _Measured(Loose):
    schema_version: Literal[2]
    asked: Any
    levels: list[Literal["image", "block"]]
    blocks: list[_Name]
    kept: list[_Name]
    failed: list[Annotated[list[str], Field(min_length=2, max_length=2)]]
    missing: list[str]
    unavailable: dict[str, str]
    commands: list[str]


@dataclass(frozen=True)
class MeasureSettings:
    """How to run, as opposed to what: nothing here changes a result."""

    jobs: int = field(default_factory=cores)
    force: bool = False
    timeout_s: float = TIMEOUT_S
    quiet: bool = False
    skip_missing: bool = False
    """Measure what is compressed, where some of it is not."""


@dataclass
class MeasureOutcome:
    """What became of a run."""

    levels: tuple[str, ...] = ()
    done: int = 0
    resumed: int = 0
    failed: list[tuple[str, JobError]] = field(default_factory=list)
    interrupted: bool = False
    sampled: list[SampledBlocks] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """What is missing of what was asked for, and why."""
    unavailable: dict[str, str] = field(default_factory=dict)
    """Metrics that cannot be computed here at all, and why."""
    kept: list[SampledBlocks] = field(default_factory=list)
    """Blocks that this run was not asked for, whose tables are those of an earlier one."""
    names: list[str] = field(default_factory=list)
    """The metrics of pictures that tables have."""
    commands: list[str] = field(default_factory=list)
    """What was typed, without the places of this machine."""


def forget(store: Store) -> None:
    """To be called before anything is changed."""
    store.write_table(FILE, None)
    sums.forget(store, sums.MEASURED)


def keep(store: Store, experiment: Experiment, outcome: MeasureOutcome) -> None:
    """Write what an ended run knows beside its records."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "asked": asked(experiment),
        "levels": outcome.levels,
        "blocks": [sampled.name for sampled in outcome.sampled],
        "failed": [[title, str(error)] for title, error in outcome.failed],
        "kept": [sampled.name for sampled in outcome.kept],
        "missing": outcome.reasons,
        "unavailable": outcome.unavailable,
        "commands": outcome.commands,
    }
    store.write_table(FILE, sealed_json(content))


def recall(store: Store) -> dict[str, Any] | None:
    """What `keep` wrote; None where the last run did not end, there was none, or the file was changed since."""
    try:
        content = read_sealed(store.folder / FILE, _MAX_BYTES)
    except (OSError, ValueError):
        return None
    if not is_valid(_Measured, content):
        return None
    return {**content, "asked": _measured_by(content["asked"])}


def asked(experiment: Experiment) -> dict[str, Any]:
    """An experiment as JSON, but for what the command line may say otherwise."""
    values: dict[str, Any] = json.loads(experiment.model_dump_json())
    del values["metrics"]["levels"], values["metrics"]["blocks"]["file"]
    del values["report"]  # decides nothing that is measured
    found: dict[str, Any] = _measured_by(values)
    return found


def _measured_by(asked: Any) -> Any:
    """Without what is asked of intervals, in this version's words or in earlier ones, since nothing is measured by it,
    and without later keys that say what was so before there were they."""
    if not isinstance(asked, dict):
        return asked
    return {name: [_known_then(name, one) for one in part] if isinstance(part, list) else _known_then(name, part)
            for name, part in asked.items()}  # fmt: skip


def _known_then(name: str, part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    later = _LATER.get(name, {})
    return {key: value for key, value in part.items()
            if key not in _OF_INTERVALS and not (key in later and value == later[key])}  # fmt: skip


def as_job_error(error: RequestError | JobError | OSError) -> JobError:
    """What one step of a run failed over, while the others go on."""
    if isinstance(error, OSError):
        return JobError(f"{error.filename or 'results'}: {error.strerror}")
    return error if isinstance(error, JobError) else JobError(str(error))
