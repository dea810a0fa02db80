"""Vectors, centred and whitened: a few numbers for each, in which similar and odd images are told.

They are read a block at a time; only what is left of them is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 128
"""Principal components, at most. On chest X-rays and CT slices 256 told cropped copies apart from pictures of
other patients a little better (97 % against 95 %), and took twice as long."""
_ROWS_A_COMPONENT = 4
_ROWS = 8192
"""That components are found on, at most."""
_VALUES = 2**24
"""Numbers that are read at once, about."""
_SHRINKAGE = 0.01
"""Of the mean variance, added to each: what keeps the last components from being blown up."""
_SMALLEST_SHARE = 1e-6

Floats = NDArray[np.float32]
Read = Callable[[slice], NDArray[np.floating[Any]]]
"""Returns some rows of a cache's vectors."""


class Whitened(NamedTuple):
    """Whitened vectors.

    Parameters
    ----------
    values : ndarray of float32, shape (n, k)
        Principal components of variance 1 or less, the largest first.
    spread : ndarray of float32, shape (k,)
        What each component was divided by.
    fitted : ndarray of bool, shape (n,)
        Whether the components were found on it: such a vector is a little longer in them than another.
    """

    values: Floats
    spread: Floats
    fitted: NDArray[np.bool_]

    def unit(self) -> Floats:
        """Return the vectors at length 1, so that their products are cosines."""
        return unit(self.values)


def unit(values: Floats) -> Floats:
    """Return rows at length 1; those of zeros stay."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def whiten(
    read: Read, rows: NDArray[np.intp], width: int, also: Sequence[tuple[Read, NDArray[np.intp]]] = ()
) -> Whitened:
    """Return the whitened vectors of some rows of a cache, and after them of rows of others.

    Components are found on the rows of the first cache alone, 8,192 of them at most, at even distances.

    Parameters
    ----------
    read : callable
    rows : ndarray of int, shape (n,)
        Ascending.
    width : int
        The length d of a vector.
    also : sequence of (callable, ndarray)
        Further rows, whitened alike.
    """
    from sklearn.decomposition import PCA

    most = max(16, min(_ROWS, 2 * _VALUES // width))
    chosen = rows[:: -(-len(rows) // most)]
    some = np.concatenate(list(blocks(read, chosen, width)))
    # Vectors near the end of float32's range would have infinite squares.
    scale = np.float32(1 / max(float(np.abs(some).max(initial=0)), 1.0))
    count = max(1, min(COMPONENTS, width, len(some) // _ROWS_A_COMPONENT))
    solver = "randomized" if min(some.shape) > 4 * count else "full"
    fitted = np.concatenate([np.isin(rows, chosen), *(np.zeros(len(part), dtype=bool) for _, part in also)])
    if not np.any(some != some[0]):  # nothing to tell them by
        return Whitened(np.zeros((len(fitted), 1), dtype=np.float32), np.ones(1, dtype=np.float32), fitted)
    found = PCA(count, svd_solver=solver, random_state=0).fit(some * scale)
    variance = found.explained_variance_
    kept = variance > _SMALLEST_SHARE * variance[0]
    basis = np.asarray(found.components_[kept].T, dtype=np.float32)
    spread = np.sqrt(variance[kept] + _SHRINKAGE * variance[kept].mean()).astype(np.float32)
    mean = np.asarray(found.mean_, dtype=np.float32)
    values = [
        (block.astype(np.float32) * scale - mean) @ basis / spread
        for source, wanted in ((read, rows), *also)
        for block in blocks(source, wanted, width)
    ]
    return Whitened(np.nan_to_num(np.concatenate(values)), spread, fitted)


def blocks(read: Read, rows: NDArray[np.intp], width: int) -> Any:
    """Yield the vectors of ascending rows, a block of the file at a time."""
    step = max(256, _VALUES // width // 256 * 256)
    for start in range(int(rows[0]) if len(rows) else 0, int(rows[-1]) + 1 if len(rows) else 0, step):
        first, after = np.searchsorted(rows, (start, start + step))
        if first < after:
            block = read(slice(start, start + step))
            yield block if after - first == len(block) else block[rows[first:after] - start]
