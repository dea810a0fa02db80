"""Putting part of a training part aside, to follow training on; the test part is never touched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .problem import Problem
from .splits import repeated_hold_out


def put_aside(
    problem: Problem, rows: NDArray[np.intp], share: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Divide training rows into those kept and those put aside: stratified, whole groups.

    Parameters
    ----------
    problem : Problem
    rows : ndarray of int
    share : float
        Of the rows, to be put aside.
    seed : int

    Returns
    -------
    kept, aside : ndarray of int

    Raises
    ------
    ClassesError
        If a class has too few groups to be on both sides.
    """
    none = problem.X[:0]
    part = replace(
        problem,
        X=none,
        further=problem.further[:0],
        y=problem.y[rows],
        groups=problem.groups[rows],
        blocks=problem.blocks[rows],
        content=problem.content[rows],
        frame=problem.frame[rows],
        patient=problem.patient[rows],
        path=problem.path[rows],
        columns={},
        technical={},
        pixels=None,
        unlabelled=None,
    )
    try:
        aside = repeated_hold_out(part, rounds=1, test_size=share, seed=seed).test[0]
    except errors.ClassesError as error:
        raise errors.ClassesError(
            f"--validation {share:g} of a training part cannot be put aside. {error}"
        ) from None
    return rows[~aside], rows[aside]
