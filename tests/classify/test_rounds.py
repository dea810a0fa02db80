"""Promises about runs: the same splits for all heads, the same numbers for a seed, nothing ever lost."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from icehouse import errors, open_cache, run_rounds
from icehouse.classify import heads, problem, rounds
from icehouse.classify.fitting import Ready, one_round
from icehouse.classify.protocol import Round
from icehouse.classify.splits import Splits
from sklearn.linear_model import RidgeClassifier


@pytest.fixture
def cache_path(make_cache, two_clouds):
    vectors, labels = two_clouds
    return make_cache(vectors, labels, [f"p{index // 2}" for index in range(120)])


def documents_equal(a: dict, b: dict) -> bool:
    ignored = {"run", "seconds"}
    return {k: v for k, v in a.items() if k not in ignored} == {k: v for k, v in b.items() if k not in ignored}


def test_the_document_is_what_others_rely_on(cache_path) -> None:
    document = run_rounds(cache_path, ["mlp", "svm", "xgboost"], rounds=3, seed=4).document
    assert document["rounds"] == 3
    assert document["test_size"] == 0.3
    assert document["grouped"] is True
    assert document["classes"] == ["covid", "normal"]
    assert document["positive"] == "covid"
    assert len(document["fingerprint"]) == 64
    assert list(document["heads"]) == ["mlp", "svm", "xgboost"]
    for metrics in document["heads"].values():
        assert " ".join(metrics) == (
            "loss accuracy balanced_accuracy precision npv sensitivity specificity f1 roc_auc pr_auc mcc brier "
            "calibration_slope calibration_intercept ece"
        )
        for entry in metrics.values():
            assert {"mean", "std", "worst", "best", "low", "high", "rounds"} <= set(entry)
            assert len(entry["rounds"]) == 3
            assert "reason" in entry or None not in entry["rounds"]
    assert document["heads"]["svm"]["loss"]["mean"] is None
    assert document["heads"]["mlp"]["accuracy"]["mean"] > 0.75
    assert [len(epochs["loss"]) for epochs in document["history"]["mlp"]] == [100] * 3
    assert sum(map(sum, document["confusion"]["mlp"]["sum"])) == 3 * math.ceil(0.3 * 120)
    json.dumps(document, allow_nan=False)


def test_the_same_seed_gives_the_same_numbers_whatever_the_number_of_jobs(cache_path) -> None:
    one, two = (run_rounds(cache_path, rounds=4, seed=7, jobs=jobs).document for jobs in (1, 3))
    assert documents_equal(one, two)
    other = run_rounds(cache_path, rounds=4, seed=8).document
    assert not documents_equal(one, other)


def test_adding_a_head_changes_nothing_of_the_others(cache_path) -> None:
    alone = run_rounds(cache_path, ["svm"], rounds=3).document
    both = run_rounds(cache_path, ["mlp", "svm"], rounds=3).document
    assert alone["heads"]["svm"] == both["heads"]["svm"]
    assert alone["splits"] == both["splits"]


def test_scaling_learns_from_the_training_part_only(make_cache, two_clouds) -> None:
    """A test part moved far away must not move what the head is trained on."""
    vectors, labels = two_clouds
    path = make_cache(vectors, labels)
    with open_cache(path) as cache:
        given = problem.from_cache(cache)
    spec, tested = heads.parse("svm"), np.arange(120) < 36
    moved = given.X.copy()
    moved[tested] += 1000
    fitted = [spec.build(0).fit(X[~tested], given.y[~tested]) for X in (given.X, moved)]
    np.testing.assert_array_equal(fitted[0][0].mean_, fitted[1][0].mean_)
    parted = Splits("columns", ("own",), ~tested[None], tested[None], np.zeros((1, 0), dtype=bool))
    ready = Ready(given, parted, 0, rounds.Protocol())
    record = one_round(ready, spec, Round(0, 0, 0))
    np.testing.assert_allclose(record.scores[:, 1], fitted[0].decision_function(given.X[tested]), atol=1e-4)


def test_rounds_leave_the_vectors_as_they_were(make_cache, two_clouds) -> None:
    with open_cache(make_cache(*two_clouds)) as cache:
        given = problem.from_cache(cache)
    before = given.X.copy()
    rounds.run(given, heads.parse_all(["mlp", "svm"]), rounds.Protocol(rounds=2), "f" * 64)
    np.testing.assert_array_equal(given.X, before)


def test_a_run_folder_holds_everything_to_repeat_and_to_look_closer(cache_path, tmp_path) -> None:
    result = run_rounds(cache_path, ["mlp", "svm:C=10"], rounds=2, out=tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "results.json",
        "rounds",
        "run.json",
        "splits.npz",
    ]
    note = json.loads((tmp_path / "run" / "run.json").read_text())
    assert note["finished"] is True
    assert note["plan"]["heads"] == ["mlp", "svm:C=10"]
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == result.document
    with np.load(tmp_path / "run" / "splits.npz", allow_pickle=False) as file:
        assert file["test"].shape == (2, 120)
        tested = file["test"][0]
    records = sorted(path.name for path in (tmp_path / "run" / "rounds").iterdir())
    assert records == ["0-mlp-001.npz", "0-mlp-002.npz", "1-svm_C=10-001.npz", "1-svm_C=10-002.npz"]
    with np.load(tmp_path / "run" / "rounds" / records[0], allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        np.testing.assert_array_equal(file["rows"], np.flatnonzero(tested))
        np.testing.assert_allclose(file["scores"].sum(axis=1), 1)
    assert len(about["history"]["loss"]) == len(about["history"]["accuracy"]) == 100


def test_an_interrupted_run_goes_on_at_its_missing_rounds_and_ends_equal(cache_path, tmp_path) -> None:
    class Stop(Exception):
        pass

    def stop_after_three(done: int, total: int) -> None:
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        run_rounds(cache_path, ["svm", "xgboost"], rounds=4, out=tmp_path / "run", progress=stop_after_three)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run" / "rounds").glob("*.npz")}
    assert len(kept) >= 3
    (tmp_path / "run" / "rounds" / sorted(kept)[0]).write_bytes(b"damaged")
    resumed = run_rounds(cache_path, ["svm", "xgboost"], rounds=4, out=tmp_path / "run")
    undisturbed = run_rounds(cache_path, ["svm", "xgboost"], rounds=4)
    assert documents_equal(resumed.document, undisturbed.document)
    for name in sorted(kept)[1:]:
        assert (tmp_path / "run" / "rounds" / name).stat().st_mtime_ns == kept[name]


def test_a_finished_run_is_not_overwritten_unasked(cache_path, tmp_path) -> None:
    run_rounds(cache_path, ["svm"], rounds=2, out=tmp_path / "run")
    before = (tmp_path / "run" / "results.json").read_bytes()
    for count in (2, 3):
        with pytest.raises(FileExistsError, match=r"holds a finished run.*--overwrite"):
            run_rounds(cache_path, ["svm"], rounds=count, out=tmp_path / "run")
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    run_rounds(cache_path, ["svm"], rounds=3, out=tmp_path / "run", overwrite=True)
    assert len(list((tmp_path / "run" / "rounds").iterdir())) == 3


def test_a_folder_that_is_no_run_is_never_written_into(cache_path, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(errors.OutputExists, match="exists and is not a run"):
            run_rounds(cache_path, ["svm"], rounds=2, out=tmp_path / "mine", overwrite=overwrite)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("head", ["mlp:learning_rate=1e30", "mlp:learning_rate=1e30,epochs=2"])
def test_answers_that_are_no_probabilities_are_an_error_of_the_head(cache_path, head) -> None:
    with pytest.raises(errors.HeadError, match="no probabilities"), np.errstate(all="ignore"):
        run_rounds(cache_path, [head], rounds=1, jobs=1)


def test_a_head_that_refuses_its_parameters_is_named_and_leaves_no_run_in_the_way(cache_path, tmp_path) -> None:
    with pytest.raises(errors.UsageError, match=r"svm:C=-1"):
        run_rounds(cache_path, ["svm:C=-1"], rounds=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    own = ("own", RidgeClassifier(alpha=-5.0))
    with pytest.raises(errors.HeadError, match=r"Head own failed in round \d: .*'alpha' parameter"):
        run_rounds(cache_path, [own], rounds=2, out=tmp_path / "run")
    run_rounds(cache_path, ["svm"], rounds=2, out=tmp_path / "run")


@pytest.mark.parametrize(
    "bad",
    [
        {"rounds": 0},
        {"test_size": 0.0},
        {"test_size": 1.0},
        {"seed": -1},
        {"test_size": float("nan")},
        {"rounds": 2.5},
    ],
)
def test_impossible_protocols_are_wrong_usage(cache_path, bad) -> None:
    with pytest.raises(errors.UsageError):
        run_rounds(cache_path, ["svm"], **bad)


def test_the_tables_show_each_round_then_average_worst_and_better(cache_path) -> None:
    result = run_rounds(cache_path, ["mlp", "svm"], rounds=3)
    lines = result.table("mlp").splitlines()
    firsts = [line.split()[0] for line in lines if line.strip()]
    assert firsts[0] == "mlp"
    position = firsts.index("round")
    assert [word for word in firsts[position:] if not word.startswith("─")][:9] == [
        "round",
        "1",
        "2",
        "3",
        "average",
        "95",
        "to",
        "worst",
        "better",
    ]
    accuracy = result.document["heads"]["mlp"]["accuracy"]
    average = next(line for line in lines if line.split()[:1] == ["average"])
    assert average.split()[2] == f"{accuracy['mean']:.4f}"
    assert "108 judgements of {} images over 3 rounds".format(
        result.document["tested"]["rows"]
    ) in result.table("mlp")
    assert "not a medical device" in result.table()
    assert "–" in result.table("svm")
    assert "loss: defined in 0 of 3 rounds: this head gives scores, not probabilities" in result.table("svm")
    with pytest.raises(errors.UsageError, match="No head 'knn' in this run"):
        result.table("knn")
