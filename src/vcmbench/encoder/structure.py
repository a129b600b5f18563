"""How the pictures of a sequence depend on each other when they are coded as video."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["intra", "lowdelay", "randomaccess"]
KINDS: tuple[Kind, ...] = ("intra", "lowdelay", "randomaccess")


@dataclass(frozen=True)
class Structure:
    """`intra`: every picture by itself. `lowdelay`: pictures are predicted from earlier ones, in display order.
    `randomaccess`: groups of `gop` pictures are coded in pyramids of B pictures.

    An intra picture comes every `intra_period` pictures, None: only the first one. With `layer_offsets` the codec's
    usual QP offsets by picture type and temporal layer are added to the QP that is asked for; without, every picture
    is coded with that QP.
    """

    kind: Kind
    intra_period: int | None = None
    gop: int = 8
    layer_offsets: bool = True

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: what a record holds and a job's key hashes."""
        return asdict(self)

    @property
    def options(self) -> dict[str, object]:
        """What a folder's name says of it: the kind, and what differs from the defaults."""
        found: dict[str, object] = {"structure": self.kind}
        if self.intra_period is not None:
            found["intra_period"] = self.intra_period
        if self.gop != Structure.gop:
            found["gop"] = self.gop
        if not self.layer_offsets:
            found["layer_offsets"] = "false"
        return found
