"""How alike two pictures look, from their 16×16 pixels, however one of them was mirrored or turned.

A picture is described by its low spatial frequencies (its discrete cosine transform), whitened over the data
set: mirroring changes signs there, and transposing swaps rows with columns, so that all eight ways in which a
square can be laid cost two products. What is the same in every picture of the data set, such as lungs at both
sides, counts little, as it does for whitened vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .whitening import Floats, unit

WAYS = (
    "same",
    "mirrored",
    "upside down",
    "turned by 180°",
    "transposed",
    "turned by 90°",
    "turned by 270°",
    "transposed and turned by 180°",
)
"""How the second picture of a pair lies beside the first."""
_SIDE = 16
_FREQUENCIES = 11
"""In each direction: the first 120 of 255. With all of them pictures of different patients are a little less
alike (0.65 in place of 0.74 for the nearest of chest X-rays), and every search takes twice as long."""
_SHRINKAGE = 0.01
_ROWS = 8192
_AT_ONCE = 16_384


@dataclass(frozen=True)
class Looks:
    """Pictures by their whitened frequencies.

    Parameters
    ----------
    values : ndarray of float32, shape (n, 11 · 11)
        Of length 1; zeros for a picture of one grey.
    """

    values: Floats

    def __len__(self) -> int:
        return len(self.values)

    def similarity(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> tuple[Floats, NDArray[np.int8]]:
        """Return the cosine of each pair, in the way in which the second is most like the first, and that way.

        Parameters
        ----------
        first, second : ndarray of int, shape (p,)

        Returns
        -------
        similarity : ndarray of float32, shape (p,)
        way : ndarray of int, shape (p,)
            Index into `WAYS`.
        """
        best, way = np.empty(len(first), dtype=np.float32), np.empty(len(first), dtype=np.int8)
        for start in range(0, len(first), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            one, two = self.values[first[part]], self.values[second[part]]
            every = np.concatenate([one * two @ _SIGNS, one * two[:, _TRANSPOSED] @ _SIGNS], axis=1)
            way[part] = every.argmax(axis=1)
            best[part] = every[np.arange(len(every)), way[part]]
        return best, way

    def bounds(self) -> tuple[Floats, Floats]:
        """Return two tables of which the product of two rows is no less than the pictures' similarity.

        Signs that mirroring changes are dropped, and frequencies that transposing swaps are sorted. Neither
        makes two descriptions differ more, whichever way the pictures lie. So one search over all pairs finds
        those of all eight ways, and misses none.

        Returns
        -------
        left, right : ndarray of float32, shape (n, 11 · 11)
        """
        values = self.values.reshape(-1, _FREQUENCIES, _FREQUENCIES)
        even = np.arange(_FREQUENCIES) % 2 == 0
        folded = np.where(even[:, None] & even, values, np.abs(values))
        above, below = np.triu_indices(_FREQUENCIES, 1)
        corner = np.arange(_FREQUENCIES)
        upper, lower = folded[:, above, below], folded[:, below, above]
        parts = [folded[:, corner, corner], np.minimum(upper, lower), np.maximum(upper, lower)]
        same = np.concatenate(parts, axis=1)
        return same, same  # of length 1, as the values are


def looks(pixels: NDArray[np.uint8], fitted_on: int | None = None) -> Looks:
    """Return the descriptions of pictures.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, 256)
    fitted_on : int, optional
        How many of them the whitening is found on, the first; all unless told.
    """
    from scipy.fft import dctn

    values = np.empty((len(pixels), _FREQUENCIES, _FREQUENCIES), dtype=np.float32)
    for start in range(0, len(pixels), _AT_ONCE):
        part = pixels[start : start + _AT_ONCE].astype(np.float32).reshape(-1, _SIDE, _SIDE)
        values[start : start + len(part)] = dctn(part, axes=(1, 2), norm="ortho")[
            :, :_FREQUENCIES, :_FREQUENCIES
        ]
    values[:, 0, 0] = 0  # the mean grey
    # In single precision the frequencies of a picture of one grey are not quite zero.
    values[np.abs(values).max(axis=(1, 2)) < 0.01] = 0
    lengths = np.linalg.norm(values, axis=(1, 2), keepdims=True)
    values /= np.where(lengths > 0, lengths, 1)
    some = values[: fitted_on or len(values)]
    some = some[:: max(1, -(-len(some) // _ROWS))]
    variance = np.square(some, dtype=np.float64).mean(axis=0)
    variance = (variance + variance.T) / 2
    spread = np.sqrt(variance + _SHRINKAGE * variance.mean())
    # What is common to all pictures whichever way they lie: of frequencies that are even in both directions.
    common = np.zeros(values.shape[1:])
    common[::2, ::2] = some.mean(axis=0, dtype=np.float64)[::2, ::2]
    values -= ((common + common.T) / 2).astype(np.float32)
    values /= np.where(spread > 0, spread, 1).astype(np.float32)
    values[lengths[:, 0, 0] == 0] = 0
    return Looks(unit(values.reshape(len(values), -1)))


def _signs() -> Floats:
    """Return what four sums of products of frequencies need: the signs of the four ways to mirror."""
    odd = np.arange(_FREQUENCIES) % 2
    columns = [(-1.0) ** (down * odd[:, None] + across * odd) for down in (0, 1) for across in (0, 1)]
    return np.stack(columns, axis=-1).reshape(-1, 4).astype(np.float32)


_SIGNS = _signs()
_TRANSPOSED = np.arange(_FREQUENCIES**2).reshape(_FREQUENCIES, _FREQUENCIES).T.ravel()
