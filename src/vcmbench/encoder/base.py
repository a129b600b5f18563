"""The contract of an encoder: what it can do and the commands that do it. It runs nothing.

A new encoder is one file `encoders/<name>.py` with one subclass of `Encoder` (and `docker/<name>/Dockerfile` where it
comes in a container). The file's name is the encoder's name, its image's tag and its choice on the command line.

Every command runs in a scratch folder `out/` beside a read-only `in/`, with the fixed relative names below, so an
argv holds no path of the user's: it is the same on every machine and in every container, and no file name, however
strange, ever reaches a tool.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmbench.data import colour
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers, integer_quantisers, moves_over_time, sequence_of
from vcmbench.encoder.structure import Kind, Structure
from vcmbench.errors import RequestError

SOURCE = {"yuv": "../in/source.yuv", "rgb": "../in/source.ppm"}
DECODED = {"yuv": "decoded.yuv", "rgb": "decoded.ppm"}
QPS = "qps.raw"
BLOCK_BITS = "ctu_bits.txt"
FRAME_LOG = "frames.log"
"""What an encoder writes of every picture of a sequence beside its bitstream, where it does not print it."""


Switches = Mapping[str, Mapping[str, str | int]]
"""By what may be switched off, a tool's own parameters that do so."""


@dataclass(frozen=True)
class QualityScale:
    """The encoder's own quality parameter: its name, integer range, and the end at which pictures are better."""

    name: str
    minimum: int
    maximum: int
    better: Literal["low", "high"]


@dataclass(frozen=True)
class Tool:
    """A program that a command calls: `program` is its argv[0], `aliases` are other names of the same program,
    `needs` is a component that a multi-purpose program must have ("encoder:libx265" for ffmpeg)."""

    program: str
    aliases: tuple[str, ...] = ()
    needs: str = ""


@dataclass(frozen=True)
class Clip:
    """What a command codes: `frames` pictures of `width` x `height` pixels (after downscaling and padding)."""

    width: int
    height: int
    frames: int
    chroma: colour.ChromaFormat


@dataclass(frozen=True)
class Command:
    """An argv (its first word is a tool's `program`) and small text files, by name, that it expects in `in/`.

    `then` are command lines of built-in tools that finish what the tool made.
    """

    argv: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    then: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class CodedFrame:
    """A picture of a coded sequence by its encoder's own account: its place in display order from 0, its type, and the
    QP that it was coded with, None where that is not reported."""

    index: int
    type: Literal["I", "P", "B"]
    qp: float | None


def by_picture_order(rows: Iterable[tuple[str, str, str | None]]) -> list[CodedFrame] | None:
    """The pictures of a log that gives (picture order count, type, QP) of each in coding order, as its text has them.

    Counts begin again at 0 with every closed group, when all pictures before it have been coded. None where there are
    no rows.
    """
    frames: list[CodedFrame] = []
    first = 0
    for order, kind, qp in rows:
        first = len(frames) if int(order) == 0 else first
        letter: Literal["I", "P", "B"] = "I" if kind in "Ii" else "P" if kind in "Pp" else "B"
        frames.append(CodedFrame(first + int(order), letter, None if qp is None else float(qp)))
    return frames or None


Anchors = tuple[tuple[int, float], ...]
"""A figure at some qualities, as (quality, value), ascending in quality."""


class Encoder(ABC):
    """One real coding tool. Subclasses set the class variables and build argv."""

    name: str  # set from the file's name when it is discovered
    label: ClassVar[str]
    """Its name in result folders."""
    extension: ClassVar[str]
    quality: ClassVar[QualityScale | None]
    chroma: ClassVar[tuple[str, ...]]
    """Chroma formats that it codes; the first is the default."""
    pixels: ClassVar[Literal["yuv", "rgb"]] = "yuv"
    """What it is given: planar Y'CbCr, or a PPM that it converts itself."""
    presets: ClassVar[tuple[str, ...]] = ()
    lossless: ClassVar[bool] = False
    """Whether it keeps every bit of a picture that it need not convert."""
    stackable: ClassVar[bool] = True
    min_side_px: ClassVar[int] = 1
    max_side_px: ClassVar[int] = 8192
    max_area_px: ClassVar[int] = 1 << 28
    side_multiple_px: ClassVar[int] = 1
    """Sides are padded (by repeating the edge) to a multiple of this and of the chroma step, and cropped again."""
    encode_tools: ClassVar[tuple[Tool, ...]]
    """Any one of these can encode; the first that the runner finds is taken."""
    decode_tools: ClassVar[tuple[Tool, ...]]
    compat: ClassVar[tuple[str, ...]] = ()
    """Published parameter sets that it can reproduce."""
    published_stacked: ClassVar[bool] = False
    """Whether the published experiment coded a city's images as one video with it."""
    search_rates: ClassVar[Anchors] = ()
    """Where a search for a rate begins: about how many bits a coded pixel takes. Left out, from 4 at the better end of
    the scale to 0.02 at the other. It decides what is coded, so keys hash it: no place for better estimates."""
    rough_s_per_mpx: ClassVar[tuple[tuple[str, float], ...]] = (("", 0.3),)
    """Seconds of one core, roughly, in which a coded megapixel is encoded and decoded in the middle of the scale: by
    preset or published set, "" for all others. For the order of jobs, and for plans before anything ran."""
    fixed_parameters: ClassVar[frozenset[str] | None] = None
    """The tool's own parameters that are set here, and that a coding's `parameters` must not touch; None: it takes no
    parameters beyond ours."""
    fixed_with_map: ClassVar[frozenset[str]] = frozenset()
    """Those that must be left alone where there is a QP map, too."""
    fixed_with_structure: ClassVar[frozenset[str]] = frozenset()
    """Those that must be left alone where a sequence is coded with a structure, too."""
    map_method: ClassVar[Literal["native", "coefficients", "prefilter"]] = "prefilter"
    """How it spends bits by a QP map: it takes one itself, its coefficients are quantised anew, or else the picture is
    low-passed before it, which every encoder with a quality scale allows."""
    map_units_px: ClassVar[tuple[int, ...]] = ()
    """Sides of the blocks whose quantiser it lets us choose, ascending."""
    map_multiple: ClassVar[int] = 1
    """Blocks that differ do so by multiples of this."""
    map_tools: ClassVar[tuple[Tool, ...]] = ()
    """What encodes with a map, where that is not any of `encode_tools`."""
    map_compat: ClassVar[bool] = False
    """Whether its published parameter sets leave room for a map."""
    logs_mean_qp: ClassVar[bool] = False
    """Whether the QP in its log is the mean over the blocks of a map, and not only the one that it started from."""
    structures: ClassVar[tuple[Kind, ...]] = ("intra",)
    """How it can code sequences, of `structure.KINDS`; for those that are `stackable`. `encode` obeys
    `coding.structure`: None is a plain stack, and must give the argv that it gave before there were structures."""
    map_structures: ClassVar[tuple[Kind, ...]] = ()
    """Those of them in which `encode_mapped` takes a map a picture (`quantisers.pictures`); in others a map is a
    low-pass."""
    switches: ClassVar[Switches] = {}
    """What a coding may have `off`, of `configuration.SWITCHES`: the tool's own parameters that switch it off."""
    log2_step_of_one: ClassVar[float] = 4 / 6
    """What `log2_step` is where the luma of 0..255 is quantised in steps of 1, by an orthonormal transform."""
    zones: ClassVar[bool] = False
    """Whether it can code the pictures of a stack with a QP each."""

    @abstractmethod
    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        """The command that makes `self.bitstream` out of `SOURCE[self.pixels]` with `program`."""

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        """The same with quantisers that differ: over the picture where `map_method` is not prefilter, over every one
        of a sequence (`quantisers.pictures`) in `map_structures`, or from picture to picture (`quantisers.frames`)
        where `zones` is set. `quantisers` are what `self.quantisers` or `self.sequence_quantisers` made."""
        raise RequestError(f"{self.name}: says that it takes a QP map, but has no encode_mapped")

    @abstractmethod
    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        """The command that makes `DECODED[self.pixels]` out of `self.bitstream` with `program`."""

    def log2_step(self, quality: int) -> float:
        """The binary logarithm of the quantiser step of a quality, but for a constant: it doubles every 6 QP."""
        return quality / 6

    def quality_at(self, quality: int, steps: float) -> float:
        """The quality, with a fraction, that quantises `steps` coarser than `quality`; 6 double the quantiser step.

        Beyond the ends of the scale it goes on in a straight line, so that an error can say how far.
        """
        qualities = np.arange(self.scale.minimum, self.scale.maximum + 1)
        logs = np.array([self.log2_step(int(one)) for one in qualities])
        if logs[0] > logs[-1]:
            qualities, logs = qualities[::-1], logs[::-1]
        wanted = self.log2_step(quality) + steps / 6
        pace = (qualities[-1] - qualities[0]) / (logs[-1] - logs[0])
        beyond = max(wanted - logs[-1], 0.0) + min(wanted - logs[0], 0.0)
        return float(np.interp(wanted, logs, qualities) + pace * beyond)

    def shift_range(self, quality: int) -> tuple[float, float]:
        """From the finest to the coarsest quality of the scale, in steps from `quality`."""
        ends = [self.log2_step(end) for end in (self.scale.minimum, self.scale.maximum)]
        low, high = ((end - self.log2_step(quality)) * 6 for end in sorted(ends))
        return low, high

    @property
    def scale(self) -> QualityScale:
        """The quality scale, of an encoder that has one. Raises RequestError where there is none."""
        if self.quality is None:
            raise RequestError(f"{self.name} has no quality scale")
        return self.quality

    @property
    def rates(self) -> Anchors:
        """`search_rates`, or what stands for them; empty where there is no scale."""
        if self.search_rates or self.quality is None:
            return self.search_rates
        first, last = (4.0, 0.02) if self.quality.better == "low" else (0.02, 4.0)
        return (self.quality.minimum, first), (self.quality.maximum, last)

    def usual_bpp(self, quality: int) -> float:
        """About how many bits a coded pixel takes at a quality, by `rates`."""
        qualities, rates = zip(*self.rates, strict=True)
        return float(np.exp(np.interp(quality, qualities, np.log(rates))))

    def quantisers(self, quality: int, steps: NDArray[np.float64], shift: float, unit_px: int) -> Quantisers:
        """What to tell the tool so that its blocks are `steps` + `shift` coarser than at `quality`.

        `steps` (rows, columns) float64, of which 6 double the quantiser step, a block of `unit_px` each.
        """
        limits = self.scale.minimum, self.scale.maximum
        return integer_quantisers(quality, steps, shift, unit_px, limits, self.map_multiple)

    def sequence_quantisers(
        self, quality: int, pictures: Sequence[NDArray[np.int8]], shift: float, unit_px: int
    ) -> Quantisers:
        """The same for a sequence's `pictures`, (rows, columns) int8 of whole steps each, with one base for all."""
        moves = shift + moves_over_time(len(pictures), pictures[0].size)
        return sequence_of(self.quantisers(quality, one.astype(np.float64), float(move), unit_px)
                           for one, move in zip(pictures, moves, strict=True))  # fmt: skip

    def block_qps(self, program: str, clip: Clip) -> Command | None:
        """The command with which the decoder tells the QP of every block, in `QPS`; None where it cannot."""
        return None

    def read_block_qps(self, data: bytes, clip: Clip) -> NDArray[np.float64]:
        """What that command wrote, as (frames, rows, columns) of blocks of `map_units_px[0]`."""
        raise RequestError(f"{self.name}: makes its decoder tell QPs, but has no read_block_qps")

    def with_block_bits(self, command: Command) -> Command | None:
        """The same encode of a picture, to the same bytes, that also writes `BLOCK_BITS`; None where a tool cannot."""
        return None

    def read_block_bits(self, text: str) -> NDArray[np.int64]:
        """What that file says each block of `map_units_px[0]` cost, (rows, columns). Raises ValueError."""
        raise ValueError(f"{self.name}: writes bits of blocks, but has no read_block_bits")

    def coded_qp(self, log: str) -> float | None:
        """The mean QP that the tool says it coded with, read from what it printed; None where it does not say."""
        return None

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        """The pictures of a sequence as their bits follow each other in the stream, read from what the tool printed and
        from its `FRAME_LOG` (empty where it writes none); None where it does not say. Types: B where a picture may be
        predicted from two; I and P alone in AV1, whose hidden pictures count where they are shown."""
        return None

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        """What `structure` adds to the QP `quality` that is asked for: by intra pictures ("I") and by what else the
        tool calls its picture types ("P", "B") or temporal layers ("0", "1", ..); such as {"I": -3, "P": 0, "B": 2}.
        All 0 where `structure.layer_offsets` is False. The sums are held to the ends of the scale."""
        return {"I": 0.0}

    def complaint(self, log: str) -> str | None:
        """What the tool said of a parameter that it did not take, though it went on without; None where all is well."""
        return None

    def reported_bytes(self, log: str) -> int | None:
        """The size of the bitstream by the tool's own account: a shorter file was cut off. None: it does not say."""
        return None

    def check_structure(self, structure: Structure) -> None:  # noqa: B027  # most can code by any
        """Raises RequestError where the tool cannot code by this structure, of a kind that is in `structures`."""

    @property
    def bitstream(self) -> str:
        return "coded" + self.extension

    def loses_nothing(self, color_subsampling: str, subsampling_factor: float) -> bool:
        """Whether a configuration is a reference: no curve is drawn through it, and nothing is correlated with it."""
        return self.lossless and color_subsampling == "444" and subsampling_factor == 1

    def padded_side(self, side_px: int, chroma_step: int) -> int:
        multiple = max(self.side_multiple_px, chroma_step if self.pixels == "yuv" else 1)
        return -(-side_px // multiple) * multiple

    def is_published(self, coding: CodingConfiguration) -> bool:
        """Whether `coding` is what a published experiment did, so that its folder has the published name."""
        return coding.compat is not None and coding.stacked == self.published_stacked

    def folder_name(self, coding: CodingConfiguration) -> str:
        return coding.folder_name(self.label, self.is_published(coding))

    def switched_off(self, coding: CodingConfiguration) -> dict[str, str | int]:
        """The tool's parameters that switch off what a coding has off."""
        return {name: value for switch in coding.off for name, value in self.switches[switch].items()}

    def is_in_range(self, quality: float | None) -> bool:
        return self.quality is None or (quality is not None and self.quality.minimum <= quality <= self.quality.maximum)

    def method(self, coding: CodingConfiguration) -> str:
        """How a configuration with a map spends its bits: native, coefficients, prefilter or frame."""
        wanted = coding.qp_map
        if wanted is None or wanted.mode == "frame":
            return "frame"
        if coding.structure is not None and coding.structure.kind not in self.map_structures:
            return "prefilter"
        return wanted.method or self.map_method

    def map_unit_px(self, coding: CodingConfiguration, clip: Clip) -> int:
        """The side of the blocks that a map comes down to: the coarsest that the tool offers within the user's, and
        that fits into the picture."""
        side = coding.qp_map.block_size if coding.qp_map else 1
        if self.method(coding) == "prefilter" or not self.map_units_px:
            return side
        fitting = min(side, clip.width, clip.height)
        return max((unit for unit in self.map_units_px if unit <= fitting), default=self.map_units_px[0])

    def tools_to_encode(self, coding: CodingConfiguration) -> tuple[Tool, ...]:
        is_native = coding.qp_map is not None and self.method(coding) == "native"
        return self.map_tools if is_native and self.map_tools else self.encode_tools

    def check_size(self, width: int, height: int) -> None:
        """Raises RequestError where a picture of this coded size is outside the tool's limits."""
        if min(width, height) < self.min_side_px or max(width, height) > self.max_side_px:
            raise RequestError(
                f"coded size {width}x{height}: {self.name} takes sides of {self.min_side_px}..{self.max_side_px} px"
            )
        if width * height > self.max_area_px:
            raise RequestError(f"coded size {width}x{height}: {self.name} takes at most {self.max_area_px} px")
