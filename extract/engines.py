"""What runs a backbone: Keras, on whichever backend it has. Frameworks are imported inside functions only."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import backbones
from .backbones import Backbone
from .weights import Weights

LAYER = "avg_pool"


@dataclass(frozen=True)
class Plan:
    """Which network computes which vectors, and how.

    Parameters
    ----------
    backbone : Backbone
    weights : Weights
    size : int or None
        Height and width of its input; None takes pictures of any size, one size a batch.
    scaling : str
        A key of `backbones.SCALINGS`.
    layers : tuple of str
        As typed: `avg_pool`, the name of a layer, `pyramid`.
    engine : str
        `keras` or `openvino`.
    precision : str
        `float32`, `bfloat16` or `float16`.
    trust_model : bool
        Run what a model file asks for, Lambda layers included.
    """

    backbone: Backbone
    weights: Weights
    size: int | None
    scaling: str
    layers: tuple[str, ...] = (LAYER,)
    engine: str = "keras"
    precision: str = "float32"
    trust_model: bool = False


@dataclass(frozen=True)
class Output:
    """What an engine yields for k frames.

    Parameters
    ----------
    vectors : dict of str to ndarray of float32, shape (k, d)
        One array per layer.
    maps : ndarray of float32, shape (k, h, w, c)
        The last feature maps, before pooling.
    """

    vectors: dict[str, NDArray[np.float32]]
    maps: NDArray[np.float32]


class Engine(Protocol):
    """A backbone with its weights, ready to run.

    Attributes
    ----------
    name : str
        Such as "keras-tensorflow".
    device : str
        "cpu" or "gpu".
    precision : str
        The precision in effect, read back from what computes.
    batch_size : int
        The most frames that `run` takes at once.
    dimensions : dict of str to int
        The length d of each layer's vectors, in the order of the layers asked for.
    """

    name: str
    device: str
    precision: str
    batch_size: int
    dimensions: dict[str, int]

    def run(self, pixels: NDArray[np.float32]) -> Output:
        """Return the vectors of frames (k, h, w, 3) with values 0–255, k at most the batch size."""
        ...

    def libraries(self) -> dict[str, str]:
        """Return the versions of the libraries that compute."""
        ...


def load(plan: Plan, batch_size: int, calibration: NDArray[np.float32]) -> Engine:
    """Build the network of `plan`, give it its weights and return it ready to run.

    Parameters
    ----------
    plan : Plan
    batch_size : int
        Every batch is filled up to it, so that the network is compiled once and vectors do not depend on what
        else is in a batch; it becomes large enough for the canaries at least.
    calibration : ndarray of float32, shape (3, h, w, 3)
        The canaries' pixels, 0–255; random weights are calibrated on them.
    """
    return KerasEngine(plan, batch_size, calibration)


class KerasEngine:
    """Keras 3 on TensorFlow, JAX or PyTorch, in float32."""

    def __init__(self, plan: Plan, batch_size: int, calibration: NDArray[np.float32]) -> None:
        keras = import_keras()
        backbone, weights = plan.backbone, plan.weights
        self._scale = backbones.SCALINGS[plan.scaling]
        self.batch_size = max(batch_size, len(calibration))
        network = backbones.build(backbone)
        if weights.path is not None:
            backbones.load_file(network, backbone, weights.path)
        else:
            assert weights.seed is not None
            backbones.draw_random(network, weights.seed, self._scale(calibration))
        maps = network.output
        pooled = keras.layers.GlobalAveragePooling2D(name="icehouse_avg_pool")(maps)
        self._model = keras.Model(network.input, {LAYER: pooled, "maps": maps})
        self._backend = str(keras.backend.backend())
        self.name = f"keras-{self._backend}"
        self.device = "gpu" if _has_gpu(self._backend) else "cpu"
        self.precision = plan.precision
        self.dimensions = {LAYER: int(maps.shape[-1])}

    def run(self, pixels: NDArray[np.float32]) -> Output:
        count = len(pixels)
        batch = np.zeros((self.batch_size, *pixels.shape[1:]), dtype=np.float32)
        batch[:count] = self._scale(pixels)
        result = self._model.predict_on_batch(batch)
        return Output({LAYER: np.asarray(result[LAYER])[:count]}, np.asarray(result["maps"])[:count])

    def libraries(self) -> dict[str, str]:
        return {name: str(sys.modules[name].__version__) for name in ("keras", self._backend, "numpy")}


def import_keras() -> Any:
    """Import Keras on the backend that the user chose, else on TensorFlow, and return it.

    Raises
    ------
    MissingDependency
        If Keras or every backend that can extract is missing.
    """
    if "KERAS_BACKEND" not in os.environ and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = check_installed()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with _quiet_stderr():
            import keras

            _prepare(keras.backend.backend())
    except ImportError as error:
        raise errors.MissingDependency(
            f"Keras cannot be imported ({error}): pip install 'icehouse[extract]'."
        ) from None
    return keras


def check_installed() -> str:
    """Return the first of Keras's backends that is installed, without importing it.

    Raises
    ------
    MissingDependency
        If Keras or every backend is missing.
    """
    present = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
    if importlib.util.find_spec("keras") is None or not present:
        raise errors.MissingDependency(
            "Computing vectors needs TensorFlow, which is not installed: pip install 'icehouse[extract]'. "
            "Everything behind a cache (classify, cache info) works without it."
        )
    return present[0]


def _prepare(backend: str) -> None:
    """Keep float32 what it says on GPUs, which would round products to 10 bits, and find the devices now."""
    if backend == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        tensorflow.config.list_physical_devices()
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")


def _has_gpu(backend: str) -> bool:
    if backend == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.list_physical_devices("GPU"))
    if backend == "jax":
        import jax

        return any(device.platform == "gpu" for device in jax.devices())
    if backend == "torch":
        import torch

        return bool(torch.cuda.is_available())
    return False


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what C++ prints while TensorFlow is imported (that there is no GPU); show it if that fails."""
    if platform.system() == "Windows":
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
