"""Columns that say where an image comes from, as a few levels each: what the origin probe can ask for."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .problem import Problem

PATIENTS = 5
"""A level of fewer patients says nothing that would hold for the next one."""
_NUMBERS = 10
"""More distinct numbers than this are halved at their median, fewer are levels."""
_MOSTLY = 0.9
"""The share of numbers that makes a column one of numbers."""
_LEVELS = 20
"""The largest that are kept; the others are put together."""
_NEVER = frozenset({"split", "patient_label"})
BLANK, OTHER = "(blank)", "(other)"


@dataclass(frozen=True)
class Levels:
    """One column as levels.

    Parameters
    ----------
    column : str
    of_row : ndarray of str, shape (n,)
    counted : tuple of str
        The levels of five patients or more, two at least, the most frequent first.
    """

    column: str
    of_row: NDArray[np.str_]
    counted: tuple[str, ...]


def all_levels(
    problem: Problem, units: NDArray[np.int64], without: Sequence[str] = ()
) -> tuple[list[Levels], list[dict[str, str]]]:
    """Return the levels of every column that can be probed, and the columns that cannot, with the reason.

    Parameters
    ----------
    problem : Problem
    units : ndarray of int, shape (n,)
        The number of each row's patient, or of its image if no patient is known.
    without : sequence of str
        Columns that say how the data is split, not where it comes from.
    """
    columns = {name: values for name, values in problem.columns.items() if name not in {*_NEVER, *without}}
    for name, values in problem.technical.items():
        columns[name if name not in columns else f"{name} of the file"] = values
    labels = np.array(problem.classes)[problem.y]
    taken, skipped = [], []
    for name, values in columns.items():
        found = _levels(name, values, units, labels)
        if isinstance(found, Levels):
            taken.append(found)
        else:
            skipped.append({"column": name, "reason": found})
    return taken, skipped


def _levels(
    name: str, values: NDArray[np.str_], units: NDArray[np.int64], labels: NDArray[np.str_]
) -> Levels | str:
    """Return the levels of a column, or why it has none that can be probed."""
    texts = np.char.strip(values.astype(str))
    known = ~np.isin(np.char.lower(texts), ("", "nan", "none"))
    if not known.any():
        return "it is blank"
    distinct = np.unique(texts)
    if len(distinct) == 1:
        return f'it says "{distinct[0]}" everywhere'
    if np.array_equal(np.char.lower(texts), np.char.lower(labels)):
        return "it repeats the class"
    of_row = np.where(known, texts, BLANK).astype(object)
    halves = _halved(texts[known])
    if halves is not None:
        of_row[known] = halves
    elif len(np.unique(texts[known])) > len(np.unique(units)) / 2:
        return f"nearly every patient has a value of its own ({len(distinct)} values)"
    else:
        patients = _patients(of_row, units)
        largest = sorted(patients, key=lambda level: (-patients[level], level))[:_LEVELS]
        of_row[~np.isin(of_row.astype(str), largest)] = OTHER
    patients = _patients(of_row, units)
    counted = [level for level, count in patients.items() if count >= PATIENTS]
    if len(counted) < 2:
        return f"fewer than two of its values have {PATIENTS} patients"
    counted.sort(key=lambda level: (-patients[level], level))
    return Levels(name, of_row.astype(str), tuple(counted))


def _patients(of_row: NDArray[np.object_], units: NDArray[np.int64]) -> Counter[str]:
    """Return how many patients each level has."""
    return Counter(level for level, _ in set(zip(of_row.tolist(), units.tolist(), strict=True)))


def _halved(texts: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """Return on which side of the median each number lies, or None of few different ones or of no numbers.

    Where one number is more frequent than all others together, it is set against them. What is no number among
    numbers is a side of its own.
    """
    distinct, where, count = np.unique(texts, return_inverse=True, return_counts=True)
    numbers = np.array([_number(text) for text in distinct.tolist()])
    known = np.isfinite(numbers)
    if known.sum() <= _NUMBERS or count[known].sum() < _MOSTLY * len(texts):
        return None
    usual = distinct[count.argmax()]
    if 2 * count.max() > len(texts):
        return np.where(texts == usual, usual, f"not {usual}")
    values = numbers[where]
    ranked = np.sort(values[np.isfinite(values)])
    middle = ranked[(len(ranked) - 1) // 2]
    name = distinct[np.flatnonzero(numbers == middle)[0]]
    return np.where(np.isnan(values), OTHER, np.where(values <= middle, f"≤ {name}", f"> {name}"))


def _number(text: str) -> float:
    """Return the number that a text says, or NaN: of "512×406" the area, of DICOM's age "045Y" the years."""
    size = re.fullmatch(r"(\d+)×(\d+)", text)
    if size:
        return float(int(size[1]) * int(size[2]))
    age = re.fullmatch(r"(\d{3})Y", text)
    try:
        number = float(age[1] if age else text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
