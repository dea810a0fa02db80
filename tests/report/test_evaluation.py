"""Promises about an evaluation's text: every number with its interval, every dash with its reason."""

from __future__ import annotations

from typing import Any

import numpy as np
from icehouse.bundle.evaluation import evaluate
from icehouse.report.evaluation import evaluation_text
from icehouse.report.tables import DISCLAIMER


def document(classes: tuple[str, ...] = ("covid", "normal"), each: int = 20, **more: Any) -> dict[str, Any]:
    """Return the evaluation of a head that takes every fourth image for the next class, by 0.7 to 0.3."""
    count = len(classes)
    truth = np.repeat(np.arange(count), each)
    predicted = np.where(np.arange(len(truth)) % 4 == 0, (truth + 1) % count, truth)
    scores = np.full((len(truth), count), 0.3 / (count - 1))
    scores[np.arange(len(truth)), predicted] = 0.7
    predicted[1] = more.pop("first", predicted[1])
    options = {name: more.pop(name) for name in ("prevalence", "counted") if name in more}
    positive = 0 if count == 2 else None
    found = evaluate(
        truth,
        predicted,
        scores,
        np.arange(len(truth)),
        classes,
        positive,
        probabilities=True,
        draws=200,
        **options,
    )
    return {**found, **more}


def lines_of(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_everything_evaluated_has_its_line() -> None:
    lines = lines_of(
        evaluation_text(
            document(
                first=-1,
                bundle="svm.head",
                data="elsewhere/",
                samples=45,
                failed=2,
                unlabelled=1,
                unknown_labels={"tb": 1, "flu": 1},
                positive="covid",
                threshold=0.5,
                in_training={"images": 3, "patients": None},
                notes=["A note."],
            )
        )
    )
    assert lines[0] == (
        "svm.head on elsewhere/: 45 samples, 2 failed, 1 without a label, 2 of classes that the bundle does "
        "not know (1 tb, 1 flu)"
    )
    assert lines[1].startswith("39 samples judged, of 40 patients; 1 undecided, in none of the numbers below (")
    assert "positive class: covid, from a probability of 0.5 on" in lines
    assert "BEWARE: trained on, so that the numbers flatter the head: 3 images." in lines
    assert lines[-3:] == ["A note.", "", DISCLAIMER]


def test_the_confusion_matrix_has_counts_and_shares_of_each_true_class() -> None:
    lines = lines_of(evaluation_text(document()))
    start = lines.index("40 judgements, and their share of each true class")
    assert lines[start + 1] == "true class as covid as normal"
    assert lines[start + 3 : start + 5] == ["covid 15 (75.0%) 5 (25.0%)", "normal 5 (25.0%) 15 (75.0%)"]


def test_metrics_and_classes_have_their_intervals() -> None:
    found = document()
    lines = lines_of(evaluation_text(found))
    accuracy = found["accuracy"]
    assert f"accuracy 0.7500 {accuracy['low']:.4f} to {accuracy['high']:.4f}" in lines
    sensitivity, auc = found["per_class"]["normal"]["sensitivity"], found["per_class"]["normal"]["roc_auc"]
    (line,) = [line for line in lines if line.startswith("normal 20 20")]
    assert f" 0.750 ({sensitivity['low']:.3f} to {sensitivity['high']:.3f}) " in line
    assert line.endswith(f" 0.750 ({auc['low']:.3f} to {auc['high']:.3f})")
    assert found["interval"] in lines
    assert "ECE: needs 200 tested patients; there are 40" in lines


def test_what_is_undefined_or_has_no_interval_says_why_once() -> None:
    lines = lines_of(evaluation_text(document(each=8)))
    assert "accuracy 0.7500" in " ".join(lines)
    (reason,) = [line for line in lines if "covid has 8, normal has 8" in line and ":" in line[:80]]
    assert reason.startswith("loss, F1, ROC-AUC, PR-AUC, MCC, Brier, calibration slope and intercept: ")
    assert reason.endswith("an interval needs 10 patients of each class; covid has 8, normal has 8")


def test_calibration_says_how_often_it_came_true() -> None:
    lines = lines_of(evaluation_text(document()))
    start = lines.index("Calibration: the probability of covid, and how often that was the truth")
    assert lines[start + 3].startswith("0.300 to 0.300 0.300 0.250 ")
    assert lines[start + 4].startswith("0.700 to 0.700 0.700 0.750 ")
    assert lines[start + 3].endswith(" 20 20")
    three = lines_of(evaluation_text(document(("a", "b", "c"))))
    assert "Calibration: the probability of the class predicted, and how often that was the truth" in three


def test_a_prevalence_has_its_own_table() -> None:
    found = document(prevalence=0.1)
    lines = lines_of(evaluation_text(found))
    start = lines.index("Where 0.1 of all are covid (in these data 0.500)")
    precision = found["prevalence"]["precision"]
    assert lines[start + 3] == f"precision (PPV) 0.2500 {precision['low']:.4f} to {precision['high']:.4f}"
    assert lines[start + 4].startswith("NPV 0.9643 ")
    assert not any(line.startswith("Where") for line in lines_of(evaluation_text(document())))


def test_patients_are_called_so_where_slices_were_put_together() -> None:
    text = evaluation_text(document(by="patient", rule="fraction:0.1"))
    assert text.startswith("40 patients judged\n")
    assert "each patient from its images by the rule fraction:0.1" in text


def test_images_are_called_so_where_no_patients_are_known() -> None:
    text = evaluation_text(document(counted="images"))
    assert text.startswith("40 samples judged, of 40 images\n")
    assert "over the 40 images" in text
    assert " patients " not in text.split("Each class")[1]


def test_where_nothing_was_decided_there_are_no_tables() -> None:
    found = document(each=2)
    nothing = evaluate(
        np.array([0, 1]),
        np.array([-1, -1]),
        np.zeros((2, 2)),
        np.arange(2),
        ("covid", "normal"),
        0,
        probabilities=True,
    )
    assert set(nothing) == set(found)
    lines = lines_of(evaluation_text(nothing))
    assert lines[0].startswith("0 samples judged, of 2 patients; 2 undecided")
    assert lines[-1] == DISCLAIMER
    assert len(lines) == 3
