"""From slices to patients, or to any other units: who is one unit, what is true of it, what its slices say.

Pure functions of arrays; `units_of_run` brings the units of a run's rows, and `rolled` judges them.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .groups import numbered
from .rules import AUTO, Rule

UNDECIDED = -1
"""The predicted class of a unit none of whose slices is selected."""
NO_LABEL, SEVERAL_LABELS = -1, -2
"""The true class of units of which it cannot be told."""


class Units(NamedTuple):
    """Which slices are of one unit.

    Parameters
    ----------
    number : ndarray of int, shape (n,)
        The unit of each slice, from 0 on in the order in which units first occur.
    names : ndarray of str, shape (u,)
    """

    number: NDArray[np.int64]
    names: NDArray[np.str_]


class RolledUp(NamedTuple):
    """What the slices of each unit say together.

    Parameters
    ----------
    predicted : ndarray of int, shape (u,)
        A class, or `UNDECIDED`.
    scores : ndarray of float, shape (u, c)
        For `mean` the mean of the slices' scores of each class, for `any` and `max` the largest, for `fraction`
        the share of the slices that are predicted as each class. NaN where undecided.
    slices, selected, positive : ndarray of int, shape (u,)
        How many slices there are, how many of them were selected and decided, and how many of these were
        decided positive; 0 where no class is positive.
    """

    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    slices: NDArray[np.int64]
    selected: NDArray[np.int64]
    positive: NDArray[np.int64]


def units_of(values: NDArray[np.str_], fallback: NDArray[np.str_]) -> Units:
    """Return the units that slices are of: those of one name, and without a name those of one fallback.

    Parameters
    ----------
    values : ndarray of str, shape (n,)
        The patient, study, … of each slice; blank where unknown.
    fallback : ndarray of str, shape (n,)
        What tells slices without a name apart, such as their files. A fallback that happens to be like some
        unit's name is another unit all the same.
    """
    values = np.char.strip(np.asarray(values, dtype=np.str_))
    named = values != ""
    names = np.where(named, values, fallback)
    # A letter before each name keeps the two kinds of names apart.
    number = numbered(np.char.add(np.where(named, "n", "f"), names))
    first = np.unique(number, return_index=True)[1]
    return Units(number, names[first])


def truth_of(unit: NDArray[np.int64], units: int, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the one class that the labelled slices of each unit have, shape (u,).

    Parameters
    ----------
    unit : ndarray of int, shape (n,)
    units : int
        How many there are.
    labels : ndarray of int, shape (n,)
        Of each slice, `NO_LABEL` where it has none.

    Returns
    -------
    ndarray of int, shape (u,)
        `NO_LABEL` for units without a labelled slice, `SEVERAL_LABELS` for those whose slices disagree.
    """
    known = labels >= 0
    highest = np.full(units, NO_LABEL, dtype=np.int64)
    np.maximum.at(highest, unit[known], labels[known])
    lowest = np.full(units, np.iinfo(np.int64).max)
    np.minimum.at(lowest, unit[known], labels[known])
    return np.where((highest >= 0) & (lowest != highest), SEVERAL_LABELS, highest)


def truths(
    unit: NDArray[np.int64], units: int, own: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return what is true of each unit, shape (u,): its own label where it has one, else that of its slices.

    Parameters
    ----------
    unit : ndarray of int, shape (n,)
    units : int
    own : ndarray of int, shape (n,)
        What each slice says of its unit (its `patient_label`), `NO_LABEL` where it says nothing.
    labels : ndarray of int, shape (n,)
        Of the slices themselves, likewise.
    """
    of_units = truth_of(unit, units, own)
    return np.where(of_units == NO_LABEL, truth_of(unit, units, labels), of_units)


def labels_in(texts: NDArray[np.str_], classes: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the class of each text, shape (n,), `NO_LABEL` for those that are none of the classes."""
    known = {name: index for index, name in enumerate(classes)}
    return np.array([known.get(text.strip(), NO_LABEL) for text in texts.tolist()], dtype=np.int64)


def roll_up(
    rule: Rule,
    unit: NDArray[np.int64],
    units: int,
    scores: NDArray[np.floating[Any]],
    decided: NDArray[np.int64],
    selected: NDArray[np.bool_],
    *,
    positive: int | None,
    threshold: float | None = None,
) -> RolledUp:
    """Return one answer for each unit.

    `any`: positive where at least one selected slice is. `fraction:F`: where positive slices ≥ F × selected
    slices, in whole numbers, so that 3 of 30 are a tenth. `mean`: the class of the largest mean; with a
    threshold, positive where the mean of the positive score reaches it. `max`: where the largest positive score
    reaches the threshold, and without one where a slice is positive, which is what `any` says; of more than two
    classes the one with the largest score of any slice. Without a selected slice a unit is undecided.

    Parameters
    ----------
    rule : Rule
        Not `auto`, which `choose` makes one of the others.
    unit : ndarray of int, shape (n,)
        The unit of each slice, from 0 to units − 1.
    units : int
    scores : ndarray of float, shape (n, c)
        Probabilities or any scores that rank; those of slices that are not selected are not looked at.
    decided : ndarray of int, shape (n,)
        The class of each slice, or `UNDECIDED`; such a slice counts as not selected.
    selected : ndarray of bool, shape (n,)
    positive : int or None
        The positive class of two.
    threshold : float, optional
        Of the positive class's score, for `mean` and `max` of two classes.

    Raises
    ------
    UsageError
        If the rule is `auto`, or counts positive slices and no class is positive.
    """
    rule.check(positive)
    if rule.kind == AUTO:
        raise errors.UsageError("The rule auto must be chosen on training data before it can be applied.")
    taken = selected & (decided != UNDECIDED)
    of, classes = unit[taken], decided[taken]
    count = np.bincount(of, minlength=units)
    found = np.zeros(units, dtype=np.int64)
    if positive is not None:
        found = np.bincount(of[classes == positive], minlength=units)
    if rule.kind == "fraction":
        tallies = np.bincount(of * scores.shape[1] + classes, minlength=units * scores.shape[1])
        rolled = tallies.reshape(units, scores.shape[1]) / np.maximum(count, 1)[:, None]
    else:
        rolled = _gathered(rule, of, count, np.asarray(scores[taken], dtype=np.float64))
    if positive is not None and rule.counts:
        predicted = np.where(found >= _needed(rule, count), positive, 1 - positive)
    elif positive is not None and threshold is None and rule.kind == "max":
        predicted = np.where(found > 0, positive, 1 - positive)
    elif positive is not None and threshold is not None:
        predicted = np.where(rolled[:, positive] >= threshold, positive, 1 - positive)
    else:
        predicted = rolled.argmax(axis=1)
    rolled[count == 0] = np.nan
    return RolledUp(
        predicted=np.where(count > 0, predicted, UNDECIDED).astype(np.int64),
        scores=rolled,
        slices=np.bincount(unit, minlength=units),
        selected=count,
        positive=found,
    )


def _gathered(
    rule: Rule, unit: NDArray[np.int64], count: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean or the largest score of each class over each unit's slices; 0 where there are none."""
    shape = (len(count), scores.shape[1])
    largest, smallest = np.full(shape, -np.inf), np.full(shape, np.inf)
    np.maximum.at(largest, unit, scores)
    if rule.kind == "mean":
        np.minimum.at(smallest, unit, scores)
        sums = np.column_stack([np.bincount(unit, column, minlength=len(count)) for column in scores.T])
        # Rounding must not take the mean of equal scores off them, and so below a threshold that they reach.
        largest = np.clip(sums / np.maximum(count, 1)[:, None], smallest, largest)
    return np.where((count > 0)[:, None], largest, 0.0)


def _needed(rule: Rule, count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many positive slices make a unit positive, of so many: the whole number that is reached."""
    if rule.fraction is None:
        return np.ones_like(count)
    share = rule.fraction
    distinct, where = np.unique(count, return_inverse=True)
    needed = [-(-share.numerator * number // share.denominator) for number in distinct.tolist()]
    return np.array(needed, dtype=np.int64)[where]


def choose(
    unit: NDArray[np.int64],
    truth_of_unit: NDArray[np.int64],
    decided: NDArray[np.int64],
    selected: NDArray[np.bool_],
    positive: int,
) -> Rule:
    """Return the rule `fraction:F` that tells the units of a training part best: what `auto` stands for.

    F is compared by the balanced accuracy over units. All F between two neighbouring shares of positive slices
    that units have give the same answers; F goes to the middle of the best such interval, of several that touch
    of all of them together, and of several apart of the widest, then lowest. The interval that begins at 0 is
    `any`, as far as these units can tell. Give answers of heads that were not fitted on the slices (out of
    fold), and never a slice that is tested afterwards.

    Parameters
    ----------
    unit : ndarray of int, shape (n,)
    truth_of_unit : ndarray of int, shape (u,)
        The class of each unit; units of a negative number (`NO_LABEL`, `SEVERAL_LABELS`) are left out.
    decided : ndarray of int, shape (n,)
        The class of each slice, or `UNDECIDED`.
    selected : ndarray of bool, shape (n,)
    positive : int

    Raises
    ------
    ClassesError
        If no unit of the positive or of the other class has a selected slice.
    """
    taken = selected & (decided != UNDECIDED)
    units = len(truth_of_unit)
    count = np.bincount(unit[taken], minlength=units)
    found = np.bincount(unit[taken & (decided == positive)], minlength=units)
    judged = (count > 0) & (truth_of_unit >= 0)
    ill = truth_of_unit[judged] == positive
    if not ill.any() or ill.all():
        raise errors.ClassesError(
            "The rule auto needs training patients of both classes with a selected slice, and one class has "
            "none. Name a rule, such as any or fraction:0.1."
        )
    shares = [Fraction(*pair) for pair in zip(found[judged].tolist(), count[judged].tolist(), strict=True)]
    ends = sorted({Fraction(0), *shares}) if any(shares) else [Fraction(0), Fraction(1)]
    place = {end: number for number, end in enumerate(ends)}
    where = np.array([place[share] for share in shares])
    # An F in (ends[k - 1], ends[k]] calls those positive whose share is ends[k] or more.
    sensitivity = [Fraction(int(np.sum(where[ill] >= k)), int(np.sum(ill))) for k in range(1, len(ends))]
    specificity = [Fraction(int(np.sum(where[~ill] < k)), int(np.sum(~ill))) for k in range(1, len(ends))]
    value = [a + b for a, b in zip(sensitivity, specificity, strict=True)]
    low, high = _widest(ends, value)
    return _between(low, high)


def _widest(ends: Sequence[Fraction], value: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """Return the widest stretch of neighbouring intervals with the highest value, of equal ones the lowest."""
    stretches: list[tuple[Fraction, Fraction]] = []
    for low, high, each in zip(ends, ends[1:], value, strict=False):
        if each == max(value):
            touching = bool(stretches) and stretches[-1][1] == low
            stretches.append((stretches.pop()[0], high) if touching else (low, high))
    return max(stretches, key=lambda ends: ends[1] - ends[0])


def _between(low: Fraction, high: Fraction) -> Rule:
    """Return the rule whose fraction is the middle of an interval, in no more digits than stay inside it."""
    middle = (low + high) / 2
    for digits in range(2, 20):
        rounded = round(middle, digits)
        if low < rounded <= high:
            break
    text = f"{rounded.numerator * 10**digits // rounded.denominator:0{digits + 1}d}"
    decimals = text[-digits:].rstrip("0")
    return Rule(f"fraction:{text[:-digits]}{'.' if decimals else ''}{decimals}", "fraction", rounded)
