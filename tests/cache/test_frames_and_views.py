"""Promises about volumes: which frames and views a sample takes, and that none is lost by choosing others."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
from icehouse import errors
from icehouse.cache.anonymize import Pseudonyms
from icehouse.cache.chosen import among, frames_of, ranges_of, text_of
from icehouse.cache.commit import commit
from icehouse.cache.export import export
from icehouse.cache.info import compare, describe
from icehouse.cache.merge import merge
from icehouse.cache.repair import repair
from icehouse.cache.split import split
from icehouse.cache.staging import Staging
from icehouse.cache.store import Cache
from icehouse.cache.verify import verify
from icehouse.cache.writing import Contents
from making import SELECTION, block_of, samples_of

FRAMES = [6, 1, 4]
"""Of the three files of a cache made here."""
CONTENT = np.random.default_rng(1).integers(0, 256, (3, 32), dtype=np.uint8)


def rows_of(views: int) -> tuple[np.ndarray, ...]:
    """Return sample, frame and view of each row, and its vector, which says where it belongs."""
    rows = [(s, f, v) for s, total in enumerate(FRAMES) for f, v in product(range(total), range(views))]
    sample, frame, view = np.array(rows).T
    return sample, frame, view, np.stack([100 * sample + 10 * frame + view, view], axis=1).astype("f4")


def contents_for(
    chosen: list[str] | None = None,
    views: int = 1,
    *,
    frames: str = "all",
    states: list[str] | None = None,
    layers: tuple[str, ...] = ("avg_pool",),
) -> Contents:
    samples = samples_of(CONTENT, ["a", "b", "a"], states=states, frames=FRAMES, chosen=chosen)
    selection = {"frames": frames, "views": views, "layers": list(layers)}
    return Contents({"kind": "by hand"}, layers, selection, samples, [], [{"time": "now"}])


def make(path: Path, chosen: list[str] | None = None, views: int = 1, held: int | None = None) -> Path:
    """Write a cache that holds all frames of its files, in `held` views, in disorder."""
    sample, frame, view, vectors = rows_of(held or views)
    order = np.random.default_rng(2).permutation(len(sample))
    block = block_of(CONTENT[sample[order]], vectors[order], frame[order], view[order])
    commit(path, None, [block], contents_for(chosen, views))
    return path


def select(path: Path, chosen: list[str] | None, views: int = 1, **more) -> None:
    """Write a cache anew with another selection, as an extraction does that finds all vectors there."""
    with Cache(path) as old:
        commit(path, old, [], contents_for(chosen, views, **more))


def taken(path: Path) -> list[float]:
    with Cache(path) as cache:
        return cache.X[:, 0].tolist()


@pytest.mark.parametrize(
    ("frames", "total", "text"),
    [
        ([0, 1, 2], 3, ""),
        ([1], 3, "1"),
        ([0, 1], 3, "0,1"),
        ([0, 1, 2], 9, "0-2"),
        ([*range(12, 41), 43], 60, "12-40,43"),
        (range(0, 99, 2), 100, "0-98/2"),
        ([1, 2, 4, 6, 8], 9, "1,2-8/2"),
    ],
)
def test_frames_become_a_short_text_and_come_back(frames, total, text) -> None:
    assert text_of(list(frames), total) == text
    assert frames_of(text, total).tolist() == list(frames)


def test_each_choice_of_frames_has_one_text_and_every_other_text_is_refused() -> None:
    total = 7
    texts = {}
    for bits in range(1, 2**total):
        frames = [number for number in range(total) if bits >> number & 1]
        text = text_of(frames, total)
        assert frames_of(text, total).tolist() == frames
        assert np.flatnonzero(among(np.arange(total + 2), ranges_of(text, total))).tolist() == frames
        texts[text] = frames
    assert len(texts) == 2**total - 1
    parts = [
        *map(str, range(total)),
        "0-2",
        "1-3",
        "1-5/2",
        "0-6/3",
        "0-6/2",
        "2-4",
        "3-6",
        "0-6",
        "2-3",
        "0-4/1",
    ]
    for several in (*product(parts), *product(parts, parts), *product(parts, parts, parts)):
        if (text := ",".join(several)) not in texts:
            with pytest.raises(ValueError, match=r"not how a cache writes|does not stand for"):
                ranges_of(text, total)


@pytest.mark.parametrize(
    "text",
    ["0-2147483647", "0-999999999999999999999", "-1", "1-", "٣", "01", "0 ", ",", "1,,2", "0-9/0", "x" * 4096],
)
def test_a_text_that_names_no_frames_of_the_file_is_refused_without_spelling_it_out(text) -> None:
    with pytest.raises(ValueError, match=r"names no frames|not how a cache writes|does not stand for"):
        ranges_of(text, 10**6)


def test_files_of_impossible_lengths_and_choices_are_refused() -> None:
    for total in (0, -1, 2**31 - 1):
        with pytest.raises(ValueError, match="a file of"):
            ranges_of("", total)
    for frames in ([], [-1], [5]):
        with pytest.raises(ValueError, match="some of the frames 0 to 4"):
            text_of(frames, 5)
    with pytest.raises(ValueError, match="so irregular that a cache cannot note them"):
        text_of(np.flatnonzero(np.random.default_rng(0).random(9000) < 0.5), 9000)


def test_a_cache_gives_the_chosen_frames_alone_by_sample_then_frame(tmp_path) -> None:
    path = make(tmp_path / "features.h5", ["1-5/2", "", "0,3"])
    with Cache(path) as cache:
        assert cache.X[:, 0].tolist() == [10, 30, 50, 100, 200, 230]
        assert cache.frame_of_row.tolist() == [1, 3, 5, 0, 0, 3]
        assert cache.sample_of_row.tolist() == [0, 0, 0, 1, 2, 2]
        assert cache.y.tolist() == ["a", "a", "a", "b", "a", "a"]
        assert len(cache.pixels()) == 6
        assert int(cache.spare.sum()) == 5
        assert describe(cache)["frames"] == 11
        assert verify(cache).intact


@pytest.mark.parametrize(
    ("chosen", "views", "message"),
    [
        (["6", "", ""], 1, "'6' does not stand for some of 6 frames"),
        (["0,1,2", "", ""], 1, "'0,1,2' is not how a cache writes frames"),
        (["", "0", ""], 1, "'0' does not stand for some of 1 frames"),
        (None, 0, "the selection does not say how many views"),
    ],
)
def test_what_no_reader_would_take_is_not_written(tmp_path, chosen, views, message) -> None:
    path = make(tmp_path / "features.h5")
    before = path.read_bytes()
    with Cache(path) as old, pytest.raises(errors.CacheError, match=f"cannot be written: .*{message}"):
        commit(path, old, [], contents_for(chosen, views))
    assert path.read_bytes() == before


def test_frames_that_are_no_longer_chosen_stay_in_the_file_and_come_back_without_computing(tmp_path) -> None:
    path = make(tmp_path / "features.h5")
    everything = taken(path)
    with Cache(path) as cache:
        stored = cache.read("vectors/avg_pool")
    select(path, ["2", "", "1"], frames="middle")
    assert taken(path) == [20, 100, 210]
    with Cache(path) as cache:  # nor is any row moved
        np.testing.assert_array_equal(cache.read("vectors/avg_pool"), stored)
        assert int(cache.spare.sum()) == 8
    select(path, None)
    assert taken(path) == everything
    with Cache(path) as cache:
        assert not cache.spare.any()


def test_further_views_are_given_apart_with_the_row_that_each_is_a_view_of(tmp_path) -> None:
    path = make(tmp_path / "features.h5", ["4", "", "0-2"], views=3)
    with Cache(path) as cache:
        views, row = cache.views()
        assert cache.X[:, 0].tolist() == [40, 100, 200, 210, 220]
        assert views[:, 0].tolist() == [41, 42, 101, 102, 201, 202, 211, 212, 221, 222]
        assert row.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert cache.header.views == 3
    select(path, ["4", "", "0-2"], views=1)
    with Cache(path) as cache:
        assert cache.X[:, 0].tolist() == [40, 100, 200, 210, 220]
        assert [len(part) for part in cache.views()] == [0, 0]
        assert int(cache.spare.sum()) == 33 - 5
    select(path, ["4", "", "0-2"], views=2)
    with Cache(path) as cache:
        assert cache.views()[0][:, 0].tolist() == [41, 101, 201, 211, 221]


def test_samples_that_are_not_selected_take_nothing_and_do_not_keep_a_cache_from_being_complete(
    tmp_path,
) -> None:
    path = make(tmp_path / "features.h5")
    with Cache(path) as old:
        commit(path, old, [], contents_for(states=["not-selected", "done", "done"]))
    assert taken(path) == [100, 200, 210, 220, 230]
    with Cache(path) as cache:
        assert cache.header.complete
        assert verify(cache).intact
        assert int(cache.spare.sum()) == 6
        assert describe(cache)["states"] == {"done": 2, "not-selected": 1}
    merged = merge([path, make_other(tmp_path)], tmp_path / "all.h5")
    assert (merged["rows"], merged["samples"]) == (11 + 2, 5)
    parts = split(path, tmp_path / "parts", by="label")
    assert [part["rows"] for part in parts["parts"]] == [4, 1]
    assert parts["spare_left_out"] == 6
    repair(path, compact=True)
    assert taken(path) == [100, 200, 210, 220, 230]
    with Cache(path) as cache:
        assert cache.rows == 5


def make_other(folder: Path) -> Path:
    """Write a cache of two plain images."""
    content = np.random.default_rng(9).integers(0, 256, (2, 32), dtype=np.uint8)
    samples = samples_of(content, ["a", "b"])
    samples.path[:] = ["x.png", "y.png"]
    contents = Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}])
    commit(folder / "other.h5", None, [block_of(content, np.full((2, 2), 7))], contents)
    return folder / "other.h5"


@pytest.mark.parametrize(
    ("views", "lost", "pending"), [(1, (0, 4, 0), True), (2, (0, 4, 1), True), (1, (0, 3, 0), False)]
)
def test_a_finished_sample_without_one_of_its_chosen_frames_or_views_is_damage_and_repaired(
    tmp_path, views, lost, pending
) -> None:
    sample, frame, view, vectors = rows_of(views)
    kept = ~((sample == lost[0]) & (frame == lost[1]) & (view == lost[2]))
    path = tmp_path / "features.h5"
    block = block_of(CONTENT[sample[kept]], vectors[kept], frame[kept], view[kept])
    commit(path, None, [block], contents_for(["0,4", "", ""], views))
    if not pending:  # nobody chose what is missing
        assert taken(path) == [0, 40, 100, 200, 210, 220, 230]
        assert repair(path)["lost"] == []
        return
    with Cache(path) as cache:
        with pytest.raises(
            errors.CacheDamaged, match=r"1 finished samples lack a vector, such as 0\.png.*repair"
        ):
            cache.X  # noqa: B018  (reading is the test)
        assert "lack a vector" in verify(cache).problems[0]
    assert repair(path)["lost"] == ["0.png"]
    with Cache(path) as cache:
        assert not cache.header.complete
        assert cache.X[:, 0].tolist() == [100, 200, 210, 220, 230]
        assert cache.samples.chosen[0] == "0,4"
        # What is left of it is kept for it, as are frames that were not chosen until the cache is compacted.
        assert cache.rows == kept.sum()
    repair(path, compact=True)
    with Cache(path) as cache:
        assert cache.rows == 5 * views + 2 * views - 1


def test_rows_that_nobody_chose_cost_no_sample_when_they_are_lost(tmp_path) -> None:
    content = np.random.default_rng(3).integers(0, 256, (2, 32), dtype=np.uint8)
    frame = np.arange(600)
    rows = np.concatenate([np.repeat(content[:1], 600, axis=0), content[1:]])
    block = block_of(rows, np.ones((601, 2)), np.append(frame, 0))
    samples = samples_of(content, ["a", "b"], frames=[600, 1], chosen=["0-100", ""])
    path = tmp_path / "features.h5"
    commit(path, None, [block], Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}]))
    with h5py.File(path, "r+") as file:
        file["vectors/avg_pool"][300, 0] += 1
    result = repair(path)
    assert (result["rows_lost"], result["lost"]) == (256, [])
    with Cache(path) as cache:
        assert cache.header.complete
        assert len(cache.X) == 102


def test_merging_keeps_each_samples_chosen_frames(tmp_path) -> None:
    a = make(tmp_path / "a.h5", ["2", "", "1"])
    with Cache(a) as old:
        commit(a, old, [], contents_for(["2", "", "1"], frames="middle"))
    b = make_other(tmp_path)
    result = merge([a, b], tmp_path / "all.h5")
    assert result["selection"]["frames"] == "mixed"
    assert "each sample keeps the frames chosen of it" in result["notes"][0]
    with Cache(tmp_path / "all.h5") as cache:
        assert cache.samples.chosen.tolist() == ["2", "", "1", "", ""]
        assert cache.X[:, 0].tolist() == [20, 100, 210, 7, 7]
        assert verify(cache).intact
        assert cache.rows == 13


def test_where_two_caches_chose_other_frames_of_one_sample_the_first_or_preferred_one_counts(tmp_path) -> None:
    a, b = make(tmp_path / "a.h5", ["2", "", "1"]), make(tmp_path / "b.h5", ["3", "", ""])
    with Cache(a) as one, Cache(b) as two:
        assert compare(one, two)["rechosen"] == 2
    merge([a, b], tmp_path / "first.h5")
    assert taken(tmp_path / "first.h5") == [20, 100, 210]
    merge([a, b], tmp_path / "preferred.h5", prefer=b)
    assert taken(tmp_path / "preferred.h5") == [30, 100, 200, 210, 220, 230]


def test_caches_of_different_numbers_of_views_become_one_of_the_least_and_it_is_said(tmp_path) -> None:
    a = make(tmp_path / "a.h5", views=3)
    b = make_other(tmp_path)
    result = merge([a, b], tmp_path / "all.h5")
    assert result["notes"] == [
        "The caches have 1 and 3 views of a frame: 1 of each count, and the vectors of the others are kept as "
        "spare ones."
    ]
    with Cache(tmp_path / "all.h5") as cache:
        assert cache.header.views == 1
        assert cache.rows == 33 + 2
        assert len(cache.X) == 11 + 2
        assert verify(cache).intact


def test_a_cache_whose_samples_lack_vectors_is_not_merged(tmp_path) -> None:
    a = make(tmp_path / "a.h5")
    with h5py.File(a, "r+") as file:
        file["samples/frames"][1] = 2
    with pytest.raises(errors.CacheDamaged, match=r"a\.h5: 1 finished samples lack a vector, such as 1\.png"):
        merge([a, make_other(tmp_path)], tmp_path / "all.h5")


def test_an_anonymous_copy_has_no_frames_or_views_that_nobody_chose(tmp_path) -> None:
    path = make(tmp_path / "features.h5", ["2", "", "1"], views=2, held=3)
    merge([path], tmp_path / "anonymous.h5", pseudonyms=Pseudonyms())
    with Cache(tmp_path / "anonymous.h5") as cache:
        assert cache.rows == 6
        assert cache.X[:, 0].tolist() == [20, 100, 210]
        assert cache.views()[0][:, 0].tolist() == [21, 101, 211]
        assert cache.mean_map() is None
        assert cache.samples.frames.tolist() == FRAMES


def test_a_block_without_a_map_leaves_the_cache_without_maps_for_good(tmp_path) -> None:
    content = np.random.default_rng(5).integers(0, 256, (6, 32), dtype=np.uint8)
    path = tmp_path / "features.h5"

    def contents(count: int) -> Contents:
        return Contents(
            {"kind": "x"}, ("avg_pool",), SELECTION, samples_of(content[:count], ["a"] * count), [], [{}]
        )

    with Staging(path) as staging:
        staging.begin({"kind": "x"})
        staging.add(block_of(content[:2], np.ones((2, 2))))
        staging.add(block_of(content[2:4], np.ones((2, 2)), mapped=False))
        commit(path, None, staging.blocks(), contents(4))
        staging.clear()
    with Cache(path) as old:
        assert old.mean_map() is None
        commit(path, old, [block_of(content[4:], np.ones((2, 2)))], contents(6))
    with Cache(path) as cache:
        assert cache.mean_map() is None
        assert verify(cache).intact


@pytest.fixture
def two_layers(tmp_path) -> Path:
    """Return a cache with vectors of the layers avg_pool and pyramid_32, made in two steps."""
    sample, frame, view, vectors = rows_of(2)
    path, layers = tmp_path / "layers.h5", ("avg_pool", "pyramid_32")
    more = np.repeat(vectors * 2, 3, axis=1)
    with Staging(path) as staging:
        staging.begin({"kind": "by hand"})
        for part in (slice(0, 9), slice(9, None)):
            place = CONTENT[sample[part]], vectors[part], frame[part], view[part]
            staging.add(block_of(*place, more={"pyramid_32": more[part]}))
        commit(path, None, staging.blocks(), contents_for(["1-5/2", "", ""], 2, layers=layers))
        staging.clear()
    return path


def test_a_cache_of_two_layers_gives_each_in_the_same_order(two_layers) -> None:
    with Cache(two_layers) as cache:
        assert verify(cache).intact
        assert cache.layers == ("avg_pool", "pyramid_32")
        assert cache.dimensions == {"avg_pool": 2, "pyramid_32": 6}
        assert len(set(cache.header.fingerprints.values())) == 2
        np.testing.assert_array_equal(cache.vectors("pyramid_32")[:, 0], 2 * cache.X[:, 0])
        np.testing.assert_array_equal(cache.views("pyramid_32")[0][:, 0], 2 * cache.views()[0][:, 0])
        assert {layer: vectors.shape for layer, vectors in cache.canaries().items()} == {
            "avg_pool": (3, 2),
            "pyramid_32": (3, 6),
        }
        assert describe(cache)["selection"]["layers"] == ["avg_pool", "pyramid_32"]


def test_merge_repair_and_export_serve_every_layer(two_layers, tmp_path) -> None:
    merge([two_layers], tmp_path / "merged.h5", pseudonyms=Pseudonyms())
    with Cache(tmp_path / "merged.h5") as cache, Cache(two_layers) as before:
        np.testing.assert_array_equal(cache.vectors("pyramid_32"), before.vectors("pyramid_32"))
        export(before, tmp_path / "out.npz", layer="pyramid_32")
        with np.load(tmp_path / "out.npz") as file:
            np.testing.assert_array_equal(file["X"], before.vectors("pyramid_32"))
        export(before, tmp_path / "out.parquet", layer="pyramid_32")
    with h5py.File(two_layers, "r+") as file:
        file["vectors/pyramid_32"][0, 0] += 1
    with Cache(two_layers) as cache:
        assert [item.dataset for item in verify(cache).damaged] == ["vectors/pyramid_32"]
    assert repair(two_layers)["rows_lost"] == 22
    with Cache(two_layers) as cache:
        assert cache.layers == ("avg_pool", "pyramid_32")
        assert verify(cache).intact


def test_vectors_of_other_layers_are_never_mixed_into_a_cache(two_layers, tmp_path) -> None:
    with (
        Cache(two_layers) as old,
        pytest.raises(errors.RecipeMismatch, match="avg_pool, pyramid_32, where avg_pool"),
    ):
        commit(two_layers, old, [], contents_for())
    with pytest.raises(errors.RecipeMismatch, match=r"layers differs"):
        merge([two_layers, make_other(tmp_path)], tmp_path / "all.h5")


def test_the_guides_lines_of_h5py_find_frames_and_views_as_the_cache_does(tmp_path, monkeypatch) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "cache.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "chosen" in block)
    make(tmp_path / "features.h5", ["1-5/2", "", "0,3"], views=3)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code, found)  # the guide's own lines
    with Cache(tmp_path / "features.h5") as cache:
        np.testing.assert_array_equal(found["X"], cache.X)
        np.testing.assert_array_equal(found["views"], cache.views()[0])
        assert found["y"] == cache.y.tolist()
