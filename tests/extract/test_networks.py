"""Promises about networks: EfficientNet-Lite0 is PyTorch's, scaling is Keras's, weights are never guessed."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import backbones, canaries, efficientnet_lite, engines, weights
from icehouse.extract.decode import Preparation, open_image

GOLDEN = Path(__file__).parent / "efficientnet_lite0_by_pytorch.npz"


def golden_inputs() -> np.ndarray:
    """Return six pictures (224, 224, 3), 0–255: four waves, and scikit-learn's photographs resized."""
    import sklearn.datasets

    v, u = np.mgrid[0:1:224j, 0:1:224j]
    waves = [
        np.stack(
            [
                127.5 * (1 + np.sin(6.0 * k * u + 4.0 * c * v + k * c) * np.cos(3.0 * k * v * u))
                for c in range(3)
            ],
            axis=-1,
        )
        for k in range(1, 5)
    ]
    folder = Path(sklearn.datasets.__file__).parent / "images"
    photographs = [
        Preparation(224).frame(open_image((folder / name).read_bytes()).frame(0)).pixels
        for name in ("china.jpg", "flower.jpg")
    ]
    return np.stack([*waves, *photographs]).astype(np.float32)


def relative_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def lite() -> engines.Engine:
    backbone = backbones.find("efficientnetlite0")
    pixels = canaries.pixels(Preparation(224))
    return engines.load(plan_of(backbone, weights.resolve("imagenet", backbone)), 8, pixels)


def test_efficientnet_lite0_computes_what_pytorch_computed(lite) -> None:
    """The golden vectors are from efficientnet-lite-pytorch 0.1.0 on PyTorch 2.13.0, input (x − 127) / 128."""
    with np.load(GOLDEN) as file:
        expected = file["vectors"]
    vectors = lite.run(golden_inputs()).vectors["avg_pool"]
    assert vectors.shape == (6, 1280)
    assert relative_distance(vectors, expected).max() < 1e-4


def test_a_vector_does_not_depend_on_its_place_or_company_in_a_batch(lite) -> None:
    pictures = golden_inputs()
    together = lite.run(pictures).vectors["avg_pool"]
    alone = np.concatenate([lite.run(picture[None]).vectors["avg_pool"] for picture in pictures])
    assert relative_distance(alone, together).max() < 1e-5


def test_the_vector_is_the_mean_of_the_last_maps(lite) -> None:
    output = lite.run(golden_inputs()[:2])
    assert output.maps.shape == (2, 7, 7, 1280)
    np.testing.assert_allclose(output.maps.mean(axis=(1, 2)), output.vectors["avg_pool"], rtol=1e-4, atol=1e-5)


def test_running_a_network_leaves_its_input_as_it_was(lite) -> None:
    pictures = golden_inputs()
    before = pictures.copy()
    lite.run(pictures)
    np.testing.assert_array_equal(pictures, before)


@pytest.mark.parametrize(
    ("scaling", "module"), [("tf", "inception_v3"), ("caffe", "resnet50"), ("tf", "resnet_v2")]
)
def test_scaling_is_what_keras_does_to_the_same_pixels(scaling, module) -> None:
    keras = engines.import_keras()
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype(np.float32)
    ours = backbones.SCALINGS[scaling](pixels)
    theirs = getattr(keras.applications, module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", list(backbones.BACKBONES))
def test_every_backbone_is_what_its_line_in_the_list_says(name) -> None:
    backbone = backbones.find(name)
    network = backbones.build(backbone)
    assert network.output_shape[-1] == backbone.dimensions
    assert network.count_params() == backbone.parameters
    assert network.input_shape[1:] == (backbone.size, backbone.size, 3)


def test_random_weights_are_the_same_for_a_seed_and_their_vectors_do_not_vanish() -> None:
    backbone = backbones.find("resnet50v2")
    pixels = canaries.pixels(Preparation(224))

    def vectors(seed: int) -> np.ndarray:
        found = weights.resolve(f"random:{seed}", backbone)
        return engines.load(plan_of(backbone, found), 3, pixels).run(pixels).vectors["avg_pool"]

    first = vectors(1)
    np.testing.assert_array_equal(first, vectors(1))
    assert relative_distance(first, vectors(2)).min() > 0.1
    assert first.std(axis=1).min() > 0.01
    assert np.isfinite(first).all()


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    keras = engines.import_keras()
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    for name in ("other.weights.h5", "other.keras"):
        (other.save_weights if "weights" in name else other.save)(tmp_path / name)
        with pytest.raises(errors.WeightsError, match="does not hold weights of resnet50v2"):
            backbones.load_file(
                backbones.build(backbones.find("resnet50v2")),
                backbones.find("resnet50v2"),
                tmp_path / name,
            )


def test_weights_saved_to_a_file_come_back(tmp_path) -> None:
    backbone = backbones.find("efficientnetlite0")
    pixels = canaries.pixels(Preparation(224))
    network = backbones.build(backbone)
    backbones.draw_random(network, 4, backbones.SCALINGS["lite"](pixels))
    network.save_weights(tmp_path / "own.weights.h5")
    found = weights.resolve(str(tmp_path / "own.weights.h5"), backbone)
    assert found.identity.startswith("sha256:")
    from_file = engines.load(plan_of(backbone, found), 3, pixels).run(pixels).vectors["avg_pool"]
    from_seed = engines.load(plan_of(backbone, weights.resolve("random:4", backbone)), 3, pixels).run(pixels)
    assert relative_distance(from_file, from_seed.vectors["avg_pool"]).max() < 1e-6


def test_weights_with_a_gap_are_refused_and_never_filled_at_random(tmp_path) -> None:
    backbone = backbones.find("efficientnetlite0")
    network = backbones.build(backbone)
    variable = network.weights[7]
    variable.assign(np.full(variable.shape, np.nan, dtype=np.float32))
    network.save_weights(tmp_path / "gap.weights.h5")
    with pytest.raises(errors.WeightsError, match=r"1 of .* variables, such as .*, are missing from it or not"):
        backbones.load_file(backbones.build(backbone), backbone, tmp_path / "gap.weights.h5")


class Malicious:
    """An object whose unpickling would run a command."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/icehouse-was-here",)


def test_a_pytorch_file_cannot_run_code(tmp_path) -> None:
    path = tmp_path / "evil.pth"
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
    plain = pickle.dumps(1001, protocol=2) + pickle.dumps({}, protocol=2)
    path.write_bytes(magic + plain + pickle.dumps({"weight": Malicious()}, protocol=2))
    with pytest.raises(errors.WeightsError, match=r"it asks for (posix|nt|os)\.system"):
        efficientnet_lite.read_torch_file(path)


@pytest.mark.parametrize("keep", [0, 10, 500, 100_000])
def test_a_truncated_pytorch_file_is_refused(tmp_path, keep) -> None:
    source = weights.imagenet_present(backbones.find("efficientnetlite0"))
    path = tmp_path / "short.pth"
    path.write_bytes(source.read_bytes()[:keep])
    with pytest.raises(errors.WeightsError, match="cannot be read as PyTorch weights"):
        efficientnet_lite.read_torch_file(path)


def test_a_pytorch_file_of_another_network_is_refused(tmp_path) -> None:
    path = tmp_path / "empty.pth"
    buffer = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {}, {}, []):
        pickle.dump(value, buffer, protocol=2)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(errors.WeightsError, match=r"does not hold EfficientNet-Lite0: _conv_stem.weight"):
        efficientnet_lite.load_weights(efficientnet_lite.build((224, 224)), path)


def test_weights_are_looked_for_in_the_users_folder_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ICEHOUSE_WEIGHTS", str(tmp_path))
    backbone = backbones.find("inceptionv3")
    (tmp_path / backbone.weights_file).write_bytes(b"something else")
    with pytest.raises(errors.WeightsError, match="is not inceptionv3's ImageNet weights: its MD5 is"):
        weights.resolve("imagenet", backbone)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("random:", errors.UsageError, "not random:SEED"),
        ("random", errors.UsageError, "not random:SEED"),
        ("random:-1", errors.UsageError, "not random:SEED"),
        ("nowhere.h5", errors.WeightsNotFound, "no weights file nowhere.h5"),
    ],
)
def test_what_is_no_weights_is_refused(spec, kind, message) -> None:
    with pytest.raises(kind, match=message):
        weights.resolve(spec, backbones.find("resnet50"))


def test_an_unknown_backbone_is_told_the_nearest() -> None:
    with pytest.raises(errors.UsageError, match="Did you mean inceptionv3"):
        backbones.find("inception_v3")
