"""Promises about units: who is one, what is true of it, and which share of slices `auto` takes."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify.patients import NO_LABEL, SEVERAL_LABELS, choose, roll_up, truth_of, units_of
from icehouse.classify.rules import parse


def test_slices_of_one_name_are_one_unit_and_those_without_are_of_their_file() -> None:
    names = np.array(["ann", "", "bob", "", "ann", " ann ", ""])
    files = np.array(["1.png", "ann", "3.png", "v.nii", "5.png", "6.png", "v.nii"])
    units = units_of(names, files)
    assert units.number.tolist() == [0, 1, 2, 3, 0, 0, 3]
    assert units.names.tolist() == ["ann", "ann", "bob", "v.nii"]  # the file ann is not the patient ann


def test_the_label_of_a_unit_is_that_of_its_labelled_slices_if_they_agree() -> None:
    unit = np.array([0, 0, 1, 1, 2, 3, 3])
    labels = np.array([1, 1, 0, 1, NO_LABEL, NO_LABEL, 0])
    assert truth_of(unit, 5, labels).tolist() == [1, SEVERAL_LABELS, NO_LABEL, 0, NO_LABEL]


def test_units_do_not_hang_on_the_order_of_their_slices() -> None:
    generator = np.random.default_rng(3)
    unit, scores = generator.integers(0, 20, 200), generator.random((200, 2))
    decided, selected = scores.argmax(axis=1), generator.random(200) < 0.8
    order = generator.permutation(200)
    for rule in map(parse, ("any", "fraction:0.4", "mean", "max")):
        one = roll_up(rule, unit, 21, scores, decided, selected, positive=0)
        other = roll_up(rule, unit[order], 21, scores[order], decided[order], selected[order], positive=0)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        assert one.slices.sum() == 200
        assert (one.slices[20], one.predicted[20]) == (0, -1)


# What auto chooses


def units_with(shares: list[tuple[int, int]]):
    """Return unit and decided class of slices: of each unit so many are positive, of so many."""
    unit = np.repeat(np.arange(len(shares)), [of for _, of in shares])
    decided = np.concatenate([np.arange(of) < positive for positive, of in shares]).astype(np.int64)
    return unit, decided, np.ones(len(unit), dtype=bool)


def test_auto_puts_the_share_in_the_middle_between_the_two_kinds_of_patients() -> None:
    unit, decided, selected = units_with([(0, 5), (1, 10), (2, 10), (6, 10), (5, 5)])
    rule = choose(unit, np.array([0, 0, 0, 1, 1]), decided, selected, 1)
    assert rule.fraction == Fraction(4, 10)
    assert rule == parse(rule.text)


def test_the_chosen_share_has_the_best_balanced_accuracy_of_all_shares() -> None:
    generator = np.random.default_rng(8)
    for _ in range(50):
        shares = [(int(generator.integers(0, of + 1)), of) for of in map(int, generator.integers(1, 9, 12))]
        truth = np.arange(12) % 2
        slices = units_with(shares)
        rule = choose(slices[0], truth, *slices[1:], 1)

        def balanced(share, shares=shares, truth=truth) -> float:
            called = np.array([positive >= share * of for positive, of in shares])
            return (called[truth == 1].mean() + (~called[truth == 0]).mean()) / 2

        observed = {Fraction(*pair) for pair in shares} - {
            Fraction(0)
        }  # any other share answers like one of them
        assert balanced(rule.fraction) == pytest.approx(max(map(balanced, observed)))


def test_of_several_best_shares_auto_takes_the_middle_of_the_widest_stretch() -> None:
    # 0.1 to 0.2 and 0.3 to 0.9 tell these apart equally well.
    unit, decided, selected = units_with([(1, 10), (2, 10), (3, 10), (9, 10)])
    rule = choose(unit, np.array([0, 1, 0, 1]), decided, selected, 1)
    assert rule.text == "fraction:0.6"


def test_shares_that_almost_touch_are_kept_apart_by_as_many_digits_as_it_takes() -> None:
    unit, decided, selected = units_with([(499, 1000), (500, 1001)])
    rule = choose(unit, np.array([0, 1]), decided, selected, 1)
    assert Fraction(499, 1000) < rule.fraction <= Fraction(500, 1001)
    assert parse(rule.text) == rule


def test_patients_without_one_label_or_without_a_selected_slice_do_not_decide() -> None:
    unit, decided, selected = units_with([(1, 10), (9, 10), (10, 10), (0, 10), (5, 10)])
    selected[unit == 4] = False
    truth = np.array([0, 1, SEVERAL_LABELS, NO_LABEL, 0])
    assert choose(unit, truth, decided, selected, 1).text == "fraction:0.5"


def test_auto_needs_patients_of_both_classes() -> None:
    unit, decided, selected = units_with([(1, 2), (2, 2)])
    with pytest.raises(errors.ClassesError, match="one class has none"):
        choose(unit, np.array([1, 1]), decided, selected, 1)


def test_where_no_slice_was_ever_called_positive_auto_asks_for_half_of_them() -> None:
    unit, decided, selected = units_with([(0, 2), (0, 2)])
    assert choose(unit, np.array([0, 1]), decided, selected, 1).text == "fraction:0.5"
