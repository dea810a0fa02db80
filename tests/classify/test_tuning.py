"""Promises about tuning: the best of a small grid, by groups, and never what the user has set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify import heads
from icehouse.classify.tuning import _folds, tuned


def patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return 90 vectors of 30 patients, each patient a place of its own, and a class that shows little."""
    generator = np.random.default_rng(2)
    groups = np.repeat(np.arange(30), 3)
    y = groups % 2
    X = generator.normal(0, 1, (30, 8))[groups] + generator.normal(0, 0.05, (90, 8)) + 0.8 * y[:, None]
    return X.astype(np.float32), y, groups


def test_the_best_of_the_grid_is_found() -> None:
    generator = np.random.default_rng(0)
    y = np.arange(120) % 2
    angle = np.pi * y + generator.normal(0, 0.3, 120)  # opposite directions: any neighbours find them
    X = np.column_stack([np.cos(angle), np.sin(angle)])
    X[:10] *= -1  # but ten of them lie, so that one neighbour alone errs
    found = tuned(heads.parse("knn"), X, y, np.arange(120), seed=0)
    assert found["n_neighbors"] > 1


def test_of_equals_the_first_is_taken_which_is_the_default() -> None:
    X = np.repeat([[1.0, 0.0], [0.0, 1.0]], 20, axis=0)
    y = np.repeat([0, 1], 20)
    assert tuned(heads.parse("svm"), X, y, np.arange(40), seed=0) == {"C": 1.0}
    for head in heads.HEADS.values():
        known = heads.defaults(head)
        assert all(known.get(key, values[0]) == values[0] for key, values in head.grid.items())


def test_what_the_user_set_is_not_searched_and_where_nothing_is_left_nothing_is() -> None:
    X, y, groups = patients()
    assert tuned(heads.parse("svm:C=7"), X, y, groups, seed=0) == {}
    assert tuned(heads.parse("dummy"), X, y, groups, seed=0) == {}
    assert set(tuned(heads.parse("svm:gamma=0.1"), X, y, groups, seed=0)) == {"C"}


def test_the_same_seed_finds_the_same() -> None:
    X, y, groups = patients()
    spec = heads.parse("forest:n_estimators=5")
    assert tuned(spec, X, y, groups, seed=4) == tuned(spec, X, y, groups, seed=4)


def test_no_patient_is_on_both_sides_of_a_fold_and_every_class_is_trained_on() -> None:
    X, y, groups = patients()
    del X
    folds = _folds(y, groups, seed=1)
    assert len(folds) == 3
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(y[train]) == {0, 1}
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(90))


def test_few_patients_give_fewer_folds_and_one_is_too_few() -> None:
    y = np.array([0] * 20 + [1] * 6)
    groups = np.r_[np.arange(20), np.repeat([20, 21], 3)]
    assert len(_folds(y, groups, seed=0)) == 2
    groups[20:] = 20
    with pytest.raises(errors.ClassesError, match="Tuning needs two patients or images of each class"):
        _folds(y, groups, seed=0)


def test_weights_and_widths_reach_the_head() -> None:
    X, y, groups = patients()
    seen: list[tuple[bool, tuple[int, ...] | None]] = []
    pyramid = heads.HEADS["pyramid"]

    def make() -> object:
        estimator = pyramid.make()

        class Watched(type(estimator)):  # type: ignore[misc]
            def fit(
                self, X: object, y: object, sample_weight: object = None, validation: object = None
            ) -> object:
                seen.append((sample_weight is not None, self.widths))
                return super().fit(X, y, sample_weight, validation)

        return Watched(**estimator.get_params())

    spec = replace(heads.parse("pyramid:epochs=1"), head=replace(pyramid, make=make))
    tuned(spec, X, y, groups, seed=0, widths=(5, 3), sample_weight=np.ones(len(y)))
    assert set(seen) == {(True, (5, 3))}
