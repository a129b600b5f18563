"""One coding configuration: everything that decides how a picture is coded, and the folder name that says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class CodingConfiguration:
    """A point of the grid codec x quality x chroma x downscaling.

    `quality` is on the encoder's own scale, None where it has none; `subsampling_factor` in (0, 1] scales both sides
    before coding; `compat` names a published parameter set; `stacked` codes all images of a city as one video.
    """

    encoder: str
    quality: int | None
    color_subsampling: str = "420"
    subsampling_factor: float = 1.0
    preset: str | None = None
    compat: str | None = None
    stacked: bool = False
    keep_reconstruction: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def folder_name(self, label: str, published: bool) -> str:
        """`x265(quality=32, color_subsampling=420, subsampling_factor=1.0)`, the published form.

        `label` is the encoder's name in folders. Options beyond the published ones follow where they are set;
        `published` says that `compat` and `stacked` together are what the published experiment did, hence unnamed.
        """
        options: dict[str, object] = {} if self.quality is None else {"quality": self.quality}
        options["color_subsampling"] = self.color_subsampling
        options["subsampling_factor"] = float(self.subsampling_factor)
        if self.preset is not None:
            options["preset"] = self.preset
        if not published:
            if self.compat is not None:
                options["compat"] = self.compat
            if self.stacked:
                options["stacked"] = "true"
        return f"{label}({', '.join(f'{name}={value}' for name, value in options.items())})"
