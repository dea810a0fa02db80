"""Promises about the neural heads beside Keras: same initial weights, same batches, same losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from icehouse.classify.layers import Dropout
from icehouse.classify.mlp import MLP
from icehouse.classify.mlp_bn import BatchNormMLP
from icehouse.classify.pyramid import Pyramid
from icehouse.classify.training import Network
from icehouse.extract import engines
from sklearn.base import clone

EPOCHS, BATCH = 20, 64
WIDTHS = (40, 24)


@pytest.fixture(scope="module")
def keras() -> Any:
    pytest.importorskip("tensorflow")
    return engines.import_keras()


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Return 120 vectors in three classes that overlap: the last batch of an epoch has 56 rows."""
    generator = np.random.default_rng(7)
    y = generator.integers(0, 3, 120)
    return (generator.normal(size=(120, 64)) + generator.normal(0, 0.4, (3, 64))[y]).astype(np.float32), y


@pytest.fixture(scope="module")
def mlp(keras) -> Any:
    layers = keras.layers
    inputs = keras.Input((64,))
    hidden = layers.Dense(32, activation="relu")(layers.Dense(64, activation="relu")(inputs))
    return compiled(keras, [inputs], layers.Dense(3, activation="softmax")(hidden))


@pytest.fixture(scope="module")
def mlp_bn(keras) -> Any:
    """Return Keras's network with the masks of dropout as further inputs."""
    layers = keras.layers
    inputs, first, second = keras.Input((64,)), keras.Input((64,)), keras.Input((256,))
    dropped = layers.Multiply()([layers.BatchNormalization()(inputs), first])
    hidden = layers.BatchNormalization()(layers.Dense(256, activation="relu")(dropped))
    answer = layers.Dense(3, activation="softmax")(layers.Multiply()([hidden, second]))
    return compiled(keras, [inputs, first, second], answer)


@pytest.fixture(scope="module")
def pyramid(keras) -> Any:
    layers = keras.layers
    inputs, mask = keras.Input((64,)), keras.Input((64,))
    dropped = layers.Multiply()([inputs, mask])
    scales = [
        layers.Dense(3, activation="relu")(dropped[:, : WIDTHS[0]]),
        layers.Dense(3, activation="relu")(dropped[:, WIDTHS[0] :]),
    ]
    return compiled(keras, [inputs, mask], layers.Dense(3, activation="softmax")(layers.Concatenate()(scales)))


def compiled(keras: Any, inputs: list[Any], outputs: Any) -> Any:
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def beside(estimator: Any, model: Any, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> None:
    """Fit a head and train Keras's network from the same weights on the same batches; compare both throughout.

    A copy of the head's network goes along step by step: it draws what the fit drew, and shows the masks.
    """
    ours = clone(estimator).set_params(epochs=EPOCHS, batch_size=BATCH, random_state=5)
    ours.fit(X, y, sample_weight=weights)
    generator = np.random.default_rng(np.random.RandomState(5).randint(2**31))
    copy = Network(estimator._layers(64, 3), generator, 1e-3)
    dropouts = [layer for layer in copy.layers if isinstance(layer, Dropout)]
    dropouts = list(zip(dropouts, [place.shape[1] for place in model.inputs[1:]], strict=True))
    model.set_weights(copy.weights())
    for variable in model.optimizer.variables[2:] if model.optimizer.built else ():
        variable.assign(np.zeros(variable.shape))  # Adam's moments of the comparison before this one
    model.optimizer.iterations.assign(0)
    losses, accuracies = np.zeros((2, EPOCHS))
    for epoch in range(EPOCHS):
        order = generator.permutation(len(X))
        for start in range(0, len(X), BATCH):
            rows = order[start : start + BATCH]
            weighed = None if weights is None else weights[rows]
            answers = np.empty((len(rows), 3), dtype=np.float32)
            copy.step(X[rows], np.eye(3)[y[rows]], None if weighed is None else weighed[:, None], answers)
            masks = [getattr(layer, "mask", np.ones((len(rows), width))) for layer, width in dropouts]
            model.reset_metrics()
            loss, accuracy = model.train_on_batch([X[rows], *masks], y[rows], weighed)
            losses[epoch] += loss * len(rows) / len(X)
            accuracies[epoch] += accuracy * len(rows) / len(X)
    np.testing.assert_allclose(ours.history_["loss"], losses, rtol=1e-3)
    np.testing.assert_allclose(ours.history_["accuracy"], accuracies, atol=1e-6)
    for mine, theirs in zip(ours.weights_, model.get_weights(), strict=True):  # moving averages among them
        np.testing.assert_allclose(mine, theirs, atol=1e-3)
    ones = [np.ones((len(X), place.shape[1]), dtype=np.float32) for place in model.inputs[1:]]
    np.testing.assert_allclose(ours.predict_proba(X), np.asarray(model([X, *ones], training=False)), atol=1e-3)
    assert losses[-1] < 0.9 * losses[0]  # something was learned, so that equality says something


def test_the_mlp_learns_what_keras_learns(mlp, data) -> None:
    beside(MLP(), mlp, *data)


def test_the_mlp_weighs_rows_as_keras_does(mlp, data) -> None:
    weights = np.random.default_rng(2).uniform(0, 3, 120).astype(np.float32)
    beside(MLP(), mlp, *data, weights)


@pytest.mark.parametrize("dropout", [0, 0.5])
def test_the_mlp_with_batch_normalization_learns_what_keras_learns(mlp_bn, data, dropout) -> None:
    beside(BatchNormMLP(dropout=dropout), mlp_bn, *data)


@pytest.mark.parametrize("dropout", [0, 0.25])
def test_the_pyramid_learns_what_keras_learns(pyramid, data, dropout) -> None:
    beside(Pyramid(WIDTHS, dropout=dropout), pyramid, *data)
