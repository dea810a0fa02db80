"""Nearest neighbours as plain arrays, rebuilt as the estimator that they were.

scikit-learn finds them, as in training: then equal distances are decided alike. It is given nothing that is not
checked to be what it would have made itself: vectors of length 1 or 0, and labels from 0 on without a gap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .contents import Contents
from .scorers import Blockwise, Matrix, State, Vectors, of_votes

_LONGEST = 1.001
"""Squared length of a vector that was divided by its length, in float32."""


def stored(kind: str, estimator: Any) -> State:
    """Return a fitted KNN."""
    fitted = estimator.neighbours_
    vectors = fitted._fit_X  # there is no other way to them
    state = {
        "n_neighbors": int(fitted.n_neighbors),
        "weights": fitted.weights,
        "precision": str(vectors.dtype),
    }
    return state, {"head/neighbours": vectors, "head/labels": fitted._y.astype(np.int32)}


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Blockwise:
    """Return a scorer of shares of votes."""
    from sklearn.neighbors import KNeighborsClassifier

    from ..classify.knn import KNN

    fields = contents.fields("head_state")
    precision = fields.text("precision", ("float32", "float64"))
    vectors = contents.array("head/neighbours", (None, dimensions), precision)
    labels = contents.array("head/labels", (len(vectors),), "int32")
    count = fields.whole("n_neighbors", 1, len(vectors))
    weights = fields.text("weights", ("uniform", "distance"))
    with np.errstate(over="ignore"):
        longest = np.einsum("ij,ij->i", vectors, vectors).max()
    if not longest <= _LONGEST:
        raise contents.fault("a neighbour is no vector of length 1")
    if not np.array_equal(np.unique(labels), np.arange(classes)):
        raise contents.fault(f"the neighbours' labels are not those of {classes} classes")
    head = KNN(count, weights)
    head.neighbours_ = KNeighborsClassifier(
        count, weights=weights, algorithm="brute", metric="euclidean", n_jobs=1
    ).fit(vectors, labels)
    head.classes_, head.n_features_in_ = np.arange(classes), dimensions

    def margin(X: Vectors) -> Matrix:
        return of_votes(head.predict_proba(X), count)

    # Beside the votes, it holds the distances and the indices of the nearest.
    return Blockwise(contents.path, classes, True, head.predict_proba, margin, max(dimensions, 4 * count))
