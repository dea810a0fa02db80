"""Promises about intervals and tests: each against arithmetic that is written out here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from icehouse.classify import intervals


def test_the_corrected_interval_of_repeated_hold_out() -> None:
    # Mean 0.8; deviations −0.05, 0, 0.05: variance (0.0025 + 0.0025) / 2 = 0.0025. With 30 tested for 70
    # trained on, the standard error is √(0.0025 · (1/3 + 3/7)) = 0.05 · √(16/21); t of 2 degrees of freedom is
    # 4.30265.
    low, high = intervals.corrected_t([0.75, 0.8, 0.85], 30 / 70)
    reach = 4.30265 * 0.05 * math.sqrt(16 / 21)
    assert (low, high) == pytest.approx((0.8 - reach, 0.8 + reach), abs=1e-6)
    uncorrected = 4.30265 * 0.05 * math.sqrt(1 / 3)
    assert reach > 1.5 * uncorrected


def test_folds_have_the_ratio_of_one_fold_to_the_others() -> None:
    units = np.repeat(np.arange(20), 3)  # 20 patients with three images each, five folds of four patients
    test = np.stack([units % 5 == fold for fold in range(5)])
    assert intervals.tested_to_trained(~test, test, units) == pytest.approx(1 / 4)
    # Ten repeats of five folds: 1/(k·R) + 1/(k − 1) = 1/50 + 1/4; scores 0.6 and 0.8 by turns have the variance
    # 50 · 0.01 / 49, and t of 49 degrees of freedom at 0.975 is 2.00958.
    low, high = intervals.corrected_t([0.6, 0.8] * 25, 1 / 4)
    assert high - low == pytest.approx(2 * 2.00958 * math.sqrt(0.5 / 49 * (1 / 50 + 1 / 4)), abs=1e-5)


def test_patients_are_counted_and_not_their_images() -> None:
    units = np.array([7] * 10 + [3, 4, 5])
    test = np.array([[False] * 11 + [True] * 2])  # two patients tested, two trained on, 2 rows and 11
    assert intervals.tested_to_trained(~test, test, units) == 1


def test_the_corrected_t_test_of_two_heads() -> None:
    # Differences 1, 2, 3 hundredths: mean 0.02, variance 1e-4; standard error √(1e-4 · (1/3 + 1/2)) =
    # 0.0091287; t = 2.19089. With 2 degrees of freedom P(|T| > t) is 1 − t / √(t² + 2) = 1 − 2.19089 / 2.60768.
    difference, low, high, p = intervals.corrected_t_test([0.01, 0.02, 0.03], 0.5)
    assert difference == pytest.approx(0.02)
    assert p == pytest.approx(0.159830, abs=1e-5)
    assert (low, high) == pytest.approx((0.02 - 4.30265 * 0.0091287, 0.02 + 4.30265 * 0.0091287), abs=1e-6)
    assert intervals.corrected_t_test([-0.01, -0.02, -0.03], 0.5)[3] == pytest.approx(p)


def test_differences_without_a_variance() -> None:
    assert intervals.corrected_t_test([0.0, 0.0, 0.0], 0.5) == (0, 0, 0, 1)
    assert intervals.corrected_t_test([0.1, 0.1, 0.1], 0.5) == (0.1, 0.1, 0.1, 0)


def test_wilson_by_hand() -> None:
    # p = 0.9 of n = 10, z = 1.959964, z² = 3.841459: centre (0.9 + 3.841459/20) / 1.3841459 = 0.788987, reach
    # 1.959964 / 1.3841459 · √(0.009 + 3.841459/400) = 0.193137.
    assert intervals.wilson(0.9, 10) == pytest.approx((0.595850, 0.982124), abs=2e-6)
    assert intervals.wilson(1.0, 20) == pytest.approx((20 / (20 + 3.841459), 1), abs=1e-6)
    assert intervals.wilson(0.0, 20) == pytest.approx((0, 3.841459 / (20 + 3.841459)), abs=1e-6)
    assert intervals.wilson(0.3, 0) == (0, 1)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.8 times 4, 3, 2, 1: 0.04, 0.06, 0.06 and 0.8, none below the one before.
    assert intervals.holm([0.03, 0.8, 0.01, 0.02]) == pytest.approx([0.06, 0.8, 0.04, 0.06])
    assert intervals.holm([0.02, 0.011, 0.02]) == pytest.approx([0.04, 0.033, 0.04])
    assert intervals.holm([0.6, 0.7]) == [1, 1]
    assert intervals.holm([]) == []


def test_the_bootstrap_draws_whole_patients_within_classes() -> None:
    units = np.repeat([10, 11, 12, 13, 14, 15], [1, 2, 3, 1, 2, 3])
    truth = np.repeat([0, 0, 0, 1, 1, 1], [1, 2, 3, 1, 2, 3])
    of_patient = units == np.unique(units)[:, None]

    weights = intervals.bootstrap(lambda weights: weights, units, truth, draws=200, seed=4)
    assert weights.shape == (200, 12)
    for rows in of_patient:
        assert (weights[:, rows] == weights[:, rows][:, :1]).all()
    times = weights[:, [rows.argmax() for rows in of_patient]]
    np.testing.assert_array_equal(times[:, :3].sum(axis=1), 3)
    np.testing.assert_array_equal(times[:, 3:].sum(axis=1), 3)
    assert times.max() == 3
    assert times.mean(axis=0) == pytest.approx(np.ones(6), abs=0.2)
    np.testing.assert_array_equal(
        weights, intervals.bootstrap(lambda weights: weights, units, truth, draws=200, seed=4)
    )


def test_the_bootstrap_of_a_mean_has_the_width_that_theory_gives_it() -> None:
    generator = np.random.default_rng(0)
    right = (generator.random(400) < 0.8).astype(float)
    drawn = intervals.bootstrap(
        lambda weights: (weights @ right / weights.sum(axis=1))[:, None],
        np.arange(400),
        np.zeros(400, dtype=int),
        seed=0,
    )
    low, high = intervals.percentiles(drawn[:, 0])
    error = math.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert (low, high) == pytest.approx((right.mean() - 1.96 * error, right.mean() + 1.96 * error), abs=0.005)


def test_the_p_of_a_bootstrap_counts_zero_and_the_other_side_twice() -> None:
    drawn = np.array([0.1] * 96 + [0.0, -0.1, -0.2, np.nan])
    assert intervals.bootstrap_p(drawn, 0.08) == pytest.approx(2 * (3 + 1) / (99 + 1))
    assert intervals.bootstrap_p(-drawn, -0.08) == pytest.approx(2 * (3 + 1) / (99 + 1))
    assert intervals.bootstrap_p(np.zeros(99), 0.0) == 1
