"""On which side the frames without a label are, of patients whose own label is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .folds import deal
from .groups import Table, table
from .hold_out import balanced
from .problem import Problem, Unlabelled


def scored(
    problem: Problem,
    kind: str,
    train: NDArray[np.bool_],
    test: NDArray[np.bool_],
    *,
    share: float,
    folds: int,
    seed: int,
) -> NDArray[np.bool_]:
    """Return which unlabelled rows are scored in each split, shape (s, m).

    They go with the labelled rows of their group: scored where these are tested and not trained on. Groups
    without a labelled row get a side by lot, in proportion to the labels of their patients.

    Parameters
    ----------
    problem : Problem
    kind : {"hold-out", "folds", "columns"}
        For "columns" nothing is drawn.
    train, test : ndarray of bool, shape (s, n)
    share : float
        The chance of a group without a labelled row to be scored in a split of a hold-out.
    folds : int
        How many splits are one cross-validation, in which each such group is scored once.
    seed : int
    """
    rows = problem.unlabelled
    if rows is None:
        return np.zeros((len(test), 0), dtype=bool)
    result = np.stack([_with_their_group(problem, rows, *sides) for sides in zip(train, test, strict=True)])
    alone = ~np.isin(rows.groups, problem.groups)
    if kind == "columns" or not alone.any():
        return result
    groups = table(rows.groups[alone], rows.content[alone], rows.y[alone], len(problem.classes))
    if kind == "hold-out":
        drawn = [_by_lot(groups, share, np.random.default_rng([seed, s, 4])) for s in range(len(test))]
        result[:, alone] = np.stack(drawn)
    else:
        for start in range(0, len(test), folds):
            fold = deal(groups, folds, np.random.default_rng([seed, start // folds, 4]))[groups.of_row]
            result[start : start + folds, alone] = fold == np.arange(len(test[start : start + folds]))[:, None]
    return result


def _with_their_group(
    problem: Problem, rows: Unlabelled, train: NDArray[np.bool_], test: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    tested = np.isin(rows.groups, problem.groups[test])
    return np.asarray(tested & ~np.isin(rows.groups, problem.groups[train]))


def _by_lot(groups: Table, share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    taken = balanced(np.full(len(groups.groups), share), groups, generator)
    return np.asarray((groups.shuffled(generator) < taken[groups.kind])[groups.of_row])
