"""Promises about what a run can be asked: folds, seeds, weights, a budget, estimators of one's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from icehouse import compare_runs, errors, open_cache, run_rounds
from icehouse.classify import problem, scheduling
from icehouse.classify.identity import identity
from icehouse.classify.stored import read_run
from sklearn.ensemble import IsolationForest, StackingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, OneClassSVM
from xgboost import XGBClassifier

QUICK = "mlp:hidden=4,epochs=3"


@pytest.fixture
def cache_path(make_cache, two_clouds):
    vectors, labels = two_clouds
    return make_cache(vectors, labels, [f"p{index // 2}" for index in range(120)])


def run(path, heads=("svm",), *asked, **options):
    return run_rounds(
        path, list(heads), *asked, note=lambda text: None, **{"controls": False, **options}
    ).document


def numbers(document: dict) -> dict:
    return {key: value for key, value in document.items() if key not in ("run", "seconds")}


def test_folds_test_every_image_once_a_repeat_and_are_named(cache_path, tmp_path) -> None:
    document = run(cache_path, folds=4, repeats=2, out=tmp_path / "run")
    assert document["rounds"] == 8
    assert document["round_names"][:5] == [f"repeat 1, fold {k}" for k in (1, 2, 3, 4)] + ["repeat 2, fold 1"]
    assert sum(map(sum, document["confusion"]["svm"]["sum"])) == 240
    assert document["test_size"] is None
    rows = np.concatenate([record.rows for record in read_run(tmp_path / "run").records()[:4]])
    assert sorted(rows.tolist()) == list(range(120))


def test_seeds_of_a_split_are_fitted_on_the_same_rows_and_a_head_without_a_seed_once(
    cache_path, tmp_path
) -> None:
    document = run(cache_path, [QUICK, "svm"], 2, seeds=3, out=tmp_path / "run")
    assert document["round_names"] == [f"{split}, seed {seed}" for split in (1, 2) for seed in (1, 2, 3)]
    records = read_run(tmp_path / "run").records()
    assert [record.split for record in records] == [0, 0, 0, 1, 1, 1] * 2
    mlp, svm = records[:6], records[6:]
    assert len({record.scores.tobytes() for record in mlp}) == 6
    assert len({record.scores.tobytes() for record in svm}) == 2
    assert [record.seconds > 0 for record in svm] == [True, False, False] * 2
    spread = document["spread"]
    assert spread[QUICK]["accuracy"]["seed"] is not None
    assert spread["svm"]["accuracy"]["seed"] is None


def test_only_the_seed_varies_if_asked(cache_path) -> None:
    document = run(cache_path, [QUICK], 4, vary="seed")
    assert document["round_names"] == ["seed 1", "seed 2", "seed 3", "seed 4"]
    assert "bootstrap" in document["interval"]


def test_splits_of_another_run_are_taken_over(cache_path, tmp_path) -> None:
    first = run(cache_path, folds=3, out=tmp_path / "first")
    second = run(cache_path, ["knn"], splits=tmp_path / "first")
    assert second["splits"] == first["splits"]
    assert second["round_names"] == first["round_names"]


@pytest.mark.parametrize("asked", [{}, {"folds": 3}, {"rounds": 2, "seeds": 2}])
def test_runs_are_compared_however_their_splits_were_made(cache_path, tmp_path, asked) -> None:
    first = run(cache_path, ["svm", "knn"], out=tmp_path / "first", **asked)
    again = {"seeds": asked["seeds"]} if "seeds" in asked else {}
    run(cache_path, ["lda"], splits=tmp_path / "first", out=tmp_path / "second", **again)
    found = compare_runs([tmp_path / "first", tmp_path / "second"])
    assert list(found["heads"]) == ["first/svm", "first/knn", "second/lda"]
    assert found["rounds"] == first["rounds"]
    assert found["heads"]["first/svm"]["mean"] == first["heads"]["svm"]["balanced_accuracy"]["mean"]
    (alone,) = compare_runs([tmp_path / "first"])["pairs"]
    assert alone == first["comparison"]["pairs"][0]


def test_a_run_goes_on_whether_its_defaults_are_typed_or_not(cache_path, tmp_path) -> None:
    run(cache_path, ["svm"], out=tmp_path / "run")
    note = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**note, "finished": False}))
    run(cache_path, ["svm"], 10, test_size=0.3, out=tmp_path / "run")


def test_what_is_overwritten_goes_no_sooner_than_there_is_something_in_its_place(cache_path, tmp_path) -> None:
    run(cache_path, ["svm"], 2, out=tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(errors.ClassesError, match="more components"):
        run(cache_path, ["svm"], 3, reduce=5000, out=tmp_path / "run", overwrite=True)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    run(cache_path, ["knn"], 3, out=tmp_path / "run", overwrite=True)
    assert len(read_run(tmp_path / "run").records()) == 3


def test_rows_in_another_order_are_another_run(make_cache, two_clouds, tmp_path) -> None:
    vectors, labels = two_clouds
    content = np.random.default_rng(5).integers(0, 256, (120, 32), dtype=np.uint8)
    run(make_cache(vectors, labels, content=content), ["svm"], 2, out=tmp_path / "run")
    note = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**note, "finished": False}))
    turned = make_cache(vectors[::-1], labels[::-1], content=content[::-1], name="turned.h5")
    with pytest.raises(errors.OutputExists, match=r"other settings \(other: order\)"):
        run(turned, ["svm"], 2, out=tmp_path / "run")


def test_split_columns_are_the_datas_own_splits(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    splits = ["test" if index < 40 else "val" if index < 44 else "train" for index in range(120)]
    document = run(make_cache(vectors, labels, splits=splits), split_columns=["split"])
    assert document["rounds"] == 1
    assert sum(map(sum, document["confusion"]["svm"]["sum"])) == 40


def test_vectors_can_be_reduced_and_heads_tuned_within_the_training_part(cache_path) -> None:
    document = run(cache_path, ["svm", "svm:C=3"], 2, reduce="pca:5", tune=True)
    assert document["asked"]["reduce"] == 5
    assert all("C" in chosen for chosen in document["tuned"]["svm"])
    assert document["tuned"]["svm:C=3"] == [{}, {}]
    with pytest.raises(errors.ClassesError, match="more components than a training part of 84 vectors with 16"):
        run(cache_path, reduce=17)


def test_weights_even_out_classes_and_heads_that_cannot_weigh_are_named(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    kept = [index for index in range(120) if index % 2 or index < 30]
    path = make_cache(vectors[kept], [labels[index] for index in kept])
    plain, even = (run(path, ["logistic"], 5, balance=balance) for balance in (None, "weights"))
    specificity = [document["heads"]["logistic"]["specificity"]["mean"] for document in (plain, even)]
    assert specificity[1] > specificity[0]
    with pytest.raises(errors.UsageError, match="knn cannot weigh samples"):
        run(path, ["svm", "knn"], balance="weights")


def test_validation_follows_training_on_patients_that_are_not_trained_on(cache_path) -> None:
    plain, followed = (run(cache_path, [QUICK, "svm"], 1, validation=share) for share in (None, 0.25))
    assert set(plain["history"][QUICK][0]) == {"loss", "accuracy"}
    assert set(followed["history"][QUICK][0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert plain["heads"]["svm"] != followed["heads"]["svm"]  # put aside for every head
    assert plain["splits"] == followed["splits"]


def test_estimators_of_ones_own_are_judged_beside_the_heads(cache_path) -> None:
    ridge = RidgeClassifier(alpha=10.0)
    document = run(cache_path, ["svm", ("ridge", ridge), GaussianNB()], 2)
    assert list(document["heads"]) == ["svm", "ridge", "GaussianNB"]
    assert document["heads"]["ridge"]["accuracy"]["mean"] > 0.7
    assert document["heads"]["ridge"]["loss"]["mean"] is None
    assert not hasattr(ridge, "coef_")


def test_an_estimator_that_decides_for_itself_is_heard(cache_path) -> None:
    stern = FixedThresholdClassifier(LogisticRegression(), threshold=0.999, pos_label=0)
    document = run(cache_path, [("plain", LogisticRegression()), ("stern", stern)], 2)
    sensitivity = [document["heads"][head]["sensitivity"]["mean"] for head in ("plain", "stern")]
    assert sensitivity[1] < sensitivity[0]
    assert document["heads"]["plain"]["roc_auc"] == document["heads"]["stern"]["roc_auc"]


@pytest.mark.parametrize("other", [IsolationForest(), OneClassSVM(), GaussianMixture(2)])
def test_what_finds_outliers_or_clusters_is_no_head(cache_path, other) -> None:
    with pytest.raises(errors.UsageError, match="is no classifier"):
        run(cache_path, [other], 1)


def test_scores_of_pairs_are_refused_inside_a_pipeline_too(cache_path) -> None:
    with pytest.raises(errors.UsageError, match="scores pairs of classes"):
        run(cache_path, [("mine", make_pipeline(StandardScaler(), SVC(decision_function_shape="ovo")))], 1)


def test_a_classifier_that_has_its_scores_only_when_fitted_is_a_head(cache_path) -> None:
    stack = StackingClassifier([("a", LogisticRegression()), ("b", GaussianNB())])
    assert run(cache_path, [stack], 1)["heads"]["StackingClassifier"]["roc_auc"]["mean"] > 0.8


def test_every_layer_is_asked_for_by_one_word_on_the_command_line(cache_path, tmp_path) -> None:
    with open_cache(cache_path) as cache:
        assert problem.from_cache(cache, layer=("pyramid",)).layers == cache.layers


def test_a_run_with_another_estimator_of_the_same_name_is_another_run(cache_path, tmp_path) -> None:
    run(cache_path, [("mine", RidgeClassifier())], 2, out=tmp_path / "run")
    note = json.loads((tmp_path / "run" / "run.json").read_text())
    note["finished"] = False
    (tmp_path / "run" / "run.json").write_text(json.dumps(note))
    with pytest.raises(errors.OutputExists, match="an unfinished run with other settings"):
        run(cache_path, [("mine", RidgeClassifier(alpha=5.0))], 2, out=tmp_path / "run")


def test_estimators_are_told_apart_by_all_their_parameters_and_by_nothing_else() -> None:
    few, many = (XGBClassifier(reg_lambda=value, n_estimators=5) for value in (1, 1000))
    assert repr(few) == repr(many)
    assert identity(few) != identity(many)
    assert identity(few) == identity(XGBClassifier(reg_lambda=1, n_estimators=5))
    halved = [make_pipeline(FunctionTransformer(lambda X: X / 2), RidgeClassifier()) for _ in range(2)]
    assert identity(halved[0]) == identity(halved[1])
    assert identity(halved[0]) != identity(
        make_pipeline(FunctionTransformer(lambda X: X / 3), RidgeClassifier())
    )


def test_a_head_that_takes_too_long_is_stopped_and_the_others_go_on(cache_path, tmp_path, capfd) -> None:
    endless = "mlp:epochs=100000000"
    document = run(cache_path, [endless, "svm"], 4, time_budget=2.0, out=tmp_path / "run")
    assert "Traceback" not in capfd.readouterr().err
    assert list(document["heads"]) == ["svm"]
    (stop,) = document["stopped"]
    assert (stop["head"], stop["rounds"], stop["of"]) == (endless, 0, 4)
    assert not read_run(tmp_path / "run").finished
    assert document["heads"]["svm"] == run(cache_path, ["svm"], 4)["heads"]["svm"]


def test_a_run_within_its_budget_has_the_numbers_of_one_without(cache_path) -> None:
    assert numbers(run(cache_path, [QUICK, "svm"], 3, time_budget=600)) == numbers(
        run(cache_path, [QUICK, "svm"], 3)
    )


def test_large_vectors_are_made_ready_one_split_at_a_time_with_the_same_numbers(
    cache_path, monkeypatch
) -> None:
    plain = run(cache_path, [QUICK, "svm"], 4, jobs=3)
    monkeypatch.setattr(scheduling, "LARGE", 1)
    assert numbers(run(cache_path, [QUICK, "svm"], 4, jobs=3)) == numbers(plain)


def test_unlabelled_images_of_tested_patients_are_scored_and_never_trained_on(cache_path, tmp_path) -> None:
    with open_cache(cache_path) as cache:
        lines = ["path,label,patient,patient_label"]
        for number, (path, label) in enumerate(zip(cache.samples.path, cache.samples.label, strict=True)):
            known = label if number % 4 < 2 else ""
            lines.append(f"{path},{known},{label}{number // 8},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    document = run(cache_path, labels=tmp_path / "labels.csv", folds=3, out=tmp_path / "run")
    assert document["rows"] == 60
    scored = [record.unlabelled for record in read_run(tmp_path / "run").records()]
    assert sorted(np.concatenate(scored).tolist()) == list(range(60))
    shapes = [record.unlabelled_scores.shape for record in read_run(tmp_path / "run").records()]
    assert shapes == [(len(rows), 2) for rows in scored]
    assert document["unlabelled"] == 60
    with np.load(tmp_path / "run" / "splits.npz", allow_pickle=False) as file:
        assert len(set(file["unlabelled_path"].tolist())) == 60
        assert not set(file["unlabelled_path"].tolist()) & set(file["path"].tolist())


def test_a_run_without_regard_to_patients_says_so(cache_path) -> None:
    said: list[str] = []
    run_rounds(cache_path, ["svm"], 2, grouped=False, controls=False, note=said.append)
    assert any("Patients are known and disregarded" in text for text in said)
    with open_cache(cache_path) as cache:
        assert not problem.from_cache(cache, grouped=False).grouped
