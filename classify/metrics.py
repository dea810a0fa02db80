"""How good a head's answers are: the metrics of one round, and why some of them are undefined.

`measures` computes them; `summary` puts rounds together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measures import OF_PROBABILITIES, PER_CLASS, Answers, measure

METRICS = (
    "loss",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "npv",
    "sensitivity",
    "specificity",
    "f1",
    "roc_auc",
    "pr_auc",
    "mcc",
    "brier",
    "calibration_slope",
    "calibration_intercept",
    "ece",
)
LOWER_IS_BETTER = frozenset({"loss", "brier", "ece"})
AIMS = {"calibration_slope": 1.0, "calibration_intercept": 0.0}
"""Metrics that are best at a value between others."""

ECE_PATIENTS = 200
"""With fewer tested patients the expected calibration error is mostly noise, and always upwards."""

WHY_UNDEFINED = {
    "precision": "was never predicted",
    "npv": "was predicted for every sample",
    "sensitivity": "is not in the test part",
    "specificity": "is alone in the test part",
    "f1": "is neither in the test part nor predicted",
    "roc_auc": "is alone or absent in the test part",
    "pr_auc": "is alone or absent in the test part",
}
"""Why a class has no such number, to be read after its name."""


@dataclass(frozen=True)
class Judgement:
    """One head in one round.

    Parameters
    ----------
    values : dict of str to float or None
        One for each of `METRICS`; None where undefined.
    reasons : dict of str to str
        Why a value is undefined.
    confusion : list of list of int
        Rows are true classes, columns predicted ones.
    per_class : dict of str to dict of str to float or None
        Of each class, one against the rest: `measures.PER_CLASS`, and "support", its tested rows.
    """

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)
    per_class: dict[str, dict[str, float | None]] = field(default_factory=dict)


def judge(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    classes: tuple[str, ...],
    positive: int | None,
    *,
    probabilities: bool,
    patients: int,
) -> Judgement:
    """Compare a head's answers on the test part with the truth.

    With two classes, sensitivity, specificity, precision, NPV, F1, the areas under the ROC and the
    precision-recall curve (average precision) and the calibration are the positive class's. With more, each is
    the mean over classes, one against the rest. The Brier score is the mean of (p − y)², with two classes the
    positive one's; with more, it is summed over the classes, and so between 0 and 2 (G. W. Brier, Monthly
    Weather Review 78 (1950)).

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
        Indices into `classes`.
    scores : ndarray of float, shape (n, n_classes)
        Probabilities, or any scores that rank.
    classes : tuple of str
    positive : int or None
        The positive class of two.
    probabilities : bool
        Whether `scores` are probabilities; without them loss, Brier score and calibration are undefined.
    patients : int
        How many patients are tested, or images where no patients are known; the expected calibration error
        needs `ECE_PATIENTS`.
    """
    answers = Answers(truth, predicted, scores, positive, probabilities)
    names = [name for name in METRICS if name != "ece" or patients >= ECE_PATIENTS]
    measured, of_classes = measure(answers, np.ones((1, len(truth))), names)
    values = {name: _number(measured[name][0]) if name in measured else None for name in METRICS}
    count = len(classes)
    confusion = np.bincount(truth * count + predicted, minlength=count**2).reshape(count, count)
    per_class = {
        label: {
            **{name: _number(of_classes[name][0, index]) for name in PER_CLASS},
            "support": int(confusion[index].sum()),
        }
        for index, label in enumerate(classes)
    }
    reasons = {
        name: _reason(name, answers, classes, per_class, patients)
        for name, value in values.items()
        if value is None
    }
    return Judgement(values, reasons, confusion.tolist(), per_class)


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _reason(
    name: str,
    answers: Answers,
    classes: tuple[str, ...],
    per_class: dict[str, dict[str, float | None]],
    patients: int,
) -> str:
    if name in OF_PROBABILITIES and not answers.probabilities:
        return "this head gives scores, not probabilities"
    if name == "ece":
        return f"needs {ECE_PATIENTS} tested patients; there are {patients}"
    if name == "mcc":
        if np.ptp(answers.truth) == 0:
            return f"{classes[answers.truth[0]]} {WHY_UNDEFINED['specificity']}"
        return f"{classes[answers.predicted[0]]} {WHY_UNDEFINED['npv']}"
    if name in ("calibration_slope", "calibration_intercept"):
        return _why_not_recalibrated(answers, classes)
    asked, part = range(len(classes)), "sensitivity" if name == "balanced_accuracy" else name
    concerned = asked if name == "balanced_accuracy" else answers.considered
    undefined = [classes[index] for index in concerned if per_class[classes[index]][part] is None]
    return f"{', '.join(undefined)} {WHY_UNDEFINED[part]}"


def _why_not_recalibrated(answers: Answers, classes: tuple[str, ...]) -> str:
    for index in answers.considered:
        if answers.is_class(index).all() or not answers.is_class(index).any():
            return f"{classes[index]} {WHY_UNDEFINED['roc_auc']}"
    return "the probabilities separate the classes, or are all the same, and then no slope fits best"
