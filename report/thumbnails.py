"""Small pictures as the bytes of files, kept within a budget, and what stands in for one that is gone."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Tile = NDArray[np.uint8]
"""A picture, shape (h, w, 3)."""

BUDGET = 1_500_000
"""Bytes that the thumbnails of one page take together: 2 MB once they are written as base64."""
_SIZES = ((64, 60), (48, 60), (48, 40), (32, 40), (24, 30))
"""Pixels and quality, tried in turn until pictures are within their budget.

1,124 chest X-rays took 0.48 MB at the first, 0.29 MB at the third.
"""
_GREY = 160


def webp(tile: Tile, quality: int = 80) -> bytes:
    """Return a picture as a WebP file."""
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def within(tiles: Sequence[Tile], budget: int = BUDGET) -> tuple[bytes, ...]:
    """Return pictures as WebP files that together take no more than a budget, as large as that allows.

    Parameters
    ----------
    tiles : sequence of ndarray of uint8, shape (h, w, 3)
        Larger ones are made smaller; their proportions are kept.
    budget : int
        Bytes. Where even the smallest are too many, they are what they are.
    """
    encoded: tuple[bytes, ...] = ()
    for pixels, quality in _SIZES:
        encoded = tuple(webp(_shrunk(tile, pixels), quality) for tile in tiles)
        if sum(map(len, encoded)) <= budget:
            break
    return encoded


def largest() -> int:
    """Return the pixels that thumbnails have at most."""
    return _SIZES[0][0]


def _shrunk(tile: Tile, pixels: int) -> Tile:
    if max(tile.shape[:2]) <= pixels:
        return tile
    picture = Image.fromarray(tile)
    picture.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def of_sixteen(grey: NDArray[np.uint8], pixels: int) -> Tile:
    """Return the 16×16 grey values, shape (256,), that a cache keeps of a frame, as a larger picture."""
    small = Image.fromarray(grey.reshape(16, 16))
    return np.asarray(small.resize((pixels, pixels), Image.Resampling.BICUBIC).convert("RGB"))


def missing(pixels: int) -> Tile:
    """Return what stands where there is no picture: a crossed-out grey square."""
    tile = np.full((pixels, pixels, 3), _GREY, dtype=np.uint8)
    diagonal = np.arange(pixels)
    tile[diagonal, diagonal] = tile[diagonal, pixels - 1 - diagonal] = 90
    return tile


def name_of(path: str, frame: int, frames: int, words: Sequence[str] = ()) -> str:
    """Return what is written under a picture: the path, the frame of a volume, and a few words more."""
    which = f", frame {frame + 1} of {frames}" if frames > 1 else ""
    return "\n".join([f"{path}{which}", *words])
