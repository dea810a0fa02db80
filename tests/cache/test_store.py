"""Promises about reading: what a cache gives, and what is refused."""

from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from icehouse import errors, open_cache


@pytest.fixture
def cache_path(make_cache, two_clouds):
    vectors, labels = two_clouds
    return make_cache(vectors, labels, [f"p{index // 2}" for index in range(len(labels))])


def test_a_cache_gives_vectors_labels_and_patients_in_the_order_of_its_samples(cache_path, two_clouds) -> None:
    vectors, labels = two_clouds
    with open_cache(cache_path) as cache:
        np.testing.assert_array_equal(cache.X, vectors)
        assert cache.y.tolist() == labels
        assert cache.groups is not None
        assert cache.groups[:3].tolist() == ["p0", "p0", "p1"]
        assert cache.dimensions == {"avg_pool": 16}
        assert cache.header.complete


def test_two_samples_of_one_image_share_its_vector(make_cache) -> None:
    content = np.zeros((3, 32), dtype=np.uint8)
    content[2] = 1
    path = make_cache(np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]), ["a", "b", "b"], content=content)
    with open_cache(path) as cache:
        assert len(cache.image_keys) == 2
        assert cache.X.tolist() == [[1, 2], [1, 2], [3, 4]]
        assert cache.y.tolist() == ["a", "b", "b"]


def test_samples_that_are_not_done_have_no_row(make_cache, two_clouds) -> None:
    vectors, labels = two_clouds
    states = ["failed", "pending", *["done"] * 118]
    with open_cache(make_cache(vectors, labels, states=states)) as cache:
        assert cache.X.shape == (118, 16)
        assert not cache.header.complete
        np.testing.assert_array_equal(cache.X, vectors[2:])


def test_a_cache_without_patients_says_none(make_cache, two_clouds) -> None:
    with open_cache(make_cache(*two_clouds)) as cache:
        assert cache.groups is None


def test_the_samples_become_a_table_of_plain_columns(cache_path) -> None:
    with open_cache(cache_path) as cache:
        table = cache.samples.as_dict()
    assert {"path", "label", "patient", "state", "content", "width"} <= set(table)
    assert {len(column) for column in table.values()} == {120}


def test_an_open_cache_goes_on_reading_what_it_opened_while_the_file_is_replaced(
    cache_path, make_cache, two_clouds
) -> None:
    vectors, labels = two_clouds
    with open_cache(cache_path) as cache:
        make_cache(vectors + 1, labels)
        np.testing.assert_array_equal(cache.X, vectors)
    with open_cache(cache_path) as cache:
        np.testing.assert_array_equal(cache.X, vectors + 1)


def test_an_unknown_layer_is_named_with_the_known_ones(cache_path) -> None:
    with open_cache(cache_path) as cache, pytest.raises(errors.UsageError, match="it has avg_pool"):
        cache.vectors("mixed7")


def test_a_missing_file_is_told_with_the_command_that_makes_one(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="icehouse extract DATA"):
        open_cache(tmp_path / "none.h5")


def test_a_text_file_is_not_a_cache(tmp_path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(errors.CacheDamaged, match="not an HDF5 file"):
        open_cache(tmp_path / "text.h5")


def test_an_hdf5_file_of_something_else_is_not_a_cache(tmp_path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = 1
    with pytest.raises(errors.CacheDamaged, match="not an icehouse cache"):
        open_cache(tmp_path / "other.h5")


def test_a_truncated_file_is_refused(cache_path) -> None:
    content = cache_path.read_bytes()
    cache_path.write_bytes(content[: len(content) // 2])
    with pytest.raises(errors.CacheDamaged, match="truncated"):
        open_cache(cache_path)


def test_five_lines_of_h5py_read_a_cache(cache_path) -> None:
    with h5py.File(cache_path) as file:
        row_of = {content.tobytes(): row for row, content in enumerate(file["images/content"][()])}
        rows = [row_of[content.tobytes()] for content in file["samples/content"][()]]
        X, y = file["vectors/avg_pool"][()][rows], file["samples/label"].asstr()[()]
    assert X.shape == (120, 16)
    assert set(y) == {"normal", "covid"}


def test_readers_need_no_write_permission_to_the_folder(cache_path, tmp_path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    shutil.copy(cache_path, folder / "copy.h5")
    folder.chmod(0o555)
    try:
        with open_cache(folder / "copy.h5") as cache:
            assert len(cache.y) == 120
        assert [path.name for path in folder.iterdir()] == ["copy.h5"]
    finally:
        folder.chmod(0o755)
