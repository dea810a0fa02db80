"""Promises about splits that are given: by columns of the user's own, or by another run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.classify import splits
from icehouse.classify.problem import Problem, from_cache
from icehouse.classify.runs import RunFolder
from icehouse.classify.splits import Request, make
from making import problem_of


def with_columns(values: dict[str, list[str]], patient: list[str] | None = None, **fields) -> Problem:
    """Return a problem of two classes by turns with columns of its own."""
    count = len(next(iter(values.values())))
    columns = {name: np.array(column) for name, column in values.items()}
    known = None if patient is None else np.array(patient)
    return problem_of(np.arange(count) % 2, known, columns=columns, **fields)


HALF = ["train"] * 10 + ["test"] * 10


def test_columns_say_what_is_trained_on_and_tested_whatever_their_case() -> None:
    problem = with_columns({"fold1": HALF, "fold2": [word.upper() + " " for word in HALF[::-1]]})
    made = make(problem, Request(columns=("fold2", "fold1")))
    assert (made.kind, made.names) == ("columns", ("fold2", "fold1"))
    assert made.test[1].tolist() == made.train[0].tolist() == [False] * 10 + [True] * 10
    np.testing.assert_array_equal(made.train, ~made.test)
    assert [note for note in made.notes if "tested by very few" not in note] == []


def test_rows_for_validation_or_without_a_word_take_no_part_and_are_counted() -> None:
    column = ["val", "Validation", "valid", "", *HALF]
    made = make(with_columns({"mine": column}), Request(columns=("mine",)))
    assert not (made.train | made.test)[0, :4].any()
    assert made.notes == (
        "Column 'mine': 3 rows for validation are neither trained on nor tested.",
        "Column 'mine': 1 rows say neither train nor test and take no part.",
    )


def test_another_value_is_refused_and_named_with_its_column() -> None:
    problem = with_columns({"mine": ["holdout", *HALF[1:]]})
    with pytest.raises(errors.ClassesError, match=r"Column 'mine' says 'holdout' of 0: .* train or test"):
        make(problem, Request(columns=("mine",)))


def test_a_column_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    problem = with_columns({"fold1": HALF})
    with pytest.raises(errors.UsageError, match=r"--split-columns Fold1: .* Did you mean 'fold1'\?"):
        make(problem, Request(columns=("Fold1",)))
    with pytest.raises(errors.UsageError, match=r"no such column. There are: fold1\."):
        make(problem, Request(columns=("zzz",)))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["train"] * 20, "leaves no row to test"),
        (["test"] * 20, "leaves no row to train on"),
        (["train", "test"] * 10, "leaves no row of class 'b' to train on"),
        (["train"] * 18 + ["test", "train"], "leaves no row of class 'b' to test"),
    ],
)
def test_a_side_without_rows_or_without_a_class_is_refused(column, said) -> None:
    with pytest.raises(errors.ClassesError, match=f"Column 'mine' {said}"):
        make(with_columns({"mine": column}), Request(columns=("mine",)))


def test_patients_and_images_on_both_sides_of_a_given_split_are_told_loudly() -> None:
    patient = [f"p{index}" for index in range(20)]
    patient[0] = patient[1] = "twice"
    patient[19] = "twice"
    content = np.random.default_rng(0).integers(0, 256, (20, 32), dtype=np.uint8)
    content[12] = content[2]
    made = make(with_columns({"mine": HALF}, patient, content=content), Request(columns=("mine",)))
    assert made.notes[:2] == (
        "LEAK: Column 'mine' has 1 patient on both sides, such as 'twice': tested though trained on, and "
        "scores come out too high.",
        "LEAK: Column 'mine' has 1 image on both sides, such as 2: tested though trained on, and scores come "
        "out too high.",
    )


def test_of_given_splits_the_surplus_of_a_balance_takes_no_part() -> None:
    y = np.array([0] * 30 + [1] * 10)
    column = np.array((["train"] * 20 + ["test"] * 10) + (["train"] * 5 + ["test"] * 5))
    problem = problem_of(y, columns={"mine": column})
    made = make(problem, Request(columns=("mine",), balance="subsample"))
    assert np.bincount(y[made.train[0]]).tolist() == [5, 5]
    np.testing.assert_array_equal(made.test[0], column == "test")
    assert "15 rows of each training part (on average) are left out of it" in made.notes[0]


# Splits of another run


def keep(problem: Problem, made: splits.Splits, path: Path, **plan) -> Path:
    """Write the folder of a run with these splits."""
    RunFolder(path, {"heads": [], **plan}, {}).save_splits(problem, made)
    return path


@pytest.fixture
def data() -> Problem:
    generator = np.random.default_rng(4)
    owner = generator.integers(0, 40, 120)
    return problem_of((np.arange(40) % 2)[owner], np.array([f"p{number}" for number in owner]))


def picked(problem: Problem, rows: np.ndarray) -> Problem:
    """Return a problem of some rows, in this order, with vectors of another network."""
    names = ("y", "content", "frame", "patient", "path", "groups", "blocks")
    part = {name: getattr(problem, name)[rows] for name in names}
    return replace(problem, X=np.ones((len(rows), 5)), further=np.ones((len(rows), 0, 5)), **part)


@pytest.mark.parametrize(
    "asked", [{"rounds": 4}, {"folds": 4}, {"folds": 3, "repeats": 2, "balance": "subsample"}]
)
def test_splits_of_a_run_are_found_again_for_the_same_images_in_any_order(asked, data, tmp_path) -> None:
    made = make(data, Request(**asked))
    run = keep(data, made, tmp_path / "run", seed=0, balance=asked.get("balance"))
    order = np.random.default_rng(0).permutation(120)
    turned = picked(data, order)
    again = make(turned, Request(run=run, seed=9, balance=asked.get("balance")))
    np.testing.assert_array_equal(again.test, made.test[:, order])
    np.testing.assert_array_equal(again.train, made.train[:, order])
    assert (again.kind, again.names) == (made.kind, made.names)
    assert again.notes[0] == f"The splits are those of {run}."
    assert splits.fingerprint(turned, again) == splits.fingerprint(data, made)


def test_images_that_only_one_run_has_are_named_and_take_no_part(data, tmp_path) -> None:
    run = keep(
        picked(data, np.arange(4, 120)), make(picked(data, np.arange(4, 120)), Request()), tmp_path / "run"
    )
    here = picked(data, np.arange(118))
    made = make(here, Request(run=run))
    assert not (made.train | made.test)[:, :4].any()
    assert (made.train ^ made.test)[:, 4:].all()
    assert made.notes[1] == f"2 images (118, 119) of {run} are not here and take no part."
    assert made.notes[2] == f"4 images (0, 1, 2, …) here are not in {run}: neither trained on nor tested."


def test_splits_of_other_data_are_refused(data, tmp_path) -> None:
    run = keep(data, make(data, Request()), tmp_path / "run")
    flipped = replace(data, y=np.where(np.arange(120) == 7, 1 - data.y, data.y))
    with pytest.raises(errors.ClassesError, match=f"The label of 7 is '[ab]' here and '[ab]' in {run}"):
        make(flipped, Request(run=run))
    patient = data.patient.astype("U10")
    patient[5] = "someone"
    with pytest.raises(errors.ClassesError, match="The patient of 5 is 'someone' here and 'p"):
        make(replace(data, patient=patient), Request(run=run))
    with pytest.raises(errors.ClassesError, match="50 of its 120 are among the 50 here"):
        make(picked(data, np.arange(50)), Request(run=run))
    with pytest.raises(errors.RunError, match="is no run"):
        make(data, Request(run=tmp_path))


def test_frames_of_one_file_are_told_apart(tmp_path) -> None:
    content = np.repeat(np.random.default_rng(1).integers(0, 256, (20, 32), dtype=np.uint8), 2, axis=0)
    frame = np.tile([0, 3], 20).astype(np.int32)
    problem = problem_of(np.repeat(np.arange(20) % 2, 2), content=content, frame=frame)
    run = keep(problem, make(problem, Request(rounds=2)), tmp_path / "run")
    moved = replace(problem, frame=np.where(np.arange(40) == 1, 7, frame).astype(np.int32))
    made = make(moved, Request(run=run))
    assert not (made.train | made.test)[:, 1].any()
    assert "1 images (1 (frame 3))" in made.notes[1]
    assert "1 images (1 (frame 7))" in made.notes[2]


def test_a_copy_of_an_image_goes_where_the_image_goes(data, tmp_path) -> None:
    run = keep(data, make(data, Request(rounds=3)), tmp_path / "run")
    doubled = picked(data, np.append(np.arange(120), 11))
    made = make(doubled, Request(run=run))
    np.testing.assert_array_equal(made.test[:, 120], made.test[:, 11])


def test_what_cannot_go_with_the_splits_of_a_run_is_refused(data, tmp_path) -> None:
    run = keep(data, make(data, Request()), tmp_path / "run")
    with pytest.raises(errors.UsageError, match=r"and .*run holds 10"):
        make(data, Request(run=run, vary="seed"))
    with pytest.raises(errors.UsageError, match="whose classes were not balanced"):
        make(data, Request(run=run, balance="subsample"))
    with pytest.raises(errors.UsageError, match="--folds and --splits ask for different splits"):
        make(data, Request(run=run, folds=5))


def test_a_run_that_has_an_image_on_both_sides_cannot_be_taken_over(tmp_path) -> None:
    content = np.random.default_rng(0).integers(0, 256, (20, 32), dtype=np.uint8)
    content[12] = content[2]
    problem = with_columns({"mine": HALF}, content=content)
    run = keep(problem, make(problem, Request(columns=("mine",))), tmp_path / "run")
    with pytest.raises(errors.RunError, match="as the image stands in it twice"):
        make(problem, Request(run=run))


def test_columns_of_a_cache_and_those_of_a_labels_file_are_found(make_cache, two_clouds, tmp_path) -> None:
    vectors, labels = two_clouds
    path = make_cache(vectors, labels, splits=["train"] * 80 + ["test"] * 40)
    (tmp_path / "more.csv").write_text(
        "path,fold1\n" + "".join(f"{index}.png,{'test' if index < 30 else 'train'}\n" for index in range(120))
    )
    with open_cache(path) as cache:
        cache.relabel(tmp_path / "more.csv")
        problem = from_cache(cache)
    made = make(problem, Request(columns=("split", "fold1")))
    assert made.test.sum(axis=1).tolist() == [40, 30]
