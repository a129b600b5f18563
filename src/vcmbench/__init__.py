"""vcmbench: what image and video compression does to machine vision."""

__version__ = "0.1.0"
