"""How a file's own numbers become 0–255: the intensity policies, none of which passes through 8 bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .picture import CT, EIGHT_BIT, KINDS, OTHER, X_RAY, Picture, Pixels

DEFAULT = {EIGHT_BIT: "full", X_RAY: "voi or percentile:0.5,99.5", CT: "lung", OTHER: "percentile:0.5,99.5"}
"""The policy for each kind of picture, unless one is asked for; it is written into the recipe."""

WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0), "bone": (400.0, 1800.0)}
"""Centre and width in Hounsfield units of the CT presets."""

_FORMS = (
    "full, max, voi, percentile:LOW,HIGH, window:CENTER,WIDTH, lung, mediastinum, bone, or three windows for "
    "the three channels, such as lung/mediastinum/bone"
)


def parse(text: str | None) -> dict[str, str]:
    """Return the policy for each kind of picture: `DEFAULT`, or what `text` says for all of them.

    `full` takes the range that the bits stored can hold. `max` divides by the picture's own maximum, which
    changes the scale between images. `voi` is what the file itself says: its VOI LUT or window.
    `percentile:LOW,HIGH` and `window:CENTER,WIDTH` take a range of the picture's values; `lung`, `mediastinum`
    and `bone` are windows in Hounsfield units; `A/B/C` are three windows, one a channel.

    Raises
    ------
    UsageError
        If `text` is none of these.
    """
    if text is None:
        return dict(DEFAULT)
    parts = text.split("/")
    spelled = [_canonical(part) for part in parts]
    windows = [part in WINDOWS or part.startswith("window:") for part in parts]
    if len(parts) not in (1, 3) or (len(parts) == 3 and not all(windows)) or None in spelled:
        raise errors.UsageError(f"--intensity {text} is not known; there are {_FORMS}.")
    policy = "/".join(part for part in spelled if part is not None)
    return dict.fromkeys(KINDS, policy)


def recipe(policies: Mapping[str, str]) -> str | dict[str, str]:
    """Return policies as the recipe holds them: one text where every kind has the same."""
    distinct = set(policies.values())
    return distinct.pop() if len(distinct) == 1 else dict(policies)


def to_byte_range(picture: Picture, policies: Mapping[str, str]) -> Pixels:
    """Return a picture's pixels between 0 and 255: float32 and not rounded, or uint8 as they were.

    Parameters
    ----------
    picture : Picture
        Padding becomes 0, whatever the policy. An inverted picture is turned round at the end, once.
    policies : mapping of str to str
        As `parse` returns them. Percentiles are taken over all channels, padding left out.

    Returns
    -------
    ndarray of float32 or uint8, shape (h, w) or (h, w, 3)

    Raises
    ------
    ImageError
        If the policy cannot be had of this picture, or a value is infinite or not a number.
    """
    if picture.pixels.dtype.kind == "f" and not np.isfinite(picture.pixels).all():
        raise errors.ImageError("intensity", "holds values that are infinite or not a number")
    policy, _, otherwise = policies[picture.kind].partition(" or ")
    if policy == "voi":
        if picture.window is not None:
            return _finished(picture.window(picture.pixels), picture)
        if not otherwise:
            raise errors.ImageError(
                "intensity", "has neither a VOI LUT nor a window of its own: give a window or percentiles"
            )
        policy = otherwise
    if policy == "full" and picture.kind == EIGHT_BIT and not picture.inverted and picture.padding is None:
        return picture.pixels
    if "/" not in policy:
        return _finished(_between(picture, *_range(picture, policy)), picture)
    if picture.pixels.ndim == 3:
        raise errors.ImageError("intensity", f"is in colour, and {policy} makes the channels of grey pictures")
    channels = [_between(picture, *_range(picture, part)) for part in policy.split("/")]
    return _finished(np.stack(channels, axis=-1), picture)


def _range(picture: Picture, policy: str) -> tuple[float, float]:
    """Return the values that become 0 and 255."""
    name, _, arguments = policy.partition(":")
    pixels = picture.pixels
    if name == "full":
        if picture.stored is None:
            raise errors.ImageError(
                "intensity", "holds floats, of which no full range is known: give a window or percentiles"
            )
        return picture.stored
    measured = pixels if picture.padding is None else pixels[~picture.padding]
    if not measured.size:
        return 0.0, 0.0
    if name == "max":
        return 0.0, float(measured.max())
    if name == "percentile":
        low, high = np.percentile(measured, [float(number) for number in arguments.split(",")])
        if high <= low:  # nearly constant: the few other values decide, or all is black
            low, high = measured.min(), measured.max()
        return float(low), float(high)
    if name in WINDOWS and picture.kind != CT:
        raise errors.ImageError(
            "intensity",
            f"is not in Hounsfield units, as {name} is; give --intensity window:CENTER,WIDTH in its numbers",
        )
    centre, width = WINDOWS[name] if name in WINDOWS else map(float, arguments.split(","))
    return centre - width / 2, centre + width / 2


def _between(picture: Picture, low: float, high: float) -> NDArray[np.float32]:
    if high <= low:
        return np.zeros(picture.pixels.shape, dtype=np.float32)
    pixels = picture.pixels
    if pixels.dtype == np.float32 or pixels.dtype.itemsize <= 2:
        above = pixels.astype(np.float32) - np.float32(low)
    else:  # large numbers that differ little would become the same float32
        above = (pixels.astype(np.float64) - low).astype(np.float32)
    scaled = above * np.float32(255.0 / (high - low))
    return np.clip(scaled, 0.0, 255.0, out=scaled)


def _finished(scaled: Pixels, picture: Picture) -> Pixels:
    if picture.inverted:
        scaled = np.float32(255) - scaled
    if picture.padding is not None:
        scaled[picture.padding] = 0
    return scaled


def _canonical(policy: str) -> str | None:
    """Return one policy in its one spelling, or None if there is none of the kind."""
    name, colon, arguments = policy.partition(":")
    if not colon:
        return policy if policy in (*WINDOWS, "full", "max", "voi") else None
    if name not in ("percentile", "window"):
        return None
    try:
        first, second = (float(number) for number in arguments.split(","))
    except ValueError:
        return None
    if name == "percentile":
        fits = 0 <= first < second <= 100
    else:
        fits = second > 0 and bool(np.isfinite([first, second]).all())
    return f"{name}:{first:.10g},{second:.10g}" if fits else None
