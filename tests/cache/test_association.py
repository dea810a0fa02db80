"""Promises about Cramér's V: what is independent has none, what tells all has 1, chance alone adds nothing."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.cache.association import cramers_v
from scipy.stats import chi2_contingency


def test_what_says_all_of_the_other_has_1_and_what_says_nothing_0() -> None:
    labels = ["covid"] * 50 + ["normal"] * 50
    assert cramers_v(labels, ["PNG"] * 50 + ["JPEG"] * 50).v == pytest.approx(1, abs=1e-12)
    assert cramers_v(labels, ["PNG", "JPEG"] * 50).v == 0
    assert cramers_v(labels, ["PNG"] * 100) == (0, 1)


def test_a_value_of_one_class_only_tells_that_class_wholly() -> None:
    labels = ["covid"] * 20 + ["normal"] * 70 + ["pneumonia"] * 60
    assert cramers_v(labels, ["web"] * 20 + ["hospital"] * 130).v > 0.99


def test_many_values_that_chance_dealt_out_tell_nothing() -> None:
    generator = np.random.default_rng(0)
    labels = generator.choice(["a", "b", "c"], 200).tolist()
    means = [cramers_v(labels, generator.choice(list("klmnopqr"), 200).tolist()).v for _ in range(50)]
    assert np.mean(means) < 0.06  # uncorrected, it is 0.18


def test_it_is_bergsmas_formula_with_the_chi_squared_of_scipy() -> None:
    table = np.array([[30, 12, 5], [8, 25, 20]])
    first = np.repeat(["a", "b"], table.sum(axis=1)).tolist()
    second = [level for row in table for level in np.repeat(["k", "l", "m"], row)]
    expected = chi2_contingency(table, correction=False)
    n = table.sum()
    phi = expected.statistic / n - 2 / (n - 1)
    found = cramers_v(first, second)
    assert found.v == pytest.approx((phi / (1 - 1 / (n - 1))) ** 0.5)
    assert found.p == pytest.approx(expected.pvalue)
