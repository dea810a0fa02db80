"""A frozen network made ready: built, given its weights, and cut to the vectors asked for.

Keras is imported inside functions, and nothing here runs a network: that is the engines' work, and where a pass
through one is needed, its caller brings the function for it.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import efficientnet_lite, layers, model_files
from .backbones import Backbone

if TYPE_CHECKING:
    from . import engines

Forward = Callable[[Any, NDArray[np.float32]], list[NDArray[np.float32]]]
"""Runs a Keras model once on pixels (b, h, w, 3) in float32, and returns its outputs as a flat list."""

_FLOAT32 = "float32"


def assemble(
    plan: engines.Plan, calibration: NDArray[np.float32], forward: Forward, policy: str = _FLOAT32
) -> Any:
    """Return the network of a plan: scaled pixels to its vectors and its last feature maps.

    Parameters
    ----------
    plan : Plan
    calibration : ndarray of float32, shape (3, h, w, 3)
        Scaled pixels of the canaries, on which random weights are calibrated.
    forward : Forward
        Called once if the weights are random, else never.
    policy : str
        What the network computes in: `float32`, `mixed_bfloat16` or `mixed_float16`. Its outputs are float32.

    Returns
    -------
    keras.Model
        Scaled pixels (b, h, w, 3) to a dict: of each layer asked for the vectors (b, d), and `maps`, the last
        feature maps (b, h, w, c).

    Raises
    ------
    UsageError
        If the network has no such layer or does not take pictures of the size.
    WeightsError
        If the weights do not fit.
    """
    import keras

    backbone, weights = plan.backbone, plan.weights
    backbone.check_size(plan.size)
    if backbone.model is not None:
        network = model_files.load(backbone.model, plan.size, trusted=plan.trust_model)
    else:
        network = build(backbone, plan.size)
        if weights.path is not None:
            load_file(network, backbone, weights.path)
        else:
            assert weights.seed is not None
            draw_random(network, weights.seed, calibration, forward)
    if policy != _FLOAT32:
        network = _in_policy(network, policy)
    tensors = layers.resolve(network, plan.layers, size=backbone.size or plan.size or _OPEN_SIZE)
    outputs = {}
    for name, tensor in tensors.items():
        if len(tensor.shape) == 4:
            label = re.sub(r"\W", "_", f"icehouse_{name}")
            outputs[name] = keras.layers.GlobalAveragePooling2D(name=label, dtype=_FLOAT32)(tensor)
        else:
            outputs[name] = keras.ops.cast(tensor, _FLOAT32)
    outputs[layers.MAPS] = keras.ops.cast(layers.last_maps(network), _FLOAT32)
    return keras.Model(network.inputs[0], outputs)


_OPEN_SIZE = 512
"""At which the stages of a network for pictures of any size are told from each other."""


def build(backbone: Backbone, size: int | None) -> Any:
    """Return a network without weights as a Keras model: scaled pixels to the last feature maps.

    Its layers are called the same whatever else was built in this process.

    Parameters
    ----------
    backbone : Backbone
        Not a model file.
    size : int or None
        Height and width of its input in pixels; None leaves them open.
    """
    if backbone.application is None:
        return efficientnet_lite.build((size, size))
    import keras

    application = getattr(keras.applications, backbone.application)
    network = application(weights=None, include_top=False, input_shape=(size, size, 3))
    _number_anew(network)
    return network


def _number_anew(network: Any) -> None:
    """Give layers that Keras named by counting (`activation_98`) the names that a fresh process gives them.

    Otherwise the name of a layer would not say which one it is.
    """
    numbered: dict[str, list[tuple[int, Any]]] = {}
    for layer in network.layers:
        kind = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
        if found := re.fullmatch(rf"{kind}(?:_([0-9]+))?", layer.name):
            numbered.setdefault(kind, []).append((int(found[1] or 0), layer))
    for kind, members in numbered.items():
        first = min(number for number, _ in members)
        for number, layer in members:
            layer.name = f"{kind}_{number - first}" if number > first else kind


def load_file(network: Any, backbone: Backbone, path: Path) -> None:
    """Put the weights of a file into `network`.

    Raises
    ------
    WeightsError
        If the file is damaged or belongs to another network.
    """
    for variable in network.weights:  # whatever the file leaves out is then found below, not left at random
        if "float" in str(variable.dtype):
            variable.assign(np.full(variable.shape, np.nan, dtype=np.float32))
    if path.suffix == ".pth" and backbone.application is None:
        efficientnet_lite.load_weights(network, path)
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network.load_weights(path)
        except Exception as error:  # Keras raises anything from KeyError to OSError here
            raise errors.WeightsError(
                f"{path} does not hold weights of {backbone.name}: {_shortened(error)}"
            ) from None
    unset = [v.path for v in network.weights if not np.isfinite(np.asarray(v)).all()]
    if unset:
        raise errors.WeightsError(
            f"{path} does not hold weights of {backbone.name}: {len(unset)} of {len(network.weights)} "
            f"variables, such as {unset[0]}, are missing from it or not finite."
        )
    _correct_deviations(network, backbone, path)
    _refresh(network)


_DEVIATIONS = np.array([0.229, 0.224, 0.225], dtype=np.float32)
"""Of ImageNet's colours, red, green and blue."""


def _correct_deviations(network: Any, backbone: Backbone, path: Path) -> None:
    """Put variances where Keras's ImageNet weights of EfficientNet have standard deviations.

    Keras itself leaves them and divides by their root once more, in a layer that it adds only where it loads
    these weights (github.com/tensorflow/tensorflow/issues/49930). Weights that were trained on from there still
    hold these numbers, which no training changes, and are corrected alike.
    """
    for layer in network.layers:
        if type(layer).__name__ != "Normalization" or not layer.weights:
            continue
        variance = next(variable for variable in layer.weights if variable.path.endswith("/variance"))
        held = np.asarray(variance)
        if np.allclose(held, _DEVIATIONS, rtol=1e-3) or _md5(path) == backbone.weights_hash:
            variance.assign(held * _DEVIATIONS)


def draw_random(network: Any, seed: int, calibration: NDArray[np.float32], forward: Forward) -> None:
    """Give `network` random weights: the same for every engine and machine, and vectors that do not vanish.

    Kernels are He-normal (He et al., ICCV 2015), drawn by NumPy per variable; BatchNorms are calibrated, and
    add 1, so that most of what a ReLU gets is positive. With 0 a deep random network is chaotic: it makes a
    rounding error a hundred times larger on its way (Yang et al., A Mean Field Theory of Batch Normalization,
    ICLR 2019), and engines would agree to 1e-4 only.

    Parameters
    ----------
    network : keras.Model
    seed : int
    calibration : ndarray of float32, shape (b, h, w, 3)
        Scaled pixels.
    forward : Forward
    """
    number = 0
    for layer in network.layers:
        for variable in layer.weights:
            kind = variable.path.rpartition("/")[2]
            generator = np.random.default_rng([seed, number])
            variable.assign(_drawn(kind, tuple(variable.shape), type(layer).__name__, generator))
            number += 1
    calibrate(network, calibration, forward)


def calibrate(network: Any, calibration: NDArray[np.float32], forward: Forward) -> None:
    """Give each BatchNorm of `network` the mean and variance that `calibration` has where it stands.

    They are found in one pass through a copy of the network in which each BatchNorm takes those of the batch,
    as it would in training, which not every engine knows.
    """
    _refresh(network)
    model, norms = _with_moments(network)
    if not norms:
        return
    moments = forward(model, calibration)
    for norm, mean, variance in zip(norms, moments[::2], moments[1::2], strict=True):
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(variance)


def _with_moments(network: Any) -> tuple[Any, list[Any]]:
    """Return a model of the mean and variance before each BatchNorm of `network`, in turn, and these layers."""
    import keras

    class BatchMoments(keras.layers.Layer):  # type: ignore[misc]  # Keras carries no types
        """Takes off the batch's own mean, divides by its deviation and adds the shift."""

        def __init__(self, norm: Any) -> None:
            super().__init__(name=norm.name)
            self.norm_epsilon = norm.epsilon
            self.shift = keras.ops.convert_to_numpy(norm.beta) if norm.center else np.float32(0)

        def call(self, maps: Any) -> Any:
            mean, variance = _moments(maps, keepdims=True)
            return (maps - mean) * keras.ops.rsqrt(variance + self.norm_epsilon) + self.shift

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    class OpenReshape(keras.layers.Layer):  # type: ignore[misc]
        """Reshapes batches of any length; exported to OpenVINO, Keras's own knows only those of one picture."""

        def __init__(self, reshape: Any) -> None:
            super().__init__(name=reshape.name)
            self.target = reshape.target_shape

        def call(self, maps: Any) -> Any:
            return keras.ops.reshape(maps, (-1, *self.target))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], *self.target)

    norms: list[Any] = []
    moments: list[Any] = []

    def copied(layer: Any) -> Any:
        own = {"BatchNormalization": BatchMoments, "Reshape": OpenReshape}.get(type(layer).__name__)
        return own(layer) if own else layer

    def call(layer: Any, *arguments: Any, **named: Any) -> Any:
        if isinstance(layer, BatchMoments):
            norms.append(network.get_layer(layer.name))
            moments.extend(_moments(arguments[0], keepdims=False))
            return layer(arguments[0])
        return layer(*arguments, **named)

    copy = keras.models.clone_model(network, clone_function=copied, call_function=call)
    return (keras.Model(copy.inputs[0], moments) if moments else copy), norms


def _moments(maps: Any, *, keepdims: bool) -> tuple[Any, Any]:
    """Return mean and variance of each channel, in a way that every one of Keras's backends has."""
    mean = _mean(maps, keepdims=True)
    variance = _mean((maps - mean) * (maps - mean), keepdims=keepdims)
    return (mean if keepdims else _mean(maps, keepdims=False)), variance


def _mean(maps: Any, *, keepdims: bool) -> Any:
    """Return the mean of each channel, one axis after the other: one long sum in float32 would lose digits."""
    import keras

    for axis in (2, 1, 0):
        maps = keras.ops.mean(maps, axis=axis, keepdims=keepdims)
    return maps


def _drawn(
    kind: str, shape: tuple[int, ...], layer: str, generator: np.random.Generator
) -> NDArray[np.float32]:
    if kind in ("gamma", "beta", "moving_variance", "variance"):
        return np.ones(shape, dtype=np.float32)
    if kind in ("moving_mean", "mean", "count", "bias"):
        return np.zeros(shape, dtype=np.float32)
    depthwise = layer == "DepthwiseConv2D" or kind == "depthwise_kernel"
    fan_in = int(np.prod(shape[:2] if depthwise else shape[:-1]))
    drawn = generator.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / fan_in))
    return drawn.astype(np.float32, copy=False)


def _in_policy(network: Any, policy: str) -> Any:
    """Return a copy of `network` that computes in another dtype; what prepares the pixels stays in float32."""
    import keras

    def copied(layer: Any) -> Any:
        kind = type(layer).__name__
        if kind == "Lambda" or not isinstance(layer, keras.layers.Layer):
            return layer  # code cannot be copied from what Keras writes down of it
        dtype = _FLOAT32 if kind in ("Rescaling", "Normalization") else policy
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    copy = keras.models.clone_model(network, clone_function=copied)
    copy.set_weights(network.get_weights())
    _refresh(copy)
    return copy


def _refresh(network: Any) -> None:
    """Let layers that keep constants made of their weights, as Normalization does, make them anew."""
    for layer in network.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:160] + ("…" if len(text) > 160 else "")
