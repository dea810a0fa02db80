"""Promises about the synthetic X-rays: real files, known lesions, the same for a seed."""

from __future__ import annotations

import csv

import numpy as np
from icehouse.extract import phantoms
from PIL import Image


def test_a_data_set_is_png_files_a_manifest_and_apart_from_it_the_lesions_places(tmp_path) -> None:
    manifest = phantoms.write_data_set(tmp_path / "set", phantoms.HOME, normal=2, diseased=3, seed=1)
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["normal"] * 2 + ["diseased"] * 3
    for row in rows:
        with Image.open(tmp_path / "set" / row["path"]) as image:
            assert (image.mode, image.size) == ("L", (384, 384))
        assert list(row) == ["path", "label", "patient", "scanner"]  # nothing that a head could be told by
    with (tmp_path / "set" / "lesions.csv").open(encoding="utf-8", newline="") as file:
        lesions = list(csv.DictReader(file))
    assert [lesion["path"] for lesion in lesions] == [row["path"] for row in rows[2:]]
    assert all(0 < float(lesion[name]) < 384 for lesion in lesions for name in ("x", "y", "radius"))


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (
        phantoms.render(phantoms.HOME, np.random.default_rng(5), diseased=True)[0] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_the_lesion_is_where_it_is_said_to_be_and_makes_the_lung_denser() -> None:
    brighter = []
    for seed in range(12):
        sick, lesion = phantoms.render(phantoms.HOME, np.random.default_rng(seed), diseased=True)
        well, none = phantoms.render(phantoms.HOME, np.random.default_rng(seed), diseased=False)
        assert none is None
        assert lesion is not None
        x, y = round(lesion.x), round(lesion.y)
        here = np.s_[y - 6 : y + 7, x - 6 : x + 7]
        brighter.append(sick[here].mean() - well[here].mean())
    assert np.mean(brighter) > 25
    assert np.min(brighter) > 0


def test_the_other_scanner_renders_differently() -> None:
    home, away = (
        phantoms.render(scanner, np.random.default_rng(3), diseased=False)[0]
        for scanner in (phantoms.HOME, phantoms.ELSEWHERE)
    )
    assert home.shape != away.shape
