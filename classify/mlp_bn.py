"""The `mlp-bn` head: one hidden layer between batch normalization and dropout, in NumPy."""

from __future__ import annotations

from typing import Any

from .layers import BatchNorm, Dense, Dropout, Layer
from .neural import NeuralHead, check_dropout, check_whole


class BatchNormMLP(NeuralHead):
    """BatchNorm, Dropout, Dense with ReLU, BatchNorm, Dropout, softmax; trained by Adam on the cross-entropy.

    Batch normalization is Keras's: momentum 0.99, epsilon 1e-3, moving averages of mean and biased variance for
    inference. In short training (few rows, few epochs) these averages lag behind the batches: a step moves them
    by a hundredth, and they start from 0 and 1.

    Parameters
    ----------
    hidden : int, default=256
        Units of the hidden layer.
    dropout : float, default=0.5
        Share of the numbers that is dropped before each dense layer while training.
    epochs : int, default=100
    batch_size : int, default=32
    learning_rate : float, default=1e-3
    random_state : int, RandomState or None, default=None
        Decides the initial weights (Glorot uniform), the order of the batches and what is dropped.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    weights_ : list of ndarray of float32
        In Keras's order: gamma, beta, moving mean, moving variance, kernel (inputs, hidden), bias; and the same
        of the second half.
    history_ : dict of str to list of float
        `loss` and `accuracy` on the training part for each epoch, averaged over its batches as they were met,
        dropout and all; with `fit(validation=)` also `val_loss` and `val_accuracy`, measured after the epoch as
        in inference.

    References
    ----------
    .. [1] Ioffe and Szegedy, Batch Normalization, ICML 2015.
    .. [2] Srivastava et al., Dropout, JMLR 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from icehouse.classify.mlp_bn import BatchNormMLP
    >>> X = np.array([[0.0, 9.0], [1.0, 7.0], [2.0, 8.0], [3.0, 6.0]] * 16)
    >>> y = np.array(["low", "low", "high", "high"] * 16)
    >>> str(BatchNormMLP(random_state=0).fit(X, y).predict([[2.9, 6.0]])[0])
    'high'
    """

    def __init__(
        self,
        hidden: int = 256,
        dropout: float = 0.5,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _check_own_parameters(self) -> None:
        check_whole("hidden", self.hidden)
        check_dropout(self.dropout)

    def _layers(self, inputs: int, classes: int) -> list[Layer]:
        return [
            BatchNorm(inputs),
            Dropout(self.dropout),
            Dense(inputs, self.hidden),
            BatchNorm(self.hidden),
            Dropout(self.dropout),
            Dense(self.hidden, classes, relu=False),
        ]
