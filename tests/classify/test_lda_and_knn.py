"""Promises about discriminant analysis and nearest neighbours: scikit-learn's answers, at less cost."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.classify.knn import KNN
from icehouse.classify.lda import LDA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks([LDA(), KNN()])
def test_they_keep_scikit_learns_contract(estimator, check) -> None:
    check(estimator)


def vectors(rows: int, dimensions: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vectors of unequal variances, some correlated, with their classes, and tested ones."""
    generator = np.random.default_rng([rows, dimensions, classes])
    y = generator.permutation(np.r_[np.arange(rows) % classes, np.zeros(20, dtype=int)])
    X = generator.normal(size=(len(y), dimensions)) * generator.uniform(0.2, 3, dimensions)
    X[:, 1:] += 0.8 * X[:, :-1]
    X += generator.normal(0, 1, (classes, dimensions))[y]
    X[y == 0, 3] = 1.0  # constant in one class
    X[:, 5] = 0.0  # constant
    X = X.astype(np.float32)
    return X[:rows], y[:rows], X[rows:]


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("rows", "dimensions"), [(60, 90), (90, 90), (300, 30)])
@pytest.mark.parametrize("shrinkage", ["auto", 0.1, 1.0])
def test_the_lda_answers_as_scikit_learns(classes, rows, dimensions, shrinkage) -> None:
    X, y, tested = vectors(rows, dimensions, classes)
    ours = LDA(shrinkage).fit(X, y)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X.astype(np.float64), y)
    np.testing.assert_allclose(
        ours.decision_function(tested),
        theirs.decision_function(tested.astype(np.float64)),
        rtol=1e-6,
        atol=1e-6,
    )
    np.testing.assert_allclose(
        ours.predict_proba(tested), theirs.predict_proba(tested.astype(np.float64)), atol=1e-6
    )


@pytest.mark.parametrize("shrinkage", [0, 1.5, "some", None])
def test_an_impossible_shrinkage_is_refused(shrinkage) -> None:
    with pytest.raises((ValueError, TypeError)):
        LDA(shrinkage).fit(*vectors(40, 10, 2)[:2])


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("neighbours", [1, 5, 12])
def test_the_neighbours_are_those_of_the_cosine(neighbours, weights) -> None:
    X, y, tested = vectors(200, 40, 3)
    ours = KNN(neighbours, weights).fit(X, y).predict_proba(tested)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, tested)]
    distances = np.sqrt(2 - 2 * np.clip(unit[1].astype(float) @ unit[0].T.astype(float), -1, 1))
    nearest = np.argsort(distances, axis=1)[:, :neighbours]
    votes = np.ones_like(distances) if weights == "uniform" else 1 / distances
    expected = np.zeros_like(ours)
    for row, found in enumerate(nearest):
        np.add.at(expected[row], y[found], votes[row, found])
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    if weights == "uniform":
        theirs = KNeighborsClassifier(neighbours, metric="cosine").fit(X, y)
        np.testing.assert_allclose(ours, theirs.predict_proba(tested), atol=1e-6)


def test_all_rows_vote_where_there_are_fewer_than_neighbours() -> None:
    fitted = KNN(n_neighbors=5).fit([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [0, 1, 1])
    np.testing.assert_allclose(fitted.predict_proba([[1.0, 0.1]]), [[1 / 3, 2 / 3]])
