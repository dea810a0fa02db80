"""Promises about classes and splits: the positive class, patients, duplicates, strata."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from icehouse import errors, open_cache, run_rounds
from icehouse.classify import splits
from icehouse.classify.classes import positive_class
from icehouse.classify.problem import Problem, from_cache
from making import problem_of


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("covid", "normal"), "covid"),
        (("Normal", "pneumonia"), "pneumonia"),
        (("COVID", "non-COVID"), "COVID"),
        (("covid", "noncovid"), "covid"),
        (("No Finding", "nodule"), "nodule"),
        (("control", "zoster"), "zoster"),
        (("healthy", "abnormal"), "abnormal"),
        (("negative", "positive"), "positive"),
    ],
)
def test_the_positive_class_is_the_one_that_is_not_called_normal(classes, positive) -> None:
    ordered = tuple(sorted(classes))
    assert ordered[positive_class(ordered, None)] == positive


@pytest.mark.parametrize("classes", [("cat", "dog"), ("healthy", "normal"), ("a", "b")])
def test_where_the_names_do_not_tell_it_must_be_given(classes) -> None:
    with pytest.raises(errors.ClassesError, match="say it with --positive"):
        positive_class(classes, None)
    assert positive_class(classes, classes[1]) == 1


def test_a_positive_class_that_is_none_is_refused() -> None:
    with pytest.raises(errors.UsageError, match="no such class; there are covid, normal"):
        positive_class(("covid", "normal"), "flu")
    with pytest.raises(errors.UsageError, match="needs two classes"):
        positive_class(("a", "b", "c"), "a")
    assert positive_class(("a", "b", "c"), None) is None


def parted(problem: Problem, rounds: int = 10, test_size: float = 0.3, seed: int = 0) -> splits.Splits:
    return splits.repeated_hold_out(problem, rounds=rounds, test_size=test_size, seed=seed)


def hold_out(problem: Problem, rounds: int = 10, test_size: float = 0.3, seed: int = 0) -> np.ndarray:
    return parted(problem, rounds, test_size, seed).test


def test_256_images_are_split_into_179_and_77_with_both_classes_in_proportion() -> None:
    y = np.arange(256) % 2
    tested = hold_out(problem_of(y))
    assert set(tested.sum(axis=1)) == {77}
    assert {int(y[row].sum()) for row in tested} <= {38, 39}


def test_rounds_differ_and_a_seed_repeats_them() -> None:
    problem = problem_of(np.arange(60) % 3)
    first = hold_out(problem)
    assert len({row.tobytes() for row in first}) == 10
    np.testing.assert_array_equal(first, hold_out(problem))
    assert not np.array_equal(first, hold_out(problem, seed=1))
    np.testing.assert_array_equal(first[:3], hold_out(problem, rounds=3))


def test_no_patient_is_ever_on_both_sides() -> None:
    generator = np.random.default_rng(2)
    patient = np.array([f"p{number}" for number in generator.integers(0, 60, 300)])
    y = generator.integers(0, 2, 300)
    for row in hold_out(problem_of(y, patient), rounds=50):
        assert not set(patient[row]) & set(patient[~row])


def test_exact_duplicates_are_on_one_side_even_across_patients() -> None:
    generator = np.random.default_rng(2)
    content = generator.integers(0, 256, (100, 32), dtype=np.uint8)
    content[1::10] = content[::10]
    patient = np.array([f"p{index}" for index in range(100)])
    for row in hold_out(problem_of(np.arange(100) % 2, patient, content), rounds=50):
        np.testing.assert_array_equal(row[1::10], row[::10])


def test_grouped_splits_keep_the_classes_in_proportion() -> None:
    generator = np.random.default_rng(2)
    patient_class = generator.choice(3, 200, p=[0.6, 0.3, 0.1])
    owner = generator.integers(0, 200, 900)
    y = patient_class[owner]
    patient = np.array([f"p{number}" for number in owner])
    tested = hold_out(problem_of(y, patient), rounds=30)
    for label in range(3):
        share = tested[:, y == label].mean(axis=1)
        assert abs(share.mean() - 0.3) < 0.03
        assert np.abs(share - 0.3).max() < 0.12


def test_every_patient_has_the_same_chance_to_be_tested_whatever_its_size() -> None:
    sizes = np.array([1] * 60 + [8] * 6)
    patient = np.repeat([f"p{index}" for index in range(len(sizes))], sizes)
    y = np.repeat(np.arange(len(sizes)) % 2, sizes)
    tested = hold_out(problem_of(y, patient), rounds=600)
    small, large = tested[:, :60].mean(), tested[:, 60:].mean()
    assert abs(small - 0.3) < 0.03
    assert abs(large - 0.3) < 0.06


def test_large_patients_do_not_make_the_test_part_small() -> None:
    patient = np.repeat([f"p{index}" for index in range(16)], 30)
    y = np.repeat(np.arange(16) % 2, 30)
    tested = hold_out(problem_of(y, patient), rounds=300)
    assert abs(tested.mean() - 0.3) < 0.01


@pytest.mark.parametrize(("sizes", "test_size"), [((101, 103, 2), 0.2), ((50, 3), 0.1)])
def test_a_small_class_is_tested_even_where_its_share_is_less_than_a_row(sizes, test_size) -> None:
    y = np.repeat(np.arange(len(sizes)), sizes)
    for row in hold_out(problem_of(y), test_size=test_size):
        assert row.sum() == math.ceil(len(y) * test_size)
        assert row[y == len(sizes) - 1].sum() == 1


def test_every_class_is_on_both_sides_even_if_it_has_two_patients_only() -> None:
    y = np.array([0] * 40 + [1] * 2)
    tested = hold_out(problem_of(y), rounds=40)
    assert (tested[:, 40:].sum(axis=1) == 1).all()


def test_a_class_with_one_patient_cannot_be_split() -> None:
    y = np.array([0] * 10 + [1] * 3)
    patient = np.array([f"p{index}" for index in range(10)] + ["same"] * 3)
    with pytest.raises(errors.ClassesError, match="Class 'b' has 1 patient only"):
        hold_out(problem_of(y, patient))


def test_with_very_uneven_patients_each_class_is_still_tested_by_its_share() -> None:
    """Drawn patient by patient until rows suffice, a class here is tested by as little as 13 % of its rows."""
    sizes = np.minimum(np.random.default_rng(0).geometric(0.03, 60), 200)
    y = np.repeat(np.arange(60) % 2, sizes)
    patient = np.repeat([f"p{index}" for index in range(60)], sizes)
    tested = hold_out(problem_of(y, patient), rounds=50)
    for label in range(2):
        share = tested[:, y == label].mean(axis=1)
        assert np.abs(share - 0.3).max() < 0.06
        assert share.std() < 0.015
    first = np.unique(patient, return_index=True)[1]
    many = hold_out(problem_of(y, patient), rounds=150)[:, first].mean(axis=0)
    assert np.abs(many - 0.3).max() < 5 * math.sqrt(0.3 * 0.7 / 150)


def test_one_large_patient_of_a_class_does_not_upset_the_others() -> None:
    sizes = np.array([30, 1, 1, 1] + [4] * 20)
    y = np.repeat([0] * 4 + [1] * 20, sizes)
    tested = hold_out(problem_of(y, np.repeat([f"p{index}" for index in range(24)], sizes)), rounds=300)
    assert set(tested[:, y == 1].sum(axis=1)) <= {24, 28}
    assert abs(tested[:, 0].mean() - 0.3) < 0.09


def test_what_is_tested_by_very_few_is_said() -> None:
    notes = splits.make(problem_of(np.array([0] * 60 + [1] * 6)), splits.Request(rounds=4)).notes
    assert len(notes) == 1
    assert re.match(r"Class 'b' is tested by very few in 4 of 4 splits, such as '\d' with 1 row: its", notes[0])
    patient = np.repeat([f"p{index}" for index in range(22)], [3] * 20 + [30] * 2)
    problem = problem_of(np.repeat([0, 1], [60, 60]), patient)
    assert splits.make(problem, splits.Request(rounds=4)).notes == (
        "Class 'b' is tested by very few in 4 of 4 splits, such as '1' with 30 rows of 1 patient: its numbers "
        "hang on them.",
    )


def test_a_test_part_far_from_the_size_asked_for_is_said() -> None:
    patient = np.repeat(["p", "q", "r", "s"], 30)
    made = splits.make(problem_of(np.repeat([0, 1], 60), patient), splits.Request())
    assert (made.test.mean(axis=1) == 0.5).all()
    assert made.notes[0] == (
        "50 % of the rows are tested on average, not 30 %: patients are too few or too large for it."
    )


def test_one_split_for_all_seeds_is_the_first_of_many() -> None:
    problem = problem_of(np.arange(60) % 2)
    one = splits.make(problem, splits.Request(vary="seed"))
    many = splits.make(problem, splits.Request())
    assert (len(one), one.names, one.kind) == (1, ("1",), "hold-out")
    np.testing.assert_array_equal(one.test, many.test[:1])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rounds": 0}, "rounds must be a whole number of 1 or more, not 0"),
        ({"test_size": 1.0}, "test_size must lie between 0 and 1, not 1"),
        ({"folds": 1}, "folds must be a whole number of 2 or more, not 1"),
        ({"folds": 5, "repeats": 0}, "repeats must be a whole number of 1 or more, not 0"),
        ({"repeats": 2}, "repeats are of folds"),
        ({"seed": -1}, "seed must be a whole number of 0 or more"),
        ({"vary": "heads"}, "vary must be one of both, split, seed, not 'heads'"),
        ({"balance": "rows"}, "balance must be weights or subsample, not 'rows'"),
        ({"folds": 5, "columns": ("fold1",)}, "--folds and --split-columns ask for different splits"),
        ({"columns": ("fold1", "fold1")}, "a column stands there twice"),
        (
            {"folds": 5, "vary": "seed"},
            "--vary seed judges every seed on one split, but --folds asks for several",
        ),
        ({"columns": ("a", "b"), "vary": "seed"}, "but --split-columns asks for several"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_whatever_the_data(asked, said) -> None:
    with pytest.raises(errors.UsageError, match=said):
        splits.make(problem_of(np.arange(40) % 2), splits.Request(**asked))


def test_the_fingerprint_of_splits_knows_images_and_not_their_order() -> None:
    problem = problem_of(np.arange(40) % 2)
    drawn = parted(problem)
    order = np.random.default_rng(0).permutation(40)
    turned = problem_of(problem.y[order], None, problem.content[order])
    sides = replace(drawn, train=drawn.train[:, order], test=drawn.test[:, order])
    assert splits.fingerprint(problem, drawn) == splits.fingerprint(turned, sides)
    assert splits.fingerprint(problem, drawn) != splits.fingerprint(problem, parted(problem, seed=1))


def test_the_fingerprint_of_splits_knows_frames_patients_labels_and_both_sides() -> None:
    content = np.repeat(np.random.default_rng(1).integers(0, 256, (20, 32), dtype=np.uint8), 2, axis=0)
    y, frame = np.repeat(np.arange(20) % 2, 2), np.tile([0, 1], 20).astype(np.int32)
    problem = problem_of(y, content=content, frame=frame)
    drawn = parted(problem, rounds=3)
    print_of = splits.fingerprint(problem, drawn)
    fewer_tested, fewer_trained = drawn.test.copy(), drawn.train.copy()
    fewer_tested[0, np.argmax(drawn.test[0])] = False  # one frame of a volume, and not the other
    fewer_trained[0, np.argmax(drawn.train[0])] = False
    others = [
        (problem, replace(drawn, test=fewer_tested)),
        (problem, replace(drawn, train=fewer_trained)),
        (replace(problem, frame=frame + 1), drawn),
        (replace(problem, patient=np.array(["p"] * 40)), drawn),
        (replace(problem, y=1 - y), drawn),
        (problem, parted(problem, rounds=2)),
    ]
    assert len({print_of, *(splits.fingerprint(*other) for other in others)}) == 7
    assert splits.fingerprint(replace(problem, X=problem.X + 1), drawn) == print_of


def test_unlabelled_samples_are_left_out_and_counted(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    labels = ["", *labels[1:]]
    with open_cache(make_cache(vectors, labels)) as cache:
        problem = from_cache(cache)
    assert len(problem.y) == 119
    assert problem.left_out == {"without a label": 1}
    np.testing.assert_array_equal(problem.X, vectors[1:])


def test_pending_samples_stop_the_work_unless_it_may_be_partial(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    path = make_cache(vectors, labels, states=["pending", *["done"] * 119])
    with open_cache(path) as cache:
        with pytest.raises(errors.CacheIncomplete, match=r"1 of 120 samples are pending.*--partial"):
            from_cache(cache)
        assert from_cache(cache, partial=True).left_out == {"pending": 1}


def test_a_blank_patient_is_a_patient_of_its_own_with_a_warning(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    path = make_cache(vectors, labels, ["", "", *[f"p{index // 2}" for index in range(118)]])
    with open_cache(path) as cache:
        problem = from_cache(cache)
    assert len(np.unique(problem.groups)) == problem.patients == 2 + 59
    assert problem.notes == (
        "2 rows have no patient's name; each image of them counts as a patient of its own.",
    )
    with pytest.warns(UserWarning, match="2 rows have no patient's name"):
        run_rounds(path, ["svm"], rounds=1)


def test_it_is_said_that_a_split_of_the_samples_own_is_not_used(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    with open_cache(make_cache(vectors, labels, splits=["train", *["test"] * 60, *["train"] * 59])) as cache:
        problem = from_cache(cache)
    assert problem.notes == ()
    said = "The samples' own split is not used"
    assert said in splits.make(problem, splits.Request()).notes[0]
    assert said in splits.make(problem, splits.Request(folds=3)).notes[0]
    assert splits.make(problem, splits.Request(columns=("split",))).notes == ()


def test_one_class_or_no_label_is_refused(make_cache, two_clouds) -> None:
    vectors, _ = two_clouds
    with (
        open_cache(make_cache(vectors, ["a"] * 120)) as cache,
        pytest.raises(errors.ClassesError, match="one class only, 'a'"),
    ):
        from_cache(cache)
    with (
        open_cache(make_cache(vectors, [""] * 120)) as cache,
        pytest.raises(errors.ClassesError, match="holds no labels"),
    ):
        from_cache(cache)
