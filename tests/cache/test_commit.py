"""Promises about writing: staging, merging, checksums, locks."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.cache import atomic, checksums
from icehouse.cache.commit import commit
from icehouse.cache.keys import key_of
from icehouse.cache.samples import Failure
from icehouse.cache.staging import Staging
from icehouse.cache.store import Cache
from icehouse.cache.writing import Contents
from making import SELECTION, block_of, samples_of

RECIPE = {"kind": "by hand"}


def contents_for(content: np.ndarray, failures: list[Failure] | None = None) -> Contents:
    labels = ["a" if index % 2 else "b" for index in range(len(content))]
    samples = samples_of(content, labels)
    return Contents(RECIPE, ("avg_pool",), SELECTION, samples, failures or [], [{"time": "now"}])


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (700, 32), dtype=np.uint8), generator.normal(size=(700, 8)).astype("f4")


def test_a_cache_that_grew_in_steps_equals_one_made_at_once(rows, tmp_path) -> None:
    content, vectors = rows
    at_once, in_steps = tmp_path / "once.h5", tmp_path / "steps.h5"
    commit(at_once, None, [block_of(content, vectors)], contents_for(content))
    commit(in_steps, None, [block_of(content[:300], vectors[:300])], contents_for(content[:300]))
    for first, last in ((300, 310), (310, 700)):
        with Cache(in_steps) as old:
            part = slice(first, last)
            commit(in_steps, old, [block_of(content[part], vectors[part])], contents_for(content[:last]))
    with h5py.File(at_once) as a, h5py.File(in_steps) as b:
        names: list[str] = []
        a.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in names:
            if "provenance" not in name:
                np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)
        assert [line["rows"] for line in Cache(in_steps).provenance()] == [300, 10, 390]


def test_rows_stand_in_the_order_of_the_samples_whenever_they_were_computed(rows, tmp_path) -> None:
    content, vectors = rows
    at_once, in_gaps = tmp_path / "once.h5", tmp_path / "gaps.h5"
    commit(at_once, None, [block_of(content, vectors)], contents_for(content))
    first = np.arange(700) % 5 > 0
    commit(in_gaps, None, [block_of(content[first], vectors[first])], contents_for(content[first]))
    with Cache(in_gaps) as old:
        commit(in_gaps, old, [block_of(content[~first], vectors[~first])], contents_for(content))
    with h5py.File(at_once) as a, h5py.File(in_gaps) as b:
        for name in ("vectors/avg_pool", "images/content", "maps/sum", "checksums/vectors/avg_pool"):
            np.testing.assert_array_equal(a[name][()], b[name][()], err_msg=name)


def test_spare_rows_go_last_and_come_back_in_their_place(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    commit(path, None, [block_of(content, vectors)], contents_for(content))
    named = np.arange(700) % 3 > 0
    with Cache(path) as old:
        commit(path, old, [], contents_for(content[named]))
    with Cache(path) as cache:
        np.testing.assert_array_equal(cache.read("vectors/avg_pool")[: named.sum()], vectors[named])
        np.testing.assert_array_equal(cache.X, vectors[named])
        assert cache.rows == 700
        commit(path, cache, [], contents_for(content))
    with Cache(path) as cache:
        np.testing.assert_array_equal(cache.read("vectors/avg_pool"), vectors)


def test_rearranged_samples_find_their_vectors_and_leave_the_rows_where_they_are(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    commit(path, None, [block_of(content[:600], vectors[:600])], contents_for(content[:600]))
    order = np.random.default_rng(1).permutation(700)
    with Cache(path) as old:
        commit(path, old, [block_of(content[600:], vectors[600:])], contents_for(content[order]))
    with Cache(path) as cache:
        np.testing.assert_array_equal(cache.read("vectors/avg_pool")[:600], vectors[:600])
        np.testing.assert_array_equal(cache.X, vectors[order])


def test_a_replaced_file_keeps_its_permissions(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    commit(path, None, [block_of(content[:10], vectors[:10])], contents_for(content[:10]))
    path.chmod(0o600)
    with Cache(path) as old:
        commit(path, old, [], contents_for(content[:5]))
    assert path.stat().st_mode & 0o777 == 0o600


def test_every_dataset_has_the_sha256_of_each_256_rows(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    commit(path, None, [block_of(content, vectors)], contents_for(content))
    with h5py.File(path) as file:
        stored = file["checksums/vectors/avg_pool"][()]
        assert stored.shape == (3, 32)
        last = hashlib.sha256(file["vectors/avg_pool"][512:].astype("<f4").tobytes()).digest()
        assert stored[2].tobytes() == last
        assert file["checksums/maps/mean"].shape == (1, 32)
        labels = file["samples/label"]
        np.testing.assert_array_equal(checksums.of_rows(labels), file["checksums/samples/label"][()])
        names: set[str] = set()
        file.visititems(lambda name, item: names.add(name) if isinstance(item, h5py.Dataset) else None)
        plain = {name for name in names if not name.startswith("checksums/")}
        assert {f"checksums/{name}" for name in plain} | {"checksums/attributes"} == names - plain


def test_datasets_with_rows_are_chunked_by_256_and_have_fletcher32_alone(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    failures = [Failure("é.png", "decode", "no image")]
    commit(path, None, [block_of(content, vectors)], contents_for(content, failures))
    with h5py.File(path) as file:
        for name in ("vectors/avg_pool", "images/frame", "samples/path", "failures/path", "pixels/16"):
            dataset = file[name]
            assert dataset.chunks[0] == 256
            assert dataset.maxshape[0] is None
            assert dataset.fletcher32
            assert dataset.compression is None
        assert h5py.check_string_dtype(file["samples/path"].dtype).encoding == "utf-8"
        assert h5py.check_string_dtype(file["samples/path"].dtype).length is not None
    with open_cache(path) as cache:
        assert cache.failures == failures


def test_a_row_that_is_there_already_is_not_written_twice(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    blocks = [block_of(content[:10], vectors[:10])] * 2
    commit(path, None, blocks, contents_for(content[:10]))
    with open_cache(path) as cache:
        assert len(cache.image_keys) == 10
        assert cache.mean_map()[1] == 10


def test_a_damaged_cache_is_not_built_upon(rows, tmp_path) -> None:
    content, vectors = rows
    path = tmp_path / "features.h5"
    commit(path, None, [block_of(content, vectors)], contents_for(content))
    with h5py.File(path, "r+") as file:
        file["vectors/avg_pool"][400, 3] += 1
    before = path.read_bytes()
    with (
        Cache(path) as old,
        pytest.raises(errors.CacheDamaged, match="block 1 of vectors/avg_pool does not match its checksum"),
    ):
        commit(path, old, [], contents_for(content))
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["features.h5"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic.replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_blocks_come_back_as_they_were_staged(rows, tmp_path) -> None:
    content, vectors = rows
    with Staging(tmp_path / "features.h5") as staging:
        staging.begin(RECIPE)
        staging.add(block_of(content[:5], vectors[:5]))
        staging.add(block_of(content[5:9], vectors[5:9]))
    assert staging.folder.is_dir()  # the blocks wait for the next run
    with Staging(tmp_path / "features.h5") as again:
        again.begin(RECIPE)
        first, second = again.blocks()
        np.testing.assert_array_equal(first.content, content[:5])
        np.testing.assert_array_equal(second.vectors["avg_pool"], vectors[5:9])
        assert second.keys[0] == key_of(content[5].tobytes(), 0, 0).rstrip(b"\0")
        again.clear()
    assert not staging.folder.exists()


def test_an_unreadable_block_is_dropped_and_the_others_are_kept(rows, tmp_path) -> None:
    content, vectors = rows
    with Staging(tmp_path / "features.h5") as staging:
        staging.begin(RECIPE)
        for start in (0, 10, 20):
            staging.add(block_of(content[start : start + 10], vectors[start : start + 10]))
        damaged = staging.folder / "block-00000001.npz"
        damaged.write_bytes(damaged.read_bytes()[:200])
        staging.begin(RECIPE)
        assert [block.content[0].tolist() for block in staging.blocks()] == [
            content[0].tolist(),
            content[20].tolist(),
        ]


def test_blocks_of_another_recipe_are_refused_by_the_field(rows, tmp_path) -> None:
    content, vectors = rows
    with Staging(tmp_path / "features.h5") as staging:
        staging.begin(RECIPE)
        staging.add(block_of(content[:5], vectors[:5]))
    with (
        Staging(tmp_path / "features.h5") as again,
        pytest.raises(errors.RecipeMismatch, match="kind differs: by hand ≠ another"),
    ):
        again.begin({"kind": "another"})


def test_blocks_know_their_recipe_even_if_its_note_is_lost(rows, tmp_path) -> None:
    content, vectors = rows
    with Staging(tmp_path / "features.h5") as staging:
        staging.begin(RECIPE)
        staging.add(block_of(content[:5], vectors[:5]))
        (staging.folder / "recipe.json").unlink()
    with (
        Staging(tmp_path / "features.h5") as again,
        pytest.raises(errors.RecipeMismatch, match="of another recipe: delete"),
    ):
        again.begin({"kind": "another"})


def test_a_second_writer_is_told_who_writes_and_since_when(tmp_path) -> None:
    path = tmp_path / "features.h5"
    code = (
        "import sys; from pathlib import Path; from icehouse.cache.staging import Staging\n"
        f"with Staging(Path({str(path)!r})): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(errors.CacheLocked, match=rf"process {other.pid} on .+ since 20"), Staging(path):
            pass
    finally:
        other.communicate("")
    with Staging(path):  # free again, and nothing is left lying about
        pass
    assert list(tmp_path.iterdir()) == []


def test_only_leftovers_of_the_same_cache_are_removed_and_nobody_elses_files(tmp_path) -> None:
    theirs = [".features.h5.new.12-0123abcd.tmp", ".x.features.h5.12-0123abcd.tmp", ".features.h5.notes.tmp"]
    for name in [*theirs, ".features.h5.12-0123abcd.tmp"]:
        (tmp_path / name).write_text("half")
    (tmp_path / "features.h5.partial").mkdir()
    (tmp_path / "features.h5.partial" / "thesis.txt").write_text("precious")
    with Staging(tmp_path / "features.h5"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*theirs, "features.h5.partial"])
    assert [path.name for path in (tmp_path / "features.h5.partial").iterdir()] == ["thesis.txt"]


def test_a_killed_writer_does_not_keep_the_cache_locked(tmp_path) -> None:
    path = tmp_path / "features.h5"
    code = (
        "import time; from pathlib import Path; from icehouse.cache.staging import Staging\n"
        f"with Staging(Path({str(path)!r})): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    other.kill()
    other.communicate()
    with Staging(path) as staging:
        assert staging.folder.is_dir()
