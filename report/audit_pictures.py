"""Thumbnails of the audit's page: single ones, and pairs side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .parts import Gallery, Part, Picture, Words
from .thumbnails import Tile, webp

PIXELS = 160
"""The longer side of a thumbnail."""
_GAP = 6
_GROUND = 128


class Shown(NamedTuple):
    """One frame that is to be shown; `against` says that it is of the other cache."""

    against: bool
    path: str
    frame: int


Thumbnails = Callable[[Sequence[Shown]], Mapping[Shown, Tile]]
"""Returns pictures of those frames that it has any of."""

FALL_BACK = "Image files were not found: pictures are the 16×16 pixels that the cache keeps, enlarged."


def gallery(title: str, wanted: Sequence[tuple[Shown, str]], thumbnails: Thumbnails) -> tuple[Part, ...]:
    """Return a gallery of single pictures with captions, of those there are pictures of."""
    return of_pairs(title, [((one,), caption) for one, caption in wanted], thumbnails)


def of_pairs(
    title: str, wanted: Sequence[tuple[tuple[Shown, ...], str]], thumbnails: Thumbnails
) -> tuple[Part, ...]:
    """Return a gallery of which each picture shows its frames side by side.

    Parameters
    ----------
    title : str
    wanted : sequence of (tuple of Shown, str)
        Frames, and the lines under them.
    thumbnails : callable
    """
    tiles = thumbnails(list(dict.fromkeys(one for frames, _ in wanted for one in frames)))
    pictures = tuple(
        Picture(_alt(caption), _beside([tiles[one] for one in frames]), caption)
        for frames, caption in wanted
        if all(one in tiles for one in frames)
    )
    lacking = len(wanted) - len(pictures)
    parts: list[Part] = [Gallery(title, pictures)] if pictures else []
    if lacking:
        parts.append(
            Words(f"{lacking} are not shown: neither their files nor their 16×16 pixels were found.", "note")
        )
    return tuple(parts)


def _alt(caption: str) -> str:
    return ", ".join(caption.splitlines())


def _beside(tiles: Sequence[Tile]) -> bytes:
    """Return pictures side by side in one file."""
    height = max(len(tile) for tile in tiles)
    columns = [np.full((height, _GAP, 3), _GROUND, dtype=np.uint8)] * (2 * len(tiles) - 1)
    columns[::2] = [np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0))) for tile in tiles]
    return webp(np.concatenate(columns, axis=1))
