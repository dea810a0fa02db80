"""Promises about what heads see: standardized and reduced by the training part alone."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify.preparation import Prepared
from icehouse.classify.validation import put_aside
from making import problem_of
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler


@pytest.fixture
def problem():
    generator = np.random.default_rng(0)
    X = (generator.normal(size=(200, 12)) * np.arange(1, 13) + 5).astype(np.float32)
    return problem_of(np.arange(200) % 2, np.array([f"p{index // 4}" for index in range(200)]), X=X)


def test_vectors_are_standardized_by_the_training_part_alone(problem, monkeypatch) -> None:
    monkeypatch.setattr("icehouse.classify.preparation.BLOCK_ROWS", 7)
    train, test = np.arange(140), np.arange(140, 200)
    prepared = Prepared(problem, train, None, 0)
    scaler = StandardScaler().fit(problem.X[train].astype(np.float64))
    np.testing.assert_allclose(prepared.X, scaler.transform(problem.X[train]), atol=1e-5)
    np.testing.assert_allclose(
        prepared.transform(problem.X[test]), scaler.transform(problem.X[test]), atol=1e-5
    )
    assert prepared.X.dtype == np.float32


def test_no_head_can_change_what_the_next_one_sees(problem) -> None:
    with pytest.raises(ValueError, match="read-only"):
        Prepared(problem, np.arange(100), None, 0).X[0] = 1


def test_components_are_those_of_the_training_part(problem) -> None:
    train, test = np.arange(140), np.arange(140, 200)
    prepared = Prepared(problem, train, 5, 0)
    assert prepared.X.shape == (140, 5)
    scaler = StandardScaler().fit(problem.X[train])
    pca = PCA(5, random_state=0).fit(scaler.transform(problem.X[train]))
    expected = pca.transform(scaler.transform(problem.X[test]))
    np.testing.assert_allclose(np.abs(prepared.transform(problem.X[test])), np.abs(expected), atol=1e-3)


def test_more_components_than_there_can_be_are_refused(problem) -> None:
    with pytest.raises(errors.ClassesError, match="give 12 at most"):
        Prepared(problem, np.arange(140), 13, 0)


def test_further_views_are_trained_on_and_told_apart_by_row() -> None:
    X = np.arange(20, dtype=np.float32).reshape(10, 2)
    further = np.stack([X + 100, X + 200], axis=1)
    problem = problem_of(np.arange(10) % 2, X=X, further=further)
    prepared = Prepared(problem, np.array([3, 4, 8]), None, 0)
    assert prepared.rows.tolist() == [3, 4, 8, 3, 3, 4, 4, 8, 8]
    assert prepared.y.tolist() == problem.y[prepared.rows].tolist()
    assert len(prepared.X) == 9


def test_half_precision_vectors_are_prepared_in_single_precision() -> None:
    X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float16)
    prepared = Prepared(problem_of(np.arange(40) % 2, X=X), np.arange(30), None, 0)
    assert prepared.X.dtype == np.float32
    assert prepared.transform(X[30:].copy()).dtype == np.float32


def test_what_is_put_aside_are_whole_patients_of_every_class(problem) -> None:
    rows = np.arange(20, 180)
    kept, aside = put_aside(problem, rows, 0.25, 0)
    assert sorted([*kept, *aside]) == rows.tolist()
    assert 30 <= len(aside) <= 50
    assert not set(problem.patient[kept]) & set(problem.patient[aside])
    assert set(problem.y[aside]) == set(problem.y[kept]) == {0, 1}
    again = put_aside(problem, rows, 0.25, 0)[1]
    np.testing.assert_array_equal(aside, again)
