"""scikit-learn's random forest as plain arrays: its trees, whose leaves hold the classes' shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import trees
from .contents import Contents
from .scorers import Blockwise, Matrix, State, Vectors, of_votes


def stored(kind: str, estimator: Any) -> State:
    """Return a fitted RandomForestClassifier."""
    read = [_tree(fitted.tree_) for fitted in estimator.estimators_]
    return {}, trees.stored(read)


def _tree(tree: Any) -> trees.Tree:
    return trees.Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=tree.feature,
        threshold=_just_above(tree.threshold),
        values=tree.value[:, 0, :],
    )


def _just_above(thresholds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the t for which x < t says of every float32 x what x <= threshold does."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, nearest, np.nextafter(nearest, np.float32(np.inf)))


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Blockwise:
    """Return a scorer that answers as the forest does, by the mean of its trees in the same order."""
    ensemble = trees.restored(contents, dimensions, classes, "float64")
    shares = ensemble.leaves
    if shares.min() < 0 or shares.max() > 1 or np.abs(shares.sum(axis=1) - 1).max() > 1e-6:
        raise contents.fault("the leaf of a tree holds no shares of classes")

    def answer(X: Vectors) -> Matrix:
        total = np.zeros((len(X), classes))
        for leaf in ensemble.reached(X):
            total += shares[leaf]
        total /= len(ensemble.roots)
        return total

    def margin(X: Vectors) -> Matrix:
        return of_votes(answer(X), len(ensemble.roots))

    return Blockwise(contents.path, classes, True, answer, margin, max(dimensions, classes))
