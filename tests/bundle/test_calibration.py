"""Promises about probabilities that come true as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import archive
from icehouse.bundle.calibration import Calibration, calibrated
from icehouse.bundle.out_of_fold import OutOfFold
from sklearn.linear_model import LogisticRegression


def answers(scores: np.ndarray, truth: np.ndarray, probabilities: bool = True) -> OutOfFold:
    """Return answers for images of a patient each."""
    count, none = len(truth), np.zeros(0, dtype=np.int32)
    return OutOfFold(
        folds=5,
        probabilities=probabilities,
        scores=scores.astype(np.float32),
        truth=truth.astype(np.int32),
        predicted=scores.argmax(axis=1).astype(np.int32),
        unit=np.arange(count, dtype=np.int32),
        further_scores=np.zeros((0, scores.shape[1]), dtype=np.float32),
        unit_truth=none,
        further_unit=none,
    )


def too_sure(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities of three times the logits that they should have, the truth, and the right ones."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.2, (count, classes))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (generator.random((count, 1)) > right.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    sure = right**3
    return sure / sure.sum(axis=1, keepdims=True), truth, right


def loss(p: np.ndarray, truth: np.ndarray) -> float:
    return float(-np.mean(np.log(p[np.arange(len(truth)), truth])))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("count", "kind"), [(600, "sigmoid"), (3000, "isotonic")])
def test_a_head_that_is_too_sure_is_put_right(classes, count, kind) -> None:
    made = calibrated(answers(*too_sure(count, classes)[:2]), "abc"[:classes])
    assert made.kind == kind
    scores, truth, right = too_sure(20_000, classes, seed=1)
    p = made.apply(scores)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert p.min() > 0
    assert loss(p, truth) < loss(scores, truth) - 0.2
    assert loss(p, truth) < loss(right, truth) + 0.03


def test_patients_are_counted_and_not_their_slices() -> None:
    scores, truth, _ = too_sure(3000, 2)
    many = answers(scores, truth)
    many.unit[:] //= 10
    assert calibrated(many, "ab").kind == "sigmoid"


def test_a_sigmoid_is_the_logistic_regression_on_platts_targets() -> None:
    generator = np.random.default_rng(0)
    margin = 40 + 7 * generator.normal(0, 1, 200)
    truth = (margin + generator.normal(0, 7, 200) > 45).astype(int)
    made = calibrated(answers(np.column_stack([-margin, margin]), truth, probabilities=False), "ab")
    positive = int(truth.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (200 - positive + 2)
    target = np.where(truth == 1, high, low)
    reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(
        np.tile(margin.astype(np.float32), 2)[:, None],
        np.repeat([1, 0], 200),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    expected = [reference.coef_[0, 0], reference.intercept_[0]]
    np.testing.assert_allclose(made.curves[0], expected, rtol=1e-3)
    assert not made.logits


def test_classes_that_a_line_parts_still_have_a_finite_curve() -> None:
    margin = np.concatenate([np.linspace(-3, -2, 30), np.linspace(2, 3, 30)])
    made = calibrated(answers(np.column_stack([-margin, margin]), np.arange(60) // 30, False), "ab")
    p = made.apply(np.array([[3.0, -3.0], [-3.0, 3.0], [1e30, -1e30], [-1e30, 1e30]]))[:, 1]
    np.testing.assert_allclose(p[:2], [1 / 32, 31 / 32], atol=0.02)
    assert np.isfinite(p).all()


def test_scores_that_fall_or_never_change_give_the_share_of_the_class_and_it_is_said() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(100) % 4 // 3
    for column in (generator.normal(0, 0.2, 100) - truth, np.full(100, 0.7)):
        said: list[str] = []
        made = calibrated(answers(np.column_stack([-column, column]), truth, False), "ab", note=said.append)
        np.testing.assert_allclose(made.apply(np.array([[-9.0, 9.0], [9.0, -9.0]]))[:, 1], 0.25, atol=0.01)
        assert "'b' say nothing" in said[0]


def test_the_few_shares_of_neighbours_are_calibrated_as_they_are_and_sure_networks_in_logits() -> None:
    generator = np.random.default_rng(0)
    share = generator.integers(0, 6, 400) / 5
    truth = (generator.random(400) < 0.3 + 0.4 * share).astype(int)
    assert not calibrated(answers(np.column_stack([1 - share, share]), truth), "ab").logits
    assert calibrated(answers(*too_sure(400, 2)[:2]), "ab").logits


def test_certain_answers_are_brought_into_bounds() -> None:
    for count in (300, 2000):
        scores, truth, _ = too_sure(count, 3)
        made = calibrated(answers(scores, truth), "abc")
        p = made.apply(np.eye(3))
        assert (p > 0).all()
        assert (p.argmax(axis=1) == [0, 1, 2]).all()


@pytest.mark.parametrize("count", [300, 2000])
def test_a_calibration_is_the_same_after_a_bundle_and_refused_if_altered(tmp_path, count) -> None:
    scores, truth, _ = too_sure(count, 3)
    made = calibrated(answers(scores, truth), "abc")
    document, arrays = made.stored()

    def through(values: np.ndarray | None = None, **fields) -> Calibration:
        changed = arrays if values is None else {**arrays, "calibration/1": values}
        archive.write(tmp_path / "a.head", {"calibration": {**document, **fields}}, changed)
        return Calibration.restored(archive.read(tmp_path / "a.head"), 3)

    np.testing.assert_array_equal(through().apply(scores), made.apply(scores))
    curve = arrays["calibration/1"]
    for values in (-curve, curve[:0], curve * np.inf, curve.astype(np.float32), curve[::-1] * 1e200):
        with pytest.raises(errors.BundleDamaged), np.errstate(invalid="ignore"):
            through(values)
    for field in ({"kind": "spline"}, {"logits": "yes"}):
        with pytest.raises(errors.BundleDamaged):
            through(**field)
