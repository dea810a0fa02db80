"""What lies near each image, of other patients: how far the nearest are, and which labels they carry.

Images are compared with 2,500 of them at most, drawn by patient, so that the work grows with their
number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .whitening import Floats, Whitened

NEAREST = 20
_REFERENCE = 2500
_BLOCK = 512


class Nearest(NamedTuple):
    """The nearest images of other patients, nearest first.

    Parameters
    ----------
    row : ndarray of int, shape (n, 20)
        -1 where there are fewer.
    distance : ndarray of float32, shape (n, 20)
        Infinite where there are fewer.
    reference : ndarray of int, shape (m,)
        The rows that they were looked for among.
    """

    row: NDArray[np.intp]
    distance: Floats
    reference: NDArray[np.intp]


def space(white: Whitened) -> Floats:
    """Return the coordinates in which distances are taken, shape (n, k): components whitened half way.

    Of ten CT slices among 1,123 chest X-rays all ten stand out there, and no X-ray; in whitened components
    three and two X-rays, as a few images of another kind have a component of their own; as vectors are, seven.
    """
    return np.asarray(white.values * np.sqrt(white.spread), dtype=np.float32)


def nearest(points: Floats, unit: NDArray[np.int64]) -> Nearest:
    """Return the nearest rows of other units.

    Parameters
    ----------
    points : ndarray of float32, shape (n, k)
    unit : ndarray of int, shape (n,)
        The number of each row's patient.
    """
    reference = _reference(unit)
    theirs = points[reference]
    squares = np.einsum("ij,ij->i", theirs, theirs)
    count = min(NEAREST, len(reference))
    row = np.full((len(points), NEAREST), -1, dtype=np.intp)
    distance = np.full((len(points), NEAREST), np.inf, dtype=np.float32)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        apart = squares - 2 * (block @ theirs.T) + np.einsum("ij,ij->i", block, block)[:, None]
        apart[unit[start : start + len(block), None] == unit[reference]] = np.inf
        best = np.argpartition(apart, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(apart, best, axis=1)
        order = np.argsort(found, axis=1, kind="stable")
        found = np.take_along_axis(found, order, axis=1)
        there = reference[np.take_along_axis(best, order, axis=1)]
        row[start : start + len(block), :count] = np.where(np.isfinite(found), there, -1)
        distance[start : start + len(block), :count] = np.sqrt(np.maximum(found, 0))
    return Nearest(row, distance, reference)


def _reference(unit: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return which rows to compare with: one of each unit, then a second one, until there are enough."""
    if len(unit) <= _REFERENCE:
        return np.arange(len(unit))
    order = np.random.default_rng(0).permutation(len(unit))
    by_unit = order[np.argsort(unit[order], kind="stable")]
    sizes = np.bincount(unit)
    place = np.arange(len(unit)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(by_unit[np.argsort(place, kind="stable")[:_REFERENCE]])
