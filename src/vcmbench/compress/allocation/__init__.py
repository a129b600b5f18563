"""Jobs whose bits go where importance says, and jobs that are to reach a rate: which quantisers, and did they count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vcmbench.compress.allocation.blocks import BlockAllocation
from vcmbench.compress.allocation.common import Coded, rate_notes
from vcmbench.compress.allocation.frames import code_frames
from vcmbench.compress.allocation.rate import uniform_at_rate
from vcmbench.compress.allocation.refined import VERSION as REFINED
from vcmbench.compress.allocation.refined import Refinement
from vcmbench.compress.allocation.sequences import SequenceAllocation
from vcmbench.compress.coder import Coder
from vcmbench.data.dataset import DataRoot, Source
from vcmbench.errors import JobError
from vcmbench.importance.source import PixelImportance

__all__ = ["REFINED", "Coded", "code"]


def code(coder: Coder, data: DataRoot) -> Coded:
    """Do the encodes of a job that has a QP map, a target rate, or both; the best lies decoded in the scratch folder.

    Raises JobError where a picture's importance cannot be read, a tool fails, or a map took no effect.
    """
    coding = coder.job.coding
    if coding.qp_map is None:
        coded = uniform_at_rate(coder)
        return replace(coded, notes=rate_notes(coded))
    if coding.qp_map.refine:
        coded = Refinement(coder).code()
        return replace(coded, notes=coded.notes + rate_notes(coded))
    if coding.structure is not None and coding.qp_map.mode == "block":
        return _code_sequence(coder, data)
    chosen = _chosen(coder, data)
    values = [_importance(coder, data, index, source) for index, source in enumerate(chosen)]
    notes = tuple(f"{source.name}: {note}" for source, one in zip(chosen, values, strict=True) for note in one.notes)
    if coding.qp_map.mode == "frame":
        coded = code_frames(coder, [one.values for one in values])
    else:
        coded = BlockAllocation(coder, values[0].values).code()
    return replace(coded, notes=notes + coded.notes + rate_notes(coded))


def _code_sequence(coder: Coder, data: DataRoot) -> Coded:
    notes: dict[str, None] = {}
    chosen = _chosen(coder, data)

    def maps() -> Iterator[NDArray[np.float32]]:
        for index, source in enumerate(chosen):
            one = _importance(coder, data, index, source)
            notes.update((f"{source.name}: {note}", None) for note in one.notes)
            yield one.values

    coded = SequenceAllocation(coder, maps).code()
    coded.fields["map"]["held"] = sum(one != own for one, own in zip(chosen, coder.job.sources, strict=True))
    return replace(coded, notes=(*notes, *coded.notes, *rate_notes(coded)))


def _chosen(coder: Coder, data: DataRoot) -> Sequence[Source]:
    """The pictures whose maps the job's have: their own, but for those of a sequence that hold one."""
    coding, sources = coder.job.coding, coder.job.sources
    if coding.structure is None or coding.importance is None:
        return sources
    return coding.importance.over_time(data, sources)


def _importance(coder: Coder, data: DataRoot, index: int, source: Source) -> PixelImportance:
    """Of the picture of that index in the job, whose map is that of `source`."""
    wanted, geometry = coder.job.coding.importance, coder.geometry
    if wanted is None:
        raise JobError("internal error: a map without a source of importance")
    planned = coder.job.maps[index]
    bpp = _usual_bpp(coder) if wanted.origin.by_rate else None

    def make() -> PixelImportance:
        found = wanted.read(data, source, geometry.width, geometry.height, bpp)
        if wanted.digest(data, source) != planned:
            raise JobError(f"importance of {source.name}: its files changed since this run was planned; run it again")
        return found

    return coder.cache.get(("importance", source, planned, wanted, bpp), make)


def _usual_bpp(coder: Coder) -> float:
    """About how many bits a pixel of the original size the job's pictures will take."""
    coding = coder.job.coding
    return coding.target_bpp or coder.job.encoder.usual_bpp(coding.quality or 0) * coding.subsampling_factor**2
