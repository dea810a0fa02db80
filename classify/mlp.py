"""The 64–32 MLP head in NumPy: what Keras's `fit` would do, without Keras and many times faster.

On vectors a network this small spends its time in Adam's element-wise arithmetic, not in products: so all
parameters lie in one array, and every step is done in place.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7

Array = NDArray[np.float32]


class MLP(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Dense layers with ReLU and a softmax, trained by Adam on the cross-entropy.

    Parameters
    ----------
    hidden : int or tuple of int, default=(64, 32)
        Units of the hidden layers.
    epochs : int, default=100
    batch_size : int, default=32
    learning_rate : float, default=1e-3
    random_state : int, RandomState or None, default=None
        Decides the initial weights (Glorot uniform) and the order of the batches.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    weights_ : list of ndarray of float32
        Kernel (inputs, outputs) and bias (outputs,) of each layer in turn.
    history_ : dict of str to list of float
        `loss` and `accuracy` on the training part for each epoch, averaged over its batches as they were met.

    References
    ----------
    .. [1] Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015, end of section 2.
    .. [2] Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
       AISTATS 2010, equation 16.

    Examples
    --------
    >>> import numpy as np
    >>> from icehouse.classify.mlp import MLP
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]] * 8)
    >>> y = np.array(["low", "low", "high", "high"] * 8)
    >>> str(MLP(epochs=200, random_state=0).fit(X, y).predict([[2.9]])[0])
    'high'
    """

    def __init__(
        self,
        hidden: int | tuple[int, ...] = (64, 32),
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> MLP:
        """Train on vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)

        Returns
        -------
        self
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"MLP needs two classes or more, and y holds 1 class: {self.classes_[0]!r}.")
        seed = check_random_state(self.random_state).randint(2**31)
        generator = np.random.default_rng(seed)
        sizes = (X.shape[1], *self._layers(), len(self.classes_))
        self._train(_Network(sizes, generator), X, targets, generator)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, n_classes), computed in float64."""
        check_is_fitted(self)
        activation = validate_data(self, X, dtype=np.float64, order="C", reset=False)
        for kernel, bias in zip(self.weights_[:-2:2], self.weights_[1:-2:2], strict=True):
            activation = np.maximum(activation @ kernel + bias, 0)
        probabilities: NDArray[np.float64] = _softmax(activation @ self.weights_[-2] + self.weights_[-1])
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, shape (n,)."""
        check_is_fitted(self)
        predicted: NDArray[Any] = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return predicted

    def _layers(self) -> tuple[Any, ...]:
        return tuple(self.hidden) if isinstance(self.hidden, (tuple, list)) else (self.hidden,)

    def _check_parameters(self) -> None:
        whole = [isinstance(units, int) and units > 0 for units in self._layers()]
        if not whole or not all(whole):
            raise ValueError(
                f"hidden must be positive numbers of units, such as (64, 32), not {self.hidden!r}."
            )
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError("epochs and batch_size must be 1 or more.")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate!r}.")

    def _train(
        self, network: _Network, X: Array, targets: NDArray[np.int64], generator: np.random.Generator
    ) -> None:
        count = len(X)
        self.history_: dict[str, list[float]] = {"loss": [], "accuracy": []}
        for _ in range(self.epochs):
            order = generator.permutation(count)
            loss, right = 0.0, 0
            for start in range(0, count, self.batch_size):
                rows = order[start : start + self.batch_size]
                batch_loss, batch_right = network.step(X[rows], targets[rows], self.learning_rate)
                loss += batch_loss
                right += batch_right
            self.history_["loss"].append(loss / count)
            self.history_["accuracy"].append(right / count)
        self.weights_ = [array for layer in network.layers for array in layer]


class _Network:
    """Parameters, gradients and Adam's moments, each in one array; `layers` are views of the parameters."""

    def __init__(self, sizes: tuple[int, ...], generator: np.random.Generator) -> None:
        shapes = list(pairwise(sizes))
        total = sum((inputs + 1) * outputs for inputs, outputs in shapes)
        self.parameters, self.gradients, self.first, self.second = np.zeros((4, total), dtype=np.float32)
        self.layers = _views(self.parameters, shapes)
        self.layer_gradients = _views(self.gradients, shapes)
        self.steps = 0
        for kernel, _ in self.layers:
            limit = np.sqrt(6.0 / sum(kernel.shape))
            kernel[:] = generator.uniform(-limit, limit, kernel.shape)

    def step(self, X: Array, targets: NDArray[np.int64], learning_rate: float) -> tuple[float, int]:
        """Do one step of Adam; return the batch's summed loss and its number of right answers before it."""
        activations = [X]
        for kernel, bias in self.layers[:-1]:
            hidden = activations[-1] @ kernel
            hidden += bias
            np.maximum(hidden, 0, out=hidden)
            activations.append(hidden)
        kernel, bias = self.layers[-1]
        probabilities = _softmax(activations[-1] @ kernel + bias)
        rows = np.arange(len(X))
        loss = float(-np.log(np.maximum(probabilities[rows, targets], 1e-7)).sum())
        right = int((probabilities.argmax(axis=1) == targets).sum())
        error = probabilities
        error[rows, targets] -= 1
        error /= len(X)
        self._backward(activations, error)
        self._adam(learning_rate)
        return loss, right

    def _backward(self, activations: list[Array], error: Array) -> None:
        for number in range(len(self.layers) - 1, -1, -1):
            kernel_gradient, bias_gradient = self.layer_gradients[number]
            np.matmul(activations[number].T, error, out=kernel_gradient)
            error.sum(axis=0, out=bias_gradient)
            if number:
                error = error @ self.layers[number][0].T
                error *= activations[number] > 0

    def _adam(self, learning_rate: float) -> None:
        """Kingma and Ba's Adam with both moments kept without their factors 1 − β, which spares two passes."""
        self.steps += 1
        rate = learning_rate * np.sqrt(1 - _BETA_2**self.steps) / (1 - _BETA_1**self.steps)
        scale = np.sqrt(1 - _BETA_2)
        gradient, first, second = self.gradients, self.first, self.second
        first *= np.float32(_BETA_1)
        first += gradient
        gradient *= gradient
        second *= np.float32(_BETA_2)
        second += gradient
        np.sqrt(second, out=gradient)
        gradient += np.float32(_EPSILON / scale)
        np.divide(first, gradient, out=gradient)
        gradient *= np.float32(rate * (1 - _BETA_1) / scale)
        self.parameters -= gradient


def _views(flat: Array, shapes: list[tuple[int, int]]) -> list[tuple[Array, Array]]:
    views, start = [], 0
    for inputs, outputs in shapes:
        kernel = flat[start : start + inputs * outputs].reshape(inputs, outputs)
        start += inputs * outputs
        views.append((kernel, flat[start : start + outputs]))
        start += outputs
    return views


def _softmax(logits: Any) -> Any:
    """Return exp(logits) / sum, shifted so that nothing overflows; the input is overwritten."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
