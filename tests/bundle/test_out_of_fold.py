"""Promises about what a head answers for rows that it was not trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import archive
from icehouse.bundle.out_of_fold import OutOfFold, out_of_fold
from icehouse.classify.heads import parse
from icehouse.classify.problem import Problem, Unlabelled
from icehouse.classify.protocol import Protocol
from making import problem_of


def of_patients(count: int = 60, classes: int = 2, signal: float = 1.0) -> Problem:
    """Return rows that tell their patient far better than its class, which is by lot."""
    generator = np.random.default_rng(4)
    owner = np.repeat(np.arange(count), generator.integers(1, 6, count))
    y = generator.permutation(np.arange(count) % classes)[owner]
    X = generator.normal(0, 1, (count, 16))[owner] + generator.normal(0, 0.02, (len(owner), 16))
    X[:, 0] += signal * y
    return problem_of(y, np.array([f"p{number}" for number in owner]), X=X.astype(np.float32))


def sorted_rows(answers: OutOfFold) -> np.ndarray:
    rows = np.column_stack([answers.truth, answers.predicted, answers.scores])
    return rows[np.lexsort(rows.T)]


def test_no_row_is_answered_for_by_a_head_that_knew_its_patient() -> None:
    """A nearest neighbour would be right about every row whose patient it has seen."""
    answers = out_of_fold(of_patients(signal=0), parse("knn:n_neighbors=1"), Protocol(), seed=0)
    assert answers is not None
    assert 0.3 < np.mean(answers.predicted == answers.truth) < 0.7


@pytest.mark.parametrize("balance", [None, "weights"])
def test_every_row_has_one_answer_of_the_right_patient_and_class(balance) -> None:
    problem = of_patients(classes=3)
    answers = out_of_fold(problem, parse("logistic"), Protocol(balance=balance), seed=0)
    assert answers is not None
    assert answers.folds == 5
    assert answers.scores.shape == (len(problem), 3)
    of_answers = sorted(zip(np.bincount(answers.unit)[answers.unit], answers.truth, strict=True))
    _, unit = np.unique(problem.patient, return_inverse=True)
    assert of_answers == sorted(zip(np.bincount(unit)[unit], problem.y, strict=True))
    assert (answers.unit.max() + 1) == 60


def test_the_protocol_is_honoured() -> None:
    problem = of_patients(signal=2)
    made = [
        out_of_fold(problem, parse("svm"), protocol, seed=0)
        for protocol in (Protocol(), Protocol(reduce=4), Protocol(tune=True))
    ]
    first = made[0]
    assert first is not None
    assert not first.probabilities
    for other in made[1:]:
        assert other is not None
        assert not np.array_equal(sorted_rows(first), sorted_rows(other))


def test_a_seed_repeats_the_answers_whatever_the_threads() -> None:
    problem, spec = of_patients(), parse("logistic")
    first, second = (out_of_fold(problem, spec, Protocol(jobs=jobs), seed=2) for jobs in (1, 3))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.scores, second.scores)
    np.testing.assert_array_equal(first.unit, second.unit)
    other = out_of_fold(problem, spec, Protocol(), seed=3)
    assert other is not None
    assert not np.array_equal(sorted_rows(first), sorted_rows(other))


def test_the_order_tells_nothing_of_the_images_and_is_no_seeds() -> None:
    """Other vectors with the same seed are in another order, so that a seed alone cannot undo it."""
    problem = of_patients()
    number = np.arange(len(problem))
    places = []
    for far in (0, 1):
        X = problem.X.copy()
        X[:, 15] += far
        told = replace(problem, X=X, y=number % 2, patient=number.astype(str), groups=number, blocks=number)
        answers = out_of_fold(told, parse("dummy"), Protocol(), seed=0)
        assert answers is not None
        places.append(answers.truth)
    assert not np.array_equal(*places)


def test_a_class_of_few_patients_has_fewer_folds_and_one_of_a_single_patient_none() -> None:
    said: list[str] = []
    patient = np.array([f"p{number}" for number in range(23)])
    for few, folds in ((3, 3), (2, 2), (1, None)):
        y = (np.arange(23) < few).astype(np.int64)
        X = np.random.default_rng(0).normal(0, 1, (23, 4)).astype(np.float32)
        answers = out_of_fold(problem_of(y, patient, X=X), parse("lda"), Protocol(), seed=0, note=said.append)
        assert (answers and answers.folds) == folds
    assert len(said) == 1
    assert "class 'b' has only one patient" in said[0]


def with_unlabelled(problem: Problem) -> Problem:
    """Return the problem with two further rows of each patient whose own label is known but not theirs."""
    patient, first = np.unique(problem.patient, return_index=True)
    rows = np.repeat(first, 2)
    content = np.random.default_rng(8).integers(0, 256, (len(rows), 32), dtype=np.uint8)
    others = Unlabelled(
        X=problem.X[rows] + np.float32(0.01),
        content=content,
        frame=np.zeros(len(rows), dtype=np.int32),
        patient=problem.patient[rows],
        path=problem.path[rows],
        y=problem.y[rows],
        groups=problem.groups[rows],
    )
    assert len(patient) * 2 == len(others.y)
    return replace(problem, unlabelled=others)


def test_unlabelled_rows_of_patients_are_answered_for_once_and_with_their_patient() -> None:
    problem = with_unlabelled(of_patients(30))
    answers = out_of_fold(problem, parse("lda"), Protocol(), seed=0)
    assert answers is not None
    assert len(answers.further_scores) == 60
    assert set(np.bincount(answers.further_unit)) == {2}
    truth = dict(zip(answers.unit, answers.truth, strict=True))
    assert [truth[unit] for unit in answers.further_unit] == answers.unit_truth[answers.further_unit].tolist()


def test_answers_are_the_same_after_a_bundle_and_refused_if_altered(tmp_path) -> None:
    answers = out_of_fold(with_unlabelled(of_patients(30)), parse("lda"), Protocol(), seed=0)
    assert answers is not None
    document, arrays = answers.stored()

    def through(name: str = "truth", values: np.ndarray | None = None, **fields) -> OutOfFold:
        changed = arrays if values is None else {**arrays, f"out_of_fold/{name}": values}
        archive.write(tmp_path / "a.head", {"out_of_fold": {**document, **fields}}, changed)
        return OutOfFold.restored(archive.read(tmp_path / "a.head"), 2)

    again = through()
    assert (again.folds, again.probabilities) == (answers.folds, answers.probabilities)
    for name in arrays:
        field = name.removeprefix("out_of_fold/")
        np.testing.assert_array_equal(getattr(again, field), getattr(answers, field))
    for name, values in (
        ("truth", answers.truth + 1),
        ("truth", answers.truth[1:]),
        ("predicted", answers.predicted - 1),
        ("unit", answers.unit + 10**6),
        ("scores", answers.scores * 2),
        ("scores", answers.scores[:, :1]),
        ("further_unit", answers.further_unit.astype(np.int64)),
    ):
        with pytest.raises(errors.BundleDamaged):
            through(name, values)
    with pytest.raises(errors.BundleDamaged):
        through(folds=0)
