"""Promises about exports: rows as in the cache, readable without icehouse, whole or not there at all."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from icehouse import errors, open_cache
from icehouse.cache.export import export
from icehouse.cache.rows import ArrayRows, Order
from icehouse.cache.samples import Samples
from icehouse.cache.writing import Contents, write
from making import SELECTION, samples_of


@pytest.fixture
def cache_path(make_cache, two_clouds):
    vectors, labels = two_clouds
    patients = [f"p{index // 2}" for index in range(len(labels))]
    return make_cache(vectors, labels, patients, splits=["train"] * 90 + ["test"] * 30)


def written(path: Path, samples: Samples, vectors: np.ndarray, images: list[tuple[int, int, int]]) -> Path:
    """Write a cache whose image rows are (sample, frame, view), in this order."""
    sample, frame, view = (np.array(column) for column in zip(*images, strict=True))
    arrays = {
        "vectors/avg_pool": vectors,
        "vectors/mixed7": (10 * vectors).astype(np.float16),
        "images/content": samples.content[sample],
        "images/frame": frame.astype(np.int32),
        "images/view": view.astype(np.int16),
    }
    contents = Contents({"kind": "by hand"}, ("avg_pool", "mixed7"), SELECTION, samples, [], [{"time": "now"}])
    write(
        path, contents, [ArrayRows(arrays)], Order(np.zeros(len(frame), dtype=np.intp), np.arange(len(frame)))
    )
    return path


@pytest.fixture
def frames_path(tmp_path):
    """Return a cache of samples of 3, no (failed), 2 and 1 frames; its rows lie in disorder."""
    content = np.random.default_rng(2).integers(0, 256, (4, 32), dtype=np.uint8)
    samples = samples_of(content, list("abab"), states=["done", "failed", "done", "done"], frames=[3, 0, 2, 1])
    columns = {"scanner": np.array(["A", "B", "C", "Ü"]), "frame": np.array(["w", "x", "y", "z"])}
    columns |= {"manifest_frame": np.array(list("1234")), "avg_pool": np.array(list("5678"))}
    samples = replace(samples, columns=columns)
    images = [(3, 0, 0), (2, 1, 0), (0, 2, 0), (0, 0, 0), (2, 1, 1), (0, 1, 0), (2, 0, 0)]
    return written(tmp_path / "frames.h5", samples, np.arange(14, dtype=np.float32).reshape(7, 2), images)


def test_numpy_alone_reads_the_vectors_and_what_is_said_about_them(cache_path, tmp_path) -> None:
    with open_cache(cache_path) as cache:
        summary = export(cache, tmp_path / "out.npz")
        assert summary == {
            "output": str(tmp_path / "out.npz"),
            "rows": 120,
            "dimensions": 16,
            "layer": "avg_pool",
            "left_out": 0,
        }
        with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
            assert file["X"].dtype == np.float32
            np.testing.assert_array_equal(file["X"], cache.X)
            assert file["y"].tolist() == cache.y.tolist()
            assert file["patient"].tolist() == cache.groups.tolist()
            assert file["path"].tolist() == cache.samples.path.tolist()
            assert file["split"].tolist() == cache.samples.split.tolist()
            assert file["content"].tolist() == cache.samples.as_dict()["content"].tolist()
            assert file["frame"].dtype == np.int32
            assert json.loads(str(file["recipe"])) == {"kind": "by hand"}
            assert str(file["fingerprint"]) == cache.fingerprint
            assert str(file["layer"]) == "avg_pool"


def test_pyarrow_alone_reads_the_vectors_and_what_is_said_about_them(cache_path, tmp_path) -> None:
    with open_cache(cache_path) as cache:
        export(cache, tmp_path / "out.parquet")
        table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
        assert table.column_names == ["path", "label", "patient", "split", "content", "frame", "avg_pool"]
        assert table.schema.field("avg_pool").type == pyarrow.list_(pyarrow.float32(), 16)
        np.testing.assert_array_equal(np.array(table["avg_pool"].to_pylist(), dtype=np.float32), cache.X)
        assert table["label"].to_pylist() == cache.y.tolist()
        assert table["patient"].to_pylist() == cache.groups.tolist()
        assert table["content"].to_pylist() == cache.samples.as_dict()["content"].tolist()
        assert table.schema.metadata[b"icehouse.fingerprint"].decode() == cache.fingerprint
        assert json.loads(table.schema.metadata[b"icehouse.recipe"]) == {"kind": "by hand"}
        assert table.schema.metadata[b"icehouse.layer"] == b"avg_pool"


def test_every_frame_of_every_finished_sample_has_a_row_and_its_number(frames_path, tmp_path) -> None:
    with open_cache(frames_path) as cache:
        assert export(cache, tmp_path / "out.npz")["left_out"] == 1
        with np.load(tmp_path / "out.npz") as file:
            np.testing.assert_array_equal(file["X"], cache.X)
            assert file["X"][:, 0].tolist() == [6, 10, 4, 12, 2, 0]
            assert file["path"].tolist() == ["0.png"] * 3 + ["2.png"] * 2 + ["3.png"]
            assert file["frame"].tolist() == [0, 1, 2, 0, 1, 0]
            assert file["column/scanner"].tolist() == ["A", "A", "A", "C", "C", "Ü"]


def test_another_layer_is_written_when_asked_for_as_float32(frames_path, tmp_path) -> None:
    with open_cache(frames_path) as cache:
        for name in ("out.npz", "out.parquet"):
            assert export(cache, tmp_path / name, layer="mixed7")["layer"] == "mixed7"
        with np.load(tmp_path / "out.npz") as file:
            assert file["X"].dtype == np.float32
            np.testing.assert_array_equal(file["X"], cache.vectors("mixed7"))
            assert str(file["fingerprint"]) == cache.header.fingerprints["mixed7"]
        with pytest.raises(errors.UsageError, match="it has avg_pool, mixed7"):
            export(cache, tmp_path / "other.npz", layer="mixed8")


def test_own_columns_called_like_ours_get_a_prefix_and_none_is_lost(frames_path, tmp_path) -> None:
    with open_cache(frames_path) as cache:
        export(cache, tmp_path / "out.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table["scanner"].to_pylist() == ["A", "A", "A", "C", "C", "Ü"]
    assert table["manifest_frame"].to_pylist() == ["w", "w", "w", "y", "y", "z"]
    assert table["manifest_manifest_frame"].to_pylist() == ["1", "1", "1", "3", "3", "4"]
    assert table["manifest_avg_pool"].to_pylist() == ["5", "5", "5", "7", "7", "8"]


def test_other_samples_can_be_written_in_place_of_the_caches_own(frames_path, tmp_path) -> None:
    with open_cache(frames_path) as cache:
        hidden = replace(
            cache.samples,
            path=np.array(["h0", "h1", "h2", "h3"]),
            content=np.arange(128, dtype=np.uint8).reshape(4, 32),
            columns={},
        )
        export(cache, tmp_path / "out.npz", samples=hidden)
        with np.load(tmp_path / "out.npz") as file:
            assert file["path"].tolist() == ["h0"] * 3 + ["h2"] * 2 + ["h3"]
            assert file["content"][3] == hidden.content[2].tobytes().hex()
            assert file["frame"].tolist() == [0, 1, 2, 0, 1, 0]
            np.testing.assert_array_equal(file["X"], cache.X)
            assert "column/scanner" not in file.files


def test_a_large_parquet_file_has_several_row_groups(make_cache, tmp_path) -> None:
    vectors = np.random.default_rng(0).normal(size=(4000, 2048)).astype(np.float32)
    content = np.random.default_rng(1).integers(0, 256, (4000, 32), dtype=np.uint8)
    path = make_cache(vectors, ["a", "b"] * 2000, content=content)
    with open_cache(path) as cache:
        export(cache, tmp_path / "out.parquet")
    file = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet")
    assert file.num_row_groups == 2
    read = file.read()["avg_pool"].combine_chunks().flatten().to_numpy().reshape(4000, 2048)
    np.testing.assert_array_equal(read, vectors)


@pytest.mark.parametrize("name", ["out.npz", "out.parquet"])
def test_nothing_is_overwritten(name, cache_path, tmp_path) -> None:
    (tmp_path / name).write_text("mine")
    with open_cache(cache_path) as cache, pytest.raises(FileExistsError, match="name another file"):
        export(cache, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_an_unknown_suffix_is_answered_with_the_two_known_ones(cache_path, tmp_path) -> None:
    with open_cache(cache_path) as cache, pytest.raises(errors.UsageError, match=r"\.npz or \.parquet"):
        export(cache, tmp_path / "out.csv")


def test_a_folder_that_is_not_there_is_named(cache_path, tmp_path) -> None:
    with open_cache(cache_path) as cache, pytest.raises(errors.CacheError, match="There is no folder"):
        export(cache, tmp_path / "none" / "out.npz")


def test_a_cache_without_finished_samples_says_so(make_cache, two_clouds, tmp_path) -> None:
    path = make_cache(*two_clouds, states=["pending"] * 119 + ["failed"])
    with open_cache(path) as cache, pytest.raises(errors.CacheIncomplete, match="no finished samples"):
        export(cache, tmp_path / "out.npz")


@pytest.mark.parametrize("limit", [10, 4000, 14000])
@pytest.mark.parametrize("name", ["out.npz", "out.parquet"])
def test_where_the_file_does_not_fit_nothing_is_left(name, limit, cache_path, tmp_path) -> None:
    code = (
        "import resource, sys, signal; from pathlib import Path\n"
        "import icehouse; from icehouse.cache.export import export\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
        "try: export(icehouse.open_cache(sys.argv[1]), Path(sys.argv[2]))\n"
        "except icehouse.errors.DiskFull: print('told')"
    )
    before = sorted(tmp_path.iterdir())
    run = subprocess.run(
        [sys.executable, "-c", code, cache_path, tmp_path / name], capture_output=True, text=True, check=True
    )
    assert run.stdout == "told\n"
    assert run.stderr == ""
    assert sorted(tmp_path.iterdir()) == before


def run_without(module: str, code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code where `module` cannot be imported."""
    hide = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(name, path=None, target=None):\n"
        f"        if name == {module!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", hide + code, *arguments], capture_output=True, text=True, check=False
    )


def test_parquet_needs_no_pandas(cache_path, tmp_path) -> None:
    code = (
        "from pathlib import Path; import icehouse\n"
        "from icehouse.cache.export import export; from icehouse.cache.foreign import import_vectors\n"
        "export(icehouse.open_cache(sys.argv[1]), Path(sys.argv[2]))\n"
        "print(import_vectors(Path(sys.argv[2]), Path(sys.argv[3]))['rows'])"
    )
    run = run_without("pandas", code, cache_path, tmp_path / "out.parquet", tmp_path / "back.h5")
    assert (run.stdout, run.stderr) == ("120\n", "")


def test_without_pyarrow_one_is_told_what_to_install_and_npz_works(cache_path, tmp_path) -> None:
    code = (
        "from pathlib import Path; import icehouse; from icehouse.cache.export import export\n"
        "cache, folder = icehouse.open_cache(sys.argv[1]), Path(sys.argv[2])\n"
        "print(export(cache, folder / 'out.npz')['rows'])\n"
        "try: export(cache, folder / 'out.parquet')\n"
        "except icehouse.errors.MissingDependency as error: print(error)"
    )
    run = run_without("pyarrow", code, cache_path, tmp_path)
    assert run.stderr == ""
    assert run.stdout.startswith("120\n")
    assert "pip install 'icehouse[parquet]'" in run.stdout
