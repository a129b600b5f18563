"""Whose turn it is to tell a GPU what to do."""

from __future__ import annotations

import threading

turn = threading.RLock()
"""Held while work is put into a GPU's queue, not while it is done. cuDNN's settings are the process's: those that a
metric wants must not hold for a network on another thread, whose last digits they would move."""
