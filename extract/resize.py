"""From any size to the network's: one antialiased bicubic path in float32 for all bit depths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .picture import Pixels

RESIZER = "pillow-bicubic-float32/1"
"""Name and version of this resizer in the recipe: raise it when any pixel changes."""

STRETCH, PAD, CROP = POLICIES = ("stretch", "pad", "crop")
"""What becomes of the shape: both sides stretched, black bars added, or the longer side's ends cut."""


def resize(pixels: Pixels, size: int | None, policy: str = STRETCH) -> NDArray[np.float32]:
    """Bring an image to a square of `size` pixels, or leave its size as it is.

    Pillow's bicubic filter is widened when it shrinks an image, which is what keeps fine detail from aliasing
    (Parmar, Zhang, Zhu: On Aliased Resizing and Surprising Subtleties in GAN Evaluation, CVPR 2022). What the
    filter overshoots at edges is cut back to 0–255.

    Parameters
    ----------
    pixels : ndarray, shape (h, w) or (h, w, 3)
        Values between 0 and 255, uint8 or float32.
    size : int or None
        Height and width to reach; None leaves every pixel as it is.
    policy : str
        One of `POLICIES`.

    Returns
    -------
    ndarray of float32, shape (size, size, 3), or (h, w, 3) where `size` is None
        Grey images have three equal channels.
    """
    if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., 1:]).all():
        pixels = pixels[..., 0]  # grey that was stored as colour, as many X-rays are
    if pixels.ndim == 2:
        return np.repeat(_resized(pixels, size, policy)[..., np.newaxis], 3, axis=-1)
    return np.stack([_resized(pixels[..., index], size, policy) for index in range(3)], axis=-1)


def _resized(channel: Pixels, size: int | None, policy: str) -> NDArray[np.float32]:
    if size is None:
        return channel.astype(np.float32)
    image = Image.fromarray(np.ascontiguousarray(channel, dtype=np.float32))
    if policy == STRETCH:
        return _filtered(image, size, size)
    height, width = channel.shape
    if policy == CROP:
        short = min(height, width)
        left, top = (width - short) / 2, (height - short) / 2
        return _filtered(image, size, size, (left, top, left + short, top + short))
    inner = _filtered(image, *(max(1, round(side * size / max(height, width))) for side in (height, width)))
    square = np.zeros((size, size), dtype=np.float32)
    top_row, left_column = ((size - side) // 2 for side in inner.shape)
    square[top_row : top_row + inner.shape[0], left_column : left_column + inner.shape[1]] = inner
    return square


def _filtered(
    image: Image.Image, height: int, width: int, box: tuple[float, float, float, float] | None = None
) -> NDArray[np.float32]:
    resized = np.array(image.resize((width, height), Image.Resampling.BICUBIC, box=box))
    return np.clip(resized, 0.0, 255.0, out=resized)


def thumbnail(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image (h, w, 3), values 0–255, as 16×16 grey in one row of 256 bytes."""
    grey = (pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) / np.float32(3)
    small = Image.fromarray(grey).resize((16, 16), Image.Resampling.BOX)
    rounded: NDArray[np.uint8] = np.rint(np.asarray(small)).clip(0, 255).astype(np.uint8).ravel()
    return rounded
