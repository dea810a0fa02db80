"""What a cache holds of a stored run: which of its rows are the run's, and their vectors.

Rows find each other by content and frame, so that a cache may have grown, or have got other labels, meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.keys import keys_of
from ..cache.store import Cache
from .stored import StoredRun

_BLOCK = 4096
"""Rows whose vectors are held beside those that are wanted."""


def layers_of(run: StoredRun) -> tuple[str, ...]:
    """Return the layers whose vectors a run was of."""
    return tuple(run.plan["layer"].split("+"))


def is_of(cache: Cache, run: StoredRun) -> bool:
    """Tell whether a cache's vectors are of the kind that a run was of."""
    held, layers = cache.header.fingerprints, layers_of(run)
    return all(name in held for name in layers) and (
        "+".join(held[name] for name in layers) == run.plan["fingerprint"]
    )


def rows_of(cache: Cache, content: NDArray[np.uint8], frame: NDArray[Any]) -> NDArray[np.intp]:
    """Return the row of `cache.X` of each of some frames, by content and number; −1 where there is none.

    Parameters
    ----------
    cache : Cache
    content : ndarray of uint8, shape (n, 32)
    frame : ndarray of int, shape (n,)
    """
    sample = cache.sample_of_row
    held = keys_of(cache.samples.content[sample], cache.frame_of_row, np.zeros(len(sample), dtype=np.int16))
    wanted = keys_of(content, frame.astype(np.int32), np.zeros(len(frame), dtype=np.int16))
    rows = np.full(len(wanted), -1, dtype=np.intp)
    if len(held):
        order = np.argsort(held, kind="stable")
        place = np.minimum(np.searchsorted(held[order], wanted), len(held) - 1)
        same = held[order][place] == wanted
        rows[same] = order[place[same]]
    return rows


def vectors_of(cache: Cache, layers: Sequence[str], rows: NDArray[np.intp]) -> NDArray[np.floating[Any]]:
    """Return the vectors of some rows of `cache.X`, the layers one after another, shape (n, d).

    However few they are of however many, not all others are held beside them.
    """
    parts = []
    for layer in layers:
        taken = np.empty((len(rows), cache.dimensions[layer]), dtype=np.float32)
        for start in range(0, int(rows.max(initial=-1)) + 1, _BLOCK):
            inside = np.flatnonzero((rows >= start) & (rows < start + _BLOCK))
            if len(inside):
                taken[inside] = cache.vectors(layer, slice(start, start + _BLOCK))[rows[inside] - start]
        parts.append(taken)
    return np.concatenate(parts, axis=1)


def further_of(cache: Cache, layer: str, rows: NDArray[np.intp], views: int) -> NDArray[np.floating[Any]]:
    """Return the vectors of the first further views of some rows, shape (n, views - 1, d).

    The cache may hold more views than that by now, but no fewer.
    """
    if views == 1:
        return np.zeros((len(rows), 0, cache.dimensions[layer]), dtype=np.float32)
    every, _ = cache.views(layer)
    return every.reshape(-1, cache.header.views - 1, every.shape[1])[rows, : views - 1]
