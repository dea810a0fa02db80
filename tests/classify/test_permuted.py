"""Promises about permuted labels: a leak between images of a patient is seen, and only where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from icehouse.classify import heads, splits
from icehouse.classify.kernels import gram
from icehouse.classify.permuted import permute, permuted
from icehouse.classify.problem import Problem
from making import problem_of
from threadpoolctl import threadpool_limits

HEADS = ("svm", "knn")


@pytest.fixture(autouse=True)
def _one_thread():
    """Compute as controls do: on one thread, which is the quicker way for matrices this small."""
    with threadpool_limits(limits=1):
        yield


def patients_carried(patients: int = 40, images: int = 4, spread: float = 0.3, seed: int = 0) -> Problem:
    """Return vectors that tell whose image each is, and labels by lot for each patient."""
    generator = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), images)
    centres = generator.normal(size=(patients, 32))
    X = centres[owner] + spread * generator.normal(size=(len(owner), 32))
    y = (np.arange(patients) % 2)[owner]
    return problem_of(y, owner.astype(str), X=X.astype(np.float32))


def ungrouped(problem: Problem) -> Problem:
    return replace(problem, groups=np.arange(len(problem)), grouped=False)


def result(
    problem: Problem,
    head: str = "svm",
    request: splits.Request | None = None,
    parted: splits.Splits | None = None,
    draws: int = 19,
) -> dict:
    request = request or splits.Request()
    parted = parted or splits.make(problem, request)
    specs = heads.parse_all([head])
    return permuted(problem, parted, request, specs, gram(problem.X), seed=0, draws=draws)


@pytest.mark.parametrize("head", HEADS)
def test_splits_by_image_that_let_patients_leak_raise_the_alarm(head) -> None:
    found = result(ungrouped(patients_carried()), head)
    assert found["alarm"]
    assert found["low"] > 0.6
    assert found["verdict"].startswith(f"Leak: with labels permuted between patients, {head} still scores")


@pytest.mark.parametrize("head", HEADS)
def test_splits_by_patient_of_the_same_vectors_do_not(head) -> None:
    found = result(patients_carried(), head)
    assert not found["alarm"]
    assert abs(found["mean"] - 0.5) < 0.05
    assert found["verdict"].startswith("No leak seen: with labels permuted between patients")


def test_guessed_patients_are_permuted_although_the_splits_do_not_know_them() -> None:
    known = patients_carried()
    guessed = replace(ungrouped(known), patient=np.full(len(known), ""), guessed=True)
    found = result(guessed)
    assert found["alarm"]
    assert "patients (guessed from the names of files)" in found["verdict"]


def test_where_patients_are_unknown_it_is_said_that_their_leak_cannot_be_seen() -> None:
    known = patients_carried()
    unknown = problem_of(known.y, X=known.X)
    found = result(unknown)
    assert not found["alarm"]
    assert "a leak between images of one patient cannot be seen" in found["verdict"]


def test_a_given_split_with_a_patient_on_both_sides_is_a_leak_and_is_kept() -> None:
    problem = patients_carried()
    tested = np.arange(len(problem)) % 4 == 0
    parted = splits.Splits("columns", ("fold1",), ~tested[None], tested[None], np.zeros((1, 0), dtype=bool))
    for request in (splits.Request(columns=("fold1",)), splits.Request(run=Path("run"))):
        found = result(problem, request=request, parted=parted)
        assert found["alarm"]
        assert not found["redrawn"]
        assert "(On the given splits.)" in found["verdict"]


def test_what_is_to_be_learned_is_better_than_chance_and_noise_is_not() -> None:
    problem = patients_carried(spread=1.0)
    told = replace(problem, X=problem.X + 2 * problem.y[:, None].astype(np.float32))
    found = result(told, draws=39)
    assert found["p"] == 1 / 40
    assert "better than chance (p = 0.025)" in found["verdict"]
    assert "no better than chance" in result(problem)["verdict"]


def test_the_p_value_counts_the_permutations_that_score_as_well() -> None:
    found = result(patients_carried())
    assert len(found["scores"]) == found["draws"] == 19
    as_good = sum(score >= found["observed"] for score in found["scores"])
    assert found["p"] == (as_good + 1) / 20
    assert found["mean"] == pytest.approx(np.mean(found["scores"]))


def test_of_noise_no_more_than_one_p_value_in_twenty_is_1_in_20() -> None:
    """Splits are stratified by the labels, so they must be drawn again for each permutation."""
    noise = [patients_carried(24, 2, seed=seed) for seed in range(20)]
    assert sum(result(problem)["p"] <= 1 / 20 for problem in noise) <= 4  # 5 in one of 400 such tests


def test_patients_are_permuted_whole() -> None:
    generator = np.random.default_rng(1)
    blocks = generator.permutation(np.repeat(np.arange(30), np.arange(1, 31)))
    y = (np.arange(30) % 3)[blocks]
    drawn = permute(y, blocks, generator)
    of_block = [set(drawn[blocks == block].tolist()) for block in range(30)]
    assert all(len(labels) == 1 for labels in of_block)
    assert sorted(min(labels) for labels in of_block) == sorted(np.arange(30) % 3)
    assert not np.array_equal(drawn, y)


def test_a_patient_of_several_classes_gives_away_its_labels_in_their_order() -> None:
    blocks = np.array([0, 0, 0, 1, 2, 2, 2, 2, 2])
    y = np.array([0, 0, 1, 2, 3, 3, 3, 3, 3])
    seen = set()
    for seed in range(30):
        drawn = permute(y, blocks, np.random.default_rng(seed))
        seen.add((tuple(drawn[:3]), tuple(drawn[3:4]), tuple(drawn[4:])))
    assert ((3, 3, 3), (0,), (2, 2, 2, 2, 2)) in seen
    assert ((2, 2, 2), (3,), (0, 0, 1, 0, 0)) in seen
    assert len(seen) == 6


def test_the_same_seed_permutes_alike() -> None:
    problem = patients_carried()
    assert result(problem) == result(problem)


def test_folds_and_a_single_split_are_permuted_as_well() -> None:
    problem = patients_carried()
    for request in (splits.Request(folds=4), splits.Request(rounds=10, vary="seed")):
        found = result(problem, request=request)
        assert not found["alarm"]
        assert found["draws"] == 19


def test_too_few_patients_to_permute_are_said_to_be_too_few() -> None:
    problem = problem_of(np.array([0, 0, 1, 1]), X=np.eye(4, dtype=np.float32))
    tested = np.array([[False, True, True, True]])
    parted = splits.Splits("columns", ("fold1",), ~tested, tested, np.zeros((1, 0), dtype=bool))
    found = result(problem, request=splits.Request(columns=("fold1",)), parted=parted)
    assert not found["alarm"]
    assert "could not be permuted between images" in found["verdict"]


def test_heads_that_products_are_not_enough_for_give_way_to_the_nearest_neighbour() -> None:
    problem = patients_carried(10)
    for head in ("mlp", "svm:kernel=poly", "knn:weights=distance"):
        assert result(problem, head, draws=3)["head"] == "the nearest neighbour"
