"""Promises about heads: how they are asked for, what each of them says, what is refused before a run begins."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify import heads
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

NUMBERED = "it wants classes numbered from 0 on, as problems have them"
REPLACED = "it replaces its parameter `objective` where there are more than two classes"
XGBOOST_FAILS = {
    "check_all_zero_sample_weights_error": "its message does not say so",
    "check_classifier_data_not_an_array": NUMBERED,
    "check_classifiers_classes": NUMBERED,
    "check_classifiers_multilabel_output_format_predict": "its answers to several labels a row are floats",
    "check_dont_overwrite_parameters": REPLACED,
    "check_estimators_dtypes": NUMBERED,
    "check_estimators_overwrite_params": REPLACED,
    "check_fit2d_1feature": NUMBERED,
    "check_fit2d_1sample": NUMBERED,
    "check_sample_weight_equivalence_on_dense_data": "its sums are of float32",
    "check_sample_weight_equivalence_on_sparse_data": "its sums are of float32",
    "check_sample_weights_not_an_array": NUMBERED,
    "check_sample_weights_not_overwritten": NUMBERED,
    "check_sample_weights_pandas_series": NUMBERED,
    "check_sample_weights_shape": NUMBERED,
}


def quick(name: str) -> heads.Spec:
    """Return a head with few epochs or trees, where it has any."""
    known = heads.HEADS[name].make().get_params()
    return heads.Spec(name, heads.HEADS[name], {key: 3 for key in ("epochs", "n_estimators") if key in known})


@pytest.mark.filterwarnings("ignore:Unknown data type:UserWarning")  # of sparse kinds it has not heard of
@parametrize_with_checks([quick("xgboost").estimator(0)], expected_failed_checks=lambda _: XGBOOST_FAILS)
def test_xgboost_keeps_scikit_learns_contract_but_for_what_is_listed(estimator, check) -> None:
    check(estimator)


def test_a_head_is_read_with_its_parameters() -> None:
    spec = heads.parse("svm:C=10,kernel=linear,class_weight=none")
    assert spec.text == "svm:C=10,kernel=linear,class_weight=none"
    assert spec.parameters == {"C": 10, "kernel": "linear", "class_weight": None}
    estimator = spec.build(seed=1)[-1]
    assert (estimator.C, estimator.kernel) == (10, "linear")


def test_the_fields_way_of_writing_layers_is_read() -> None:
    assert heads.parse("mlp:hidden=128-64-32,learning_rate=1e-2").parameters == {
        "hidden": (128, 64, 32),
        "learning_rate": 0.01,
    }


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"name": "svm"}, "svm"),
        ({"name": "svm", "C": 10, "class_weight": "balanced"}, "svm:C=10,class_weight=balanced"),
        ({"name": "mlp", "hidden": [128, 64], "learning_rate": 0.01}, "mlp:hidden=128-64,learning_rate=0.01"),
        ({"name": "xgboost", "reg_alpha": 1e-05}, "xgboost:reg_alpha=1e-05"),
        ({"name": "forest", "bootstrap": False}, "forest:bootstrap=false"),
        ({"name": "svm", "class_weight": None}, "svm:class_weight=none"),
    ],
)
def test_a_table_of_an_experiment_file_is_the_head_of_the_command_line(table, text) -> None:
    (spec,) = heads.parse_all([table])
    typed = heads.parse(text)
    assert (spec.text, spec.parameters) == (typed.text, typed.parameters)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"C": 10}, "needs its name"),
        ({"name": "svm", "c": 10}, "no parameter 'c'"),
        ({"name": "swm"}, "Did you mean 'svm'"),
        ({"name": "svm", "class_weight": {"covid": 2.0}}, "class_weight must be a number, a text"),
        ({"name": "mlp", "hidden": [0.5]}, "hidden must be a number, a text"),
        ({"name": "mlp", "hidden": []}, "hidden must be a number, a text"),
    ],
)
def test_a_table_that_is_no_head_is_refused(table, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        heads.parse_all([table])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swm", r"no head 'swm'\. Did you mean 'svm'"),
        ("svm:c=1", "no parameter 'c'"),
        ("svm:gama=1", "Did you mean 'gamma'"),
        ("svm:", "parameters are expected after the colon"),
        ("svm:C", "'C' is not of the form parameter=value"),
        ("svm:C=1,C=2", "C is given twice"),
        ("xgboost:n_jobs=4", "no parameter 'n_jobs'"),
        ("dummy:strategy=uniform", "no parameter 'strategy'. It has none."),
    ],
)
def test_what_is_no_head_is_refused(text, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        heads.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("svm:C=abc", "C='abc' is refused"),
        ("svm:C=-1", "C=-1 is refused"),
        ("svm:kernel=cosine,C=1", "kernel='cosine' is refused"),
        ("svm:gamma=wide", "gamma='wide' is refused"),
        ("mlp:epochs=1.5", "epochs=1.5 is refused"),
        ("mlp:epochs=50,batch_size=many", "batch_size='many' is refused"),
        ("mlp:hidden=big", "hidden='big' is refused"),
        ("knn:n_neighbors=0", "n_neighbors=0 is refused"),
        ("lda:shrinkage=2", "shrinkage=2 is refused"),
        ("logistic:C=0", "C=0 is refused"),
        ("forest:n_estimators=none", "n_estimators=None is refused"),
        ("forest:bootstrap=false,max_samples=0.5", "are refused together"),
        ("xgboost:max_depth=deep", "max_depth='deep' is refused"),
        ("xgboost:tree_method=fast", "tree_method='fast' is refused"),
    ],
)
def test_a_value_that_a_head_refuses_is_named_before_any_round(text, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        heads.parse(text).check()


@pytest.mark.parametrize(
    "text",
    [
        "mlp:epochs=100000",
        "svm:C=1e6,kernel=poly,degree=2",
        "knn:n_neighbors=50",
        "forest:max_samples=300,max_features=50",
        "xgboost:max_depth=6,max_bin=256,colsample_bynode=1,n_estimators=5000",
        "xgboost:random_state=7",
        "pyramid:widths=24-40",
        "mlp-bn:dropout=0.2",
        *heads.HEADS,
    ],
)
def test_a_value_that_a_head_takes_passes(text, capfd) -> None:
    heads.parse(text).check()
    assert capfd.readouterr() == ("", "")


def test_a_head_named_twice_is_refused_and_so_is_none() -> None:
    with pytest.raises(errors.UsageError, match="No head was named"):
        heads.parse_all([])
    with pytest.raises(errors.UsageError, match="named twice"):
        heads.parse_all(["svm", "mlp", "svm"])
    with pytest.raises(errors.UsageError, match="'svm:C=1' is named twice"):
        heads.parse_all(["svm:C=1", {"name": "svm", "C": 1}])
    with pytest.raises(errors.UsageError, match="must be a list"):
        heads.parse_all("svm")


@pytest.mark.parametrize("name", list(heads.HEADS))
def test_every_head_says_what_it_is(name, two_clouds) -> None:
    vectors, labels = two_clouds
    y = np.array([label == "covid" for label in labels]).astype(int)
    spec, head = quick(name), heads.HEADS[name]
    estimator = spec.estimator(seed=3, widths=(10, 6))
    weights = {"sample_weight": np.ones(len(y))} if head.weighs else {}
    further = {"validation": (vectors[:20], y[:20])} if head.epochs else {}
    estimator.fit(vectors, y, **weights, **further)
    assert hasattr(estimator, "predict_proba") == head.probabilities
    assert hasattr(estimator, "history_") == head.epochs
    assert set(head.grid) <= set(estimator.get_params()) - set(head.withheld)


@pytest.mark.parametrize("name", list(heads.HEADS))
def test_every_head_takes_its_seed_and_repeats_itself(name, two_clouds) -> None:
    vectors, labels = two_clouds
    y = np.array([label == "covid" for label in labels]).astype(int)
    scores = []
    for seed in (3, 3, 4):
        estimator = quick(name).build(seed).fit(vectors, y)
        ask = estimator.predict_proba if heads.HEADS[name].probabilities else estimator.decision_function
        scores.append(ask(vectors))
    np.testing.assert_array_equal(*scores[:2])
    assert np.array_equal(scores[1], scores[2]) != quick(name).seeded


def test_a_head_whose_seed_is_set_depends_on_no_other() -> None:
    assert heads.parse("mlp").seeded
    assert not heads.parse("mlp:random_state=7").seeded
    assert heads.parse("mlp:random_state=7").estimator(seed=3).random_state == 7
    assert heads.parse("mlp:random_state=none").estimator(seed=3).random_state == 3


def test_heads_that_controls_may_choose_from_are_ranked_each_with_a_rank_of_its_own() -> None:
    ranks = [head.cost for head in heads.HEADS.values() if head.cost is not None]
    assert sorted(ranks) == list(range(1, len(heads.HEADS)))
    assert heads.HEADS["dummy"].cost is None


def test_widths_reach_a_head_that_wants_them_unless_the_user_set_them() -> None:
    assert heads.parse("pyramid").estimator(0, widths=(3, 5)).widths == (3, 5)
    assert heads.parse("pyramid:widths=4-4").estimator(0, widths=(3, 5)).widths == (4, 4)
    assert "widths" not in heads.parse("svm").estimator(0, widths=(3, 5)).get_params()


def test_a_pipeline_standardizes_and_reduces_and_leaves_the_vectors_alone(two_clouds) -> None:
    vectors, labels = two_clouds
    before = vectors.copy()
    built = heads.parse("svm").build(seed=1, reduce=5).fit(vectors, labels)
    np.testing.assert_array_equal(vectors, before)
    assert built[-1].n_features_in_ == 5
    np.testing.assert_allclose(built[0].transform(vectors).std(axis=0), 1, rtol=1e-3)
    assert [name for name, _ in heads.parse("svm").build(seed=1).steps] == ["standardscaler", "svm"]


def test_estimators_of_ones_own_are_heads_that_are_never_changed(two_clouds) -> None:
    mine = make_pipeline(PCA(3), RandomForestClassifier(n_estimators=4))
    named, unnamed, old = heads.parse_all([("mine", mine), SVC(C=3, random_state=0), "svm"])
    assert (named.text, unnamed.text, old.text) == ("mine", "SVC", "svm")
    assert (named.head.probabilities, unnamed.head.probabilities) == (True, False)
    assert (named.head.weighs, unnamed.head.weighs) == (False, True)
    assert not named.head.standardized
    assert (named.seeded, unnamed.seeded) == (True, True)
    assert "C=3" in unnamed.head.description
    answers = [named.build(seed).fit(*two_clouds).predict_proba(two_clouds[0]) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(*answers[:2])
    assert not np.array_equal(answers[1], answers[2])
    assert not hasattr(mine[-1], "estimators_")
    assert mine[-1].random_state is None
    for spec in (named, unnamed):
        built = spec.build(seed=1, reduce=2)
        assert isinstance(built, Pipeline)
        assert len(built.steps) == 1  # as they are: neither standardized nor reduced
        spec.check()


class WithoutParameters:
    """What looks like a classifier and has no parameters."""

    def fit(self, X: object, y: object) -> None: ...
    def predict(self, X: object) -> None: ...
    def predict_proba(self, X: object) -> None: ...


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (SVC, r"SVC is a class; give an estimator made of it: SVC\(\)"),
        (("mine", LogisticRegression), "LogisticRegression is a class"),
        (LinearRegression(), "no classifier of scikit-learn's kind"),
        (7, "Head 'int' is no classifier"),
        (("mine", "svm"), "Head 'mine' is no classifier"),
        (WithoutParameters(), "no classifier of scikit-learn's kind"),
        (SVC(decision_function_shape="ovo"), "decision_function_shape to 'ovr'"),
    ],
)
def test_what_is_no_estimator_is_refused(head, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        heads.parse_all([head])


def test_two_estimators_of_one_class_need_names() -> None:
    with pytest.raises(errors.UsageError, match=r"'SVC' is named twice\. Give your own estimators names"):
        heads.parse_all([SVC(), SVC(C=2)])


def test_xgboost_fits_the_same_trees_again() -> None:
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(150, 40)).astype(np.float32), np.arange(150) % 3
    first, second = (heads.parse("xgboost").estimator(5).fit(X, y).get_booster() for _ in range(2))
    assert first.save_raw("json") == second.save_raw("json")
