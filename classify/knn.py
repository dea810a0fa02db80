"""Nearest neighbours by cosine, in little memory.

Asked for its cosine metric, scikit-learn would normalize all training rows again for each batch of rows, and
hold their distances whole. Between vectors of length 1 the Euclidean order is the same, and there it keeps only
the nearest.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

_BLOCK = 1024
"""Rows that are normalized at once."""


class KNN(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The vote of the training vectors at the smallest angles.

    Parameters
    ----------
    n_neighbors : int, default=5
        All training rows vote where there are fewer.
    weights : {"uniform", "distance"}, default="uniform"
        Whether nearer ones count more: by 1 / distance between vectors of length 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    neighbours_ : KNeighborsClassifier
        Fitted on the training vectors, each divided by its length.

    Examples
    --------
    >>> from icehouse.classify.knn import KNN
    >>> fitted = KNN(n_neighbors=1).fit([[1.0, 0.1], [0.1, 1.0]], ["flat", "steep"])
    >>> str(fitted.predict([[5.0, 1.0]])[0])
    'flat'
    """

    def __init__(self, n_neighbors: int = 5, weights: str = "uniform") -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights

    def fit(self, X: Any, y: Any) -> KNN:
        """Keep the training vectors, X of shape (n, d) and y of shape (n,)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        given: Any = self.n_neighbors
        if not isinstance(given, Integral):
            raise ValueError(f"n_neighbors must be a whole number, not {given!r}.")
        count = min(self.n_neighbors, len(X))
        self.neighbours_ = KNeighborsClassifier(
            count, weights=self.weights, algorithm="brute", metric="euclidean", n_jobs=1
        )
        self.neighbours_.fit(normalize(X), y)
        self.classes_ = self.neighbours_.classes_
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return each class's share of the votes, shape (n, n_classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        shares = np.empty((len(X), len(self.classes_)))
        for start in range(0, len(X), _BLOCK):
            rows = normalize(X[start : start + _BLOCK])
            shares[start : start + _BLOCK] = self.neighbours_.predict_proba(rows)
        return shares

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class with most votes for each row, shape (n,); the first of several."""
        shares = self.predict_proba(X)
        return np.asarray(self.classes_[np.argmax(shares, axis=1)])
