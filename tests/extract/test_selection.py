"""Promises about frames, slices and views: which become rows, and that others compute what is missing."""

from __future__ import annotations

import threading
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from icehouse import errors, open_cache
from icehouse.cache.patient_key import PatientKey
from icehouse.extract import engines, extraction, pipeline
from icehouse.extract.data import read_data
from icehouse.extract.extraction import extract
from icehouse.extract.resize import resize
from icehouse.extract.settings import Settings
from icehouse.extract.summary import Summary
from making import draw
from small_network import SmallNetwork

LITE = Settings(backbone="efficientnetlite0", batch_size=4)


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))


def run(folder: Path, data: str = "images", **options: Any) -> Summary:
    source = read_data(folder / data, PatientKey(folder), 2)
    return extract(
        source, folder / "features.h5", Settings(backbone="efficientnetlite0", batch_size=4, **options)
    )


@pytest.fixture
def volumes(tmp_path) -> Path:
    """Return a folder with images/ of two stacks of pages (7 and 10) and a plain picture."""
    generator = np.random.default_rng(0)
    for label, pages in (("covid", 7), ("normal", 10)):
        (tmp_path / "images" / label).mkdir(parents=True)
        stack = generator.integers(0, 4000, (pages, 24, 24), dtype=np.uint16)
        tifffile.imwrite(tmp_path / "images" / label / "stack.tif", stack, photometric="minisblack")
    draw(tmp_path / "images" / "normal" / "plain.png", 1)
    return tmp_path


def frames_held(folder: Path) -> dict[str, list[int]]:
    with open_cache(folder / "features.h5") as cache:
        held: dict[str, list[int]] = {}
        for sample, frame in zip(cache.sample_of_row, cache.frame_of_row, strict=True):
            held.setdefault(str(cache.samples.path[sample]), []).append(int(frame))
    return held


@pytest.mark.parametrize(
    ("rule", "seven", "ten"),
    [("all", list(range(7)), list(range(10))), ("middle", [3], [5]), ("every:4", [0, 4], [0, 4, 8])],
)
def test_the_rule_says_which_frames_of_a_volume_become_rows(volumes, rule, seven, ten) -> None:
    summary = run(volumes, frames=rule)
    assert (summary.samples, summary.computed) == (3, len(seven) + len(ten) + 1)
    assert frames_held(volumes) == {"covid/stack.tif": seven, "normal/plain.png": [0], "normal/stack.tif": ten}


def test_another_choice_of_frames_computes_only_what_is_missing_and_loses_nothing(volumes) -> None:
    assert run(volumes, frames="every:4").computed == 6
    assert run(volumes, frames="middle").computed == 2
    with open_cache(volumes / "features.h5") as cache:
        assert (len(cache.X), cache.rows) == (3, 8)
        middle = cache.X
    assert run(volumes, frames="all").computed == 18 - 8
    assert run(volumes, frames="every:4").computed == 0
    again = run(volumes, frames="middle")
    assert (again.computed, again.engine, again.spare) == (0, None, 15)
    with open_cache(volumes / "features.h5") as cache:
        np.testing.assert_array_equal(cache.X, middle)


def test_a_frame_that_cannot_be_read_fails_its_volume_by_number_and_no_other(volumes) -> None:
    stack = np.random.default_rng(0).normal(0, 1, (4, 24, 24)).astype(np.float32)
    stack[2, 3, 3] = np.nan
    tifffile.imwrite(volumes / "images" / "covid" / "broken.tif", stack, photometric="minisblack")
    summary = run(volumes)
    (failure,) = summary.failures
    assert (failure.path, failure.stage) == ("covid/broken.tif", "intensity")
    assert failure.reason.startswith("frame 2: ")
    assert "covid/broken.tif" not in frames_held(volumes)
    assert len(frames_held(volumes)["normal/stack.tif"]) == 10


def write_slices(folder: Path, label: str, patient: str, slices: int, seed: int) -> None:
    """Write a sequence of slices, named so that the alphabet would put 10 before 2."""
    where = folder / "images" / label / patient
    where.mkdir(parents=True)
    pages = np.random.default_rng(seed).integers(0, 4000, (slices, 24, 24), dtype=np.uint16)
    for number, page in enumerate(pages, start=1):
        tifffile.imwrite(where / f"IM{number}.tif", page, photometric="minisblack")


def test_slices_in_one_folder_are_a_sequence_in_natural_order(tmp_path) -> None:
    write_slices(tmp_path, "covid", "p1", 12, seed=1)
    write_slices(tmp_path, "normal", "p2", 5, seed=2)
    summary = run(tmp_path, frames="every:5")
    assert (summary.samples, summary.computed, summary.not_selected, summary.sequences) == (17, 4, 13, 2)
    taken = sorted(frames_held(tmp_path))
    assert taken == ["covid/p1/IM1.tif", "covid/p1/IM11.tif", "covid/p1/IM6.tif", "normal/p2/IM1.tif"]
    with open_cache(tmp_path / "features.h5") as cache:
        assert cache.header.complete
        assert sorted(set(cache.samples.state)) == ["done", "not-selected"]
    everything = run(tmp_path)
    assert (everything.computed, everything.reused, everything.not_selected) == (13, 4, 0)
    assert run(tmp_path, frames="middle").computed == 0
    assert sorted(frames_held(tmp_path)) == ["covid/p1/IM7.tif", "normal/p2/IM3.tif"]


def test_a_manifest_may_put_the_slices_of_several_patients_into_one_folder(tmp_path) -> None:
    write_slices(tmp_path, "covid", "all", 6, seed=1)
    rows = [f"images/covid/all/IM{n}.tif,covid,p{n % 2}" for n in range(1, 7)]
    (tmp_path / "manifest.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")
    summary = run(tmp_path, "manifest.csv", frames="middle")
    assert (summary.sequences, summary.computed) == (2, 2)


def test_open_lung_is_refused_on_8_bit_slices_with_the_remedy_and_the_rest_goes_on(tmp_path) -> None:
    for number in range(4):
        draw(tmp_path / "images" / "covid" / "p1" / f"{number}.png", number)
    with pytest.raises(errors.SourceError, match=r"8-bit.*open-lung:T|open-lung.*8-bit"):
        run(tmp_path, frames="open-lung")
    assert not (tmp_path / "features.h5").exists()


def test_views_are_rows_of_their_own_and_more_of_them_compute_only_the_new_ones(volumes) -> None:
    assert run(volumes, frames="middle").computed == 3
    assert run(volumes, frames="middle", views=3).computed == 6
    with open_cache(volumes / "features.h5") as cache:
        vectors, row = cache.views()
        assert (len(cache.X), len(vectors), sorted(row.tolist())) == (3, 6, [0, 0, 1, 1, 2, 2])
        assert (np.abs(vectors - cache.X[row]).max(axis=1) > 1e-4).all()
        before = vectors
    assert run(volumes, frames="middle", views=2).computed == 0
    assert run(volumes, frames="middle", views=3).computed == 0
    with open_cache(volumes / "features.h5") as cache:
        np.testing.assert_array_equal(cache.views()[0], before)


def test_other_variants_are_another_recipe(volumes) -> None:
    run(volumes, views=2)
    with pytest.raises(errors.RecipeMismatch, match="augment differs"):
        run(volumes, views=2, augment="flips")


def test_how_variants_are_drawn_is_remembered_by_the_cache(volumes) -> None:
    run(volumes, frames="middle", augment="flips")
    assert run(volumes, frames="middle", views=2).computed == 3
    with open_cache(volumes / "features.h5") as cache:
        assert "rotate" not in cache.header.recipe["augment"]


def test_a_run_for_other_views_that_is_stopped_loses_nothing(volumes, monkeypatch) -> None:
    run(volumes)
    stopping = threading.Event()

    class Stopping(SmallNetwork):
        def run(self, pixels: np.ndarray) -> Any:
            stopping.set()
            return super().run(pixels)

    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Stopping(batch_size))
    monkeypatch.setattr(extraction, "stop_on_signal", lambda: nullcontext(stopping))
    with pytest.raises(errors.Interrupted):
        run(volumes, views=3)
    with open_cache(volumes / "features.h5") as cache:
        assert not cache.header.complete
        assert cache.rows >= 18
    monkeypatch.setattr(extraction, "stop_on_signal", lambda: nullcontext(threading.Event()))
    assert run(volumes, views=3).computed <= 36
    with open_cache(volumes / "features.h5") as cache:
        assert (len(cache.X), len(cache.views()[0])) == (18, 36)


def test_pictures_that_all_differ_in_size_wait_for_no_full_batch_for_ever(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(pipeline, "BLOCK_SECONDS", 0.0)
    for number in range(6):
        draw(tmp_path / "images" / "a" / f"{number}.png", number, size=(64, 64 + 16 * number))
    calls: list[int] = []

    class Counting(SmallNetwork):
        def run(self, pixels: np.ndarray) -> Any:
            calls.append(len(pixels))
            return super().run(pixels)

    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Counting(batch_size))
    assert run(tmp_path, size="native").computed == 6
    assert calls == [3, 1, 1, 1, 1, 1, 1]  # the canaries, then each by itself


def test_a_picture_too_small_for_the_network_fails_by_name(tmp_path) -> None:
    draw(tmp_path / "images" / "a" / "good.png", 1, size=(64, 64))
    draw(tmp_path / "images" / "a" / "tiny.png", 2, size=(5, 64))
    summary = run(tmp_path, size="native")
    (failure,) = summary.failures
    assert failure.reason == "is 5 pixels small; the network takes 32 or more"


def test_a_crop_of_a_very_long_picture_takes_little_memory() -> None:
    tracemalloc.start()
    assert resize(np.zeros((2, 20_000), dtype=np.uint8), 299, "crop").shape == (299, 299, 3)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_pictures_of_native_size_are_computed_size_by_size(tmp_path) -> None:
    for number in range(9):
        draw(tmp_path / "images" / "a" / f"{number}.png", number, size=(48 + 16 * (number % 2), 64))
    summary = run(tmp_path, size="native")
    assert summary.computed == 9
    with open_cache(tmp_path / "features.h5") as cache:
        assert cache.mean_map() is None
        assert cache.header.recipe["size"] == "native"
        assert (cache.header.recipe["resize"], len(cache.X)) == ("none", 9)
    with pytest.raises(errors.RecipeMismatch, match="size differs"):
        run(tmp_path)


def test_a_batch_that_does_not_fit_into_memory_is_halved(volumes, monkeypatch) -> None:
    class Cramped(SmallNetwork):
        def run(self, pixels: np.ndarray) -> Any:
            if len(pixels) > 3:
                raise MemoryError
            return super().run(pixels)

    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Cramped(batch_size))
    assert run(volumes).computed == 18


def test_layers_that_the_cache_does_not_hold_are_refused(volumes) -> None:
    run(volumes, frames="middle")
    with pytest.raises(errors.RecipeMismatch, match="holds the layers avg_pool, not mixed7"):
        run(volumes, frames="middle", layers=("mixed7",))
    assert run(volumes, frames="middle", layers=("avg_pool",)).computed == 0
