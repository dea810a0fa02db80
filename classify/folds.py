"""Cross-validation in folds that keep patients whole and have the classes in proportion.

scikit-learn's StratifiedGroupKFold keeps the rows in proportion as well, but not the patients, and with few
patients it deals the same folds again and again, so that repeats of it say nothing new.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .groups import Table

_ATTEMPTS = 100
_FREE = 1
"""How many groups of each kind a fold gets one by one, to make up for others, and not evenly."""
_OF_GROUPS = 0.05
"""What the balance of patients weighs beside that of rows."""


def folds(table: Table, *, count: int, repeats: int, seed: int) -> NDArray[np.int64]:
    """Return the fold in which each row is tested, for each repeat, shape (repeats, n).

    Parameters
    ----------
    table : Table
        Each class is in as many groups as there are folds, or more.
    count : int
        How many folds there are.
    repeats : int
    seed : int

    Raises
    ------
    ClassesError
        If no folds were found with every class in each of them.
    """
    return np.stack(
        [
            _with_every_class(table, count, np.random.default_rng([seed, repeat, 2]))[table.of_row]
            for repeat in range(repeats)
        ]
    )


def _with_every_class(table: Table, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    has = table.rows > 0
    for _ in range(_ATTEMPTS):
        fold = deal(table, count, generator)
        taken = np.zeros((count, len(table.kind)), dtype=bool)
        taken[fold, np.arange(len(fold))] = True
        if np.all([has[table.kind[groups]].any(axis=0) for groups in taken]):
            return fold
    raise errors.ClassesError(
        f"No {count} folds with every class in each of them were found in {_ATTEMPTS} draws, as patients have "
        "several classes. Ask for fewer folds."
    )


def deal(table: Table, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each group, shape (g,)."""
    taken = _taken(table, count, generator)
    # The groups of a kind, in an order by lot, go to the first fold until it has what it takes, and so on.
    begins = np.cumsum(taken, axis=1) - taken
    place = table.shuffled(generator)
    return np.asarray((place[:, None] >= begins[table.kind]).sum(axis=1) - 1)


def _taken(table: Table, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return how many groups of each kind each fold takes, shape (k, folds).

    Large groups are dealt first, each to the fold that it brings nearest to its share of the rows and, with
    less weight, of the groups of each class; most of the groups of one kind are dealt evenly.
    """
    size = table.rows.sum(axis=1)
    has = np.column_stack([table.rows, table.rows > 0, size])
    of_all = np.maximum(table.groups @ has, 1)  # a class may be missing among unlabelled rows
    weight = np.append(np.repeat([1, _OF_GROUPS], table.rows.shape[1]), _OF_GROUPS)
    has = has * (np.sqrt(weight) / of_all)
    held = np.zeros((count, has.shape[1]))
    evenly = np.maximum(table.groups // count - _FREE, 0)
    taken = np.repeat(evenly[:, None], count, axis=1)
    for kind in np.lexsort((generator.random(len(size)), -size)).tolist():
        for _ in range(int(table.groups[kind] - evenly[kind] * count)):
            # By how much each fold's squared distance from its shares grows, but for what is the same for all.
            cost = held @ has[kind]
            equal = np.flatnonzero(cost <= cost.min() + 1e-12)
            fold = equal[int(generator.random() * len(equal))]
            taken[kind, fold] += 1
            held[fold] += has[kind]
    return taken
