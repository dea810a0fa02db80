"""Promises about identity: what makes two vectors of one kind, and what must not matter."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.cache.recipe import fingerprint
from icehouse.cache.staging import Staging
from icehouse.extract.knowledge import refuse_other_recipe
from icehouse.extract.settings import Settings, set_up
from making import draw
from small_network import run

RECIPE = set_up(Settings(backbone="efficientnetlite0", weights="random:0")).recipe

DECIDES = {
    "kind": "foreign",
    "decoder": "icehouse/3",
    "intensity": "max",
    "resize": "pad",
    "resizer": "pillow-bicubic-float32/2",
    "size": 299,
    "scaling": "torch",
    "augment": "affine-bilinear-nearest/1,seed:1",
    "backbone": "inceptionv3",
    "weights": "random:1",
    "precision": "bfloat16",
    "engine": "openvino",
    "dtype": "float16",
}
"""Every field of the recipe, with another value that it might have."""


@pytest.fixture(scope="module")
def extracted(tmp_path_factory) -> Path:
    """Return a folder with images/, manifest.csv and features.h5, made by a small network."""
    folder = tmp_path_factory.mktemp("extracted")
    for number in range(12):
        draw(folder / "images" / ("covid" if number % 2 else "normal") / f"{number}.png", number, size=(16, 16))
    write_manifest(folder, sorted(path.relative_to(folder) for path in folder.glob("images/*/*.png")))
    assert run(folder, data="manifest.csv").returncode == 0
    return folder


@pytest.fixture
def work(extracted, tmp_path) -> Path:
    shutil.copytree(extracted, tmp_path / "work")
    return tmp_path / "work"


def write_manifest(folder: Path, files: list[Path], **columns: list[str]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", *columns])
        for number, path in enumerate(files):
            writer.writerow([path, path.parent.name, *(values[number] for values in columns.values())])


def test_the_recipe_has_these_fields_and_no_others() -> None:
    assert set(RECIPE) == set(DECIDES)


@pytest.mark.parametrize("field", DECIDES)
def test_what_decides_a_vector_changes_the_fingerprint_and_is_refused_by_name(
    extracted, tmp_path, field
) -> None:
    with open_cache(extracted / "features.h5") as cache:
        recipe = dict(cache.header.recipe)
        other = {**recipe, field: DECIDES[field]}
        assert fingerprint(other, "avg_pool") != fingerprint(recipe, "avg_pool")
        with pytest.raises(errors.RecipeMismatch, match=rf"{field} differs: .+ ≠ .+\. Give the options"):
            refuse_other_recipe(cache, other)
    with Staging(tmp_path / "new.h5") as staging:  # an interrupted run is protected in the same way
        staging.begin(recipe)
        (staging.folder / "block-00000000.npz").write_bytes(b"waiting")
        with pytest.raises(errors.RecipeMismatch, match=rf"interrupted run .* {field} differs"):
            staging.begin(other)


def test_the_layer_is_part_of_a_fingerprint() -> None:
    assert fingerprint(RECIPE, "avg_pool") != fingerprint(RECIPE, "mixed7")


def test_neither_paths_nor_this_machine_are_in_a_recipe(extracted) -> None:
    with open_cache(extracted / "features.h5") as cache:
        recipe = json.dumps(cache.header.recipe)
    for text in (str(extracted), "manifest", socket.gethostname(), "cpu", "batch", "workers", "small-numpy"):
        assert text not in recipe


def test_order_place_batch_size_and_workers_change_no_fingerprint_and_compute_nothing(work) -> None:
    with open_cache(work / "features.h5") as cache:
        before, X = cache.fingerprint, dict(zip(cache.samples.path, cache.X, strict=True))
    (work / "images").rename(work / "elsewhere")
    write_manifest(work, sorted((p.relative_to(work) for p in work.glob("elsewhere/*/*.png")), reverse=True))
    done = run(work, "--batch-size", "7", "--workers", "3", "--json", data="manifest.csv")
    summary = json.loads(done.stdout)
    assert (summary["computed"], summary["reused"], summary["fingerprint"]) == (0, 12, before)
    with open_cache(work / "features.h5") as cache:
        for path, vector in zip(cache.samples.path, cache.X, strict=True):
            np.testing.assert_array_equal(vector, X[path.replace("elsewhere", "images")])


def test_a_patient_column_comes_and_samples_go_without_computing(work) -> None:
    files = sorted(path.relative_to(work) for path in work.glob("images/*/*.png"))[:8]
    write_manifest(work, files, patient=[f"p{number // 2}" for number in range(8)])
    summary = json.loads(run(work, "--json", data="manifest.csv").stdout)
    assert (summary["samples"], summary["computed"]) == (8, 0)
    with open_cache(work / "features.h5") as cache:
        assert len(set(cache.groups)) == 4
        assert cache.rows == 12  # vectors that no sample names stay until the cache is compacted


def test_labels_from_a_file_take_the_place_of_the_folders_without_computing(work) -> None:
    rows = [
        f"{path.relative_to(work / 'images')},{index % 3},p{index}" for index, path in enumerate(images(work))
    ]
    (work / "labels.csv").write_text("path,label,patient\n" + "\n".join(rows[:9]) + "\n")
    summary = json.loads(run(work, "--labels", "labels.csv", "--json").stdout)
    assert (summary["samples"], summary["computed"]) == (12, 0)
    with open_cache(work / "features.h5") as cache:
        assert cache.samples.label.tolist() == [*"012012012", "normal", "normal", "normal"]
        assert cache.samples.patient[8] == "p8"
    done = run(work, "--labels", "labels.csv", quiet=False)
    assert "labels.csv does not name 3 of the images" in done.stderr
    (work / "labels.csv").write_text("path,label\nsomething else.png,a\n")
    refused = run(work, "--labels", "labels.csv")
    assert refused.returncode == 1
    assert "labels.csv names none of the 12 images" in refused.stderr


def images(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*/*.png"))


def test_changed_content_is_computed_and_the_old_vector_leaves_the_samples(work) -> None:
    draw(images(work)[0], 99, size=(16, 16))
    summary = json.loads(run(work, "--json", data="manifest.csv").stdout)
    assert (summary["computed"], summary["reused"]) == (1, 11)
    with open_cache(work / "features.h5") as cache:
        assert cache.rows == 13
        assert cache.X.shape[0] == 12


def test_a_cache_with_pending_samples_is_not_classified_unless_told(work, icehouse) -> None:
    from icehouse.cache.repair import repair

    with open_cache(work / "features.h5") as cache:
        info = cache._file["vectors/avg_pool"].id.get_chunk_info(0)
    with (work / "features.h5").open("r+b") as file:
        file.seek(info.byte_offset)
        file.write(b"\xff\xff\xff\xff")
    assert repair(work / "features.h5")["rows_lost"] == 12
    refused = icehouse("classify", "features.h5", "-o", "run", "--head", "svm", "--rounds", "2", cwd=work)
    assert refused.returncode == 1
    assert "12 of 12 samples are pending" in refused.stderr
    healed = json.loads(run(work, "--json", data="manifest.csv").stdout)
    assert healed["computed"] == 12
    with open_cache(work / "features.h5") as cache:
        assert cache.header.complete
