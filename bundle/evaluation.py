"""How good answers on external, labelled data are: everything that `icehouse evaluate` says in numbers.

`certainty` has the intervals, `reliability` what probabilities came to, `prevalence` what precision and NPV are
elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classify import intervals
from ..classify.measures import PER_CLASS, Answers
from ..classify.metrics import METRICS
from ..classify.shares import Patients
from .certainty import FEW_PATIENTS, Certainty, entry, share_interval, undefined
from .prevalence import at_prevalence, check
from .reliability import reliability


def evaluate(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    scores: NDArray[np.floating[Any]],
    units: NDArray[np.int64],
    classes: tuple[str, ...],
    positive: int | None,
    *,
    probabilities: bool,
    prevalence: float | None = None,
    seed: int = 0,
    draws: int = intervals.DRAWS,
    counted: str = "patients",
) -> dict[str, Any]:
    """Judge a head's answers on labelled data that it was not fitted on.

    Undecided rows are counted, and left out of everything else.

    Parameters
    ----------
    truth : ndarray of int, shape (n,)
        Indices into `classes`.
    predicted : ndarray of int, shape (n,)
        The same, or −1 where the head did not decide.
    scores : ndarray of float, shape (n, c)
        Probabilities, or any scores that rank.
    units : ndarray of int, shape (n,)
        The number of each row's patient, or of its image where no patients are known.
    classes : tuple of str, length c
    positive : int or None
        The positive class of two.
    probabilities : bool
        Whether `scores` are probabilities.
    prevalence : float, optional
        Share of the positive class among those whom the head is meant for: precision and NPV are taken to it.
    seed, draws : int
        Of the bootstrap.
    counted : str
        What `units` are, for sentences.

    Returns
    -------
    dict
        JSON-ready. Each of `METRICS` has "value", "low" and "high", and where one of them is None the "reason";
        how the interval is made: `certainty.Certainty`. "per_class": of each class the same for each of
        `measures.PER_CLASS`, its "rows" and "patients"; "confusion": rows are true classes; "rows": those
        decided, which all of this is about; "undecided"; "decided": the share decided, with its interval;
        "patients" of all rows, "counted" as what; "calibration": see `reliability.reliability`; "prevalence":
        None, or see `prevalence.at_prevalence`; "interval": how the intervals are made, in a sentence.

    Raises
    ------
    UsageError
        If a prevalence is given that is none, or without a positive class.
    """
    check(prevalence, positive, classes)
    kept = predicted >= 0
    document: dict[str, Any] = {
        "rows": int(kept.sum()),
        "undecided": int((~kept).sum()),
        "decided": _share_decided(kept, truth, units, seed, draws),
        "patients": len(np.unique(units)),
        "counted": counted,
    }
    if not kept.any():
        return {**document, **_of_nothing(classes)}
    answers = Answers(truth[kept], predicted[kept], scores[kept], positive, probabilities)
    found = Certainty(answers, units[kept], classes, counted, seed, draws)
    return {
        **document,
        "confusion": found.confusion,
        **found.metrics,
        "per_class": found.per_class,
        "calibration": reliability(answers, found.tested, classes),
        "prevalence": None if prevalence is None else at_prevalence(prevalence, found),
        "interval": found.sentence(),
    }


def _share_decided(
    kept: NDArray[np.bool_], truth: NDArray[np.int64], units: NDArray[np.int64], seed: int, draws: int
) -> dict[str, Any]:
    if not len(kept):
        return undefined("there is no labelled sample")
    _, patient = np.unique(units, return_inverse=True)
    tested, share, everyone = (
        Patients(patient, truth, truth),
        float(kept.mean()),
        np.ones(len(kept), dtype=bool),
    )
    smallest = min(tested.patients(truth == index) for index in np.unique(truth))
    if smallest < FEW_PATIENTS:
        return entry(share, tested.exact(share, everyone))
    drawn = intervals.bootstrap(
        lambda weights: (weights @ kept / weights.sum(axis=1))[:, None], units, truth, draws=draws, seed=seed
    )
    return entry(share, share_interval(share, drawn[:, 0], smallest, tested.patients(everyone)))


def _of_nothing(classes: tuple[str, ...]) -> dict[str, Any]:
    """Return what is said where no row was decided."""
    reason = "no sample was decided"
    return {
        "confusion": [[0] * len(classes) for _ in classes],
        **{name: undefined(reason) for name in METRICS},
        "per_class": {
            label: {**{name: undefined(reason) for name in PER_CLASS}, "rows": 0, "patients": 0}
            for label in classes
        },
        "calibration": {"of": None, "bins": [], "reason": reason},
        "prevalence": None,
        "interval": "There are no intervals, as no sample was decided.",
    }
