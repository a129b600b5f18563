"""What is asked of a coding tool, and what each tool can do: configurations, the contract of encoders, quantisers.

Runs nothing. A new encoder is one file in `encoders/`, found by `plugins`; what it needs of vcmbench is offered here.
Imports `importance`, `data` and `io`.
"""

from vcmbench.encoder.base import (
    BLOCK_BITS,
    DECODED,
    FRAME_LOG,
    QPS,
    SOURCE,
    Clip,
    CodedFrame,
    Command,
    Encoder,
    QualityScale,
    Switches,
    Tool,
    by_picture_order,
)
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers
from vcmbench.encoder.structure import Structure

__all__ = [
    "BLOCK_BITS",
    "DECODED",
    "FRAME_LOG",
    "QPS",
    "SOURCE",
    "Clip",
    "CodedFrame",
    "CodingConfiguration",
    "Command",
    "Encoder",
    "QualityScale",
    "Quantisers",
    "Structure",
    "Switches",
    "Tool",
    "by_picture_order",
]
