"""Fitted heads of every kind as plain JSON and arrays, and what answers for them later.

Each family of kinds is in a module of its own. No pickle and no library's own loader has a part in it, so that
a bundle from a stranger can be wrong, but can neither run code nor crash what reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import errors
from ..classify.heads import Spec
from . import boosted, forests, linear, machines, neighbours, neural
from .contents import Contents
from .scorers import Blockwise, Matrix, Scorer, State, Vectors, by_class

__all__ = ["KINDS", "Scorer", "restored", "scorer_of", "stored"]

_PROBES = 32
_TOLERANCE = 1e-4
"""Probabilities of a user's own estimator are raised to it: those below, 1 − p cannot tell apart any more."""


class _Family(NamedTuple):
    stored: Callable[[str, Any], State]
    restored: Callable[[Contents, str, int, int], Blockwise]


_NEURAL = _Family(neural.stored, neural.restored)
_LINEAR = _Family(linear.stored, linear.restored)
KINDS: dict[str, _Family] = {
    "mlp": _NEURAL,
    "mlp-bn": _NEURAL,
    "svm": _Family(machines.stored, machines.restored),
    "xgboost": _Family(boosted.stored, boosted.restored),
    "logistic": _LINEAR,
    "knn": _Family(neighbours.stored, neighbours.restored),
    "lda": _LINEAR,
    "forest": _Family(forests.stored, forests.restored),
    "pyramid": _NEURAL,
    "dummy": _LINEAR,
}


def stored(spec: Spec, estimator: Any) -> State:
    """Return a fitted head as an object for the document ("head_state") and arrays ("head/…").

    Parameters
    ----------
    spec : Spec
    estimator : estimator
        As `spec.estimator(seed, widths).fit(X, y)` returns it, with y from 0 on without a gap.

    Raises
    ------
    BundleError
        If it is of a kind, or has parameters, that cannot be kept; if its training has diverged; or if what is
        kept would answer otherwise, as after a change in how its library writes it.
    """
    kind = spec.head.name
    if kind not in KINDS or not spec.head.standardized:
        raise errors.BundleError(
            f"Head {spec.text!r} is an estimator of your own, which a bundle cannot keep; these can be kept: "
            + ", ".join(KINDS)
        )
    state, arrays = KINDS[kind].stored(kind, estimator)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise errors.BundleError(
            f"Head {spec.text!r} holds numbers that are infinite or none, as its training diverged; a lower "
            "learning rate or less extreme vectors may help."
        )
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    _check_answers(spec, estimator, Contents(Path("model.head"), {"head_state": state}, arrays))
    return state, arrays


def _check_answers(spec: Spec, estimator: Any, contents: Contents) -> None:
    """Ask the head as it is and as it is kept; that they agree is not up to us alone, but to libraries, too."""
    dimensions = int(estimator.n_features_in_)
    scorer = restored(contents, spec.head.name, dimensions, len(estimator.classes_))
    # Of few enough digits for trees, and in float64, as some sum up in the type that they are given.
    X = np.random.default_rng(0).normal(size=(_PROBES, dimensions)).astype(np.float32).astype(np.float64)
    kept, own = scorer.scores(X), _own_scores(estimator, X, scorer.probabilities)
    if not np.allclose(kept, own, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise errors.BundleError(
            f"Head {spec.text!r} would answer differently once read back from a bundle, by "
            f"{np.abs(kept - own).max():.2g}; the version of its library may be too new."
        )


def _own_scores(estimator: Any, X: Vectors, probabilities: bool) -> Matrix:
    if probabilities:
        return np.asarray(estimator.predict_proba(X), dtype=np.float64)
    return by_class(estimator.decision_function(X))


def scorer_of(spec: Spec, estimator: Any) -> Scorer:
    """Return what answers for a fitted head as a bundle of it would, without one.

    Parameters
    ----------
    spec : Spec
    estimator : estimator
        As for `stored`.

    Raises
    ------
    BundleError
        If a bundle cannot keep it, as an estimator of the user's own.
    """
    state, arrays = stored(spec, estimator)
    contents = Contents(Path(spec.text), {"head_state": state}, arrays)
    return restored(contents, spec.head.name, int(estimator.n_features_in_), len(estimator.classes_))


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Scorer:
    """Return what answers for a head that a bundle holds.

    Parameters
    ----------
    contents : Contents
    kind : str
        One of `KINDS`.
    dimensions : int
        The length of the vectors that it takes.
    classes : int
        2 or more.

    Raises
    ------
    BundleDamaged
        If what is there is no such head.
    """
    if kind not in KINDS:
        raise contents.fault(f"there is no kind of head {kind[:40]!r}")
    return KINDS[kind].restored(contents, kind, dimensions, classes)
