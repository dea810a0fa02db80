"""Promises about the neural heads: scikit-learn's contract, Adam's steps, what fit takes and refuses."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
from icehouse.classify.layers import BatchNorm, Dense, Dropout, Parallel
from icehouse.classify.mlp import MLP
from icehouse.classify.mlp_bn import BatchNormMLP
from icehouse.classify.pyramid import Pyramid
from icehouse.classify.training import Network
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

KINDS = (MLP, BatchNormMLP, Pyramid)
NOT_THEIRS = {
    "check_sample_weight_equivalence_on_dense_data": "rows are met in batches: a row that is there twice makes"
    " other batches, and each batch is divided by its number of rows (as in Keras)"
}


@parametrize_with_checks(
    [MLP(epochs=60), BatchNormMLP(hidden=32, epochs=30), Pyramid(epochs=60, learning_rate=0.01)],
    expected_failed_checks=lambda _: NOT_THEIRS,
)
def test_neural_heads_keep_scikit_learns_contract(estimator, check) -> None:
    check(estimator)


def test_adam_in_place_takes_the_steps_of_the_paper() -> None:
    generator = np.random.default_rng(0)
    X = generator.normal(size=(32, 6)).astype(np.float32)
    y = generator.integers(0, 3, 32)
    network = Network([Dense(6, 5), Dense(5, 3, relu=False)], np.random.default_rng(1), 0.01)
    network.adam.scale = 1000.0  # so that the scale grows too large and is brought back on the way
    w = [array.astype(np.float64) for array in network.weights()]
    m, v = ([np.zeros_like(array) for array in w] for _ in range(2))
    for step in range(1, 81):
        hidden = np.maximum(X @ w[0] + w[1], 0)
        logits = hidden @ w[2] + w[3]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        error = (p - np.eye(3)[y]) / 32
        back = (error @ w[2].T) * (hidden > 0)
        gradients = [X.T @ back, back.sum(axis=0), hidden.T @ error, error.sum(axis=0)]
        for index, gradient in enumerate(gradients):
            m[index] = 0.9 * m[index] + 0.1 * gradient
            v[index] = 0.999 * v[index] + 0.001 * gradient**2
            rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            w[index] = w[index] - rate * m[index] / (np.sqrt(v[index]) + 1e-7)
        ours = np.empty((32, 3), dtype=np.float32)
        network.step(X.copy(), np.eye(3, dtype=np.float32)[y], None, ours)
        np.testing.assert_allclose(ours, p, rtol=1e-3, atol=1e-5)
    assert network.adam.scale < 100
    for mine, theirs in zip(network.weights(), w, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Dense(6, 4),
        lambda: Dense(6, 4, relu=False),
        lambda: BatchNorm(6),
        lambda: Dropout(0.25),
        lambda: Parallel((2, 4), 3),
    ],
    ids=["dense with ReLU", "dense", "batch normalization", "dropout", "parallel"],
)
def test_every_layer_hands_back_the_gradient_of_its_input(make) -> None:
    generator = np.random.default_rng(4)
    X = generator.normal(size=(5, 6)).astype(np.float32)

    def answers(X: np.ndarray) -> tuple[object, np.ndarray]:
        layer = make()  # anew, so that dropout draws the same
        arrays = layer.initial(np.random.default_rng(8))
        layer.bind(arrays, [np.zeros_like(array) for array in arrays[: layer.trained]])
        return layer, layer.forward(X.copy())

    layer, answer = answers(X)
    error = generator.normal(size=answer.shape).astype(np.float32)
    mine = error.copy()
    layer.learn(mine)
    back = layer.back(mine)
    for place in np.ndindex(X.shape):
        moved = [X.copy(), X.copy()]
        moved[0][place] += 1e-2
        moved[1][place] -= 1e-2
        up, down = (float(np.vdot(error, answers(each)[1])) for each in moved)
        assert back[place] == pytest.approx((up - down) / 2e-2, abs=5e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_accuracy_of_every_epoch_are_kept(kind, two_clouds) -> None:
    head = kind(epochs=30, learning_rate=0.02, random_state=0).fit(*two_clouds)
    assert {name: len(values) for name, values in head.history_.items()} == {"loss": 30, "accuracy": 30}
    assert head.history_["loss"][-1] < 0.9 * head.history_["loss"][0]
    assert head.history_["accuracy"][-1] > 0.65


@pytest.mark.parametrize("kind", KINDS)
def test_validation_rows_are_looked_at_and_change_nothing(kind, two_clouds) -> None:
    X, y = two_clouds[0], np.array(two_clouds[1])
    plain = kind(epochs=5, random_state=0).fit(X[:90], y[:90])
    watched = kind(epochs=5, random_state=0).fit(X[:90], y[:90], validation=(X[90:], y[90:]))
    for mine, theirs in zip(plain.weights_, watched.weights_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert plain.history_ == {name: watched.history_[name] for name in ("loss", "accuracy")}
    assert len(watched.history_["val_loss"]) == len(watched.history_["val_accuracy"]) == 5
    answers = watched.predict_proba(X[90:])
    of_truth = answers[np.arange(30), (y[90:] == "normal").astype(int)]
    assert watched.history_["val_loss"][-1] == pytest.approx(-np.log(of_truth).mean(), rel=1e-4)
    assert watched.history_["val_accuracy"][-1] == watched.score(X[90:], y[90:])
    with pytest.raises(ValueError, match="the class 'other', which the training part does not"):
        plain.fit(X, y, validation=(X[:2], ["normal", "other"]))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_weight_0_teach_nothing(kind, two_clouds) -> None:
    X, y = two_clouds
    weights = np.repeat([1.0, 0.0], 60)
    wrong = [*y[:60], *(("covid", "normal")[label == "covid"] for label in y[60:])]
    told = [kind(epochs=5, random_state=0).fit(X, labels, sample_weight=weights) for labels in (y, wrong)]
    np.testing.assert_allclose(*(head.predict_proba(X) for head in told), atol=1e-12)
    np.testing.assert_allclose(*(head.history_["loss"] for head in told), rtol=1e-6)
    with pytest.raises(ValueError, match="must not be negative"):
        kind().fit(X, y, sample_weight=-weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_last_batch_of_one_row_is_no_hindrance(kind, two_clouds) -> None:
    X, y = two_clouds
    head = kind(epochs=30, batch_size=17, learning_rate=0.02, random_state=0).fit(X, y)
    assert len(X) % 17 == 1
    assert np.isfinite(head.predict_proba(X)).all()
    assert head.score(X, y) > 0.6
    assert np.isfinite(kind(epochs=2, batch_size=1).fit(X, y).predict_proba(X)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_answers_do_not_depend_on_what_else_is_asked(kind, two_clouds) -> None:
    X, y = two_clouds
    head = pickle.loads(pickle.dumps(kind(epochs=3, random_state=0).fit(X, y)))
    many = np.tile(X, (10, 1))
    np.testing.assert_allclose(head.predict_proba(many)[-1:], head.predict_proba(X[-1:]), atol=1e-14)
    np.testing.assert_allclose(head.predict_proba(X.astype(np.float64)), head.predict_proba(X), atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_never_copied_whole(kind) -> None:
    X = np.random.default_rng(0).normal(size=(8000, 1024)).astype(np.float32)
    y = np.arange(len(X)) % 2
    head = kind(epochs=1)
    tracemalloc.start()
    try:
        head.fit(X, y, validation=(X, y)).predict(X)
        assert tracemalloc.get_traced_memory()[1] < 0.5 * X.nbytes
    finally:
        tracemalloc.stop()


def test_the_default_mlp_is_64_32() -> None:
    generator = np.random.default_rng(0)
    fitted = MLP(epochs=1).fit(generator.normal(size=(40, 10)), np.arange(40) % 2)
    assert [array.shape for array in fitted.weights_] == [(10, 64), (64,), (64, 32), (32,), (32, 2), (2,)]
    one_layer = MLP(hidden=7, epochs=1).fit(np.ones((4, 2)), [0, 1, 0, 1])
    assert [array.shape for array in one_layer.weights_] == [(2, 7), (7,), (7, 2), (2,)]


def test_each_scale_of_a_pyramid_is_answered_for_itself(two_clouds) -> None:
    X, y = two_clouds
    head = Pyramid(widths=(3, 13), epochs=2, random_state=0).fit(X, y)
    assert [array.shape for array in head.weights_] == [(3, 2), (2,), (13, 2), (2,), (4, 2), (2,)]
    first = head.weights_[0]
    first[...] = 0
    other = X.copy()
    other[:, :3] = 7
    np.testing.assert_array_equal(head.predict_proba(X), head.predict_proba(other))
    whole, one = (Pyramid(widths, epochs=2, random_state=0).fit(X, y) for widths in (None, (16,)))
    np.testing.assert_array_equal(whole.predict_proba(X), one.predict_proba(X))


def test_dropout_drops_its_share_and_enlarges_the_rest() -> None:
    layer = Dropout(0.3)
    layer.initial(np.random.default_rng(0))
    answer = layer.forward(np.ones((200, 500), dtype=np.float32))
    assert np.mean(answer == 0) == pytest.approx(0.3, abs=0.005)
    assert answer.max() == pytest.approx(1 / 0.7, rel=1e-4)
    assert answer.mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (MLP(hidden=()), r"hidden must be positive numbers of units, such as \(64, 32\), not \(\)"),
        (MLP(hidden="big"), "hidden must be positive numbers"),
        (MLP(hidden=(8, 0)), "hidden must be positive numbers"),
        (BatchNormMLP(hidden=(8, 8)), r"hidden must be a whole number of 1 or more, not \(8, 8\)"),
        (BatchNormMLP(dropout=1), "dropout must be 0 or more and less than 1, not 1"),
        (BatchNormMLP(dropout="half"), "dropout must be 0 or more and less than 1, not 'half'"),
        (Pyramid(widths=(8, 9)), r"widths \(8, 9\) make 17 numbers in all, and the vectors have 16"),
        (Pyramid(widths=16), r"widths must be whole numbers, such as \(1024, 2048\), or None, not 16"),
        (Pyramid(widths=(16, 0)), "each of widths must be a whole number of 1 or more, not 0"),
        (Pyramid(epochs=0), "epochs must be a whole number of 1 or more, not 0"),
        (MLP(epochs="many"), "epochs must be a whole number of 1 or more, not 'many'"),
        (MLP(batch_size=0.5), "batch_size must be a whole number of 1 or more, not 0.5"),
        (MLP(learning_rate=-1.0), "learning_rate must be a positive number, not -1.0"),
        (MLP(learning_rate=float("nan")), "learning_rate must be a positive number, not nan"),
    ],
)
def test_impossible_parameters_are_refused_by_name(head, message, two_clouds) -> None:
    with pytest.raises(ValueError, match=message):
        clone(head).fit(*two_clouds)
