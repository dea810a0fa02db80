"""What the neural heads share as scikit-learn estimators: fit, predict and the checks of their parameters.

The arithmetic is in layers.py and training.py; each head's own module says of which layers it is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .layers import Array, Layer
from .training import Network, gradients, infer, logits, train


class NeuralHead(ClassifierMixin, BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no types
    """A network of dense layers with a softmax at its end, trained by Adam on the cross-entropy."""

    epochs: int
    batch_size: int
    learning_rate: float
    random_state: Any

    @abstractmethod
    def _layers(self, inputs: int, classes: int) -> list[Layer]:
        """Return the layers for vectors of `inputs` numbers, nothing learned yet."""

    @abstractmethod
    def _check_own_parameters(self) -> None:
        """Raise ValueError for impossible values of the parameters that only this head has."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: tuple[Any, Any] | None = None) -> Self:
        """Train on vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Not copied if it is float32 and C-ordered.
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), default=None
            What each row's cross-entropy is multiplied by. As in Keras, a batch's sum is divided by its number
            of rows, not by the sum of their weights.
        validation : (X, y), default=None
            Further rows, on which loss and accuracy are noted after each epoch and nothing else is done.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For impossible parameters, fewer than two classes, negative weights, or a class in `validation` that
            `y` does not hold.
        """
        check_whole("epochs", self.epochs)
        check_whole("batch_size", self.batch_size)
        if not (_is_number(self.learning_rate) and 0 < self.learning_rate < np.inf):
            raise ValueError(f"learning_rate must be a positive number, not {self.learning_rate!r}.")
        self._check_own_parameters()
        X, y = validate_data(self, X, y, dtype=np.float32, order="C")
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise ValueError(f"{type(self).__name__} needs two classes or more, and y holds 1 class: {only!r}.")
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, X, dtype=np.float32)
            if weights.min() < 0:
                raise ValueError(f"sample_weight must not be negative; it holds {weights.min():g}.")
        watched = None if validation is None else self._checked_validation(*validation)
        generator = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        layers = self._layers(X.shape[1], len(self.classes_))
        network = Network(layers, generator, self.learning_rate)
        self.history_ = train(
            network,
            X,
            targets,
            weights=weights,
            validation=watched,
            epochs=self.epochs,
            batch_size=self.batch_size,
            generator=generator,
        )
        self.weights_ = network.weights()
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, n_classes), computed in float64."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return infer(self._layers(X.shape[1], len(self.classes_)), self.weights_, X, np.float64)

    def logits(self, X: Any) -> NDArray[np.float64]:
        """Return what the softmax makes probabilities of, shape (n, n_classes), computed in float64."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return logits(self._layers(X.shape[1], len(self.classes_)), self.weights_, X, np.float64)

    def gradients(self, X: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient at each row, shape (n, d), of a sum of its logits.

        Parameters
        ----------
        X : array-like of shape (n, d)
        weights : ndarray of float64, shape (n, n_classes)
            Of each logit in the sum.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        return gradients(self._layers(X.shape[1], len(self.classes_)), self.weights_, X, weights)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, shape (n,)."""
        check_is_fitted(self)
        predicted: NDArray[Any] = self.classes_[np.argmax(self.predict_proba(X), axis=1)]
        return predicted

    def _checked_validation(self, X: Any, y: Any) -> tuple[Array, NDArray[np.intp]]:
        X, y = validate_data(self, X, y, dtype=np.float32, order="C", reset=False)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(
                f"validation holds the class {unknown.tolist()[0]!r}, which the training part does not."
            )
        return X, np.searchsorted(self.classes_, y)


def check_whole(name: str, value: Any) -> None:
    """Raise ValueError unless a parameter is a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}.")


def check_dropout(value: Any) -> None:
    """Raise ValueError unless `value` is a share that can be dropped."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ValueError(f"dropout must be 0 or more and less than 1, not {value!r}.")


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)
