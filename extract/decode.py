"""The one door from a file's bytes to what the network sees: decode, intensity, resize.

The formats themselves are read by modules of their own (`raster`, `dicom`, `nifti`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from .. import errors
from . import intensity, raster, resize
from .picture import Facts, Opened, Picture, reason_of

DECODER = "icehouse/2"
"""Name and version of the decoders in the recipe: raise it when any pixel changes."""

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


def open_image(content: bytes) -> Opened:
    """Open a file whose bytes are `content`.

    Raises
    ------
    ImageError
        If the file is not an image of a known format, is damaged or is too large; so does `Opened.frame`.
    MissingDependency
        If the library that reads such files is not installed.
    """
    opened = _guarded(raster.open_raster, content)
    return Opened(opened.facts, lambda number: _guarded(opened.frame, number))


def _guarded(decoder: Callable[[_Argument], _Result], argument: _Argument) -> _Result:
    """Call a decoder; whatever it raises on a damaged file becomes an `ImageError`."""
    try:
        return decoder(argument)
    except errors.ImageError:
        raise
    except ImportError as error:
        raise errors.MissingDependency(
            f"Reading this kind of image needs {error.name}: pip install 'icehouse[extract]'."
        ) from None
    except UnidentifiedImageError:
        raise errors.ImageError("decode", "not an image of a known format") from None
    except MemoryError:
        raise errors.ImageError("decode", "not enough memory") from None
    except Exception as error:  # decoders raise whatever they meet in damaged files
        raise errors.ImageError("decode", reason_of(error)) from None


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
            "decoder": DECODER,
            "intensity": intensity.DEFAULT,
            "resize": "stretch",
            "resizer": resize.RESIZER,
            "size": list(self.size),
        }

    def frames(self, content: bytes) -> tuple[Facts, list[Frame]]:
        """Return what the file is, and its frames.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        opened = open_image(content)
        pictures = [opened.frame(number) for number in range(opened.facts.frames)]
        return opened.facts, [self.frame(picture) for picture in pictures]

    def frame(self, picture: Picture) -> Frame:
        """Return one picture as the network sees it."""
        pixels = picture.pixels
        if picture.bits > 8:
            pixels = intensity.to_byte_range(pixels, intensity.DEFAULT)
        resized = resize.resize(pixels, self.size)
        return Frame(resized, resize.thumbnail(resized))
