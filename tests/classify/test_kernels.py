"""Promises about the controls' arithmetic: it is scikit-learn's, and it looks at no more rows than it must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from icehouse.classify import heads, kernels, splits
from icehouse.classify.kernels import balanced_accuracy, gram, quick_head, reduced
from making import problem_of
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def vectors() -> np.ndarray:
    generator = np.random.default_rng(0)
    X = generator.normal(3, 2, (90, 12)).astype(np.float32)
    X[:, 3] = 0.1  # says nothing
    return X


def test_products_are_those_of_standardized_vectors(vectors) -> None:
    Z = StandardScaler().fit_transform(vectors.astype(np.float64))
    products = gram(vectors)
    np.testing.assert_allclose(products.products, Z @ Z.T, atol=1e-4)
    np.testing.assert_allclose(products.cosine(), cosine_similarity(Z), atol=1e-5)
    np.testing.assert_allclose(products.rbf("scale"), rbf_kernel(Z, gamma=1 / (12 * Z.var())), atol=1e-5)
    np.testing.assert_allclose(products.rbf("auto"), rbf_kernel(Z, gamma=1 / 12), atol=1e-5)
    np.testing.assert_allclose(products.rbf(0.05), rbf_kernel(Z, gamma=0.05), atol=1e-5)


@pytest.mark.parametrize("text", ["knn", "knn:n_neighbors=1", "svm", "svm:C=10", "svm:kernel=linear"])
def test_a_quick_head_predicts_what_the_head_itself_predicts(vectors, text) -> None:
    y = (vectors[:, 0] + vectors[:, 1] > 6).astype(np.int64) + (vectors[:, 2] > 4)
    Z = StandardScaler().fit_transform(vectors)
    train, test = np.arange(60), np.arange(60, 90)
    name, predict = quick_head(heads.parse_all(["mlp", text]), gram(vectors))
    assert name == text
    expected = heads.parse(text).build(0)[-1].fit(Z[train], y[train]).predict(Z[test])
    np.testing.assert_array_equal(predict(train, test, y), expected)


def test_a_class_that_is_alone_in_training_is_predicted(vectors) -> None:
    y = np.zeros(90, dtype=np.int64)
    y[80:] = 1
    _, predict = quick_head(heads.parse_all(["svm"]), gram(vectors))
    assert not predict(np.arange(60), np.arange(60, 90), y).any()


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    truth, predicted = generator.choice([0, 2], 200), generator.integers(0, 3, 200)
    assert balanced_accuracy(truth, predicted) == pytest.approx(
        np.mean([np.mean(predicted[truth == label] == label) for label in (0, 2)])
    )
    truth = generator.integers(0, 3, 200)
    assert balanced_accuracy(truth, predicted) == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_a_large_problem_is_reduced_by_whole_patients_with_every_class() -> None:
    generator = np.random.default_rng(0)
    owner = generator.permutation(np.repeat(np.arange(2000), 5))
    y = np.where(np.arange(2000) < 15, 1, 0)[owner]
    content = np.arange(10_000, dtype=np.int64).view(np.uint8).reshape(-1, 8).repeat(4, axis=1)
    problem = problem_of(y, owner.astype(str), content, X=np.arange(20_000, dtype=np.float32).reshape(-1, 2))
    problem = replace(problem, columns={"owner": owner.astype(str)})
    parted = splits.make(problem, splits.Request(rounds=2))
    few, sides, units = reduced(problem, parted, owner, seed=0)
    assert 2400 < len(few) <= kernels.ROWS
    assert (np.bincount(units)[np.unique(units)] == 5).all()
    assert len(np.unique(units[few.y == 1])) >= 10
    rows = (few.X[:, 0] / 2).astype(int)
    np.testing.assert_array_equal(few.y, problem.y[rows])
    np.testing.assert_array_equal(few.columns["owner"], units.astype(str))
    np.testing.assert_array_equal(sides.test, parted.test[:, rows])
    np.testing.assert_array_equal(few.content, problem.content[rows])


def test_of_few_patients_with_many_slices_only_some_slices_are_taken() -> None:
    owner = np.repeat(np.arange(200), 40)
    content = np.arange(8000, dtype=np.int64).view(np.uint8).reshape(-1, 8).repeat(4, axis=1)
    problem = problem_of((owner % 2), owner.astype(str), content)
    few, _, units = reduced(problem, splits.make(problem, splits.Request(rounds=1)), owner, seed=0)
    assert len(few) <= kernels.ROWS
    assert len(np.unique(units)) == 100
    assert np.bincount(units).max() == 25


def test_a_small_problem_is_looked_at_whole() -> None:
    problem = problem_of(np.arange(50) % 2)
    parted = splits.make(problem, splits.Request(rounds=1))
    assert reduced(problem, parted, problem.blocks, seed=0)[0] is problem
