"""From a head's scores to probabilities that come true as often as they say, learned on out-of-fold answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contents import Contents
from .out_of_fold import OutOfFold

ISOTONIC_UNITS = 1000
"""Patients from which on a curve of any rising form is learned, in place of a sigmoid."""
_CLOSEST = 1e-6
"""How near to 0 and 1 a probability may come before its logit is taken."""
_STEPS = 100
_FARTHEST = 1e100
"""Of what a bundle holds; beyond it sums could overflow, and be no numbers."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A rising curve for each class against the rest; for two classes one, for the second.

    Parameters
    ----------
    kind : {"sigmoid", "isotonic"}
    logits : bool
        Whether the curves are of the logits of scores that are probabilities, or of the scores themselves.
    classes : int
    curves : tuple of ndarray of float64
        Of a sigmoid 1 / (1 + exp(−(a·s + b))): a and b, shape (2,). Else knots, shape (k, 2): scores,
        ascending, and their probabilities, never falling, with straight lines between.
    """

    kind: str
    logits: bool
    classes: int
    curves: tuple[Floats, ...]

    def apply(self, scores: NDArray[np.floating[Any]]) -> Floats:
        """Return the probability of each class, each row's sum being 1.

        With more than two classes each has its own curve, and the results are divided by their sum [1]_.

        Parameters
        ----------
        scores : ndarray of float, shape (n, c)
            As the head gives them: probabilities, or scores that rank.

        References
        ----------
        .. [1] Zadrozny and Elkan, Transforming classifier scores into accurate multiclass probability
           estimates, KDD 2002, section 4.
        """
        asked = _scale(scores, logits=self.logits)
        found = np.column_stack([self._curve(curve, asked[:, k]) for k, curve in enumerate(self.curves)])
        if self.classes == 2:
            return np.column_stack([1 - found[:, 0], found[:, 0]])
        # Nothing is ever 0, as no curve comes to it; see `_targets`.
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def _curve(self, curve: Floats, scores: Floats) -> Floats:
        from scipy.special import expit

        if self.kind == "isotonic":
            return np.interp(scores, curve[:, 0], curve[:, 1])
        # A sigmoid of scores far beyond those seen would round to 0 or 1, and no sum be left to divide by.
        return np.asarray(np.clip(expit(curve[0] * scores + curve[1]), 1e-12, 1 - 1e-12))

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle keeps: a JSON object and arrays."""
        arrays = {f"calibration/{number}": curve for number, curve in enumerate(self.curves)}
        return {"kind": self.kind, "logits": self.logits}, arrays

    @classmethod
    def restored(cls, contents: Contents, classes: int) -> Calibration:
        """Return what a bundle kept.

        Parameters
        ----------
        contents : Contents
        classes : int
            How many there are.

        Raises
        ------
        BundleDamaged
        """
        fields = contents.fields("calibration")
        kind = fields.text("kind", ("sigmoid", "isotonic"))
        curves = []
        for number in range(1 if classes == 2 else classes):
            shape = (2,) if kind == "sigmoid" else (None, 2)
            curve = contents.array(f"calibration/{number}", shape, "float64")
            if not (_is_sigmoid(curve) if kind == "sigmoid" else _is_rising(curve)):
                raise contents.fault(f"the array calibration/{number} is no rising curve")
            curves.append(curve)
        return cls(kind, fields.truth("logits"), classes, tuple(curves))


def _is_sigmoid(curve: Floats) -> bool:
    return bool(curve[0] >= 0 and np.abs(curve).max() < _FARTHEST)


def _is_rising(curve: Floats) -> bool:
    return bool(
        len(curve)
        and np.all(np.diff(curve[:, 0]) > 0)
        and np.all(np.diff(curve[:, 1]) >= 0)
        and curve[0, 1] > 0
        and curve[-1, 1] < 1
        and np.abs(curve[:, 0]).max() < _FARTHEST
    )


def calibrated(
    answers: OutOfFold, classes: Sequence[str], *, note: Callable[[str], None] = lambda _: None
) -> Calibration:
    """Learn how often each class is true at each score.

    Below 1,000 patients (or images, where patients are not known) it is a sigmoid [1]_, from there on the best
    rising curve [2]_. Patients are counted, not rows, as rows of one patient are no independent evidence. Where
    a class's scores do not rise with its frequency at all, its curve is flat: turning the scores round would
    use what can only be chance or a fault.

    A sigmoid is of a probability or of its logit, whichever explains the answers better: a neural network that
    is too sure of itself is put right in logits, while the few distinct shares of a kNN, 0 and 1 among them,
    have none to speak of.

    Parameters
    ----------
    answers : OutOfFold
    classes : sequence of str
        Their names, for notes.
    note : callable
        Told of flat curves.

    References
    ----------
    .. [1] Platt, Probabilistic outputs for support vector machines, 1999, section 2.2 (with its targets).
    .. [2] Zadrozny and Elkan, KDD 2002, section 3.2 (here with Platt's targets, so that none is 0 or 1).
    """
    kind = "isotonic" if len(np.unique(answers.unit)) >= ISOTONIC_UNITS else "sigmoid"
    labels = [1] if len(classes) == 2 else range(len(classes))
    targets = [_targets(answers.truth == label) for label in labels]
    logits = False
    if kind == "isotonic":
        curves = [
            _isotonic(*pair) for pair in zip(_scale(answers.scores, logits=False).T, targets, strict=True)
        ]
    else:
        ways = {}
        for way in (False, True) if answers.probabilities else (False,):
            columns = _scale(answers.scores, logits=way).T
            fits = [_sigmoid(*pair) for pair in zip(columns, targets, strict=True)]
            ways[way] = sum(loss for _, loss in fits), [curve for curve, _ in fits]
        logits = min(ways, key=lambda way: ways[way][0])
        curves = ways[logits][1]
    flat = [classes[label] for label, curve in zip(labels, curves, strict=True) if not _rises(kind, curve)]
    if flat:
        note(
            f"The scores for {', '.join(map(repr, flat))} say nothing of rows that were not trained on: the "
            "calibrated probability is the same for every image, the class's share of the training data."
        )
    return Calibration(kind, logits, len(classes), tuple(curves))


def _rises(kind: str, curve: Floats) -> bool:
    return bool(curve[0] > 0 if kind == "sigmoid" else curve[0, 1] < curve[-1, 1])


def _scale(scores: NDArray[np.floating[Any]], *, logits: bool) -> Floats:
    """Return what the curves are of, shape (n, c), or (n, 1) for two classes."""
    values = np.asarray(scores, dtype=np.float64)
    if logits:
        values = np.clip(values, _CLOSEST, 1 - _CLOSEST)
        values = np.log(values / (1 - values))
    return values[:, 1:] if values.shape[1] == 2 else values


def _targets(is_class: NDArray[np.bool_]) -> Floats:
    """Return (k + 1) / (k + 2) for the k rows of a class and 1 / (m + 2) for the m others: Platt's targets.

    They are what a row with a uniform prior is expected to be, and leave nothing certain.
    """
    count = int(is_class.sum())
    return np.where(is_class, (count + 1) / (count + 2), 1 / (len(is_class) - count + 2))


def _sigmoid(scores: Floats, targets: Floats) -> tuple[Floats, float]:
    """Return a ≥ 0 and b of the sigmoid of least cross-entropy, and that.

    Newton's method with halved steps, as in Lin, Lin and Weng, A note on Platt's probabilistic outputs for
    support vector machines, Machine Learning 68 (2007), on standardized scores. The loss is convex, so that
    where its least value has a falling curve, the best that does not fall is flat.
    """
    from scipy.special import expit, logit

    centre, spread = float(scores.mean()), float(scores.std())
    constant = spread <= 1e-9 * max(1.0, abs(centre))
    design = np.column_stack([(scores - centre) / (1.0 if constant else spread), np.ones(len(scores))])

    def loss(at: Floats) -> float:
        margin = design @ at
        return float(np.sum(np.logaddexp(0, margin) - targets * margin))

    flat = np.array([0.0, logit(targets.mean())])
    if constant:
        return flat, loss(flat)
    at, best = flat, loss(flat)
    for _ in range(_STEPS):
        found = expit(design @ at)
        gradient = design.T @ (found - targets)
        curvature = (design.T * (found * (1 - found))) @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while (reached := loss(at - step)) > best and np.abs(step).max() > 1e-12:
            step /= 2
        if reached > best:
            break
        at, gained, best = at - step, best - reached, reached
        if gained <= 1e-12 * len(scores):
            break
    if at[0] <= 0:
        return flat, loss(flat)
    return np.array([at[0] / spread, at[1] - at[0] * centre / spread]), best


def _isotonic(scores: Floats, targets: Floats) -> Floats:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, targets)
    return np.column_stack([fitted.X_thresholds_, fitted.y_thresholds_]).astype(np.float64)
