"""Some frames through the network once more, to see what it saw: pixels, feature maps and vectors, not kept.

Only these frames are read, whatever else is in their files; for all frames of many images there is `streaming`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import canaries, engines
from .decode import open_image
from .guard import guarded
from .layers import LAYER
from .settings import Setup

_BATCH = 8
"""Few, as feature maps are large."""
_TOLERANCE = 1e-2
"""How far the mean of maps may be from the vector, relative to it: bfloat16 rounds to 4e-3."""

_Name = TypeVar("_Name")


class Seen(NamedTuple):
    """What the network made of one frame.

    Parameters
    ----------
    pixels : ndarray of float32, shape (h, w, 3)
        What it saw, 0–255.
    maps : ndarray of float32, shape (h, w, c)
        Its last feature maps.
    mirrored : ndarray of float32, shape (h, w, c)
        Those of the same picture turned left to right.
    vector : ndarray of float32, shape (c,)
    """

    pixels: NDArray[np.float32]
    maps: NDArray[np.float32]
    mirrored: NDArray[np.float32]
    vector: NDArray[np.float32]


def look(
    setup: Setup, wanted: Mapping[_Name, tuple[Callable[[], bytes | None], int]]
) -> Iterator[tuple[_Name, Seen]]:
    """Yield what the network makes of some frames; those that cannot be read are passed over.

    Parameters
    ----------
    setup : Setup
        With a size: as `matching.setup_for` returns it for `avg_pool`.
    wanted : mapping
        Under the caller's own names, what reads the bytes of each frame's file, and the frame's number in it.

    Raises
    ------
    WeightsError, MissingDependency
        If the network is not to be had.
    RecipeMismatch
        If its vectors are not the means of its maps.
    """
    names = list(wanted)
    if not names:
        return
    plan = replace(setup.plan, engine=engines.choose(setup.plan.engine))
    engine = engines.load(plan, _BATCH, canaries.pixels(setup.canary_preparation))
    step = min(_BATCH, engine.batch_size)
    for start in range(0, len(names), step):
        read = [(name, _prepared(setup, *wanted[name])) for name in names[start : start + step]]
        had = [(name, pixels) for name, pixels in read if pixels is not None]
        if had:
            stacked = np.stack([pixels for _, pixels in had])
            output = engine.run(stacked)
            mirrored = engine.run(np.ascontiguousarray(stacked[:, :, ::-1])).maps
            vectors = output.vectors[LAYER]
            check_means(output.maps, vectors)
            for (name, pixels), maps, turned, vector in zip(had, output.maps, mirrored, vectors, strict=True):
                yield name, Seen(pixels, maps, turned, vector)


def check_means(maps: NDArray[np.float32], vectors: NDArray[np.float32]) -> None:
    """Raise `RecipeMismatch` unless maps' means are the vectors: else nothing can be told of their places."""
    apart = np.linalg.norm(maps.mean(axis=(1, 2), dtype=np.float64) - vectors, axis=1)
    if np.any(apart > _TOLERANCE * np.linalg.norm(vectors, axis=1)):
        raise errors.RecipeMismatch(
            "The network's vectors are not the means of its last feature maps, so that no place of a picture "
            "can be said to add to them."
        )


def _prepared(setup: Setup, read: Callable[[], bytes | None], frame: int) -> NDArray[np.float32] | None:
    data = read()
    try:
        opened = None if data is None else open_image(data)
        if opened is None or not 0 <= frame < opened.facts.frames:
            return None
        return guarded(setup.preparation.frame, opened.frame(frame)).pixels
    except errors.ImageError:
        return None
