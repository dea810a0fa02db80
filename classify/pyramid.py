"""The `pyramid` head: several scales of a frozen network, each answered for itself, then all together."""

from __future__ import annotations

from typing import Any

from .layers import Dense, Dropout, Layer, Parallel
from .neural import NeuralHead, check_dropout, check_whole


class Pyramid(NeuralHead):
    """For each scale Dropout and Dense(n_classes, ReLU); over all of them Dense(n_classes, softmax).

    This is the last part of the COVID-CTset network, put on vectors of frozen layers. It is not a trained
    feature pyramid network: what that network learns, its lateral and top-down convolutions, is not there.

    Parameters
    ----------
    widths : tuple of int, default=None
        How many numbers of a vector each scale has, in order; None takes the whole vector for one scale.
    dropout : float, default=0.5
        Share of the numbers that is dropped while training.
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
        Kernel (width, n_classes) and bias (n_classes,) of each scale, then kernel
        (scales · n_classes, n_classes) and bias of the last layer.
    history_ : dict of str to list of float
        `loss` and `accuracy` on the training part for each epoch, averaged over its batches as they were met,
        dropout and all; with `fit(validation=)` also `val_loss` and `val_accuracy`, measured after the epoch as
        in inference.

    References
    ----------
    .. [1] Rahimzadeh, Attar and Sakhaei, A fully automated deep learning-based network for detecting COVID-19
       from a new and large lung CT scan dataset, Biomedical Signal Processing and Control 68, 2021.
    .. [2] Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from icehouse.classify.pyramid import Pyramid
    >>> X = np.array([[0.0, 9.0, 1.0], [1.0, 7.0, 2.0], [2.0, 3.0, 5.0], [3.0, 1.0, 6.0]] * 16)
    >>> y = np.array(["low", "low", "high", "high"] * 16)
    >>> head = Pyramid(widths=(1, 2), learning_rate=0.01, random_state=0).fit(X, y)
    >>> str(head.predict([[2.9, 1.0, 6.0]])[0])
    'high'
    """

    def __init__(
        self,
        widths: tuple[int, ...] | None = None,
        dropout: float = 0.5,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 1e-3,
        random_state: Any = None,
    ) -> None:
        self.widths = widths
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _check_own_parameters(self) -> None:
        check_dropout(self.dropout)
        if self.widths is None:
            return
        if not isinstance(self.widths, (tuple, list)) or not self.widths:
            raise ValueError(
                f"widths must be whole numbers, such as (1024, 2048), or None, not {self.widths!r}."
            )
        for width in self.widths:
            check_whole("each of widths", width)

    def _layers(self, inputs: int, classes: int) -> list[Layer]:
        widths = (inputs,) if self.widths is None else tuple(self.widths)
        if sum(widths) != inputs:
            raise ValueError(
                f"widths {widths} make {sum(widths)} numbers in all, and the vectors have {inputs}."
            )
        return [
            Dropout(self.dropout),
            Parallel(widths, classes),
            Dense(len(widths) * classes, classes, relu=False),
        ]
