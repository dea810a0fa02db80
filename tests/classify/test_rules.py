"""Promises about rules: which there are, and what each makes of a patient's slices."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify.patients import UNDECIDED, roll_up
from icehouse.classify.rules import Rule, parse


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("any", Rule("any", "any")),
        ("mean", Rule("mean", "mean")),
        ("max", Rule("max", "max")),
        ("auto", Rule("auto", "auto")),
        ("fraction:0.1", Rule("fraction:0.1", "fraction", Fraction(1, 10))),
        ("fraction:.25", Rule("fraction:.25", "fraction", Fraction(1, 4))),
        ("fraction:1", Rule("fraction:1", "fraction", Fraction(1))),
    ],
)
def test_a_rule_is_read_as_it_is_typed(text, rule) -> None:
    assert parse(text) == rule


@pytest.mark.parametrize(
    "text",
    ["fraction:0", "fraction:1.01", "fraction:", "fraction", "fraction:-0.1", "fraction:nan", "fraction:1e-9"],
)
def test_a_share_that_is_none_is_refused_with_an_example(text) -> None:
    with pytest.raises(errors.UsageError, match=r"such as fraction:0\.1"):
        parse(text)


@pytest.mark.parametrize("text", ["most", "", "Any", " any", "median", None, 0.1])
def test_another_rule_is_refused_with_those_that_there_are(text) -> None:
    with pytest.raises(errors.UsageError, match="there are any, fraction:F"):
        parse(text)


def test_a_share_written_to_take_memory_takes_none() -> None:
    for text in ("fraction:1e-999999999", "fraction:0." + "0" * 10**6 + "1"):
        with pytest.raises(errors.UsageError):
            parse(text)


# One patient's slices


def answer(rule: str, positive_of: list[float], *, threshold: float | None = None, decided=None, selected=None):
    """Return what a rule makes of slices with these scores of the positive class, decided at a half."""
    scores = np.column_stack([1 - np.array(positive_of), positive_of])
    decided = scores.argmax(axis=1) if decided is None else np.array(decided)
    selected = np.ones(len(scores), dtype=bool) if selected is None else np.array(selected)
    unit = np.zeros(len(scores), dtype=np.int64)
    return roll_up(parse(rule), unit, 1, scores, decided, selected, positive=1, threshold=threshold)


@pytest.mark.parametrize(
    ("rule", "slices", "positive"),
    [
        ("any", [0.9, 0.1, 0.1], True),
        ("any", [0.4, 0.4, 0.4], False),
        ("fraction:0.5", [0.9, 0.1], True),
        ("fraction:0.5", [0.9, 0.1, 0.1], False),
        ("fraction:1", [0.9, 0.9, 0.4], False),
        ("fraction:1", [0.9, 0.9], True),
        ("mean", [0.9, 0.3, 0.4], True),
        ("mean", [0.9, 0.2, 0.2], False),
        ("max", [0.9, 0.2, 0.2], True),
        ("max", [0.7, 0.2, 0.2], True),  # though the surest slice is one against
        ("max", [0.4, 0.2, 0.2], False),
    ],
)
def test_each_rule_says_what_it_is_called(rule, slices, positive) -> None:
    assert answer(rule, slices).predicted.tolist() == [int(positive)]


def test_a_tenth_of_thirty_slices_is_three_whatever_floats_make_of_it() -> None:
    assert 0.07 * 100 > 7  # what a product of floats would ask for
    for share, of, needed in (("0.1", 30, 3), ("0.07", 100, 7), ("0.29", 100, 29), ("0.3333", 9999, 3333)):
        enough = [0.9] * needed + [0.1] * (of - needed)
        assert answer(f"fraction:{share}", enough).predicted.tolist() == [1]
        assert answer(f"fraction:{share}", [0.1, *enough[1:]]).predicted.tolist() == [0]


def test_the_score_is_what_the_rule_decides_by() -> None:
    slices = [0.9, 0.6, 0.1, 0.2]
    assert answer("mean", slices).scores[0, 1] == pytest.approx(0.45)
    assert answer("any", slices).scores[0].tolist() == [0.9, 0.9]
    assert answer("max", slices).scores[0].tolist() == [0.9, 0.9]
    assert answer("fraction:0.1", slices).scores[0].tolist() == [0.5, 0.5]


def test_a_threshold_moves_mean_and_max_and_is_reached_by_equal_scores() -> None:
    assert answer("mean", [0.3, 0.5], threshold=0.35).predicted.tolist() == [1]
    assert answer("mean", [0.3, 0.5], threshold=0.45).predicted.tolist() == [0]
    assert answer("max", [0.3, 0.5], threshold=0.5).predicted.tolist() == [1]
    assert answer("max", [0.3, 0.5], threshold=0.51).predicted.tolist() == [0]
    for score in (0.1, 0.3, 0.7):  # sums of which are rounded
        for count in range(1, 40):
            assert answer("mean", [score] * count, threshold=score).predicted.tolist() == [1]


def test_slices_that_are_not_selected_or_rejected_have_no_say() -> None:
    for rule in ("any", "fraction:0.5", "mean", "max"):
        found = answer(rule, [0.1, 0.2, 0.9, 0.9], decided=[0, 0, 1, -1], selected=[True, True, False, True])
        assert found.predicted.tolist() == [0]
        assert (found.slices[0], found.selected[0], found.positive[0]) == (4, 2, 0)


def test_without_a_selected_slice_nothing_is_decided() -> None:
    for rule in ("any", "fraction:0.5", "mean", "max"):
        found = answer(rule, [0.9, 0.9], decided=[1, -1], selected=[False, True])
        assert found.predicted.tolist() == [UNDECIDED]
        assert np.isnan(found.scores).all()
        assert (found.slices[0], found.selected[0], found.positive[0]) == (2, 0, 0)


def test_of_several_classes_only_mean_and_max_can_tell() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.7, 0.1]])
    asked = (np.zeros(3, dtype=np.int64), 1, scores, scores.argmax(axis=1), np.ones(3, dtype=bool))
    assert roll_up(parse("mean"), *asked, positive=None).predicted.tolist() == [1]
    assert roll_up(parse("max"), *asked, positive=None).predicted.tolist() == [1]
    for rule in ("any", "fraction:0.1", "auto"):
        with pytest.raises(errors.UsageError, match="needs two classes"):
            roll_up(parse(rule), *asked, positive=None)


def test_auto_is_no_rule_until_it_has_been_chosen() -> None:
    with pytest.raises(errors.UsageError, match="must be chosen on training data"):
        answer("auto", [0.9])
