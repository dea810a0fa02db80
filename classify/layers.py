"""Layers of the neural heads: what each computes in training, what it hands back, and what it infers.

How the numbers are learned is in training.py. Arrays are (rows, units) throughout; those within a network lie
in memory column by column, as BLAS multiplies them up to a tenth quicker that way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Real = TypeVar("Real", np.float32, np.float64)

_DRAWS = 2**16


class Layer(Protocol):
    """One step of a network.

    A layer holds `held` arrays, listed as Keras lists them; the first `trained` of them have gradients, which
    `bind` gives it a place for. `forward`, `learn` and `back` are for training, one after another: they return
    buffers of the layer's own, good until the next call, and may overwrite what they are given.
    """

    held: int
    trained: int

    def initial(self, generator: np.random.Generator) -> list[Array]:
        """Return the arrays to start from; what a layer draws later comes from `generator` too."""

    def bind(self, arrays: Sequence[Array], gradients: Sequence[Array]) -> None:
        """Take the arrays to work with and, for the trained ones, those to write gradients to."""

    def forward(self, X: Array) -> Array:
        """Return the layer's answer to a batch."""

    def learn(self, error: Array) -> None:
        """Write the gradients for the batch just seen, `error` being that of the answer."""

    def back(self, error: Array) -> Array:
        """Return the gradient of the input, given `error` as `learn` left it."""

    def infer(self, X: NDArray[Real], arrays: Sequence[NDArray[Real]]) -> NDArray[Real]:
        """Return the answer of a trained layer with these arrays to any rows; changes nothing."""

    def trace(
        self, error: NDArray[Real], answer: NDArray[Real], arrays: Sequence[NDArray[Real]]
    ) -> NDArray[Real]:
        """Return the gradient of the rows that `infer` gave this answer to, given that of the answer."""


class Dense:
    """A dense layer, with ReLU unless told otherwise; its kernel starts as Glorot and Bengio's uniform."""

    held = trained = 2

    def __init__(self, inputs: int, units: int, *, relu: bool = True) -> None:
        self.inputs, self.units, self.relu = inputs, units, relu
        self._answers: dict[int, Array] = {}
        self._errors: dict[int, Array] = {}

    def initial(self, generator: np.random.Generator) -> list[Array]:
        limit = np.sqrt(6.0 / (self.inputs + self.units))
        kernel = generator.uniform(-limit, limit, (self.inputs, self.units))
        return [kernel.astype(np.float32), np.zeros(self.units, dtype=np.float32)]

    def bind(self, arrays: Sequence[Array], gradients: Sequence[Array]) -> None:
        self._kernel, self._bias = arrays
        self._kernel_gradient, self._bias_gradient = gradients

    def forward(self, X: Array) -> Array:
        answer = self._answers.get(len(X))
        if answer is None:
            answer = self._answers[len(X)] = by_columns(len(X), self.units)
        np.matmul(X, self._kernel, out=answer)
        answer += self._bias
        if self.relu:
            np.maximum(answer, 0, out=answer)
        self._seen, self._answer = X, answer
        return answer

    def learn(self, error: Array) -> None:
        if self.relu:
            error *= self._answer > 0
        np.matmul(self._seen.T, error, out=self._kernel_gradient)
        np.add.reduce(error, axis=0, out=self._bias_gradient)

    def back(self, error: Array) -> Array:
        back = self._errors.get(len(error))
        if back is None:
            back = self._errors[len(error)] = np.empty_like(self._seen)
        return np.matmul(error, self._kernel.T, out=back)

    def infer(self, X: NDArray[Real], arrays: Sequence[NDArray[Real]]) -> NDArray[Real]:
        kernel, bias = arrays
        answer: NDArray[Real] = X @ kernel
        answer += bias
        return np.maximum(answer, 0, out=answer) if self.relu else answer

    def trace(
        self, error: NDArray[Real], answer: NDArray[Real], arrays: Sequence[NDArray[Real]]
    ) -> NDArray[Real]:
        passed = np.where(answer > 0, error, 0) if self.relu else error
        return np.asarray(passed @ arrays[0].T)


class BatchNorm:
    """Batch normalization as Keras's layer of that name does it, momentum 0.99 and epsilon 1e-3.

    A batch is normalized by its own mean and (biased) variance, and both are followed by moving averages, which
    inference uses. A batch of one row has variance 0: it leaves the layer as beta.

    References
    ----------
    .. [1] Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 1 and the derivatives of section 3.
    """

    held, trained = 4, 2
    momentum = 0.99
    epsilon = 1e-3

    def __init__(self, units: int) -> None:
        self.units = units
        self._buffers: dict[int, tuple[Array, Array]] = {}

    def initial(self, generator: np.random.Generator) -> list[Array]:
        gamma, variance = np.ones((2, self.units), dtype=np.float32)
        beta, mean = np.zeros((2, self.units), dtype=np.float32)
        return [gamma, beta, mean, variance]

    def bind(self, arrays: Sequence[Array], gradients: Sequence[Array]) -> None:
        self._gamma, self._beta, self._moving_mean, self._moving_variance = arrays
        self._gamma_gradient, self._beta_gradient = gradients

    def forward(self, X: Array) -> Array:
        if len(X) not in self._buffers:
            self._buffers[len(X)] = np.empty_like(X), np.empty_like(X)
        self._centred, self._answer = self._buffers[len(X)]
        mean = np.add.reduce(X, axis=0)
        mean /= len(X)
        np.subtract(X, mean, out=self._centred)
        variance = np.einsum("ij,ij->j", self._centred, self._centred)
        variance /= len(X)
        for moving, now in ((self._moving_mean, mean), (self._moving_variance, variance)):
            moving *= self.momentum
            moving += (1 - self.momentum) * now
        self._inverse = 1 / np.sqrt(variance + np.float32(self.epsilon))
        np.multiply(self._centred, self._inverse * self._gamma, out=self._answer)
        self._answer += self._beta
        return self._answer

    def learn(self, error: Array) -> None:
        np.add.reduce(error, axis=0, out=self._beta_gradient)
        np.einsum("ij,ij->j", error, self._centred, out=self._gamma_gradient)
        self._gamma_gradient *= self._inverse

    def back(self, error: Array) -> Array:
        error -= self._beta_gradient / len(error)
        self._centred *= self._inverse * self._gamma_gradient / len(error)
        error -= self._centred
        error *= self._inverse * self._gamma
        return error

    def infer(self, X: NDArray[Real], arrays: Sequence[NDArray[Real]]) -> NDArray[Real]:
        gamma, beta, mean, variance = arrays
        scale = gamma / np.sqrt(variance + X.dtype.type(self.epsilon))
        answer: NDArray[Real] = X * scale
        answer += beta - mean * scale
        return answer

    def trace(
        self, error: NDArray[Real], answer: NDArray[Real], arrays: Sequence[NDArray[Real]]
    ) -> NDArray[Real]:
        gamma, _, _, variance = arrays
        return np.asarray(error * (gamma / np.sqrt(variance + variance.dtype.type(self.epsilon))))


class Dropout:
    """In training, a share of the numbers put to 0 and the others enlarged to make up for it (Srivastava 2014).

    Sixteen random bits decide over each number: the share is that of a multiple of 1/65,536.
    """

    held = trained = 0

    def __init__(self, share: float) -> None:
        self._dropped = min(round(share * _DRAWS), _DRAWS - 1)
        self._buffers: dict[tuple[int, ...], Array] = {}

    def initial(self, generator: np.random.Generator) -> list[Array]:
        self._bits = generator.bit_generator
        return []

    def bind(self, arrays: Sequence[Array], gradients: Sequence[Array]) -> None:
        """Take nothing."""

    def forward(self, X: Array) -> Array:
        if self._dropped:
            if X.shape not in self._buffers:
                self._buffers[X.shape] = np.empty_like(X)
            self.mask = self._buffers[X.shape]
            draws = self._bits.random_raw(-(-X.size // 4)).view(np.uint16)[: X.size]
            in_memory = self.mask if X.flags.c_contiguous else self.mask.T
            kept = draws.reshape(in_memory.shape) >= self._dropped
            np.multiply(kept, np.float32(_DRAWS / (_DRAWS - self._dropped)), out=in_memory)
            X *= self.mask
        return X

    def learn(self, error: Array) -> None:
        """Write nothing."""

    def back(self, error: Array) -> Array:
        if self._dropped:
            error *= self.mask
        return error

    def infer(self, X: NDArray[Real], arrays: Sequence[NDArray[Real]]) -> NDArray[Real]:
        return X

    def trace(
        self, error: NDArray[Real], answer: NDArray[Real], arrays: Sequence[NDArray[Real]]
    ) -> NDArray[Real]:
        return error


class Parallel:
    """A dense layer for each of several parts that lie one after another in a row, their answers likewise."""

    def __init__(self, widths: Sequence[int], units: int) -> None:
        self.held = self.trained = Dense.held * len(widths)
        self._layers = [Dense(width, units) for width in widths]
        self._parts = _slices(widths)
        self._answers = _slices([units] * len(widths))
        self._buffers: dict[int, Array] = {}

    def initial(self, generator: np.random.Generator) -> list[Array]:
        return [array for layer in self._layers for array in layer.initial(generator)]

    def bind(self, arrays: Sequence[Array], gradients: Sequence[Array]) -> None:
        for number, layer in enumerate(self._layers):
            mine = slice(Dense.held * number, Dense.held * (number + 1))
            layer.bind(arrays[mine], gradients[mine])

    def forward(self, X: Array) -> Array:
        if len(X) not in self._buffers:
            self._buffers[len(X)] = by_columns(len(X), self._answers[-1].stop)
        answer = self._buffers[len(X)]
        for layer, part, place in zip(self._layers, self._parts, self._answers, strict=True):
            answer[:, place] = layer.forward(X[:, part])
        return answer

    def learn(self, error: Array) -> None:
        for layer, place in zip(self._layers, self._answers, strict=True):
            layer.learn(error[:, place])

    def back(self, error: Array) -> Array:
        parts = zip(self._layers, self._answers, strict=True)
        return np.concatenate([layer.back(error[:, place]) for layer, place in parts], axis=1)

    def infer(self, X: NDArray[Real], arrays: Sequence[NDArray[Real]]) -> NDArray[Real]:
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        answers = [
            layer.infer(X[:, part], pair)
            for layer, part, pair in zip(self._layers, self._parts, pairs, strict=True)
        ]
        return np.concatenate(answers, axis=1)

    def trace(
        self, error: NDArray[Real], answer: NDArray[Real], arrays: Sequence[NDArray[Real]]
    ) -> NDArray[Real]:
        pairs = zip(arrays[::2], arrays[1::2], strict=True)
        errors = [
            layer.trace(error[:, place], answer[:, place], pair)
            for layer, place, pair in zip(self._layers, self._answers, pairs, strict=True)
        ]
        return np.concatenate(errors, axis=1)


def by_columns(rows: int, units: int) -> Array:
    """Return an empty array (rows, units) whose columns lie one after another in memory."""
    return np.empty((units, rows), dtype=np.float32).T


def _slices(widths: Sequence[int]) -> list[slice]:
    ends = [0, *np.cumsum(widths).tolist()]
    return [slice(start, stop) for start, stop in pairwise(ends)]
