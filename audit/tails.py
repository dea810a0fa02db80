"""Where the usual ends: thresholds out of the tail of a distribution that a few odd ones may have got into."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DECADE = 10.0
_RAREST = 1e-4
"""Below it, what is drawn says too little of how often something is."""


@dataclass(frozen=True)
class Tail:
    """The upper tail of a distribution, taken to fall exponentially.

    Parameters
    ----------
    begins : float
        The value that a share `share` of what was drawn lies above.
    share : float
    scale : float
        By how much the value grows where the share falls to 1/e of itself.
    """

    begins: float
    share: float
    scale: float

    def value(self, share: float) -> float:
        """Return the value that no more than `share` lies above."""
        return self.begins + self.scale * math.log(self.share / share)

    def beyond(self, value: float) -> float:
        """Return the share that lies above `value`, where that is in the tail."""
        if self.scale <= 0:
            return 0.0 if value > self.begins else self.share
        return self.share * math.exp(min(0.0, (self.begins - value) / self.scale))


def tail(values: NDArray[np.floating], share: float) -> Tail:
    """Return the tail of a distribution, from two of its quantiles: those of ten times `share` and of `share`.

    What lies above both, among it the very things that are looked for, has no say beyond its number, so
    `share` must be well above theirs. The form is that of the tails of most distributions that have no heavy
    one [1]_; where the real tail falls faster, as the normal distribution's, the threshold is on the safe side.

    Parameters
    ----------
    values : ndarray of float, shape (m,)
    share : float

    References
    ----------
    .. [1] S. Coles: An Introduction to Statistical Modeling of Extreme Values, 2001, section 4.2 (the
       generalized
       Pareto distribution of shape 0).
    """
    share = min(max(share, _RAREST, 1 / max(len(values), 1)), 1 / (2 * _DECADE))
    low, high = np.quantile(values, [1 - _DECADE * share, 1 - share])
    return Tail(float(high), share, max(0.0, float(high - low) / math.log(_DECADE)))
