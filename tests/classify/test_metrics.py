"""Promises about numbers: each metric by hand, the undefined ones with their reason, the summary."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.classify.metrics import METRICS, Judgement, judge, summarize

TWO = ("covid", "normal")
TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0])
SCORES = np.array([0.9, 0.8, 0.7, 0.4, 0.1, 0.2, 0.3, 0.35, 0.6, 0.75])
PROBABILITIES = np.column_stack([SCORES, 1 - SCORES])


def test_two_classes_are_judged_by_the_positive_one() -> None:
    found = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 0, probabilities=True)
    assert found.confusion == [[3, 1], [2, 4]]
    assert found.values["accuracy"] == pytest.approx(0.7)
    assert found.values["sensitivity"] == pytest.approx(3 / 4)
    assert found.values["specificity"] == pytest.approx(4 / 6)
    assert found.values["precision"] == pytest.approx(3 / 5)
    assert found.values["npv"] == pytest.approx(4 / 5)
    assert found.values["f1"] == pytest.approx(6 / 9)
    assert found.values["balanced_accuracy"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    pairs = [(p > n) for p in SCORES[:4] for n in SCORES[4:]]
    assert found.values["roc_auc"] == pytest.approx(np.mean(pairs))
    right = np.where(TRUTH == 0, SCORES, 1 - SCORES)
    assert found.values["loss"] == pytest.approx(-np.log(right).mean())
    assert list(found.values) == list(METRICS)
    assert not found.reasons


def test_the_other_class_as_positive_swaps_sensitivity_and_specificity() -> None:
    a = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 0, probabilities=True).values
    b = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 1, probabilities=True).values
    assert (a["sensitivity"], a["precision"]) == (b["specificity"], b["npv"])
    assert a["roc_auc"] == pytest.approx(b["roc_auc"])


def test_three_classes_are_judged_one_against_the_rest_and_averaged() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 1, 1, 1, 2, 0])
    scores = np.eye(3)[predicted] * 0.8 + 0.1
    found = judge(
        truth, predicted, scores / scores.sum(axis=1, keepdims=True), tuple("abc"), None, probabilities=True
    )
    assert found.values["sensitivity"] == pytest.approx(np.mean([1 / 2, 1, 1 / 2]))
    assert found.values["specificity"] == pytest.approx(np.mean([3 / 4, 3 / 4, 1]))
    assert found.values["precision"] == pytest.approx(np.mean([1 / 2, 2 / 3, 1]))
    assert found.values["f1"] == pytest.approx(np.mean([1 / 2, 4 / 5, 2 / 3]))
    assert found.values["balanced_accuracy"] == found.values["sensitivity"]


def test_what_is_undefined_is_none_with_a_reason() -> None:
    found = judge(TRUTH, np.ones(10, dtype=int), PROBABILITIES, TWO, 0, probabilities=False)
    assert found.values["precision"] is None
    assert found.reasons["precision"] == "covid was never predicted"
    assert found.values["loss"] is None
    assert "not probabilities" in found.reasons["loss"]
    assert found.values["sensitivity"] == 0
    alone = judge(np.zeros(3, dtype=int), np.zeros(3, dtype=int), PROBABILITIES[:3], TWO, 0, probabilities=True)
    assert alone.values["roc_auc"] is None
    assert alone.values["specificity"] is None
    assert alone.reasons["specificity"] == "covid is alone in the test part"


def judgement(**values: float | None) -> Judgement:
    reasons = {name: "for a reason" for name, value in values.items() if value is None}
    return Judgement({**dict.fromkeys(METRICS, 0.5), **values}, reasons)


def test_the_summary_has_mean_spread_worst_best_and_every_round() -> None:
    summary = summarize([judgement(accuracy=a, loss=loss) for a, loss in ((0.7, 3.0), (0.9, 1.0), (0.8, 2.0))])
    assert summary["accuracy"] == {
        "mean": pytest.approx(0.8),
        "std": pytest.approx(0.1),
        "worst": 0.7,
        "best": 0.9,
        "rounds": [0.7, 0.9, 0.8],
    }
    assert (summary["loss"]["worst"], summary["loss"]["best"]) == (3.0, 1.0)


def test_a_mean_over_fewer_rounds_says_of_how_many_and_why() -> None:
    summary = summarize([judgement(precision=None), judgement(precision=0.6), judgement(precision=0.8)])
    assert summary["precision"]["mean"] == pytest.approx(0.7)
    assert summary["precision"]["rounds"] == [None, 0.6, 0.8]
    assert summary["precision"]["defined"] == 2
    assert summary["precision"]["reason"] == "for a reason"


def test_one_round_has_no_standard_deviation() -> None:
    summary = summarize([judgement()])
    assert summary["accuracy"]["std"] is None
    assert summary["accuracy"]["reason"] == "the standard deviation needs two rounds"
