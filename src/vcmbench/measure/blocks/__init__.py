"""Blocks: small parts of decoded pictures, drawn so that every accuracy occurs equally often, and their files."""

from vcmbench.measure.blocks.published import Coding, PublishedBlock
from vcmbench.measure.blocks.sampler import Block, Sample, Sources, sample

__all__ = ["Block", "Coding", "PublishedBlock", "Sample", "Sources", "sample"]
