"""Promises about shares of few patients: exact intervals, and images that are counted for what they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from icehouse.classify.shares import Patients, clopper_pearson, mean_interval


def at_least(hits: int, n: int, p: float) -> float:
    """Return the probability of so many hits or more, summed term by term."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(hits, n + 1))


def test_clopper_pearson_leaves_a_fortieth_on_either_side() -> None:
    low, high = clopper_pearson(48 / 51, 51)
    assert (low, high) == pytest.approx((0.8376, 0.9877), abs=1e-4)
    assert at_least(48, 51, low) == pytest.approx(0.025)
    assert 1 - at_least(49, 51, high) == pytest.approx(0.025)
    assert clopper_pearson(0.0, 10) == pytest.approx((0, 1 - 0.025**0.1))  # 0.3085
    assert clopper_pearson(1.0, 10) == pytest.approx((0.025**0.1, 1))
    assert clopper_pearson(1 / 3, 0) == (0, 1)


def test_hits_that_are_no_whole_number_lie_between_those_that_are() -> None:
    (low_2, high_2), (low, high), (low_3, high_3) = (clopper_pearson(hits / 7, 7) for hits in (2, 2.4, 3))
    assert low_2 < low < low_3
    assert high_2 < high < high_3


def test_a_patient_with_most_of_the_images_does_not_make_many_patients() -> None:
    truth = np.zeros(108, dtype=np.int64)
    alike = Patients(np.repeat(np.arange(9), 12), truth, truth)
    one_has_most = Patients(np.repeat(np.arange(9), [100] + [1] * 8), truth, truth)
    everyone = np.ones(108, dtype=bool)
    assert alike.exact(0.75, everyone) == pytest.approx(clopper_pearson(0.75, 9))
    cases = 108**2 / (100**2 + 8)
    assert one_has_most.exact(0.75, everyone) == pytest.approx(clopper_pearson(0.75, cases))
    assert one_has_most.exact(0.75, everyone)[0] < 0.1


def test_the_interval_of_a_mean_has_its_parts_distances_in_quadrature() -> None:
    low, high = mean_interval([0.8, 0.6], [(0.5, 0.9), (0.2, 0.9)])
    assert (low, high) == pytest.approx((0.7 - 0.5 / 2, 0.7 + math.hypot(0.1, 0.3) / 2))
