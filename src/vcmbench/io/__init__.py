"""Files, documents and text, as others may have laid them there.

Bounded reads, writes that are whole or not there, locks, JSON and TOML, names as they are shown, progress and signals.
Imports nothing of vcmbench but its errors.
"""
