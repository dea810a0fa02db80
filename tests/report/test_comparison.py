"""Promises about the text of a comparison: every number, what it means, what is left out, the disclaimer."""

from __future__ import annotations

from typing import Any

from icehouse.report.comparison import comparison_text
from icehouse.report.tables import DISCLAIMER


def pair(a: str, b: str, p: float | None = 0.2, **more: Any) -> dict[str, Any]:
    known = p is not None
    numbers = {"difference": 0.1 if known else None, "low": -0.05 if known else None, "high": 0.25, "p": p}
    return {
        "a": a,
        "b": b,
        **numbers,
        "p_holm": p,
        "rounds": 5,
        "undefined": 0,
        "verdict": "It differs.",
        **more,
    }


def document(pairs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "metric": "balanced_accuracy",
        "splits": 5,
        "rounds": 5,
        "rows": 80,
        "patients": 40,
        "left_out": [],
        "heads": {
            "mlp": {"mean": 0.9, "low": 0.8123, "high": 0.9512},
            "svm": {"mean": None, "low": None, "high": None, "defined": 0, "reason": "a reason"},
        },
        "pairs": pairs,
        "interval": "How the intervals are made.",
        **more,
    }


def test_the_text_has_means_differences_what_they_mean_and_the_disclaimer() -> None:
    text = comparison_text(document([pair("mlp", "svm", 0.00001)]))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "Balanced accuracy: mean over 5 splits, 80 rows of 40 patients"
    assert "mlp 0.9000 0.8123 to 0.9512" in lines
    assert "svm – –" in lines
    assert "mlp − svm +0.1000 -0.0500 to 0.2500 < 0.0001 < 0.0001" in lines
    assert "It differs." in lines
    assert "How the intervals are made." in lines
    assert lines[-1] == DISCLAIMER


def test_of_several_pairs_those_beyond_chance_are_named() -> None:
    pairs = [pair("a", "b", 0.01), pair("a", "c"), pair("b", "c", None)]
    text = comparison_text(document(pairs, patients=None, metric="roc_auc", splits=1))
    assert text.startswith("ROC-AUC: mean over 1 split, 80 rows\n")
    assert "More than chance explains, 3 comparisons considered: a − b." in text
    text = comparison_text(document(pairs[1:]))
    assert "No difference is more than chance explains, 2 comparisons considered." in text
    assert "No two heads can be compared by it." in comparison_text(document([pairs[2], pairs[2]]))


def test_what_is_left_out_is_named() -> None:
    gone = [{"path": f"{n}.png", "rows": 1, "in": ["one"]} for n in range(5)]
    text = comparison_text(document([pair("mlp", "svm")], left_out=gone))
    assert "svm: defined in 0 of 5 rounds (a reason); the others are left out of its differences." in text
    assert "0.png (only in one), 1.png (only in one), 2.png (only in one) and 2 more." in text
