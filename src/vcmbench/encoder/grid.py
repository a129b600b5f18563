"""The `[[coding]]` tables of an experiment: grids of coding configurations, checked against their encoders."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from vcmbench.data import resampling
from vcmbench.encoder import checks, plugins
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import LOOP_FILTERS, SWITCHES, CodingConfiguration
from vcmbench.encoder.structure import Kind, Structure
from vcmbench.errors import RequestError
from vcmbench.importance.qp_map import QpMap
from vcmbench.importance.source import ImportanceSource
from vcmbench.io.validation import Strict

Factor = Annotated[float, Field(gt=0, le=1, strict=False)]
# 420 without quotes is meant as a name, too
ChromaName = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]


def _base(value: int | str) -> int | str:
    if value != "quality" and not isinstance(value, int):
        raise ValueError('must be "quality" or a whole number')
    return value


class Map(Strict):
    """`qp_map` of a coding: how importance becomes quantisers (see `coding.QpMap`)."""

    mode: Literal["block", "frame"] = "block"
    base: Annotated[int | str, AfterValidator(_base)] = "quality"
    delta: Annotated[float, Field(gt=0, le=48, strict=False)] = 6.0
    block_size: Annotated[int, Field(ge=4, le=1024)] = 16
    scaling: Literal["minmax", "absolute"] = "absolute"
    gamma: Annotated[float, Field(gt=0, le=100, strict=False)] = 1.0
    method: Literal["native", "coefficients", "prefilter"] | None = None
    refine: Annotated[int, Field(ge=0, le=50)] | None = None


class Target(Strict):
    """`target` of a coding: the rate that is searched, in bits per pixel of the original size."""

    bpp: Annotated[float, Field(gt=0, le=48, strict=False)]


def _as_word(value: str | float | bool) -> str:
    """A parameter's value as encoders write it."""
    return str(int(value)) if isinstance(value, bool) else str(value)


class CodingGrid(Strict):
    """One `[[coding]]` table: a grid of coding configurations of one encoder."""

    encoder: str
    quality: Annotated[list[int], Field(min_length=1)] | None = None
    color_subsampling: Annotated[list[ChromaName], Field(min_length=1)] | None = None
    subsampling_factor: Annotated[list[Factor], Field(min_length=1)] = Field(default=[1.0])
    resampler: str = resampling.DEFAULT
    preset: str | None = None
    compat: str | None = None
    stacked: bool = False
    structure: Kind | None = None
    intra_period: Annotated[int, Field(ge=1, le=100_000)] | None = None
    gop: Annotated[int, Field(ge=1, le=64)] | None = None
    layer_offsets: bool = True
    keep_reconstruction: bool = False
    qp_map: Map | None = None
    match: Literal["rate"] | None = None
    off: list[Literal[*SWITCHES, "loop_filters"]] = Field(default=[])  # type: ignore[valid-type]
    parameters: dict[str, str | int | float | bool] = Field(default={})
    target: Target | None = None

    @model_validator(mode="after")
    def _encoder_can_do_it(self) -> CodingGrid:
        try:
            tool = plugins.get(self.encoder)
            for configuration in self.configurations():
                checks.check(tool, configuration)
                tool.folder_name(configuration)
        except RequestError as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # a fault in an encoder's file
            raise ValueError(f"encoder {self.encoder!r}: {error!r}") from error
        return self

    def configurations(self, importance: ImportanceSource | None = None) -> list[CodingConfiguration]:
        tool = plugins.get(self.encoder)
        grid = itertools.product(self._qualities(), self.color_subsampling or tool.chroma[:1], self.subsampling_factor)
        rest: dict[str, Any] = self.model_dump(include={"preset", "compat", "stacked", "keep_reconstruction"})
        rest["structure"] = self._structure()
        rest["stacked"] = self.stacked or self.structure is not None
        if self.qp_map is not None:
            rest["importance"] = importance or ImportanceSource()
            refine = self._refine() if rest["importance"].origin.is_asked else 0
            rest["qp_map"] = QpMap(**self.qp_map.model_dump(exclude={"base", "refine"}), refine=refine)
        rest["off"] = self._off(tool)
        rest["parameters"] = tuple(sorted((name, _as_word(value)) for name, value in self.parameters.items()))
        rest |= {"match_rate": self.match == "rate", "target_bpp": self.target.bpp if self.target else None}
        scales = min(self.subsampling_factor) < 1  # else a resampler would do nothing, and is refused
        return [
            CodingConfiguration(self.encoder, quality, chroma, float(factor), **rest,
                                resampler=resampling.DEFAULT if factor == 1 and scales else self.resampler)
            for quality, chroma, factor in grid
        ]  # fmt: skip

    def _off(self, tool: Encoder) -> tuple[str, ...]:
        """Of SWITCHES; `loop_filters` are all that the codec has."""
        every = LOOP_FILTERS if "loop_filters" in self.off else ()
        if every and not set(every) & set(tool.switches):
            raise RequestError(f"off 'loop_filters': {tool.name} has none that can be switched off")
        return tuple(name for name in SWITCHES if name in self.off or (name in every and name in tool.switches))

    def _refine(self) -> int:
        """How many passes ask the task; without a word, three."""
        return 3 if self.qp_map is None or self.qp_map.refine is None else self.qp_map.refine

    def _structure(self) -> Structure | None:
        if self.structure is None:
            for key, is_set in (("intra_period", self.intra_period is not None), ("gop", self.gop is not None),
                                ("layer_offsets", not self.layer_offsets)):  # fmt: skip
                if is_set:
                    raise RequestError(f"{key}: only with structure, which says how sequences are coded")
            return None
        if self.gop is not None and self.structure != "randomaccess":
            raise RequestError(f'gop: only with structure = "randomaccess", not with {self.structure!r}')
        if self.intra_period is not None and self.structure == "intra":
            raise RequestError('intra_period: with structure = "intra" every picture is an intra picture')
        return Structure(self.structure, self.intra_period, self.gop or Structure.gop, self.layer_offsets)

    def _qualities(self) -> list[int] | list[None]:
        """`quality`, or what a map names as its base; both must say the same."""
        base = self.qp_map.base if self.qp_map else "quality"
        if isinstance(base, int):
            if self.quality not in (None, [base]):
                raise RequestError(f"qp_map.base {base}: differs from quality {self.quality}; leave one of them out")
            return [base]
        return self.quality or [None]
