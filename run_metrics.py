#!/usr/bin/env python3
"""Measure what compression did to the machine and the pictures: `vcmbench metrics`, without installing.

python run_metrics.py -d data -s quick
"""

import importlib.util
import os
import sys
from pathlib import Path

if importlib.util.find_spec("vcmbench") is None:
    python = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
    if not python.exists():
        print("run_metrics.py: vcmbench is not installed; run `make setup` here once", file=sys.stderr)
        sys.exit(2)
    os.execv(python, [str(python), *sys.argv])

from vcmbench.cli import main

if __name__ == "__main__":  # processes of a local cluster import it, too
    raise SystemExit(main(["metrics", *sys.argv[1:]]))
