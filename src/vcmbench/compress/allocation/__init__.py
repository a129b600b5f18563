"""Jobs whose bits go where importance says, and jobs that are to reach a rate: which quantisers, and did they count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress.allocation.blocks import BlockAllocation
from vcmbench.compress.allocation.common import Coded, rate_notes
from vcmbench.compress.allocation.frames import code_frames
from vcmbench.compress.allocation.rate import uniform_at_rate
from vcmbench.compress.allocation.sequences import SequenceAllocation
from vcmbench.compress.coder import Coder
from vcmbench.data.dataset import DataRoot
from vcmbench.errors import JobError
from vcmbench.importance.source import PixelImportance

__all__ = ["Coded", "code"]


def code(coder: Coder, data: DataRoot) -> Coded:
    """Do the encodes of a job that has a QP map, a target rate, or both; the best lies decoded in the scratch folder.

    Raises JobError where a picture's importance cannot be read, a tool fails, or a map took no effect.
    """
    coding = coder.job.coding
    if coding.qp_map is None:
        coded = uniform_at_rate(coder)
        return replace(coded, notes=rate_notes(coded))
    if coding.structure is not None and coding.qp_map.mode == "block":
        return _code_sequence(coder, data)
    values = [_importance(coder, data, index) for index in range(len(coder.job.sources))]
    notes = tuple(
        f"{source.name}: {note}" for source, one in zip(coder.job.sources, values, strict=True) for note in one.notes
    )
    if coding.qp_map.mode == "frame":
        coded = code_frames(coder, [one.values for one in values])
    else:
        coded = BlockAllocation(coder, values[0].values).code()
    return replace(coded, notes=notes + coded.notes + rate_notes(coded))


def _code_sequence(coder: Coder, data: DataRoot) -> Coded:
    notes: dict[str, None] = {}

    def maps() -> Iterator[NDArray[np.float32]]:
        for index, source in enumerate(coder.job.sources):
            one = _importance(coder, data, index)
            notes.update((f"{source.name}: {note}", None) for note in one.notes)
            yield one.values

    coded = SequenceAllocation(coder, maps).code()
    return replace(coded, notes=(*notes, *coded.notes, *rate_notes(coded)))


def _importance(coder: Coder, data: DataRoot, index: int) -> PixelImportance:
    source, wanted, geometry = coder.job.sources[index], coder.job.coding.importance, coder.geometry
    if wanted is None:
        raise JobError("internal error: a map without a source of importance")
    planned = coder.job.maps[index]

    def make() -> PixelImportance:
        found = wanted.read(data, source, geometry.width, geometry.height)
        if wanted.digest(data, source) != planned:
            raise JobError(f"importance of {source.name}: its files changed since this run was planned; run it again")
        return found

    return coder.cache.get(("importance", source, planned, wanted), make)
