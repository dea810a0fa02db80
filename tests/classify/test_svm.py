"""Promises about the SVM: scikit-learn's answers, from a kernel made of matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.classify import svm
from icehouse.classify.svm import SVM
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks(
    [SVM(gamma="auto", tol=1e-12)]
)  # libsvm stops at a place that depends on the rows' order
def test_the_svm_keeps_scikit_learns_contract(estimator, check) -> None:
    check(estimator)


def vectors(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return standardized vectors that overlap about as real ones do, their classes, and tested ones."""
    generator = np.random.default_rng(classes)
    y = np.arange(300) % classes
    X = np.maximum(generator.normal(0.2, 0.8, (300, 256)) + generator.normal(0, 0.2, (classes, 256))[y], 0)
    X = ((X - X[:200].mean(axis=0)) / X[:200].std(axis=0)).astype(np.float32)
    return X[:200], y[:200], X[200:]


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"C": 30.0, "gamma": "auto"},
        {"gamma": 0.01},
        {"kernel": "linear", "C": 0.01},
        {"kernel": "poly", "degree": 2, "coef0": 1.0},
        {"kernel": "sigmoid", "coef0": 0.1},
        {"class_weight": "balanced"},
    ],
)
def test_it_answers_as_svc_does(classes, parameters) -> None:
    X, y, tested = vectors(classes)
    ours, theirs = SVM(**parameters, tol=1e-5).fit(X, y), SVC(**parameters, tol=1e-5).fit(X, y)
    np.testing.assert_allclose(ours.decision_function(tested), theirs.decision_function(tested), atol=1e-3)
    np.testing.assert_array_equal(ours.predict(tested), theirs.predict(tested))
    assert len(ours.support_vectors_) <= 200
    np.testing.assert_array_equal(ours.support_vectors_, X[ours.support_])


def test_it_answers_as_svc_does_on_real_vectors(shared) -> None:
    """Grey values of X-rays, 32×32, and weights: correlated and skewed as drawn numbers are not."""
    from PIL import Image

    paths = sorted((shared / "data" / "cxr").rglob("*.jp*g"))[::8]
    X = np.stack([np.asarray(Image.open(path).convert("L").resize((32, 32))) for path in paths])
    X = X.reshape(len(paths), -1).astype(np.float32)
    y = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    trained = np.arange(len(y)) % 3 > 0
    weights = np.random.default_rng(0).uniform(0.2, 3, trained.sum())
    ours, theirs = (kind(C=3).fit(X[trained], y[trained], weights) for kind in (SVM, SVC))
    np.testing.assert_allclose(
        ours.decision_function(X[~trained]), theirs.decision_function(X[~trained]), atol=1e-3
    )
    np.testing.assert_array_equal(ours.predict(X[~trained]), theirs.predict(X[~trained]))


def test_rows_without_weight_are_as_if_they_were_not_there() -> None:
    X, y, tested = vectors(3)
    weights = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    kept = weights > 0
    weighed = SVM(gamma="auto").fit(X, y, weights)
    without = SVM(gamma="auto").fit(X[kept], y[kept], weights[kept])
    np.testing.assert_array_equal(weighed.decision_function(tested), without.decision_function(tested))
    np.testing.assert_array_equal(weighed.support_, np.flatnonzero(kept)[without.support_])


def test_more_rows_than_a_whole_kernel_is_made_for_give_the_same_answers(monkeypatch) -> None:
    X, y, tested = vectors(3)
    small = SVM().fit(X, y)
    monkeypatch.setattr(svm, "_BLOCK", 64)  # a kernel in blocks, and answers in blocks
    np.testing.assert_allclose(
        SVM().fit(X, y).decision_function(tested), small.decision_function(tested), atol=1e-5
    )
    monkeypatch.setattr(svm, "_WHOLE_KERNEL", 100)
    direct = SVM().fit(X, y)
    np.testing.assert_allclose(direct.decision_function(tested), small.decision_function(tested), atol=1e-3)
    np.testing.assert_array_equal(direct.predict(tested), small.predict(tested))


@pytest.mark.parametrize("bad", [{"kernel": "cosine"}, {"gamma": "wide"}, {"gamma": -1.0}, {"C": 0}])
def test_impossible_parameters_of_the_svm_are_refused(bad) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        SVM(**bad).fit([[0.0], [1.0]], [0, 1])
