"""Promises about thresholds for a sensitivity that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import archive
from icehouse.bundle.thresholds import Threshold, threshold_for


def test_it_is_the_largest_threshold_that_finds_the_share_asked_for() -> None:
    generator = np.random.default_rng(0)
    is_positive = generator.random(300) < 0.4
    p = np.round(np.clip(0.3 * is_positive + generator.random(300) * 0.7, 0, 1), 2)  # with ties
    for asked in (0.05, 0.5, 0.9, 0.95, 0.999, 1.0):
        made = threshold_for(asked, p, is_positive)
        assert made.sensitivity == np.mean(p[is_positive] >= made.value) >= asked
        assert made.specificity == np.mean(p[~is_positive] < made.value)
        larger = np.unique(p)[np.unique(p) > made.value]
        assert all(np.mean(p[is_positive] >= value) < asked for value in larger)


def test_shares_that_floats_cannot_hold_ask_for_no_more_than_they_say() -> None:
    p = np.append(np.arange(1, 11) / 10, 0.05)
    made = threshold_for(0.9, p, p > 0.07)
    assert (made.value, made.sensitivity, made.note) == (0.2, 0.9, None)
    assert threshold_for(0.7, p, p > 0.07).value == 0.4


def test_asked_for_all_it_is_the_lowest_positive_one() -> None:
    made = threshold_for(1.0, np.array([0.2, 0.5, 0.7, 0.3]), np.array([False, True, True, False]))
    assert (made.value, made.sensitivity, made.specificity) == (0.5, 1.0, 1.0)


def test_too_few_positives_for_what_is_asked_are_told() -> None:
    p, is_positive = np.linspace(0, 1, 40), np.arange(40) >= 20
    assert threshold_for(0.9, p, is_positive).note is None
    note = threshold_for(0.99, p, is_positive).note
    assert note is not None
    assert "0.99" in note
    assert "20 positives" in note
    assert "0.86 or more" in note  # 0.05 ** (1 / 20)


@pytest.mark.parametrize("asked", [0, -0.1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(asked) -> None:
    with pytest.raises(errors.UsageError, match="above 0 and up to 1"):
        threshold_for(asked, np.array([0.1, 0.9]), np.array([False, True]))


def test_nothing_positive_or_nothing_else_is_refused() -> None:
    for is_positive, missing in ((False, "no positives"), (True, "no others")):
        with pytest.raises(errors.UsageError, match=missing):
            threshold_for(0.9, np.array([0.1, 0.9]), np.full(2, is_positive))


def test_a_threshold_is_the_same_after_a_bundle_and_refused_if_altered(tmp_path) -> None:
    made = threshold_for(0.9, np.linspace(0.1, 0.8, 30) ** 2, np.arange(30) % 3 > 0)
    archive.write(tmp_path / "a.head", {"threshold": made.stored()[0]}, made.stored()[1])
    assert Threshold.restored(archive.read(tmp_path / "a.head")) == made
    for name, value in (("value", 1.5), ("asked", 0), ("positives", 0), ("specificity", "all")):
        archive.write(tmp_path / "b.head", {"threshold": {**made.stored()[0], name: value}}, {})
        with pytest.raises(errors.BundleDamaged):
            Threshold.restored(archive.read(tmp_path / "b.head"))
