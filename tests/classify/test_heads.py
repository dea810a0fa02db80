"""Promises about heads: how they are named, that they are scikit-learn estimators, that the MLP is Adam's."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.classify import heads
from icehouse.classify.mlp import MLP, _Network
from sklearn.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks([MLP(epochs=60)])
def test_the_mlp_keeps_scikit_learns_contract(estimator, check) -> None:
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
    ("text", "message"),
    [
        ("swm", r"no head 'swm'\. Did you mean 'svm'"),
        ("svm:c=1", "no parameter 'c'"),
        ("svm:gama=1", "Did you mean 'gamma'"),
        ("svm:", "parameters are expected after the colon"),
        ("svm:C", "'C' is not of the form parameter=value"),
        ("svm:C=1,C=2", "C is given twice"),
        ("svm:decision_function_shape=ovo", "no parameter 'decision_function_shape'"),
    ],
)
def test_what_is_no_head_is_refused(text, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        heads.parse(text)


def test_a_head_named_twice_is_refused_and_so_is_none() -> None:
    with pytest.raises(errors.UsageError, match="No head was named"):
        heads.parse_all([])
    with pytest.raises(errors.UsageError, match="named twice"):
        heads.parse_all(["svm", "mlp", "svm"])


@pytest.mark.parametrize("name", list(heads.HEADS))
def test_every_head_takes_its_seed_and_repeats_itself(name, two_clouds) -> None:
    vectors, labels = two_clouds
    y = np.array([label == "covid" for label in labels]).astype(int)
    scores = []
    for _ in range(2):
        estimator = heads.parse(name).build(seed=3).fit(vectors.copy(), y)
        ask = estimator.predict_proba if heads.HEADS[name].probabilities else estimator.decision_function
        scores.append(ask(vectors.copy()))
    np.testing.assert_array_equal(*scores)


def test_adam_in_place_takes_the_steps_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(32, 6)).astype(np.float32)
    y = generator.integers(0, 3, 32)
    network = _Network((6, 5, 3), np.random.default_rng(1))
    w = [array.astype(np.float64) for layer in network.layers for array in layer]
    m, v = ([np.zeros_like(array) for array in w] for _ in range(2))
    for step in range(1, 21):
        hidden = np.maximum(X @ w[0] + w[1], 0)
        logits = hidden @ w[2] + w[3]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.log(p[np.arange(32), y]).sum()
        error = (p - np.eye(3)[y]) / 32
        back = (error @ w[2].T) * (hidden > 0)
        gradients = [X.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        for index, gradient in enumerate(gradients):
            m[index] = 0.9 * m[index] + 0.1 * gradient
            v[index] = 0.999 * v[index] + 0.001 * gradient**2
            rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            w[index] = w[index] - rate * m[index] / (np.sqrt(v[index]) + 1e-7)
        ours, _ = network.step(X, y, 0.01)
        assert ours == pytest.approx(loss, rel=1e-4)
    for mine, theirs in zip((a for layer in network.layers for a in layer), w, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-5)


def test_the_mlp_keeps_loss_and_accuracy_of_every_epoch(two_clouds) -> None:
    vectors, labels = two_clouds
    history = MLP(epochs=30, random_state=0).fit(vectors, labels).history_
    assert len(history["loss"]) == len(history["accuracy"]) == 30
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["accuracy"][-1] > 0.9


def test_the_default_mlp_is_64_32() -> None:
    generator = np.random.default_rng(0)
    fitted = MLP(epochs=1).fit(generator.normal(size=(40, 10)), np.arange(40) % 2)
    assert [array.shape for array in fitted.weights_] == [(10, 64), (64,), (64, 32), (32,), (32, 2), (2,)]
    one_layer = heads.parse("mlp:hidden=7,epochs=1").build(0)[-1].fit(np.ones((4, 2)), [0, 1, 0, 1])
    assert [array.shape for array in one_layer.weights_] == [(2, 7), (7,), (7, 2), (2,)]
    assert heads.parse("mlp:hidden=64,32").parameters == heads.parse("mlp:hidden=64-32").parameters


@pytest.mark.parametrize(
    "bad",
    [
        {"hidden": ()},
        {"hidden": "big"},
        {"hidden": (8, 0)},
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": -1.0},
    ],
)
def test_impossible_parameters_of_the_mlp_are_refused(bad, two_clouds) -> None:
    with pytest.raises(ValueError, match=r"must be|1 or more"):
        MLP(**bad).fit(*two_clouds)
