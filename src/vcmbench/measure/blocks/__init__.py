"""Blocks: small parts of decoded pictures, drawn so that every accuracy occurs equally often, and their files."""

from vcmbench.measure.blocks.published import PublishedBlock, PublishedCoding
from vcmbench.measure.blocks.sampler import Block, Sample, Sources, sample

__all__ = ["Block", "PublishedBlock", "PublishedCoding", "Sample", "Sources", "sample"]
