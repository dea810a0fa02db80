"""What probabilities came to: the reliability table, bin by bin, counted in patients."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classify.measures import Answers
from ..classify.shares import Patients

_MOST_BINS = 10
_PATIENTS_A_BIN = 10


def reliability(answers: Answers, tested: Patients, classes: tuple[str, ...]) -> dict[str, Any]:
    """Set probabilities beside the share of rows in which they came true.

    With a positive class the probability is its; else it is that of the class predicted, and true where that is
    right (C. Guo et al., On calibration of modern neural networks, ICML (2017), section 2). Bins have about
    equally many rows, and are as many as leave each of them ten patients, ten at most; equal probabilities
    share a bin.

    Returns
    -------
    dict
        "of": the positive class or None; "bins": of each the "lowest" and the "highest" probability in it, the
        mean "probability", the share "observed", its "low" and "high" (Clopper and Pearson, of patients),
        "rows" and "patients"; in order of probability. "reason": why there are none, if there are none.
    """
    of = None if answers.positive is None else classes[answers.positive]
    if not answers.probabilities:
        return {"of": of, "bins": [], "reason": "this head gives scores, not probabilities"}
    if answers.positive is None:
        p = answers.scores[np.arange(len(answers.truth)), answers.predicted].astype(np.float64)
        true = answers.predicted == answers.truth
    else:
        p = answers.scores[:, answers.positive].astype(np.float64)
        true = answers.is_class(answers.positive)
    everyone = np.ones(len(p), dtype=bool)
    count = min(_MOST_BINS, max(1, tested.patients(everyone) // _PATIENTS_A_BIN))
    _, number, times = np.unique(p, return_inverse=True, return_counts=True)
    middle = (np.cumsum(times) - times / 2)[number]
    of_bin = np.floor(middle * count / len(p)).astype(int)
    bins = []
    for bin_number in np.unique(of_bin):
        taken = of_bin == bin_number
        observed = float(true[taken].mean())
        low, high = tested.exact(observed, taken)
        bins.append(
            {
                "lowest": float(p[taken].min()),
                "highest": float(p[taken].max()),
                "probability": float(p[taken].mean()),
                "observed": observed,
                "low": low,
                "high": high,
                "rows": int(taken.sum()),
                "patients": tested.patients(taken),
            }
        )
    return {"of": of, "bins": bins}
