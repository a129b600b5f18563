"""Bicubic, as Pillow has it: Keys's kernel with a = -0.5, widened when it shrinks."""

from PIL import Image

from vcmbench.data.resampling import U8, Resampler, by_pillow


class Bicubic(Resampler):
    def down(self, picture: U8, width: int, height: int) -> U8:
        return by_pillow(picture, width, height, Image.Resampling.BICUBIC)
