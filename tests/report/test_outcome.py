"""Promises about results as sections: every number in them is the run's, and every name is shown as it is."""

from __future__ import annotations

import html
from dataclasses import replace

import numpy as np
import pytest
from icehouse.classify.comparison import compare_runs
from icehouse.classify.scheduling import Stopped
from icehouse.report import charts
from icehouse.report.calibration import calibration
from icehouse.report.confusion import confusion
from icehouse.report.curves import curves
from icehouse.report.outcome import results
from icehouse.report.parts import Figure, Folded, Table
from icehouse.report.training_curves import training
from icehouse.report.verdicts import comparison, controls
from making_runs import clouds_cache, figures_of, judged_run, parts_of, table_of, text_of, words_of
from sklearn.linear_model import LogisticRegression

HOSTILE = "<b>bold</b><a href='https://x'>&amp;%{x}$y$"
CLASSES = ["covid<br>19", "normal"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(folder):
    """A run of a head with a hostile name and of one without probabilities, by patient, too."""
    cache = clouds_cache(folder / "features.h5", CLASSES, 80)
    heads = [(HOSTILE, LogisticRegression()), "svm"]
    options = {"positive": CLASSES[0], "by": "patient", "rule": "mean"}
    return judged_run(cache, folder / "run", heads, rounds=4, **options)


def traces(figure: Figure) -> list[dict]:
    return [trace.to_plotly_json() for trace in figure.plot.data]


def test_plotly_is_given_no_markup_that_a_name_holds() -> None:
    for text in (HOSTILE, "<extra>", "a & b", "50 % of {x}", "%{y:.3f}"):
        shown = charts.plain(text, 99)
        assert not any(sign in shown for sign in ("<", ">", "%{", "$"))
        assert html.unescape(shown) == text
    assert charts.plain("two\nlines\x1b[31m") == "two lines [31m"
    assert html.unescape(charts.plain("mlp:hidden=128-64,epochs=1000,seed=7")) == "mlp:hidden=12…eed=7"


def test_names_that_are_alike_once_shortened_are_told_apart() -> None:
    long = [f"my own head number {number} with a long name" for number in range(2)]
    first, second, other = charts.distinct([*long, "svm"])
    assert first != second
    assert (second[:3], other) == ("2. ", "svm")


def test_every_round_is_a_dot_with_its_mean_and_interval(run) -> None:
    figure = figures_of(results([run]))["rounds"]
    panels = [axis.title.text for axis in figure.plot.select_xaxes()]
    assert panels == ["balanced accuracy", "accuracy", "ROC-AUC", "sensitivity", "specificity"]
    drawn = traces(figure)
    for metric, name in zip(("balanced_accuracy", "accuracy", "roc_auc"), panels, strict=False):
        for number, head in enumerate(run.document["heads"]):
            entry = run.document["heads"][head][metric]
            dots, mean = drawn[4 * panels.index(name) + 2 * number :][:2]
            assert list(dots["x"]) == pytest.approx(entry["rounds"], abs=1e-4)
            assert mean["x"][0] == pytest.approx(entry["mean"], abs=1e-4)
            ends = mean["x"][0] - mean["error_x"]["arrayminus"][0], mean["x"][0] + mean["error_x"]["array"][0]
            assert ends == pytest.approx((entry["low"], entry["high"]), abs=2e-4)
    entry = run.document["heads"]["svm"]["balanced_accuracy"]
    worst = run.document["round_names"][entry["rounds"].index(entry["worst"])]
    assert f"worst round {worst} ({entry['worst']:.4f})" in figure.alt
    assert worst in drawn[2]["text"]


def test_no_chart_holds_a_name_as_markup(run) -> None:
    sections = [results([run]), confusion([run]), comparison([run]), controls([run])]
    drawn = [figure for section in sections for figure in figures_of(section).values()]
    for figure in drawn:
        text = figure.plot.to_json()
        assert not any(sign in text for sign in ("<b>", "<a ", "covid<br>")), figure.name
    assert any("&lt;b&gt;" in figure.plot.to_json() for figure in drawn)
    assert any(HOSTILE in figure.alt for figure in drawn)  # the page escapes what is no chart


def test_the_tables_say_what_the_run_found_and_sort_by_it(run) -> None:
    section = results([run])
    quoted = table_of(section, "95 % interval of the mean (images)")
    entry = run.document["heads"]["svm"]["roc_auc"]
    cell = quoted.rows[1][quoted.headings.index("ROC-AUC")]
    assert cell.text == (
        f"{entry['mean']:.3f} ± {entry['std']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"
    )
    assert cell.sort == entry["mean"]
    rounds = table_of(section, "Rounds of svm (images)")
    assert len(rounds.rows) == run.document["rounds"]
    assert [row[0] for row in rounds.foot] == ["average", "95 % from", "to", "worst", "better"]
    assert rounds.foot[0][rounds.headings.index("ROC-AUC")] == f"{entry['mean']:.4f}"
    loss = rounds.rows[0][rounds.headings.index("loss")]
    assert (loss.text, loss.sort) == ("–", None)
    assert "loss: defined in 0 of 4 rounds: this head gives scores, not probabilities" in words_of(section)
    per_class = table_of(section, "Each class against the rest")
    assert [text_of(row[1]) for row in per_class.rows] == CLASSES * 2


def test_results_by_patient_stand_beside_those_by_image(run) -> None:
    section = results([run])
    unfolded = next(part for part in parts_of(section, Folded) if part.title == "By unit: patients")
    assert unfolded.opened
    figure = figures_of(unfolded)["rounds-patients"]
    found = run.document["by"]["heads"]["svm"]["balanced_accuracy"]
    assert list(traces(figure)[2]["x"]) == pytest.approx(found["rounds"], abs=1e-4)
    assert "the rule mean makes one answer of the images of each" in words_of(unfolded)
    assert "confusion-2-patients" in figures_of(confusion([run]))


def test_a_stopped_head_and_a_leak_are_said_before_everything_else(run) -> None:
    stopped = [Stopped("mlp", 2, 4, 3.5)._asdict()]
    document = {**run.document, "stopped": stopped, "notes": ["LEAK: a patient on both sides.", "A note."]}
    section = results([replace(run, document=document)])
    alarm, note = section.parts[:2]
    assert (alarm.kind, alarm.text) == ("alarm", "LEAK: a patient on both sides.")
    assert note.text.startswith("Head mlp was stopped: 2 of 4 rounds were done in 3.5 s.")
    assert section.parts[-1].text.startswith("A note.")


def test_a_run_whose_heads_were_all_stopped_has_no_results(run) -> None:
    nothing = {"heads": {}, "stopped": [Stopped("mlp", 2, 4, 3.5)._asdict()]}
    stopped = replace(run, document={**run.document, **nothing})
    assert "No head has all its rounds yet" in words_of(results([stopped]))
    for section in (confusion, curves, calibration, training):
        assert section([stopped]) is None
    assert "Permuted labels" in figures_of(controls([stopped]))["controls"].alt


def test_confusion_cells_are_counts_and_shares_of_the_true_class(run) -> None:
    section = confusion([run])
    counts = np.array(run.document["confusion"]["svm"]["sum"])
    figure = figures_of(section)["confusion-2"]
    heat = traces(figure)[0]
    np.testing.assert_allclose(heat["z"], 100 * counts / counts.sum(axis=1, keepdims=True), atol=0.06)
    np.testing.assert_array_equal(heat["customdata"], counts)
    assert heat["text"][0][1] == f"{counts[0, 1]}<br>{100 * counts[0, 1] / counts[0].sum():.1f}%"
    tested = run.document["tested"]["rows"]
    assert figure.title == f"svm: {counts.sum()} judgements of {tested} images over 4 rounds"
    table = next(table for table in parts_of(section, Table) if table.caption.startswith("svm"))
    assert table.rows[0][1].text == f"{counts[0, 0]} ({counts[0, 0] / counts[0].sum():.1%})"
    assert table.headings == ("true class", *(f"as {name}" for name in CLASSES))


def test_differences_are_drawn_with_their_intervals_and_said(run) -> None:
    section = comparison([run])
    (pair,) = run.document["comparison"]["pairs"]
    mark = traces(figures_of(section)["differences"])[0]
    assert mark["x"][0] == pytest.approx(pair["difference"], abs=1e-4)
    assert mark["x"][0] + mark["error_x"]["array"][0] == pytest.approx(pair["high"], abs=2e-4)
    assert pair["verdict"] in words_of(section)
    row = table_of(section, "Differences in balanced accuracy").rows[0]
    assert row[4].sort == pair["p_holm"]


def test_controls_come_with_their_verdicts_and_alarms_first(run) -> None:
    found = run.document["controls"]
    section = controls([run])
    said = words_of(section)
    for name in ("majority", "permuted", "pixels"):
        assert found[name]["verdict"] in said
    alarms = [found[name]["verdict"] for name in ("majority", "permuted", "pixels") if found[name]["alarm"]]
    assert all(verdict in words_of(section, "alarm") for verdict in alarms)
    figure = figures_of(section)["controls"]
    marks = {trace["hovertemplate"].split(":")[0]: trace for trace in traces(figure)}
    assert marks["Permuted labels"]["x"][0] == pytest.approx(found["permuted"]["mean"], abs=1e-4)
    assert marks["svm"]["x"][0] == pytest.approx(
        run.document["heads"]["svm"]["balanced_accuracy"]["mean"], abs=1e-4
    )
    assert len(marks["one permutation"]["x"]) == found["permuted"]["draws"]


def test_two_runs_stand_in_one_chart_and_one_without_controls_says_so(run, folder) -> None:
    options = {"splits": folder / "run", "positive": CLASSES[0], "controls": False, "note": print}
    other = judged_run(folder / "features.h5", folder / "other", ["svm"], **options)
    section = results([run, other])
    labels = [text_of(row[0]) for row in table_of(section, "95 % interval of the mean (images)").rows]
    assert labels == [f"run/{HOSTILE}", "run/svm", "other/svm"]
    drawn = traces(figures_of(section)["rounds"])
    assert len({trace["marker"]["symbol"] for trace in drawn[:6:2]}) == 3
    sides = controls([run, other])
    assert "The controls were switched off" in words_of(sides, "note")
    assert list(figures_of(sides)) == ["controls-1"]


def test_several_runs_are_compared_by_their_common_document(folder) -> None:
    cache = clouds_cache(folder / "few.h5", ["a", "b"], 40, patients=False)
    options = {"rounds": 3, "controls": False, "positive": "b"}
    runs = [judged_run(cache, folder / name, ["svm", "logistic"], **options) for name in ("one", "two")]
    compared = compare_runs([folder / "one", folder / "two"])
    section = comparison(runs, compared)
    table = table_of(section, "Differences in balanced accuracy")
    assert len(table.rows) == len(compared["pairs"]) == 6
    assert table.rows[0][0] == "one/svm − one/logistic"
    assert compared["interval"] in words_of(section)
    assert all(pair["verdict"] in words_of(section) for pair in compared["pairs"])


def test_a_run_of_one_head_is_compared_with_nothing(folder) -> None:
    cache = clouds_cache(folder / "one.h5", ["a", "b"], 40, patients=False)
    alone = judged_run(cache, folder / "alone", ["svm"], rounds=2, controls=False, positive="b")
    assert comparison([alone]) is None
