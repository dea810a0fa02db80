"""Promises about imports: anyone's vectors become a cache, faulty and hostile files one clear error."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from icehouse import errors, open_cache, run_rounds
from icehouse.cache.export import export
from icehouse.cache.foreign import import_vectors
from icehouse.cache.staging import Staging
from icehouse.classify import problem
from making import SELECTION, block_of

ORIGIN = "resnet50 by torchvision 0.20"
SUFFIXES = ["npz", "parquet"]
RNG = np.random.default_rng


@pytest.fixture
def vectors():
    return RNG(8).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture
def bring(tmp_path):
    """Return a function that writes arrays to an .npz file, imports it and opens the cache."""

    def run(arrays, name="theirs.npz", **options):
        file = tmp_path / name
        np.savez(file, **arrays)
        (tmp_path / "new.h5").unlink(missing_ok=True)
        import_vectors(file, tmp_path / "new.h5", **{"origin": ORIGIN, **options})
        return open_cache(tmp_path / "new.h5")

    return run


def parquet(file: Path, /, **columns) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


# The way there and back


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_exported_comes_back_the_same(suffix, make_cache, two_clouds, tmp_path) -> None:
    vectors, labels = two_clouds
    content = RNG(1).integers(0, 256, (120, 32), dtype=np.uint8)
    content[7], vectors[7] = content[3], vectors[3]
    content[9, 31] = 0
    patients = [f"p{index // 2}" for index in range(120)]
    path = make_cache(vectors, labels, patients, content=content, splits=["train"] * 90 + ["test"] * 30)
    with open_cache(path) as old:
        export(old, tmp_path / f"out.{suffix}")
        summary = import_vectors(tmp_path / f"out.{suffix}", tmp_path / "back.h5")
        assert summary == {
            "cache": str(tmp_path / "back.h5"),
            "rows": 119,
            "samples": 120,
            "dimensions": 16,
            "layer": "imported",
            "classes": {"covid": 60, "normal": 60},
            "patients": 60,
            "ignored": [],
        }
        with open_cache(tmp_path / "back.h5") as new:
            np.testing.assert_array_equal(new.X, old.X)
            assert new.samples.equals(old.samples)
            assert new.header.recipe["origin"] == f"export of icehouse cache {old.fingerprint[:12]}"
            first, second = problem.from_cache(old), problem.from_cache(new)
            np.testing.assert_array_equal(first.groups, second.groups)
            assert first.classes == second.classes


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_frames_and_own_columns_survive_the_way_there_and_back(suffix, bring, tmp_path) -> None:
    arrays = {
        "X": np.arange(12, dtype=np.float32).reshape(6, 2),
        "path": np.array(["b", "a", "b", "c", "a", "b"]),
        "frame": np.array([5, 1, 0, 0, 0, 2]),
        "content": np.array([letter * 64 for letter in "bababb"]),
        "label": np.array(list("xyxxyx")),
        "column/scanner": np.array(list("BABCAB")),
        "column/frame": np.array(list("qrqsrq")),
        "column/y": np.array(list("qrqsrq")),
        "column/imported": np.array(list("qrqsrq")),
        "column/manifest_label": np.array(list("tutvut")),
    }
    arrays["content"][[1, 4]], arrays["content"][3] = "A" * 64, "c" * 64
    with bring(arrays) as old:
        assert old.samples.path.tolist() == ["b", "a", "c"]
        assert old.X[:, 0].tolist() == [4, 10, 0, 8, 2, 6]
        assert old.samples.content[0].tobytes().hex() == "b" * 64
        export(old, tmp_path / f"out.{suffix}")
        import_vectors(tmp_path / f"out.{suffix}", tmp_path / "back.h5")
        with open_cache(tmp_path / "back.h5") as new:
            assert new.samples.equals(old.samples)
            np.testing.assert_array_equal(new.X, old.X)
            np.testing.assert_array_equal(new.image_keys, old.image_keys)


def test_rounds_run_on_an_imported_cache(two_clouds, tmp_path) -> None:
    vectors, labels = two_clouds
    np.savez(tmp_path / "theirs.npz", features=vectors.astype(np.float64), y=np.array(labels))
    import_vectors(tmp_path / "theirs.npz", tmp_path / "new.h5", origin=ORIGIN)
    document = run_rounds(tmp_path / "new.h5", heads=["svm"], rounds=2).document
    assert document["classes"] == ["covid", "normal"]
    assert document["heads"]["svm"]["accuracy"]["mean"] > 0.75


def test_the_cache_says_where_its_vectors_are_from(bring, vectors) -> None:
    with bring({"X": vectors}, layer="layer4.1") as cache:
        assert cache.header.recipe == {
            "kind": "foreign",
            "origin": ORIGIN,
            "dimensions": 4,
            "dtype": "float32",
        }
        assert cache.layers == ("layer4.1",)
        assert cache.header.complete
        assert cache.header.selection == SELECTION
        assert cache.canaries() == {}
        assert cache.pixels() is None
        assert cache.mean_map() is None
        (entry,) = cache.provenance()
        assert (entry["imported"], entry["rows"]) == ("theirs.npz", 6)
        assert str(cache.path.parent) not in json.dumps(entry)


# What vectors and what is said about them may be called


@pytest.mark.parametrize("name", ["X", "vectors", "features", "embeddings", "anything"])
def test_vectors_are_found_by_the_usual_names_or_as_the_only_table_of_floats(name, bring, vectors) -> None:
    with bring({name: vectors, "bbox": np.ones((6, 4), dtype=int)}) as cache:
        np.testing.assert_array_equal(cache.X, vectors)
        assert cache.samples.path.tolist() == [f"row {number}" for number in range(1, 7)]


def test_two_tables_of_floats_want_to_be_told_apart(bring, vectors) -> None:
    arrays = {"a": vectors, "b": vectors + 1}
    with pytest.raises(errors.UsageError, match="in a, b: say which with --column"):
        bring(arrays)
    with bring(arrays, column="b") as cache:
        np.testing.assert_array_equal(cache.X, vectors + 1)
    with pytest.raises(errors.UsageError, match=r"no array 'c'; its arrays are: a \(6, 4\) float32"):
        bring(arrays, column="c")


@pytest.mark.parametrize("kind", ["f2", "f8", ">f4", "i2", "u1", "i8", "longdouble"])
def test_vectors_of_any_number_become_float32(kind, bring) -> None:
    values = np.asfortranarray(np.arange(12).reshape(4, 3).astype(kind))
    with bring({"X": values}) as cache:
        assert cache.X.dtype == np.float32
        np.testing.assert_array_equal(cache.X, values.astype(np.float32))


def test_labels_patients_and_paths_are_found_by_the_usual_names(bring, vectors) -> None:
    arrays = {
        "X": vectors,
        "target": np.array([0, 1, 0, 1, 1, 0]),
        "class_names": np.array(["normal", "covid"]),
        "groups": np.array([7.0, 7.0, np.nan, 9.0, 9.0, 9.0]),
        "filenames": np.array([b"a", b"b", b"c", b"d", b"e", "\u00fc".encode()]),
        "split": np.array(["train"] * 5 + ["test"]),
        "age": np.array([61.5, 70, np.nan, 8, 9, 10]),
        "attention": np.ones((6, 2, 2)),
        "recipe": np.array("somebody else's"),
    }
    with bring(arrays) as cache:
        assert cache.y.tolist() == ["normal", "covid", "normal", "covid", "covid", "normal"]
        assert cache.groups.tolist() == ["7", "7", "", "9", "9", "9"]
        assert cache.samples.path.tolist() == ["a", "b", "c", "d", "e", "ü"]
        assert cache.samples.split.tolist() == ["train"] * 5 + ["test"]
        assert {name: values.tolist() for name, values in cache.samples.columns.items()} == {
            "age": ["61.5", "70.0", "", "8.0", "9.0", "10.0"]
        }


def test_integer_labels_without_names_are_called_by_their_digits(bring, vectors) -> None:
    with bring({"X": vectors, "y": np.array([0, 1, 2, 10, 1, 0])}) as cache:
        assert cache.y.tolist() == ["0", "1", "2", "10", "1", "0"]


def test_what_could_not_be_kept_is_told(vectors, tmp_path) -> None:
    np.savez(tmp_path / "theirs.npz", X=vectors, boxes=np.ones((6, 4), dtype=int), more=np.array([{}] * 6))
    summary = import_vectors(tmp_path / "theirs.npz", tmp_path / "new.h5", origin=ORIGIN)
    assert summary["ignored"] == ["boxes", "more"]


# Content and frames


def test_equal_vectors_are_one_content_and_stay_on_one_side(bring, vectors) -> None:
    vectors[4] = vectors[1]
    with bring({"X": vectors, "y": np.array(["covid", "normal"] * 3)}) as cache:
        expected = hashlib.sha256(vectors[1].astype("<f4").tobytes()).hexdigest()
        assert cache.samples.as_dict()["content"][[1, 4]].tolist() == [expected] * 2
        assert cache.rows == 5
        np.testing.assert_array_equal(cache.X, vectors)
        assert problem.from_cache(cache).groups.tolist() == [0, 1, 2, 3, 1, 4]


def test_without_content_the_frames_of_a_path_are_one_content_together(bring) -> None:
    vectors = np.array([[1, 1], [2, 2], [1, 1], [2, 2], [1, 1]], dtype=np.float32)
    arrays = {"X": vectors, "path": np.array(list("aabbc")), "frame": np.array([0, 1, 20, 30, 7])}
    with bring(arrays) as cache:
        content = cache.samples.content
        np.testing.assert_array_equal(content[0], content[1])
        assert not np.array_equal(content[0], content[2])
        assert cache.rows == 3
        np.testing.assert_array_equal(cache.X, vectors)


def test_samples_of_one_content_keep_the_frames_that_each_of_them_has(bring) -> None:
    vectors = np.arange(10, dtype=np.float32).reshape(5, 2)
    content = np.array([f"{number:064x}" for number in (1, 1, 1, 2, 1)])
    arrays = {"X": vectors, "path": np.array(list("aaabc")), "frame": [4, 0, 2, 0, 5], "content": content}
    with bring(arrays) as cache:
        assert cache.samples.frames.tolist() == [6, 1, 6]
        assert cache.samples.chosen.tolist() == ["0-4/2", "", "5"]
        assert cache.X[:, 0].tolist() == [2, 4, 0, 6, 8]
        assert cache.frame_of_row.tolist() == [0, 2, 4, 0, 5]


SHA = np.array([f"{number:064x}" for number in (1, 2, 3, 1, 5, 6)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"content": SHA}, "rows 1 and 4: they have the same content and frame, but different vectors"),
        ({"content": np.array(["abc"] * 6)}, "row 1: the content is 'abc', where a SHA-256"),
        ({"path": np.array(list("abcbef"))}, "rows 2 and 4: both have the path 'b'. Paths must be unique"),
        (
            {"path": np.array(list("abcdef")), "split": np.array(["", "a\nb"] * 3)},
            "row 2: the split holds control",
        ),
        ({"path": np.array(["a", "b", "", "d", "e", "f"])}, "row 3: the path is empty"),
        ({"path": np.array(list("aacdef")), "frame": np.array([0, 0, 0, 0, 0, 0])}, "rows 1 and 2: both have"),
        (
            {"path": np.array(list("aacdef")), "frame": np.arange(6), "label": np.array(list("xyxyxy"))},
            "rows 1 and 2: both have the path 'a', but they differ in 'label'",
        ),
        ({"frame": np.array([0, 1, -1, 3, 4, 5])}, "row 3: the frame is '-1'"),
        ({"frame": np.array([0, 1, 2**31, 3, 4, 5])}, "row 3: the frame is '2147483648'"),
        ({"label": np.array(["a", "b|c"] * 3)}, "row 2: the label 'b|c' holds several labels"),
        ({"label": np.array(["a", "b" * 5000] * 3)}, "row 2: the label is longer than 4096 bytes"),
        ({"label": np.array([0.5, 1] * 3)}, "row 1: the label is 0.5; a class has a name or a whole number"),
        ({"label": np.ones((6, 2))}, r"label has the shape \(6, 2\) .* one text or number for each of the 6"),
        ({"label": np.array(["a", None] * 3)}, r"label holds Python objects \(pickled\)"),
        ({"patient": np.array(list("abc"))}, r"patient has the shape \(3,\)"),
        (
            {"y": np.array([0, 1, 2] * 2), "classes": np.array(["a", "b"])},
            "row 3: the label is 2, .* 2 classes",
        ),
        ({"path": np.array([b"a\xff", *b"bcdef"])}, "not valid|can't decode"),
        ({f"column/{number}": SHA for number in range(257)}, "257 columns of its own; a cache holds 256"),
        ({"column/a\tb": SHA}, "the column name .* holds control characters"),
    ],
)
def test_what_contradicts_itself_or_no_cache_could_hold_is_told_with_its_rows(
    more, message, bring, vectors, tmp_path
) -> None:
    with pytest.raises(errors.SourceError, match=message):
        bring({"X": vectors, **more})
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.npz"]


# Vectors that are none


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(4), r"has the shape \(4,\), where \(vectors, dimensions\)"),
        (np.ones((2, 2, 2)), r"has the shape \(2, 2, 2\)"),
        (np.ones((2, 3, 3, 8)), "Average feature maps over height and width first"),
        (np.array(1.0), r"has the shape \(\)"),
        (np.ones((0, 4)), "holds no vectors"),
        (np.ones((4, 0)), "holds no vectors"),
        (np.array([["a", "b"]]), "values of type <U1"),
        (np.ones((2, 2), dtype=complex), "values of type complex128"),
        (np.ones((2, 2), dtype=bool), "values of type bool"),
        (np.array([[None, 1.0]]), r"Python objects \(pickled\)"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "row 2: the vector is infinite or not a number"),
        (np.array([[1.0, 2.0], [1.0, 1e300]]), "row 2: the vector is infinite or not a number"),
        (np.ones((1, 300_000), dtype=np.uint8), "vectors of 300000 numbers"),
        (np.zeros(3, dtype=[("a", "f4"), ("\u4e2d", "f4")]), "format 3|values of type"),
    ],
)
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_what_cannot_be_vectors_is_refused_with_its_shape_type_or_row(value, message, bring, tmp_path) -> None:
    with pytest.raises(errors.SourceError, match=message):
        bring({"X": value})
    np.save(tmp_path / "one.npy", value)
    with pytest.raises(errors.SourceError, match=message):
        import_vectors(tmp_path / "one.npy", tmp_path / "new.h5", origin=ORIGIN)
    assert not (tmp_path / "new.h5").exists()


def test_an_archive_without_vectors_lists_what_it_holds(bring) -> None:
    with pytest.raises(errors.SourceError, match=r"holds no vectors: .* its arrays are: y \(3,\) int64"):
        bring({"y": np.arange(3)})


# Tables


def test_a_table_says_what_an_npy_file_cannot(vectors, tmp_path) -> None:
    np.save(tmp_path / "theirs.npy", vectors)
    lines = [f"{'covid' if row % 2 else 'normal'};i/{row}.png;p{row // 2};{row / 2}" for row in range(6)]
    text = "\ufefflabel;path; patient;age\n" + "\n".join(lines)
    (tmp_path / "table.csv").write_text(text, encoding="utf-8")
    import_vectors(tmp_path / "theirs.npy", tmp_path / "new.h5", table=tmp_path / "table.csv", origin=ORIGIN)
    with open_cache(tmp_path / "new.h5") as cache:
        np.testing.assert_array_equal(cache.X, vectors)
        assert cache.y[:2].tolist() == ["normal", "covid"]
        assert cache.groups[:3].tolist() == ["p0", "p0", "p1"]
        assert cache.samples.path[5] == "i/5.png"
        assert cache.samples.columns["age"].tolist() == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]


def test_a_table_counts_more_than_the_file_of_the_vectors(bring, vectors, tmp_path) -> None:
    (tmp_path / "table.csv").write_text("label\n" + "a\nb\n" * 3)
    arrays = {"X": vectors, "y": np.array(["old"] * 6), "patient": np.array(list("112233"))}
    with bring(arrays, table=tmp_path / "table.csv") as cache:
        assert cache.y.tolist() == ["a", "b"] * 3
        assert cache.groups.tolist() == list("112233")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\na\nb\n", "holds 6 vectors and .*table.csv describes 2"),
        ("label\n", "a header and no rows"),
        ("", "is empty; a CSV file begins with"),
        ("label,\na,b\n", "column 2 has no name"),
        ("label,label\na,b\n", "the column 'label' more than once"),
        ("label,path\na\n", "line 2: 1 fields where the header has 2"),
        ('label,path\n"a"b,c\n', "line 2: not valid CSV"),
        ("label\n" + "a\nb\x1b[31m\n" * 3, "line 3: the label .* holds control characters"),
        ("label\n" + "a\n\ud800\n", "not UTF-8 text"),
    ],
)
def test_a_faulty_table_is_told_with_its_line(text, message, bring, vectors, tmp_path) -> None:
    (tmp_path / "table.csv").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(errors.SourceError, match=message):
        bring({"X": vectors}, table=tmp_path / "table.csv")


# Parquet


def lists(vectors: np.ndarray, kind=None) -> pyarrow.Array:
    return pyarrow.array(vectors.tolist(), pyarrow.list_(kind or pyarrow.float32()))


def test_parquet_vectors_are_the_only_column_of_lists_and_the_rest_is_kept(vectors, tmp_path) -> None:
    file = parquet(
        tmp_path / "theirs.parquet",
        filename=[f"{row}.png" for row in range(6)],
        label=pyarrow.array(["a", "b"] * 3).dictionary_encode(),
        patients=pyarrow.array([1, 1, None, 2**60 + 1, 2, 2]),
        when=pyarrow.array([86_400_000_000_001] * 6, pyarrow.timestamp("ns")),
        blob=[b"x"] * 6,
        box=[[{"x": 1}]] * 6,
        __index_level_0__=list(range(6)),
        **{"vector.of.it": lists(vectors, pyarrow.float64())},
    )
    summary = import_vectors(file, tmp_path / "new.h5", origin=ORIGIN)
    assert summary["ignored"] == ["blob", "box", "__index_level_0__"]
    with open_cache(tmp_path / "new.h5") as cache:
        np.testing.assert_array_equal(cache.X, vectors)
        assert cache.y.tolist() == ["a", "b"] * 3
        assert cache.groups.tolist() == ["1", "1", "", str(2**60 + 1), "2", "2"]
        assert cache.samples.path[3] == "3.png"
        assert list(cache.samples.columns) == ["when"]
        assert cache.samples.columns["when"][0].startswith("1970-01-02 00:00:00.000000001")


@pytest.mark.parametrize("prefix", ["feature_", "f", ""])
def test_parquet_vectors_may_be_numbered_columns_in_any_order(prefix, tmp_path) -> None:
    values = RNG(0).normal(size=(5, 12))
    columns = {f"{prefix}{index}": values[:, index] for index in RNG(1).permutation(12)}
    file = parquet(tmp_path / "theirs.parquet", age1=[1] * 5, age2=[2] * 5, label=list("ababa"), **columns)
    import_vectors(file, tmp_path / "new.h5", origin=ORIGIN)
    with open_cache(tmp_path / "new.h5") as cache:
        np.testing.assert_array_equal(cache.X, values.astype(np.float32))
        assert set(cache.samples.columns) == {"age1", "age2"}
    import_vectors(file, tmp_path / "ages.h5", origin=ORIGIN, column="age")
    with open_cache(tmp_path / "ages.h5") as cache:
        assert cache.X.tolist() == [[1, 2]] * 5


def test_a_parquet_file_of_many_rows_is_read_piece_by_piece(tmp_path) -> None:
    values = RNG(0).normal(size=(9000, 3)).astype(np.float32)
    import_vectors(parquet(tmp_path / "a.parquet", v=lists(values)), tmp_path / "new.h5", origin=ORIGIN)
    with open_cache(tmp_path / "new.h5") as cache:
        np.testing.assert_array_equal(cache.X, values)


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ({"v": [[1.0, 2.0], [1.0]]}, errors.SourceError, "row 2: the vector has 1 numbers where .* have 2"),
        ({"v": [[1.0, 2.0], None]}, errors.SourceError, "row 2: there is no vector"),
        ({"v": [[1.0, 2.0], [1.0, None]]}, errors.SourceError, "row 2: the vector is infinite or not"),
        ({"v": [[], []], "w": [1, 2]}, errors.SourceError, "holds no vectors"),
        ({"f0": [1.0, None], "f1": [1.0, 2.0]}, errors.SourceError, "row 2: the vector is infinite or not"),
        ({"label": ["a", "b"], "x1": [1, 2]}, errors.SourceError, "its columns are: label, x1"),
        ({"v": pyarrow.array([], pyarrow.list_(pyarrow.float32()))}, errors.SourceError, "it has no rows"),
        ({"v": [[1.0]], "w": [[2.0]]}, errors.UsageError, "in v, w: say which with --column"),
        ({"a0": [1], "a1": [1], "b0": [1], "b1": [1]}, errors.UsageError, "in a0, b0: say which"),
        ({"v": [[1.0], [2.0]], "path": ["a", "a"]}, errors.SourceError, "rows 1 and 2: both have the path"),
    ],
)
def test_a_faulty_parquet_file_is_told_with_its_row_or_columns(columns, kind, message, tmp_path) -> None:
    with pytest.raises(kind, match=message):
        import_vectors(parquet(tmp_path / "a.parquet", **columns), tmp_path / "new.h5", origin=ORIGIN)


def test_a_parquet_column_that_holds_no_vectors_is_answered_with_those_that_do(vectors, tmp_path) -> None:
    file = parquet(tmp_path / "a.parquet", v=lists(vectors), f0=[1] * 6, f1=[2] * 6, label=["a"] * 6)
    with pytest.raises(errors.UsageError, match="'label'; columns of lists, or of numbered names, are: v, f0…"):
        import_vectors(file, tmp_path / "new.h5", origin=ORIGIN, column="label")


# Wrong usage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"origin": None}, "Say with --origin which network or program"),
        ({"origin": " "}, "--origin is empty"),
        ({"origin": "a\nb"}, "--origin holds control characters"),
        ({"layer": "a/b"}, "cannot be the name of a layer"),
        ({"layer": ".."}, "cannot be the name of a layer"),
        ({"layer": ""}, "cannot be the name of a layer"),
    ],
)
def test_wrong_usage_is_told_with_what_would_be_right(options, message, bring, vectors, tmp_path) -> None:
    with pytest.raises(errors.UsageError, match=message):
        bring({"X": vectors}, **options)
    assert not (tmp_path / "new.h5").exists()


def test_an_npy_file_has_no_columns_and_another_suffix_is_unknown(vectors, tmp_path) -> None:
    np.save(tmp_path / "a.npy", vectors)
    with pytest.raises(errors.UsageError, match="leave out --column"):
        import_vectors(tmp_path / "a.npy", tmp_path / "new.h5", origin=ORIGIN, column="X")
    with pytest.raises(errors.UsageError, match=r"from \.npz, \.npy and \.parquet files only"):
        import_vectors(tmp_path / "a.csv", tmp_path / "new.h5", origin=ORIGIN)
    with pytest.raises(errors.SourceError, match="There is no file"):
        import_vectors(tmp_path / "b.npy", tmp_path / "new.h5", origin=ORIGIN)


def test_no_cache_is_overwritten_and_no_interrupted_extraction_forgotten(bring, vectors, tmp_path) -> None:
    bring({"X": vectors}).close()
    before = (tmp_path / "new.h5").read_bytes()
    with pytest.raises(errors.OutputExists, match="exists already"):
        import_vectors(tmp_path / "theirs.npz", tmp_path / "new.h5", origin=ORIGIN)
    assert (tmp_path / "new.h5").read_bytes() == before
    with Staging(tmp_path / "other.h5") as staging:
        staging.begin({"kind": "by hand"})
        staging.add(block_of(np.zeros((6, 32), dtype=np.uint8), vectors))
        with pytest.raises(errors.CacheLocked):
            import_vectors(tmp_path / "theirs.npz", tmp_path / "other.h5", origin=ORIGIN)
    with pytest.raises(errors.OutputExists, match="interrupted extraction"):
        import_vectors(tmp_path / "theirs.npz", tmp_path / "other.h5", origin=ORIGIN)
    assert len(staging.blocks()) == 1
    assert not (tmp_path / "other.h5").exists()


# Hostile and damaged files


def head_of(shape: str, kind: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": ()})
    text = stream.getvalue()[10:].replace(b"()", shape.encode())
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        head_of("(1000000000000, 2048)"),
        head_of("(1000000000000, 0)"),
        head_of("(1000000000000,)", "<U0"),
        head_of("(-1, -1)") + b"abcd",
        head_of("(1, 1)") + b"abcdefgh",
        head_of("(1, 1)", "|O") + b"cos\nsystem\n(S'false'\ntR.",
        head_of("(" * 300),
        b"\x93NUMPY\x07\x00",
        b"",
    ],
)
def test_an_array_that_claims_more_than_it_holds_takes_no_memory(content, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", content)
    (tmp_path / "a.npy").write_bytes(content)
    for name in ("a.npz", "a.npy"):
        tracemalloc.start()
        with pytest.raises(errors.SourceError, match=name):
            import_vectors(tmp_path / name, tmp_path / "new.h5", origin=ORIGIN)
        assert tracemalloc.get_traced_memory()[1] < 30e6
        tracemalloc.stop()


def test_the_head_of_an_array_is_not_unpacked_at_whatever_length_it_announces(tmp_path) -> None:
    length = 100_000_000
    content = b"\x93NUMPY\x02\x00" + length.to_bytes(4, "little") + bytes(length)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("X.npy", content)
    del content
    tracemalloc.start()
    with pytest.raises(errors.SourceError, match=r"a\.npz: X is damaged: .* a length of 100000000 bytes"):
        import_vectors(tmp_path / "a.npz", tmp_path / "new.h5", origin=ORIGIN)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


@pytest.mark.parametrize("honest", [True, False])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(honest, tmp_path) -> None:
    size = 300_000_000
    head = head_of(f"({size // 4000}, 1000)")
    packing = {"compression": zipfile.ZIP_DEFLATED, "compresslevel": 1}
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", **packing) as archive,
        archive.open("X.npy", "w") as stream,
    ):
        stream.write(head)
        for _ in range(300 if honest else 1):
            stream.write(bytes(size // 300))
    if not honest:
        content = bytearray((tmp_path / "bomb.npz").read_bytes())
        claimed = content.rindex(b"PK\x01\x02") + 24
        content[claimed : claimed + 4] = (len(head) + size).to_bytes(4, "little")
        (tmp_path / "bomb.npz").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(errors.SourceError, match="would unpack to 300 MB"):
        import_vectors(tmp_path / "bomb.npz", tmp_path / "new.h5", origin=ORIGIN)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_what_compresses_well_and_is_small_is_read(tmp_path) -> None:
    np.savez_compressed(tmp_path / "a.npz", X=np.zeros((2000, 500), dtype=np.float32))
    assert import_vectors(tmp_path / "a.npz", tmp_path / "new.h5", origin=ORIGIN)["rows"] == 1


def test_a_parquet_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path) -> None:
    table = pyarrow.table({"v": [[1.0, 2.0]] * 2, "blob": [b"", bytes(270_000_000)]})
    options = {"compression": "brotli", "use_dictionary": False, "write_statistics": False}
    pyarrow.parquet.write_table(table, tmp_path / "bomb.parquet", **options)
    del table
    with pytest.raises(errors.SourceError, match="would unpack to"):
        import_vectors(tmp_path / "bomb.parquet", tmp_path / "new.h5", origin=ORIGIN)


def test_names_in_a_file_cannot_write_to_the_terminal(bring, vectors) -> None:
    with pytest.raises(errors.SourceError) as told:
        bring({"a\x1b[2Jb": np.arange(6)})
    assert "a [2Jb (6,) int64" in str(told.value)
    with pytest.raises(errors.SourceError, match=r"the column name .* holds control characters"):
        bring({"X": vectors, "a\x1b[2Jb": np.arange(6)})


def whole_files(folder: Path) -> list[Path]:
    vectors = RNG(8).normal(size=(40, 4)).astype(np.float32)
    labels, paths = np.array(["a", "bc"] * 20), np.array([f"i/{row}.png" for row in range(40)])
    np.savez(folder / "plain.npz", X=vectors, y=labels, path=paths)
    np.savez_compressed(folder / "packed.npz", X=vectors, y=labels, path=paths)
    np.save(folder / "one.npy", vectors)
    parquet(folder / "some.parquet", v=lists(vectors), label=labels, path=paths)
    return [*sorted(folder.glob("*.np?")), folder / "some.parquet"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_altered_bit_in_the_vectors_of_an_export_is_noticed(
    suffix, make_cache, two_clouds, tmp_path
) -> None:
    with open_cache(make_cache(*two_clouds)) as cache:
        file = tmp_path / f"out.{suffix}"
        export(cache, file)
        whole = bytearray(file.read_bytes())
        whole[whole.index(cache.X[40].tobytes()) + 3] ^= 1
    file.write_bytes(whole)
    with pytest.raises(errors.SourceError, match=r"damaged or not what its suffix says .*(CRC|checksum)"):
        import_vectors(file, tmp_path / "back.h5")


@pytest.mark.parametrize("number", range(4))
def test_a_damaged_file_gives_an_error_of_ours_or_a_cache_that_can_be_read(number, tmp_path) -> None:
    file = whole_files(tmp_path)[number]
    whole = file.read_bytes()
    generator = RNG([4, number])
    refusals = []
    for place in generator.integers(0, len(whole), 30):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(generator.integers(8))
        noise = generator.bytes(len(whole))
        for content in (whole[:place], bytes(flipped), noise[:place] + whole[place:]):
            file.write_bytes(content)
            cache = tmp_path / "new.h5"
            cache.unlink(missing_ok=True)
            try:
                import_vectors(file, cache, origin=ORIGIN)
            except errors.IcehouseError as error:
                refusals.append(str(error))
            else:
                with open_cache(cache) as opened:
                    assert opened.X.shape[1] == 4
                continue
            assert not cache.exists()
    assert len(refusals) >= 30
    assert all(file.name in refusal for refusal in refusals)
