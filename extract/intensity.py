"""How a file's own numbers become 0–255: the intensity policies, none of which passes through 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors

DEFAULT = {"8-bit": "full", "other": "percentile:0.5,99.5"}
"""The policy by kind of file; it is written into the recipe."""


def to_byte_range(pixels: NDArray[Any], policies: dict[str, str]) -> NDArray[np.float32]:
    """Return `pixels` as float32 between 0 and 255, not rounded.

    Parameters
    ----------
    pixels : ndarray, shape (h, w) or (h, w, 3)
        In the file's own numbers. An 8-bit file's values lie between 0 and 255, whatever the type.
    policies : dict of str to str
        The policy for 8-bit files and for all others: `full` or `percentile:LOW,HIGH`, the latter over all
        pixels and channels of the frame.

    Raises
    ------
    ImageError
        If a value is infinite or not a number.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise errors.ImageError("intensity", "holds values that are infinite or not a number")
    name, _, arguments = policies["other"].partition(":")
    assert name == "percentile", policies
    low, high = (float(number) for number in arguments.split(","))
    return _between(pixels, *np.percentile(pixels, [low, high]))


def _between(pixels: NDArray[Any], low: float, high: float) -> NDArray[np.float32]:
    if high <= low:  # nearly constant: the few other values decide, or all is black
        low, high = float(pixels.min()), float(pixels.max())
    if high <= low:
        return np.zeros(pixels.shape, dtype=np.float32)
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(255.0 / (high - low))
    return np.clip(scaled, 0.0, 255.0, out=scaled)
