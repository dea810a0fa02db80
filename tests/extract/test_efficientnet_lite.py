"""Promises about EfficientNet-Lite0: it is PyTorch's, and reading its weights file runs nothing in it."""

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
from real_networks import relative_distance

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


@pytest.fixture(scope="module")
def lite() -> engines.Engine:
    backbone = backbones.find("efficientnetlite0")
    pixels = canaries.pixels(Preparation(224))
    return engines.load(engines.Plan(backbone, weights.resolve("imagenet", backbone), 224, "lite"), 8, pixels)


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
