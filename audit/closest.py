"""All pairs of rows whose product is large, found block by block; no table of n × n is ever made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .whitening import Floats

_LEFT, _RIGHT = 1024, 4096
"""Rows of a tile: its products stay in the processor's cache while they are looked through."""


class Pairs(NamedTuple):
    """Pairs of rows, the first the lower one, and their products; the largest first.

    Parameters
    ----------
    first, second : ndarray of int, shape (p,)
    product : ndarray of float32, shape (p,)
    lost : bool
        Whether there were more than were wanted, so that the smallest are not among them.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    product: Floats
    lost: bool


def closest(
    left: Floats,
    right: Floats,
    *,
    at_least: float,
    most: int,
    own: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pairs:
    """Return the pairs of rows i < j for which `left[i] @ right[j]` is large.

    Parameters
    ----------
    left, right : ndarray of float32, shape (n, k)
        The product must be the same for (i, j) and (j, i).
    at_least : float
        Products below it are not wanted.
    most : int
        How many pairs are kept, at most: those of the largest products.
    own : int, optional
        Only pairs whose first row is among the first `own` ones; all unless told.
    progress : callable
        Told of blocks done, and how many there are.
    """
    from joblib import Parallel, cpu_count, delayed
    from threadpoolctl import threadpool_limits

    count = len(left) if own is None else own
    starts = list(range(0, count, _LEFT))
    found = _Largest(at_least, most)

    def block(start: int) -> _Largest:
        kept = _Largest(found.at_least, most)
        for first, second, product in _tiles(left[start : min(start + _LEFT, count)], right, start, kept):
            kept.add(first, second, product)
        return kept

    # Each thread has its own blocks and needs no more of BLAS than one: sums do not depend on their number.
    with (
        threadpool_limits(limits=1),
        Parallel(
            n_jobs=cpu_count(), backend="threading", return_as="generator", pre_dispatch="2*n_jobs"
        ) as parallel,
    ):
        for done, part in enumerate(parallel(delayed(block)(start) for start in starts), start=1):
            found.add(*part.pairs())
            found.lost = found.lost or part.lost
            progress(done, len(starts))
    return Pairs(*found.pairs(), found.lost)


def _tiles(
    rows: Floats, right: Floats, start: int, kept: _Largest
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Floats]]:
    for begin in range(start, len(right), _RIGHT):
        columns = right[begin : begin + _RIGHT]
        products = rows @ columns.T
        if begin < start + len(rows):  # on the diagonal: each pair once, and no row with itself
            below = np.arange(begin, begin + len(columns)) <= np.arange(start, start + len(rows))[:, None]
            products[below] = -np.inf
        places = np.flatnonzero(products.ravel() >= kept.at_least)
        if len(places):
            first, second = np.divmod(places, len(columns))
            yield first + start, second + begin, products.ravel()[places]


class _Largest:
    """The largest of many products, with their pairs, in no more memory than twice as many take."""

    def __init__(self, at_least: float, most: int) -> None:
        self.at_least = at_least
        self.lost = False
        self._most = most
        self._parts: list[tuple[NDArray[np.intp], NDArray[np.intp], Floats]] = []
        self._held = 0

    def add(self, first: NDArray[np.intp], second: NDArray[np.intp], product: Floats) -> None:
        self._parts.append((first, second, product))
        self._held += len(first)
        if self._held > 2 * self._most:
            self._parts = [self.pairs()]
            self._held = self._most
            self.at_least = float(self._parts[0][2][-1])

    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
        """Return what is held, at most as much as is wanted, the largest first."""
        if not self._parts:
            return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.float32)
        first, second, product = (np.concatenate(values) for values in zip(*self._parts, strict=True))
        order = np.lexsort((second, first, -product))[: self._most]
        self.lost = self.lost or len(order) < len(first)
        return first[order], second[order], product[order]
