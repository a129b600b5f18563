"""Built-in figures of all that is not an encoder: of the harness, of measuring, of what lies on disk, and of memory.

Measured by `benchmarks/figures_steps.py` on the demo's street scenes, in seconds of one core (a 2-core AMD EPYC
machine of the kind that continuous integration has), and from the results of real runs. Mpx are megapixels of the
original picture, unless coded ones are named.
"""

from __future__ import annotations

# --- compressing, round the tools

PREPARE_S_PER_MPX, PREPARE_SCALED_S_PER_MPX = 0.030, 0.037
"""Reading a PNG and converting it, without and with downscaling: once for all configurations of a picture that share
the size and the kind of pixels."""
COMPARE_S_PER_MPX, ENLARGE_LUMA_S_PER_MPX = 0.003, 0.004
"""Writing the frame, reading the decoded luma and its PSNR; and where it was downscaled, back to full size."""
JOB_S = 0.012
"""Starting two processes, hashing, writing the record and moving files into their places."""
IMPORTANCE_S_PER_MPX, LOW_PASS_S_PER_MPX = 0.03, 0.14
"""A picture's importance and what it is read from; a low-pass of all planes, per coded Mpx and encode."""
START_S = 1.5
"""A run before its first job: imports, and asking each tool what it is."""
FINISH_S_PER_JOB = 0.0004
"""The table at the end: every record is read once."""
PROGRAMS = frozenset({"pillow-jpeg", "pillow-png", "raw-copy"})
"""Tools that run inside the worker's process."""

PROCESS_MB, PROCESS_MB_PER_MPX, CLIENT_MB = 75.0, 18.0, 80.0
"""A worker's process: Python with what it imports, and pictures in several forms; and the process that plans."""

# --- what compressing leaves

RECORD_BYTES, FRAME_BYTES = 2480, 210
"""A record and its row of compression.csv, and more for each picture in it."""
CELL_BYTES = 3
"""A block of a QP map, as CSV."""
