"""What runs a network: what every engine has in common, which one is used, and how Keras is imported.

The engines themselves are `keras_engine` and `openvino_engine`. Frameworks are imported inside functions only.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .backbones import Backbone
from .layers import LAYER as LAYER
from .weights import Weights

CHOICES = ("auto", "keras", "openvino")
"""What the user may ask for."""

BACKENDS = ("tensorflow", "jax", "torch")
"""Keras's backends that the engine `keras` runs on, the one to be preferred first."""


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
        "keras-tensorflow", "keras-jax", "keras-torch" or "openvino".
    device : str
        "cpu" or "gpu".
    precision : str
        The precision in effect, read back from what computes.
    batch_size : int
        The most frames that `run` takes at once; whoever runs out of memory may set it lower and run the same
        frames again in smaller batches.
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


def choose(engine: str = "auto") -> str:
    """Return which engine is used, `keras` or `openvino`, before any framework is loaded.

    Parameters
    ----------
    engine : str
        `keras`, `openvino` or `auto`: a GPU if Keras's backend sees one (looked for only where an NVIDIA device
        is present, so that elsewhere nothing is loaded for it), else OpenVINO if it is installed, else Keras.

    Raises
    ------
    MissingDependency
        If what the engine needs is not installed.
    UsageError
        If there is no such engine.
    """
    if engine not in CHOICES:
        raise errors.UsageError(f"There is no engine {engine!r}. Known: {', '.join(CHOICES)}.")
    if engine == "auto":
        check_installed()
        on_gpu = _has_nvidia_device() and _can_run_keras() and _keras_sees_gpu()
        return "openvino" if _can_run_openvino() and not on_gpu else "keras"
    if engine == "openvino" and not _can_run_openvino():
        raise errors.MissingDependency(
            "The engine openvino needs OpenVINO and Keras, and not both are installed: "
            "pip install 'icehouse[openvino]'."
        )
    if engine == "keras" and not _can_run_keras():
        if chosen := os.environ.get("KERAS_BACKEND"):
            raise errors.MissingDependency(
                f"The engine keras cannot run on KERAS_BACKEND={chosen}, which is not installed or computes no "
                f"vectors: unset it, name one of {', '.join(BACKENDS)}, or use --engine openvino."
            )
        raise errors.MissingDependency(
            "The engine keras needs Keras with TensorFlow, JAX or PyTorch, and they are not installed: "
            "pip install 'icehouse[extract]', or use --engine openvino."
        )
    return engine


def check_installed() -> None:
    """Raise `MissingDependency` if nothing that computes vectors is installed; nothing is loaded for it."""
    if not _can_run_openvino() and not _can_run_keras():
        raise errors.MissingDependency(
            "Computing vectors needs Keras with OpenVINO or TensorFlow, which are not installed: "
            "pip install 'icehouse[openvino]' for processors, 'icehouse[extract,gpu]' for NVIDIA GPUs. "
            "Everything behind a cache (classify, cache info) works without them."
        )


def name_of(engine: str) -> str:
    """Return the name that an engine will have, such as "keras-jax", before any framework is loaded."""
    return f"keras-{backend_name()}" if engine == "keras" else engine


def backend_name() -> str | None:
    """Return the backend that Keras has or will have: the one loaded, the user's choice or the first found."""
    if (keras := sys.modules.get("keras")) is not None:
        return str(keras.backend.backend())
    if chosen := os.environ.get("KERAS_BACKEND") or _configured_backend():
        return chosen
    return next((name for name in BACKENDS if _is_installed(name)), None)


def _configured_backend() -> str | None:
    """Return the backend that the user's keras.json names, as Keras itself would read it."""
    folder = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        named = json.loads((folder / "keras.json").read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return named if named in BACKENDS and _is_installed(named) else None


def load(plan: Plan, batch_size: int, calibration: NDArray[np.float32]) -> Engine:
    """Build the network of `plan`, give it its weights and return it ready to run.

    Parameters
    ----------
    plan : Plan
    batch_size : int
        It becomes large enough for the canaries at least. A vector depends neither on it nor on what else is in
        a batch.
    calibration : ndarray of float32, shape (3, h, w, 3)
        The canaries' pixels, 0–255; random weights are calibrated on them.

    Raises
    ------
    UsageError
        If the engine computes in another precision than the plan's, or the network has not the plan's layers.
    MissingDependency, WeightsError
        If what it needs is not installed, or the weights do not fit.
    """
    if choose(plan.engine) == "openvino":
        from .openvino_engine import OpenVINOEngine

        return OpenVINOEngine(plan, batch_size, calibration)
    from .keras_engine import KerasEngine

    return KerasEngine(plan, batch_size, calibration)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed because memory, the processor's or a GPU's, was too small for the batch.

    TensorFlow raises ResourceExhaustedError, JAX says RESOURCE_EXHAUSTED, PyTorch raises OutOfMemoryError or
    says that it can't allocate memory, oneDNN (below OpenVINO) and C++ have sentences of their own.
    """
    if isinstance(error, MemoryError) or type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError"):
        return True
    text = str(error).lower().replace("_", " ")
    return any(words in text for words in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = (
    "resource exhausted",
    "bad alloc",
    "alloc failed",
    "out of memory",
    "can't allocate",
    "cannot allocate memory",
    "could not create a memory object",
    "failed to allocate",
)


def import_keras() -> Any:
    """Import Keras on the backend that the user chose, else on the first installed, and return it.

    Raises
    ------
    MissingDependency
        If Keras or every backend is missing.
    """
    if "KERAS_BACKEND" not in os.environ and "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend_name() or "openvino"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Others may use the GPU too, and running out of memory is noticed before everything is taken.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        with _quiet_stderr():
            import keras

            keras.config.set_image_data_format("channels_last")
            _prepare(keras.backend.backend())
    except ImportError as error:
        raise errors.MissingDependency(
            f"Keras cannot be imported ({error}): pip install 'icehouse[extract]'."
        ) from None
    return keras


def _prepare(backend: str) -> None:
    """Keep float32 what it says on GPUs, which would round products to 10 bits, and find the devices now."""
    if backend == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        tensorflow.config.list_physical_devices()
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    elif backend == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def has_gpu(backend: str) -> bool:
    """Whether a backend of Keras that is loaded sees a GPU."""
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


def _keras_sees_gpu() -> bool:
    return has_gpu(str(import_keras().backend.backend()))


def _has_nvidia_device() -> bool:
    """Whether the machine has an NVIDIA device: on Linux, below Windows' Linux, on Windows."""
    if platform.system() == "Windows":
        return shutil.which("nvidia-smi") is not None
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _can_run_openvino() -> bool:
    return _is_installed("keras") and _is_installed("openvino")


def _can_run_keras() -> bool:
    return _is_installed("keras") and backend_name() in BACKENDS and _is_installed(str(backend_name()))


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


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
