"""Heat maps over pictures: one explained picture as a PNG with words, or the overlay alone for a page.

Where the weights come from is not known here. Sheets of many, and files, are `heat_files`' work.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, PngImagePlugin

from .canvas import ALARM, DIM, INK, PALE, PAPER, Canvas
from .explanation import UNLIKELY, Explanation
from .tables import DISCLAIMER

SOFTWARE = "icehouse explain"
"""What an explanation's PNG says of itself: only such a file is ever replaced by another."""

METHODS = {
    "occlusion": "what this place adds to the score (margin), against the average picture",
    "grad-cam": "Grad-CAM: what this place adds to the score (margin), by the head's gradient",
}
"""What the numbers of each method are."""

# Inferno (Nathaniel Smith and Stéfan van der Walt, 2015, CC0), even in lightness: ten of its colours, as
# plotly.colors.sequential.Inferno has them, and between those a straight line.
_INFERNO = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"
_LEVELS = 256
_OPAQUE = 0.65
"""How much of the largest weight's place its colour covers; of the others', in proportion."""

_COMPRESSION = 4
"""Of PNGs: half the time of Pillow's default, 6, for a tenth more bytes."""

_PANEL, _MARGIN, _GAP, _BAR, _TICKS = 320, 24, 16, 14, 58
_TALLEST = 640
_LONGEST = 40
"""Characters of a class's name within sentences."""
_SCALE = 2
"""Pixels to one of the numbers above: sharp on screens that have two."""

Pixels = NDArray[np.uint8]
Heat = NDArray[np.floating[Any]]


def overlay(shown: Explanation) -> bytes:
    """Return a PNG: the picture, the heat over it, the scale, and what was asked and answered."""
    height, width = _fitted(shown.pixels.shape[0], shown.pixels.shape[1], _PANEL)
    whole = 2 * _MARGIN + 2 * _PANEL + 2 * _GAP + _BAR + _TICKS
    canvas = Canvas(Image.new("RGB", (whole * _SCALE, _TALLEST * _SCALE), PAPER), _SCALE)
    inner = whole - 2 * _MARGIN
    canvas.text(_MARGIN, 16, shown.name, 17, width=inner)
    canvas.text(_MARGIN, 42, _answer(shown), 14, width=inner)
    canvas.text(_MARGIN, 62, f"by {shown.bundle}{_unlike(shown)}", 12, DIM, inner)
    top, left = 88, _MARGIN + _PANEL + _GAP
    size = width * _SCALE, height * _SCALE
    picture = Image.fromarray(shown.pixels).resize(size, Image.Resampling.BICUBIC)
    canvas.image.paste(picture, (_MARGIN * _SCALE, top * _SCALE))
    heated = _heated(shown.pixels, shown.heat, size)
    if shown.peak is not None:
        _ring(heated, shown.peak, 9 * _SCALE)
    canvas.image.paste(heated, (left * _SCALE, top * _SCALE))
    _scale(canvas, left + _PANEL + _GAP, top, height, shown)
    seen = f"as the network saw it: {shown.pixels.shape[1]} × {shown.pixels.shape[0]} pixels"
    y = top + height + 6.0
    canvas.text(_MARGIN, y, seen, 12, DIM, _PANEL)
    canvas.text(left, y, f"what speaks for {shown.explained}", 12, DIM, _PANEL)
    y += 26
    for text, colour in (*((text, INK) for text in _words(shown)), (DISCLAIMER, ALARM)):
        y = canvas.paragraph(_MARGIN, y, text, 12, colour, inner) + 3
    return png(canvas.image.crop((0, 0, whole * _SCALE, round(y + _MARGIN / 2) * _SCALE)))


def bare_overlay(pixels: Pixels, heat: Heat, width: int, peak: tuple[float, float] | None = None) -> bytes:
    """Return a WebP picture of the heat alone over what the network saw, for pages that say the rest.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
    heat : ndarray of float, shape (h, w)
        What each place adds, as `explain.heat.enlarged` returns it, of any size. The largest has the brightest
        colour; those below 0 have none.
    width : int
        Of the result, in pixels; its height follows.
    peak : tuple of float, optional
        (y, x) as fractions of the picture, to be marked with a ring.
    """
    picture = _heated(pixels, heat, (width, max(1, round(width * pixels.shape[0] / pixels.shape[1]))))
    if peak is not None:
        _ring(picture, peak, max(4, width // 24))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


def tile(shown: Explanation, side: int) -> Image.Image:
    """Return the heat over a picture that fits into a square, its peak marked."""
    height, width = _fitted(shown.pixels.shape[0], shown.pixels.shape[1], side)
    picture = _heated(shown.pixels, shown.heat, (width, height))
    if shown.peak is not None:
        _ring(picture, shown.peak, max(4, side // 24))
    return picture


def png(picture: Image.Image) -> bytes:
    """Return a PNG that says what made it, and what it is not for."""
    said = PngImagePlugin.PngInfo()
    said.add_text("Software", SOFTWARE)
    said.add_text("Disclaimer", DISCLAIMER)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=said, dpi=(96 * _SCALE, 96 * _SCALE), compress_level=_COMPRESSION)
    return buffer.getvalue()


def number(value: float) -> str:
    """Return a score or weight with three digits that count."""
    return f"{value:.3g}"


def _answer(shown: Explanation) -> str:
    label = f"labelled {shown.known_label}, " if shown.known_label else ""
    explained = (
        f"predicted {shown.predicted}"
        if shown.explained == shown.predicted
        else f"predicted {shown.predicted}; explained here: {shown.explained}"
    )
    return f"{label}{explained}: probability {shown.probability:.3f}, score {shown.score:+.3g}"


def _unlike(shown: Explanation) -> str:
    if shown.ood is None or shown.ood >= UNLIKELY:
        return ""
    return f", and unlike the pictures that it was fitted on (out-of-distribution p {shown.ood:.3f})"


def _words(shown: Explanation) -> list[str]:
    """Return what has to be known to read the picture."""
    most, least = float(shown.heat.max()), float(shown.weights.min())
    name = shown.explained if len(shown.explained) <= _LONGEST else f"{shown.explained[:_LONGEST]}…"
    if most <= 0:
        return [f"Nothing in this picture speaks for {name}: no weight is above 0."]
    lines = [
        f"Colour: {METHODS[shown.method]}, from 0 (none) to {number(most)}; the ring marks the peak. The "
        f"score is the margin of {name} above the best other class."
    ]
    if least < 0:
        lines.append(
            f"Cells that speak against {name} (weights below 0, down to {number(least)}) have no colour."
        )
    return lines


def _fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """Return height and width as large as a square allows."""
    longer = max(height, width)
    return max(1, round(side * height / longer)), max(1, round(side * width / longer))


def _colours() -> Pixels:
    """Return the scale's 256 colours."""
    known = np.frombuffer(bytes.fromhex(_INFERNO.replace(" ", "")), dtype=np.uint8).reshape(-1, 3)
    places = np.linspace(0, 1, len(known))
    wanted = np.linspace(0, 1, _LEVELS)
    return np.stack([np.rint(np.interp(wanted, places, channel)) for channel in known.T], axis=1).astype(
        np.uint8
    )


_TABLE = _colours()


def _mixed(ground: NDArray[np.float32], strength: NDArray[np.float32]) -> Image.Image:
    """Return a ground (H, W, 3), 0–255, with the colours of weights (H, W) between 0 and 1 over it.

    What speaks against a class is left out: a second colour would have to be told from the first and from the
    picture, and says no more than that a place looks less like the class than the average picture does.
    """
    cover = (_OPAQUE * strength)[..., np.newaxis]
    colour = _TABLE[np.rint(strength * (_LEVELS - 1)).astype(np.intp)].astype(np.float32)
    return Image.fromarray(np.rint(ground * (1 - cover) + colour * cover).astype(np.uint8))


def _heated(pixels: Pixels, heat: Heat, size: tuple[int, int]) -> Image.Image:
    """Return the heat over a picture, brought to a width and height."""
    ground = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    most = float(heat.max())
    if most <= 0:
        return _mixed(ground, np.zeros(ground.shape[:2], dtype=np.float32))
    # Cut before it is made smooth: beside a deep hole a cubic rises above the ground.
    relative = Image.fromarray((np.maximum(heat, 0) / most).astype(np.float32))
    strength = np.asarray(relative.resize(size, Image.Resampling.BICUBIC))
    return _mixed(ground, np.clip(strength, 0, 1))


def _ring(picture: Image.Image, peak: tuple[float, float], radius: int) -> None:
    """Mark a place with a white ring that is edged with black, so that it shows on any ground."""
    y, x = peak[0] * picture.height, peak[1] * picture.width
    pen, line = ImageDraw.Draw(picture), max(1, radius // 6)
    for edge, colour, thick in ((line, "black", 3 * line), (0, "white", line)):
        reach = radius + edge
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=thick)


def _scale(canvas: Canvas, x: int, y: int, height: int, shown: Explanation) -> None:
    """Draw the colour bar as the colours look on mid-grey, with its numbers."""
    most = float(shown.heat.max())
    if most <= 0:
        return
    strength = np.linspace(1, 0, height * _SCALE, dtype=np.float32)[:, np.newaxis]
    strength = np.repeat(strength, _BAR * _SCALE, axis=1)
    bar = _mixed(np.full((*strength.shape, 3), 128, dtype=np.float32), strength)
    canvas.image.paste(bar, (x * _SCALE, y * _SCALE))
    box = [side * _SCALE for side in (x, y, x + _BAR, y + height)]
    canvas.pen.rectangle(box, outline=PALE, width=1)
    for share in (0.0, 0.5, 1.0):
        level = y + (1 - share) * height
        canvas.pen.line(
            [side * _SCALE for side in (x + _BAR, level, x + _BAR + 4, level)], fill=INK, width=_SCALE
        )
        canvas.text(x + _BAR + 7, min(max(level - 8, y - 3), y + height - 12), number(share * most), 12)
