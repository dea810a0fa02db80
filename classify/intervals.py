"""How sure a number is: intervals and tests for rounds that overlap, of patients rather than images.

Pure functions of arrays; `summary` and `comparison` say which of them a number gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
DRAWS = 2000
_CELLS = 1_000_000
"""How many weights are held at once."""


def tested_to_trained(
    train: NDArray[np.bool_], test: NDArray[np.bool_], units: NDArray[np.integer[Any]]
) -> float:
    """Return how many patients are tested for one that is trained on, the mean over splits.

    In k folds of equally many patients it is 1 / (k − 1).

    Parameters
    ----------
    train, test : ndarray of bool, shape (s, n)
        At least one row on each side of each split.
    units : ndarray of int, shape (n,)
        The number of each row's patient.
    """
    _, numbers = np.unique(units, return_inverse=True)
    return float(
        np.mean([_distinct(numbers[b]) / _distinct(numbers[a]) for a, b in zip(train, test, strict=True)])
    )


def _distinct(numbers: NDArray[np.integer[Any]]) -> int:
    return int(np.count_nonzero(np.bincount(numbers)))


def corrected_t(
    values: Sequence[float] | Floats, ratio: float, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of the mean of J scores of one head whose training parts overlap.

    Student's t with J − 1 degrees of freedom on the variance of the scores times 1/J + ratio: C. Nadeau and Y.
    Bengio, Inference for the generalization error, Machine Learning 52 (2003), section 4.1. For k folds
    repeated R times, J is k · R and the ratio 1 / (k − 1): R. R. Bouckaert and E. Frank, Evaluating the
    replicability of significance tests for comparing learning algorithms, PAKDD (2004).

    Parameters
    ----------
    values : sequence of float, length J
        One for each split, two at least.
    ratio : float
        Tested to trained-on; see `tested_to_trained`.
    confidence : float
    """
    from scipy.special import stdtrit

    centre, error = _corrected(values, ratio)
    reach = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * error
    return centre - reach, centre + reach


def corrected_t_test(
    differences: Sequence[float] | Floats, ratio: float, confidence: float = CONFIDENCE
) -> tuple[float, float, float, float]:
    """Return the mean difference of two heads on J splits, its interval, and the two-sided p that it is zero.

    The corrected resampled t-test of Nadeau and Bengio; see `corrected_t`. Where all differences are zero, p is
    1; where all are the same and not zero, the test knows no variance and p is 0.

    Returns
    -------
    difference, low, high, p : float
    """
    from scipy.special import stdtr

    centre, error = _corrected(differences, ratio)
    low, high = corrected_t(differences, ratio, confidence)
    if error == 0:
        return centre, low, high, 1.0 if centre == 0 else 0.0
    return centre, low, high, float(2 * stdtr(len(differences) - 1, -abs(centre) / error))


def _corrected(values: Sequence[float] | Floats, ratio: float) -> tuple[float, float]:
    """Return mean and corrected standard error; of values that are all the same, exactly that value and 0."""
    if min(values) == max(values):
        return float(values[0]), 0.0
    variance = float(np.var(values, ddof=1))
    return float(np.mean(values)), math.sqrt(variance * (1 / len(values) + ratio))


def wilson(p: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a share `p` of `n` independent cases, (0, 1) if there are none.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of the American
    Statistical Association 22 (1927). It holds `p`, and has a width at shares of 0 and 1 too.
    """
    from scipy.special import ndtri

    if n <= 0:
        return 0.0, 1.0
    z = float(ndtri((1 + confidence) / 2))
    shrink = 1 + z**2 / n
    centre = (p + z**2 / (2 * n)) / shrink
    reach = z / shrink * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return float(max(0.0, min(p, centre - reach))), float(min(1.0, max(p, centre + reach)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the order given.

    S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6
    (1979).
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def bootstrap(
    statistic: Callable[[Floats], Floats],
    units: NDArray[np.integer[Any]],
    truth: NDArray[np.integer[Any]],
    *,
    draws: int = DRAWS,
    seed: int,
) -> Floats:
    """Return statistics of test parts as they might have been: the bootstrap over patients within classes.

    In each draw as many patients are drawn, with replacement, as there are of each class (of each set of
    classes, where a patient has several), each with all of their rows: B. Efron, Bootstrap methods: another
    look at the jackknife, Annals of Statistics 7 (1979).

    Parameters
    ----------
    statistic : callable
        Takes weights of shape (b, n), how often each row was drawn; returns shape (b, k).
    units, truth : ndarray of int, shape (n,)
        The patient and the class of each tested row.
    draws : int
    seed : int

    Returns
    -------
    ndarray of float, shape (draws, k)
    """
    _, numbers = np.unique(units, return_inverse=True)
    has = np.zeros((numbers.max() + 1, int(truth.max()) + 1), dtype=bool)
    has[numbers, truth] = True
    _, stratum = np.unique(has, axis=0, return_inverse=True)
    stratum = stratum.reshape(-1)  # NumPy 2.0 gives it a second axis
    strata = [np.flatnonzero(stratum == number) for number in range(stratum.max() + 1)]
    generator = np.random.default_rng([seed, 3])
    size = max(1, _CELLS // len(truth))
    found = []
    for start in range(0, draws, size):
        count = min(size, draws - start)
        times = np.zeros((count, len(has)))
        for members in strata:
            drawn = generator.integers(0, len(members), (count, len(members)))
            drawn += np.arange(count)[:, None] * len(members)
            times[:, members] = np.bincount(drawn.ravel(), minlength=count * len(members)).reshape(count, -1)
        found.append(statistic(times[:, numbers]))
    return np.concatenate(found)


def percentiles(drawn: Floats, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return the interval that holds the middle of the draws, or None if the statistic was undefined in all."""
    defined = drawn[~np.isnan(drawn)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_p(drawn: Floats, observed: float) -> float:
    """Return the two-sided p that a statistic is zero: twice the share of draws on zero's other side.

    It is (b + 1) / (m + 1), doubled, of m draws of which b are zero or of the other sign than the one observed:
    A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), chapter 4.
    """
    defined = drawn[~np.isnan(drawn)]
    other = defined <= 0 if observed > 0 else defined >= 0
    return min(1.0, 2 * (int(np.sum(other)) + 1) / (len(defined) + 1))
