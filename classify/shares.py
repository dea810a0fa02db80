"""What so many patients allow to be known: the least intervals of shares, and where metrics can lie.

`intervals` has the intervals of rounds and draws; here is what those are widened to, or give way to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .intervals import CONFIDENCE, wilson
from .measures import PER_CLASS
from .metrics import AIMS

Interval = tuple[float, float]

SHARES = frozenset({"accuracy", "sensitivity", "specificity", "precision", "npv"})
"""The metrics that are plain shares of rows."""


def clopper_pearson(p: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a share `p` of `n` independent cases, (0, 1) if there are none.

    C. J. Clopper and E. S. Pearson, The use of confidence or fiducial limits illustrated in the case of the
    binomial, Biometrika 26 (1934), in its form by quantiles of the beta distribution, which takes cases and
    hits that are no whole numbers too.
    """
    from scipy.special import betaincinv

    if n <= 0:
        return 0.0, 1.0
    hits = p * n
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, n - hits + 1, tail)) if p > 0 else 0.0
    high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if p < 1 else 1.0
    return low, high


def limits(name: str, classes: int) -> Interval:
    """Return where a metric can lie."""
    if name in AIMS:
        return -math.inf, math.inf
    if name == "mcc":
        return -1.0, 1.0
    highest = {"loss": math.inf, "brier": 1.0 if classes == 2 else 2.0}
    return 0.0, highest.get(name, 1.0)


def mean_interval(shares: Sequence[float], of_each: Sequence[Interval]) -> Interval:
    """Return the interval of the mean of independent estimates, from the interval of each.

    The distances from the estimates to their limits are combined in quadrature: G. Y. Zou and A. Donner,
    Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008).
    """
    mean, count = float(np.mean(shares)), len(shares)
    below = [share - low for share, (low, _) in zip(shares, of_each, strict=True)]
    above = [high - share for share, (_, high) in zip(shares, of_each, strict=True)]
    return mean - math.hypot(*below) / count, mean + math.hypot(*above) / count


@dataclass(frozen=True)
class Patients:
    """Who was tested, and the intervals that follow from how many they are.

    A share cannot be known better than so many patients allow, however often they are tested. For accuracy they
    are all who were tested; for the share of a class those with a row in its denominator: of the class for
    sensitivity, predicted as it for precision, either for F1, not of it for specificity, not predicted as it
    for NPV. A mean over classes has `mean_interval` of theirs. The area under the ROC curve is taken for a
    share of 3ab / (a + b + 1) patients, with a of the class and b others: at 0.5 its variance is then that of
    the rank-sum statistic (J. A. Hanley and B. J. McNeil, Radiology 143 (1982)); average precision for one of a
    patients (K. Boyd, K. H. Eng and C. D. Page, Area under the precision-recall curve, ECML PKDD (2013)); (MCC
    + 1) / 2 for one of all. Loss, Brier score and calibration are no shares and have none.

    Parameters
    ----------
    patient, truth, predicted : ndarray of int, shape (k,)
        The patient, numbered from 0, the class and the predicted class of each tested row.
    """

    patient: NDArray[np.int64]
    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def everyone(self) -> int:
        """How many were tested."""
        return self.patients(np.ones(len(self.patient), dtype=bool))

    def floor(self, name: str, value: float, shares: Sequence[float], positive: int | None) -> Interval | None:
        """Return the least interval of a metric, or None where there is none.

        Parameters
        ----------
        name : str
            Of `metrics.METRICS`.
        value : float
        shares : sequence of float
            The same of each class, one against the rest; for balanced accuracy the sensitivities; for what is
            not known of each class, anything.
        positive : int or None
            The positive class of two.
        """
        if name == "accuracy":
            return wilson(value, self.everyone)
        if name == "mcc":
            low, high = wilson((value + 1) / 2, self.everyone)
            return 2 * low - 1, 2 * high - 1
        part = "sensitivity" if name == "balanced_accuracy" else name
        if part not in PER_CLASS:
            return None
        if positive is not None and name != "balanced_accuracy":
            return self.of_class(part, value, positive)
        return mean_interval(shares, [self.of_class(part, share, i) for i, share in enumerate(shares)])

    def of_class(self, name: str, share: float, index: int) -> Interval:
        """Return the least interval of a class's metric."""
        if name == "roc_auc":
            inside, outside = self.patients(self.truth == index), self.patients(self.truth != index)
            return wilson(share, 3 * inside * outside / (inside + outside + 1))
        return wilson(share, self.patients(self.denominator(name, index)))

    def exact(self, share: float, taken: NDArray[np.bool_]) -> Interval:
        """Return the Clopper–Pearson interval of a share of few patients' rows.

        The share is of rows, yet rows of one patient may all be right or wrong together. So it is taken for one
        of (Σm)² / Σm² cases, where m are the patients' numbers of rows (as L. Kish counts unequal weights,
        Survey Sampling (1965)): as many as there are patients if all have equally many, fewer if some have
        most. That errs on the wide side where the rows of a patient differ.
        """
        rows = np.bincount(self.patient[taken]).astype(np.float64)
        return clopper_pearson(share, rows.sum() ** 2 / (rows**2).sum() if len(rows) else 0.0)

    def denominator(self, name: str, index: int) -> NDArray[np.bool_]:
        """Return the rows that a class's metric is a share of."""
        of_class, as_class = self.truth == index, self.predicted == index
        counted = {
            "sensitivity": of_class,
            "pr_auc": of_class,
            "specificity": ~of_class,
            "precision": as_class,
            "npv": ~as_class,
            "f1": of_class | as_class,
        }
        return np.asarray(counted[name])

    def patients(self, taken: NDArray[np.bool_]) -> int:
        """Return how many patients have one of these rows."""
        return int(np.count_nonzero(np.bincount(self.patient[taken])))
