"""Where the threshold of the positive class lies at which a share of its images that is asked for is found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .calibration import Calibration
from .contents import Contents
from .out_of_fold import OutOfFold


@dataclass(frozen=True)
class Threshold:
    """A threshold, and what it reached on the rows that it was found on, which flatters it a little.

    Parameters
    ----------
    value : float
        A row is called positive if the probability of the positive class is this or more.
    asked : float
        The sensitivity that was asked for.
    sensitivity, specificity : float
    positives, negatives : int
        How many rows those are shares of.
    """

    value: float
    asked: float
    sensitivity: float
    specificity: float
    positives: int
    negatives: int

    @property
    def note(self) -> str | None:
        """What the user should know where the positives are too few for what was asked, else None."""
        from scipy.special import betaincinv

        if (
            self.positives * (1 - self.asked) >= 1 - 1e-9
        ):  # one may be missed: it is not the lowest that decides
            return None
        found = round(self.sensitivity * self.positives)
        lowest = float(betaincinv(found, self.positives - found + 1, 0.05))
        return (
            f"A sensitivity of {self.asked:g} is asked for on {self.positives} positives, none of which may be "
            "missed then: the threshold hangs on the one that scores lowest, and were they of as many "
            f"patients, the sensitivity would only be known to be {math.floor(1000 * lowest) / 1000:g} or more "
            "(95 % confidence)."
        )

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle keeps: a JSON object and no arrays."""
        return dict(vars(self)), {}

    @classmethod
    def restored(cls, contents: Contents) -> Threshold:
        """Return what a bundle kept.

        Raises
        ------
        BundleDamaged
        """
        fields = contents.fields("threshold")
        shares = {name: fields.number(name, 0, 1) for name in ("value", "asked", "sensitivity", "specificity")}
        counts = {name: fields.whole(name, low=1) for name in ("positives", "negatives")}
        if not shares["asked"]:
            raise contents.fault("the sensitivity asked for is 0")
        return cls(**shares, **counts)  # type: ignore[arg-type]  # mypy cannot tell the two dicts' names


def threshold_for(
    sensitivity: float, p_positive: NDArray[np.floating[Any]], is_positive: NDArray[np.bool_]
) -> Threshold:
    """Return the largest threshold at which at least a share of the positives reaches it.

    Parameters
    ----------
    sensitivity : float
        The share, above 0 and up to 1.
    p_positive : ndarray of float, shape (n,)
        Probability of the positive class, of rows that the head was not trained on.
    is_positive : ndarray of bool, shape (n,)

    Raises
    ------
    UsageError
        If the share is none, or there are no positives or no negatives.
    """
    if not 0 < sensitivity <= 1:
        raise errors.UsageError(f"The sensitivity must lie above 0 and up to 1, not {sensitivity!r}.")
    found = np.sort(p_positive[is_positive])[::-1]
    others = p_positive[~is_positive]
    if not len(found) or not len(others):
        missing = "others" if len(found) else "positives"
        raise errors.UsageError(
            f"No threshold can be found for a sensitivity of {sensitivity:g}: there are no {missing} among the "
            "rows that the head was not trained on."
        )
    # Shares such as 0.9 of 10 are a little more than 9 in floats, and must not ask for 10.
    wanted = max(1, math.ceil(sensitivity * len(found) - 1e-9))
    value = float(found[wanted - 1])
    return Threshold(
        value,
        float(sensitivity),
        float(np.mean(found >= value)),
        float(np.mean(others < value)),
        len(found),
        len(others),
    )


def of(answers: OutOfFold, calibration: Calibration | None, positive: int, sensitivity: float) -> Threshold:
    """Return the threshold for a sensitivity by out-of-fold answers, calibrated if that is how they are used.

    Raises
    ------
    UsageError
        As `threshold_for`.
    """
    shares = answers.scores if calibration is None else calibration.apply(answers.scores)
    return threshold_for(sensitivity, shares[:, positive], answers.truth == positive)
