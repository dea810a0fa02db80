"""Promises about controls: what casts doubt on a score is said in a sentence, and nothing ever stops a run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from icehouse.classify import heads, kernels, splits
from icehouse.classify.controls import _interval, controls
from icehouse.classify.kernels import balanced_accuracy
from icehouse.classify.problem import Problem
from making import problem_of

SVM = heads.parse_all(["svm"])


def cohort(patients: int = 60, *, shift: float = 0.0, seed: int = 0, **fields) -> Problem:
    """Return two images of each patient; the classes lie `shift` apart in each of 30 numbers."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), 2)
    y = owner % 2
    X = generator.normal(size=(patients, 30))[owner] + 0.3 * generator.normal(size=(len(owner), 30))
    X += shift * y[:, None]
    fields.setdefault("pixels", generator.integers(0, 256, (len(owner), 256), dtype=np.uint8))
    return problem_of(y, owner.astype(str), X=X.astype(np.float32), **fields)


def controlled(problem: Problem, request: splits.Request | None = None, **how) -> dict:
    request = request or splits.Request(rounds=5)
    parted = splits.make(problem, request)
    scores = []
    for train, test in zip(parted.train, parted.test, strict=True):
        machine = SVM[0].build(0).fit(problem.X[train].copy(), problem.y[train])
        scores.append(balanced_accuracy(problem.y[test], machine.predict(problem.X[test].copy())))
    given = {"heads": {"svm": scores}, "seed": 0, "units": problem.blocks, **how}
    return controls(
        problem, parted, request, SVM, intervals=intervals(problem, parted, given["heads"]), **given
    )


def intervals(problem: Problem, parted: splits.Splits, scores: dict) -> dict:
    """Return about what a run's own intervals would be; none where no score is defined."""
    known = {
        head: np.array([math.nan if one is None else one for one in values], dtype=float)
        for head, values in scores.items()
    }
    return {
        head: _interval(problem, parted, values, problem.blocks) if np.isfinite(values).any() else (None, None)
        for head, values in known.items()
    }


def test_every_control_has_numbers_an_alarm_and_a_sentence() -> None:
    steps = []
    document = controlled(
        cohort(shift=1.0, technical={"mode": np.array(["L", "L", "RGB", "RGB"] * 30)}),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert set(document) == {"majority", "permuted", "pixels", "origin", "skipped", "rows", "alarm"}
    for one in (document["majority"], document["permuted"], document["pixels"], *document["origin"]):
        assert isinstance(one["alarm"], bool)
        assert one["verdict"].endswith(".")
    assert document == json.loads(json.dumps(document, allow_nan=False))


def test_a_disease_that_vectors_tell_and_pixels_do_not_raises_no_alarm() -> None:
    document = controlled(cohort(shift=1.0))
    assert not document["alarm"]
    assert document["majority"]["verdict"].endswith("which is better.")
    assert document["permuted"]["p"] == 1 / 40
    assert document["pixels"]["verdict"].endswith("the vectors tell more than brightness and outline do.")


def test_clean_noise_is_called_no_better_than_guessing_and_no_leak() -> None:
    document = controlled(cohort())
    assert document["majority"]["alarm"]
    assert document["majority"]["verdict"].endswith("which cannot be told from that.")
    assert not document["permuted"]["alarm"]
    assert not document["pixels"]["alarm"]


def test_the_share_of_the_largest_class_is_what_always_answering_it_scores() -> None:
    y = np.array([0] * 30 + [1] * 10)
    problem = problem_of(y, X=np.random.default_rng(0).normal(size=(40, 4)))
    found = controlled(problem)["majority"]
    assert found["class"] == "a"
    assert found["accuracy"] == pytest.approx(0.75, abs=0.01)
    assert found["balanced_accuracy"] == 0.5
    assert found["verdict"].startswith("Always answering a is right for 75 % of the tested images")


def test_a_task_that_pixels_solve_is_called_trivial_or_confounded() -> None:
    problem = cohort(shift=0.6)
    bright = np.clip(problem.pixels // 2 + 100 * problem.y[:, None], 0, 255).astype(np.uint8)
    found = controlled(replace(problem, pixels=bright))["pixels"]
    assert found["alarm"]
    assert found["mean"] > 0.95
    assert found["difference"] < 0.05
    assert found["verdict"].endswith("pixels do about as well as the CNN: the task is trivial or confounded.")


def test_the_pixels_are_judged_on_the_first_ten_splits_of_the_run() -> None:
    document = controlled(cohort(30), splits.Request(rounds=12))
    assert len(document["pixels"]["rounds"]) == 10


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [(None, "the cache does not keep them"), (np.zeros((60, 256), np.uint8), "the same for every image")],
)
def test_without_pixels_it_is_said_why_they_were_not_tried(pixels, reason) -> None:
    found = controlled(cohort(30, pixels=pixels))["pixels"]
    assert found["alarm"] is False
    assert reason in found["verdict"]


def test_a_single_split_is_judged_by_its_patients() -> None:
    document = controlled(cohort(shift=1.0), splits.Request(rounds=1))
    majority, pixels = document["majority"], document["pixels"]
    assert majority["low"] < majority["mean"] <= majority["high"]
    assert pixels["p"] is None
    assert pixels["difference_low"] < pixels["difference"] < pixels["difference_high"]


def test_rounds_in_which_a_score_is_undefined_are_left_out() -> None:
    problem = cohort(30)
    parted = splits.make(problem, splits.Request(rounds=4))
    scores = {"svm": [0.6, None, float("nan"), 0.7]}
    asked = (problem, parted, splits.Request(rounds=4), SVM)
    document = controls(*asked, scores, intervals(problem, parted, scores), seed=0, units=problem.blocks)
    assert document["majority"]["mean"] == pytest.approx(0.65)
    assert len(document["pixels"]["rounds"]) == 2
    nothing = controls(*asked, {"svm": [None] * 4}, {"svm": (None, None)}, seed=0, units=problem.blocks)
    assert "no head has a score to compare" in nothing["majority"]["verdict"]
    json.dumps(nothing, allow_nan=False)


def test_the_same_seed_gives_the_same_document() -> None:
    problem = cohort(30, technical={"mode": np.array(["L", "L", "RGB", "RGB"] * 15)})
    assert controlled(problem) == controlled(problem)


def test_the_smallest_data_that_can_be_split_do_not_stop_a_run() -> None:
    y = np.array([0, 1, 0, 1])
    columns = {"site": np.array(["A", "A", "B", "B"])}
    problem = problem_of(
        y,
        X=np.eye(4, dtype=np.float32),
        columns=columns,
        pixels=np.arange(1024).reshape(4, 256).astype(np.uint8),
    )
    document = controlled(problem, splits.Request(rounds=2, test_size=0.5))
    assert document["skipped"] == [{"column": "site", "reason": "fewer than two of its values have 5 patients"}]
    json.dumps(document, allow_nan=False)
    alike = replace(problem, X=np.zeros((4, 3), dtype=np.float32))
    json.dumps(controlled(alike, splits.Request(rounds=1, test_size=0.5)), allow_nan=False)


def test_of_a_large_problem_some_images_are_looked_at_and_it_is_said_how_many(monkeypatch) -> None:
    monkeypatch.setattr(kernels, "ROWS", 60)
    document = controlled(cohort(shift=1.0, technical={"mode": np.array(["L", "L", "RGB", "RGB"] * 30)}))
    assert document["rows"] == 60
    for one in (document["permuted"], document["pixels"], *document["origin"]):
        assert one["verdict"].endswith("(On 60 of 120 images, drawn by patient.)")
