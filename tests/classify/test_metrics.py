"""Promises about one round's numbers: each by hand, all against scikit-learn, the undefined with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.classify.measures import PER_CLASS, Answers, measure
from icehouse.classify.metrics import ECE_PATIENTS, METRICS, judge
from sklearn import metrics as theirs
from sklearn.linear_model import LogisticRegression

TWO = ("covid", "normal")
TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
PREDICTED = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0])
SCORES = np.array([0.9, 0.8, 0.7, 0.4, 0.1, 0.2, 0.3, 0.35, 0.6, 0.75])
PROBABILITIES = np.column_stack([SCORES, 1 - SCORES])


def test_two_classes_are_judged_by_the_positive_one() -> None:
    found = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 0, probabilities=True, patients=10)
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
    assert found.values["brier"] == pytest.approx(np.mean((SCORES - (TRUTH == 0)) ** 2))
    # As a correlation of the two columns of zeros and ones: (3·4 − 2·1) / √(5 · 4 · 6 · 5)
    assert found.values["mcc"] == pytest.approx(10 / np.sqrt(600))
    # From the highest score down: positives at ranks 1, 2, 4 and 6.
    assert found.values["pr_auc"] == pytest.approx((1 / 1 + 2 / 2 + 3 / 4 + 4 / 6) / 4)
    assert list(found.values) == list(METRICS)
    assert found.reasons == {"ece": "needs 200 tested patients; there are 10"}


def test_the_other_class_as_positive_swaps_sensitivity_and_specificity() -> None:
    a = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 0, probabilities=True, patients=10).values
    b = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 1, probabilities=True, patients=10).values
    assert (a["sensitivity"], a["precision"]) == (b["specificity"], b["npv"])
    assert a["roc_auc"] == pytest.approx(b["roc_auc"])


def test_three_classes_are_judged_one_against_the_rest_and_averaged() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 1, 1, 1, 2, 0])
    scores = np.eye(3)[predicted] * 0.8 + 0.1
    scores /= scores.sum(axis=1, keepdims=True)
    found = judge(truth, predicted, scores, tuple("abc"), None, probabilities=True, patients=6)
    assert found.values["sensitivity"] == pytest.approx(np.mean([1 / 2, 1, 1 / 2]))
    assert found.values["specificity"] == pytest.approx(np.mean([3 / 4, 3 / 4, 1]))
    assert found.values["precision"] == pytest.approx(np.mean([1 / 2, 2 / 3, 1]))
    assert found.values["f1"] == pytest.approx(np.mean([1 / 2, 4 / 5, 2 / 3]))
    assert found.values["balanced_accuracy"] == found.values["sensitivity"]


def test_what_is_undefined_is_none_with_a_reason() -> None:
    found = judge(TRUTH, np.ones(10, dtype=int), PROBABILITIES, TWO, 0, probabilities=False, patients=10)
    assert found.values["precision"] is None
    assert found.reasons["precision"] == "covid was never predicted"
    assert found.values["loss"] is None
    assert "not probabilities" in found.reasons["loss"]
    assert found.values["sensitivity"] == 0
    alone = judge(
        np.zeros(3, dtype=int),
        np.zeros(3, dtype=int),
        PROBABILITIES[:3],
        TWO,
        0,
        probabilities=True,
        patients=10,
    )
    assert alone.values["roc_auc"] is None
    assert alone.values["specificity"] is None
    assert alone.reasons["specificity"] == "covid is alone in the test part"


def answers(
    classes: int, rows: int = 300, seed: int = 0, *, ties: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, predicted classes and probabilities of a head that is often right."""
    generator = np.random.default_rng([seed, classes])
    truth = generator.integers(0, classes, rows)
    logits = generator.normal(0, 1.5, (rows, classes)) + 1.2 * np.eye(classes)[truth]
    if ties:
        logits = np.round(logits)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, scores.argmax(axis=1), scores


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_metric_is_that_of_scikit_learn(classes, ties) -> None:
    truth, predicted, scores = answers(classes, ties=ties)
    positive = 1 if classes == 2 else None
    found = judge(
        truth, predicted, scores, tuple("abcde"[:classes]), positive, probabilities=True, patients=300
    )
    one = {"pos_label": 1, "average": "binary"} if classes == 2 else {"average": "macro"}
    considered = [1] if classes == 2 else range(classes)
    expected = {
        "loss": theirs.log_loss(truth, scores),
        "accuracy": theirs.accuracy_score(truth, predicted),
        "balanced_accuracy": theirs.balanced_accuracy_score(truth, predicted),
        "precision": theirs.precision_score(truth, predicted, **one),
        "sensitivity": theirs.recall_score(truth, predicted, **one),
        "f1": theirs.f1_score(truth, predicted, **one),
        "roc_auc": np.mean([theirs.roc_auc_score(truth == i, scores[:, i]) for i in considered]),
        "pr_auc": np.mean([theirs.average_precision_score(truth == i, scores[:, i]) for i in considered]),
        "mcc": theirs.matthews_corrcoef(truth, predicted),
        "brier": np.mean((scores - np.eye(classes)[truth]) ** 2) * (1 if classes == 2 else classes),
    }
    assert {name: found.values[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert found.confusion == theirs.confusion_matrix(truth, predicted).tolist()
    fits = []
    for index in considered:
        logit = np.log(scores[:, index] / (1 - scores[:, index])).reshape(-1, 1)
        fits.append(LogisticRegression(C=np.inf, tol=1e-10).fit(logit, truth == index))
    assert found.values["calibration_slope"] == pytest.approx(np.mean([fit.coef_ for fit in fits]), rel=1e-5)
    assert found.values["calibration_intercept"] == pytest.approx(
        np.mean([fit.intercept_ for fit in fits]), abs=1e-5
    )


def test_each_class_has_its_own_numbers_against_the_rest() -> None:
    truth, predicted, scores = answers(3)
    found = judge(truth, predicted, scores, tuple("abc"), None, probabilities=True, patients=300)
    assert list(found.per_class) == ["a", "b", "c"]
    for index, numbers in enumerate(found.per_class.values()):
        is_class = truth == index
        assert numbers["support"] == is_class.sum()
        assert numbers["sensitivity"] == pytest.approx((predicted[is_class] == index).mean())
        assert numbers["specificity"] == pytest.approx((predicted[~is_class] != index).mean())
        assert numbers["roc_auc"] == pytest.approx(theirs.roc_auc_score(is_class, scores[:, index]))
    for name in PER_CLASS:
        assert found.values[name] == pytest.approx(np.mean([of[name] for of in found.per_class.values()]))


def test_of_two_classes_each_has_its_own_numbers_too() -> None:
    found = judge(TRUTH, PREDICTED, PROBABILITIES, TWO, 0, probabilities=True, patients=10)
    covid, normal = found.per_class["covid"], found.per_class["normal"]
    assert covid["sensitivity"] == normal["specificity"] == found.values["sensitivity"]
    assert (covid["support"], normal["support"]) == (4, 6)


def test_mcc_is_undefined_where_all_rows_are_of_one_class_or_get_one() -> None:
    ones = np.ones(10, dtype=int)
    for truth, predicted, reason in (
        (TRUTH, ones, "normal was predicted for every sample"),
        (ones, PREDICTED, "normal is alone in the test part"),
    ):
        found = judge(truth, predicted, PROBABILITIES, TWO, 0, probabilities=True, patients=10)
        assert found.values["mcc"] is None
        assert found.reasons["mcc"] == reason


def test_calibration_is_undefined_where_probabilities_separate_the_classes() -> None:
    for p in (np.where(TRUTH == 0, SCORES / 2 + 0.5, SCORES / 2), np.full(10, 0.5)):
        found = judge(TRUTH, PREDICTED, np.column_stack([p, 1 - p]), TWO, 0, probabilities=True, patients=10)
        assert found.values["calibration_slope"] is None
        assert found.values["calibration_intercept"] is None
        assert "separate the classes, or are all the same" in found.reasons["calibration_slope"]
    alone = judge(TRUTH * 0, PREDICTED, PROBABILITIES, TWO, 0, probabilities=True, patients=10)
    assert alone.reasons["calibration_slope"] == "covid is alone or absent in the test part"


def test_probabilities_of_zero_and_one_have_a_finite_loss_and_slope() -> None:
    truth, predicted, _ = answers(2)
    sure = np.eye(2)[predicted].astype(np.float32)
    found = judge(truth, predicted, sure, TWO, 0, probabilities=True, patients=300)
    assert found.values["loss"] == pytest.approx(theirs.log_loss(truth, sure), rel=1e-6)
    assert 0 < found.values["calibration_slope"] < 0.5


def test_the_slope_of_an_overconfident_head_is_below_one() -> None:
    generator = np.random.default_rng(5)
    logit = generator.normal(0, 1.5, 4000)
    truth = (generator.random(4000) > 1 / (1 + np.exp(-logit))).astype(int)  # class 0 at high logits
    for factor, slope in ((1.0, 1.0), (2.0, 0.5)):
        p = 1 / (1 + np.exp(-factor * logit))
        found = judge(
            truth, (p < 0.5) * 1, np.column_stack([p, 1 - p]), TWO, 0, probabilities=True, patients=4000
        )
        assert found.values["calibration_slope"] == pytest.approx(slope, abs=0.1)
        assert found.values["calibration_intercept"] == pytest.approx(0, abs=0.15)


def test_the_calibration_error_needs_patients_enough_and_keeps_equal_probabilities_together() -> None:
    # Two values only, 0.2 and 0.9: 100 rows of each, of which 30 and 80 are of the class.
    p = np.repeat([0.2, 0.9], 100)
    truth = 1 - np.concatenate([np.arange(100) < 30, np.arange(100) < 80]).astype(int)
    scores = np.column_stack([p, 1 - p])
    for patients in (ECE_PATIENTS - 1, ECE_PATIENTS):
        found = judge(truth, (p < 0.5) * 1, scores, TWO, 0, probabilities=True, patients=patients)
        if patients < ECE_PATIENTS:
            assert found.values["ece"] is None
        else:
            assert found.values["ece"] == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)
    shuffled = np.random.default_rng(0).permutation(200)
    again = judge(
        truth[shuffled], (p < 0.5)[shuffled] * 1, scores[shuffled], TWO, 0, probabilities=True, patients=200
    )
    assert again.values["ece"] == pytest.approx(found.values["ece"])


@pytest.mark.parametrize("classes", [2, 3])
def test_a_row_that_counts_twice_is_as_good_as_two_rows(classes) -> None:
    truth, predicted, scores = answers(classes, 120)
    positive = 0 if classes == 2 else None
    times = np.random.default_rng(2).integers(0, 4, (3, 120))
    names = [name for name in METRICS if name != "ece"]  # its bins are of the rows as they are
    values, of_classes = measure(Answers(truth, predicted, scores, positive, True), times.astype(float), names)
    for draw, counts in enumerate(times):
        rows = np.repeat(np.arange(120), counts)
        labels = tuple("abc"[:classes])
        written = judge(
            truth[rows], predicted[rows], scores[rows], labels, positive, probabilities=True, patients=9
        )
        for name in names:
            assert values[name][draw] == pytest.approx(written.values[name], rel=1e-7), name
        for name in PER_CLASS:
            for index, label in enumerate(labels):
                assert of_classes[name][draw, index] == pytest.approx(written.per_class[label][name])
