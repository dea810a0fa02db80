"""From the weights of cells to a heat map of the picture, and to its hottest place."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTHS = (1.0, 3.5, 1.5)
"""Of the boxes, in cells, that make a cell's spline: the cell itself, and two that it is smoothed by.

Chosen with the phantoms of `occlusion`, mean over six heads of the share of peaks within lesions: these, and
what speaks against the class cut off, 0.85; the same without cutting off 0.83; boxes of 3 and 1 with it 0.84,
of 3 and 2 0.83, of 2.5 and 1 0.77; Gaussians were worse by 0.04 to 0.15, and of single cells' peaks a third
lay within. That cells divide the picture evenly was measured, too: the peaks' median was within a tenth of a
cell of the lesions' centres, though padding by itself would put EfficientNet's cells half a cell further on.
"""
_FINE = 16
"""Places that are looked at for the peak, in each direction of a cell."""


def enlarged(weights: NDArray[np.floating[Any]], height: int, width: int) -> NDArray[np.float32]:
    """Return the weights of cells as a smooth heat map of the network's input, shape (height, width).

    The value of a place is what those cells that speak for the class add together in a window of 3½ × 3½ cells
    around it; its rim is soft, and outside the picture there is nothing.

    Parameters
    ----------
    weights : ndarray of float, shape (h, w)
        As `occlusion` or `grad_cam` returns them.
    height, width : int
        Pixels; the h cells divide the height evenly, and the w cells the width.
    """
    down, across = _windows(weights.shape[0], height), _windows(weights.shape[1], width)
    return np.asarray(down @ np.maximum(weights, 0) @ across.T, dtype=np.float32)


def peak(weights: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return where the heat map is hottest, (y, x) in fractions of the picture from its upper left corner.

    Of places that are equally hot, their middle: a flat map's peak is the picture's centre.
    """
    fine = enlarged(weights, weights.shape[0] * _FINE, weights.shape[1] * _FINE)
    hottest = np.argwhere(fine == fine.max())
    y, x = (hottest.mean(axis=0) + 0.5) / fine.shape
    return float(y), float(x)


def _windows(cells: int, places: int) -> NDArray[np.float64]:
    """Return how much of each cell is in the window around each place, shape (places, cells), from 0 to 1.

    A box of one cell, smoothed by boxes of 3.5 and 1.5 cells: a spline of degree 2.
    """
    apart = (np.arange(places)[:, None] + 0.5) * cells / places - 0.5 - np.arange(cells)
    window = np.zeros(apart.shape)
    for signs in product((-1, 1), repeat=3):
        knot = np.dot(signs, _WIDTHS) / 2
        window += np.prod(signs) * np.maximum(apart + knot, 0) ** 2
    return window / (2 * min(_WIDTHS[1:]))
