"""No network of the user's is asked: a small one predicts from the picture alone where bits would go if it were."""

from __future__ import annotations

import numpy as np

from vcmbench.data.dataset import DataRoot, Source
from vcmbench.importance import predictor
from vcmbench.importance.predictor import BLOCK_PX, MOST_STEPS
from vcmbench.importance.source import NoSettings, PixelImportance, SourceOfImportance


class PredictedSource(SourceOfImportance[NoSettings]):
    by_rate = True
    weighs_pixels = False

    def digest(self, data: DataRoot, source: Source, settings: NoSettings) -> str:
        return predictor.load()[1]  # the picture stands in a job's key beside it

    def read(
        self, data: DataRoot, source: Source, settings: NoSettings, bpp: float = predictor.USUAL_BPP
    ) -> PixelImportance:
        """A QP map of delta `MOST_STEPS` makes of it the steps that were predicted."""
        rgb = source.read().rgb
        steps = predictor.load()[0].steps(rgb, bpp)
        values = (0.5 - steps / (2 * MOST_STEPS)).astype(np.float32)
        of_pixels = values.repeat(BLOCK_PX, axis=0).repeat(BLOCK_PX, axis=1)
        return PixelImportance(of_pixels[: rgb.shape[0], : rgb.shape[1]])

    def describe(self, tag: str) -> str:
        return "where a network will be sensitive, predicted from the picture"
