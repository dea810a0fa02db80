"""Promises about networks: the table is true, scaling is Keras's, weights are never guessed or half loaded."""

from __future__ import annotations

import hashlib
import inspect
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import backbones, engines, networks, weights
from real_networks import (
    FULL,
    assembled,
    built,
    canary_pixels,
    forward,
    relative_distance,
    vectors_of,
)

FAMILIES = [
    "vgg16",
    "resnet50",
    "resnet50v2",
    "inceptionv3",
    "xception",
    "densenet121",
    "mobilenetv2",
    "efficientnetb0",
    "efficientnetv2b0",
    "nasnetmobile",
    "efficientnetlite0",
]
KERAS_OWN = [backbone for backbone in backbones.BACKBONES.values() if backbone.application]
IMAGENET_DEVIATIONS = np.float32([0.229, 0.224, 0.225])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(backbones.BACKBONES) if FULL else FAMILIES)
def test_every_backbone_is_what_its_line_in_the_table_says(name) -> None:
    backbone, network = backbones.find(name), built(name)
    assert network.output_shape[-1] == backbone.dimensions
    assert network.count_params() == backbone.parameters
    assert network.input_shape[1:] == (backbone.size, backbone.size, 3)


@pytest.mark.parametrize("backbone", KERAS_OWN, ids=lambda backbone: backbone.name)
def test_files_hashes_and_least_sizes_are_those_that_keras_knows(backbone) -> None:
    """So that an upgrade of Keras that changes its weights is noticed."""
    keras = engines.import_keras()
    module = inspect.getmodule(getattr(keras.applications, backbone.application))
    source = inspect.getsource(module)
    if module.__name__.endswith("resnet_v2"):
        source += inspect.getsource(sys.modules["keras.src.applications.resnet"])
    assert backbone.weights_hash in source
    assert backbone.url.rpartition("/")[0].rpartition("/")[2] in source
    assert f"min_size={backbone.least}" in source


def test_the_files_are_called_and_lie_where_keras_has_them(monkeypatch) -> None:
    """Keras builds a network up to where it would download its weights, and is asked from where."""
    keras = engines.import_keras()
    asked = {}

    class Asked(Exception):
        pass

    def note(name, origin, **more):
        asked.update(file=name, url=origin, md5=more.get("file_hash") or "")
        raise Asked

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", note)
    for backbone in KERAS_OWN if FULL else [backbones.find("vgg16"), backbones.find("mobilenetv2")]:
        shape = (backbone.size, backbone.size, 3)
        with pytest.raises(Asked):
            getattr(keras.applications, backbone.application)(include_top=False, input_shape=shape)
        assert asked == {
            "file": backbone.weights_file,
            "url": backbone.url,
            "md5": backbone.weights_hash,
        }


@pytest.mark.parametrize("name", [*FAMILIES[:-1], "inceptionresnetv2"])
def test_scaling_is_what_keras_does_to_the_same_pixels(name) -> None:
    keras = engines.import_keras()
    backbone = backbones.find(name)
    module = inspect.getmodule(getattr(keras.applications, backbone.application))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype(np.float32)
    before = pixels.copy()
    ours = backbones.SCALINGS[backbone.scaling](pixels)
    theirs = module.preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(pixels, before)
    assert not np.shares_memory(ours, pixels)


def test_pixels_scaled_to_one_are_between_nothing_and_one() -> None:
    np.testing.assert_array_equal(backbones.SCALINGS["unit"](np.float32([0, 255])), [0, 1])


def test_a_layer_has_one_name_however_many_networks_were_built_before() -> None:
    again = networks.build(backbones.find("inceptionv3"), 75)
    names = [layer.name for layer in built("inceptionv3").layers]
    assert sorted(names)[1:] == sorted(layer.name for layer in again.layers)[1:]  # the first is the input
    assert {"activation", "conv2d_93", "batch_normalization_7", "mixed10"} <= set(names)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("inceptionv3", 74, "inceptionv3 takes pictures of at least 75 pixels, not 74"),
        ("xception", 70, "at least 71"),
        ("vgg16", 31, "at least 32"),
        ("nasnetmobile", None, "nasnetmobile cannot take pictures of any size"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_refused(name, size, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        backbones.find(name).check_size(size)


def test_a_network_is_not_built_in_a_size_that_it_does_not_take() -> None:
    with pytest.raises(errors.UsageError, match="vgg16 takes pictures of at least 32 pixels"):
        assembled("vgg16", 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAMILIES, "inceptionresnetv2"] if FULL else ["vgg16", "efficientnetb0"])
def test_vectors_of_random_weights_do_not_vanish_and_tell_pictures_apart(name) -> None:
    size = 96
    vectors = vectors_of(assembled(name, size, "avg_pool", "pyramid"), canary_pixels(name, size))
    for layer in ("avg_pool", "pyramid_4", "pyramid_8", "pyramid_16", "pyramid_32"):
        values = vectors[layer]
        assert values.dtype == np.float32
        assert values.std(axis=1).min() > 0.02
        assert np.abs(values).max() < 1000
        assert relative_distance(values[:1], values[1:2]).min() > 0.02


def small_network() -> Any:
    """Return a network of every kind of layer that has weights in the backbones."""
    keras = engines.import_keras()
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Normalization()(layers.Rescaling(1 / 255)(inputs))
    x = layers.BatchNormalization()(layers.Conv2D(16, 3, strides=2, use_bias=False)(x))
    x = layers.ReLU()(x)
    side = layers.BatchNormalization(scale=False, epsilon=1e-2)(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.Concatenate()([x, layers.SeparableConv2D(8, 3, padding="same")(side)])
    x = layers.Activation("swish")(layers.BatchNormalization()(x))
    weight = layers.Reshape((1, 1, 24))(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Conv2D(24, 1, activation="sigmoid")(weight)])
    return keras.Model(inputs, layers.BatchNormalization()(layers.Conv2D(32, 3)(x)))


def by_training(network: Any, seed: int, pixels: np.ndarray) -> None:
    """Draw random weights and calibrate them as a training step of Keras does it."""
    networks.draw_random(network, seed, pixels, forward)
    for layer in network.layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.moving_mean.assign(np.zeros(layer.moving_mean.shape, np.float32))
            layer.moving_variance.assign(np.ones(layer.moving_variance.shape, np.float32))
            layer.momentum = 0.0
    network(pixels, training=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "resnet50v2", "inceptionv3"] if FULL else ["small"])
def test_random_weights_are_those_of_a_seed_calibrated_as_a_training_step_of_keras_would(name) -> None:
    pixels = canary_pixels("efficientnetb0", 32) if name == "small" else canary_pixels(name, 160)
    ours, theirs = (
        small_network() if name == "small" else networks.build(backbones.find(name), 160) for _ in range(2)
    )
    networks.draw_random(ours, 3, pixels, forward)
    first = forward(ours, pixels)[0].mean(axis=(1, 2))
    by_training(theirs, 3, pixels)
    tolerance = 1e-5 if name == "small" else 1e-3  # Keras's sums are less exact than ours, which adds up
    assert relative_distance(forward(theirs, pixels)[0].mean(axis=(1, 2)), first).max() < tolerance
    networks.draw_random(ours, 4, pixels, forward)
    assert relative_distance(forward(ours, pixels)[0].mean(axis=(1, 2)), first).min() > 0.1
    networks.draw_random(ours, 3, pixels, forward)
    np.testing.assert_array_equal(forward(ours, pixels)[0].mean(axis=(1, 2)), first)


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="a small model file is tried in its place")
def test_a_network_of_lower_precision_keeps_its_weights_and_yields_float32() -> None:
    imagenet = weights.resolve("imagenet", backbones.find("efficientnetlite0"))
    pixels = canary_pixels("efficientnetlite0", 224)
    exact = vectors_of(assembled("efficientnetlite0", 224, weights=imagenet), pixels)
    model = assembled("efficientnetlite0", 224, weights=imagenet, policy="mixed_bfloat16")
    coarse = vectors_of(model, pixels)
    assert {str(layer.compute_dtype) for layer in model.layers if hasattr(layer, "kernel")} == {"bfloat16"}
    assert list(coarse) == ["avg_pool", "maps"]
    assert {values.dtype for values in coarse.values()} == {np.dtype(np.float32)}
    assert 1e-4 < relative_distance(coarse["avg_pool"], exact["avg_pool"]).max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnetb0", "efficientnetv2b0"] if FULL else ["efficientnetb0"])
def test_efficientnet_is_the_network_that_keras_builds_for_its_imagenet_weights(
    name, tmp_path, monkeypatch
) -> None:
    """Where Keras loads its own file, it puts one more layer before EfficientNet than where it does not.

    A file that was trained on from theirs is told by what it holds; one trained from nothing stays as it is.
    """
    keras = engines.import_keras()
    keras.utils.set_random_seed(0)  # one draw of weights in some dozens multiplies roundings to over 1e-4
    backbone, pixels = backbones.find(name), canary_pixels(name, 64)
    ours = networks.build(backbone, 64)
    mean, variance, *_ = ours.get_layer("normalization").weights or (None, None)
    if mean is not None:
        mean.assign(np.float32([0.485, 0.456, 0.406]))
        variance.assign(IMAGENET_DEVIATIONS**2)
    networks.calibrate(ours, pixels, forward)
    if mean is not None:
        variance.assign(IMAGENET_DEVIATIONS)  # as it stands in their file
    file = tmp_path / backbone.weights_file
    ours.save(file)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: str(file))
    application = getattr(keras.applications, backbone.application)
    theirs = application(weights="imagenet", include_top=False, input_shape=(64, 64, 3))
    expected = forward(theirs, pixels)[0].mean(axis=(1, 2))
    for md5 in (hashlib.md5(file.read_bytes()).hexdigest(), "of another file"):
        networks.load_file(ours, replace(backbone, weights_hash=md5), file)
        assert relative_distance(forward(ours, pixels)[0].mean(axis=(1, 2)), expected).max() < 1e-4
    if mean is not None:
        variance.assign(np.ones(3, dtype=np.float32))
        ours.save_weights(tmp_path / "own.weights.h5")
        networks.load_file(ours, backbone, tmp_path / "own.weights.h5")
        np.testing.assert_array_equal(ours.get_layer("normalization").variance, np.ones((1, 1, 1, 3)))


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    keras = engines.import_keras()
    backbone = backbones.find("vgg16")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    for name in ("other.weights.h5", "other.keras"):
        (other.save_weights if "weights" in name else other.save)(tmp_path / name)
        with pytest.raises(errors.WeightsError, match="does not hold weights of vgg16"):
            networks.load_file(networks.build(backbone, 32), backbone, tmp_path / name)


def test_weights_saved_to_a_file_come_back_and_gaps_are_never_filled_at_random(tmp_path) -> None:
    backbone = backbones.find("efficientnetlite0")
    network = networks.build(backbone, 32)
    expected = network.get_weights()
    network.save_weights(tmp_path / "own.weights.h5")
    network.save(tmp_path / "own.keras")
    for name in ("own.weights.h5", "own.keras"):
        network.weights[3].assign(np.ones(network.weights[3].shape, dtype=np.float32))
        networks.load_file(network, backbone, tmp_path / name)
        for found, wanted in zip(network.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    network.weights[7].assign(np.full(network.weights[7].shape, np.nan, dtype=np.float32))
    network.save_weights(tmp_path / "gap.weights.h5")
    with pytest.raises(errors.WeightsError, match=r"1 of .* variables, such as .*, are missing from it or not"):
        networks.load_file(network, backbone, tmp_path / "gap.weights.h5")


def test_an_unknown_backbone_is_told_the_nearest() -> None:
    with pytest.raises(errors.UsageError, match="Did you mean inceptionv3"):
        backbones.find("inception_v3")
