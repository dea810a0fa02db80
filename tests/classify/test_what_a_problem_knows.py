"""Promises about what a problem takes from a cache: layers, columns, files, pixels, labels of patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.cache.commit import commit
from icehouse.cache.samples import Samples
from icehouse.cache.writing import Contents
from icehouse.classify.problem import Problem, from_cache
from icehouse.classify.splits import Request, make
from making import SELECTION, block_of, samples_of

PATIENTS = 24


def write(path: Path, samples: Samples, *, layers: int = 1, views: int = 1) -> Path:
    """Write a cache of random vectors for these samples, of 8 numbers, then 7, then 6."""
    generator = np.random.default_rng(0)
    count = len(samples) * views
    names = ("avg_pool", "conv5", "conv4")[:layers]
    X, *others = (generator.normal(size=(count, 8 - number)) for number in range(layers))
    content = np.repeat(samples.content, views, axis=0)
    view = np.tile(np.arange(views), len(samples))
    more = dict(zip(names[1:], others, strict=True))
    block = replace(
        block_of(content, X, view=view, more=more),
        pixels=generator.integers(0, 256, (count, 256), dtype=np.uint8),
    )
    contents = Contents({"kind": "by hand"}, names, {**SELECTION, "views": views}, samples, [], [{}])
    commit(path, None, [block], contents)
    return path


def samples_by(labels: list[str], patients: list[str] | None = None, **columns: list[str]) -> Samples:
    content = np.random.default_rng(5).integers(0, 256, (len(labels), 32), dtype=np.uint8)
    own = {name: np.array(values) for name, values in columns.items()}
    return replace(samples_of(content, labels, patients), columns=own)


def opened(path: Path, **how) -> Problem:
    with open_cache(path) as cache:
        return from_cache(cache, **how)


# Layers


@pytest.mark.parametrize("views", [1, 3])
def test_layers_stand_one_after_another_in_each_row(tmp_path, views) -> None:
    path = write(tmp_path / "c.h5", samples_by(["covid", "normal", ""] * 4), layers=3, views=views)
    each = [opened(path, layer=name) for name in ("conv4", "avg_pool")]
    both = opened(path, layer=["conv4", "avg_pool"])
    assert (both.layers, both.widths, both.layer) == (("conv4", "avg_pool"), (6, 8), "conv4+avg_pool")
    np.testing.assert_array_equal(both.X, np.concatenate([one.X for one in each], axis=1))
    np.testing.assert_array_equal(both.further, np.concatenate([one.further for one in each], axis=2))
    assert both.X.dtype == each[0].X.dtype
    pyramid = opened(path, layer="pyramid")
    assert (pyramid.layers, pyramid.widths) == (("avg_pool", "conv5", "conv4"), (8, 7, 6))
    assert pyramid.further.shape == (8, views - 1, 21)


def test_a_layer_that_is_not_there_or_stands_twice_is_refused(tmp_path) -> None:
    path = write(tmp_path / "c.h5", samples_by(["covid", "normal"] * 4), layers=2)
    with pytest.raises(errors.UsageError, match="has no layer 'mixed7'; it has avg_pool, conv5"):
        opened(path, layer=["avg_pool", "mixed7"])
    with pytest.raises(errors.UsageError, match="a layer stands there twice"):
        opened(path, layer=["conv5", "conv5"])


# Columns, files, pixels


def test_columns_files_and_pixels_are_those_of_the_labelled_rows(tmp_path) -> None:
    samples = samples_by(["covid", "", "normal", "covid"], source=["a", "b", "c", "d"])
    samples = replace(
        samples,
        split=np.array(["train", "test", "test", ""]),
        format=np.array(["PNG", "PNG", "JPEG", "JPEG"]),
        width=np.array([512, 512, 400, 0], dtype=np.int32),
        height=np.array([406, 512, 300, 0], dtype=np.int32),
        bits=np.array([8, 8, 16, 0], dtype=np.int32),
    )
    path = write(tmp_path / "c.h5", samples)
    problem = opened(path)
    assert {name: values.tolist() for name, values in problem.columns.items()} == {
        "source": ["a", "c", "d"],
        "split": ["train", "test", ""],
    }
    assert {name: values.tolist() for name, values in problem.technical.items()} == {
        "format": ["PNG", "JPEG", "JPEG"],
        "size": ["512×406", "400×300", ""],
        "bits": ["8", "16", ""],
    }
    with open_cache(path) as cache:
        np.testing.assert_array_equal(problem.pixels, cache.pixels()[[0, 2, 3]])
    assert problem.unlabelled is None


# Labels of patients


def series(*, without: tuple[int, ...] = ()) -> Samples:
    """Return samples of patients with four slices: two labelled, but for some patients, and two not."""
    labels, patients, of_patient = [], [], []
    for patient in range(PATIENTS):
        own = "covid" if patient % 2 else "normal"
        labels += ["", ""] if patient in without else [own, "normal"]
        labels += ["", ""]
        patients += [f"p{patient}"] * 4
        of_patient += [own] * 4
    return samples_by(labels, patients, patient_label=of_patient)


def test_unlabelled_frames_of_known_patients_are_kept_apart_with_their_patients_label(tmp_path) -> None:
    problem = opened(write(tmp_path / "c.h5", series(), layers=2), layer="pyramid")
    rows = problem.unlabelled
    assert len(problem) == 2 * PATIENTS
    assert rows.X.shape == (2 * PATIENTS, 15)
    assert rows.path[:3].tolist() == ["2.png", "3.png", "6.png"]
    assert [problem.classes[label] for label in rows.y[:4]] == ["normal", "normal", "covid", "covid"]
    assert problem.left_out == {}
    assert problem.columns["patient_label"].tolist() != [problem.classes[label] for label in problem.y]


@pytest.mark.parametrize("asked", [{"rounds": 8}, {"folds": 4, "repeats": 2}, {"balance": "subsample"}])
def test_they_are_scored_where_their_patient_is_tested(tmp_path, asked) -> None:
    problem = opened(write(tmp_path / "c.h5", series()))
    made = make(problem, Request(**asked))
    for test, scored in zip(made.test, made.scored, strict=True):
        assert set(problem.unlabelled.patient[scored]) == set(problem.patient[test])
    assert made.notes[-1].startswith(
        "48 unlabelled rows of patients with a label of their own are never trained on"
    )


def test_patients_without_any_labelled_frame_get_a_side_too(tmp_path) -> None:
    without = tuple(range(12))
    problem = opened(write(tmp_path / "c.h5", series(without=without)))
    alone = np.isin(problem.unlabelled.patient, [f"p{number}" for number in without])
    made = make(problem, Request(rounds=200))
    chance = made.scored[:, alone].mean(axis=0)
    assert abs(chance.mean() - 0.3) < 0.01
    assert np.abs(chance - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 200)
    for scored in made.scored[:, alone]:
        patients, count = np.unique(problem.unlabelled.patient[alone][scored], return_counts=True)
        assert (count == 4).all()
        own = [int(patient[1:]) % 2 for patient in patients]
        assert abs(2 * sum(own) - len(own)) <= 2
    folds = make(problem, Request(folds=4, repeats=2))
    assert (folds.scored.reshape(2, 4, -1).sum(axis=1) == 1).all()


def test_splits_of_a_run_score_the_same_unlabelled_frames(tmp_path) -> None:
    from icehouse.classify.runs import RunFolder

    problem = opened(write(tmp_path / "c.h5", series(without=(0, 1, 2, 3))))
    for name, asked in {"folds": {"folds": 4, "repeats": 2}, "rounds": {"test_size": 0.4}}.items():
        made = make(problem, Request(seed=3, **asked))
        plan = {"heads": [], "seed": 3, "test_size": asked.get("test_size", 0.3)}
        RunFolder(tmp_path / name, plan, {}).save_splits(problem, made)
        again = make(problem, Request(run=tmp_path / name))
        np.testing.assert_array_equal(again.scored, made.scored)


def test_a_column_says_which_unlabelled_frames_are_scored(tmp_path) -> None:
    samples = series()
    fold = np.array((["test"] * 4 + ["train"] * 4 * 2) * 8)
    fold[2] = ""  # goes with its patient
    fold[3] = "val"
    samples.columns["fold1"] = fold
    problem = opened(write(tmp_path / "c.h5", samples))
    made = make(problem, Request(columns=("fold1",)))
    assert made.scored[0, :2].tolist() == [True, False]
    np.testing.assert_array_equal(made.scored[0, 2:], problem.unlabelled.columns["fold1"][2:] == "test")


def test_without_a_patient_such_a_frame_is_left_out_and_counted(tmp_path) -> None:
    samples = series()
    patient = samples.patient.copy()
    patient[2] = ""
    column = samples.columns["patient_label"].copy()
    column[3] = ""
    samples = replace(samples, patient=patient, columns={"patient_label": column})
    problem = opened(write(tmp_path / "c.h5", samples))
    assert len(problem.unlabelled.y) == 2 * PATIENTS - 2
    assert problem.left_out == {
        "without a label": 1,
        "with a patient_label, but without a label and a patient": 1,
    }


def test_a_patients_label_that_is_no_class_or_is_two_is_refused(tmp_path) -> None:
    for number, (value, said) in enumerate(
        [
            ("flu", "The patient_label of 2.png is 'flu', which is no class of the labelled samples"),
            ("covid", "Patient 'p0' has the patient_label 'covid' in 2.png and 'normal' in 3.png"),
        ]
    ):
        samples = series()
        samples.columns["patient_label"][2] = value
        with pytest.raises(errors.ClassesError, match=said):
            opened(write(tmp_path / f"{number}.h5", samples))
