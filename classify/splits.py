"""Which rows are trained on and which are tested: made once, the same for every head.

Each way to make them has a module of its own; here they come together.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.keys import contents_of
from .balance import subsample
from .folds import folds
from .given import by_columns
from .groups import Table, numbered, table
from .hold_out import hold_out
from .problem import Problem
from .reused import reused
from .sides import Request, Splits
from .unlabelled import scored

__all__ = ["Request", "Splits", "fingerprint", "make", "repeated_hold_out", "units"]

_FEW_ROWS, _FEW_PATIENTS = 5, 2
_FAR = 0.05


def make(problem: Problem, request: Request) -> Splits:
    """Return the splits that were asked for; the same request and problem give the same splits.

    The order of the problem's rows decides nothing.

    Raises
    ------
    UsageError
        If the request asks for what cannot be, or for a column that is not there.
    ClassesError
        If the data do not allow it: a class of too few patients, a column with other values, ….
    RunError
        If the run whose splits are asked for cannot be read.
    """
    request.check()
    seed, count, share, balanced = request.seed, request.folds or 1, request.test_size, False
    if request.run is not None:
        splits, count, its_seed, share, balanced = reused(problem, request.run)
        seed = seed if its_seed is None else its_seed
        if request.vary == "seed" and len(splits) > 1:
            raise errors.UsageError(
                f"--vary seed judges every seed on one split, and {request.run} holds {len(splits)}. Leave it "
                "out."
            )
        if request.balance == "subsample" and not balanced:
            raise errors.UsageError(
                f"--splits takes the splits of {request.run} as they are, whose classes were not balanced: "
                "leave --balance subsample out, or make new splits."
            )
    elif request.columns:
        splits = by_columns(problem, request.columns)
    elif request.folds is not None:
        splits = _cross_validation(problem, request.folds, request.repeats, seed)
    else:
        rounds = 1 if request.vary == "seed" else request.rounds
        splits = repeated_hold_out(problem, rounds=rounds, test_size=request.test_size, seed=seed)
    if request.balance == "subsample" and not balanced:
        splits = subsample(problem, splits, seed)
    if not (request.columns and splits.scored.size):
        drawn = scored(problem, splits.kind, splits.train, splits.test, share=share, folds=count, seed=seed)
        splits = replace(splits, scored=drawn)
    return replace(splits, notes=(*splits.notes, *_notes(problem, splits, request)))


def repeated_hold_out(problem: Problem, *, rounds: int, test_size: float, seed: int) -> Splits:
    """Return random splits, of which each tests about the same share of the rows.

    Parameters
    ----------
    problem : Problem
    rounds : int
    test_size : float
        Share of the rows, between 0 and 1; the number is rounded up (77 of 256 at 0.3).
    seed : int

    Raises
    ------
    ClassesError
        If a class has fewer than two groups, so that it cannot be on both sides.
    """
    groups = _groups_of(problem)
    for name, count in zip(problem.classes, groups.groups_of_class.tolist(), strict=True):
        if count < 2:
            unit = _unit(problem, count)
            raise errors.ClassesError(
                f"Class {name!r} has {count} {unit} only: it cannot be trained on and tested at once. "
                f"Add a second {unit} or leave the class out."
            )
    tested = hold_out(groups, rounds=rounds, test_size=test_size, seed=seed)
    share = scored(problem, "hold-out", ~tested, tested, share=test_size, folds=1, seed=seed)
    return Splits("hold-out", tuple(str(number + 1) for number in range(rounds)), ~tested, tested, share)


def _cross_validation(problem: Problem, count: int, repeats: int, seed: int) -> Splits:
    groups = _groups_of(problem)
    for name, held in zip(problem.classes, groups.groups_of_class.tolist(), strict=True):
        if held < count:
            unit = _unit(problem, held)
            advice = f"Ask for {held} folds or fewer" if held > 1 else f"Add a second {unit}"
            raise errors.ClassesError(
                f"Class {name!r} has {held} {unit}, fewer than {count} folds: it cannot be tested in each of "
                f"them. {advice}, or leave the class out."
            )
    fold = folds(groups, count=count, repeats=repeats, seed=seed)
    tested = np.concatenate([row == np.arange(count)[:, None] for row in fold])
    names = tuple(
        f"fold {number + 1}" if repeats == 1 else f"repeat {repeat + 1}, fold {number + 1}"
        for repeat in range(repeats)
        for number in range(count)
    )
    return Splits("folds", names, ~tested, tested, np.zeros((len(tested), 0), dtype=bool))


def _groups_of(problem: Problem) -> Table:
    return table(problem.groups, problem.content, problem.y, len(problem.classes))


def _unit(problem: Problem, count: int) -> str:
    return ("patient" if problem.grouped else "distinct image") + ("" if count == 1 else "s")


def units(problem: Problem) -> NDArray[np.int64]:
    """Return the number of each row's patient, or of its image where no patient is known, shape (n,).

    What is counted where numbers are said to be of so many patients; patients guessed from names do not count.
    """
    return numbered(contents_of(problem.content)) if problem.guessed else problem.blocks


def fingerprint(problem: Problem, splits: Splits) -> str:
    """Return the SHA-256 of splits by content, frame, label, patient and side, never by order or recipe."""
    packed = np.packbits(np.concatenate([splits.train, splits.test]), axis=0).T
    lines = sorted(
        b"\0".join((content.tobytes().hex().encode(), b"%d" % frame, label.encode(), patient.encode(), bits))
        for content, frame, label, patient, bits in zip(
            problem.content,
            problem.frame.tolist(),
            np.array(problem.classes)[problem.y].tolist(),
            problem.patient.tolist(),
            map(bytes, packed),
            strict=True,
        )
    )
    return hashlib.sha256(b"\n".join([b"%d" % len(splits), *lines])).hexdigest()


def _notes(problem: Problem, splits: Splits, request: Request) -> list[str]:
    notes = []
    random = request.run is None and not request.columns
    if random and "split" in problem.columns:
        notes.append(
            "The samples' own split is not used: every round draws its own. --split-columns split uses it."
        )
    share = float(splits.test.mean())
    asked = random and splits.kind == "hold-out" and request.balance != "subsample"
    if asked and abs(share - request.test_size) > _FAR:
        notes.append(
            f"{100 * share:.0f} % of the rows are tested on average, not {100 * request.test_size:g} %: "
            f"{_unit(problem, 2)} are too few or too large for it."
        )
    notes += _thin(problem, splits)
    if problem.unlabelled is not None:
        count = int(splits.scored.any(axis=0).sum())
        notes.append(
            f"{len(problem.unlabelled.y)} unlabelled rows of patients with a label of their own are never "
            f"trained on; {count} of them are scored in some split."
        )
    return notes


def _thin(problem: Problem, splits: Splits) -> list[str]:
    """Return a warning for each class that some split tests by very few rows or a single patient."""
    unit, notes = units(problem), []
    known = problem.grouped or bool(np.any(problem.patient != ""))
    for label, name in enumerate(problem.classes):
        tested = splits.test & (problem.y == label)
        rows = tested.sum(axis=1)
        patients = np.array([len(np.unique(unit[row])) for row in tested])
        few = rows < _FEW_ROWS
        if known:
            few |= patients < _FEW_PATIENTS
        if few.any():
            worst = int(np.lexsort((patients, rows, ~few))[0])
            of = f" of {patients[worst]} patient{'s' if patients[worst] > 1 else ''}" if known else ""
            notes.append(
                f"Class {name!r} is tested by very few in {int(few.sum())} of {len(splits)} splits, such as "
                f"{splits.names[worst]!r} with {rows[worst]} row{'s' if rows[worst] > 1 else ''}{of}: its "
                "numbers hang on them."
            )
    return notes
