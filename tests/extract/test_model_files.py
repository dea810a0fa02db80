"""Promises about model files of the user's own: they are read as what they are, and none runs code unasked."""

from __future__ import annotations

import base64
import json
import marshal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import backbones, engines, model_files, networks, weights
from icehouse.extract.engines import Plan

SIZE = 24


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """Return a folder with a small network as .keras and .h5: a network inside of it, and a classifier."""
    keras = engines.import_keras()
    inner = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="inner_conv"),
            keras.layers.BatchNormalization(name="inner_norm"),
            keras.layers.MaxPooling2D(name="inner_pool"),
        ],
        name="inner",
    )
    inputs = keras.Input((SIZE, SIZE, 3), name="pictures")
    x = keras.layers.Rescaling(1 / 255, name="scaled")(inputs)
    x = keras.layers.Conv2D(6, 3, kernel_regularizer="l2", name="last")(inner(x))
    x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="classes")(x))
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    folder = tmp_path_factory.mktemp("models")
    for name in ("model.keras", "model.h5"):
        model.save(folder / name)
    model.save_weights(folder / "only.weights.h5")
    return folder


def assemble(path: Path, *layers: str, size: int | None = SIZE, trust: bool = False) -> Any:
    backbone = backbones.find(f"model:{path}")
    found = weights.resolve("imagenet", backbone)
    plan = Plan(backbone, found, size, "none", layers or ("avg_pool",), trust_model=trust)
    return networks.assemble(plan, np.zeros((3, SIZE, SIZE, 3), np.float32), lambda *_: [])


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_a_model_file_is_a_backbone_with_its_own_weights(saved, name) -> None:
    keras = engines.import_keras()
    path = saved / name
    backbone = backbones.find(f"model:{path}")
    assert (backbone.name, backbone.size, backbone.scaling, backbone.model) == ("model", SIZE, None, path)
    assert weights.resolve("imagenet", backbone).identity.startswith("sha256:")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
    found = assemble(path, "avg_pool", "inner_conv", "classes", "pyramid")(pixels)
    theirs = keras.saving.load_model(path, compile=False)
    np.testing.assert_allclose(found["classes"], theirs(pixels), rtol=1e-4, atol=1e-5)
    pooled = keras.Model(theirs.inputs[0], theirs.get_layer("pooled").output)(pixels)
    np.testing.assert_allclose(found["avg_pool"], pooled, rtol=1e-4, atol=1e-5)
    assert {key: value.shape[1:] for key, value in found.items()} == {
        "avg_pool": (6,),
        "inner_conv": (4,),
        "classes": (2,),
        "pyramid_4": (4,),
        "pyramid_8": (6,),
        "maps": (3, 3, 6),
    }


def test_a_model_file_takes_no_other_weights_and_no_other_size(saved) -> None:
    with pytest.raises(errors.UsageError, match="holds its own weights"):
        weights.resolve("random:0", backbones.find(f"model:{saved / 'model.keras'}"))
    with pytest.raises(errors.UsageError, match=f"takes pictures of {SIZE} pixels and no others"):
        assemble(saved / "model.keras", size=48)


def test_a_network_of_open_size_takes_the_size_it_is_told(tmp_path) -> None:
    keras = engines.import_keras()
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3, name="only")])
    network.save(tmp_path / "open.keras")
    assert backbones.find(f"model:{tmp_path / 'open.keras'}").size is None
    assert assemble(tmp_path / "open.keras", size=40).input_shape == (None, 40, 40, 3)
    assert assemble(tmp_path / "open.keras", size=None).input_shape == (None, None, None, 3)


def test_a_model_file_computes_in_the_precision_asked_for(saved) -> None:
    backbone = backbones.find(f"model:{saved / 'model.keras'}")
    plan = Plan(backbone, weights.resolve("imagenet", backbone), SIZE, "none")
    pixels = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
    coarse = networks.assemble(plan, pixels, lambda *_: [], "mixed_bfloat16")
    assert coarse.get_layer("inner_conv").compute_dtype == "bfloat16"
    exact = np.asarray(assemble(saved / "model.keras")(pixels)["avg_pool"])
    np.testing.assert_allclose(coarse(pixels)["avg_pool"], exact, rtol=0.1, atol=0.02)


def test_networks_inside_whose_layers_have_one_name_stay_folded(tmp_path) -> None:
    keras = engines.import_keras()
    inputs = keras.Input((SIZE, SIZE, 3))
    x = inputs
    for name in ("first", "second"):
        conv = keras.layers.Conv2D(4, 3, name="conv")
        x = keras.Sequential([keras.Input(x.shape[1:]), conv], name=name)(x)
    keras.Model(inputs, x).save(tmp_path / "twice.keras")
    assert set(assemble(tmp_path / "twice.keras", "first").output) == {"first", "maps"}
    with pytest.raises(errors.UsageError, match="has no layer 'conv'"):
        assemble(tmp_path / "twice.keras", "conv")


def network_of(*inputs: tuple[int | None, ...]) -> Any:
    keras = engines.import_keras()
    tensors = [keras.Input(shape) for shape in inputs]
    x = keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
    return keras.Model(tensors, keras.layers.Dense(2)(x))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(8, 8, 3), (8, 8, 3)], "takes 2 inputs, not one picture"),
        ([(8,)], r"takes input of the shape \(None, 8\), not pictures"),
        ([(8, 8, 1)], "takes pictures of 1 channels, and icehouse gives three"),
        ([(8, 9, 3)], "takes pictures of 8×9, not square ones"),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_network_that_takes_no_colour_pictures_is_refused(tmp_path, shapes, message, suffix) -> None:
    network_of(*shapes).save(tmp_path / f"odd{suffix}")
    with pytest.raises(errors.WeightsError, match=message):
        backbones.find(f"model:{tmp_path / f'odd{suffix}'}")


@pytest.mark.parametrize("name", ["no.keras", "no.h5", "no.txt", "only.weights.h5", "nowhere.keras"])
def test_what_is_no_model_file_is_refused(saved, tmp_path, name) -> None:
    for broken in ("no.keras", "no.h5", "no.txt"):
        (tmp_path / broken).write_bytes(b"no model at all" * 100)
    path = saved / name if (saved / name).exists() else tmp_path / name
    with pytest.raises(errors.WeightsError, match=r"no model|no Keras model|holds weights and no network"):
        backbones.find(f"model:{path}")


# What follows would each leave a file behind if any of it ran.

Change = Callable[[dict[str, Any], Path], None]


def marshalled(marker: Path) -> str:
    """Return a function that writes `marker`, as Keras writes down a Lambda's."""
    made: dict[str, Any] = {}
    exec(f"def run(x):\n    open({str(marker)!r}, 'w').close()\n    return x", made)
    return base64.b64encode(marshal.dumps(made["run"].__code__)).decode()


def layer_with(kind: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None, **more}


def last_layer(config: dict[str, Any]) -> dict[str, Any]:
    return config["config"]["layers"][-1]


def a_lambda(config: dict[str, Any], marker: Path) -> None:
    code = {"class_name": "__lambda__", "config": {"value": [marshalled(marker), None, None]}}
    code["config"].update(code=marshalled(marker), defaults=None, closure=None)
    last_layer(config).update(layer_with("Lambda", {"name": "classes", "function": code}))


def an_old_lambda(config: dict[str, Any], marker: Path) -> None:
    function = {"name": "classes", "function": [marshalled(marker), None, None], "function_type": "lambda"}
    last_layer(config).update({"class_name": "Lambda", "config": function})
    last_layer(config).pop("module", None)


def a_function_of_the_system(config: dict[str, Any], marker: Path) -> None:
    last_layer(config)["config"]["activation"] = {
        "module": "os",
        "class_name": "function",
        "config": "system",
        "registered_name": "system",
    }


def a_function_of_kerass_that_loads(config: dict[str, Any], marker: Path) -> None:
    last_layer(config)["config"]["activation"] = {
        "module": "keras.models",
        "class_name": "function",
        "config": "load_model",
        "registered_name": "load_model",
    }


def a_class_of_another_module(config: dict[str, Any], marker: Path) -> None:
    command = {"args": ["touch", str(marker)]}
    last_layer(config).update({"module": "subprocess", "class_name": "Popen", "config": command})


def a_layer_by_a_registered_name(config: dict[str, Any], marker: Path) -> None:
    last_layer(config)["registered_name"] = "evil>Dense"


def a_layer_that_reads_a_file(config: dict[str, Any], marker: Path) -> None:
    last_layer(config).update(layer_with("StringLookup", {"name": "classes", "vocabulary": "/etc/passwd"}))


def a_wrapped_lambda(config: dict[str, Any], marker: Path) -> None:
    inner: dict[str, Any] = {"config": {"layers": [{}]}}
    a_lambda(inner, marker)
    wrapped = inner["config"]["layers"][0]
    last_layer(config).update(layer_with("TimeDistributed", {"name": "classes", "layer": wrapped}))


def a_lambda_in_a_network_inside(config: dict[str, Any], marker: Path) -> None:
    inner = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Sequential")
    a_lambda(inner, marker)


def a_saved_tensorflow_graph(config: dict[str, Any], marker: Path) -> None:
    last_layer(config).update(layer_with("TFSMLayer", {"name": "classes", "filepath": str(marker.parent)}))


def a_torch_module(config: dict[str, Any], marker: Path) -> None:
    last_layer(config).update(layer_with("TorchModuleWrapper", {"name": "classes", "module": "gASV"}))


def a_lambda_among_a_calls_arguments(config: dict[str, Any], marker: Path) -> None:
    inner: dict[str, Any] = {"config": {"layers": [{}]}}
    a_lambda(inner, marker)
    last_layer(config)["inbound_nodes"].append({"args": [], "kwargs": {"mask": inner["config"]["layers"][0]}})


HOSTILE = [
    a_lambda,
    an_old_lambda,
    a_function_of_the_system,
    a_function_of_kerass_that_loads,
    a_class_of_another_module,
    a_layer_by_a_registered_name,
    a_layer_that_reads_a_file,
    a_wrapped_lambda,
    a_lambda_in_a_network_inside,
    a_saved_tensorflow_graph,
    a_torch_module,
    a_lambda_among_a_calls_arguments,
]


def altered(source: Path, target: Path, change: Change, marker: Path) -> Path:
    """Write a copy of a model file with another configuration."""
    if target.suffix == ".h5":
        target.write_bytes(source.read_bytes())
        with h5py.File(target, "a") as file:
            config = json.loads(file.attrs["model_config"])
            change(config, marker)
            file.attrs["model_config"] = json.dumps(config)
        return target
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config, marker)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("change", HOSTILE, ids=lambda change: change.__name__)
def test_a_model_file_that_would_run_code_is_refused_and_runs_none(saved, tmp_path, change, suffix) -> None:
    marker = tmp_path / "it-ran"
    path = altered(saved / f"model{suffix}", tmp_path / f"evil{suffix}", change, marker)
    with pytest.raises(errors.WeightsError, match=r"asks for .*--trust-model"):
        assemble(path)
    assert not marker.exists()


def test_the_code_of_these_tests_does_run_for_those_who_trust_the_file(saved, tmp_path) -> None:
    path = altered(saved / "model.keras", tmp_path / "evil.keras", a_lambda, tmp_path / "it-ran")
    assemble(path, trust=True)
    assert (tmp_path / "it-ran").exists()


def test_a_lambda_of_ones_own_works_once_the_file_is_trusted(tmp_path) -> None:
    keras = engines.import_keras()
    code = keras.layers.Lambda(lambda x: x * 2 + 1, output_shape=(8, 8, 3), name="code")
    network = keras.Sequential([keras.Input((8, 8, 3)), code, keras.layers.Conv2D(2, 3)])
    network.save(tmp_path / "own.keras")
    with pytest.raises(errors.WeightsError, match=r"asks for 'keras\.layers\.Lambda'.*--trust-model"):
        assemble(tmp_path / "own.keras", size=8)
    pixels = np.ones((1, 8, 8, 3), np.float32)
    found = assemble(tmp_path / "own.keras", size=8, trust=True)(pixels)["avg_pool"]
    np.testing.assert_allclose(found, np.mean(network(pixels), axis=(1, 2)), rtol=1e-5)


def test_a_configuration_may_not_ask_for_more_weights_than_the_file_holds(saved, tmp_path) -> None:
    def swell(config: dict[str, Any], _: Path) -> None:
        last_layer(config)["config"]["units"] = 10**12

    for suffix in (".keras", ".h5"):
        path = altered(saved / f"model{suffix}", tmp_path / f"large{suffix}", swell, tmp_path)
        with pytest.raises(errors.WeightsError, match="describes a larger network than the"):
            assemble(path)


def test_layers_may_not_yield_absurdly_large_maps(saved, tmp_path) -> None:
    def swell(config: dict[str, Any], _: Path) -> None:
        inner = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Sequential")
        pool = layer_with("UpSampling2D", {"name": "inner_pool", "size": [50000, 50000]})
        last_layer(inner).clear()
        last_layer(inner).update(pool)

    path = altered(saved / "model.keras", tmp_path / "wide.keras", swell, tmp_path)
    with pytest.raises(errors.WeightsError, match=r"inner_pool yields .* too large; refused"):
        assemble(path)


def test_a_zip_bomb_is_refused_unread(saved, tmp_path) -> None:
    with zipfile.ZipFile(saved / "model.keras") as old:
        config = old.read("config.json")
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("config.json", config)
        new.writestr("model.weights.h5", bytes(50_000_000))
    with pytest.raises(
        errors.WeightsError, match=r"model\.weights\.h5 would unpack to 50,000,000 bytes; refused"
    ):
        assemble(tmp_path / "bomb.keras")


def test_a_configuration_nested_without_end_is_refused(saved, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "deep.keras", "w") as new:
        new.writestr("config.json", "[" * 200_000)
        new.writestr("model.weights.h5", b"")
    with pytest.raises(errors.WeightsError, match="no Keras model file, or damaged"):
        assemble(tmp_path / "deep.keras")


def outside(file: h5py.File, where: str) -> None:
    del file[where]
    file[where] = h5py.ExternalLink("/etc/other.h5", "/x")


def swollen(file: h5py.File, where: str) -> None:
    del file[where]
    file.create_dataset(where, (10**10,), "f4", chunks=(1000,), compression="gzip")


def objects(file: h5py.File, where: str) -> None:
    del file[where]
    file.create_dataset(where, data=["text"], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("change", "message"),
    [(outside, "is a link to elsewhere"), (swollen, "would swell to"), (objects, "no plain array of numbers")],
)
def test_weights_that_lead_elsewhere_or_swell_are_refused(saved, tmp_path, change, message) -> None:
    path = tmp_path / "odd.h5"
    path.write_bytes((saved / "model.h5").read_bytes())
    with h5py.File(path, "a") as file:
        names: list[str] = []
        file["model_weights"].visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        change(file["model_weights"], names[0])
    with pytest.raises(errors.WeightsError, match=f"{message}.*; refused"):
        assemble(path)


def test_every_class_that_is_let_through_is_one_of_keras_and_none_of_those_that_run_code() -> None:
    keras = engines.import_keras()
    for name in model_files._LAYERS:
        assert hasattr(keras.layers, name) or hasattr(keras, name) or name == "Functional"
    running = {
        "Lambda",
        "TorchModuleWrapper",
        "TFSMLayer",
        "JaxLayer",
        "FlaxLayer",
        "Pipeline",
        "Wrapper",
        "Layer",
    }
    reading = {"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup", "HashedCrossing", "Hashing"}
    assert not model_files._LAYERS & (running | reading)
