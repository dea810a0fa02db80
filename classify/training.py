"""Training the neural heads: Adam, softmax cross-entropy and the one loop over epochs and batches.

On vectors a network this small spends as much time in Adam's element-wise arithmetic as in products: so all
that is learned lies in one array, and every pass over it is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Array, Layer, Real

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7
_LARGEST_SCALE = 1024.0
_SMALLEST = 1e-7
"""What a probability is raised to before its logarithm is taken, as in Keras."""
_ROWS = 256
"""Rows that are inferred at once: memory for many rows is no more than for these."""


class Adam:
    """Kingma and Ba's optimizer, on one array and in place, in nine passes over it a step.

    The second moment is kept divided by β₂ᵗ and without its factor 1 − β₂, so that it need not decay: each
    step's gradients are to be given multiplied by `scale`, which is β₂^(−t/2). In the quotient of the moments
    the scale falls out again.

    Parameters
    ----------
    size : int
        How many numbers are learned.
    learning_rate : float

    References
    ----------
    .. [1] Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, end of section 2.
    """

    def __init__(self, size: int, learning_rate: float) -> None:
        self.parameters, self.gradients = np.zeros((2, size), dtype=np.float32)
        self._first, self._second = np.zeros((2, size), dtype=np.float32)
        self._learning_rate = learning_rate
        self._steps = 0
        self.scale = _BETA_2**-0.5

    def step(self) -> None:
        """Change the parameters by the gradients, which are overwritten."""
        self._steps += 1
        rate = self._learning_rate * np.sqrt(1 - _BETA_2**self._steps) / (1 - _BETA_1**self._steps)
        rate = float(rate * (1 - _BETA_1) / np.sqrt(1 - _BETA_2))
        epsilon = float(_EPSILON * self.scale / np.sqrt(1 - _BETA_2))
        decay = _BETA_1 / _BETA_2**0.5
        gradients, first, second = self.gradients, self._first, self._second
        first *= decay
        first += gradients
        gradients *= gradients
        second += gradients
        np.sqrt(second, out=gradients)
        gradients += epsilon
        np.divide(first, gradients, out=gradients)
        gradients *= rate
        self.parameters -= gradients
        if self.scale > _LARGEST_SCALE:
            first /= self.scale
            second /= self.scale**2
            self.scale = 1.0
        self.scale *= _BETA_2**-0.5


class Network:
    """Layers one after another with a softmax at the end; all that they learn lies in one array of Adam's.

    Parameters
    ----------
    layers : list of Layer
        The last has one unit for each class.
    generator : Generator
        Draws the initial weights, and whatever layers draw in training.
    learning_rate : float
    """

    def __init__(self, layers: list[Layer], generator: np.random.Generator, learning_rate: float) -> None:
        self.layers = layers
        initial = [layer.initial(generator) for layer in layers]
        learned = [arrays[: layer.trained] for layer, arrays in zip(layers, initial, strict=True)]
        self.adam = Adam(sum(array.size for arrays in learned for array in arrays), learning_rate)
        self.arrays: list[list[Array]] = []
        start = 0
        for layer, arrays, mine in zip(layers, initial, learned, strict=True):
            views, gradients = [], []
            for array in mine:
                place = slice(start, start + array.size)
                start += array.size
                # Reversed and transposed: kernels lie column by column, as the answers of layers do.
                views.append(self.adam.parameters[place].reshape(array.shape[::-1]).T)
                gradients.append(self.adam.gradients[place].reshape(array.shape[::-1]).T)
                views[-1][...] = array
            self.arrays.append([*views, *arrays[layer.trained :]])
            layer.bind(self.arrays[-1], gradients)
        self._lowest = next(number for number, layer in enumerate(layers) if layer.trained)

    def step(self, X: Array, truth: Array, weights: Array | None, probabilities: Array) -> None:
        """Do one step of Adam on the mean cross-entropy of a batch.

        Parameters
        ----------
        X : ndarray, shape (rows, d)
            May be overwritten.
        truth : ndarray, shape (rows, n_classes)
            1 for the class of each row, else 0.
        weights : ndarray, shape (rows, 1), or None
            What each row's cross-entropy is multiplied by; the sum is divided by the number of rows.
        probabilities : ndarray, shape (rows, n_classes)
            Where the answers are put that the step was made from.
        """
        answer = X
        for layer in self.layers:
            answer = layer.forward(answer)
        error = softmax(answer)
        probabilities[...] = error
        error -= truth
        error *= self.adam.scale / len(X)
        if weights is not None:
            error *= weights
        for number in range(len(self.layers) - 1, self._lowest - 1, -1):
            self.layers[number].learn(error)
            if number > self._lowest:
                error = self.layers[number].back(error)
        self.adam.step()

    def weights(self) -> list[Array]:
        """Return copies of all layers' arrays, in order."""
        return [np.array(array, order="C") for arrays in self.arrays for array in arrays]


def train(
    network: Network,
    X: Array,
    targets: NDArray[np.intp],
    *,
    weights: Array | None,
    validation: tuple[Array, NDArray[np.intp]] | None,
    epochs: int,
    batch_size: int,
    generator: np.random.Generator,
) -> dict[str, list[float]]:
    """Train a network and return its history, one number for each epoch.

    Parameters
    ----------
    network : Network
    X : ndarray of float32, shape (n, d)
        Read batch by batch, never copied whole.
    targets : ndarray of int, shape (n,)
        The class of each row.
    weights : ndarray of float32, shape (n,), or None
    validation : pair of ndarray, or None
        Further rows and their classes, which are only looked at.
    epochs, batch_size : int
    generator : Generator
        Decides the order of the rows, anew for each epoch.

    Returns
    -------
    dict
        `loss` (weighted, if weights are given) and `accuracy` over the batches as they were met; for
        validation, `val_loss` and `val_accuracy` at the end of each epoch.
    """
    count = len(X)
    truth = np.eye(network.arrays[-1][-1].size, dtype=np.float32)[targets]
    batch = np.empty((min(batch_size, count), X.shape[1]), dtype=np.float32)
    answers = np.empty_like(truth)
    history: dict[str, list[float]] = {"loss": [], "accuracy": []}
    if validation is not None:
        history.update(val_loss=[], val_accuracy=[])
    with np.errstate(all="ignore"):  # training that diverges is told by answers that are not numbers
        for _ in range(epochs):
            order = generator.permutation(count)
            met = truth[order]
            weighed = None if weights is None else weights[order, None]
            for start in range(0, count, batch_size):
                here = slice(start, min(start + batch_size, count))
                rows = order[here]
                # "clip" spares NumPy a buffer; all numbers are within bounds.
                given = np.take(X, rows, axis=0, out=batch[: len(rows)], mode="clip")
                network.step(given, met[here], None if weighed is None else weighed[here], answers[here])
            _note(history, "", answers, targets[order], weighed)
            if validation is not None:
                arrays = [array for arrays in network.arrays for array in arrays]
                seen = infer(network.layers, arrays, validation[0], np.float32)
                _note(history, "val_", seen, validation[1], None)
    return history


def _note(
    history: dict[str, list[float]],
    prefix: str,
    probabilities: Array,
    targets: NDArray[np.intp],
    weights: Array | None,
) -> None:
    """Add an epoch's mean cross-entropy and accuracy to the history."""
    of_truth = np.take_along_axis(probabilities, targets[:, None], axis=1)
    losses = -np.log(np.maximum(of_truth, _SMALLEST))
    if weights is not None:
        losses *= weights
    history[f"{prefix}loss"].append(float(losses.mean(dtype=np.float64)))
    history[f"{prefix}accuracy"].append(float(np.mean(probabilities.argmax(axis=1) == targets)))


def infer(
    layers: Sequence[Layer], arrays: Sequence[Array], X: NDArray[Any], dtype: type[Real]
) -> NDArray[Real]:
    """Return the probabilities that a trained network gives, shape (n, n_classes), computed in `dtype`.

    Parameters as those of `logits`.
    """
    return softmax(logits(layers, arrays, X, dtype))


def logits(
    layers: Sequence[Layer], arrays: Sequence[Array], X: NDArray[Any], dtype: type[Real]
) -> NDArray[Real]:
    """Return what a trained network gives before its softmax, shape (n, n_classes), computed in `dtype`.

    Parameters
    ----------
    layers : sequence of Layer
    arrays : sequence of ndarray
        Those of all layers, in order.
    X : ndarray of float, shape (n, d)
        Converted block by block, never whole.
    dtype : type
        float32 or float64.
    """
    steps = _steps(layers, arrays, dtype)
    found = np.empty((len(X), arrays[-1].size), dtype=dtype)
    for start in range(0, len(X), _ROWS):
        answer = X[start : start + _ROWS].astype(dtype, copy=False)
        for layer, mine in steps:
            answer = layer.infer(answer, mine)
        found[start : start + _ROWS] = answer
    return found


def gradients(
    layers: Sequence[Layer], arrays: Sequence[Array], X: NDArray[Any], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the gradient of a weighted sum of a trained network's logits at each row, shape (n, d).

    Parameters
    ----------
    layers, arrays, X
        As for `logits`.
    weights : ndarray of float64, shape (n, n_classes)
        Of each logit of each row.
    """
    steps = _steps(layers, arrays, np.float64)
    found = np.empty(X.shape)
    for start in range(0, len(X), _ROWS):
        seen = [X[start : start + _ROWS].astype(np.float64, copy=False)]
        for layer, mine in steps:
            seen.append(layer.infer(seen[-1], mine))
        error = weights[start : start + _ROWS]
        for (layer, mine), answer in zip(reversed(steps), reversed(seen), strict=False):
            error = layer.trace(error, answer, mine)
        found[start : start + _ROWS] = error
    return found


def _steps(
    layers: Sequence[Layer], arrays: Sequence[Array], dtype: type[Real]
) -> list[tuple[Layer, list[NDArray[Real]]]]:
    """Return each layer with the arrays that it holds."""
    following = iter([array.astype(dtype, copy=False) for array in arrays])
    return [(layer, list(islice(following, layer.held))) for layer in layers]


def softmax(logits: NDArray[Real]) -> NDArray[Real]:
    """Return exp(logits) / sum of each row, shifted so that nothing overflows; the input is overwritten."""
    logits -= np.maximum.reduce(logits, axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= np.add.reduce(logits, axis=1, keepdims=True)
    return logits
