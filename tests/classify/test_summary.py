"""Promises about a head's rounds together: means, spread, and intervals that are not too sure of themselves."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from icehouse.classify import intervals
from icehouse.classify.measures import PER_CLASS
from icehouse.classify.metrics import METRICS, judge
from icehouse.classify.problem import Problem
from icehouse.classify.splits import Splits
from icehouse.classify.summary import summarize
from making import problem_of, record_of


@pytest.fixture
def problem() -> Problem:
    """Two classes of 20 patients each, two images of each patient."""
    return problem_of(np.repeat([0, 1], 40), np.repeat(np.arange(40), 2))


def answers(
    problem: Problem, splits: Splits, *, noise: float = 1.0, seeds: int = 1, seed: int = 0
) -> list[Any]:
    """Return the records of a head that sees the label through noise."""
    generator = np.random.default_rng(seed)
    count = len(problem.classes)
    records = []
    for number in range(len(splits) * seeds):
        split, of_split = divmod(number, seeds)
        rows = np.flatnonzero(splits.test[split])
        logits = 2 * np.eye(count)[problem.y[rows]] + noise * generator.normal(size=(len(rows), count))
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        records.append(record_of(problem, rows, scores, number=number, split=split, seed=of_split))
    return records


def hold_out(problem: Problem, rounds: int = 4) -> Splits:
    """Return splits that each test three tenths of each class's patients; ten of them test everyone."""
    test = np.zeros((rounds, len(problem)), dtype=bool)
    for label in range(len(problem.classes)):
        patients = np.unique(problem.blocks[problem.y == label])
        for number in range(rounds):
            start = number * len(patients) // 10
            chosen = np.roll(patients, -start)[: 3 * len(patients) // 10]
            test[number] |= np.isin(problem.blocks, chosen)
    return Splits("hold-out", tuple(map(str, range(rounds))), ~test, test, np.zeros((rounds, 0), dtype=bool))


def test_the_summary_has_mean_spread_worst_best_and_every_round(problem) -> None:
    splits = hold_out(problem, 3)
    records = answers(problem, splits, noise=2.0)
    found = summarize(problem, splits, records, problem.blocks)
    assert list(found) == ["metrics", "per_class", "spread", "interval"]
    assert list(found["metrics"]) == list(METRICS)
    rounds = [record.judgement.values["roc_auc"] for record in records]
    entry = found["metrics"]["roc_auc"]
    assert entry["rounds"] == rounds
    assert entry["mean"] == pytest.approx(np.mean(rounds))
    assert entry["std"] == pytest.approx(np.std(rounds, ddof=1))
    assert (entry["worst"], entry["best"]) == (min(rounds), max(rounds))
    losses = [record.judgement.values["loss"] for record in records]
    assert (found["metrics"]["loss"]["worst"], found["metrics"]["loss"]["best"]) == (max(losses), min(losses))
    slopes = [record.judgement.values["calibration_slope"] for record in records]
    assert found["metrics"]["calibration_slope"]["best"] == min(slopes, key=lambda slope: abs(slope - 1))
    assert found["metrics"]["calibration_slope"]["worst"] == max(slopes, key=lambda slope: abs(slope - 1))
    for label in problem.classes:
        assert list(found["per_class"][label]) == [*PER_CLASS, "support"]
    json.dumps(found, allow_nan=False)


def test_over_several_splits_the_interval_is_the_corrected_t(problem) -> None:
    splits = hold_out(problem)
    records = answers(problem, splits, noise=3.0)
    found = summarize(problem, splits, records, problem.blocks)
    rounds = [record.judgement.values["loss"] for record in records]  # no share, so no Wilson interval
    ratio = intervals.tested_to_trained(splits.train, splits.test, problem.blocks)
    expected = intervals.corrected_t(rounds, ratio)
    assert (found["metrics"]["loss"]["low"], found["metrics"]["loss"]["high"]) == pytest.approx(expected)
    assert f"(× (1/4 + {ratio:.3g}), the ratio of tested to trained patients" in found["interval"]


def test_rounds_that_are_all_perfect_leave_the_doubt_of_so_many_patients(problem) -> None:
    splits = hold_out(problem, 10)
    found = summarize(problem, splits, answers(problem, splits, noise=0.1), problem.blocks)
    tested, covid, normal = 40, 20, 20
    assert splits.test.any(axis=0).all()
    z = 1.959964**2
    for name, least in (
        ("accuracy", tested / (tested + z)),
        ("sensitivity", covid / (covid + z)),
        ("specificity", normal / (normal + z)),
        ("precision", covid / (covid + z)),
        ("pr_auc", covid / (covid + z)),
        ("mcc", 2 * tested / (tested + z) - 1),
        ("balanced_accuracy", 1 - math.hypot(1 - covid / (covid + z), 1 - normal / (normal + z)) / 2),
    ):
        entry = found["metrics"][name]
        assert (entry["mean"], entry["high"]) == (1, 1), name
        assert entry["low"] == pytest.approx(least, abs=1e-6), name
    assert found["per_class"]["b"]["sensitivity"]["low"] == found["metrics"]["specificity"]["low"]
    assert 0.7 < found["metrics"]["roc_auc"]["low"] < 1


def test_no_interval_is_narrower_than_wilson_nor_wider_than_the_metric_can_be(problem) -> None:
    for noise in (0.5, 2.0, 10.0):
        splits = hold_out(problem, 3)
        found = summarize(problem, splits, answers(problem, splits, noise=noise), problem.blocks)["metrics"]
        low, high = intervals.wilson(found["accuracy"]["mean"], 40)
        assert found["accuracy"]["low"] <= low
        assert found["accuracy"]["high"] >= high
        for name, entry in found.items():
            if entry["mean"] is not None:
                assert entry["low"] <= entry["mean"] <= entry["high"], name
                assert name.startswith("calibration") or entry["low"] >= (-1 if name == "mcc" else 0), name
                assert name.startswith("calibration") or name == "loss" or entry["high"] <= 1, name


def test_one_split_has_a_bootstrap_over_its_patients(problem) -> None:
    splits = hold_out(problem, 1)
    records = answers(problem, splits, noise=2.0)
    found = summarize(problem, splits, records, problem.blocks, seed=3)
    assert "bootstrap of 2,000 draws over the patients" in found["interval"]
    entry = found["metrics"]["loss"]
    assert (entry["std"], entry["reason"]) == (None, "the standard deviation needs two rounds")
    rows = records[0].rows
    right = records[0].scores[np.arange(len(rows)), problem.y[rows]]
    drawn = intervals.bootstrap(
        lambda weights: (weights @ -np.log(right) / weights.sum(axis=1))[:, None],
        problem.blocks[rows],
        problem.y[rows],
        seed=3,
    )
    assert (entry["low"], entry["high"]) == pytest.approx(intervals.percentiles(drawn[:, 0]))
    assert found == summarize(problem, splits, records, problem.blocks, seed=3)


def test_the_seeds_of_one_split_are_averaged_in_each_draw(problem) -> None:
    splits = hold_out(problem, 1)
    one = answers(problem, splits, noise=2.0)
    twice = [*one, record_of(problem, one[0].rows, one[0].scores, number=1, split=0, seed=1)]
    a, b = (summarize(problem, splits, records, problem.blocks)["metrics"] for records in (one, twice))
    for name in ("loss", "roc_auc", "calibration_slope"):
        assert (a[name]["low"], a[name]["high"]) == pytest.approx((b[name]["low"], b[name]["high"]))


def test_more_seeds_a_split_do_not_make_the_interval_surer(problem) -> None:
    splits = hold_out(problem)
    records = answers(problem, splits, noise=2.0)
    tripled = [
        record_of(
            problem, record.rows, record.scores, number=3 * record.number + seed, split=record.split, seed=seed
        )
        for record in records
        for seed in range(3)
    ]
    a, b = (summarize(problem, splits, of_head, problem.blocks)["metrics"] for of_head in (records, tripled))
    for name in ("loss", "accuracy", "roc_auc"):
        assert (a[name]["low"], a[name]["high"]) == pytest.approx((b[name]["low"], b[name]["high"]))


def test_a_mean_over_fewer_rounds_says_of_how_many_and_why(problem) -> None:
    splits = hold_out(problem, 3)
    records = answers(problem, splits)
    rows = records[0].rows
    never = np.tile([0.4, 0.6], (len(rows), 1))  # nothing is called positive in this round
    records[0] = record_of(problem, rows, never, number=0, split=0, seed=0)
    found = summarize(problem, splits, records, problem.blocks)
    entry = found["metrics"]["precision"]
    assert entry["rounds"][0] is None
    assert entry["defined"] == 2
    assert entry["reason"] == "a was never predicted"
    assert entry["mean"] == pytest.approx(np.mean(entry["rounds"][1:]))
    assert found["per_class"]["a"]["precision"]["reason"] == "a was never predicted"
    assert "defined" not in found["per_class"]["b"]["precision"]
    records[1] = record_of(problem, records[1].rows, never[: len(records[1].rows)], number=1, split=1, seed=0)
    entry = summarize(problem, splits, records, problem.blocks)["metrics"]["precision"]
    assert (entry["low"], entry["high"]) == (None, None)
    assert entry["reason"] == "a was never predicted; the interval needs a second split"


def test_a_head_without_probabilities_has_no_loss_and_says_why(problem) -> None:
    splits = hold_out(problem, 2)
    records = [
        record_of(problem, record.rows, 10 * record.scores - 5, number=record.number, split=record.split)
        for record in answers(problem, splits)
    ]
    for splits_of, of_head in ((splits, records), (hold_out(problem, 1), records[:1])):
        found = summarize(problem, splits_of, of_head, problem.blocks)["metrics"]
        assert (found["loss"]["mean"], found["loss"]["low"]) == (None, None)
        assert found["loss"]["reason"] == "this head gives scores, not probabilities"
        assert found["roc_auc"]["low"] < found["roc_auc"]["mean"]


def test_spread_of_splits_and_of_seeds_are_told_apart(problem) -> None:
    splits = hold_out(problem, 2)
    values = {0: (0.70, 0.80), 1: (0.80, 0.90)}
    records = []
    for split, of_seeds in values.items():
        rows = np.flatnonzero(splits.test[split])
        for seed, value in enumerate(of_seeds):
            scores = np.full((len(rows), 2), 0.5)
            scores[np.arange(len(rows)), problem.y[rows]] = math.exp(-value)  # so that the loss is the value
            scores[np.arange(len(rows)), 1 - problem.y[rows]] = 1 - math.exp(-value)
            records.append(record_of(problem, rows, scores, number=2 * split + seed, split=split, seed=seed))
    spread = summarize(problem, splits, records, problem.blocks)["spread"]["loss"]
    # Within: both splits' variances are 2 · 0.05² = 0.005. Split means 0.75 and 0.85 have the variance 0.005.
    # Half of the seeds' 0.005 is in it: 0.0025 is left.
    assert spread == {"split": pytest.approx(0.05), "seed": pytest.approx(math.sqrt(0.005))}


def test_spread_is_not_told_apart_from_one_seed_or_of_a_head_without_one(problem) -> None:
    splits = hold_out(problem, 3)
    records = answers(problem, splits)
    found = summarize(problem, splits, records, problem.blocks)["spread"]["accuracy"]
    assert (found["split"], found["seed"]) == (None, None)
    assert "two seeds a split" in found["reason"]
    summary = summarize(problem, splits, records, problem.blocks, seeded=False)
    found = summary["spread"]["accuracy"]
    assert found["split"] == pytest.approx(summary["metrics"]["accuracy"]["std"])
    assert found["seed"] is None
    assert "no seed" in found["reason"]
    one = hold_out(problem, 1)
    found = summarize(problem, one, answers(problem, one, seeds=3), problem.blocks)["spread"]["loss"]
    assert found["split"] is None
    assert found["seed"] > 0
    assert "one split" in found["reason"]


def test_three_classes_have_the_mean_of_their_doubts(problem) -> None:
    three = problem_of(np.repeat([0, 1, 2], 20), np.arange(60))
    splits = hold_out(three, 10)
    assert splits.test.any(axis=0).all()
    found = summarize(three, splits, answers(three, splits, noise=0.1), three.blocks)
    least = 20 / (20 + 1.959964**2)
    assert found["per_class"]["a"]["sensitivity"]["low"] == pytest.approx(least, abs=1e-6)
    assert found["metrics"]["sensitivity"]["low"] == pytest.approx(1 - (1 - least) / math.sqrt(3), abs=1e-6)
    assert found["metrics"]["brier"]["high"] <= 2


def test_a_judgement_that_is_summarized_was_made_by_the_same_arithmetic(problem) -> None:
    splits = hold_out(problem, 1)
    record = answers(problem, splits)[0]
    again = judge(
        problem.y[record.rows],
        record.predicted,
        record.scores,
        problem.classes,
        0,
        probabilities=True,
        patients=len(np.unique(problem.blocks[record.rows])),
    )
    assert again == record.judgement
