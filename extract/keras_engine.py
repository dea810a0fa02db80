"""The network on Keras: on TensorFlow, JAX or PyTorch, on a GPU where the backend has one.

Which backend that is, and importing it, is `engines`' work; building the network is `networks`'.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import backbones, engines, networks
from .engines import Output, Plan

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
"""Keras's dtype policies: products in the precision named, weights and BatchNorm's statistics in float32."""


class KerasEngine:
    """A Keras model, run on one batch at a time."""

    def __init__(self, plan: Plan, batch_size: int, calibration: NDArray[np.float32]) -> None:
        keras = engines.import_keras()
        self._backend = str(keras.backend.backend())
        self._scale = backbones.SCALINGS[plan.scaling]
        self._fill = plan.size is not None
        self.batch_size = max(batch_size, len(calibration))
        self._model = networks.assemble(plan, self._scale(calibration), _run_once, POLICIES[plan.precision])
        self.name = f"keras-{self._backend}"
        self.device = "gpu" if engines.has_gpu(self._backend) else "cpu"
        self.precision = precision_of(self._model)
        if self.precision != plan.precision:
            raise errors.UsageError(
                f"This network computes in {self.precision} where {plan.precision} was asked for: "
                f"use --precision {self.precision}."
            )
        self.dimensions = {
            name: int(output.shape[-1]) for name, output in self._model.output.items() if name != "maps"
        }

    def run(self, pixels: NDArray[np.float32]) -> Output:
        scaled = self._scale(pixels)
        if (
            self._fill and len(pixels) < self.batch_size
        ):  # a batch of another length is another network to compile
            batch = np.zeros((self.batch_size, *pixels.shape[1:]), dtype=np.float32)
            batch[: len(pixels)] = scaled
            scaled = batch
        found = self._model.predict_on_batch(scaled)
        arrays = {name: _as_float32(found[name])[: len(pixels)] for name in (*self.dimensions, "maps")}
        maps = arrays.pop("maps")
        return Output(arrays, maps)

    def libraries(self) -> dict[str, str]:
        return {name: str(sys.modules[name].__version__) for name in ("keras", self._backend, "numpy")}


def precision_of(model: Any) -> str:
    """Return the precision in which a model's layers multiply: that of most of those that have a kernel.

    Such as a last layer that is kept in float32 may differ from the others.
    """
    layers = model._flatten_layers(include_self=False)
    used = [str(layer.compute_dtype) for layer in layers if hasattr(layer, "kernel")]
    return max(set(used), key=used.count) if used else str(model.compute_dtype)


def _run_once(model: Any, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Run any Keras model and return its outputs, flattened."""
    keras = engines.import_keras()
    return [_as_float32(output) for output in keras.tree.flatten(model.predict_on_batch(pixels))]


def _as_float32(array: Any) -> NDArray[np.float32]:
    return np.asarray(array).astype(np.float32, copy=False)
