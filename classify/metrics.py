"""How good a head's answers are: the metrics of one round, and their summary over rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
)
LOWER_IS_BETTER = frozenset({"loss"})


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
    """

    values: dict[str, float | None]
    reasons: dict[str, str] = field(default_factory=dict)
    confusion: list[list[int]] = field(default_factory=list)


def judge(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    classes: tuple[str, ...],
    positive: int | None,
    *,
    probabilities: bool,
) -> Judgement:
    """Compare a head's answers on the test part with the truth.

    With two classes, sensitivity, specificity, precision, NPV and F1 are the positive class's. With more, each
    is the mean over classes, one against the rest; so is the area under the ROC curve.

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
        Whether `scores` are probabilities; without them the loss is undefined.
    """
    from sklearn.metrics import confusion_matrix, log_loss

    labels = list(range(len(classes)))
    matrix = confusion_matrix(truth, predicted, labels=labels)
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    if probabilities:
        values["loss"] = float(log_loss(truth, scores, labels=labels))
    else:
        reasons["loss"] = "this head gives scores, not probabilities"
    values["accuracy"] = float(np.trace(matrix) / matrix.sum())
    recalls = [_ratio(matrix[i, i], matrix[i].sum()) for i in labels]
    _mean_into(values, reasons, "balanced_accuracy", recalls, classes, "is not in the test part")
    considered = labels if positive is None else [positive]
    names = tuple(classes[i] for i in considered)
    for name, rule in _RATIOS.items():
        ratios = [_ratio(*rule(_one_against_rest(matrix, i))) for i in considered]
        _mean_into(values, reasons, name, ratios, names, _WHY_UNDEFINED[name])
    areas = [_area_under_roc(truth == i, scores[:, i]) for i in considered]
    _mean_into(values, reasons, "roc_auc", areas, names, "is alone or absent in the test part")
    ordered = {name: values.get(name) for name in METRICS}
    return Judgement(ordered, reasons, matrix.tolist())


@dataclass(frozen=True)
class _Counts:
    tp: int
    fp: int
    fn: int
    tn: int


def _one_against_rest(matrix: NDArray[np.int64], index: int) -> _Counts:
    tp = int(matrix[index, index])
    fn = int(matrix[index].sum()) - tp
    fp = int(matrix[:, index].sum()) - tp
    return _Counts(tp, fp, fn, int(matrix.sum()) - tp - fn - fp)


_RATIOS: dict[str, Callable[[_Counts], tuple[int, int]]] = {
    "precision": lambda c: (c.tp, c.tp + c.fp),
    "npv": lambda c: (c.tn, c.tn + c.fn),
    "sensitivity": lambda c: (c.tp, c.tp + c.fn),
    "specificity": lambda c: (c.tn, c.tn + c.fp),
    "f1": lambda c: (2 * c.tp, 2 * c.tp + c.fp + c.fn),
}
_WHY_UNDEFINED = {
    "precision": "was never predicted",
    "npv": "was predicted for every sample",
    "sensitivity": "is not in the test part",
    "specificity": "is alone in the test part",
    "f1": "is neither in the test part nor predicted",
}


def _ratio(numerator: int, denominator: int) -> float | None:
    return float(numerator / denominator) if denominator else None


def _area_under_roc(is_class: NDArray[np.bool_], scores: NDArray[np.floating[Any]]) -> float | None:
    from sklearn.metrics import roc_auc_score

    if is_class.all() or not is_class.any():
        return None
    return float(roc_auc_score(is_class, scores))


def _mean_into(
    values: dict[str, float | None],
    reasons: dict[str, str],
    name: str,
    parts: list[float | None],
    classes: tuple[str, ...],
    why: str,
) -> None:
    undefined = [label for label, part in zip(classes, parts, strict=True) if part is None]
    if undefined:
        values[name] = None
        reasons[name] = f"{', '.join(undefined)} {why}"
    else:
        values[name] = float(np.mean([part for part in parts if part is not None]))


def summarize(judgements: list[Judgement]) -> dict[str, dict[str, Any]]:
    """Return mean, standard deviation, worst, best and every round of each metric.

    The standard deviation is the sample's (n − 1). Where a metric is undefined in some rounds, the others are
    summarized, `defined` says how many, and `reason` says why.
    """
    summary = {}
    for name in METRICS:
        rounds = [judgement.values[name] for judgement in judgements]
        defined = [value for value in rounds if value is not None]
        worst, best = (max, min) if name in LOWER_IS_BETTER else (min, max)
        entry: dict[str, Any] = {
            "mean": float(np.mean(defined)) if defined else None,
            "std": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            "worst": worst(defined) if defined else None,
            "best": best(defined) if defined else None,
            "rounds": rounds,
        }
        if len(defined) < len(rounds):
            entry["defined"] = len(defined)
            reasons = (judgement.reasons.get(name) for judgement in judgements)
            entry["reason"] = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
        elif len(defined) == 1:
            entry["reason"] = "the standard deviation needs two rounds"
        summary[name] = entry
    return summary
