"""Promises about layers: which maps become vectors, by which name, and the same ones at every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import engines, layers, networks
from real_networks import built

PYRAMIDS = {
    # The last maps of the stages at 1/4, 1/8, 1/16 and 1/32 of the input. In MobileNetV2 and EfficientNet these
    # are the widened maps from which the next stage strides, which segmentation networks tap as well; in
    # DenseNet the narrowed ones; in NASNet, where no layer in the middle is passed by every path, its cells'
    # ends.
    "inceptionv3": ("activation_4", "mixed2", "mixed7", "mixed10"),
    "resnet50v2": ("conv2_block2_out", "conv3_block3_out", "conv4_block5_out", "post_relu"),
    "vgg16": ("block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"),
    "densenet121": ("pool2_conv", "pool3_conv", "pool4_conv", "relu"),
    "efficientnetb0": (
        "block3a_expand_activation",
        "block4a_expand_activation",
        "block6a_expand_activation",
        "top_activation",
    ),
    "mobilenetv2": ("block_3_expand_relu", "block_6_expand_relu", "block_13_expand_relu", "out_relu"),
    "nasnetmobile": ("reduction_concat_stem_1", "normal_concat_3", "normal_concat_8", "activation_187"),
}


def layer_of(tensor: Any) -> str:
    return tensor._keras_history.operation.name


@pytest.mark.parametrize("name", list(PYRAMIDS))
def test_the_pyramid_is_the_last_maps_of_each_stage(name) -> None:
    network = built(name)
    found = layers.resolve(network, ("pyramid", "avg_pool"))
    assert list(found) == ["pyramid_4", "pyramid_8", "pyramid_16", "pyramid_32", "avg_pool"]
    assert tuple(layer_of(found[f"pyramid_{scale}"]) for scale in (4, 8, 16, 32)) == PYRAMIDS[name]
    assert layer_of(found["avg_pool"]) == PYRAMIDS[name][-1]
    size = network.input_shape[1]
    for scale in (4, 8, 16, 32):
        assert 0.7 < size / scale / found[f"pyramid_{scale}"].shape[1] < 1.5


@pytest.fixture(scope="module")
def own() -> Any:
    """Return a small network with a shortcut, an open size and a classifier on top."""
    keras = engines.import_keras()
    inputs = keras.Input((None, None, 3), name="pictures")
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="halved")(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name="quartered")(x)
    side = keras.layers.Conv2D(6, 1, name="side")(x)
    x = keras.layers.Add(name="sum")([x, side])
    x = keras.layers.ZeroPadding2D(1, name="padded")(x)
    x = keras.layers.Conv2D(8, 3, strides=2, name="eighth")(x)
    x = keras.layers.GlobalAveragePooling2D(keepdims=True, name="pooled")(x)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(5, name="hidden")(x)
    x = keras.layers.Reshape((5, 1), name="column")(x)
    return keras.Model(inputs, keras.layers.Flatten()(x), name="own")


def test_of_a_network_with_a_classifier_the_maps_before_it_are_taken(own) -> None:
    assert layer_of(layers.last_maps(own)) == "eighth"
    found = layers.resolve(own, ("avg_pool", "pyramid"), size=64)
    assert {name: layer_of(tensor) for name, tensor in found.items()} == {
        "avg_pool": "eighth",
        "pyramid_4": "sum",
        "pyramid_8": "eighth",
    }


def test_layers_come_in_the_order_asked_for_and_each_once(own) -> None:
    asked = ("hidden", "avg_pool", "side", "hidden", "avg_pool")
    assert list(layers.resolve(own, asked)) == ["hidden", "avg_pool", "side"]


def test_an_unknown_layer_is_told_the_nearest(own) -> None:
    with pytest.raises(errors.UsageError, match=r"own has no layer 'halfed'\. Did you mean halved"):
        layers.resolve(own, ("halfed",))


def test_a_layer_that_is_neither_maps_nor_a_vector_is_refused(own) -> None:
    with pytest.raises(errors.UsageError, match=r"'column' yields \(None, 5, 1\), neither"):
        layers.resolve(own, ("column",))


@pytest.mark.parametrize("name", ["block1/conv", "maps"])
def test_a_layer_whose_name_no_cache_can_hold_is_refused(name) -> None:
    keras = engines.import_keras()
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.ReLU()])
    network.layers[0].name = name
    with pytest.raises(errors.UsageError, match="cannot be stored"):
        layers.resolve(keras.Model(network.inputs, network.outputs), (name,))


def test_a_network_without_maps_or_stages_says_so() -> None:
    keras = engines.import_keras()
    flat = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(errors.UsageError, match="no feature maps"):
        layers.resolve(keras.Model(flat.inputs, flat.outputs), ("avg_pool",))
    wide = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, padding="same")])
    with pytest.raises(errors.UsageError, match="has no pyramid"):
        layers.resolve(keras.Model(wide.inputs, wide.outputs), ("pyramid",))


def test_paths_that_meet_only_after_pooling_leave_the_last_maps_of_all() -> None:
    keras = engines.import_keras()
    inputs = keras.Input((32, 32, 3))
    near = keras.layers.Conv2D(4, 3, name="near")(inputs)
    far = keras.layers.Conv2D(4, 3, name="far")(keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(0.1)(inputs)))
    pooled = [keras.layers.GlobalAveragePooling2D()(maps) for maps in (near, far)]
    network = keras.Model(inputs, keras.layers.Concatenate()(pooled))
    assert layer_of(layers.last_maps(network)) in ("near", "far")


def test_vectors_are_the_means_of_the_maps_and_vectors_stay_as_they_are(own, tmp_path) -> None:
    from icehouse.extract import backbones
    from icehouse.extract.engines import Plan
    from icehouse.extract.weights import Weights

    own.save(tmp_path / "own.keras")
    backbone = backbones.find(f"model:{tmp_path / 'own.keras'}")
    plan = Plan(backbone, Weights("sha256:"), 32, "unit", ("hidden", "side", "avg_pool"))
    pixels = np.random.default_rng(0).uniform(0, 1, (3, 32, 32, 3)).astype(np.float32)
    found = networks.assemble(plan, pixels, lambda *_: [])(pixels)
    keras = engines.import_keras()
    names = ("hidden", "side", "eighth")
    hidden, side, maps = keras.Model(own.inputs[0], [own.get_layer(name).output for name in names])(pixels)
    np.testing.assert_allclose(found["hidden"], hidden, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["side"], np.mean(side, axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["avg_pool"], np.mean(maps, axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["maps"], maps, rtol=1e-5, atol=1e-6)
