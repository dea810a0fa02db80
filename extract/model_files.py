"""Keras model files of the user's own: what they ask for is looked at before Keras sees them.

A model file says which classes and functions its network is made of, and some of them run code that it brings
along. Keras's safe mode has had holes (CVE-2024-3660, CVE-2025-1550, CVE-2025-9905), so it is not relied on:
only classes that are listed here are let through, whatever Keras would make of the others. Keras is imported
inside functions.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import h5py

from .. import errors
from . import layers

SUFFIXES = (".keras", ".h5", ".hdf5")

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {_CONFIG, _WEIGHTS, "metadata.json"}
_LONGEST_CONFIG = 32_000_000
_LARGEST_INPUT = 8192
_LARGEST_MAPS = 2**30
"""Numbers that one layer may yield for one picture: 4 GB."""
_INFLATION = 4
"""How much larger than the file what it says to hold may be; Keras does not compress."""

_LAYERS = set(
    re.findall(
        r"\w+",
        """
    InputLayer Functional Sequential Model
    Conv1D Conv2D Conv2DTranspose SeparableConv2D DepthwiseConv2D Conv3D Dense EinsumDense Embedding
    Activation ReLU LeakyReLU PReLU ELU Softmax
    BatchNormalization LayerNormalization GroupNormalization UnitNormalization RMSNormalization
    SpectralNormalization Normalization Rescaling Resizing CenterCrop
    MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalAveragePooling1D GlobalAveragePooling2D AdaptiveAveragePooling2D AdaptiveMaxPooling2D
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Flatten Reshape Permute RepeatVector ZeroPadding1D ZeroPadding2D Cropping1D Cropping2D UpSampling1D
    UpSampling2D
    Dropout SpatialDropout1D SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout ActivityRegularization
    Identity Masking TimeDistributed Bidirectional LSTM GRU SimpleRNN ConvLSTM2D
    Attention AdditiveAttention MultiHeadAttention GroupQueryAttention
    RandomFlip RandomRotation RandomZoom RandomTranslation RandomContrast RandomBrightness RandomCrop RandomHue
    RandomSaturation RandomSharpness RandomShear RandomErasing RandomGaussianBlur RandomGrayscale
    RandomPerspective
    """,
    )
)
"""Layers that compute with tensors and nothing else: no code, files or other frameworks."""
_VALUES = {
    "__numpy__",
    "__tensor__",
    "__keras_tensor__",
    "__ellipsis__",
    "__slice__",
    "__tuple__",
    "TensorShape",
}
_MODULES_OF_LAYERS = {
    None,
    "keras",
    "keras.layers",
    "keras.models",
    "keras.src.models.functional",
    "keras.src.models.sequential",
}
_CLASS_MODULES = {
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.losses",
    "keras.metrics",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.src.ops.numpy",
    "keras.src.ops.nn",
    "keras.src.ops.image",
}
"""Modules whose classes all only compute; those of `ops` are what arithmetic on tensors leaves in a network."""
_OF_NO_MODULE = set(
    re.findall(
        r"\w+",
        """
    Zeros Ones Constant RandomNormal RandomUniform TruncatedNormal VarianceScaling Orthogonal GlorotNormal
    GlorotUniform HeNormal HeUniform LecunNormal LecunUniform L1 L2 L1L2 OrthogonalRegularizer MaxNorm
    MinMaxNorm NonNeg UnitNorm
    """,
    )
)
"""What else Keras 2 wrote down without its module."""
_OTHERS = {
    ("keras", "DTypePolicy"),
    ("keras.dtype_policies", "DTypePolicy"),
    ("keras.src.ops.core", "Cast"),
    ("keras.src.ops.core", "Slice"),
    ("keras.src.ops.core", "StopGradient"),
    ("keras.src.ops.core", "Unstack"),
}
_FUNCTION_MODULES = {"builtins", "keras.activations", "keras.losses", "keras.metrics"}
_NO_FUNCTIONS = {"get", "serialize", "deserialize"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)


def input_size(path: Path) -> int | None:
    """Return the height and width in pixels of the pictures that a model takes, or None if it takes any.

    Raises
    ------
    WeightsNotFound
        If there is no such file.
    WeightsError
        If it is no model file, or its network does not take square colour pictures.
    """
    with _opened(path) as (config, _):
        shapes = list(_input_shapes(config))
    if len(shapes) != 1:
        raise errors.WeightsError(f"{path} takes {len(shapes)} inputs, not one picture.")
    shape = shapes[0]
    if len(shape) != 4:
        raise errors.WeightsError(f"{path} takes input of the shape {shape}, not pictures (b, h, w, 3).")
    height, width, channels = shape[1:]
    if channels != 3:
        raise errors.WeightsError(
            f"{path} takes pictures of {channels} channels, and icehouse gives three: put a layer in front of "
            "it that makes them fit."
        )
    if height != width:
        raise errors.WeightsError(f"{path} takes pictures of {height}×{width}, not square ones.")
    if height is not None and not 0 < height <= _LARGEST_INPUT:
        raise errors.WeightsError(f"{path} says to take pictures of {height} pixels; refused.")
    return height


def load(path: Path, size: int | None, *, trusted: bool) -> Any:
    """Return the network of a model file, the networks inside of it unfolded, so that all layers have names.

    Parameters
    ----------
    path : Path
    size : int or None
        Height and width of its input in pixels; None leaves it open.
    trusted : bool
        Let Keras load whatever the file asks for, code among it.

    Raises
    ------
    WeightsError
        If it asks for anything but Keras's own layers, would take more memory than it holds weights for, or
        cannot be loaded.
    """
    import keras

    input_size(path)
    try:
        with _opened(path) as (config, weights):
            if not trusted:
                _check_classes({key: value for key, value in config.items() if key != "compile_config"}, path)
            count = _count_numbers(weights, path)
        with _no_more_weights_than(count, path):
            model = keras.saving.load_model(path, compile=False, safe_mode=not trusted)
        if not isinstance(model, keras.Model) or len(model.inputs) != 1 or len(model.outputs) != 1:
            raise errors.WeightsError(f"{path} is no network of one input and one output.")
        network = _unfolded(model, size)
    except errors.IcehouseError:
        raise
    except Exception as error:  # Keras raises anything here
        reason = " ".join(str(error).split())[:200]
        raise errors.WeightsError(f"{path} cannot be loaded as a Keras model: {reason}") from None
    for node in layers.nodes(network):
        for tensor in node.outputs:
            if math.prod(side or 1 for side in tensor.shape) > _LARGEST_MAPS:
                raise errors.WeightsError(
                    f"{path}: its layer {node.layer.name} yields {tuple(tensor.shape)}, too large; refused."
                )
    return network


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, Any], h5py.Group]]:
    """Yield the configuration of a model file and the HDF5 file or group with its weights."""
    if not path.is_file():
        raise errors.WeightsNotFound(f"There is no model file {path}.")
    if path.suffix not in SUFFIXES:
        raise errors.WeightsError(f"{path} is no model file: icehouse reads {' '.join(SUFFIXES)} of Keras.")
    with ExitStack() as stack:
        try:
            text, weights = _open_keras(path, stack) if path.suffix == ".keras" else _open_hdf5(path, stack)
            config = json.loads(text)
        except PermissionError:
            raise errors.WeightsError(f"No permission to read {path}.") from None
        except (OSError, RuntimeError, LookupError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise errors.WeightsError(f"{path} is no Keras model file, or damaged: {error}.") from None
        if not isinstance(config, dict) or not isinstance(config.get("config"), dict | list):
            raise errors.WeightsError(f"{path} does not describe a network.")
        yield config, weights


def _open_keras(path: Path, stack: ExitStack) -> tuple[bytes, h5py.File]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    members = archive.infolist()
    names = [member.filename for member in members]
    if missing := {_CONFIG, _WEIGHTS} - set(names):
        raise errors.WeightsError(f"{path} is no Keras model file: it lacks {min(missing)}.")
    if len(names) > len(set(names)) or (odd := set(names) - _MEMBERS):
        raise errors.WeightsError(
            f"{path} holds {min(odd) if len(names) == len(set(names)) else 'a file twice'}, "
            "which no network of Keras's own layers needs; refused."
        )
    for member in members:
        if member.file_size > _INFLATION * member.compress_size + 1_000_000:
            raise errors.WeightsError(
                f"{path}: {member.filename} would unpack to {member.file_size:,} bytes; refused."
            )
    if archive.getinfo(_CONFIG).file_size > _LONGEST_CONFIG:
        raise errors.WeightsError(f"{path}: its {_CONFIG} is longer than any network's; refused.")
    return archive.read(_CONFIG), stack.enter_context(h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r"))


def _open_hdf5(path: Path, stack: ExitStack) -> tuple[Any, h5py.File]:
    file = stack.enter_context(h5py.File(path, "r", locking=False))
    text = file.attrs.get("model_config")
    if not isinstance(text, str | bytes):
        raise errors.WeightsError(
            f"{path} holds weights and no network: give it with --weights and a --backbone that it belongs to."
        )
    if len(text) > _LONGEST_CONFIG:
        raise errors.WeightsError(f"{path}: its description is longer than any network's; refused.")
    return text, file


def _input_shapes(config: dict[str, Any]) -> Iterator[tuple[int | None, ...]]:
    """Yield the shape of each input that a configuration names, as Keras 2 or 3 writes it."""
    inner = config["config"]
    parts = inner if isinstance(inner, list) else inner.get("layers", ())
    described = [part for part in parts if isinstance(part, dict) and isinstance(part.get("config"), dict)]
    sequential = isinstance(inner, list) or "input_layers" not in inner
    for part in described[:1] if sequential else described:
        if not sequential and part.get("class_name") != "InputLayer":
            continue
        own = part["config"]
        shape = own.get("batch_shape", own.get("batch_input_shape"))
        if shape is None and isinstance(inner, dict):
            shape = inner.get("build_input_shape")
        if isinstance(shape, dict):  # a tuple, as the older of Keras's two encoders writes it
            shape = shape.get("items")
        if isinstance(shape, list | tuple):
            yield tuple(side if isinstance(side, int) else None for side in shape)


def _check_classes(config: dict[str, Any], path: Path) -> None:
    """Refuse a configuration that asks, however deep inside, for anything that is not listed above."""
    waiting: list[Any] = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            if "class_name" in item and not _is_known(item):
                module = f"{item['module']}." if isinstance(item.get("module"), str) else ""
                wanted = f"{module}{item['class_name']}" + (
                    f" {item.get('config')}" if item["class_name"] == "function" else ""
                )
                raise errors.WeightsError(
                    f"{path} asks for {wanted[:100]!r}, which is none of Keras's layers that only compute: it "
                    "could run code. If you trust whoever made the file: --trust-model."
                )
            waiting.extend(item.values())


def _is_known(item: dict[str, Any]) -> bool:
    name, module, registered = item["class_name"], item.get("module"), item.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None):
        return False
    if name == "function":
        function = item.get("config")
        plain = isinstance(function, str) and bool(_NAME.fullmatch(function)) and function not in _NO_FUNCTIONS
        return plain and module in _FUNCTION_MODULES and registered in (None, function)
    if registered not in (None, name):  # Keras looks that one up first, in what anyone has registered
        return False
    if name in _LAYERS:
        return module in _MODULES_OF_LAYERS or module in _CLASS_MODULES
    if module in _CLASS_MODULES:
        return bool(_NAME.fullmatch(name)) and name[0].isupper()
    if module is None:
        return name in _VALUES or name in _OF_NO_MODULE
    return (module, name) in _OTHERS


def _count_numbers(group: h5py.Group, path: Path) -> int:
    """Return how many numbers the weights of a model are, once nothing in them leads elsewhere or swells up."""
    numbers = declared = 0
    size = path.stat().st_size
    seen = set()
    waiting = [group]
    while waiting:
        here = waiting.pop()
        address = h5py.h5o.get_info(here.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in here:
            if not isinstance(here.get(name, getlink=True), h5py.HardLink):
                raise errors.WeightsError(f"{path}: {name} is a link to elsewhere; refused.")
            item = here[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
                continue
            plain = isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub"
            if not plain or item.is_virtual or item.external:
                raise errors.WeightsError(f"{path}: {name} is no plain array of numbers; refused.")
            numbers += math.prod(item.shape)
            declared += math.prod(item.shape) * item.dtype.itemsize
            if declared > _INFLATION * size + 1_000_000:
                raise errors.WeightsError(f"{path}: its weights would swell to {declared:,} bytes; refused.")
    return numbers


@contextmanager
def _no_more_weights_than(count: int, path: Path) -> Iterator[None]:
    """Stop Keras as soon as a network asks for more weights than its file holds, before memory is taken.

    The configuration alone decides how large a network is, and one of a kilobyte could ask for all there is.
    """
    import keras

    layer = keras.layers.Layer
    original = layer.add_weight
    left = count + 10_000  # counters and the like, that are no weights

    def add_weight(self: Any, shape: Any = None, *arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= math.prod(side or 1 for side in shape) if shape else 1
        if left < 0:
            raise errors.WeightsError(
                f"{path} describes a larger network than the {count:,} weights it holds; refused."
            )
        return original(self, shape, *arguments, **named)

    layer.add_weight = add_weight
    try:
        yield
    finally:
        layer.add_weight = original


def _unfolded(model: Any, size: int | None) -> Any:
    """Return the same network on an input of `size`, with the layers of networks inside of it as its own.

    Where two networks inside have layers of the same name, they stay as they are, each one layer.
    """
    import keras

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(layer, keras.Sequential):
            layer = keras.Model(layer.inputs, layer.outputs)
        if isinstance(layer, keras.Model) and hasattr(layer, "_run_through_graph"):
            return layer._run_through_graph(arguments[0], operation_fn=lambda inner: inner, call_fn=call)
        return layer(*arguments, **named)

    whole = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    picture = keras.Input((size, size, 3), name="picture")
    try:
        return keras.Model(picture, call(whole, picture), name=model.name)
    except ValueError as error:
        if "unique" not in str(error):
            raise
        once = whole._run_through_graph(picture, operation_fn=lambda layer: layer)
        return keras.Model(picture, once, name=model.name)
