"""Repeated hold-out: patients drawn at random for the test part, the classes of which come out in proportion.

Every patient has the same chance of being tested, however many images it has, and still each class is tested by
its share of the rows, as nearly as patients that stay whole allow.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .groups import Table

_ATTEMPTS = 1000
_NEARLY = 1e-9


def hold_out(table: Table, *, rounds: int, test_size: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows are tested in each round, shape (rounds, n).

    Parameters
    ----------
    table : Table
        Each class is in two groups or more.
    rounds : int
    test_size : float
        Share of the rows, between 0 and 1; the number is rounded up (77 of 256 at 0.3).
    seed : int

    Raises
    ------
    ClassesError
        If no draw has every class on both sides.
    """
    target = math.ceil(len(table.of_row) * test_size - _NEARLY)
    chance = _chances(table, target)
    drawn = [_draw(table, chance, np.random.default_rng([seed, number])) for number in range(rounds)]
    if any(tested is None for tested in drawn):
        raise errors.ClassesError(
            f"No split with every class on both sides was found in {_ATTEMPTS} draws at a test size of "
            f"{test_size:g}. Choose another test size, or leave the smallest class out."
        )
    return np.stack([tested[table.of_row] for tested in drawn if tested is not None])


def _chances(table: Table, target: int) -> NDArray[np.float64]:
    """Return the chance of being tested for a group of each kind, shape (k,).

    It is the same for all, but where a class has so few groups that it would often miss from one side.
    """
    rows = table.rows.sum(axis=1) * table.groups
    share = target / rows.sum()
    least = 1 / table.groups_of_class
    low = np.where(table.rows > 0, least, 0).max(axis=1)
    chance = np.clip(share, low, 1 - low)
    others = chance == share
    if not others.any() or others.all():
        return np.asarray(chance, dtype=np.float64)
    # The others make up for them, or the test part would be larger or smaller than asked for.
    rest = (target - float(chance[~others] @ rows[~others])) / rows[others].sum()
    chance[others] = np.clip(np.clip(rest, share / 2, (1 + share) / 2), low[others], 1 - low[others])
    return np.asarray(chance, dtype=np.float64)


def _draw(
    table: Table, chance: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.bool_] | None:
    """Draw the groups of one test part, shape (g,), each class on both sides; None if that never happens."""
    groups = table.groups_of_class
    for _ in range(_ATTEMPTS):
        taken = balanced(chance, table, generator)
        tested = taken @ (table.rows > 0)
        if np.all((tested > 0) & (tested < groups)):
            return np.asarray(table.shuffled(generator) < taken[table.kind])
    return None


def balanced(chance: NDArray[np.float64], table: Table, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return how many groups of each kind are taken, on average as many as their chances say.

    Kinds are decided one after another, those of large groups first; what one takes too much or too little is
    made up, class by class, by lower or higher chances of those still to come. As that is nothing on average,
    no group is favoured.

    Parameters
    ----------
    chance : ndarray of float, shape (k,)
    table : Table
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of float, shape (k,)
        Whole numbers.

    References
    ----------
    L. Bondesson, D. Thorburn: A list sequential sampling method suitable for real-time sampling, Scandinavian
    Journal of Statistics 35 (2008), equation 3; the weights, by which a class's rows are kept, are ours.
    """
    size = table.rows.sum(axis=1)
    rows, most = table.rows.astype(np.float64), table.groups.astype(np.float64)
    taken = chance * most
    order = np.lexsort((generator.random(len(size)), -size))
    for number, kind in enumerate(order.tolist()):
        whole = np.floor(taken[kind] + _NEARLY)
        over = taken[kind] - whole
        taken[kind] = whole
        if over < _NEARLY:
            continue
        up = generator.random() < over
        taken[kind] += up
        later = order[number + 1 :]
        left, right = taken[later], most[later] - taken[later]
        if not np.any(movable := np.minimum(left, right) > _NEARLY):
            continue
        later, left, right = later[movable], left[movable], right[movable]
        weights = _weights(rows[kind], rows[later], np.minimum(left, right))
        # Whichever way the lot falls, none of the others may be asked for fewer than none or more than all.
        less, more = np.minimum(left / (1 - over), right / over), np.minimum(right / (1 - over), left / over)
        taken[later] -= (up - over) * np.clip(weights, -more, less)
    return taken


def _weights(
    wanted: NDArray[np.float64], rows: NDArray[np.float64], room: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how many groups of each kind have together as many rows of each class as are wanted, shape (k,).

    Parameters
    ----------
    wanted : ndarray of float, shape (c,)
    rows : ndarray of float, shape (k, c)
    room : ndarray of float, shape (k,)
        How many groups of each kind can be given: none is asked for what it cannot.
    """
    size = rows.sum(axis=1)
    share = (rows * (room / size)[:, None]).T
    weights = np.linalg.lstsq(share @ rows, wanted, rcond=1e-9)[0] @ share
    # Where no row of a class is left to come, another's makes up for one, so that the total is as asked for.
    lacking = float((wanted - weights @ rows).sum())
    if _NEARLY < abs(lacking) <= size.min() + _NEARLY:
        weights = weights + room * (lacking / float(room @ size))
    return np.asarray(weights)
