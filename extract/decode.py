"""The one door from a file's bytes to what the network sees: decode, intensity, resize.

The formats themselves are read by modules of their own (`raster`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import intensity, raster, resize


@dataclass(frozen=True)
class Frame:
    """One picture, ready for a backbone's own scaling.

    Parameters
    ----------
    pixels : ndarray of float32, shape (h, w, 3)
        Between 0 and 255.
    thumbnail : ndarray of uint8, shape (256,)
        The same as 16×16 grey.
    """

    pixels: NDArray[np.float32]
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True)
class Preparation:
    """How pixels are prepared; everything in here is part of the recipe.

    Parameters
    ----------
    size : tuple of int
        Height and width of the network's input.
    """

    size: tuple[int, int]

    def recipe(self) -> dict[str, object]:
        """Return the recipe's fields for it."""
        return {
            "decoder": raster.DECODER,
            "intensity": intensity.DEFAULT,
            "resize": "stretch",
            "resizer": resize.RESIZER,
            "size": list(self.size),
        }

    def frames(self, content: bytes) -> tuple[raster.Facts, list[Frame]]:
        """Return what the file is, and its frames.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        facts, pictures = raster.decode(content)
        return facts, [self._frame(picture) for picture in pictures]

    def _frame(self, picture: raster.Picture) -> Frame:
        pixels = picture.pixels
        if picture.bits > 8:
            pixels = intensity.to_byte_range(pixels, intensity.DEFAULT)
        resized = resize.resize(pixels, self.size)
        return Frame(resized, resize.thumbnail(resized))
