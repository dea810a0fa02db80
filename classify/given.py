"""Splits that the samples' own columns give, and what of given splits a user should know."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.keys import contents_of
from .problem import Problem
from .sides import Splits

_NO_PART = ("", "val", "valid", "validation")


def by_columns(problem: Problem, names: tuple[str, ...]) -> Splits:
    """Return the splits that columns give, one each, with the values train and test.

    Rows of which a column says validation, or nothing, take no part in its split. Unlabelled rows are scored
    where their own value is test, or nothing while their patient is tested and not trained on.

    Raises
    ------
    UsageError
        If there is no such column.
    ClassesError
        If a column has other values, or leaves a class or a side without rows.
    """
    labelled = [_values(problem, name, problem.columns, problem.path) for name in names]
    said = np.stack(labelled)
    train, test = said == "train", said == "test"
    splits = Splits("columns", names, train, test, _scored(problem, names, train, test))
    check_sides(problem, splits, [f"Column {name!r}" for name in names])
    notes = []
    for name, values in zip(names, labelled, strict=True):
        validation, blank = int(np.isin(values, _NO_PART[1:]).sum()), int(np.sum(values == ""))
        if validation:
            notes.append(
                f"Column {name!r}: {validation} rows for validation are neither trained on nor tested."
            )
        if blank:
            notes.append(f"Column {name!r}: {blank} rows say neither train nor test and take no part.")
    notes += on_both_sides(problem, splits, [f"Column {name!r}" for name in names])
    return Splits(splits.kind, names, train, test, splits.scored, tuple(notes))


def _values(
    problem: Problem, name: str, columns: dict[str, NDArray[np.str_]], path: NDArray[np.str_]
) -> NDArray[np.str_]:
    """Return a column in lower case; every value is known."""
    if name not in columns:
        near = difflib.get_close_matches(name, columns, 1, 0.6)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(columns) or 'none'}."
        raise errors.UsageError(f"--split-columns {name}: the samples have no such column. {hint}")
    values = np.char.lower(np.char.strip(columns[name]))
    other = np.flatnonzero(~np.isin(values, ("train", "test", *_NO_PART)))
    if len(other):
        raise errors.ClassesError(
            f"Column {name!r} says {str(columns[name][other[0]])!r} of {path[other[0]]}: a split column says "
            "train or test, or val or nothing of what takes no part. Correct it, or choose another column."
        )
    return np.asarray(values)


def _scored(
    problem: Problem, names: tuple[str, ...], train: NDArray[np.bool_], test: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    rows = problem.unlabelled
    if rows is None:
        return np.zeros((len(names), 0), dtype=bool)
    scored = []
    for name, trained, tested in zip(names, train, test, strict=True):
        values = _values(problem, name, rows.columns, rows.path)
        follow = np.isin(rows.groups, problem.groups[tested])
        follow &= ~np.isin(rows.groups, problem.groups[trained])
        scored.append((values == "test") | ((values == "") & follow))
    return np.stack(scored)


def check_sides(problem: Problem, splits: Splits, called: list[str]) -> None:
    """Raise `ClassesError` if a split lacks a side, or one of its sides a class."""
    for name, *sides in zip(called, splits.train, splits.test, strict=True):
        for side, rows in zip(("train on", "test"), sides, strict=True):
            if not rows.any():
                raise errors.ClassesError(f"{name} leaves no row to {side}.")
            missing = np.setdiff1d(np.arange(len(problem.classes)), problem.y[rows])
            if len(missing):
                raise errors.ClassesError(
                    f"{name} leaves no row of class {problem.classes[missing[0]]!r} to {side}. Correct it, or "
                    "leave the class out."
                )


def on_both_sides(problem: Problem, splits: Splits, called: list[str]) -> list[str]:
    """Return a warning for each split that trains on and tests the same patients or the same images."""
    notes = []
    content = contents_of(problem.content)
    for name, train, test, scored in zip(called, splits.train, splits.test, splits.scored, strict=True):
        tested = problem.patient[test]
        if problem.unlabelled is not None:
            tested = np.concatenate([tested, problem.unlabelled.patient[scored]])
        patients = np.intersect1d(problem.patient[train], tested)
        patients = patients[patients != ""]
        if len(patients):
            notes.append(
                f"LEAK: {name} has {_many(len(patients), 'patient')} on both sides, such as "
                f"{str(patients[0])!r}: tested though trained on, and scores come out too high."
            )
        images = np.intersect1d(content[train], content[test])
        if len(images):
            example = problem.path[int(np.argmax(content == images[0]))]
            notes.append(
                f"LEAK: {name} has {_many(len(images), 'image')} on both sides, such as {example}: tested "
                "though trained on, and scores come out too high."
            )
    return notes


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + ("s" if count > 1 else "")
