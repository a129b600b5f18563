"""One coding configuration: everything that decides how a picture is coded, and the folder name that says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from vcmbench.data.resampling import DEFAULT
from vcmbench.encoder.structure import Structure
from vcmbench.importance.qp_map import QpMap
from vcmbench.importance.source import ImportanceSource

LOOP_FILTERS = ("deblocking", "sao", "alf", "cdef", "restoration")
SWITCHES = (*LOOP_FILTERS, "psy")
"""What may be switched off, by one name for all codecs: filters in the loop, and psycho-visual decisions."""


@dataclass(frozen=True)
class CodingConfiguration:
    """A point of the grid codec x quality x chroma x downscaling.

    `quality` is on the encoder's own scale, None where it has none or where `target_bpp` decides it;
    `subsampling_factor` in (0, 1] scales both sides before coding; `compat` names a published parameter set; `stacked`
    codes all images of a city as one video, of intra pictures alone unless a `structure` says otherwise. With a
    `qp_map`, bits go where `importance` says; `match_rate` then moves its base until the file is as large as the
    uniform one. `target_bpp` is in bits per pixel of the original size.
    """

    encoder: str
    quality: int | None
    color_subsampling: str = "420"
    subsampling_factor: float = 1.0
    preset: str | None = None
    compat: str | None = None
    stacked: bool = False
    keep_reconstruction: bool = False
    qp_map: QpMap | None = None
    importance: ImportanceSource | None = None
    match_rate: bool = False
    target_bpp: float | None = None
    parameters: tuple[tuple[str, str], ...] = ()
    """More of the encoder's own parameters, as (name, value), sorted."""
    resampler: str = DEFAULT
    """What makes pictures smaller and large again, where `subsampling_factor` is not 1."""
    off: tuple[str, ...] = ()
    """Of SWITCHES, in their order."""
    structure: Structure | None = None
    """How the pictures of a sequence are coded as video; it is `stacked` then. None: pictures on their own."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: what a record holds and a job's key hashes."""
        values = {**asdict(self, dict_factory=_plain), "parameters": dict(self.parameters), "off": list(self.off)}
        if self.resampler == DEFAULT:  # as it was before there were others
            del values["resampler"]
        if self.structure is None:
            del values["structure"]
        if not self.off:
            del values["off"]
        if self.importance is not None and not self.importance.hold:
            del values["importance"]["hold"]
        if self.qp_map is not None and not self.qp_map.refine:
            del values["qp_map"]["refine"]
        return values

    def folder_name(self, label: str, published: bool) -> str:
        """`x265(quality=32, color_subsampling=420, subsampling_factor=1.0)`, the published form.

        `label` is the encoder's name in folders. Options beyond the published ones follow where they are set;
        `published` says that `compat` and `stacked` together are what the published experiment did, hence unnamed.
        """
        options: dict[str, object] = {} if self.quality is None else {"quality": self.quality}
        options["color_subsampling"] = self.color_subsampling
        options["subsampling_factor"] = float(self.subsampling_factor)
        return (
            f"{label}({', '.join(f'{name}={value}' for name, value in (options | self._options(published)).items())})"
        )

    def _options(self, published: bool) -> dict[str, object]:
        """The options beyond the published ones that are set."""
        options: dict[str, object] = {
            "preset": self.preset,
            "compat": None if published else self.compat,
            "stacked": "true" if self.stacked and not published and self.structure is None else None,
            **(self.structure.options if self.structure else {}),
            "resampler": self.resampler if self.resampler != DEFAULT else None,
            "off": "+".join(self.off) or None,
            "qp_map": self.qp_map.tag if self.qp_map else None,
            "importance": (self.importance.tag or None) if self.importance else None,
            "match": "rate" if self.match_rate else None,
            "target_bpp": f"{self.target_bpp:g}" if self.target_bpp is not None else None,
            "parameters": "+".join("-".join(one) for one in self.parameters) or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    @property
    def is_searched(self) -> bool:
        """Whether it takes several encodes to reach a rate."""
        return self.match_rate or self.target_bpp is not None

    @property
    def extras(self) -> list[str]:
        """The same in words, for a column of a table."""
        return [str(value) if name in ("preset", "compat") else name if value == "true" else f"{name}={value}"
                for name, value in self._options(published=False).items()]  # fmt: skip


def options_in(folder: str) -> str:
    """The options that a folder's name has after the published ones, one word each; none where it is no such name."""
    return folder.partition("subsampling_factor=")[2].partition(", ")[2].removesuffix(")").replace(", ", " ")


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value if value is None or isinstance(value, bool | int | float | dict) else str(value)
            for name, value in pairs}  # fmt: skip


def from_record(record: dict[str, Any]) -> CodingConfiguration:
    """The configuration that a record holds."""
    later: dict[str, Any] = {"resampler": DEFAULT, "structure": None, "off": ()}  # records before these have none
    values: dict[str, Any] = {one.name: record.get(one.name, later[one.name]) if one.name in later else record[one.name]
              for one in fields(CodingConfiguration)}  # fmt: skip
    if values["structure"] is not None:
        values["structure"] = Structure(**values["structure"])
    if values["qp_map"] is not None:
        values["qp_map"] = QpMap(**values["qp_map"])
    values["parameters"], values["off"] = tuple(values["parameters"].items()), tuple(values["off"])
    values["importance"] = None  # a stream decodes the same wherever its map came from
    return CodingConfiguration(**values)
