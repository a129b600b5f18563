"""The contract of an encoder: what it can do and the commands that do it. It runs nothing.

A new encoder is one file `encoders/<name>.py` with one subclass of `Encoder` (and `docker/<name>/Dockerfile` where it
comes in a container). The file's name is the encoder's name, its image's tag and its choice on the command line.

Every command runs in a scratch folder `out/` beside a read-only `in/`, with the fixed relative names below, so an
argv holds no path of the user's: it is the same on every machine and in every container, and no file name, however
strange, ever reaches a tool.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vcmbench import checks
from vcmbench.coding import CodingConfiguration
from vcmbench.data import colour
from vcmbench.errors import RequestError
from vcmbench.io import resources
from vcmbench.io.documents import short
from vcmbench.quantisers import Quantisers, integer_quantisers

SOURCE = {"yuv": "../in/source.yuv", "rgb": "../in/source.ppm"}
DECODED = {"yuv": "decoded.yuv", "rgb": "decoded.ppm"}
QPS = "qps.raw"

_REQUIRED = ("label", "extension", "quality", "chroma", "encode_tools", "decode_tools")
NAME = re.compile(r"[a-z][a-z0-9]{0,30}")


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


Anchors = tuple[tuple[int, float], ...]
"""A figure at some qualities, as (quality, value), ascending in quality."""


@dataclass(frozen=True)
class Typical:
    """Built-in figures for a plan made before anything ran, on one core; `benchmarks/figures.py` measures them on the
    demo scenes and prints them as they stand in an encoder's file.

    By quality: bits per coded pixel, and seconds per coded megapixel of encoding and of decoding. `start_s` is what a
    pair of processes costs before the first pixel; `memory_mb` the peak resident memory of the larger of both tools: a
    base, a part per coded megapixel, and more per coded megapixel in a stack, whose pictures wait in line; `variants`
    what presets, published sets and chroma formats make of it: (name, factor on seconds, factor on bits).
    """

    bpp: Anchors
    encode_s_per_mpx: Anchors
    decode_s_per_mpx: Anchors = ((0, 0.03),)
    start_s: float = 0.0
    memory_mb: tuple[float, float, float] = (50.0, 50.0, 50.0)
    variants: tuple[tuple[str, float, float], ...] = ()

    @property
    def seconds_per_mpx(self) -> float:
        """Of encode and decode together, the mean over the anchors."""
        found = self.encode_s_per_mpx, self.decode_s_per_mpx
        return sum(sum(value for _, value in anchors) / len(anchors) for anchors in found)


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
    typical: ClassVar[Typical] = Typical(((0, 24.0),), ((0, 0.1),))
    fixed_parameters: ClassVar[frozenset[str] | None] = None
    """The tool's own parameters that are set here, and that a coding's `parameters` must not touch; None: it takes no
    parameters beyond ours."""
    fixed_with_map: ClassVar[frozenset[str]] = frozenset()
    """Those that must be left alone where there is a QP map, too."""
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
    zones: ClassVar[bool] = False
    """Whether it can code the pictures of a stack with a QP each."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Other processes find it by its name: its file is no module that could be imported."""
        return get, (self.name,)

    @abstractmethod
    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        """The command that makes `self.bitstream` out of `SOURCE[self.pixels]` with `program`."""

    def encode_mapped(self, program: str, coding: CodingConfiguration, clip: Clip, quantisers: Quantisers) -> Command:
        """The same with quantisers that differ: over the picture where `map_method` is not prefilter, or from picture
        to picture (`quantisers.frames`) where `zones` is set. `quantisers` are what `self.quantisers` made."""
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

    def quantisers(self, quality: int, steps: NDArray[np.float64], shift: float, unit_px: int) -> Quantisers:
        """What to tell the tool so that its blocks are `steps` + `shift` coarser than at `quality`.

        `steps` (rows, columns) float64, of which 6 double the quantiser step, a block of `unit_px` each.
        """
        limits = self.scale.minimum, self.scale.maximum
        return integer_quantisers(quality, steps, shift, unit_px, limits, self.map_multiple)

    def block_qps(self, program: str, clip: Clip) -> Command | None:
        """The command with which the decoder tells the QP of every block, in `QPS`; None where it cannot."""
        return None

    def read_block_qps(self, data: bytes, clip: Clip) -> NDArray[np.float64]:
        """What that command wrote, as (frames, rows, columns) of blocks of `map_units_px[0]`."""
        raise RequestError(f"{self.name}: makes its decoder tell QPs, but has no read_block_qps")

    def coded_qp(self, log: str) -> float | None:
        """The mean QP that the tool says it coded with, read from what it printed; None where it does not say."""
        return None

    def complaint(self, log: str) -> str | None:
        """What the tool said of a parameter that it did not take, though it went on without; None where all is well."""
        return None

    def reported_bytes(self, log: str) -> int | None:
        """The size of the bitstream by the tool's own account: a shorter file was cut off. None: it does not say."""
        return None

    @property
    def bitstream(self) -> str:
        return "coded" + self.extension

    def padded_side(self, side_px: int, chroma_step: int) -> int:
        multiple = max(self.side_multiple_px, chroma_step if self.pixels == "yuv" else 1)
        return -(-side_px // multiple) * multiple

    def is_published(self, coding: CodingConfiguration) -> bool:
        """Whether `coding` is what a published experiment did, so that its folder has the published name."""
        return coding.compat is not None and coding.stacked == self.published_stacked

    def folder_name(self, coding: CodingConfiguration) -> str:
        return coding.folder_name(self.label, self.is_published(coding))

    def check(self, coding: CodingConfiguration) -> None:
        """Refuse what the tool cannot do. Raises RequestError with the key, the value and what is allowed."""
        scale, quality = self.quality, coding.quality
        if coding.target_bpp is not None:
            checks.check_target(self, coding)
        if scale is None and quality is not None:
            raise RequestError(f"quality {quality}: {self.name} has no quality scale; leave `quality` out")
        if scale is not None and coding.target_bpp is None and not self.is_in_range(quality):
            asked = "is missing" if quality is None else f"{quality} is out of range"
            raise RequestError(
                f"quality {asked}: {self.name} takes {scale.name} {scale.minimum}..{scale.maximum} "
                f"({scale.better} is better)"
            )
        self._check_choice("color_subsampling", coding.color_subsampling, self.chroma)
        if coding.preset is not None:
            self._check_choice("preset", coding.preset, self.presets)
        if coding.compat is not None:
            self._check_choice("compat", coding.compat, self.compat)
            if coding.preset is not None:
                raise RequestError(f"preset: compat {coding.compat!r} fixes the parameters of {self.name}")
        if coding.stacked and not self.stackable:
            raise RequestError(f"stacked: {self.name} codes single images only")

        if coding.parameters:
            checks.check_parameters(self, coding)
        if coding.qp_map is not None:
            checks.check_map(self, coding, coding.qp_map)
        elif coding.match_rate:
            raise RequestError('match "rate": is between a uniform and a mapped encode; give a qp_map, too')

    def is_in_range(self, quality: float | None) -> bool:
        return self.quality is None or (quality is not None and self.quality.minimum <= quality <= self.quality.maximum)

    def method(self, coding: CodingConfiguration) -> str:
        """How a configuration with a map spends its bits: native, coefficients, prefilter or frame."""
        wanted = coding.qp_map
        if wanted is None or wanted.mode == "frame":
            return "frame"
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

    def _check_choice(self, key: str, value: str, allowed: tuple[str, ...]) -> None:
        if value not in allowed:
            raise RequestError(f"{key} {short(value)}: {self.name} takes {' '.join(allowed) or 'none'}")

    def check_size(self, width: int, height: int) -> None:
        """Raises RequestError where a picture of this coded size is outside the tool's limits."""
        if min(width, height) < self.min_side_px or max(width, height) > self.max_side_px:
            raise RequestError(
                f"coded size {width}x{height}: {self.name} takes sides of {self.min_side_px}..{self.max_side_px} px"
            )
        if width * height > self.max_area_px:
            raise RequestError(f"coded size {width}x{height}: {self.name} takes at most {self.max_area_px} px")


def _load(path: Path) -> Encoder:
    """The encoder of a file. Raises RequestError that names the file, and the line where Python stumbled."""
    if not NAME.fullmatch(path.stem):
        raise RequestError(f"{path}: an encoder's file name must match {NAME.pattern}")
    name = f"vcmbench_encoders.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RequestError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        classes = [c for c in vars(module).values() if _is_encoder_of(c, name)]
        if len(classes) != 1:
            raise RequestError(f"{path}: holds {len(classes)} subclasses of Encoder, must hold one")
        encoder: Encoder = classes[0]()
    except RequestError:
        raise
    except Exception as error:  # a plugin may raise anything while it is imported
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines or [0])[-1]
        raise RequestError(f"{path}, line {line}: {type(error).__name__}: {error}") from error
    absent = [attribute for attribute in _REQUIRED if not hasattr(encoder, attribute)]
    if absent:
        raise RequestError(f"{path}: {classes[0].__name__} does not set {', '.join(absent)}")
    encoder.name = path.stem
    return encoder


def _is_encoder_of(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Encoder) and value.__module__ == module


@cache
def _load_all() -> tuple[dict[str, Encoder], dict[str, str]]:
    found, faults = {}, {}
    for path in sorted(resources.folder("encoders").glob("[!_]*.py")):
        try:
            found[path.stem] = _load(path)
        except RequestError as error:
            faults[path.stem] = str(error)
    return found, faults


def discover() -> dict[str, Encoder]:
    """Every encoder of `encoders/` that can be loaded, by name. Files that begin with `_` are helpers of others."""
    return _load_all()[0]


def faults() -> dict[str, str]:
    """What is wrong with the files of `encoders/` that cannot be loaded, by name."""
    return _load_all()[1]


def get(name: str) -> Encoder:
    """The encoder of that name. Raises RequestError where there is none, or where its file is faulty."""
    if name in faults():
        raise RequestError(f"encoder {name!r}: {faults()[name]}")
    if name not in discover():
        raise RequestError(f"encoder {short(name)}: unknown; there are {' '.join(discover())}")
    return discover()[name]
