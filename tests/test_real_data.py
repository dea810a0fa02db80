"""Promises on real chest X-rays, where ICEHOUSE_SHARED names the folder that holds them."""

from __future__ import annotations

import json

import pytest
from icehouse import open_cache, run_rounds


@pytest.fixture(scope="module")
def xrays(shared, icehouse, tmp_path_factory):
    """Return the summary of extracting 60 X-rays of each class, and the cache."""
    folder = tmp_path_factory.mktemp("xrays")
    manifest = shared / "data" / "cxr" / "manifest.csv"
    done = icehouse(
        "extract",
        manifest,
        "-o",
        "cxr.h5",
        "--backbone",
        "efficientnetlite0",
        "--limit",
        "60",
        "--json",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder / "cxr.h5"


def test_real_xrays_of_all_colour_modes_become_vectors(xrays) -> None:
    summary, path = xrays
    assert summary["samples"] == 180
    assert summary["failed"] == 0
    with open_cache(path) as cache:
        assert {"RGB", "L"} <= set(cache.samples.mode)
        assert set(cache.samples.columns) >= {"source", "original_format"}


def test_covid_and_normal_are_told_apart_on_patients_never_seen(xrays, tmp_path) -> None:
    """Class and source are confounded in these data: the figure is no proof of anything about the disease."""
    _, path = xrays
    document = run_rounds(path, ["svm"], rounds=5).document
    assert document["grouped"] is True
    assert len(document["classes"]) == 3
    assert document["heads"]["svm"]["balanced_accuracy"]["mean"] > 0.5


def test_trained_inceptionv3_weights_from_a_local_file(shared, icehouse, tmp_path) -> None:
    weights = shared / "weights" / "inceptionv3_trained.weights.h5"
    manifest = shared / "data" / "cxr" / "manifest.csv"
    arguments = ("extract", manifest, "-o", "inception.h5", "--weights", weights, "--limit", "2", "--json")
    done = icehouse(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dimensions"] == {"avg_pool": 2048}
    with open_cache(tmp_path / "inception.h5") as cache:
        assert cache.header.recipe["weights"].startswith("sha256:")
        assert cache.X.std() > 0.01
