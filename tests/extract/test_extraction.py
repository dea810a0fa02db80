"""Promises about extraction: what is computed, what is reused, and what no accident can lose."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from icehouse import ImagesFailed, errors, extract_features, open_cache
from icehouse.extract import engines
from icehouse.extract.extraction import extract
from icehouse.extract.settings import Settings
from icehouse.extract.sources import read_source
from making import draw
from small_network import FULL, SmallNetwork

LITE = Settings(backbone="efficientnetlite0", batch_size=4)


def run(data: Path, cache: Path, settings: Settings = LITE):
    return extract(read_source(data), cache, settings)


def draw_images(folder: Path) -> Path:
    for number in range(6):
        draw(folder / "images" / "normal" / f"{number}.png", number)
        draw(folder / "images" / "covid" / f"{number}.png", number, bright=True)
    return folder


@pytest.fixture(scope="module")
def extracted(tmp_path_factory) -> Path:
    """Return a folder with images/ of two classes and features.h5, their cache, made by a small network."""
    folder = draw_images(tmp_path_factory.mktemp("extracted"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", small)
        run(folder / "images", folder / "features.h5")
    return folder


@pytest.fixture(autouse=True)
def _small_network(request, monkeypatch) -> None:
    """Put a small network in place of Keras's where the test is not about the network."""
    if "real_network" not in request.keywords:
        monkeypatch.setattr(engines, "load", small)


def small(_plan, batch_size: int, _pixels) -> SmallNetwork:
    return SmallNetwork(batch_size)


@pytest.fixture
def work(extracted, tmp_path) -> Path:
    """Return a copy of `extracted` to play with."""
    shutil.copytree(extracted, tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.real_network
def test_a_cache_holds_a_vector_for_each_image_and_everything_else_it_promises(tmp_path) -> None:
    run(draw_images(tmp_path) / "images", tmp_path / "features.h5")
    with open_cache(tmp_path / "features.h5") as cache:
        assert cache.X.shape == (12, 1280)
        assert cache.y.tolist() == ["covid"] * 6 + ["normal"] * 6
        assert cache.header.complete
        assert cache.header.recipe["backbone"] == "efficientnetlite0"
        assert cache.pixels().shape == (12, 256)
        mean, count = cache.mean_map()
        assert (mean.shape, count) == ((7, 7, 1280), 12)
        np.testing.assert_allclose(mean.mean(axis=(0, 1)), cache.X.mean(axis=0), rtol=1e-3, atol=1e-4)
        assert cache.canaries()["avg_pool"].shape == (3, 1280)
        (entry,) = cache.provenance()
        assert entry["rows"] == 12
        assert entry["computed_by"][0]["engine"].startswith(("keras-", "openvino"))
        assert set(cache.samples.format) == {"PNG"}
        assert set(zip(cache.samples.width, cache.samples.height, strict=True)) == {(56, 48)}


def test_the_staging_folder_is_gone_afterwards(extracted) -> None:
    assert sorted(path.name for path in extracted.iterdir()) == ["features.h5", "images"]


def test_unchanged_images_are_not_computed_again_and_the_file_is_not_touched(work) -> None:
    before = (work / "features.h5").read_bytes()
    summary = run(work / "images", work / "features.h5")
    assert (summary.computed, summary.reused, summary.failed, summary.images) == (0, 12, 0, 12)
    assert summary.engine is None
    assert (work / "features.h5").read_bytes() == before


def test_a_second_extract_loads_no_framework(work) -> None:
    code = (
        "import sys; from icehouse.cli import main\n"
        "main(['extract', 'images', '-o', 'features.h5', '--backbone', 'efficientnetlite0', '--quiet'],"
        " standalone_mode=False)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'openvino', 'jax', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=work, check=False).returncode == 0


def test_a_renamed_image_is_not_computed_again(work) -> None:
    (work / "images" / "covid" / "0.png").rename(work / "images" / "normal" / "moved.png")
    summary = run(work / "images", work / "features.h5")
    assert (summary.computed, summary.reused) == (0, 12)
    with open_cache(work / "features.h5") as cache:
        assert "normal/moved.png" in cache.samples.path
        assert cache.y.tolist().count("normal") == 7


def test_batch_size_and_workers_recompute_nothing(work) -> None:
    settings = Settings(backbone="efficientnetlite0", batch_size=7, workers=1)
    assert run(work / "images", work / "features.h5", settings).computed == 0


def test_a_duplicate_is_computed_once_and_both_samples_find_its_vector(work) -> None:
    shutil.copy(work / "images" / "covid" / "0.png", work / "images" / "normal" / "copy.png")
    shutil.copy(draw(work / "new.png", 77), work / "images" / "normal" / "new 1.png")
    (work / "new.png").rename(work / "images" / "normal" / "new 2.png")
    summary = run(work / "images", work / "features.h5")
    assert (summary.samples, summary.images, summary.computed) == (15, 13, 1)
    with open_cache(work / "features.h5") as cache:
        vector = {str(path): row for path, row in zip(cache.samples.path, cache.X, strict=True)}
    np.testing.assert_array_equal(vector["normal/copy.png"], vector["covid/0.png"])
    np.testing.assert_array_equal(vector["normal/new 1.png"], vector["normal/new 2.png"])


def test_changed_content_under_the_same_name_is_computed_again(work) -> None:
    draw(work / "images" / "covid" / "0.png", 99)
    with open_cache(work / "features.h5") as cache:
        before = cache.X[0]
    assert run(work / "images", work / "features.h5").computed == 1
    with open_cache(work / "features.h5") as cache:
        assert np.linalg.norm(cache.X[0] - before) > 0.01
        assert len(cache.image_keys) == 13  # the old vector stays as a spare row


def test_an_image_that_is_gone_leaves_the_samples_and_comes_back_without_computing(work) -> None:
    (work / "images" / "covid" / "0.png").rename(work / "away.png")
    assert run(work / "images", work / "features.h5").samples == 11
    with open_cache(work / "features.h5") as cache:
        assert len(cache.samples) == 11
    (work / "away.png").rename(work / "images" / "covid" / "0.png")
    summary = run(work / "images", work / "features.h5")
    assert (summary.samples, summary.computed, summary.engine) == (12, 0, None)


def test_a_cache_behind_a_link_stays_where_it_is(work) -> None:
    (work / "big disk").mkdir()
    (work / "features.h5").rename(work / "big disk" / "features.h5")
    (work / "features.h5").symlink_to(work / "big disk" / "features.h5")
    (work / "images" / "covid" / "0.png").rename(work / "images" / "covid" / "renamed.png")
    with extract_features(work / "images", work / "features.h5", backbone="efficientnetlite0") as cache:
        assert "covid/renamed.png" in cache.samples.path
    assert (work / "features.h5").is_symlink()


def test_settings_that_no_extraction_can_have_are_refused(work) -> None:
    for bad in ({"batch_size": 0}, {"workers": -1}, {"batch_size": 2.5}):
        with pytest.raises(errors.UsageError, match="must be a whole number of 1 or more"):
            extract_features(work / "images", work / "features.h5", backbone="efficientnetlite0", **bad)


def test_one_bad_image_is_listed_and_the_others_are_computed_and_it_is_tried_again(work) -> None:
    bad = work / "images" / "covid" / "bad.png"
    bad.write_text("no image")
    draw(work / "images" / "covid" / "new.png", 50)
    summary = run(work / "images", work / "features.h5")
    assert (summary.computed, summary.reused, summary.failed, summary.images) == (1, 12, 1, 14)
    with open_cache(work / "features.h5") as cache:
        (failure,) = cache.failures
        assert (failure.path, failure.stage) == ("covid/bad.png", "decode")
        assert cache.header.complete  # a failed sample is not a pending one
        assert cache.samples.state.tolist().count("failed") == 1
    draw(bad, 51)
    summary = run(work / "images", work / "features.h5")
    assert (summary.computed, summary.failed) == (1, 0)
    with open_cache(work / "features.h5") as cache:
        assert cache.failures == []


def test_if_not_one_image_can_be_read_no_cache_is_written(tmp_path) -> None:
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "a" / "1.png").write_text("no image")
    with pytest.raises(errors.SourceError, match=r"None of the 1 images became a vector; the first, a/1\.png"):
        run(tmp_path / "images", tmp_path / "features.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_another_recipe_is_refused_by_the_field_and_the_file_stays(work) -> None:
    before = (work / "features.h5").read_bytes()
    other = Settings(backbone="efficientnetlite0", weights="random:1")
    with pytest.raises(errors.RecipeMismatch, match=r"weights differs: 57934424… ≠ random:1"):
        run(work / "images", work / "features.h5", other)
    assert (work / "features.h5").read_bytes() == before


def test_a_network_that_computes_something_else_may_not_add_to_a_cache(work) -> None:
    with h5py.File(work / "features.h5", "r+") as file:
        file["canary/avg_pool"][...] *= 1.01
    draw(work / "images" / "covid" / "new.png", 50)
    with pytest.raises(errors.CanaryDrift, match="--accept-drift"):
        run(work / "images", work / "features.h5")
    accepted = Settings(backbone="efficientnetlite0", accept_drift=True)
    assert run(work / "images", work / "features.h5", accepted).computed == 1
    with open_cache(work / "features.h5") as cache:
        assert cache.provenance()[-1]["accepted_drift"] == pytest.approx(0.0099, rel=0.01)


def test_labels_patients_and_columns_change_without_computing(work) -> None:
    rows = [
        f"images/{label}/{n}.png,{label[:1].upper()},p{n}" for label in ("covid", "normal") for n in range(6)
    ]
    (work / "manifest.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")
    assert run(work / "manifest.csv", work / "features.h5").computed == 0
    with open_cache(work / "features.h5") as cache:
        assert set(cache.y) == {"C", "N"}
        assert cache.groups is not None


def test_every_page_of_a_tiff_becomes_a_row_of_its_sample(tmp_path) -> None:
    import tifffile

    pages = np.random.default_rng(0).integers(0, 4000, (5, 40, 40), dtype=np.uint16)
    (tmp_path / "images" / "a").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "images" / "a" / "stack.tif", pages, photometric="minisblack")
    draw(tmp_path / "images" / "a" / "plain.png", 1)
    summary = run(tmp_path / "images", tmp_path / "features.h5")
    assert (summary.samples, summary.images) == (2, 6)
    assert summary.intensity["other"] == {"files": 1, "policy": "percentile:0.5,99.5"}
    with open_cache(tmp_path / "features.h5") as cache:
        assert len(cache.X) == 6
        assert cache.samples.path[cache.sample_of_row].tolist() == ["a/plain.png"] + ["a/stack.tif"] * 5
    assert run(tmp_path / "images", tmp_path / "features.h5").reused == 6


def start(work: Path) -> subprocess.Popen[bytes]:
    """Start a long extraction of many images in small batches."""
    code = (
        "from icehouse.cli import main; main(['extract', 'many', '-o', 'many.h5', '--backbone',"
        " 'efficientnetlite0', '--batch-size', '4', '--quiet'])"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=work, stderr=subprocess.PIPE)


def wait_for_block(work: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not list((work / "many.h5.partial").glob("block-*.npz")):
        assert child.poll() is None, "the extraction ended before its first block"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def many(tmp_path) -> Path:
    for number in range(160):
        draw(tmp_path / "many" / f"{number % 2}" / f"{number}.png", number)
    return tmp_path


@pytest.mark.real_network
def test_a_killed_run_goes_on_where_it_was_and_ends_like_an_undisturbed_one(many) -> None:
    child = start(many)
    wait_for_block(many, child)
    child.kill()
    child.communicate()
    assert not (many / "many.h5").exists()
    summary = run(many / "many", many / "many.h5")
    assert summary.reused >= 64
    assert summary.computed == 160 - summary.reused
    run(many / "many", many / "whole.h5")
    with h5py.File(many / "many.h5") as resumed, h5py.File(many / "whole.h5") as whole:
        np.testing.assert_array_equal(resumed["images/content"][()], whole["images/content"][()])
        np.testing.assert_array_equal(resumed["samples/path"][()], whole["samples/path"][()])
        np.testing.assert_array_equal(resumed["vectors/avg_pool"][()], whole["vectors/avg_pool"][()])


def test_the_python_function_gives_an_open_cache_and_warns_of_failures(work) -> None:
    (work / "images" / "covid" / "bad.png").write_text("no image")
    with pytest.warns(ImagesFailed, match="1 of 13 images failed"):
        cache = extract_features(work / "images", work / "features.h5", backbone="efficientnetlite0")
    with cache:
        assert len(cache.X) == 12


@pytest.mark.real_network
def test_inceptionv3_with_random_weights_gives_2048_numbers(work) -> None:
    settings = Settings(backbone="inceptionv3", weights="random:0", batch_size=4)
    summary = run(work / "images", work / "inception.h5", settings)
    assert summary.dimensions == {"avg_pool": 2048}
    with open_cache(work / "inception.h5") as cache:
        assert cache.X.shape == (12, 2048)
        assert cache.mean_map()[0].shape == (8, 8, 2048)


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="JAX compiles for a minute: only with ICEHOUSE_FULL=1")
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.real_network
def test_an_extraction_on_jax_adds_to_a_cache_that_openvino_began(tmp_path, icehouse) -> None:
    folder = draw_images(tmp_path)
    options = ("--backbone", "efficientnetlite0", "--json", "--quiet")
    begun = icehouse("extract", "images", "-o", "begun.h5", "--limit", "3", *options, cwd=folder)
    assert json.loads(begun.stdout)["engine"] == "openvino"
    for cache, computed in (("begun.h5", 6), ("jax.h5", 12), ("jax.h5", 0)):
        done = icehouse(
            "extract",
            "images",
            "-o",
            cache,
            "--engine",
            "keras",
            *options,
            cwd=folder,
            env={"KERAS_BACKEND": "jax"},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["computed"] == computed
    with open_cache(folder / "begun.h5") as both, open_cache(folder / "jax.h5") as jax:
        assert jax.provenance()[0]["computed_by"][0]["engine"] == "keras-jax"
        assert both.fingerprint == jax.fingerprint
        apart = np.linalg.norm(both.X - jax.X, axis=1) / np.linalg.norm(jax.X, axis=1)
        assert apart.max() < 1e-5
