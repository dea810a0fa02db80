"""Precision and NPV where the positive class is rarer, or more common, than in the data judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..classify.metrics import WHY_UNDEFINED
from .certainty import Certainty, entry, undefined

Floats = NDArray[np.float64]


def check(prevalence: float | None, positive: int | None, classes: Sequence[str]) -> None:
    """Raise `UsageError` if a prevalence is given that is none, or no class is positive."""
    if prevalence is not None and positive is None:
        raise errors.UsageError(
            f"A prevalence is that of the positive class of two; here are {len(classes)} classes."
        )
    if prevalence is not None and not 0 < prevalence < 1:
        raise errors.UsageError(f"A prevalence lies between 0 and 1, without these; {prevalence:g} does not.")


def at_prevalence(prevalence: float, found: Certainty) -> dict[str, Any]:
    """Return what precision and NPV are for a share `prevalence` of the positive class, by Bayes's theorem.

    Their limits follow from those of sensitivity and of specificity, whose patients are others: what each makes
    of the number alone, in quadrature (compare `classify.shares.mean_interval`).

    Returns
    -------
    dict
        "value", the prevalence; "of", the positive class; "in_data", its share of the rows judged; "precision"
        and "npv", each with "value", "low", "high", and "reason" where undefined.
    """
    positive = found.answers.positive
    assert positive is not None
    of_positive = found.per_class[found.classes[positive]]
    sensitivity, specificity = of_positive["sensitivity"], of_positive["specificity"]
    document: dict[str, Any] = {
        "value": prevalence,
        "of": found.classes[positive],
        "in_data": float(found.answers.is_class(positive).mean()),
    }
    reasons = [rate["reason"] for rate in (sensitivity, specificity) if rate["value"] is None]
    if reasons:
        return {**document, "precision": undefined("; ".join(reasons)), "npv": undefined("; ".join(reasons))}
    for name in ("precision", "npv"):
        value = float(_by_bayes(name, prevalence, sensitivity["value"], specificity["value"]))
        if np.isnan(value):
            document[name] = undefined(f"{found.classes[positive]} {WHY_UNDEFINED[name]}")
            continue
        ends = [value]
        for end, sign in (("low", -1), ("high", 1)):
            one = _by_bayes(name, prevalence, sensitivity[end], specificity["value"])
            other = _by_bayes(name, prevalence, sensitivity["value"], specificity[end])
            ends.append(value + sign * float(np.hypot(*np.nan_to_num([one - value, other - value]))))
        document[name] = entry(value, (max(0.0, min(ends)), min(1.0, max(ends))))
    return document


def _by_bayes(name: str, prevalence: float, sensitivity: Any, specificity: Any) -> Floats:
    """Return precision or NPV; NaN where nobody is called so."""
    if name == "precision":
        right, wrong = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    else:
        right, wrong = (1 - prevalence) * specificity, prevalence * (1 - sensitivity)
    called = np.asarray(right + wrong, dtype=np.float64)
    return np.asarray(np.divide(right, called, out=np.full(called.shape, np.nan), where=called > 0))
