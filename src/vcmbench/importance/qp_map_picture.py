"""The picture of a QP map. It imports matplotlib, which takes a second: import it only where pictures are drawn."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_DPI = 100
_LONG_SIDE_IN = 10.0  # of the map, without its scales
_LEAST_IN = 2.0  # so that the map of a narrow strip has room for the numbers beside it
_MOST_TICKS = 16
_LEFT_IN, _RIGHT_IN, _LOW_IN, _TOP_IN = 0.7, 1.1, 0.6, 0.25


def draw(qp: NDArray[np.int64], qp_range: tuple[int, int], block_size_px: int) -> bytes:
    """A PNG of the (rows, columns) map: blue and violet are low QPs (fine), yellow high ones (coarse).

    Every QP has one colour of viridis, and a band of the colour bar. The colours span `qp_range`, lowest and highest
    QP, so that pictures of one setting can be compared. The axes are in pixels of the picture that is to be coded. The
    same map gives the same bytes.
    """
    rows, columns = qp.shape
    scale = _LONG_SIDE_IN / max(rows, columns)
    width, height = max(columns * scale, _LEAST_IN), max(rows * scale, _LEAST_IN)
    full_width, full_height = width + _LEFT_IN + _RIGHT_IN, height + _LOW_IN + _TOP_IN
    figure = Figure((full_width, full_height), dpi=_DPI)
    FigureCanvasAgg(figure)  # without pyplot, which keeps every figure and looks for a screen
    low, high = min(qp_range[0], int(qp.min())), max(qp_range[1], int(qp.max()))
    axes = figure.add_axes((_LEFT_IN / full_width, _LOW_IN / full_height, width / full_width, height / full_height))
    image = axes.imshow(
        qp,
        cmap=colormaps["viridis"].resampled(high - low + 1),
        vmin=low - 0.5,
        vmax=high + 0.5,
        interpolation="nearest",
        extent=(0, columns * block_size_px, rows * block_size_px, 0),
    )
    axes.set_xlabel("x in px")
    axes.set_ylabel("y in px")
    beside = figure.add_axes(
        ((_LEFT_IN + width + 0.25) / full_width, _LOW_IN / full_height, 0.2 / full_width, height / full_height)
    )
    bar = figure.colorbar(image, cax=beside, ticks=range(low, high + 1, 1 + (high - low) // _MOST_TICKS))
    bar.set_label("QP")
    data = BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})  # which would name matplotlib's version
    return data.getvalue()
