"""Promises about heads in bundles: what is kept answers as what was fitted, and a stranger's is not trusted."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import portable, trees
from icehouse.bundle.contents import Contents
from icehouse.classify import heads
from icehouse.classify.fitting import _scores
from sklearn.tree import DecisionTreeClassifier

D = 12
BUNDLE = Path("model.head")


def drawn(classes: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return standardized vectors, some of them twice and under two classes; their classes; other vectors."""
    generator = np.random.default_rng(classes)
    y = np.arange(120) % classes
    X = generator.normal(size=(120, D)) + np.eye(classes, D)[y]
    X[60:66] = X[1:7]
    X = ((X - X.mean(axis=0)) / X.std(axis=0)).astype(dtype)
    return X, y, np.concatenate([X[:70], generator.normal(size=(60, D)).astype(dtype)])


def fitted(text: str, classes: int, dtype: str = "float32") -> tuple[heads.Spec, Any]:
    X, y, _ = drawn(classes, dtype)
    spec = heads.parse(text)
    return spec, spec.estimator(1).fit(X, y)


def kept(text: str, classes: int = 3) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Return the kind, the state and the arrays of a head that was fitted."""
    spec, estimator = fitted(text, classes)
    state, arrays = portable.stored(spec, estimator)
    return spec.head.name, dict(state), dict(arrays)


def read(
    kind: str, state: dict[str, Any], arrays: dict[str, np.ndarray], classes: int = 3, dimensions: int = D
) -> portable.Scorer:
    return portable.restored(Contents(BUNDLE, {"head_state": state}, arrays), kind, dimensions, classes)


def outcome(kind: str, state: dict[str, Any], arrays: dict[str, np.ndarray], X: np.ndarray) -> str:
    """Return "numbers" if a head answers with such, "no numbers" if not, or why it does not answer."""
    try:
        return "numbers" if np.isfinite(read(kind, state, arrays).scores(X)).all() else "no numbers"
    except errors.BundleError as error:
        return str(error)


EVERY = [
    "mlp:epochs=2",
    "mlp:hidden=9,epochs=2",
    "mlp:hidden=9-5-4,epochs=2",
    "mlp-bn:hidden=20,epochs=2",
    "pyramid:epochs=2",
    "pyramid:widths=2-7-3,epochs=2",
    "svm",
    "svm:kernel=linear,class_weight=balanced",
    "svm:kernel=poly,degree=2,coef0=1",
    "svm:kernel=sigmoid,gamma=0.01",
    "xgboost",
    "xgboost:n_estimators=4,num_parallel_tree=3,max_depth=6,subsample=0.7",
    "xgboost:n_estimators=20,gamma=2",
    "xgboost:n_estimators=3,gamma=1000",
    "xgboost:n_estimators=5,booster=dart",
    "xgboost:n_estimators=5,tree_method=exact,colsample_bynode=1",
    "xgboost:n_estimators=5,grow_policy=lossguide,max_leaves=5,max_depth=0,multi_strategy=one_output_per_tree",
    "logistic",
    "logistic:C=0.1,fit_intercept=false,class_weight=balanced",
    "knn",
    "knn:n_neighbors=1",
    "knn:n_neighbors=4,weights=distance",
    "knn:n_neighbors=500",
    "lda",
    "lda:shrinkage=0.5",
    "forest:n_estimators=20",
    "forest:n_estimators=5,max_depth=1",
    "forest:n_estimators=5,max_leaf_nodes=6,criterion=entropy,class_weight=balanced",
    "forest:n_estimators=5,bootstrap=false,ccp_alpha=0.02,min_samples_leaf=2",
    "dummy",
]
SMALL = {
    "mlp": "mlp:hidden=5-4,epochs=1",
    "mlp-bn": "mlp-bn:hidden=5,epochs=1",
    "pyramid": "pyramid:widths=4-8,epochs=1",
    "svm": "svm",
    "xgboost": "xgboost:n_estimators=2",
    "logistic": "logistic",
    "knn": "knn",
    "lda": "lda",
    "forest": "forest:n_estimators=2",
    "dummy": "dummy",
}


def test_every_kind_of_head_can_be_kept() -> None:
    assert set(portable.KINDS) == set(heads.HEADS) == {text.partition(":")[0] for text in EVERY}


@pytest.mark.parametrize(
    ("text", "classes"),
    [*((text, classes) for text in EVERY for classes in (2, 3)), *((text, 6) for text in SMALL.values())],
)
def test_what_is_kept_answers_as_what_was_fitted(text, classes) -> None:
    spec, estimator = fitted(text, classes)
    state, arrays = portable.stored(spec, estimator)
    assert all(name.startswith("head/") and array.dtype.kind in "fi" for name, array in arrays.items())
    scorer = read(spec.head.name, state, arrays, classes)
    _, _, X = drawn(classes)
    own, scores = _scores(estimator, X, spec.head.probabilities), scorer.scores(X)
    assert scorer.probabilities == spec.head.probabilities
    assert (scores.shape, scores.dtype) == ((len(X), classes), np.float64)
    np.testing.assert_allclose(scores, own, rtol=0, atol=1e-6)
    assert scorer.scores(X[:0]).shape == (0, classes)


@pytest.mark.parametrize("text", SMALL.values())
def test_what_is_kept_answers_alike_in_any_batch(text) -> None:
    kind, state, arrays = kept(text)
    scorer = read(kind, state, arrays)
    X = drawn(3)[2]
    alone = np.concatenate([scorer.scores(X[row : row + 1]) for row in range(0, len(X), 30)])
    np.testing.assert_allclose(scorer.scores(X)[::30], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("text", ["svm", "knn", "mlp:epochs=2", "lda", "logistic", "xgboost", "forest"])
def test_a_head_that_was_fitted_on_float64_is_kept_as_exactly(text) -> None:
    spec, estimator = fitted(text, 3, "float64")
    scorer = read(spec.head.name, *portable.stored(spec, estimator))
    X = drawn(3, "float64")[2]
    np.testing.assert_allclose(
        scorer.scores(X),
        _scores(estimator, X, spec.head.probabilities),
        rtol=0,
        atol=1e-6 if text == "xgboost" else 1e-12,
    )


@pytest.mark.parametrize(
    "text", ["forest:n_estimators=10", "xgboost:n_estimators=10,max_bin=256", "forest:max_depth=3"]
)
def test_a_number_on_a_threshold_or_next_to_it_falls_to_the_side_it_fell_to(text) -> None:
    generator = np.random.default_rng(7)
    X = generator.integers(-3, 4, (120, D)).astype(np.float32) / 3
    y = (X[:, 0] + X[:, 1] + generator.normal(size=120) > 0).astype(int)
    spec = heads.parse(text)
    estimator = spec.estimator(1).fit(X, y)
    state, arrays = portable.stored(spec, estimator)
    scorer = read(spec.head.name, state, arrays, 2)
    tested = []
    for threshold in np.unique(arrays["head/trees/threshold"]):
        for direction in (-np.inf, 0, np.inf):
            near = np.nextafter(threshold, np.float32(direction)) if direction else threshold
            tested += [
                np.full(D, number, dtype=np.float32) for number in (near, np.nextafter(near, np.float32(-9)))
            ]
    own = _scores(estimator, np.array(tested), True)
    np.testing.assert_allclose(scorer.scores(np.array(tested)), own, rtol=0, atol=1e-6)
    assert len(np.unique(own[:, 0])) > 3


def test_a_forest_answers_to_the_last_bit() -> None:
    spec, estimator = fitted("forest", 6)
    scorer = read("forest", *portable.stored(spec, estimator), 6)
    X = drawn(6)[2]
    np.testing.assert_array_equal(scorer.scores(X), estimator.predict_proba(X))


def test_equal_distances_are_decided_as_they_were() -> None:
    X = np.repeat(np.eye(4, D, dtype=np.float32), 15, axis=0)
    y = np.arange(60) % 3
    spec = heads.parse("knn:n_neighbors=4")
    estimator = spec.estimator(0).fit(X, y)
    scorer = read("knn", *portable.stored(spec, estimator))
    np.testing.assert_array_equal(scorer.scores(X), estimator.predict_proba(X))


def test_dropped_trees_of_dart_count_for_what_they_count() -> None:
    X, y, tested = drawn(3)
    spec = heads.parse("xgboost:booster=dart,n_estimators=8")
    estimator = spec.estimator(1).set_params(rate_drop=0.5).fit(X, y)
    scorer = read("xgboost", *portable.stored(spec, estimator))
    np.testing.assert_allclose(scorer.scores(tested), estimator.predict_proba(tested), rtol=0, atol=1e-6)


def test_trees_are_walked_without_xgboost_and_scikit_learn(tmp_path) -> None:
    kind, state, arrays = kept("xgboost:n_estimators=3")
    np.savez(tmp_path / "arrays.npz", **arrays)
    np.save(tmp_path / "scores.npy", read(kind, state, arrays).scores(drawn(3)[0]))
    np.save(tmp_path / "X.npy", drawn(3)[0])
    script = (
        "import sys; sys.modules.update(xgboost=None, sklearn=None)\n"
        "import numpy as np; from pathlib import Path\n"
        "from icehouse.bundle import boosted, contents\n"
        "held = contents.Contents(Path('model.head'), {}, dict(np.load('arrays.npz')))\n"
        "scores = boosted.restored(held, 'xgboost', 12, 3).scores(np.load('X.npy'))\n"
        "assert (scores == np.load('scores.npy')).all()\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


class TestWhatCannotBeKept:
    """It is refused when a head is fitted, in one sentence, not when somebody needs it."""

    def test_an_estimator_of_the_users_own(self) -> None:
        (spec,) = heads.parse_all([("svm", DecisionTreeClassifier())])
        X, y, _ = drawn(2)
        with pytest.raises(errors.BundleError, match="'svm' is an estimator of your own"):
            portable.stored(spec, spec.estimator(0).fit(X, y))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("xgboost:missing=0,n_estimators=2", "missing=0 cannot be kept"),
            ("xgboost:n_estimators=0", "n_estimators=0 cannot be kept"),
            ("xgboost:n_estimators=2,multi_strategy=multi_output_tree", "multi_output_tree cannot be kept"),
        ],
    )
    def test_what_xgboost_makes_otherwise(self, text, message) -> None:
        with pytest.raises(errors.BundleError, match=message):
            kept(text)

    @pytest.mark.filterwarnings("ignore:(?s).*Parameters:UserWarning")  # that a linear booster has no depth
    def test_a_booster_without_trees(self) -> None:
        with pytest.raises(errors.BundleError, match="booster=gblinear cannot be kept"):
            kept("xgboost:booster=gblinear,n_estimators=2")

    def test_a_network_whose_training_diverged(self) -> None:
        spec, estimator = fitted("mlp:epochs=1", 2)
        estimator.weights_[0][3, 3] = np.nan
        with pytest.raises(errors.BundleError, match="its training diverged"):
            portable.stored(spec, estimator)

    def test_a_head_whose_library_answers_otherwise(self) -> None:
        spec, estimator = fitted("logistic", 3)
        estimator.predict_proba = lambda X: np.full((len(X), 3), 1 / 3)
        with pytest.raises(errors.BundleError, match="would answer differently"):
            portable.stored(spec, estimator)

    def test_a_tree_without_end(self) -> None:
        count = 2 * trees.LEVELS + 3
        inner = np.arange(count) % 2 == 0
        inner[-1] = False
        left = np.where(inner, np.arange(count) + 1, -1)
        tree = trees.Tree(
            left, np.where(inner, left + 1, -1), left * 0, np.zeros(count, "f4"), np.zeros((count, 1), "f4")
        )
        with pytest.raises(errors.BundleError, match="give the head a max_depth"):
            trees.stored([tree])


class TestABundleFromAStranger:
    """Whatever it holds, it is either refused as damaged or answers with numbers."""

    @pytest.mark.parametrize("kind", SMALL)
    def test_an_array_that_is_missing_misshapen_or_no_numbers_is_refused(self, kind) -> None:
        _, state, arrays = kept(SMALL[kind])
        for name, array in arrays.items():
            others = [array[:-1], array[..., None], array.astype("float16"), np.concatenate([array, array])]
            if array.dtype.kind == "f":
                others.append(np.full_like(array, np.nan))
            for other in others:
                with pytest.raises(errors.BundleDamaged):
                    read(kind, state, {**arrays, name: other})
            with pytest.raises(errors.BundleDamaged, match="is missing"):
                read(kind, state, {key: value for key, value in arrays.items() if key != name})

    @pytest.mark.parametrize("kind", SMALL)
    def test_another_length_of_vectors_or_number_of_classes_is_refused(self, kind) -> None:
        _, state, arrays = kept(SMALL[kind])
        with pytest.raises(errors.BundleDamaged):
            read(kind, state, arrays, classes=4)
        if kind not in ("xgboost", "forest", "dummy"):  # which look at some features or none
            with pytest.raises(errors.BundleDamaged):
                read(kind, state, arrays, dimensions=D + 1)

    @pytest.mark.parametrize("kind", ["mlp", "mlp-bn", "pyramid", "svm", "knn"])
    def test_a_field_that_is_missing_or_of_another_kind_is_refused(self, kind) -> None:
        _, state, arrays = kept(SMALL[kind])
        for name in state:
            for value in (None, "odd", True, [1.5], [], {}, float("nan"), float("inf")):
                with pytest.raises(errors.BundleDamaged):
                    read(kind, {**state, name: value}, arrays)

    @pytest.mark.parametrize(
        ("kind", "field", "value"),
        [
            ("mlp", "hidden", [10**9, 4]),
            ("mlp", "hidden", [1] * 10_000),
            ("mlp-bn", "hidden", [2**31 - 1]),
            ("mlp-bn", "hidden", [5, 5]),
            ("pyramid", "widths", [D]),
            ("pyramid", "widths", [4, 9]),
            ("pyramid", "widths", [1] * 10**5),
            ("svm", "kernel", "precomputed"),
            ("svm", "gamma", -1),
            ("svm", "degree", -1),
            ("svm", "degree", 2**31),
            ("svm", "precision", "object"),
            ("knn", "n_neighbors", 0),
            ("knn", "n_neighbors", 121),
            ("knn", "weights", "callable"),
            ("knn", "precision", "float64"),
        ],
    )
    def test_a_field_that_the_arrays_or_the_estimator_do_not_allow_is_refused(self, kind, field, value) -> None:
        _, state, arrays = kept(SMALL[kind])
        assert field in state
        with pytest.raises(errors.BundleDamaged, match=r"model\.head"):
            read(kind, {**state, field: value}, arrays)

    @pytest.mark.parametrize(
        ("kind", "name", "index", "value", "message"),
        [
            ("mlp-bn", "head/weights/3", 0, -1, "variance is negative"),
            ("mlp-bn", "head/weights/9", 0, -1, "variance is negative"),
            ("dummy", "head/priors", 0, -0.5, "frequencies"),
            ("dummy", "head/priors", 0, 0.5, "frequencies"),
            ("knn", "head/labels", 5, 3, "labels are not those"),
            ("knn", "head/labels", 5, -1, "labels are not those"),
            ("knn", "head/labels", slice(None), 1, "labels are not those"),
            ("knn", "head/neighbours", 0, 3e38, "no vector of length 1"),
            ("xgboost", "head/outputs", 0, 3, "adds to a class"),
            ("xgboost", "head/outputs", 0, -1, "adds to a class"),
            ("xgboost", "head/trees/feature", 0, D, "a feature"),
            ("forest", "head/trees/feature", 0, 2**31 - 1, "a feature"),
            ("forest", "head/trees/feature", 0, -2, "a feature"),
            ("forest", "head/trees/leaves", 0, [1.5, 0, -0.5], "no shares"),
            ("forest", "head/trees/leaves", 0, [0.5, 0, 0], "no shares"),
            ("forest", "head/trees/nodes", 0, 0, "without a node"),
            ("forest", "head/trees/nodes", 0, -7, "without a node"),
            ("forest", "head/trees/nodes", slice(None), 2**31 - 1, "head/trees/feature"),
        ],
    )
    def test_a_number_that_no_fitted_head_has_is_refused(self, kind, name, index, value, message) -> None:
        _, state, arrays = kept(SMALL[kind])
        arrays[name] = arrays[name].copy()
        arrays[name][index] = value
        with pytest.raises(errors.BundleDamaged, match=message):
            read(kind, state, arrays)

    @staticmethod
    def ensemble(counts: list[int], features: list[int]) -> dict[str, np.ndarray]:
        """Return trees by their nodes' features, -1 of a leaf, whose leaves all say the first class."""
        inner = sum(feature >= 0 for feature in features)
        leaves = np.zeros((len(features) - inner, 3))
        leaves[:, 0] = 1
        return {
            "head/trees/nodes": np.array(counts, dtype=np.int32),
            "head/trees/feature": np.array(features, dtype=np.int32),
            "head/trees/threshold": np.zeros(inner, dtype=np.float32),
            "head/trees/leaves": leaves,
        }

    @pytest.mark.parametrize(
        ("counts", "features"),
        [
            ([3], [-1, 0, -1]),
            ([5], [0, -1, -1, 1, -1]),
            ([3], [-1, -1, 0]),
            ([3], [0, 0, -1]),
            ([2], [0, -1]),
            ([3], [-1, -1, -1]),
            ([1, 3], [0, -1, -1, -1]),
            ([3, 1], [-1, -1, -1, 0]),
            ([4, 2], [0, -1, -1, 0, -1, -1]),
        ],
    )
    def test_nodes_that_form_no_tree_are_refused(self, counts, features) -> None:
        with pytest.raises(errors.BundleDamaged, match="do not form a tree"):
            read("forest", {}, self.ensemble(counts, features))

    def test_trees_of_one_leaf_and_of_all_allowed_levels_are_walked(self) -> None:
        chain = [0, *[-1, 0] * (trees.LEVELS - 1), -1, -1]
        scores = read("forest", {}, self.ensemble([1, len(chain)], [-1, *chain])).scores(drawn(3)[0])
        assert (scores == [1, 0, 0]).all()

    def test_a_tree_of_more_levels_is_refused(self) -> None:
        chain = [0, *[-1, 0] * trees.LEVELS, -1, -1]
        with pytest.raises(errors.BundleDamaged, match="levels"):
            read("forest", {}, self.ensemble([len(chain)], chain))

    def test_no_tree_at_all_is_refused(self) -> None:
        with pytest.raises(errors.BundleDamaged, match="no tree"):
            read("forest", {}, self.ensemble([], []))

    def test_a_kind_that_nobody_knows_is_refused(self) -> None:
        with pytest.raises(errors.BundleDamaged, match="no kind of head 'pickle'"):
            read("pickle", {}, {})

    @pytest.mark.parametrize("kind", ["mlp", "svm", "xgboost", "logistic", "lda"])
    def test_numbers_that_multiply_to_infinity_are_found_out_by_the_answers(self, kind) -> None:
        _, state, arrays = kept("mlp:hidden=4-4-4-4-4-4-4-4,epochs=1" if kind == "mlp" else SMALL[kind])
        largest = {
            name: array if array.dtype.kind == "i" else np.full_like(array, np.finfo(array.dtype).max)
            for name, array in arrays.items()
        }
        if kind == "svm":
            state |= {"kernel": "poly", "degree": 2**31 - 1}
        scorer = read(kind, state, largest)
        with pytest.raises(errors.BundleDamaged, match="the head's scores of these vectors"):
            scorer.scores(np.full((4, D), 3e38, dtype=np.float32) if kind != "xgboost" else drawn(3)[0])

    @pytest.mark.parametrize("kind", SMALL)
    def test_vectors_at_the_edge_of_float32_get_numbers_or_a_sentence(self, kind) -> None:
        head = kept(SMALL[kind])
        for X in (np.full((2, D), 3.4e38, dtype=np.float32), np.full((2, D), -3.4e38), np.full((2, D), 1e300)):
            said = outcome(*head, X)
            assert said == "numbers" or "vectors" in said

    def test_trees_refuse_vectors_beyond_float32_as_their_libraries_do(self) -> None:
        for kind in ("xgboost", "forest"):
            with pytest.raises(errors.BundleError, match="too large for float32"):
                read(*kept(SMALL[kind])).scores(np.full((2, D), 1e39))

    @pytest.mark.parametrize("kind", SMALL)
    def test_altered_numbers_are_refused_or_answer_with_numbers(self, kind) -> None:
        _, state, arrays = kept(SMALL[kind])
        generator = np.random.default_rng(11)
        X = drawn(3)[0][:10]
        for attempt in range(40):
            name = list(arrays)[generator.integers(len(arrays))]
            altered = arrays[name].copy()
            raw = altered.reshape(-1).view(np.uint8).reshape(-1, altered.itemsize)
            place = generator.integers(len(raw))
            if attempt % 2:
                raw[place] = generator.integers(256, size=altered.itemsize)
            else:  # very large, or infinite, or no number
                raw[place, -2:] = generator.integers(224, 256), generator.choice([127, 255])
            said = outcome(kind, state, {**arrays, name: altered}, X)
            assert said == "numbers" or "is damaged or was altered" in said

    def test_a_wide_network_in_a_small_file_takes_no_more_memory_than_a_block(self) -> None:
        units = 10**6
        shapes = [(1, units), (units,), (units, 2), (2,)]
        arrays = {f"head/weights/{number}": np.zeros(shape, "f4") for number, shape in enumerate(shapes)}
        scorer = read("mlp", {"hidden": [units]}, arrays, classes=2, dimensions=1)
        X = np.zeros((64, 1), dtype=np.float32)  # 512 MB in the hidden layer, all at once
        tracemalloc.start()
        try:
            np.testing.assert_array_equal(scorer.scores(X), 0.5)
            assert tracemalloc.get_traced_memory()[1] < 250e6
        finally:
            tracemalloc.stop()
