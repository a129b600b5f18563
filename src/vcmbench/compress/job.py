"""A job: one picture, or the stacked pictures of a city, under one coding configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from vcmbench.data import colour
from vcmbench.data.dataset import Source
from vcmbench.data.frames import scaled_side
from vcmbench.encoder.base import DECODED, Clip, Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.execution.runner.tool import FoundTool


@dataclass(frozen=True)
class Geometry:
    """Sizes on the way of a picture: as it came, downscaled, and padded to what the tool takes. All in pixels."""

    width: int
    height: int
    scaled_width: int
    scaled_height: int
    clip: Clip


@dataclass(frozen=True)
class Tools:
    """The programs that a job's commands call."""

    encode: FoundTool
    decode: FoundTool


@dataclass(frozen=True)
class Job:
    """What to code (`sources`, in stacking order), how, with what, and where the bitstream goes (below the root).

    A job that cannot be done as planned has no key; `problem` says why. `former_key` is what a record may have instead.
    """

    encoder: Encoder
    coding: CodingConfiguration
    tools: Tools
    sources: tuple[Source, ...]
    sha256: tuple[str, ...]
    bitstream: PurePosixPath
    geometry: Geometry | None
    key: str
    problem: str = ""
    maps: tuple[str, ...] = ()
    """Hashes of what each picture's importance is made of, where the coding has a QP map."""
    former_key: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Those of records by which the job is done."""
        return (self.key, self.former_key) if self.former_key else (self.key,)

    @property
    def reconstruction(self) -> PurePosixPath | None:
        """Where its decoded frames go; None where they are not wanted."""
        if not self.coding.keep_reconstruction:
            return None
        stem = self.bitstream.name.removesuffix(self.encoder.extension)
        return self.bitstream.with_name(f"{stem}_rec{PurePosixPath(DECODED[self.encoder.pixels]).suffix}")

    @property
    def mpx(self) -> float:
        """Megapixels of the original pictures, all together; 0 where their size is not known."""
        return self.geometry.width * self.geometry.height * len(self.sources) / 1e6 if self.geometry else 0.0

    @property
    def title(self) -> str:
        return f"{self.encoder.folder_name(self.coding)} {self.bitstream.with_suffix('').name}"


def geometry(encoder: Encoder, coding: CodingConfiguration, width: int, height: int, frames: int) -> Geometry:
    """The sizes of a job. Raises RequestError where the tool cannot code a picture of that size."""
    chroma = colour.CHROMA_FORMATS[coding.color_subsampling]
    scaled = scaled_side(width, coding.subsampling_factor), scaled_side(height, coding.subsampling_factor)
    coded_width = encoder.padded_side(scaled[0], chroma.step_x)
    coded_height = encoder.padded_side(scaled[1], chroma.step_y)
    encoder.check_size(*scaled)
    return Geometry(width, height, *scaled, Clip(coded_width, coded_height, frames, chroma))
