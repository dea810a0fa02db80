"""Views: variants of a picture to train on, drawn from its content, so that they are the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import errors

AUGMENTER = "affine-bilinear-nearest/1"
"""Name and version of how views are drawn in the recipe: raise it when any pixel changes."""

DEFAULT = "flips,rotate:360,zoom:0.05,shift:0.05"
"""What COVID-CTset's published training did to its images (Rahimzadeh, Attar, Sakhaei 2021)."""

MOST = 1000
"""The most views of one frame."""

_FORMS = "flips, flip-horizontal, flip-vertical, rotate:DEGREES, zoom:SHARE, shift:SHARE and seed:NUMBER"


@dataclass(frozen=True)
class Augmentation:
    """How views are drawn; each amount is the largest, drawn evenly from 0 to it in either direction.

    Parameters
    ----------
    horizontal, vertical : bool
        Turn half of the views left to right, or upside down.
    rotate : float
        Degrees; 360 is any angle.
    zoom : float
        Share of the size, each axis by itself; 0.05 draws from 0.95 to 1.05.
    shift : float
        Share of the height and of the width.
    seed : int
    """

    horizontal: bool = False
    vertical: bool = False
    rotate: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    seed: int = 0

    def recipe(self) -> str:
        """Return the one spelling that the recipe holds."""
        amounts = [f"{name}:{getattr(self, name):.10g}" for name in ("rotate", "zoom", "shift")]
        flips = [f"flip-{name}" for name in ("horizontal", "vertical") if getattr(self, name)]
        given = [text for text in amounts if not text.endswith(":0")]
        return ",".join([AUGMENTER, *flips, *given, f"seed:{self.seed}"])

    def view(self, pixels: NDArray[np.float32], content: bytes, frame: int, number: int) -> NDArray[np.float32]:
        """Return one view of a picture; view 0 is the picture itself.

        Parameters
        ----------
        pixels : ndarray of float32, shape (h, w, 3)
            As the network sees it, values between 0 and 255.
        content : bytes
            SHA-256 of the file; together with frame, number and seed it decides what is drawn.
        frame, number : int

        Returns
        -------
        ndarray of float32, shape (h, w, 3)
            In one bilinear resampling; what comes in at the edges repeats the nearest pixel.
        """
        if number == 0:
            return pixels
        from scipy import ndimage  # takes as long as a thousand images that are known already

        words = np.frombuffer(content, dtype=">u4").tolist()
        draw = np.random.default_rng([*words, frame, number, self.seed])
        mirrored = draw.random(2) < 0.5
        angle = np.deg2rad(draw.uniform(-self.rotate, self.rotate))
        zoom = draw.uniform(1 - self.zoom, 1 + self.zoom, 2)
        shift = draw.uniform(-self.shift, self.shift, 2) * pixels.shape[:2]
        signs = np.where(mirrored & (self.vertical, self.horizontal), -1.0, 1.0)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag(signs / zoom)  # from a place in the view to its place in the picture
        centre = (np.array(pixels.shape[:2]) - 1) / 2
        offset = centre - matrix @ (centre + shift)
        channels = [
            ndimage.affine_transform(pixels[..., channel], matrix, offset, order=1, mode="nearest")
            for channel in range(1 if _is_grey(pixels) else 3)
        ]
        return np.stack(channels * (3 // len(channels)), axis=-1)


def _is_grey(pixels: NDArray[np.float32]) -> bool:
    return bool((pixels[..., :1] == pixels[..., 1:]).all())


def parse(text: str) -> Augmentation:
    """Return what `text` says, such as `flips,rotate:360,zoom:0.05,shift:0.05,seed:1`.

    Raises
    ------
    UsageError
        If a part of it is not known, stands twice or is out of bounds.
    """
    found: dict[str, float] = {}
    spelled = text.removeprefix(f"{AUGMENTER},")  # as a recipe has it
    bounds = {"rotate": 360.0, "zoom": 0.9, "shift": 1.0, "seed": 2.0**32 - 1}
    for part in spelled.split(","):
        name, colon, amount = part.strip().partition(":")
        flips = {"flips": ("horizontal", "vertical"), "flip-horizontal": ("horizontal",)}
        flips["flip-vertical"] = ("vertical",)
        names = flips.get(name, ()) if not colon else (name,) if name in bounds else ()
        try:
            value = float(amount) if colon else 1.0
        except ValueError:
            names = ()
        if not names or any(name in found for name in names):
            raise errors.UsageError(
                f"--augment {text}: {part.strip()!r} is not known or stands twice; {_FORMS}."
            )
        if not 0 <= value <= bounds.get(name, 1.0) or (name == "seed" and value % 1):
            raise errors.UsageError(f"--augment {text}: {name} goes from 0 to {bounds[name]:g}.")
        found.update(dict.fromkeys(names, value))
    return Augmentation(
        horizontal="horizontal" in found,
        vertical="vertical" in found,
        rotate=found.get("rotate", 0.0),
        zoom=found.get("zoom", 0.0),
        shift=found.get("shift", 0.0),
        seed=int(found.get("seed", 0)),
    )
