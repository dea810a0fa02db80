"""Promises about the text of predictions and of bundles: every number, failures by name, the disclaimer."""

from __future__ import annotations

from typing import Any

from icehouse.report.prediction import bundle_text, prediction_text
from icehouse.report.tables import DISCLAIMER


def prediction(**more: Any) -> dict[str, Any]:
    return {
        "samples": 12,
        "frames": 12,
        "failed": 0,
        "predicted": {"covid": 5, "normal": 7},
        "undecided": 0,
        "in_training": 0,
        "ood_below_5_percent": 0,
        "out": "predictions.csv",
        "seconds": 2.0,
        "images_per_second": 6.0,
        "by": None,
        "failures": [],
        "notes": [],
        **more,
    }


def bundle(**more: Any) -> dict[str, Any]:
    return {
        "bundle": "model.head",
        "format_version": 1,
        "classes": ["covid", "normal"],
        "positive": "covid",
        "threshold": {"value": 0.31, "sensitivity": 0.95},
        "layers": ["avg_pool"],
        "dimensions": {"avg_pool": 2048},
        "recipe": {"backbone": "inceptionv3", "size": [299, 299]},
        "fingerprints": {"avg_pool": "3f1c"},
        "frames": "all",
        "head": {
            "text": "svm:C=10",
            "kind": "svm",
            "parameters": {"C": 10, "kernel": "rbf"},
            "tuned": {"gamma": 0.01},
            "reduce": "pca:256",
            "balance": None,
            "seed": 3,
        },
        "calibration": "sigmoid, fitted on 250 out-of-fold scores",
        "novelty": {"rows": 250, "dimensions": 64},
        "training": {
            "images": 250,
            "frames": 250,
            "views": 1,
            "patients": 120,
            "per_class": {"covid": 100, "normal": 150},
            "anonymized": False,
        },
        "expected": {
            "run": "run1",
            "rounds": 10,
            "metrics": {
                "accuracy": {"mean": 0.95, "low": 0.9, "high": 0.98},
                "roc_auc": {"mean": 0.99, "low": None, "high": None},
                "ece": {"mean": None, "low": None, "high": None},
            },
        },
        "made_with": {"icehouse": "0.4", "numpy": "2.4"},
        "notes": [],
        **more,
    }


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_prediction_says_how_many_are_what_and_where_the_rows_are() -> None:
    assert lines_of(prediction_text(prediction())) == [
        "predictions.csv: 12 samples, 2.0 s, 6.0 images/s",
        "predicted: 5 covid, 7 normal",
        DISCLAIMER,
    ]


def test_what_needs_a_second_look_has_its_line() -> None:
    found = prediction(
        frames=40,
        failed=1,
        undecided=2,
        in_training=3,
        ood_below_5_percent=4,
        by={"column": "patient", "rule": "any", "units": 5},
        notes=["A note."],
        failures=[{"path": "a.png", "reason": "not an image"}],
    )
    text = prediction_text(found)
    lines = lines_of(text)
    assert lines[0] == "predictions.csv: 12 samples (40 frames), 1 failed, 2.0 s, 6.0 images/s"
    assert "5 rows, by patient and the rule any" in lines
    assert "predicted: 5 covid, 7 normal, 2 undecided" in lines
    assert any(line.startswith("4 unlike the training images") for line in lines)
    assert "3 in the training set: the head has seen their labels" in lines
    assert "a.png: not an image" in lines
    assert lines[-2:] == ["A note.", DISCLAIMER]


def test_of_many_failures_the_first_ten_are_named() -> None:
    failures = [{"path": f"{number}.png", "reason": "not an image"} for number in range(13)]
    lines = lines_of(prediction_text(prediction(failed=13, failures=failures, predicted={})))
    assert "9.png: not an image" in lines
    assert "10.png: not an image" not in lines
    assert "and 3 more: --json lists all" in lines
    assert "predicted: nothing" in lines


def test_a_prediction_by_nothing_computed_names_no_speed() -> None:
    text = prediction_text(prediction(seconds=None, images_per_second=None, out=None))
    assert text.startswith("12 samples\n")


def test_a_bundle_says_what_it_is_and_what_to_expect() -> None:
    lines = lines_of(bundle_text(bundle()))
    for line in (
        "model.head: svm:C=10, bundle format 1",
        "classes: covid, normal",
        "positive: covid, from a probability of 0.31 on, chosen for a sensitivity of 0.95",
        "head: svm, reduce pca:256, seed 3",
        "parameters: C=10, kernel=rbf",
        "of these tuned: gamma=0.01",
        "calibration: sigmoid, fitted on 250 out-of-fold scores",
        "fitted on 250 images of 120 patients",
        "100 covid, 150 normal",
        "out-of-distribution reference: 250 vectors, 64 dimensions",
        "vectors: avg_pool 2048 dimensions; frames all",
        "backbone: inceptionv3",
        "size: 299-299",
        "fingerprint of avg_pool: 3f1c",
        "made with: icehouse 0.4, numpy 2.4",
        "What to expect, by 10 rounds of run1",
        "accuracy 0.950 0.900 to 0.980",
        "ROC-AUC 0.990 –",
    ):
        assert line in lines
    assert lines[-1] == DISCLAIMER
    assert not any("calibration error" in line for line in lines)


def test_what_a_bundle_lacks_is_said() -> None:
    training = {
        "images": 9,
        "frames": 90,
        "views": 4,
        "patients": None,
        "per_class": {"a": 4, "b": 3, "c": 2},
        "anonymized": True,
    }
    bare = bundle(
        positive=None,
        threshold=None,
        calibration=None,
        novelty=None,
        expected=None,
        training=training,
        notes=["A note."],
    )
    lines = lines_of(bundle_text(bare))
    assert "calibration: none" in lines
    assert "out-of-distribution reference: none" in lines
    assert "fitted on 9 images, 90 frames, 4 views of each" in lines
    assert "from an anonymized cache: whether an image was among them cannot be known" in lines
    assert "What to expect of new images is not known: no run was given when the head was fitted." in lines
    assert not any(line.startswith("positive") for line in lines)
    assert lines[-3:] == ["A note.", "", DISCLAIMER]


def test_numbers_of_bundles_of_several_layers_and_thousands_read_well() -> None:
    text = bundle_text(bundle(layers=["conv4", "conv5"], dimensions={"conv4": 1024, "conv5": 2048}))
    assert "vectors: conv4 1024, conv5 2048 dimensions; frames all" in lines_of(text)
    assert "12,345 samples" in prediction_text(prediction(samples=12345, frames=12345))
