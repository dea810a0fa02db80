"""Promises about curves: areas are the metrics', rounds stay apart, what has no curve is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from icehouse.classify.measures import calibration_error
from icehouse.report.calibration import bins, calibration
from icehouse.report.confusion import confusion
from icehouse.report.curves import curves, precision_recall, roc
from icehouse.report.outcome import results
from icehouse.report.parts import Folded
from icehouse.report.training_curves import training
from making_runs import clouds_cache, figures_of, judged_run, parts_of, table_of, words_of

MANY = [f"class {number}" for number in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    cache = clouds_cache(folder / "features.h5", ["covid", "normal"], 120)
    heads = ["mlp:epochs=6", "svm", "logistic"]
    return judged_run(cache, folder / "run", heads, rounds=4, validation=0.2, controls=False)


@pytest.fixture(scope="module")
def many(folder):
    cache = clouds_cache(folder / "many.h5", MANY, 240, patients=False)
    return judged_run(cache, folder / "many", ["svm", "logistic"], rounds=3, controls=False)


def test_the_areas_under_the_curves_are_the_rounds_metrics(run, many) -> None:
    for judged in (run, many):
        for records in judged.records.values():
            for record in records:
                for index, name in enumerate(judged.document["classes"]):
                    is_class = judged.stored.label[record.rows] == name
                    x, y = roc(is_class, record.scores[:, index])
                    of_class = record.judgement.per_class[name]
                    assert np.trapezoid(y, x) == pytest.approx(of_class["roc_auc"])
                    x, y = precision_recall(is_class, record.scores[:, index])
                    assert x[0] == 0
                    assert x[-1] == 1
                    assert np.sum(np.diff(x) * y[1:]) == pytest.approx(of_class["pr_auc"])


def test_each_round_is_a_line_of_its_own_and_the_mean_lies_over_them(run) -> None:
    section = curves([run])
    for name, metric in (("roc-1", "roc_auc"), ("precision-recall-1", "pr_auc")):
        figure = figures_of(section)[name]
        thin, thick = list(figure.plot.data)[1:3]
        assert list(thin.x).count(None) == run.document["rounds"] - 1
        area = np.trapezoid(thick.y, thick.x) if metric == "roc_auc" else np.mean(thick.y[1:])
        assert area == pytest.approx(run.document["heads"]["mlp:epochs=6"][metric]["mean"], abs=0.01)
        assert f"{run.document['heads']['svm'][metric]['mean']:.4f}" in figure.alt
        assert [trace.name for trace in figure.plot.data if trace.showlegend is None] == list(run.records)
    recall = figures_of(section)["precision-recall-1"].plot
    assert recall.data[1].line.shape == "vh"  # no straight lines between precisions
    shares = [np.mean(run.stored.label[record.rows] == "covid") for record in run.records["svm"]]
    assert recall.data[0].y[0] == pytest.approx(np.mean(shares), abs=1e-4)


def test_of_many_classes_each_stands_against_the_rest(many) -> None:
    section = curves([many])
    titles = [part.title for part in parts_of(section, Folded)]
    assert titles == [f"{name} against the rest" for name in many.document["classes"]]
    drawn = figures_of(section)
    assert len(drawn) == 2 * len(MANY)
    assert sum(len(trace.x) for figure in drawn.values() for trace in figure.plot.data) < 40_000
    matrix = figures_of(confusion([many]))["confusion-1"].plot.data[0]
    np.testing.assert_array_equal(matrix.customdata, many.document["confusion"]["svm"]["sum"])
    panels = [axis.title.text for axis in figures_of(results([many]))["rounds"].plot.select_xaxes()]
    assert "sensitivity" not in panels  # averaged over classes, it is the balanced accuracy


def test_rounds_without_a_curve_are_left_out_and_counted(run) -> None:
    label = run.stored.label.copy()
    label[run.records["svm"][0].rows] = "covid"  # as if the first test part had no other class
    section = curves([replace(run, stored=replace(run.stored, label=label))])
    assert "svm: 3 of 4 rounds have a curve." in figures_of(section)["roc-1"].caption
    nobody = np.full_like(label, "normal")
    section = curves([replace(run, stored=replace(run.stored, label=nobody))])
    assert not figures_of(section)
    assert "No curves of mlp:epochs=6, svm, logistic" in words_of(section, "note")


def test_calibration_is_of_heads_with_probabilities_and_counts_all_judgements(run) -> None:
    section = calibration([run])
    assert "svm" in words_of(section, "note")
    figure = figures_of(section)["calibration-1"]
    assert [trace.name for trace in figure.plot.data[1:]] == ["mlp:epochs=6", "logistic"]
    judgements = sum(len(record.rows) for record in run.records["logistic"])
    for trace in figure.plot.data[1:]:
        assert sum(each[2] for each in trace.customdata) == judgements
    assert f"{judgements} of {run.document['tested']['rows']} images" in figure.caption
    entry = run.document["heads"]["logistic"]["calibration_slope"]
    numbers = table_of(section, "Calibrated probabilities")
    assert numbers.rows[1][numbers.headings.index("calibration slope")].sort == entry["mean"]
    assert "needs 200 tested patients" in words_of(section, "note")


def test_the_bins_are_those_of_the_calibration_error() -> None:
    generator = np.random.default_rng(0)
    p = np.round(generator.random(500), 2) ** 3  # with many that are equal
    is_class = generator.random(500) < p
    found = bins(p, is_class)
    error = sum(each.judgements * abs(each.said - each.found) for each in found) / 500
    assert error == pytest.approx(calibration_error(p, is_class, np.ones((1, 500)))[0])


def test_training_is_the_mean_of_the_rounds_at_each_epoch(run, many) -> None:
    figure = figures_of(training([run]))["training-loss"]
    lines = {trace.name: trace for trace in figure.plot.data if trace.name}
    assert list(lines) == ["mlp:epochs=6, training part", "mlp:epochs=6, validation part"]
    histories = run.document["history"]["mlp:epochs=6"]
    for line, name in zip(lines.values(), ("loss", "val_loss"), strict=True):
        mean = np.mean([history[name] for history in histories], axis=0)
        assert list(line.y) == pytest.approx(mean, abs=1e-4)
        assert list(line.x) == [1, 2, 3, 4, 5, 6]
    assert training([many]) is None
