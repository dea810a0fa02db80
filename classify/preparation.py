"""What is done to vectors before a head sees them: standardized, and reduced to principal components if asked.

Everything is fitted on a split's training part, once for all heads of the split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .problem import Problem

BLOCK_ROWS = 1024
"""Rows that are worked on at once, so that nothing is held twice."""

Vectors = NDArray[np.floating[Any]]


class Prepared:
    """A split's training part, ready to be fitted on, and the way there for other rows.

    Parameters
    ----------
    problem : Problem
    train : ndarray of int
        The rows trained on; all their views are.
    reduce : int, optional
        Principal components.
    seed : int
        Of the search for them.

    Attributes
    ----------
    X : ndarray of float, shape (k · views, d)
        Not to be changed: several heads fit on it at once.
    y : ndarray of int, shape (k · views,)
    rows : ndarray of int, shape (k · views,)
        The row of the problem that each is a view of.

    Raises
    ------
    ClassesError
        If there are fewer vectors or dimensions than components.
    """

    def __init__(self, problem: Problem, train: NDArray[np.intp], reduce: int | None, seed: int) -> None:
        from sklearn.preprocessing import StandardScaler

        self.X, self.y = problem.vectors(train)
        self.rows = np.concatenate([train, np.repeat(train, problem.views - 1)])
        if self.X.dtype == np.float16:
            self.X = self.X.astype(np.float32)
        self._scaler = StandardScaler(copy=False)
        for start in range(0, len(self.X), BLOCK_ROWS):
            self._scaler.partial_fit(self.X[start : start + BLOCK_ROWS])
        for start in range(0, len(self.X), BLOCK_ROWS):
            self._scaler.transform(self.X[start : start + BLOCK_ROWS], copy=False)
        self._components: Any = None
        if reduce is not None:
            self._reduce(reduce, seed)
        self.X.flags.writeable = False

    def _reduce(self, count: int, seed: int) -> None:
        from sklearn.decomposition import PCA

        most = min(self.X.shape)
        if count > most:
            raise errors.ClassesError(
                f"--reduce pca:{count} asks for more components than a training part of {self.X.shape[0]} "
                f"vectors with {self.X.shape[1]} dimensions has: give {most} at most."
            )
        self._components = PCA(count, random_state=seed).fit(self.X)
        self.X = np.ascontiguousarray(self._components.transform(self.X), dtype=self.X.dtype)

    def steps(self) -> dict[str, NDArray[np.float64]]:
        """Return what is done to a vector x as arrays: (x − mean) / scale, then (that − centre) · components.

        `mean` and `scale` have the shape (d,); `centre` (d,) and `components` (d, k) are there only where
        vectors are reduced.
        """
        found = {"mean": self._scaler.mean_, "scale": self._scaler.scale_}
        if self._components is not None:
            found.update(centre=self._components.mean_, components=self._components.components_.T)
        return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}

    def transform(self, X: Vectors) -> Vectors:
        """Return other vectors as heads take them, shape (n, d); `X`, which is a copy, may be overwritten."""
        if X.dtype == np.float16:
            X = X.astype(np.float32)
        standardized: Vectors = self._scaler.transform(X, copy=False)
        if self._components is not None:
            standardized = np.ascontiguousarray(self._components.transform(standardized), dtype=X.dtype)
        return standardized
