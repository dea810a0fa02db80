"""Heads that are one product and a softmax, or less: logistic regression, LDA and dummy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..classify.training import softmax
from .contents import Contents
from .scorers import Blockwise, Matrix, State, Vectors, apart, both, sigmoid


def stored(kind: str, estimator: Any) -> State:
    """Return a fitted LogisticRegression, LDA or DummyClassifier."""
    if kind == "dummy":
        return {}, {"head/priors": np.asarray(estimator.class_prior_, dtype=np.float64)}
    return {}, {
        "head/coefficients": np.asarray(estimator.coef_, dtype=np.float64),
        "head/intercept": np.asarray(estimator.intercept_, dtype=np.float64),
    }


def restored(contents: Contents, kind: str, dimensions: int, classes: int) -> Blockwise:
    """Return a scorer of one of these heads.

    It computes in float64, whatever the vectors are; scikit-learn's logistic regression does so for vectors of
    float64 only, and its answers to 10,000 vectors of 2,048 float32 were up to 1e-6 away.
    """
    if kind == "dummy":
        priors = contents.array("head/priors", (classes,), "float64")
        if priors.min() < 0 or abs(priors.sum() - 1) > 1e-6:
            raise contents.fault("the classes' frequencies do not sum to 1")
        constant = np.log(np.maximum(priors, np.finfo(np.float64).tiny))
        return Blockwise(
            contents.path,
            classes,
            True,
            answer=lambda X: np.tile(priors, (len(X), 1)),
            margin=lambda X: np.tile(constant, (len(X), 1)),
            held=classes,
        )
    outputs = 1 if kind == "logistic" and classes == 2 else classes
    coefficients = contents.array("head/coefficients", (outputs, dimensions), "float64")
    intercept = contents.array("head/intercept", (outputs,), "float64")

    def logits(X: Vectors) -> Matrix:
        return np.asarray(X.astype(np.float64) @ coefficients.T + intercept)

    def answer(X: Vectors) -> Matrix:
        return both(sigmoid(logits(X)[:, 0])) if outputs == 1 else softmax(logits(X))

    def margin(X: Vectors) -> Matrix:
        return apart(logits(X)[:, 0]) if outputs == 1 else logits(X)

    def slope(X: Vectors, weights: Matrix) -> Matrix:
        return np.asarray(weights @ (apart(coefficients[0]).T if outputs == 1 else coefficients))

    return Blockwise(contents.path, classes, True, answer, margin, max(dimensions, classes), slope)
