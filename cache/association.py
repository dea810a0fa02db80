"""How tightly two labellings of the same samples go together, such as the class and the format of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Association(NamedTuple):
    """How tightly two labellings go together.

    Parameters
    ----------
    v : float
        Cramér's V, corrected for bias: 0 where one says nothing of the other, 1 where it says all.
    p : float
        How likely a V as large is by chance alone, samples taken as independent (chi-squared test).
    """

    v: float
    p: float


def cramers_v(first: Sequence[str], second: Sequence[str]) -> Association:
    """Return Cramér's V of two labellings, corrected for bias.

    The uncorrected V grows with the number of levels even where there is nothing to find.

    Parameters
    ----------
    first, second : sequence of str, length n
        The level of each sample.

    References
    ----------
    W. Bergsma: A bias-correction for Cramér's V and Tschuprow's T, Journal of the Korean Statistical Society 42
    (2013), section 3.
    """
    from scipy.special import chdtrc  # scipy.stats, which has the test by name, takes a second to import

    rows, columns = sorted(set(first)), sorted(set(second))
    n = len(first)
    if len(rows) < 2 or len(columns) < 2:
        return Association(0.0, 1.0)
    counts = Counter(zip(first, second, strict=True))
    table = np.array([[counts[row, column] for column in columns] for row in rows], dtype=np.float64)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    chi_squared = float(((table - expected) ** 2 / expected).sum())
    freedom = (len(rows) - 1) * (len(columns) - 1)
    phi_squared = max(0.0, chi_squared / n - freedom / (n - 1))
    fewest = min(levels - (levels - 1) ** 2 / (n - 1) for levels in (len(rows), len(columns)))
    v = min(1.0, (phi_squared / (fewest - 1)) ** 0.5) if fewest > 1 else 0.0
    return Association(v, float(chdtrc(freedom, chi_squared)))
