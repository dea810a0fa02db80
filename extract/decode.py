"""The one door from a file's bytes to what the network sees: decode, intensity, resize.

The formats themselves are read by modules of their own (`raster`, `dicom`, `nifti`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import intensity, resize, views
from .dicom import open_dicom
from .dicom_header import is_bare_dicom, looks_like_dicom
from .guard import guarded
from .nifti import looks_like_nifti, open_nifti
from .picture import Opened, Picture
from .raster import open_raster

DECODER = "icehouse/2"
"""Name and version of the decoders in the recipe: raise it when any pixel changes."""


def open_image(content: bytes) -> Opened:
    """Open a file whose bytes are `content`; which format it is, they alone tell, not the file's name.

    Raises
    ------
    ImageError
        If the file is not an image of a known format, is damaged or is too large; so does `Opened.frame`.
    MissingDependency
        If the library that reads such files is not installed.
    """
    opened = guarded(_decoder_of(content), content)
    return Opened(opened.facts, lambda number: guarded(opened.frame, number))


def _decoder_of(content: bytes) -> Callable[[bytes], Opened]:
    if looks_like_dicom(content):
        return open_dicom
    if looks_like_nifti(content):
        return open_nifti
    return open_dicom if is_bare_dicom(content) else open_raster


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
    size : int or None
        Height and width of the network's input; None leaves every picture its own size.
    policy : str
        One of `resize.POLICIES`.
    intensity : dict of str to str
        The policy for each kind of picture, see `intensity.parse`.
    least : int
        Height and width that the network takes at least; it decides no vector.
    augmentation : Augmentation
        How views other than the first are drawn.
    """

    size: int | None
    policy: str = resize.STRETCH
    intensity: Mapping[str, str] = field(default_factory=lambda: dict(intensity.DEFAULT))
    least: int = 1
    augmentation: views.Augmentation = field(default_factory=lambda: views.parse(views.DEFAULT))

    def recipe(self) -> dict[str, object]:
        """Return the recipe's fields for it."""
        return {
            "decoder": DECODER,
            "intensity": intensity.recipe(self.intensity),
            "resize": self.policy if self.size is not None else "none",
            "resizer": resize.RESIZER,
            "size": self.size if self.size is not None else "native",
            "augment": self.augmentation.recipe(),
        }

    def frame(self, picture: Picture) -> Frame:
        """Return one picture as the network sees it.

        Raises
        ------
        ImageError
            If it is too small, or the intensity policy cannot be had of it.
        """
        least = min(picture.pixels.shape[:2])
        if self.size is None and least < self.least:
            raise errors.ImageError(
                "resize", f"is {least} pixels small; the network takes {self.least} or more"
            )
        pixels = intensity.to_byte_range(picture, self.intensity)
        resized = resize.resize(pixels, self.size, self.policy)
        return Frame(resized, resize.thumbnail(resized))

    def view(self, frame: Frame, content: bytes, number: int, view: int) -> Frame:
        """Return one view of the frame with this `number` in the file of this content; view 0 is the frame."""
        if view == 0:
            return frame
        pixels = self.augmentation.view(frame.pixels, content, number, view)
        return Frame(pixels, resize.thumbnail(pixels))
