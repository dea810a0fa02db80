"""What every decoder yields: the facts of a file, and its frames in the file's own numbers.

The decoders are modules of their own (`raster`, `dicom`, `nifti`); `decode` is the one door to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .. import errors

Pixels = NDArray[Any]

EIGHT_BIT, X_RAY, CT, OTHER = KINDS = ("8-bit", "x-ray", "ct", "other")
"""The kinds of pictures that intensity has a default policy for each.

`ct`: in Hounsfield units. `x-ray`: a DICOM radiograph deeper than 8 bits, or with a window of its own.
`8-bit`: values between 0 and 255. `other`: everything else.
"""

MAX_PIXELS = 89_478_485
"""The size of a frame from which on Pillow, too, suspects a decompression bomb; about 9,459 pixels square."""


class Picture(NamedTuple):
    """One frame.

    Parameters
    ----------
    pixels : ndarray, shape (h, w) or (h, w, 3)
        In the file's own numbers (Hounsfield units for `ct`): unsigned or signed integers, or float32.
    bits : int
        The depth of the file's numbers.
    kind : str
        One of `KINDS`.
    stored : tuple of float, optional
        The least and the largest number that the bits stored can hold; None where nobody can tell.
    window : callable, optional
        The file's own way of showing it: from `pixels` to float32 between 0 and 255.
    padding : ndarray of bool, shape (h, w), optional
        True where the file says that nothing was measured.
    inverted : bool
        Whether the largest number is to be shown black.
    """

    pixels: Pixels
    bits: int
    kind: str
    stored: tuple[float, float] | None = None
    window: Callable[[Pixels], Pixels] | None = None
    padding: NDArray[Any] | None = None
    inverted: bool = False


@dataclass(frozen=True)
class Facts:
    """What kind of file an image came from: kept in the samples table, and in blocks as JSON."""

    format: str
    mode: str
    width: int
    height: int
    bits: int
    frames: int = 1
    kind: str = EIGHT_BIT

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Opened:
    """A file that was opened, its frames not decoded yet.

    Parameters
    ----------
    facts : Facts
    frame : callable
        From a frame's number, 0 to `facts.frames` − 1, to its `Picture`; raises `ImageError`. Threads may
        call it side by side.
    """

    facts: Facts
    frame: Callable[[int], Picture]


def check_size(width: int, height: int) -> None:
    """Raise `ImageError` for a frame without pixels, or with more than `MAX_PIXELS`."""
    if width < 1 or height < 1:
        raise errors.ImageError("decode", "an image without pixels")
    if width * height > MAX_PIXELS:
        raise errors.ImageError("decode", f"{width}×{height} pixels are more than {MAX_PIXELS}")


def reason_of(error: Exception) -> str:
    """Return what a library's error says, in one line of reasonable length."""
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__
