"""Predictions rolled up from slices to patients, series, studies: a row for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..classify import patients
from ..classify.patients import RolledUp, Units
from ..classify.rules import Rule
from .bundle import Bundle
from .predictions import UNDECIDED, Predictions


@dataclass(frozen=True)
class Rolled:
    """What the slices of each unit say together; every array has one element per unit.

    Parameters
    ----------
    predictions : Predictions
        Of the slices.
    column : str
        What tells units apart.
    rule : Rule
        The one that was applied; for `auto` the one it chose.
    units : Units
        Of each row of the predictions.
    answer : RolledUp
        Its `slices` are the rows of the table; the next array has the frames that were not taken too.
    slices, failed : ndarray of int, shape (u,)
        All frames of the files; how many files failed.
    seconds : ndarray of float, shape (u,)
        What all its slices took together: reading, the network, the head.
    """

    predictions: Predictions
    column: str
    rule: Rule
    units: Units
    answer: RolledUp
    slices: NDArray[np.int64]
    failed: NDArray[np.int64]
    seconds: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.units.names)

    def headings(self) -> list[str]:
        """Return the columns of the table."""
        return [self.column, *_headings(self.predictions.bundle)]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table; None stands for what is not known."""
        bundle, answer = self.predictions.bundle, self.answer
        trained = self._in_training()
        for unit, name in enumerate(self.units.names.tolist()):
            decided = int(answer.predicted[unit])
            scores = answer.scores[unit].tolist()
            yield {
                self.column: name,
                "predicted": UNDECIDED if decided == patients.UNDECIDED else bundle.classes[decided],
                **{
                    f"score_{label}": None if np.isnan(score) else score
                    for label, score in zip(bundle.classes, scores, strict=True)
                },
                "slices": int(self.slices[unit]),
                "selected": int(answer.selected[unit]),
                "positive": int(answer.positive[unit]) if bundle.positive is not None else None,
                "failed": int(self.failed[unit]),
                "seconds": round(float(self.seconds[unit]), 3),
                "in_training": None if trained is None else bool(trained[unit]),
            }

    def _in_training(self) -> NDArray[np.bool_] | None:
        """Return which units have an image that was trained on."""
        if self.predictions.in_training is None:
            return None
        rows = self.predictions.in_training[self.predictions.sample]
        return np.bincount(self.units.number[rows], minlength=len(self)) > 0


def _headings(bundle: Bundle) -> list[str]:
    scores = [f"score_{name}" for name in bundle.classes]
    counts = ["slices", "selected", "positive", "failed", "seconds"]
    return ["predicted", *scores, *counts, "in_training"]


def roll(predictions: Predictions, column: str, rule: Rule) -> Rolled:
    """Return predictions rolled up by what a column says.

    Raises
    ------
    UsageError
        If there is no such column, or the rule needs a positive class and there is none.
    BundleError
        If the rule is `auto` and the bundle has no out-of-fold scores to choose by.
    """
    bundle, samples = predictions.bundle, predictions.samples
    rule.check(bundle.positive_class)
    if column in _headings(bundle):
        raise errors.UsageError(
            f"--by {column}: the table of what is rolled up has a column of that name. Rename it in the "
            "manifest."
        )
    applied, notes = rule, predictions.notes
    if rule.kind == "auto":
        applied, said = chosen(bundle, predictions.threshold)
        notes = (*notes, said)
    units = patients.units_of(samples.column(column)[predictions.sample], samples.path[predictions.sample])
    count = len(units.names)
    answer = patients.roll_up(
        applied,
        units.number,
        count,
        predictions.probabilities,
        predictions.predicted,
        predictions.scored,
        positive=bundle.positive,
        threshold=predictions.threshold,
    )
    first = np.unique(predictions.sample, return_index=True)[1]  # every sample has a row
    of_sample = units.number[first]
    return Rolled(
        predictions=replace(predictions, notes=notes),
        column=column,
        rule=applied,
        units=units,
        answer=answer,
        slices=np.bincount(of_sample, samples.frames, minlength=count).astype(np.int64),
        failed=np.bincount(of_sample[samples.error != ""], minlength=count),
        seconds=np.asarray(
            np.bincount(units.number, np.nan_to_num(predictions.seconds), minlength=count)
            + np.bincount(of_sample, samples.seconds, minlength=count),
            dtype=np.float64,
        ),
    )


def chosen(bundle: Bundle, threshold: float | None) -> tuple[Rule, str]:
    """Return the fraction that tells the training patients best by their out-of-fold scores, and a note on it.

    Raises
    ------
    BundleError
        If the bundle has no such scores.
    ClassesError
        If they hold no patient of one class.
    """
    judged = bundle.out_of_fold
    if judged is None or bundle.positive is None:
        raise errors.BundleError(
            f"{bundle.path} has no out-of-fold scores for --rule auto to choose by: name a rule."
        )
    scores = np.concatenate([judged.scores, judged.further_scores]).astype(np.float64)
    if bundle.calibration is not None:
        scores = bundle.calibration.apply(scores)
    decided = bundle.decide(scores, threshold)
    unit = np.concatenate([judged.unit, judged.further_unit]).astype(np.int64)
    truth = judged.unit_truth.astype(np.int64)
    rule = patients.choose(unit, truth, decided, np.ones(len(decided), dtype=bool), bundle.positive)
    slices = np.bincount(unit)[truth >= 0]
    return rule, (
        f"--rule auto is {rule.text} here, which tells the {len(slices)} training patients best by out-of-fold "
        f"scores; {int(np.sum(slices > 1))} of them have several slices."
    )
