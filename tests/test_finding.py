"""Promises of finding a cache's images again: the right ones, wherever they are within reach, and no others."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import icehouse
import numpy as np
import pytest
from icehouse import api, errors, finding
from icehouse.cache.anonymize import Pseudonyms
from icehouse.cache.merge import merge as merge_caches
from icehouse.extract import engines
from icehouse.finding import Found, Wanted, find_images
from making import draw
from PIL import Image
from small_network import SmallNetwork


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with data/ (a manifest and images/ of ten pictures, one of 16 bits) and its cache."""
    folder = tmp_path_factory.mktemp("made")
    lines = ["path,label"]
    for number in range(10):
        draw(folder / "data" / "images" / f"{number}.png", number, bright=bool(number % 2))
        lines.append(f"images/{number}.png,{'covid' if number % 2 else 'normal'}")
    deep = np.linspace(1000, 3000, 40 * 40).reshape(40, 40).astype(np.uint16)
    Image.fromarray(deep).save(folder / "data" / "images" / "9.png")
    (folder / "data" / "manifest.csv").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))
        api.extract(folder / "data" / "manifest.csv", folder / "features.h5", backbone="efficientnetlite0")
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    """Return a copy of it that may be changed."""
    return Path(shutil.copytree(made, tmp_path / "place"))


def found_in(folder: Path, images: Path | None = None) -> Found:
    """Look with the current folder elsewhere."""
    elsewhere = folder.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    with contextlib.chdir(elsewhere), icehouse.open_cache(folder / "features.h5") as cache:
        found = find_images(cache, images)
        _ = cache.samples
        return found


def test_images_in_a_folder_beside_the_cache_are_found_unasked(place) -> None:
    found = found_in(place)
    assert found
    assert found.places == (place / "data",)
    assert found.file(3) == place / "data" / "images" / "3.png"


@pytest.mark.parametrize("named", ["data", "data/manifest.csv", "data/images", "."])
def test_images_that_were_moved_are_found_by_folder_or_manifest(place, named) -> None:
    moved = place.parent / "moved"
    moved.mkdir()
    shutil.move(place / "data", moved / "data")
    assert not found_in(place)
    assert found_in(place, moved / named).places == (moved / "data",)


def test_the_current_folder_counts_too(place) -> None:
    moved = place.parent / "moved"
    shutil.move(place / "data", moved)
    with contextlib.chdir(moved), icehouse.open_cache(place / "features.h5") as cache:
        assert find_images(cache).places == (moved,)


def test_files_of_the_same_names_with_other_contents_are_no_images_of_the_cache(place) -> None:
    for number in range(10):
        draw(place / "data" / "images" / f"{number}.png", 100 + number)
    found = found_in(place)
    assert not found
    assert "images/0.png, were not found beside the cache" in found.why
    assert "--images DIR" in found.why


def test_one_image_that_has_changed_is_not_shown_and_the_others_are(place) -> None:
    draw(place / "data" / "images" / "3.png", 103)
    (place / "data" / "images" / "4.png").unlink()
    found = found_in(place)
    assert (found.file(3), found.read(4)) == (None, None)
    tiles = found.tiles([Wanted(number, 0) for number in range(10)], 32)
    assert [number for number, tile in enumerate(tiles) if tile is None] == [3, 4]
    assert found.tile(Wanted(0, 7), 32) is None  # it has no eighth frame


def test_images_of_two_folders_are_found_in_both(place) -> None:
    other = place / "other" / "images"
    other.mkdir(parents=True)
    for number in range(4):
        shutil.move(place / "data" / "images" / f"{number}.png", other)
    found = found_in(place)
    assert found.places == (place / "data", place / "other")
    assert not any(tile is None for tile in found.tiles([Wanted(number, 0) for number in range(10)], 16))


def test_a_picture_of_16_bits_is_shown_by_the_policy_of_the_recipe(place) -> None:
    tile = found_in(place).tile(Wanted(9, 0), 40)
    assert tile is not None
    assert tile.shape == (40, 40, 3)
    assert tile.min() < 5  # percentiles: 1,000 of 65,535 would be dark, and 3,000 too
    assert tile.max() > 250


def test_what_a_cache_from_a_stranger_names_outside_its_folder_is_not_read(place) -> None:
    secret = draw(place.parent / "secret.png", 0)
    with icehouse.open_cache(place / "features.h5") as cache:
        path = np.array(["../../secret.png", str(secret), *cache.samples.path[2:]])
        cache.samples = replace(cache.samples, path=path)
        found = find_images(cache)
        assert found.cache.samples.content[0].tobytes() == _sha256(secret)
        assert [found.file(number) is None for number in range(4)] == [True, True, False, False]


def _sha256(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


def test_an_anonymized_cache_shows_nothing_and_says_why(place) -> None:
    merge_caches([place / "features.h5"], place / "nameless.h5", pseudonyms=Pseudonyms())
    with contextlib.chdir(place), icehouse.open_cache(place / "nameless.h5") as cache:
        found = find_images(cache, place / "data")
    assert not found
    assert "anonymized" in found.why


def test_a_folder_that_is_not_there_is_an_error(place) -> None:
    with pytest.raises(errors.SourceError, match="no file or folder"):
        found_in(place, place / "nowhere")


def test_pictures_of_images_that_are_gone_are_what_the_cache_keeps(place) -> None:
    (place / "data" / "images" / "4.png").unlink()
    with contextlib.chdir(place), icehouse.open_cache(place / "features.h5") as cache:
        rows = np.array([4, 5, -1])
        (gone, there, nothing), failed = finding.pictures(cache, find_images(cache), rows, 32)
        assert failed == 1
        (kept, small, _), failed = finding.pictures(cache, None, rows, 32)
        assert failed == 0
    np.testing.assert_array_equal(gone, kept)
    assert np.abs(there.astype(int) - small.astype(int)).mean() < 20  # the same picture, less sharp
    assert len(np.unique(nothing)) == 2
