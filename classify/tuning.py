"""The search for a head's parameters inside a training part: no tested row is ever seen."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .heads import Spec
from .kernels import balanced_accuracy

FOLDS = 3
_ATTEMPTS = 100


def tuned(
    spec: Spec,
    X: NDArray[np.floating[Any]],
    y: NDArray[np.int64],
    groups: NDArray[np.int64],
    seed: int,
    widths: tuple[int, ...] | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Any]:
    """Return the parameters of the head's grid that judge best by inner cross-validation.

    Every combination is fitted on three folds, fewer where a class has fewer groups, and judged by the mean of
    their balanced accuracies; of equals the first in the grid is taken, which begins with the defaults. What
    the user has set is not searched.

    Parameters
    ----------
    spec : Spec
    X : ndarray of float, shape (n, d)
        The training part, standardized.
    y : ndarray of int, shape (n,)
    groups : ndarray of int, shape (n,)
        Rows of one group are never on both sides of a fold.
    seed : int
        Decides folds and heads.
    widths : tuple of int, optional
    sample_weight : ndarray of float, shape (n,), optional
        Weighs the fits of heads that can be weighed, not the judgement.

    Returns
    -------
    dict
        Empty if there is nothing to search.

    Raises
    ------
    ClassesError
        If a class has fewer than two groups.
    """
    grid = {key: values for key, values in spec.head.grid.items() if key not in spec.parameters}
    if not grid:
        return {}
    folds = _folds(y, groups, seed)
    candidates = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    means = [
        np.mean(
            [_balanced_accuracy(spec, candidate, X, y, fold, seed, widths, sample_weight) for fold in folds]
        )
        for candidate in candidates
    ]
    return candidates[int(np.argmax(means))]


def _folds(
    y: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the rows to train on and to judge, of each fold; every class is in each training side."""
    from sklearn.model_selection import StratifiedGroupKFold

    classes = np.unique(y)
    counts = [len(np.unique(groups[y == label])) for label in classes]
    if min(counts) < 2:
        raise errors.ClassesError(
            "Tuning needs two patients or images of each class in every training part, and one class has "
            f"{min(counts)} in this one. Go on without --tune, or leave the class out."
        )
    for attempt in range(_ATTEMPTS):
        drawn = StratifiedGroupKFold(min(FOLDS, *counts), shuffle=True, random_state=seed + attempt)
        folds = list(drawn.split(y, y, groups))
        if all(len(np.unique(y[train])) == len(classes) for train, _ in folds) and all(
            len(test) for _, test in folds
        ):
            return folds
    raise errors.ClassesError(
        f"Tuning found no {min(FOLDS, *counts)} folds of a training part with every class to train on, in "
        f"{_ATTEMPTS} draws. Go on without --tune, or leave the smallest class out."
    )


def _balanced_accuracy(
    spec: Spec,
    candidate: dict[str, Any],
    X: NDArray[np.floating[Any]],
    y: NDArray[np.int64],
    fold: tuple[NDArray[np.intp], NDArray[np.intp]],
    seed: int,
    widths: tuple[int, ...] | None,
    sample_weight: NDArray[np.floating[Any]] | None,
) -> float:
    """Return the mean over the classes in a fold's judged side of the share that is found."""
    train, test = fold
    weights = {"sample_weight": sample_weight[train]} if sample_weight is not None and spec.head.weighs else {}
    fitted = spec.estimator(seed, widths).set_params(**candidate).fit(X[train], y[train], **weights)
    return balanced_accuracy(y[test], np.asarray(fitted.predict(X[test])))
