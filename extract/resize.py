"""From any size to the network's: one antialiased bicubic path in float32 for all bit depths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RESIZER = "pillow-bicubic-float32/1"
"""Name and version of this resizer in the recipe: raise it when any pixel changes."""


def resize(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Stretch an image to `size` (height, width).

    Pillow's bicubic filter is widened when it shrinks an image, which is what keeps fine detail from aliasing
    (Parmar, Zhang, Zhu: On Aliased Resizing and Surprising Subtleties in GAN Evaluation, CVPR 2022). What the
    filter overshoots at edges is cut back to 0–255.

    Parameters
    ----------
    pixels : ndarray, shape (h, w) or (h, w, 3)
        Values between 0 and 255, uint8 or float32.
    size : tuple of int
        Height and width to reach.

    Returns
    -------
    ndarray of float32, shape (height, width, 3)
        Grey images have three equal channels.
    """
    if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., 1:]).all():
        pixels = pixels[..., 0]  # grey that was stored as colour, as many X-rays are
    if pixels.ndim == 2:
        return np.repeat(_resized(pixels, size)[..., np.newaxis], 3, axis=-1)
    return np.stack([_resized(pixels[..., index], size) for index in range(3)], axis=-1)


def _resized(channel: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    image = Image.fromarray(np.ascontiguousarray(channel, dtype=np.float32))
    resized = np.array(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return np.clip(resized, 0.0, 255.0, out=resized)


def thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image (h, w, 3), values 0–255, as 16×16 grey in one row of 256 bytes."""
    grey = (pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) / np.float32(3)
    small = Image.fromarray(grey).resize((16, 16), Image.Resampling.BOX)
    rounded: NDArray[np.uint8] = np.rint(np.asarray(small)).clip(0, 255).astype(np.uint8).ravel()
    return rounded
