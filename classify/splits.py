"""Which rows are trained on and which are tested: made once, the same for every head.

Stratified by class; all rows of a group on one side.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .problem import Problem

_ATTEMPTS = 1000


@dataclass(frozen=True)
class Splits:
    """Which rows of a problem are trained on and which are tested, in each of s splits.

    Parameters
    ----------
    kind : {"hold-out", "folds", "columns", "reused"}
    names : tuple of str, length s
        What each is called: "3", "fold 2 of repeat 1", the name of a column.
    train, test : ndarray of bool, shape (s, n)
        Never both; a row that is neither takes no part in that split.
    scored : ndarray of bool, shape (s, m)
        Which of the problem's unlabelled rows are scored, being of tested patients.
    notes : tuple of str
        What the user should know of them.
    """

    kind: str
    names: tuple[str, ...]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Request:
    """How splits are asked for.

    Parameters
    ----------
    rounds : int
        Random splits (repeated hold-out).
    test_size : float
        Share of the rows that each of them tests.
    folds : int, optional
        Cross-validation in so many folds in place of hold-out, `repeats` times.
    columns : tuple of str
        Columns that say "train" or "test" for each row, a split each, in place of random ones.
    run : Path, optional
        A run whose splits are taken over.
    vary : {"both", "split", "seed"}
        What differs between rounds; "seed" asks for a single split.
    balance : {None, "weights", "subsample"}
    seed : int
    """

    rounds: int = 10
    test_size: float = 0.3
    folds: int | None = None
    repeats: int = 1
    columns: tuple[str, ...] = ()
    run: Path | None = None
    vary: str = "both"
    balance: str | None = None
    seed: int = 0


def make(problem: Problem, request: Request) -> Splits:
    """Return the splits that were asked for; the same request and problem give the same splits."""
    return repeated_hold_out(problem, rounds=request.rounds, test_size=request.test_size, seed=request.seed)


def repeated_hold_out(problem: Problem, *, rounds: int, test_size: float, seed: int) -> Splits:
    """Return which rows are tested in each round.

    Parameters
    ----------
    problem : Problem
    rounds : int
    test_size : float
        Share of the rows, between 0 and 1; the number is rounded up (77 of 256 at 0.3).
    seed : int

    Returns
    -------
    Splits

    Raises
    ------
    ClassesError
        If a class has fewer than two groups, so that it cannot be on both sides.
    """
    _check_groups(problem)
    rows = [
        _one_hold_out(problem, test_size, np.random.default_rng([seed, number])) for number in range(rounds)
    ]
    tested = np.stack(rows)
    names = tuple(str(number + 1) for number in range(rounds))
    return Splits("hold-out", names, ~tested, tested, np.zeros((rounds, 0), dtype=bool))


def fingerprint(problem: Problem, splits: Splits) -> str:
    """Return the SHA-256 of a set of splits by content, label and patient, never by order or recipe."""
    packed = np.packbits(np.concatenate([splits.train, splits.test]), axis=0).T
    lines = sorted(
        b"\0".join(
            (
                content.tobytes().hex().encode(),
                problem.classes[label].encode(),
                patient.encode(),
                bits.tobytes(),
            )
        )
        for content, label, patient, bits in zip(
            problem.content, problem.y, problem.patient.tolist(), packed, strict=True
        )
    )
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def _check_groups(problem: Problem) -> None:
    unit = "patient" if problem.grouped else "distinct image"
    for index, name in enumerate(problem.classes):
        count = len(np.unique(problem.groups[problem.y == index]))
        if count < 2:
            raise errors.ClassesError(
                f"Class {name!r} has {count} {unit} only: it cannot be trained on and tested at once. "
                f"Add a second {unit} or leave the class out."
            )


def _one_hold_out(problem: Problem, test_size: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Draw one split; every class is on both sides."""
    strata = _strata(problem)
    target = math.ceil(len(problem.y) * test_size - 1e-9)
    for _ in range(_ATTEMPTS):
        tested = _draw(strata, len(problem.y), target, generator)
        sides = [np.unique(problem.y[side]) for side in (tested, ~tested)]
        if all(len(side) == len(problem.classes) for side in sides):
            return tested
    raise errors.ClassesError(
        f"No split with every class on both sides was found in {_ATTEMPTS} draws at a test size of "
        f"{test_size:g}. Choose another test size, or leave the smallest class out."
    )


def _strata(problem: Problem) -> list[list[NDArray[np.int64]]]:
    """Return the rows of each group, groups of the same classes together, smallest stratum first."""
    order = np.argsort(problem.groups, kind="stable")
    starts = np.flatnonzero(np.diff(problem.groups[order], prepend=-1))
    members = np.split(order, starts[1:])
    strata: dict[tuple[int, ...], list[NDArray[np.int64]]] = {}
    for rows in members:
        strata.setdefault(tuple(np.unique(problem.y[rows]).tolist()), []).append(rows)
    return sorted(strata.values(), key=lambda groups: sum(map(len, groups)))


def _draw(
    strata: list[list[NDArray[np.int64]]], count: int, target: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Take groups for the test part from each stratum in proportion, `target` rows in all or nearly.

    The group at the border is taken with the probability that keeps every patient's chance of being tested
    equal; what it takes too much or too little is made up in the next, larger stratum.
    """
    tested = np.zeros(count, dtype=bool)
    shares = _shares(strata, target, generator)
    owed = 0.0
    for groups, share in zip(strata, shares, strict=True):
        wanted = share + owed
        taken = 0
        for index in generator.permutation(len(groups)):
            rows = groups[index]
            fits = taken + len(rows) <= wanted
            if fits or generator.random() < (wanted - taken) / len(rows):
                tested[rows] = True
                taken += len(rows)
            if not fits:
                break
        owed = wanted - taken
    return tested


def _shares(strata: list[list[NDArray[np.int64]]], target: int, generator: np.random.Generator) -> list[int]:
    """Divide `target` among the strata by size, in whole numbers: largest remainders first, ties by lot.

    A stratum of two groups or more gets one row at least, at the largest one's cost, so that a small class can
    be tested at all.
    """
    sizes = [sum(map(len, groups)) for groups in strata]
    exact = [size * target / sum(sizes) for size in sizes]
    shares = [math.floor(share) for share in exact]
    lot = generator.permutation(len(sizes))
    by_remainder = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], lot[i]))
    for index in by_remainder[: target - sum(shares)]:
        shares[index] += 1
    for index, groups in enumerate(strata):
        if not shares[index] and len(groups) > 1:
            shares[index] = 1
            shares[int(np.argmax(shares))] -= 1
    return shares
