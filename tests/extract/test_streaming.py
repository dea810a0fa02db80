"""Promises about vectors of new images: those that `extract` computes, each once, never all at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
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
from icehouse.cache.store import Cache
from icehouse.extract import ct_phantoms, engines, streaming
from icehouse.extract.data import read_data
from icehouse.extract.decode import open_image
from icehouse.extract.extraction import extract
from icehouse.extract.matching import setup_for
from icehouse.extract.settings import Settings
from icehouse.extract.streaming import Frames, Streamed, stream
from making import draw
from small_network import SmallNetwork

LAYER = engines.LAYER


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))


class Taken(dict[tuple[bytes, int], np.ndarray]):
    """The vector of each (content, frame) that was handed on, and how many came at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.seconds: dict[tuple[bytes, int], float] = {}

    def __call__(self, frames: Frames) -> None:
        self.sizes.append(len(frames.content))
        assert len(frames.content) == len(frames.frame) == len(frames.seconds) == len(frames.vectors[LAYER])
        for content, number, vector, seconds in zip(
            frames.content, frames.frame, frames.vectors[LAYER], frames.seconds, strict=True
        ):
            key = content, int(number)
            assert key not in self, "handed on twice"
            self[key] = vector.copy()
            self.seconds[key] = float(seconds)


@pytest.fixture
def work(tmp_path) -> Path:
    """Return a folder with images/: a stack of 7 pages, 5 pictures and a copy of one; and their cache."""
    brightest = 1500 * np.arange(1, 8)[:, np.newaxis, np.newaxis]
    stack = np.random.default_rng(0).integers(0, brightest, (7, 24, 24)).astype(np.uint16)
    (tmp_path / "images" / "covid").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "images" / "covid" / "stack.tif", stack, photometric="minisblack")
    for number in range(5):
        draw(tmp_path / "images" / "normal" / f"{number}.png", number)
    copy = (tmp_path / "images" / "normal" / "2.png").read_bytes()
    (tmp_path / "images" / "covid" / "copy.png").write_bytes(copy)
    cached(tmp_path)
    return tmp_path


def cached(folder: Path, name: str = "features.h5", **options: Any) -> Path:
    source = read_data(folder / "images", PatientKey(folder), 2)
    extract(source, folder / name, Settings(backbone="efficientnetlite0", batch_size=4, **options))
    return folder / name


def vectors_of(cache: Cache) -> dict[tuple[bytes, int], np.ndarray]:
    contents = [cache.samples.content[sample].tobytes() for sample in cache.sample_of_row]
    return dict(zip(zip(contents, cache.frame_of_row.tolist(), strict=True), cache.X, strict=True))


def streamed(
    folder: Path, like: Cache, rule: str = "all", take: Any = None, **options: Any
) -> tuple[Streamed, Taken]:
    taken = Taken()
    setup = setup_for(like.header.recipe, like.layers, rule, where="model.head", batch_size=4)
    source = read_data(folder / "images", PatientKey(None), 2)
    return stream(source, setup, take or taken, layers=[LAYER], **options), taken


def same(taken: Taken, wanted: dict[tuple[bytes, int], np.ndarray]) -> bool:
    return taken.keys() == wanted.keys() and all(np.array_equal(taken[key], wanted[key]) for key in wanted)


def test_every_frame_is_handed_on_once_with_the_vector_that_a_cache_of_it_holds(work) -> None:
    with open_cache(work / "features.h5") as cache:
        done, taken = streamed(work, cache)
        assert same(taken, vectors_of(cache))
    assert max(taken.sizes) <= 4
    assert (done.computed, done.reused, done.engine) == (12, 0, "small-numpy")
    assert all(seconds > 0 for seconds in taken.seconds.values())
    stack = next(looked for looked in done.samples if looked.frames == 7)
    assert stack.chosen == tuple(range(7))
    contents = [looked.content for looked in done.samples]
    assert len(contents) == 7
    assert len(set(contents)) == 6
    assert not any(looked.failure for looked in done.samples)


@pytest.mark.parametrize("rule", ["middle", "every:3", "open-lung:2000"])
def test_frames_are_chosen_as_extract_chooses_them(work, rule) -> None:
    cached(work, "chosen.h5", frames=rule)
    with open_cache(work / "chosen.h5") as cache:
        done, taken = streamed(work, cache, rule)
        assert same(taken, vectors_of(cache))
        assert {s.chosen for s in done.samples if s.frames == 7} != {tuple(range(7))}


def test_slices_that_a_rule_leaves_out_are_named_and_choosing_them_is_timed(tmp_path) -> None:
    sequence = ct_phantoms.draw("4711", [1, 1], diseased=True, slices=8, size=64)
    (tmp_path / "images" / "covid").mkdir(parents=True)
    ct_phantoms.write_dicom(sequence, tmp_path / "images" / "covid", seed=3)
    with open_cache(cached(tmp_path, frames="open-lung")) as cache:
        done, taken = streamed(tmp_path, cache, "open-lung")
        assert same(taken, vectors_of(cache))
    left_out = [looked for looked in done.samples if not looked.selected]
    assert 0 < len(left_out) < 8 == len(done.samples)
    assert all(looked.content is None and looked.frames == 1 and not looked.chosen for looked in left_out)
    assert all(looked.seconds > 0 for looked in done.samples)


def test_what_a_cache_holds_is_reused_and_the_rest_computed(work) -> None:
    for number in range(5, 8):
        draw(work / "images" / "normal" / f"{number}.png", number)
    (work / "images" / "normal" / "0.png").unlink()
    before = (work / "features.h5").read_bytes()
    with open_cache(work / "features.h5") as cache:
        done, taken = streamed(work, cache, reuse=cache)
    assert (done.computed, done.reused, len(taken)) == (3, 11, 14)
    assert (work / "features.h5").read_bytes() == before
    with open_cache(cached(work, "all.h5")) as cache:
        assert same(taken, vectors_of(cache))


def test_a_cache_of_other_frames_and_of_more_views_is_reused_as_far_as_it_goes(work) -> None:
    cached(work, "middle.h5", frames="middle", views=3, augment="flips")
    with open_cache(work / "middle.h5") as middle, open_cache(work / "features.h5") as cache:
        done, taken = streamed(work, cache, reuse=middle)
        assert same(taken, vectors_of(cache))
    assert (done.computed, done.reused) == (10, 2)  # of 7 pages and of 5 pictures the middle


def test_if_everything_is_known_no_network_is_loaded(work) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from icehouse import open_cache\n"
        "from icehouse.extract.matching import setup_for\n"
        "from icehouse.extract.sources import read_source\n"
        "from icehouse.extract.streaming import stream\n"
        "cache = open_cache('features.h5')\n"
        "setup = setup_for(cache.header.recipe, cache.layers, 'all', where='model.head')\n"
        "held = [('model.head', cache.canaries())]\n"
        "source = read_source(Path('images'))\n"
        "done = stream(source, setup, print, layers=cache.layers, held=held, reuse=cache)\n"
        "assert (done.computed, done.reused, done.engine) == (0, 12, None)\n"
        "sys.exit(bool({'tensorflow', 'keras', 'openvino', 'jax', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=work, check=False).returncode == 0


def test_one_bad_image_is_a_failure_and_loses_no_other(work) -> None:
    (work / "images" / "normal" / "bad.png").write_bytes(b"no image")
    (work / "images" / "normal" / "empty.png").touch()
    with open_cache(work / "features.h5") as cache:
        done, taken = streamed(work, cache)
        assert same(taken, vectors_of(cache))
    failures = [looked.failure for looked in done.samples if looked.failure]
    assert [failure.stage for failure in failures] == ["decode", "read"]
    assert {looked.frames for looked in done.samples if looked.failure} == {0}


def test_a_vector_that_is_not_finite_is_the_failure_of_its_image(work, monkeypatch) -> None:
    bad = hashlib.sha256((work / "images" / "normal" / "2.png").read_bytes()).digest()
    with open_cache(work / "features.h5") as cache:
        wrong = vectors_of(cache)[bad, 0]

        class Overflowing(SmallNetwork):
            def run(self, pixels: np.ndarray) -> Any:
                output = super().run(pixels)
                output.vectors[LAYER][(output.vectors[LAYER] == wrong).all(axis=1)] = np.inf
                return output

        monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Overflowing(batch_size))
        done, taken = streamed(work, cache)
    assert len(taken) == 11
    failed = [looked for looked in done.samples if looked.failure]
    assert [looked.content for looked in failed] == [bad, bad]
    assert {str(looked.failure) for looked in failed} == {"its vector is infinite or not a number"}


def test_a_batch_that_does_not_fit_into_memory_is_halved(work, monkeypatch) -> None:
    class Cramped(SmallNetwork):
        def run(self, pixels: np.ndarray) -> Any:
            if len(pixels) > 3:
                raise MemoryError
            return super().run(pixels)

    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Cramped(batch_size))
    with open_cache(work / "features.h5") as cache:
        _, taken = streamed(work, cache)
        assert same(taken, vectors_of(cache))
    assert max(taken.sizes) <= 3


def test_a_network_that_computes_something_else_hands_nothing_on(work) -> None:
    with open_cache(work / "features.h5") as cache:
        held = [("model.head", {LAYER: 1.01 * cache.canaries()[LAYER]})]
        taken = Taken()
        with pytest.raises(errors.CanaryDrift, match=r"away from those in model\.head.*Fit a head on"):
            streamed(work, cache, take=taken, held=held)
        with pytest.raises(errors.CanaryDrift, match=r"vectors in .*features\.h5 .* from that of model\.head"):
            streamed(work, cache, take=taken, held=held, reuse=cache)
        assert not taken
        done, taken = streamed(work, cache, held=held, reuse=cache, accept_drift=True)
        assert done.drifted == pytest.approx(0.01, rel=0.1)
        assert len(taken) == 12
        done, _ = streamed(work, cache, held=[("model.head", cache.canaries())])
        assert done.drifted == 0


def test_a_cache_that_cannot_be_reused_is_refused_with_the_reason(work, make_cache) -> None:
    with open_cache(work / "features.h5") as cache:
        cached(work, "lung.h5", intensity="max")
        with (
            open_cache(work / "lung.h5") as other,
            pytest.raises(errors.RecipeMismatch, match="intensity differs"),
        ):
            streamed(work, cache, reuse=other)
        by_hand = make_cache(np.zeros((2, 32), dtype=np.float32), ["a", "b"], name="hand.h5")
        with open_cache(by_hand) as other, pytest.raises(errors.RecipeMismatch, match="kind differs"):
            streamed(work, cache, reuse=other)
        anonymous = work / "anonymous.h5"
        options = ["cache", "merge", "features.h5", "--anonymize", "-o", anonymous.name]
        code = f"from icehouse.cli import main; main({options})"
        subprocess.run([sys.executable, "-c", code], cwd=work, check=True, capture_output=True)
        with open_cache(anonymous) as other, pytest.raises(errors.CacheAnonymized, match="is anonymized"):
            streamed(work, cache, reuse=other)
        setup = setup_for(cache.header.recipe, ("conv",), "all", where="model.head")
        source = read_data(work / "images", PatientKey(None), 2)
        with pytest.raises(errors.RecipeMismatch, match="holds avg_pool, and not conv"):
            stream(source, setup, print, layers=["conv"], reuse=cache)
        with pytest.raises(errors.RecipeMismatch, match="yields avg_pool, and not conv"):
            stream(source, setup, print, layers=["conv"])


def test_maps_and_pixels_come_with_the_vectors_that_they_belong_to_where_they_are_asked_for(work) -> None:
    handed: list[Frames] = []
    with open_cache(work / "features.h5") as cache:
        streamed(work, cache, take=handed.append, with_maps=True)
        samples = read_data(work / "images", PatientKey(None), 2).samples
        reader = setup_for(cache.header.recipe, cache.layers, "all", where="model.head").preparation
        vectors = vectors_of(cache)
        with pytest.raises(errors.UsageError, match="no feature maps"):
            streamed(work, cache, reuse=cache, with_maps=True)
    files = {
        hashlib.sha256(data).digest(): data
        for file in (work / "images").rglob("*.*")
        if (data := file.read_bytes())
    }
    seen = 0
    for frames in handed:
        assert frames.maps is not None
        assert frames.pixels is not None
        rows = zip(*frames[:2], frames.maps, frames.pixels, frames.sample, frames.of_frames, strict=True)
        for content, number, maps, pixels, sample, count in rows:
            assert count == (7 if samples[sample].path.endswith("stack.tif") else 1)
            assert hashlib.sha256(samples[sample].file.read_bytes()).digest() == content
            assert samples[sample].path != "normal/2.png"  # its copy stands before it
            np.testing.assert_allclose(maps.mean(axis=(0, 1)), vectors[content, number], rtol=1e-5)
            opened = open_image(files[content])
            np.testing.assert_array_equal(pixels, reader.frame(opened.frame(number)).pixels)
            seen += 1
    assert seen == 12


def test_maps_and_pixels_of_a_vector_that_is_no_number_are_not_handed_on(work, monkeypatch) -> None:
    class Broken(SmallNetwork):
        def run(self, pixels: np.ndarray) -> engines.Output:
            output = super().run(pixels)
            output.vectors[LAYER][pixels[:, 0, 0, 0] == dark] = np.nan
            return output

    handed: list[Frames] = []
    with open_cache(work / "features.h5") as cache:
        streamed(work, cache, take=handed.append, with_maps=True)
        dark = float(min(frames.pixels[:, 0, 0, 0].min() for frames in handed))
        handed.clear()
        monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Broken(batch_size))
        done, _ = streamed(work, cache, take=handed.append, with_maps=True, accept_drift=True)
    assert sum(looked.failure is not None for looked in done.samples) == 1
    for frames in handed:
        assert len(frames.content) == len(frames.maps) == len(frames.pixels)
        assert dark not in frames.pixels[:, 0, 0, 0]


def test_a_stop_ends_it_with_a_word_and_computes_no_more(work, monkeypatch) -> None:
    stopping = threading.Event()
    taken = Taken()

    def take(frames: Frames) -> None:
        taken(frames)
        stopping.set()

    monkeypatch.setattr(streaming, "stop_on_signal", lambda: nullcontext(stopping))
    with (
        open_cache(work / "features.h5") as cache,
        pytest.raises(errors.Interrupted, match=r"of 7 samples were looked at; nothing was written"),
    ):
        streamed(work, cache, take=take)
    assert taken.sizes == [4]


def test_an_error_of_the_taker_comes_through_and_it_is_not_called_again(work) -> None:
    calls: list[int] = []

    def take(frames: Frames) -> None:
        calls.append(len(frames.content))
        raise errors.DiskFull("No room.")

    with open_cache(work / "features.h5") as cache, pytest.raises(errors.DiskFull, match="No room"):
        streamed(work, cache, take=take)
    assert calls == [4]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("icehouse-")]


def test_a_damaged_vector_of_a_cache_is_refused(work) -> None:
    import h5py

    with h5py.File(work / "features.h5", "r+") as file:
        file[f"vectors/{LAYER}"][3, 0] = np.nan
    with (
        open_cache(work / "features.h5") as cache,
        pytest.raises(errors.CacheDamaged, match="infinite or not a number"),
    ):
        streamed(work, cache, reuse=cache)


FULL = os.environ.get("ICEHOUSE_FULL") == "1"


@pytest.mark.slow
def test_four_times_the_images_take_no_more_memory(tmp_path) -> None:
    draw(tmp_path / "first" / "images" / "0.png", 0)
    few = 400 if FULL else 60
    peaks = []
    with open_cache(cached(tmp_path / "first")) as cache:
        for size in (8, few, 4 * few):
            for number in range(size):
                draw(tmp_path / f"{size}" / "images" / f"{number}.png", number, size=(12, 12))
            tracemalloc.start()
            done, _ = streamed(tmp_path / f"{size}", cache, take=lambda _: None)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert done.computed == size
    frame = 600_000  # what an image of 224 points takes; some more or fewer wait at any moment
    assert peaks[2] - peaks[1] < 10 * frame + 3 * few * 4000, peaks
