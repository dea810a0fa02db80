"""The table of frozen networks: their sizes, their own scaling of pixels, and which files their weights are.

Data only: how a network is built is `networks`, where its weights are on this machine is `weights`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import efficientnet_lite, model_files

Scaling = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def _scale_tf(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = pixels / np.float32(127.5) - np.float32(1)
    return scaled


def _scale_caffe(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    means = np.array([103.939, 116.779, 123.68], dtype=np.float32)
    scaled: NDArray[np.float32] = pixels[..., ::-1] - means
    return scaled


def _scale_torch(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    means = np.array([0.485, 0.456, 0.406], dtype=np.float32)
    deviations = np.array([0.229, 0.224, 0.225], dtype=np.float32)
    scaled: NDArray[np.float32] = (pixels / np.float32(255) - means) / deviations
    return scaled


def _scale_lite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (pixels - np.float32(127)) / np.float32(128)
    return scaled


def _scale_unit(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = pixels / np.float32(255)
    return scaled


SCALINGS: dict[str, Scaling] = {
    "tf": _scale_tf,
    "caffe": _scale_caffe,
    "torch": _scale_torch,
    "lite": _scale_lite,
    "unit": _scale_unit,
    "none": np.copy,
}
"""From pixels between 0 and 255 (b, h, w, 3) in RGB to what the network was trained on; the input is kept.

`tf`: to −1…1. `caffe`: to BGR, less ImageNet's mean. `torch`: to 0…1, less ImageNet's mean, by its deviation.
`lite`: (x − 127) / 128, EfficientNet-Lite's own. `unit`: to 0…1. `none`: as they are, for networks that
scale by themselves.
"""


@dataclass(frozen=True)
class Backbone:
    """One frozen network.

    Parameters
    ----------
    name : str
        As it stands in the recipe: as typed, or "model" for a file of the user's own.
    size : int or None
        Height and width of its input in pixels unless told; None for a model file that takes any.
    dimensions, parameters : int or None
        Length d of its vectors and number of its weights, the classifier left out; None for a model file.
    scaling : str or None
        A key of `SCALINGS`; None for a model file, whose user must say it.
    least : int
        The smallest size that it takes.
    application : str or None
        Its name in keras.applications; None for a network of our own or a model file.
    weights_file, weights_hash : str
        The ImageNet weights: the file's name, and its MD5 (as Keras gives it) or SHA-256; empty where Keras
        has none.
    url : str
        Where Keras downloads them from.
    model : Path or None
        The user's own model file.
    """

    name: str
    size: int | None
    dimensions: int | None
    parameters: int | None
    scaling: str | None
    least: int = 32
    application: str | None = None
    weights_file: str = ""
    weights_hash: str = ""
    url: str = ""
    model: Path | None = None

    def check_size(self, size: int | None) -> None:
        """Raise `UsageError` if the network takes no pictures of `size`; None means each in its own size."""
        if size is not None and size < self.least:
            raise errors.UsageError(
                f"{self.name} takes pictures of at least {self.least} pixels, not {size}: give a larger --size."
            )
        if self.model is not None and self.size is not None and size != self.size:
            raise errors.UsageError(
                f"{self.model} takes pictures of {self.size} pixels and no others: leave --size out."
            )
        if size is None and self.application in _ONE_SIZE_AT_A_TIME:
            raise errors.UsageError(
                f"{self.name} cannot take pictures of any size: its cells are cut to one. Give --size N."
            )


_ONE_SIZE_AT_A_TIME = {"NASNetMobile"}
"""Keras decides while it builds these which branches to make smaller, and cannot if the size is open."""


class _Family(NamedTuple):
    """Networks that are scaled alike and whose files lie side by side; `path` has a place for a file's stem.

    Of each network: its name in keras.applications, size, d, parameters, its file's stem and MD5.
    """

    scaling: str
    least: int
    path: str
    networks: tuple[tuple[str, int, int, int, str, str], ...]


_ORIGIN = "https://storage.googleapis.com/"
_PATH = "tensorflow/keras-applications/{}_weights_tf_dim_ordering_tf_kernels_notop.h5"
_FAMILIES = (
    # Sizes are those that the ImageNet weights were trained at; the rest is what Keras 3.15 says of itself.
    _Family(
        "caffe",
        32,
        _PATH,
        (
            ("VGG16", 224, 512, 14_714_688, "vgg16/vgg16", "6d6bbae143d832006294945121d1f1fc"),
            ("VGG19", 224, 512, 20_024_384, "vgg19/vgg19", "253f8cb515780f3b799900260a226db6"),
            ("ResNet50", 224, 2048, 23_587_712, "resnet/resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
            ("ResNet101", 224, 2048, 42_658_176, "resnet/resnet101", "88cf7a10940856eca736dc7b7e228a21"),
            ("ResNet152", 224, 2048, 58_370_944, "resnet/resnet152", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
        ),
    ),
    _Family(
        "tf",
        32,
        _PATH,
        (
            ("ResNet50V2", 224, 2048, 23_564_800, "resnet/resnet50v2", "fac2f116257151a9d068a22e544a4917"),
            ("ResNet101V2", 224, 2048, 42_626_560, "resnet/resnet101v2", "c0ed64b8031c3730f411d2eb4eea35b5"),
            ("ResNet152V2", 224, 2048, 58_331_648, "resnet/resnet152v2", "ed17cf2e0169df9d443503ef94b23b33"),
        ),
    ),
    _Family(
        "tf",
        75,
        _PATH,
        (
            (
                "InceptionV3",
                299,
                2048,
                21_802_784,
                "inception_v3/inception_v3",
                "bcbd6486424b2319ff4ef7d526e38f63",
            ),
            (
                "InceptionResNetV2",
                299,
                1536,
                54_336_736,
                "inception_resnet_v2/inception_resnet_v2",
                "d19885ff4a710c122648d3b5c3b684e4",
            ),
        ),
    ),
    _Family(
        "tf",
        71,
        _PATH,
        (("Xception", 299, 2048, 20_861_480, "xception/xception", "b0042744bf5b25fce3cb969f33bebb97"),),
    ),
    _Family(
        "torch",
        32,
        _PATH,
        (
            ("DenseNet121", 224, 1024, 7_037_504, "densenet/densenet121", "30ee3e1110167f948a6b9946edeeb738"),
            ("DenseNet169", 224, 1664, 12_642_880, "densenet/densenet169", "b8c4d4c20dd625c148057b9ff1c1176b"),
            ("DenseNet201", 224, 1920, 18_321_984, "densenet/densenet201", "c13680b51ded0fb44dff2d8f86ac8bb1"),
        ),
    ),
    _Family(
        "tf",
        32,
        "tensorflow/keras-applications/mobilenet_v2/{}_no_top.h5",
        (
            (
                "MobileNetV2",
                224,
                1280,
                2_257_984,
                "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224",
                "",
            ),  # Keras has no hash of it
        ),
    ),
    _Family(
        "none",
        32,
        "keras-applications/{}_notop.h5",
        (
            ("EfficientNetB0", 224, 1280, 4_049_571, "efficientnetb0", "50bc09e76180e00e4465e1a485ddc09d"),
            ("EfficientNetB1", 240, 1280, 6_575_239, "efficientnetb1", "74c4e6b3e1f6a1eea24c589628592432"),
            ("EfficientNetB2", 260, 1408, 7_768_569, "efficientnetb2", "111f8e2ac8aa800a7a99e3239f7bfb39"),
            ("EfficientNetB3", 300, 1536, 10_783_535, "efficientnetb3", "af6d107764bb5b1abb91932881670226"),
            ("EfficientNetB4", 380, 1792, 17_673_823, "efficientnetb4", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
            ("EfficientNetB5", 456, 2048, 28_513_527, "efficientnetb5", "38879255a25d3c92d5e44e04ae6cec6f"),
            ("EfficientNetB6", 528, 2304, 40_960_143, "efficientnetb6", "9ecce42647a20130c1f39a5d4cb75743"),
            ("EfficientNetB7", 600, 2560, 64_097_687, "efficientnetb7", "cbcfe4450ddf6f3ad90b1b398090fe4a"),
        ),
    ),
    _Family(
        "none",
        32,
        "tensorflow/keras-applications/efficientnet_v2/efficientnetv2-{}_notop.h5",
        (
            ("EfficientNetV2B0", 224, 1280, 5_919_312, "b0", "893217f2bb855e2983157299931e43ff"),
            ("EfficientNetV2B1", 240, 1280, 6_931_124, "b1", "0e80663031ca32d657f9caa404b6ec37"),
            ("EfficientNetV2B2", 260, 1408, 8_769_374, "b2", "1dfe2e7a5d45b6632553a8961ea609eb"),
            ("EfficientNetV2B3", 300, 1536, 12_930_622, "b3", "f6abf7b5849ac99a89b50dd3fd532856"),
            ("EfficientNetV2S", 384, 1280, 20_331_360, "s", "af0682fb74e8c54910f2d4393339c070"),
            ("EfficientNetV2M", 480, 1280, 53_150_388, "m", "1b8dc055df72dde80d614482840fe342"),
            ("EfficientNetV2L", 480, 1280, 117_746_848, "l", "b0b66b5c863aef5b46e8608fe1711615"),
        ),
    ),
    _Family(
        "tf",
        32,
        "tensorflow/keras-applications/nasnet/{}-no-top.h5",
        (("NASNetMobile", 224, 1056, 4_269_716, "NASNet-mobile", "1ed92395b5b598bdda52abe5c0dbfd63"),),
    ),
)
_KEPT_AS = {"NASNet-mobile-no-top.h5": "nasnet_mobile_no_top.h5"}
"""Files that Keras keeps under another name than it downloads them by."""


def _table() -> Iterator[Backbone]:
    for family in _FAMILIES:
        for application, size, dimensions, parameters, stem, md5 in family.networks:
            url = _ORIGIN + family.path.format(stem)
            file = url.rpartition("/")[2]
            yield Backbone(
                name=application.lower(),
                size=size,
                dimensions=dimensions,
                parameters=parameters,
                scaling=family.scaling,
                least=family.least,
                application=application,
                weights_file=_KEPT_AS.get(file, file),
                weights_hash=md5,
                url=url,
            )
    yield Backbone(
        name="efficientnetlite0",
        size=224,
        dimensions=1280,
        parameters=3_413_024,
        scaling="lite",
        weights_file=efficientnet_lite.FILE,
        weights_hash=efficientnet_lite.SHA256,
    )


BACKBONES: dict[str, Backbone] = {backbone.name: backbone for backbone in _table()}
DEFAULT = "inceptionv3"
MODEL = "model:"
"""What stands before the path of a model file of the user's own."""


def find(name: str) -> Backbone:
    """Return the backbone called `name`, or the one in the file of `model:PATH`.

    Raises
    ------
    UsageError
        If there is none; the message names the nearest and all.
    WeightsError
        If the file is missing, is no model file, or its network does not take colour pictures.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(MODEL):
        path = Path(name.removeprefix(MODEL))
        return Backbone("model", model_files.input_size(path), None, None, None, least=1, model=path)
    near = difflib.get_close_matches(name.lower(), BACKBONES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise errors.UsageError(f"There is no backbone {name!r}.{hint} Known: {', '.join(BACKBONES)}, model:PATH.")
