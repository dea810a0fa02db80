"""The arithmetic of the metrics: for rows of any weights, many weightings at once.

Weights of one are a plain judgement; the weights of a bootstrap's draws say how often each row was drawn. What
is undefined is NaN here; `metrics` says why.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PER_CLASS = ("precision", "npv", "sensitivity", "specificity", "f1", "roc_auc", "pr_auc")
"""What is known of each class against the rest."""

OF_PROBABILITIES = ("loss", "brier", "calibration_slope", "calibration_intercept", "ece")
"""What needs probabilities; scores that merely rank do not do."""

_BINS = 10
_CLOSEST = 1e-6
"""How near to 0 and 1 a probability may come before its logit is taken."""
_STEPS = 500


@dataclass(frozen=True)
class Answers:
    """A head's answers on n rows, and the truth.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
        Indices of classes.
    scores : ndarray of float, shape (n, c)
        Probabilities of the c classes, or scores that rank.
    positive : int or None
        The positive class of two; without one, the classes are averaged.
    probabilities : bool
    """

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.floating[Any]]
    positive: int | None
    probabilities: bool

    @property
    def considered(self) -> list[int]:
        """The classes that a metric of one class against the rest is the mean of."""
        return list(range(self.scores.shape[1])) if self.positive is None else [self.positive]

    def is_class(self, index: int) -> NDArray[np.bool_]:
        return np.asarray(self.truth == index)


def measure(
    answers: Answers, weights: Floats, names: Collection[str], per_class: bool = True
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return some metrics for b weightings of n rows.

    Parameters
    ----------
    answers : Answers
    weights : ndarray of float, shape (b, n)
    names : collection of str
        Of `metrics.METRICS`.
    per_class : bool
        Whether the metrics of every class are wanted.

    Returns
    -------
    values : dict of str to ndarray of float, shape (b,)
    of_classes : dict of str to ndarray of float, shape (b, c)
        Those of `PER_CLASS`; only the classes that `values` needs are filled in unless `per_class`.
    """
    found = _from_counts(answers, weights)
    of_classes = {name: found.pop(name) for name in PER_CLASS if name in found}
    if per_class or not {"roc_auc", "pr_auc"}.isdisjoint(names):
        of_classes["roc_auc"] = np.full_like(of_classes["f1"], np.nan)
        of_classes["pr_auc"] = np.full_like(of_classes["f1"], np.nan)
        for index in range(answers.scores.shape[1]) if per_class else answers.considered:
            areas = areas_under_curves(answers.scores[:, index], answers.is_class(index), weights)
            of_classes["roc_auc"][:, index], of_classes["pr_auc"][:, index] = areas
    values = {**found, **{name: part[:, answers.considered].mean(axis=1) for name, part in of_classes.items()}}
    if answers.probabilities:
        values.update(_of_probabilities(answers, weights, names))
    undefined = np.full(len(weights), np.nan)
    return {name: values.get(name, undefined) for name in names}, of_classes


def _from_counts(answers: Answers, weights: Floats) -> dict[str, Floats]:
    """Return what the confusion matrix tells, without building it for every weighting.

    MCC is the general form for any number of classes: J. Gorodkin, Comparing two K-category assignments by a
    K-category correlation coefficient, Computational Biology and Chemistry 28 (2004), equation 8.
    """
    classes = np.arange(answers.scores.shape[1])
    is_true = answers.truth[:, None] == classes
    is_predicted = answers.predicted[:, None] == classes
    total = weights.sum(axis=1, keepdims=True)
    true = weights @ is_true
    predicted = weights @ is_predicted
    right = weights @ (is_true & is_predicted)
    neither = total - true - predicted + right
    all_right = right.sum(axis=1, keepdims=True)
    expected = (true * predicted).sum(axis=1, keepdims=True)
    unlike = (total**2 - (true**2).sum(axis=1, keepdims=True)) * (
        total**2 - (predicted**2).sum(axis=1, keepdims=True)
    )
    sensitivity = _ratio(right, true)
    return {
        "accuracy": _ratio(all_right, total)[:, 0],
        "balanced_accuracy": sensitivity.mean(axis=1),
        "mcc": _ratio(all_right * total - expected, np.sqrt(unlike))[:, 0],
        "precision": _ratio(right, predicted),
        "npv": _ratio(neither, total - predicted),
        "sensitivity": sensitivity,
        "specificity": _ratio(neither, total - true),
        "f1": _ratio(2 * right, true + predicted),
    }


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def areas_under_curves(
    scores: NDArray[np.floating[Any]], is_class: NDArray[np.bool_], weights: Floats
) -> tuple[Floats, Floats]:
    """Return the areas under the ROC and the precision-recall curve, each of shape (b,).

    The first is the share of pairs that are ranked rightly, ties counted half (J. A. Hanley and B. J. McNeil,
    Radiology 143 (1982)); the second is the average precision, one step for each distinct score.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], falling[1:] != falling[:-1]]))
    ordered = np.take(weights, order, axis=1)
    of_class = np.add.reduceat(ordered * is_class[order], starts, axis=1)
    of_rest = np.add.reduceat(ordered, starts, axis=1) - of_class
    class_above, rest_above = np.cumsum(of_class, axis=1), np.cumsum(of_rest, axis=1)
    classes, rest = class_above[:, -1], rest_above[:, -1]
    pairs = (of_class * (rest[:, None] - rest_above + of_rest / 2)).sum(axis=1)
    above = class_above + rest_above
    precision = np.divide(class_above, above, out=np.zeros_like(above), where=above > 0)
    roc = _ratio(pairs, classes * rest)
    average = _ratio((of_class * precision).sum(axis=1), classes)
    return roc, np.where(rest > 0, average, np.nan)


def _of_probabilities(answers: Answers, weights: Floats, names: Collection[str]) -> dict[str, Floats]:
    truth, scores = answers.truth, answers.scores
    rows = np.arange(len(truth))
    total = weights.sum(axis=1)
    values = {}
    if "loss" in names:
        smallest = float(np.finfo(scores.dtype).eps)
        right = np.clip(scores[rows, truth].astype(np.float64), smallest, 1 - smallest)
        values["loss"] = weights @ -np.log(right) / total
    wide = np.asarray(scores, dtype=np.float64)
    if "brier" in names:
        off = wide - (truth[:, None] == np.arange(scores.shape[1]))
        # Of two classes' probabilities each is off by as much as the other.
        values["brier"] = weights @ (off**2).sum(axis=1) / total / (2 if scores.shape[1] == 2 else 1)
    if not {"calibration_slope", "calibration_intercept"}.isdisjoint(names):
        fits = [recalibration(wide[:, i], answers.is_class(i), weights) for i in answers.considered]
        values["calibration_slope"] = np.mean([slope for slope, _ in fits], axis=0)
        values["calibration_intercept"] = np.mean([intercept for _, intercept in fits], axis=0)
    if "ece" in names:
        errors = [calibration_error(wide[:, i], answers.is_class(i), weights) for i in answers.considered]
        values["ece"] = np.mean(errors, axis=0)
    return values


def calibration_error(p: Floats, is_class: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the expected calibration error over ten bins of equally many rows, shape (b,).

    Equal probabilities share a bin. The bins are those of the unweighted rows. Of bins of equal mass: K. Nguyen
    and B. O'Connor, Posterior calibration and exploratory analysis for natural language processing models,
    EMNLP (2015).
    """
    _, number, counts = np.unique(p, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2)[number]
    of_bin = np.floor(middle * _BINS / len(p))[:, None] == np.arange(_BINS)
    off = weights @ (of_bin * (is_class - p)[:, None])
    return np.asarray(np.abs(off).sum(axis=1) / weights.sum(axis=1))


def recalibration(p: Floats, is_class: NDArray[np.bool_], weights: Floats) -> tuple[Floats, Floats]:
    """Return slope and intercept of the logistic recalibration of probabilities, each of shape (b,).

    They are those of one fit, logit P(class) = intercept + slope · logit(p): 1 and 0 for calibrated
    probabilities, a slope under 1 for overconfident ones. D. R. Cox, Two further applications of a model for
    binary regression, Biometrika 45 (1958). NaN where no fit exists: one class only, or logits that separate
    the classes.
    """
    clipped = np.clip(p, _CLOSEST, 1 - _CLOSEST)
    logit = np.log(clipped) - np.log1p(-clipped)
    slope, intercept = np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    fits = np.flatnonzero(_overlap(logit, is_class, weights))
    if not len(fits):
        return slope, intercept
    centre = logit.mean()
    start = np.array([[centre, 1.0]])
    if len(fits) > 1:  # near to all of them is what fits them together
        start = _maximum_likelihood(logit - centre, is_class, weights[fits].mean(axis=0, keepdims=True), start)
    found = _maximum_likelihood(logit - centre, is_class, weights[fits], np.repeat(start, len(fits), axis=0))
    slope[fits] = found[:, 1]
    intercept[fits] = found[:, 0] - found[:, 1] * centre
    return slope, intercept


def _overlap(x: Floats, is_class: NDArray[np.bool_], weights: Floats) -> NDArray[np.bool_]:
    """Return for which weightings class and rest overlap in `x`, as a finite slope needs, shape (b,)."""
    sides = []
    for side in (is_class, ~is_class):
        taken = weights[:, side] > 0
        low = np.where(taken, x[side], np.inf).min(axis=1, initial=np.inf)
        high = np.where(taken, x[side], -np.inf).max(axis=1, initial=-np.inf)
        sides.append((low, high))
    (low, high), (rest_low, rest_high) = sides
    return np.asarray((low < rest_high) & (rest_low < high))


def _maximum_likelihood(x: Floats, is_class: NDArray[np.bool_], weights: Floats, start: Floats) -> Floats:
    """Return intercept and slope of b weighted logistic regressions on one variable, shape (b, 2).

    Newton's method. No step changes a linear predictor by more than 1.5, which is enough for every step to go
    uphill (F. Bach, Self-concordant analysis for logistic regression, Electronic Journal of Statistics 4
    (2010), proposition 1).
    """
    found = start.copy()
    todo = np.arange(len(weights))
    design = np.column_stack([np.ones_like(x), x, x * x])
    ends = np.array([x.min(), x.max()])
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-(found[todo, :1] + found[todo, 1:] * x)))
        g0, g1 = ((weights * (is_class - p)) @ design[:, :2]).T
        h00, h01, h11 = ((weights * (p * (1 - p))) @ design).T
        step = np.array([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]).T / (h00 * h11 - h01 * h01)[:, None]
        longest = np.abs(step[:, :1] + step[:, 1:] * ends).max(axis=1)
        found[todo] += step / np.maximum(longest / 1.5, 1)[:, None]
        moving = longest > 1e-4  # the step just made leaves about its square
        if not moving.any():
            break
        if not moving.all():
            todo, weights = todo[moving], weights[moving]
    return found
