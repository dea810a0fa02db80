"""Training parts whose classes have about the same number of rows: patients of the larger ones leave them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .groups import table
from .problem import Problem
from .sides import Splits


def subsample(problem: Problem, splits: Splits, seed: int) -> Splits:
    """Return the splits with whole groups of larger classes taken out of the training parts at random.

    A group leaves unless a class would then have fewer rows than the smallest class has, so that what is left
    of a class exceeds that by less than its smallest group. Of random splits the surplus is tested, as
    COVID-CTset did; of given ones it takes no part.

    Parameters
    ----------
    problem : Problem
    splits : Splits
    seed : int
    """
    groups = table(problem.groups, problem.content, problem.y, len(problem.classes)).of_row
    surplus = np.stack(
        [
            part & np.isin(groups, _leaving(groups[part], problem.y[part], np.random.default_rng([seed, s, 3])))
            for s, part in enumerate(splits.train)
        ]
    )
    count = float(surplus.sum(axis=1).mean())
    tested = splits.kind != "columns"
    note = f"To balance the classes, {count:.0f} rows of each training part (on average) "
    if not tested:
        note += "are left out of it, in whole patients."
    elif splits.kind == "folds":
        note += "are tested instead, in whole patients; the test parts of folds overlap by them."
    else:
        note += "are tested instead, in whole patients."
    return replace(
        splits,
        train=splits.train & ~surplus,
        test=splits.test | surplus if tested else splits.test,
        notes=(*splits.notes, note) if count else splits.notes,
    )


def _leaving(
    groups: NDArray[np.int64], y: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return the groups that leave a training part, of whose rows the groups and labels are given."""
    names, of_row = np.unique(groups, return_inverse=True)
    classes = int(y.max()) + 1
    rows = np.bincount(of_row * classes + y, minlength=len(names) * classes).reshape(len(names), classes)
    left = rows.sum(axis=0).tolist()
    fewest = min(left)
    holds: list[list[tuple[int, int]]] = [[] for _ in names]
    for group, label in zip(*(axis.tolist() for axis in np.nonzero(rows)), strict=True):
        holds[group].append((label, int(rows[group, label])))
    leaving = []
    for group in generator.permutation(len(names)).tolist():
        if all(left[label] - count >= fewest for label, count in holds[group]):
            leaving.append(group)
            for label, count in holds[group]:
                left[label] -= count
    return np.asarray(names[leaving])
