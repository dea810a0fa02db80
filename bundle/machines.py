"""Support vector machines as plain arrays, rebuilt as the estimator that they were."""

from __future__ import annotations

from typing import Any

import numpy as np

from .contents import Contents
from .scorers import Blockwise, Matrix, State, Vectors, by_class


def stored(kind: str, estimator: Any) -> State:
    """Return a fitted SVM."""
    state = {
        "kernel": estimator.kernel,
        "gamma": float(estimator.gamma_),
        "degree": int(estimator.degree),
        "coef0": float(estimator.coef0),
        "precision": str(estimator.support_vectors_.dtype),
    }
    return state, {
        "head/support_vectors": estimator.support_vectors_,
        "head/coefficients": estimator.coefficients_,
        "head/intercept": estimator.intercept_,
    }


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Blockwise:
    """Return a scorer of decision values."""
    from ..classify.svm import KERNELS, SVM

    fields = contents.fields("head_state")
    machine = SVM(
        kernel=fields.text("kernel", KERNELS), degree=fields.whole("degree"), coef0=fields.number("coef0")
    )
    machine.gamma_ = fields.number("gamma", 0)
    precision = fields.text("precision", ("float32", "float64"))
    pairs = classes * (classes - 1) // 2
    machine.support_vectors_ = contents.array("head/support_vectors", (None, dimensions), precision)
    count = len(machine.support_vectors_)
    machine.coefficients_ = contents.array("head/coefficients", (count, pairs), "float64")
    machine.intercept_ = contents.array("head/intercept", (pairs,), "float64")
    machine.classes_, machine.n_features_in_ = np.arange(classes), dimensions

    def answer(X: Vectors) -> Matrix:
        return by_class(machine.decision_function(X))

    held = max(dimensions, count, pairs)
    return Blockwise(contents.path, classes, False, answer, machine.margins, held, machine.gradients)
