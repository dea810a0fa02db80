"""Whether an estimator takes its parameters, found out in milliseconds: it is fitted on next to nothing.

Estimators look at their parameters no sooner than in `fit`. Without this a typing error would end a run in its
first round, after everything before it was computed.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_LONG = ("epochs", "n_estimators")
"""Parameters that decide how long a fit takes, and are cut where they are whole numbers."""
_ROWS = 1000
"""Rows that a trial is made of at most; a parameter may ask for many, as `max_samples` does."""


def refusal(make: Callable[[], Any], parameters: Mapping[str, Any]) -> str | None:
    """Return the parameter that an estimator refuses and why, in one line, or None if it takes them all.

    Parameters
    ----------
    make : callable
        Returns the estimator with its defaults.
    parameters : mapping of str to object
    """
    reason = _reason(make, parameters)
    if reason is None:
        return None
    for key, value in parameters.items():
        if (alone := _reason(make, {key: value})) is not None:
            return f"{key}={value!r} is refused: {alone}"
    shown = ", ".join(f"{key}={value!r}" for key, value in parameters.items())
    return f"{shown} are refused together: {reason}"


def _reason(make: Callable[[], Any], parameters: Mapping[str, Any]) -> str | None:
    """Return why a fit fails with two classes and also with three, as some values suit only the one."""
    reasons = [_fit(make(), parameters, classes) for classes in (2, 3)]
    return None if None in reasons else reasons[0]


def _fit(estimator: Any, parameters: Mapping[str, Any], classes: int) -> str | None:
    generator = np.random.default_rng(0)
    sizes = [
        value for key, value in parameters.items() if type(value) is int and key not in (*_LONG, "random_state")
    ]
    rows = int(np.clip(2 * max(sizes, default=0), 10 * classes, _ROWS))
    widths = parameters.get("widths")
    columns = sum(widths) if isinstance(widths, tuple) else widths if isinstance(widths, int) else 8
    y = np.arange(rows) % classes
    X = generator.normal(size=(rows, columns)).astype(np.float32) + y[:, None].astype(np.float32)
    try:
        estimator.set_params(**parameters)
        known = estimator.get_params()
        short = {key: min(known[key], 2) for key in _LONG if type(known.get(key)) is int}
        if known.get("verbosity", 0) is None:
            short["verbosity"] = 0
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            estimator.set_params(**short).fit(X, y)
    except Exception as error:  # an estimator may refuse its parameters in any way
        lines = [line.strip() for line in str(error).splitlines()]
        return next((line for line in lines if line), type(error).__name__)[:300]
    return None


def scoring(estimator: Any) -> str | None:
    """Return what a user's classifier answers scores by, "predict_proba" or "decision_function", or None.

    Some have it only once they are fitted, as the estimators within them decide; they are tried on a copy.
    """
    from sklearn.base import clone

    ways = ("predict_proba", "decision_function")
    found = [way for way in ways if hasattr(estimator, way)]
    if not found:
        tried = clone(estimator)
        if _fit(tried, {}, 2) is None:
            found = [way for way in ways if hasattr(tried, way)]
    return found[0] if found else None
