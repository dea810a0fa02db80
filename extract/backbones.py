"""The frozen networks: their sizes, their own scaling of pixels, and how each is built and given its weights.

Keras is imported inside functions only. Where weights are found is `weights`; running the network is `engines`.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import efficientnet_lite

Scaling = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _scale_tf(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = pixels / np.float32(127.5) - np.float32(1)
    return scaled


def _scale_caffe(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    means = np.array([103.939, 116.779, 123.68], dtype=np.float32)
    scaled: NDArray[np.float32] = pixels[..., ::-1] - means
    return scaled


def _scale_lite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (pixels - np.float32(127)) / np.float32(128)
    return scaled


SCALINGS: dict[str, Scaling] = {"tf": _scale_tf, "caffe": _scale_caffe, "lite": _scale_lite}
"""From pixels between 0 and 255 (b, h, w, 3) in RGB to what the network was trained on; the input is kept.

`tf`: to −1…1. `caffe`: to BGR, less ImageNet's mean. `lite`: (x − 127) / 128, EfficientNet-Lite's own.
"""


@dataclass(frozen=True)
class Backbone:
    """One frozen network.

    Parameters
    ----------
    name : str
        As typed, and as it stands in the recipe.
    size : int
        Height and width of its input in pixels.
    dimensions : int
        Length d of its vectors.
    parameters : int
        Number of weights, the classifier left out.
    scaling : str
        A key of `SCALINGS`.
    application : str or None
        Its name in keras.applications; None for a network of our own.
    weights_file, weights_hash : str
        The ImageNet weights: the file's name, and its MD5 (as Keras gives it) or SHA-256.
    """

    name: str
    size: int
    dimensions: int
    parameters: int
    scaling: str
    application: str | None
    weights_file: str
    weights_hash: str

    @property
    def bytes_per_image(self) -> int:
        """What one row takes in a cache: vector, 16×16 pixels, content, frame and view."""
        return self.dimensions * 4 + 256 + 32 + 4 + 2


BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            name="inceptionv3",
            size=299,
            dimensions=2048,
            parameters=21_802_784,
            scaling="tf",
            application="InceptionV3",
            weights_file="inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_hash="bcbd6486424b2319ff4ef7d526e38f63",
        ),
        Backbone(
            name="resnet50",
            size=224,
            dimensions=2048,
            parameters=23_587_712,
            scaling="caffe",
            application="ResNet50",
            weights_file="resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_hash="4d473c1dd8becc155b73f8504c6f6626",
        ),
        Backbone(
            name="resnet50v2",
            size=224,
            dimensions=2048,
            parameters=23_564_800,
            scaling="tf",
            application="ResNet50V2",
            weights_file="resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            weights_hash="fac2f116257151a9d068a22e544a4917",
        ),
        Backbone(
            name="efficientnetlite0",
            size=224,
            dimensions=1280,
            parameters=3_413_024,
            scaling="lite",
            application=None,
            weights_file=efficientnet_lite.FILE,
            weights_hash=efficientnet_lite.SHA256,
        ),
    )
}
DEFAULT = "inceptionv3"


def find(name: str) -> Backbone:
    """Return the backbone called `name`.

    Raises
    ------
    UsageError
        If there is none; the message names the nearest and all.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    near = difflib.get_close_matches(name.lower(), BACKBONES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise errors.UsageError(f"There is no backbone {name!r}.{hint} Known: {', '.join(BACKBONES)}.")


def build(backbone: Backbone) -> Any:
    """Return the network without weights as a Keras model: scaled pixels to the last feature maps."""
    size = (backbone.size, backbone.size)
    if backbone.application is None:
        return efficientnet_lite.build(size)
    import keras

    application = getattr(keras.applications, backbone.application)
    return application(weights=None, include_top=False, input_shape=(*size, 3))


def load_file(network: Any, backbone: Backbone, path: Path) -> None:
    """Put the weights of a file into `network`.

    Raises
    ------
    WeightsError
        If the file is damaged or belongs to another network.
    """
    for variable in network.weights:  # whatever the file leaves out is then found below, not left at random
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


def draw_random(network: Any, seed: int, calibration: NDArray[np.float32]) -> None:
    """Give `network` random weights: the same for every engine and machine, and vectors that do not vanish.

    Kernels are He-normal (He et al., ICCV 2015), drawn by NumPy per variable; each BatchNorm then takes the
    mean and variance that `calibration` has where it stands.

    Parameters
    ----------
    network : keras.Model
    seed : int
    calibration : ndarray of float32, shape (b, h, w, 3)
        Scaled pixels.
    """
    number = 0
    norms = []
    for layer in network.layers:
        for variable in layer.weights:
            kind = variable.path.rpartition("/")[2]
            generator = np.random.default_rng([seed, number])
            variable.assign(_drawn(kind, tuple(variable.shape), type(layer).__name__, generator))
            number += 1
        if type(layer).__name__ == "BatchNormalization":
            norms.append((layer, layer.momentum))
            layer.momentum = 0.0  # one pass in training mode then sets the moving averages to the batch's own
    network(calibration, training=True)
    for layer, momentum in norms:
        layer.momentum = momentum


def _drawn(
    kind: str, shape: tuple[int, ...], layer: str, generator: np.random.Generator
) -> NDArray[np.float32]:
    if kind in ("gamma", "moving_variance"):
        return np.ones(shape, dtype=np.float32)
    if kind in ("beta", "moving_mean", "bias"):
        return np.zeros(shape, dtype=np.float32)
    fan_in = int(np.prod(shape[:2] if layer == "DepthwiseConv2D" else shape[:-1]))
    drawn = generator.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2.0 / fan_in))
    return drawn.astype(np.float32, copy=False)


def _shortened(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:160] + ("…" if len(text) > 160 else "")
