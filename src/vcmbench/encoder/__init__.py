"""What is asked of a coding tool, and what each tool can do: configurations, the contract of encoders, quantisers.

Runs nothing. A new encoder is one file in `encoders/`, found by `plugins`; what it needs of vcmbench is offered here.
Imports `importance`, `data` and `io`.
"""

from vcmbench.encoder.base import (
    DECODED,
    QPS,
    SOURCE,
    Clip,
    Command,
    Encoder,
    QualityScale,
    Tool,
)
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.quantisers import Quantisers

__all__ = [
    "DECODED",
    "QPS",
    "SOURCE",
    "Clip",
    "CodingConfiguration",
    "Command",
    "Encoder",
    "QualityScale",
    "Quantisers",
    "Tool",
]
