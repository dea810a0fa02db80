"""Promises about what a run can be asked: what excludes what, which rounds follow, which seeds heads get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from icehouse import errors
from icehouse.classify.protocol import Protocol, Round, components


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"folds": 5, "rounds": 3},
            "--rounds is for random splits; it does not go with --folds, which are repeated",
        ),
        ({"folds": 5, "test_size": 0.2}, "--test-size is for random splits"),
        ({"folds": 5, "split_columns": ("a",)}, "--folds and --split-columns ask for different splits"),
        ({"split_columns": ("a",), "reused": Path("run")}, "ask for different splits"),
        ({"reused": Path("run"), "rounds": 3}, "--rounds is for random splits"),
        ({"repeats": 2}, "repeats are of folds"),
        ({"vary": "seed", "seeds": 2}, "leave --seeds out"),
        ({"vary": "seed", "folds": 5}, "--vary seed judges every seed on one split"),
        ({"vary": "nothing"}, "vary must be one of both, split, seed"),
        ({"balance": "more"}, "balance must be weights or subsample"),
        ({"folds": 1}, "folds must be a whole number of 2 or more"),
        ({"validation": 1.0}, "validation must lie between 0 and 1"),
        ({"metric": "acuracy"}, "acuracy"),
        ({"time_budget": 0}, "time_budget must be positive seconds"),
        ({"reduce": 0}, "reduce must be a whole number"),
    ],
)
def test_what_cannot_be_asked_together_is_refused_with_the_reason(asked, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        Protocol(**asked).check()


def test_unless_told_ten_rounds_test_three_tenths_each_with_a_seed_of_its_own() -> None:
    protocol = Protocol()
    protocol.check()
    assert (protocol.request.rounds, protocol.request.test_size) == (10, 0.3)
    assert protocol.schedule(10) == [Round(number, number, number) for number in range(10)]


def test_what_varies_between_rounds_is_what_was_asked() -> None:
    assert Protocol(rounds=3, vary="split").schedule(3) == [Round(0, 0, 0), Round(1, 1, 0), Round(2, 2, 0)]
    assert Protocol(rounds=3, vary="seed").schedule(1) == [Round(0, 0, 0), Round(1, 0, 1), Round(2, 0, 2)]
    with pytest.raises(errors.UsageError, match="one split, and these are 4"):
        Protocol(reused=Path("run"), vary="seed").schedule(4)


def test_several_seeds_of_a_split_are_rounds_of_it() -> None:
    schedule = Protocol(folds=2, seeds=3).schedule(2)
    assert [(round_.split, round_.seed) for round_ in schedule] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 3),
        (1, 4),
        (1, 5),
    ]
    same = Protocol(folds=2, seeds=3, vary="split").schedule(2)
    assert [round_.seed for round_ in same] == [0, 1, 2, 0, 1, 2]
    assert [round_.number for round_ in same] == list(range(6))


def test_head_seeds_differ_and_come_from_the_runs_seed() -> None:
    seeds = [Protocol(seed=seed).head_seed(number) for seed in (0, 1) for number in range(50)]
    assert len(set(seeds)) == 100
    assert Protocol(seed=1).head_seed(7) == Protocol(seed=1, jobs=5).head_seed(7)


def test_what_changes_no_number_is_not_part_of_the_plan() -> None:
    plain = Protocol().as_plan()
    assert plain == Protocol(jobs=7, time_budget=3.0, metric="accuracy").as_plan()
    assert plain != Protocol(seeds=2).as_plan()
    assert plain["test_size"] == 0.3
    assert Protocol(folds=5).as_plan()["test_size"] is None
    assert (
        json.loads(json.dumps(Protocol(split_columns=("a",)).as_plan()))
        == Protocol(split_columns=("a",)).as_plan()
    )


@pytest.mark.parametrize(("text", "number"), [(None, None), (256, 256), ("pca:256", 256), ("256", 256)])
def test_components_are_read(text, number) -> None:
    assert components(text) == number


@pytest.mark.parametrize("text", ["pca", "pca:", "pca:x", "tsne:2", "pca:2.5", "-3"])
def test_what_is_no_number_of_components_is_refused(text) -> None:
    with pytest.raises(errors.UsageError, match="of the form pca:256"):
        components(text)
