"""Promises about comparisons: paired, corrected, on identical splits only, and refused with what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify import intervals
from icehouse.classify.comparison import compare_heads, compare_runs
from icehouse.classify.problem import Problem
from icehouse.classify.runs import RunFolder
from icehouse.classify.splits import Splits
from making import problem_of, record_of

CONTENT = np.random.default_rng(3).integers(0, 256, (80, 32), dtype=np.uint8)


@pytest.fixture
def problem() -> Problem:
    """Two classes of 20 patients each, two images of each patient."""
    patients = [f"p{index // 2}" for index in range(80)]
    return problem_of(np.repeat([0, 1], 40), np.array(patients), CONTENT)


def splits_of(problem: Problem, count: int = 5) -> Splits:
    """Return folds: every fifth patient is tested."""
    test = np.stack([problem.blocks % 5 == number for number in range(count)])
    return Splits(
        "folds", tuple(f"fold {n + 1}" for n in range(count)), ~test, test, np.zeros((count, 0), bool)
    )


def records_of(problem: Problem, splits: Splits, noise: float, *, probabilities: bool = True) -> list[Any]:
    """Return the records of a head that sees the label of an image through noise of its own."""
    records = []
    for split, tested in enumerate(splits.test):
        rows = np.flatnonzero(tested)
        drawn = [np.random.default_rng([*problem.content[row], int(noise * 10)]).normal(size=2) for row in rows]
        logits = 2 * np.eye(2)[problem.y[rows]] + noise * np.stack(drawn)
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True) if probabilities else logits
        records.append(record_of(problem, rows, scores, number=split, split=split))
    return records


def store(path: Path, problem: Problem, splits: Splits, heads: dict[str, list[Any]], **plan: Any) -> Path:
    """Write a run as `classify` would."""
    rounds = max(map(len, heads.values()))
    stated = {
        "fingerprint": "f" * 64,
        "layer": "avg_pool",
        "classes": list(problem.classes),
        "positive": problem.positive_class,
        "heads": list(heads),
        "rounds": rounds,
    }
    folder = RunFolder(path, {**stated, **plan}, {})
    folder.save_splits(problem, splits)
    for number, (head, records) in enumerate(heads.items()):
        for record in records:
            folder.save(number, replace(record, head=head))
    folder.finish({})
    return path


def two_heads(problem: Problem, splits: Splits) -> dict[str, list[Any]]:
    return {"good": records_of(problem, splits, 0.5), "poor": records_of(problem, splits, 6.0)}


def test_two_heads_are_compared_by_the_corrected_paired_t_test(problem) -> None:
    splits = splits_of(problem)
    heads = two_heads(problem, splits)
    (pair,) = compare_heads(problem, splits, heads, problem.blocks)
    scores = [[r.judgement.values["balanced_accuracy"] for r in records] for records in heads.values()]
    expected = intervals.corrected_t_test(np.subtract(*scores), 1 / 4)
    assert (pair["difference"], pair["low"], pair["high"], pair["p"]) == pytest.approx(expected)
    assert (pair["a"], pair["b"], pair["rounds"], pair["undefined"]) == ("good", "poor", 5, 0)
    assert pair["p_holm"] == pair["p"] < 0.05
    assert pair["verdict"].startswith("The balanced accuracy of good is 0.")
    assert pair["verdict"].endswith("higher than that of poor, more than chance explains.")


def test_all_pairs_are_corrected_together(problem) -> None:
    splits = splits_of(problem)
    heads = {**two_heads(problem, splits), "middling": records_of(problem, splits, 2.0)}
    pairs = compare_heads(problem, splits, heads, problem.blocks, "roc_auc")
    assert [(p["a"], p["b"]) for p in pairs] == [("good", "poor"), ("good", "middling"), ("poor", "middling")]
    assert [p["p_holm"] for p in pairs] == intervals.holm([p["p"] for p in pairs])


def test_a_head_does_not_differ_from_itself(problem) -> None:
    for count in (5, 1):
        splits = splits_of(problem, count)
        records = records_of(problem, splits, 2.0)
        (pair,) = compare_heads(problem, splits, {"a": records, "b": records}, problem.blocks)
        assert (pair["difference"], pair["low"], pair["high"], pair["p"]) == (0, 0, 0, 1)
        assert pair["verdict"] == "The balanced accuracy of a and of b are the same."


def test_on_one_split_heads_are_compared_over_its_patients(problem) -> None:
    test = (problem.blocks % 2 == 0)[None]
    splits = Splits("hold-out", ("1",), ~test, test, np.zeros((1, 0), bool))
    (pair,) = compare_heads(problem, splits, two_heads(problem, splits), problem.blocks, seed=2)
    assert pair["low"] < pair["difference"] < pair["high"]
    assert pair["low"] > 0
    assert pair["p"] == pytest.approx(2 / 2001)
    reversed_ = dict(reversed(two_heads(problem, splits).items()))
    (other,) = compare_heads(problem, splits, reversed_, problem.blocks, seed=2)
    assert (other["difference"], other["p"]) == (-pair["difference"], pair["p"])
    assert "lower than that of good" in other["verdict"]


def test_rounds_where_a_metric_is_undefined_are_left_out_for_both(problem) -> None:
    splits = splits_of(problem)
    heads = two_heads(problem, splits)
    rows = heads["good"][1].rows
    heads["good"][1] = record_of(problem, rows, np.tile([0.4, 0.6], (len(rows), 1)), number=1, split=1)
    (pair,) = compare_heads(problem, splits, heads, problem.blocks, "precision")
    kept = [0, 2, 3, 4]
    scores = [[records[n].judgement.values["precision"] for n in kept] for records in heads.values()]
    assert pair["difference"] == pytest.approx(np.mean(np.subtract(*scores)))
    assert (pair["rounds"], pair["undefined"]) == (4, 1)


def test_a_metric_that_one_head_never_has_is_not_compared(problem) -> None:
    splits = splits_of(problem)
    heads = two_heads(problem, splits)
    heads["scores"] = records_of(problem, splits, 2.0, probabilities=False)
    pairs = compare_heads(problem, splits, heads, problem.blocks, "loss")
    assert pairs[0]["p_holm"] == pairs[0]["p"]
    for pair in pairs[1:]:
        assert (pair["difference"], pair["p"], pair["p_holm"], pair["rounds"]) == (None, None, None, 0)
        assert "never defined in the same round" in pair["verdict"]
    json.dumps(pairs, allow_nan=False)


def test_a_metric_that_does_not_exist_is_refused_with_the_nearest(problem, tmp_path) -> None:
    with pytest.raises(errors.UsageError, match="did you mean balanced_accuracy"):
        compare_heads(problem, splits_of(problem), {}, problem.blocks, "balanced-acuracy")
    with pytest.raises(errors.UsageError, match="there are loss, accuracy"):
        compare_runs([tmp_path], "zzz")


def test_the_heads_of_one_run_are_compared(problem, tmp_path) -> None:
    splits = splits_of(problem)
    heads = two_heads(problem, splits)
    found = compare_runs([store(tmp_path / "run", problem, splits, heads)])
    assert list(found["heads"]) == ["good", "poor"]
    assert found["pairs"] == compare_heads(problem, splits, heads, problem.blocks)
    scores = [record.judgement.values["balanced_accuracy"] for record in heads["poor"]]
    assert found["heads"]["poor"]["mean"] == pytest.approx(np.mean(scores))
    assert found["heads"]["poor"]["low"] < np.mean(scores) < found["heads"]["poor"]["high"]
    assert (found["splits"], found["rounds"], found["rows"], found["patients"]) == (5, 5, 80, 40)
    assert found["left_out"] == []
    json.dumps(found, allow_nan=False)


def test_two_runs_are_matched_by_content_whatever_the_order_of_their_rows(problem, tmp_path) -> None:
    splits = splits_of(problem)
    one = store(tmp_path / "one", problem, splits, {"svm": records_of(problem, splits, 0.5)})
    order = np.random.default_rng(0).permutation(80)
    turned = problem_of(problem.y[order], problem.patient[order], problem.content[order])
    moved = Splits(splits.kind, splits.names, splits.train[:, order], splits.test[:, order], splits.scored)
    two = store(tmp_path / "two", turned, moved, {"svm": records_of(turned, moved, 6.0)}, fingerprint="0" * 64)
    found = compare_runs([one, two])
    assert list(found["heads"]) == ["one/svm", "two/svm"]
    assert [run["fingerprint"][0] for run in found["runs"]] == ["f", "0"]
    heads = {"one/svm": records_of(problem, splits, 0.5), "two/svm": records_of(problem, splits, 6.0)}
    (expected,) = compare_heads(problem, splits, heads, problem.blocks)
    for name in ("difference", "low", "high", "p", "rounds"):
        assert found["pairs"][0][name] == pytest.approx(expected[name])


def test_runs_of_one_name_in_two_folders_have_labels_of_their_own(problem, tmp_path) -> None:
    splits = splits_of(problem)
    paths = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths.append(store(tmp_path / name / "run", problem, splits, {"svm": records_of(problem, splits, 2.0)}))
    assert list(compare_runs(paths)["heads"]) == [f"{path}/svm" for path in paths]


def test_an_image_that_one_run_lacks_is_named_and_left_out_of_both(problem, tmp_path) -> None:
    splits = splits_of(problem)
    kept = np.delete(np.arange(80), [3, 50])
    fewer = problem_of(problem.y[kept], problem.patient[kept], problem.content[kept])
    less = Splits(splits.kind, splits.names, splits.train[:, kept], splits.test[:, kept], splits.scored)
    one = store(tmp_path / "one", problem, splits, {"svm": records_of(problem, splits, 2.0)})
    two = store(tmp_path / "two", fewer, less, {"svm": records_of(fewer, less, 6.0)})
    found = compare_runs([one, two])
    assert found["left_out"] == [
        {"path": "3", "rows": 1, "in": [str(one)]},
        {"path": "50", "rows": 1, "in": [str(one)]},
    ]
    assert found["rows"] == 78
    alone = [record.judgement.values["balanced_accuracy"] for record in records_of(fewer, less, 2.0)]
    assert found["heads"]["one/svm"]["mean"] == pytest.approx(np.mean(alone))


def test_an_image_that_takes_no_part_in_one_run_is_left_out(problem, tmp_path) -> None:
    splits = splits_of(problem)
    part = np.arange(80) != 7
    less = replace(splits, train=splits.train & part, test=splits.test & part)
    one = store(tmp_path / "one", problem, splits, {"svm": records_of(problem, splits, 2.0)})
    two = store(tmp_path / "two", problem, less, {"svm": records_of(problem, less, 6.0)})
    assert [image["path"] for image in compare_runs([one, two])["left_out"]] == ["7"]


def test_copies_of_an_image_are_matched_one_by_one(tmp_path) -> None:
    content = CONTENT[:40].copy()
    content[1] = content[0]
    problem = problem_of(np.repeat([0, 1], 20), None, content)
    splits = splits_of(problem)
    one = store(tmp_path / "one", problem, splits, two_heads(problem, splits))
    kept = np.arange(40) != 1
    fewer = problem_of(problem.y[kept], None, content[kept], path=problem.path[kept])
    less = Splits(splits.kind, splits.names, splits.train[:, kept], splits.test[:, kept], splits.scored)
    two = store(tmp_path / "two", fewer, less, two_heads(fewer, less))
    found = compare_runs([one, two])
    assert found["left_out"] == [{"path": "1", "rows": 1, "in": [str(one)]}]
    assert found["patients"] is None


def unlike(problem: Problem, splits: Splits, what: str) -> tuple[Problem, Splits, dict[str, Any]]:
    """Return a problem, splits and plan that differ from those given in one thing."""
    patient, y = problem.patient.copy(), problem.y.copy()
    train, test = splits.train.copy(), splits.test.copy()
    if what == "patient":
        patient[4:6] = "px"
    if what == "label":
        y[10:12] = 1
    if what == "side":
        moved = np.flatnonzero(test[2])[0]
        test[2, moved], train[2, moved] = False, True
    if what == "number":
        train, test = train[:4], test[:4]
    kind = "hold-out" if what == "kind" else splits.kind
    names = splits.names[: len(test)]
    plan = {"positive": {"positive": "b"}, "classes": {"classes": ["a", "c"]}}.get(what, {})
    other = problem_of(y, patient, problem.content)
    return other, Splits(kind, names, train, test, splits.scored[: len(test)]), plan


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("patient", "Patient of 4 in the first: p2; in the second: px. Run both on the same labels"),
        ("label", "Label of 10 in the first: a; in the second: b. Run both on the same labels"),
        (
            "side",
            "Side of 4 in split 'fold 3' in the first: tested; in the second: trained on. Repeat .*two",
        ),
        ("number", "Number of splits in the first: 5; in the second: 4. Repeat .*two with --splits .*one"),
        ("kind", "Kind of splits in the first: folds; in the second: hold-out"),
        ("positive", "Positive class in the first: a; in the second: b"),
        ("classes", "Classes in the first: a, b; in the second: a, c"),
    ],
)
def test_runs_of_unlike_splits_are_refused_with_what_differs(problem, tmp_path, what, message) -> None:
    splits = splits_of(problem)
    one = store(tmp_path / "one", problem, splits, {"svm": records_of(problem, splits, 2.0)})
    other, differently, plan = unlike(problem, splits, what)
    records = {"svm": records_of(other, differently, 6.0)}
    two = store(tmp_path / "two", other, differently, records, **plan)
    with pytest.raises(errors.RunError, match=message):
        compare_runs([one, two])


def test_runs_without_a_common_image_are_refused(problem, tmp_path) -> None:
    splits = splits_of(problem)
    one = store(tmp_path / "one", problem, splits, {"svm": records_of(problem, splits, 2.0)})
    others = problem_of(problem.y, problem.patient, 255 - problem.content)
    two = store(tmp_path / "two", others, splits, {"svm": records_of(others, splits, 2.0)})
    with pytest.raises(errors.RunError, match="no image in common"):
        compare_runs([one, two])


def test_an_unfinished_run_is_refused_with_how_many_rounds_are_missing(problem, tmp_path) -> None:
    splits = splits_of(problem)
    run = store(tmp_path / "run", problem, splits, two_heads(problem, splits))
    for path in sorted((run / "rounds").glob("*.npz"))[:3]:
        path.unlink()
    with pytest.raises(errors.RunError, match="3 of its 10 rounds are missing"):
        compare_runs([run])


def test_what_cannot_be_compared_is_a_usage_error(problem, tmp_path) -> None:
    splits = splits_of(problem)
    run = store(tmp_path / "run", problem, splits, {"svm": records_of(problem, splits, 2.0)})
    with pytest.raises(errors.UsageError, match="the same run"):
        compare_runs([run, tmp_path / "." / "run"])
    with pytest.raises(errors.UsageError, match="one head only"):
        compare_runs([run])
    with pytest.raises(errors.RunError, match="is no run"):
        compare_runs([run, tmp_path / "nothing"])
