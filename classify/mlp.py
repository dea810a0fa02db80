"""The 64–32 MLP head in NumPy: what Keras's `fit` would do, without Keras and many times faster."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from .layers import Dense, Layer
from .neural import NeuralHead, check_whole


class MLP(NeuralHead):
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
        `loss` and `accuracy` on the training part for each epoch, averaged over its batches as they were met;
        with `fit(validation=)` also `val_loss` and `val_accuracy`, measured after the epoch.

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

    def _units(self) -> tuple[Any, ...]:
        return tuple(self.hidden) if isinstance(self.hidden, (tuple, list)) else (self.hidden,)

    def _check_own_parameters(self) -> None:
        try:
            for units in self._units() or (None,):
                check_whole("hidden", units)
        except ValueError:
            raise ValueError(
                f"hidden must be positive numbers of units, such as (64, 32), not {self.hidden!r}."
            ) from None

    def _layers(self, inputs: int, classes: int) -> list[Layer]:
        *shapes, last = pairwise((inputs, *self._units(), classes))
        return [*(Dense(*shape) for shape in shapes), Dense(*last, relu=False)]
