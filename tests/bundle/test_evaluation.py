"""Promises about external evaluation: numbers that are right, and intervals that know how few patients are."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle.evaluation import evaluate
from icehouse.classify.intervals import wilson
from icehouse.classify.measures import PER_CLASS
from icehouse.classify.metrics import METRICS
from icehouse.classify.shares import clopper_pearson, mean_interval
from sklearn import metrics

COVID, NORMAL = 0, 1
TWO = ("covid", "normal")
THREE = ("covid", "normal", "pneumonia")


def answered(patients: list[int], images: int = 1, noise: float = 1.5, seed: int = 0) -> tuple[Any, ...]:
    """Return truth, predictions, probabilities and patients of a head that sees the class through noise.

    Half of the noise is the patient's own.
    """
    generator = np.random.default_rng(seed)
    truth_of = np.repeat(np.arange(len(patients)), patients)
    units = np.repeat(np.arange(len(truth_of)), images)
    truth = truth_of[units]
    of_patient = generator.normal(size=(len(truth_of), len(patients)))[units]
    of_image = generator.normal(size=(len(truth), len(patients)))
    logits = 2 * np.eye(len(patients))[truth] + noise * np.sqrt(0.5) * (of_patient + of_image)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, scores.argmax(axis=1), scores, units


def judged(
    truth: Any, predicted: Any, scores: Any, units: Any, classes: tuple[str, ...] = TWO, **more: Any
) -> dict[str, Any]:
    options = {"probabilities": True, "draws": 300, **more}
    return evaluate(truth, predicted, scores, units, classes, COVID if len(classes) == 2 else None, **options)


def right_and_wrong(right: int, wrong: int, label: int = COVID) -> tuple[Any, ...]:
    """Return answers on images of one class, a patient each."""
    truth = np.full(right + wrong, label)
    predicted = np.where(np.arange(len(truth)) < right, label, 1 - label)
    return truth, predicted, np.eye(2)[predicted] * 0.8 + 0.1, np.arange(len(truth))


def interval(found: dict[str, Any]) -> tuple[float, float]:
    return found["low"], found["high"]


def test_of_two_classes_the_numbers_are_those_of_scikit_learn() -> None:
    truth, predicted, scores, units = answered([70, 90], images=2)
    found = judged(truth, predicted, scores, units)
    is_covid, as_covid, p = truth == COVID, predicted == COVID, scores[:, COVID]
    expected = {
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, predicted),
        "sensitivity": metrics.recall_score(is_covid, as_covid),
        "specificity": metrics.recall_score(~is_covid, ~as_covid),
        "precision": metrics.precision_score(is_covid, as_covid),
        "npv": metrics.precision_score(~is_covid, ~as_covid),
        "f1": metrics.f1_score(is_covid, as_covid),
        "roc_auc": metrics.roc_auc_score(is_covid, p),
        "pr_auc": metrics.average_precision_score(is_covid, p),
        "mcc": metrics.matthews_corrcoef(truth, predicted),
        "loss": metrics.log_loss(truth, scores),
        "brier": metrics.brier_score_loss(is_covid, p),
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected)
    assert found["confusion"] == metrics.confusion_matrix(truth, predicted).tolist()
    for name in METRICS:
        if found[name]["value"] is not None:
            assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    json.dumps(found, allow_nan=False)


def test_of_three_classes_the_numbers_are_means_over_classes() -> None:
    truth, predicted, scores, units = answered([30, 40, 50])
    found = judged(truth, predicted, scores, units, THREE)
    assert found["f1"]["value"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    auc = metrics.roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert found["roc_auc"]["value"] == pytest.approx(auc)
    precisions = metrics.precision_score(truth, predicted, average=None)
    assert [found["per_class"][label]["precision"]["value"] for label in THREE] == pytest.approx(precisions)
    assert [found["per_class"][label]["rows"] for label in THREE] == [30, 40, 50]
    assert found["loss"]["low"] < found["loss"]["value"] < found["loss"]["high"]
    json.dumps(found, allow_nan=False)


def test_images_of_one_class_tell_sensitivity_and_nothing_that_needs_others() -> None:
    found = judged(*right_and_wrong(48, 3), prevalence=0.1, draws=2000)
    assert found["accuracy"]["value"] == found["sensitivity"]["value"] == 48 / 51
    assert interval(found["accuracy"]) == pytest.approx(wilson(48 / 51, 51), abs=0.01)
    assert found["accuracy"]["low"] <= wilson(48 / 51, 51)[0]
    assert found["accuracy"]["high"] < 0.99  # although one draw in twenty has none of the three
    for name in ("specificity", "precision", "npv", "f1", "roc_auc", "balanced_accuracy", "mcc"):
        assert found[name]["value"] is None
        assert "covid" in found[name]["reason"] or "normal" in found[name]["reason"]
    # All that is called covid is covid here, whatever the head does: 48 of 48 would be no precision.
    assert found["per_class"]["covid"]["precision"]["value"] is None
    assert found["per_class"]["normal"]["precision"]["value"] is None
    assert found["prevalence"]["precision"]["reason"] == found["specificity"]["reason"]
    assert found["confusion"] == [[48, 3], [0, 0]]
    json.dumps(found, allow_nan=False)


def test_never_wrong_is_no_certainty() -> None:
    found = judged(*right_and_wrong(51, 0))
    assert interval(found["accuracy"]) == pytest.approx((51 / (51 + 3.841459), 1), abs=1e-6)
    truth, _, scores, units = answered([30, 30])
    perfect = judged(truth, truth, np.eye(2)[truth], units, prevalence=0.05)
    for name in ("accuracy", "balanced_accuracy", "sensitivity", "precision", "f1", "roc_auc", "mcc"):
        assert perfect[name]["value"] == perfect[name]["high"] == 1
        assert perfect[name]["low"] < 0.97
    # None of 30 without the disease was called ill; 11 % might be, and then two of three called ill are well.
    assert perfect["prevalence"]["precision"]["value"] == 1
    assert perfect["prevalence"]["precision"]["low"] == pytest.approx(
        0.05 / (0.05 + 0.95 * 3.841459 / 33.841459)
    )
    assert scores.shape == (60, 2)


def test_under_ten_patients_a_class_shares_have_exact_intervals_and_nothing_else_has() -> None:
    truth, predicted, scores, units = answered([9, 40], seed=3)
    found = judged(truth, predicted, scores, units)
    assert 0 < found["sensitivity"]["value"] < 1
    assert interval(found["sensitivity"]) == pytest.approx(clopper_pearson(found["sensitivity"]["value"], 9))
    assert interval(found["accuracy"]) == pytest.approx(clopper_pearson(found["accuracy"]["value"], 49))
    assert interval(found["specificity"]) != pytest.approx(clopper_pearson(found["specificity"]["value"], 40))
    rates = [found["sensitivity"], found["specificity"]]
    of_both = mean_interval([rate["value"] for rate in rates], [interval(rate) for rate in rates])
    assert interval(found["balanced_accuracy"]) == pytest.approx(of_both)
    for name in ("f1", "roc_auc", "mcc", "loss", "brier"):
        assert interval(found[name]) == (None, None)
        assert found[name]["reason"] == "an interval needs 10 patients of each class; covid has 9"
    assert "Clopper and Pearson" in found["interval"]
    assert "Clopper" not in judged(*answered([10, 40]))["interval"]
    assert judged(*answered([10, 40]))["roc_auc"]["low"] is not None


def test_more_images_of_the_same_patients_make_nothing_surer() -> None:
    truth, predicted, scores, units = answered([25, 35])
    once = judged(truth, predicted, scores, units)
    five_times = judged(*(np.repeat(each, 5, axis=0) for each in (truth, predicted, scores, units)))
    for name in ("accuracy", "sensitivity", "precision", "roc_auc", "mcc", "brier"):
        assert interval(five_times[name]) == pytest.approx(interval(once[name]))
    as_if_patients = judged(
        *(np.repeat(each, 5, axis=0) for each in (truth, predicted, scores)), np.arange(300)
    )
    assert as_if_patients["accuracy"]["low"] > once["accuracy"]["low"] + 0.02


def test_patients_that_are_right_or_wrong_as_a_whole_count_as_what_they_are() -> None:
    truth, predicted, scores, units = right_and_wrong(45, 15)
    few_have_most = np.repeat(np.arange(60), np.where(np.arange(60) % 6 == 0, 50, 1))
    found = judged(*(each[few_have_most] for each in (truth, predicted, scores, units)))["sensitivity"]
    low, high = wilson(found["value"], 60)
    assert found["low"] < low - 0.1
    assert found["high"] > high + 0.05


def test_the_calibration_error_has_no_interval_as_draws_only_make_it_larger() -> None:
    found = judged(*answered([120, 120]), draws=20)["ece"]
    assert 0 < found["value"] < 0.2
    assert interval(found) == (None, None)
    assert "makes it larger" in found["reason"]


def test_intervals_hold_the_truth_where_patients_images_are_alike() -> None:
    held, of_images = [], []
    for seed in range(40):
        generator = np.random.default_rng([9, seed])
        images = generator.integers(1, 11, 40)
        units = np.repeat(np.arange(40), images)
        truth = (units >= 20).astype(np.int64)
        seen = 2 * (truth - 0.5) + generator.normal(size=40)[units]
        predicted = (seen > 0).astype(np.int64)
        for found, patients in ((held, units), (of_images, np.arange(len(units)))):
            document = judged(
                truth, predicted, np.column_stack([-seen, seen]), patients, probabilities=False, draws=100
            )
            low, high = interval(document["accuracy"])
            found.append(low <= 0.841345 <= high)  # the normal distribution's share under 1
    assert np.mean(held) >= 0.9
    assert np.mean(of_images) < 0.8


def test_undecided_samples_are_counted_and_left_out() -> None:
    truth, predicted, scores, units = answered([30, 40])
    rejected = predicted.copy()
    rejected[::5] = -1
    kept = rejected >= 0
    found = judged(truth, rejected, scores, units)
    of_kept = judged(truth[kept], predicted[kept], scores[kept], units[kept])
    assert (found["rows"], found["undecided"], found["patients"]) == (56, 14, 70)
    assert {name: found[name] for name in METRICS} == {name: of_kept[name] for name in METRICS}
    assert found["decided"]["value"] == 0.8
    assert found["decided"]["low"] < 0.75 < 0.85 < found["decided"]["high"]
    assert of_kept["decided"]["high"] == 1


@pytest.mark.parametrize("rows", [0, 4])
def test_where_nothing_is_decided_nothing_is_claimed(rows) -> None:
    truth, units = np.zeros(rows, dtype=np.int64), np.arange(rows)
    found = judged(truth, truth - 1, np.zeros((rows, 2)), units, prevalence=0.1)
    assert (found["rows"], found["undecided"]) == (0, rows)
    for name in METRICS:
        assert found[name] == {"value": None, "low": None, "high": None, "reason": "no sample was decided"}
    assert set(found) == set(judged(*answered([10, 10])))
    assert set(found["per_class"]["covid"]) == {*PER_CLASS, "rows", "patients"}
    json.dumps(found, allow_nan=False)


def test_a_prevalence_makes_precision_and_npv_by_bayes() -> None:
    truth, predicted, scores, units = answered([40, 60])
    found = judged(truth, predicted, scores, units, prevalence=0.02)
    sensitivity, specificity = found["sensitivity"]["value"], found["specificity"]["value"]
    at = found["prevalence"]
    assert (at["value"], at["of"], at["in_data"]) == (0.02, "covid", 0.4)
    ill, well = 0.02 * sensitivity, 0.98 * (1 - specificity)
    assert at["precision"]["value"] == pytest.approx(ill / (ill + well))
    assert at["npv"]["value"] == pytest.approx(0.98 * specificity / (0.98 * specificity + 0.02 - ill))
    assert at["precision"]["low"] < at["precision"]["value"] < at["precision"]["high"]
    same = judged(truth, predicted, scores, units, prevalence=0.4)["prevalence"]
    assert same["precision"]["value"] == pytest.approx(found["precision"]["value"])
    assert same["npv"]["value"] == pytest.approx(found["npv"]["value"])


def test_a_prevalence_of_few_patients_follows_from_the_exact_intervals() -> None:
    found = judged(*answered([6, 40], seed=3), prevalence=0.1)
    assert 0 < found["prevalence"]["precision"]["low"] < found["prevalence"]["precision"]["value"]
    assert found["prevalence"]["npv"]["low"] < found["prevalence"]["npv"]["value"]


def test_a_prevalence_that_is_none_is_refused() -> None:
    for share in (0.0, 1.0, 5.0, float("nan")):
        with pytest.raises(errors.UsageError, match="between 0 and 1"):
            judged(*answered([10, 10]), prevalence=share)
    with pytest.raises(errors.UsageError, match="here are 3 classes"):
        judged(*answered([10, 10, 10]), THREE, prevalence=0.1)


def test_a_class_that_is_not_in_the_data_is_named() -> None:
    truth, predicted, scores, units = answered([20, 20, 20])
    kept = truth != 2
    found = judged(truth[kept], predicted[kept], scores[kept], units[kept], THREE)
    assert found["accuracy"]["low"] is not None
    assert found["balanced_accuracy"]["value"] is None
    assert "pneumonia" in found["balanced_accuracy"]["reason"]
    assert found["precision"]["value"] is None
    assert found["per_class"]["covid"]["precision"]["value"] is not None
    assert found["per_class"]["pneumonia"]["specificity"]["value"] is not None


def test_bins_of_the_reliability_table_hold_equally_many() -> None:
    generator = np.random.default_rng(5)
    p = generator.random(2000)
    truth = np.where(generator.random(2000) < p, COVID, NORMAL)
    scores = np.column_stack([p, 1 - p])
    found = judged(truth, scores.argmax(axis=1), scores, np.arange(2000), draws=10)["calibration"]
    assert found["of"] == "covid"
    assert [each["rows"] for each in found["bins"]] == [200] * 10
    for number, each in enumerate(found["bins"]):
        inside = np.sort(p)[200 * number : 200 * (number + 1)]
        assert (each["lowest"], each["highest"]) == (inside[0], inside[-1])
        assert each["probability"] == pytest.approx(inside.mean())
        assert each["observed"] == np.mean(truth[(p >= inside[0]) & (p <= inside[-1])] == COVID)
    assert sum(each["low"] <= each["probability"] <= each["high"] for each in found["bins"]) >= 8


def test_few_patients_have_few_bins_and_equal_probabilities_share_one() -> None:
    assert len(judged(*answered([12, 13], images=20))["calibration"]["bins"]) == 2
    truth, predicted, _, units = answered([50, 50])
    (only,) = judged(truth, predicted, np.full((100, 2), 0.5), units)["calibration"]["bins"]
    assert (only["rows"], only["observed"], only["probability"]) == (100, 0.5, 0.5)


def test_of_three_classes_the_reliability_is_that_of_the_class_predicted() -> None:
    truth, predicted, scores, units = answered([40, 40, 40])
    found = judged(truth, predicted, scores, units, THREE)["calibration"]
    assert found["of"] is None
    right = sum(each["observed"] * each["rows"] for each in found["bins"])
    assert right == pytest.approx(np.sum(truth == predicted))
    assert all(each["lowest"] >= 1 / 3 for each in found["bins"])


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    found = judged(*answered([20, 20]), probabilities=False)
    assert found["calibration"]["bins"] == []
    assert (
        found["loss"]["reason"] == found["calibration"]["reason"] == "this head gives scores, not probabilities"
    )
    assert found["roc_auc"]["value"] is not None


def test_what_most_draws_leave_undefined_has_no_interval() -> None:
    truth = np.repeat([COVID, NORMAL], 30)
    p = np.where(truth == COVID, 0.7, 0.2) + 0.001 * np.arange(60)
    p[0], p[-1] = 0.2, 0.8  # but for these two the probabilities separate the classes
    scores = np.column_stack([p, 1 - p])
    found = judged(truth, scores.argmax(axis=1), scores, np.arange(60))["calibration_slope"]
    assert found["value"] is not None
    assert interval(found) == (None, None)
    assert "of the bootstrap's 300 draws" in found["reason"]


def test_the_same_seed_gives_the_same_intervals() -> None:
    answers = answered([20, 30], images=2)
    assert judged(*answers, seed=4) == judged(*answers, seed=4)
    assert interval(judged(*answers, seed=4)["brier"]) != interval(judged(*answers, seed=5)["brier"])


def test_images_without_patients_are_called_images() -> None:
    assert "300 draws over the 40 images" in judged(*answered([20, 20]), counted="images")["interval"]
