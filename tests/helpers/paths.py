"""Where things lie: the checkout, what may lie beside it, and photographs that a package brings along."""

from pathlib import Path

import skimage

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = CHECKOUT.parent / "shared"
"""Published scores, real frames and a real network; where they are absent, tests pass without."""

PHOTOGRAPHS = Path(skimage.__file__).parent / "data"
