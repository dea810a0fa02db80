"""Promises about cross-validation, and about training parts that are balanced by leaving patients out."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify import splits
from icehouse.classify.problem import from_cache
from icehouse.classify.splits import Request, make
from making import problem_of


def uneven(seed: int = 0, patients: int = 60):
    """Return a problem of three classes and patients of very different sizes."""
    generator = np.random.default_rng(seed)
    sizes = np.minimum(generator.geometric(0.2, patients), 40)
    owner = np.repeat(np.arange(patients), sizes)
    y = (np.arange(patients) % 3)[owner]
    return problem_of(y, np.array([f"p{number}" for number in owner]))


def test_each_row_is_tested_once_in_each_repeat_and_trained_on_in_the_others() -> None:
    problem = uneven()
    made = make(problem, Request(folds=5, repeats=3))
    assert made.kind == "folds"
    assert made.names[:2] == ("repeat 1, fold 1", "repeat 1, fold 2")
    assert len(set(made.names)) == len(made) == 15
    assert (made.test.reshape(3, 5, -1).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(made.train, ~made.test)
    assert make(problem, Request(folds=4)).names == ("fold 1", "fold 2", "fold 3", "fold 4")


def test_no_patient_is_in_two_folds_and_every_class_is_in_each() -> None:
    problem = uneven()
    for row in make(problem, Request(folds=5, repeats=10)).test:
        assert not set(problem.patient[row]) & set(problem.patient[~row])
        assert set(problem.y[row]) == {0, 1, 2}


def test_repeats_differ_and_a_seed_repeats_them() -> None:
    problem = uneven()
    first = make(problem, Request(folds=5, repeats=4)).test
    assert len({part.tobytes() for part in first.reshape(4, -1)}) == 4
    np.testing.assert_array_equal(first, make(problem, Request(folds=5, repeats=4)).test)
    np.testing.assert_array_equal(first[:5], make(problem, Request(folds=5)).test)
    assert not np.array_equal(first, make(problem, Request(folds=5, repeats=4, seed=1)).test)


def test_folds_hold_the_same_share_of_each_class_and_of_its_patients() -> None:
    for seed in range(5):
        problem = uneven(seed, 120)
        for row in make(problem, Request(folds=5, repeats=2)).test:
            for label in range(3):
                of_class = problem.y == label
                assert abs(row[of_class].mean() - 0.2) < 0.03
                patients = [len(np.unique(problem.patient[of_class & part])) for part in (row, row | True)]
                assert abs(patients[0] / patients[1] - 0.2) < 0.08


def test_folds_of_real_patients_hold_the_same_share_of_each_class(shared) -> None:
    """Patients of one to sixteen images, and some of two classes."""
    for name in ("cxr", "covid_ct"):
        table = np.genfromtxt(shared / "data" / name / "manifest.csv", delimiter=",", dtype=str, skip_header=1)
        label, patient = table[:, 1], table[:, 2]
        problem = problem_of(np.unique(label, return_inverse=True)[1], patient)
        for made in (make(problem, Request(folds=5, repeats=3)), make(problem, Request(rounds=10))):
            share = np.stack([made.test[:, label == one].mean(axis=1) for one in np.unique(label)])
            assert np.abs(share - made.test.mean()).max() < 0.012


def test_without_patients_folds_are_of_images_and_as_even_as_can_be() -> None:
    problem = problem_of(np.arange(256) % 2)
    made = make(problem, Request(folds=5, repeats=5))
    assert set(made.test.sum(axis=1)) <= {51, 52}
    assert {int(row.sum()) for row in made.test[:, problem.y == 1]} == {25, 26}


@pytest.mark.parametrize(("patients", "advice"), [(3, "Ask for 3 folds or fewer"), (1, "Add a second patient")])
def test_a_class_of_fewer_patients_than_folds_is_refused(patients, advice) -> None:
    y = np.array([0] * 40 + [1] * 12)
    patient = np.array([f"p{index}" for index in range(40)] + [f"q{index % patients}" for index in range(12)])
    many = "patient" if patients == 1 else "patients"
    with pytest.raises(
        errors.ClassesError, match=f"Class 'b' has {patients} {many}, fewer than 5 folds.*{advice}"
    ):
        make(problem_of(y, patient), Request(folds=5))
    with pytest.raises(errors.ClassesError, match="Class 'b' has 3 distinct images, fewer than 4 folds"):
        make(problem_of(np.array([0] * 20 + [1] * 3)), Request(folds=4))


def test_where_patients_of_several_classes_leave_no_folds_it_is_said() -> None:
    """Three patients hold class b, two of them in one group by a common image."""
    y, patient = np.array([0, 0, 0, 1, 1, 1]), np.array(["p", "q", "r", "p", "q", "r"])
    made = make(problem_of(y, patient), Request(folds=3))
    assert (made.test.sum(axis=1) == 2).all()
    content = np.random.default_rng(0).integers(0, 256, (6, 32), dtype=np.uint8)
    content[1] = content[0]
    with pytest.raises(errors.ClassesError, match="has 2 patients, fewer than 3 folds"):
        make(problem_of(y, patient, content), Request(folds=3))


def rows_of_classes(problem, part) -> list[int]:
    return np.bincount(problem.y[part], minlength=len(problem.classes)).tolist()


@pytest.mark.parametrize("asked", [{"rounds": 6}, {"folds": 4}])
def test_surplus_patients_leave_the_training_part_whole_and_are_tested(asked) -> None:
    generator = np.random.default_rng(1)
    owner = np.repeat(np.arange(150), generator.integers(1, 6, 150))
    y = (np.arange(150) >= 30).astype(int)[owner]
    problem = problem_of(y, np.array([f"p{number}" for number in owner]))
    plain, made = make(problem, Request(**asked)), make(problem, Request(balance="subsample", **asked))
    for number, (train, test) in enumerate(zip(made.train, made.test, strict=True)):
        fewer, more = rows_of_classes(problem, train)
        assert fewer <= more < fewer + 5
        np.testing.assert_array_equal(test, ~train)
        assert not set(problem.patient[train]) & set(problem.patient[test])
        np.testing.assert_array_equal(train & (y == 0), plain.train[number] & (y == 0))
        assert not np.any(train & ~plain.train[number])
    assert "are tested instead, in whole patients" in made.notes[-1]
    assert ("overlap" in made.notes[-1]) == ("folds" in asked)


def test_what_is_balanced_already_stays_as_it_is() -> None:
    problem = problem_of(np.arange(60) % 2)
    plain = make(problem, Request(test_size=0.5))
    balanced = make(problem, Request(test_size=0.5, balance="subsample"))
    np.testing.assert_array_equal(plain.test, balanced.test)
    assert balanced.notes == ()


def test_weights_change_no_split() -> None:
    problem = uneven()
    plain, weighed = make(problem, Request()), make(problem, Request(balance="weights"))
    assert splits.fingerprint(problem, plain) == splits.fingerprint(problem, weighed)


def test_disregarding_patients_ties_only_copies_of_an_image(make_cache, two_clouds) -> None:
    from icehouse import open_cache

    vectors, labels = two_clouds
    content = np.random.default_rng(2).integers(0, 256, (120, 32), dtype=np.uint8)
    content[7] = content[3]
    path = make_cache(vectors, labels, [f"p{index // 4}" for index in range(120)], content=content)
    with open_cache(path) as cache:
        known, ungrouped = from_cache(cache), from_cache(cache, grouped=False)
    assert (known.grouped, ungrouped.grouped) == (True, False)
    assert (len(np.unique(known.groups)), len(np.unique(ungrouped.groups))) == (29, 119)
    np.testing.assert_array_equal(ungrouped.blocks, known.groups)
    np.testing.assert_array_equal(splits.units(ungrouped), known.groups)
    assert "known and disregarded" in ungrouped.notes[0]
    tested = make(ungrouped, Request()).test
    np.testing.assert_array_equal(tested[:, 7], tested[:, 3])
    assert set(tested.sum(axis=1)) <= {36, 37}
    assert any(set(ungrouped.patient[row]) & set(ungrouped.patient[~row]) for row in tested)
