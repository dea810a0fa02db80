"""Promises of which images of a run are shown: the sure, the wrong and the unsure, and what is said of them."""

from __future__ import annotations

import json
from pathlib import Path

import icehouse
import numpy as np
import pytest
from icehouse.classify.stored import read_run
from icehouse.report import examples
from icehouse.report.examples import Shown
from icehouse.report.judged import Judged
from icehouse.report.parts import Cell, Folded, Gallery, Table, Words
from making import problem_of, record_of, write_cache

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 1])
EACH_ITS_OWN = np.arange(8)


def records(*of_class_1: list[float], decision: bool = False) -> list:
    """Return a round for each list of what a head says of the eight images; NaN where it did not test one."""
    problem = problem_of(TRUTH)
    found = []
    for number, said in enumerate(of_class_1):
        rows = np.flatnonzero(~np.isnan(said))
        values = np.array(said)[rows]
        scores = np.column_stack([-values, values] if decision else [1 - values, values])
        found.append(record_of(problem, rows, scores, number=number))
    return found


def test_scores_are_averaged_over_the_rounds_that_tested_an_image() -> None:
    none = float("nan")
    said = examples.verdict(
        records([0.1, none, 0.9, 0.2, 0.8, 0.7, 0.4, none], [0.3, none, none, 0.6, 0.6, 0.9, 0.2, none]), TRUTH
    )
    assert said.rows.tolist() == [0, 2, 3, 4, 5, 6]
    assert said.rounds.tolist() == [2, 1, 2, 2, 2, 2]
    assert said.wrong.tolist() == [0, 1, 1, 0, 0, 2]
    np.testing.assert_allclose(said.scores[:, 1], [0.2, 0.9, 0.4, 0.7, 0.8, 0.3])
    assert said.probabilities


@pytest.mark.parametrize("decision", [False, True])
def test_the_surest_right_and_wrong_and_the_least_sure_are_chosen_each_once(decision) -> None:
    values = [0.01, 0.30, 0.95, 0.49, 0.99, 0.80, 0.10, 0.52]
    values = [4 * value - 2 for value in values] if decision else values
    said = examples.verdict(records(values, decision=decision), TRUTH)
    found = examples.examples(said, TRUTH, EACH_ITS_OWN)
    of_kind = {kind: [each.row for each in found if each.kind == kind] for kind in examples.KINDS}
    assert set(of_kind["right"]) == {0, 4, 5, 1}
    assert of_kind["wrong"] == [2, 6]
    assert of_kind["unsure"] == [3, 7]  # what is left, the least sure first
    assert [each.predicted for each in found if each.kind == "wrong"] == [1, 0]


def test_of_one_patient_only_one_image_of_a_kind_is_shown() -> None:
    said = examples.verdict(records([0.01, 0.02, 0.03, 0.04, 0.99, 0.98, 0.97, 0.96]), TRUTH)
    found = examples.examples(said, TRUTH, np.array([0, 0, 0, 0, 1, 1, 2, 3]))
    assert sorted(each.row for each in found if each.kind == "right") == [0, 4, 6, 7]


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Judged:
    """Return a run of two heads, by patient, on 90 images of which three have a wrong label."""
    folder: Path = tmp_path_factory.mktemp("run")
    generator = np.random.default_rng(3)
    y = np.repeat(np.arange(45) % 3, 2)
    X = generator.normal(0, 1, (90, 16)) + 6 * np.eye(16)[y]
    labels = np.array(["a", "b", "<script>"])[y]
    labels[[6, 20, 40]] = labels[[8, 22, 42]]
    patients = [f"p{number // 2}" if number not in (6, 20, 40) else f"q{number}" for number in range(90)]
    path = write_cache(folder / "features.h5", X.astype(np.float32), labels.tolist(), patients)
    icehouse.run_rounds(
        path,
        ["logistic", "svm"],
        folds=3,
        repeats=2,
        by="patient",
        rule="mean",
        out=folder / "run",
        controls=False,
        note=lambda _: None,
    )
    return Judged("run", json.loads((folder / "run" / "results.json").read_text()), read_run(folder / "run"))


def verdicts(judged: Judged) -> dict:
    truth = examples.truths(judged.stored)
    return {head: examples.verdict(records, truth) for head, records in judged.records.items()}


def test_images_with_a_wrong_label_lead_the_table_of_those_most_often_wrong(judged) -> None:
    section = examples.wrong_section(judged, verdicts(judged), examples.truths(judged.stored))
    images, patients = (part for part in section.parts if isinstance(part, Table))
    assert {row[0] for row in images.rows[:3]} == {"6.png", "20.png", "40.png"}
    first = images.rows[0]
    assert [cell.text for cell in first[4:] if isinstance(cell, Cell)] == ["4 of 4", "2 of 2"]
    assert {row[0] for row in patients.rows[:3]} == {"q6", "q20", "q40"}
    assert patients.headings[0] == "patient"
    assert all(len(row) == len(table.headings) for table in (images, patients) for row in table.rows)


def test_a_run_without_a_mistake_says_so(judged) -> None:
    truth = examples.truths(judged.stored)
    said = verdicts(judged)["logistic"]
    flawless = examples.Verdict(said.rows, said.rounds, said.wrong * 0, said.scores, said.probabilities)
    section = examples.wrong_section(judged, {"logistic": flawless}, truth)
    assert section.parts[0] == Words("No head was wrong about any image.")


def test_pictures_are_told_in_words_with_class_prediction_and_score(judged) -> None:
    truth, said = examples.truths(judged.stored), verdicts(judged)
    group = np.arange(len(truth))
    chosen = {head: examples.examples(of_head, truth, group) for head, of_head in said.items()}
    shown = {(head, each.row): Shown(b"picture") for head, of_head in chosen.items() for each in of_head}
    section = examples.examples_section(judged, said, chosen, {}, shown, ["a note"], {"svm": "of svm"})
    assert Words("a note", "note") in section.parts
    folded = [part for part in section.parts if isinstance(part, Folded)]
    assert [(part.title, part.opened) for part in folded] == [("logistic", True), ("svm", False)]
    assert folded[1].parts[0] == Words("of svm", "note")
    wrong = [part for part in folded[0].parts if isinstance(part, Gallery)][1]
    assert wrong.title == "Most confident and wrong"
    for picture in wrong.pictures:
        name, answer, score = picture.caption.splitlines()
        true, _, predicted = answer.partition(", predicted ")
        assert picture.alt == f"{name}: {answer}"
        assert true != predicted
        assert score.startswith(f"probability: {predicted} 0.")
        assert f"{true} 0." in score
        assert score.endswith("mean of 2 rounds")


def test_a_damaged_table_of_patients_is_said_and_not_fatal(judged, tmp_path) -> None:
    from dataclasses import replace

    (tmp_path / "units.csv").write_text("head,round\nx,1\n")
    other = replace(judged, stored=replace(judged.stored, path=tmp_path))
    section = examples.wrong_section(other, verdicts(judged), examples.truths(judged.stored))
    assert "units.csv is missing or damaged" in section.parts[-1].text
