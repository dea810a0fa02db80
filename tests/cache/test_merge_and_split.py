"""Promises about caches put together and taken apart: nothing is lost, no contradiction passes unseen."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from icehouse import errors
from icehouse.cache.commit import commit
from icehouse.cache.info import compare, describe
from icehouse.cache.keys import as_bytes
from icehouse.cache.merge import merge
from icehouse.cache.samples import Failure, Samples
from icehouse.cache.split import split
from icehouse.cache.staging import Staging
from icehouse.cache.store import Cache
from icehouse.cache.verify import verify
from icehouse.cache.writing import Contents
from making import SELECTION, block_of, samples_of

GENERATOR = np.random.default_rng(4)
CONTENT = GENERATOR.integers(0, 256, (900, 32), dtype=np.uint8)
VECTORS = GENERATOR.normal(size=(900, 12)).astype(np.float32)


def make(file: Path, rows: range, *, recipe: dict | None = None, **changes: list[str]) -> Path:
    """Write a cache of some of the images; `changes` are columns of the samples table."""
    content, vectors = CONTENT[rows.start : rows.stop], VECTORS[rows.start : rows.stop]
    samples = samples_of(content, ["covid" if row % 2 else "normal" for row in rows])
    fields = {**vars(samples), "path": np.array([f"{row}.png" for row in rows])}
    fields.update({name: np.array(values) for name, values in changes.items()})
    contents = Contents(
        recipe or {"kind": "by hand"},
        ("avg_pool",),
        SELECTION,
        Samples(**fields),
        [],
        [{"time": f"2026-01-0{1 + rows.start % 9}"}],
    )
    commit(file, None, [block_of(content, vectors)], contents)
    return file


def vectors_by_path(path: Path) -> dict[str, bytes]:
    with Cache(path) as cache:
        paths = cache.samples.path[cache.sample_of_row].tolist()
        return {name: row.tobytes() for name, row in zip(paths, cache.X, strict=True)}


@pytest.fixture
def halves(tmp_path) -> tuple[Path, Path]:
    """Return two caches that share a hundred images."""
    return make(tmp_path / "a.h5", range(500)), make(tmp_path / "b.h5", range(400, 900))


def test_merged_caches_hold_every_image_once_and_all_samples(halves, tmp_path) -> None:
    result = merge(halves, tmp_path / "all.h5")
    assert (result["rows"], result["samples"], result["kept_once"]) == (900, 900, 100)
    with Cache(tmp_path / "all.h5") as cache:
        assert verify(cache).intact
        np.testing.assert_array_equal(cache.X, VECTORS)
        assert cache.samples.path.tolist() == [f"{row}.png" for row in range(900)]
        assert cache.header.complete
        assert [entry.get("merged") for entry in cache.provenance()][-1] == ["a.h5", "b.h5"]


def test_the_mean_map_counts_no_image_twice(halves, tmp_path) -> None:
    merge(halves, tmp_path / "shared.h5")
    with Cache(tmp_path / "shared.h5") as cache:
        assert (
            cache.mean_map()[1] == 500
        )  # b shares images with a, so that only a's maps are known to be single
    c = make(tmp_path / "c.h5", range(500, 900))
    merge([halves[0], c], tmp_path / "apart.h5")
    with Cache(tmp_path / "apart.h5") as cache:
        assert cache.mean_map()[1] == 900


def test_spare_vectors_survive_merging(halves, tmp_path) -> None:
    with Cache(halves[0]) as old:
        kept = {name: value[:450] for name, value in vars(old.samples).items() if name != "columns"}
        contents = Contents(old.header.recipe, old.layers, old.header.selection, Samples(**kept), [], [{}])
        commit(halves[0], old, [], contents)
    c = make(tmp_path / "c.h5", range(600, 700))
    assert merge([halves[0], c], tmp_path / "all.h5")["rows"] == 600


def test_caches_of_two_recipes_are_not_merged_and_the_field_is_named(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(10), recipe={"kind": "by hand", "weights": "random:1"})
    b = make(tmp_path / "b.h5", range(10, 20), recipe={"kind": "by hand", "weights": "random:2"})
    with pytest.raises(errors.RecipeMismatch, match="weights differs: random:1 ≠ random:2"):
        merge([a, b], tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()
    assert not (tmp_path / "all.h5.partial").exists()


def test_caches_whose_canaries_differ_are_not_merged_unless_told(halves, tmp_path) -> None:
    with h5py.File(halves[1], "r+") as file:
        file["canary/avg_pool"][...] *= 1.02
    with pytest.raises(errors.CanaryDrift, match=r"b\.h5 computes vectors 2\.0e-02"):
        merge(halves, tmp_path / "all.h5")
    assert merge(halves, tmp_path / "all.h5", accept_drift=True)["rows"] == 900


@pytest.mark.parametrize("field", ["label", "patient", "split"])
def test_conflicts_are_listed_and_refused_until_it_is_said_who_is_right(tmp_path, field) -> None:
    a = make(tmp_path / "a.h5", range(10), **{field: ["this"] * 10})
    b = make(tmp_path / "b.h5", range(8, 18), **{field: ["that"] * 10})
    with pytest.raises(
        errors.MergeConflict, match=rf"2 images: 8\.png: {field} this \(a\.h5\) ≠ that \(b\.h5\); 9\.png"
    ):
        merge([a, b], tmp_path / "all.h5")
    assert merge([a, b], tmp_path / "all.h5", prefer=b)["resolved"] == 2
    with Cache(tmp_path / "all.h5") as cache:
        assert getattr(cache.samples, field).tolist() == ["this"] * 8 + ["that"] * 10


def test_what_only_one_cache_knows_is_kept(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(10), patient=[""] * 10)
    b = make(tmp_path / "b.h5", range(5, 15), patient=[f"p{row}" for row in range(10)])
    assert merge([a, b], tmp_path / "all.h5")["resolved"] == 0
    with Cache(tmp_path / "all.h5") as cache:
        assert cache.samples.patient.tolist() == [""] * 5 + [f"p{row}" for row in range(10)]


def test_two_images_of_one_name_are_told_apart_by_the_name_of_their_cache(tmp_path) -> None:
    names = [f"{row}.png" for row in range(10)]
    a = make(tmp_path / "a.h5", range(10), path=names)
    b = make(tmp_path / "b.h5", range(10, 20), path=names)
    with pytest.raises(errors.MergeConflict, match=r"10 different images the same, such as 0\.png.*--prefix"):
        merge([a, b], tmp_path / "all.h5")
    merge([a, b], tmp_path / "all.h5", prefix=True)
    with Cache(tmp_path / "all.h5") as cache:
        assert cache.samples.path[[0, 10]].tolist() == ["a/0.png", "b/0.png"]
        np.testing.assert_array_equal(cache.X, VECTORS[:20])


def test_a_sample_that_one_cache_lacks_is_taken_from_the_one_that_has_it(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(10))
    with Cache(a) as old:
        content = old.samples.content.copy()
        content[3] = 0
        state = np.array(["done"] * 3 + ["failed"] + ["done"] * 6)
        samples = Samples(**{**vars(old.samples), "content": content, "state": state})
        failure = [Failure("3.png", "read", "no such file")]
        contents = Contents(old.header.recipe, old.layers, old.header.selection, samples, failure, [{}])
        commit(a, old, [], contents)
    b = make(tmp_path / "b.h5", range(3, 5))
    merge([a, b], tmp_path / "all.h5")
    with Cache(tmp_path / "all.h5") as cache:
        assert set(cache.samples.state) == {"done"}
        assert cache.failures == []
    c = make(tmp_path / "c.h5", range(20, 25))
    merge([a, c], tmp_path / "other.h5")
    with Cache(tmp_path / "other.h5") as cache:
        assert cache.failures == failure


def test_columns_of_either_cache_are_kept(tmp_path) -> None:
    a, b = make(tmp_path / "a.h5", range(5)), make(tmp_path / "b.h5", range(5, 10))
    for path, name in ((a, "scanner"), (b, "view")):
        with Cache(path) as old:
            old.samples.columns[name] = np.full(5, name.upper())
            contents = Contents(old.header.recipe, old.layers, old.header.selection, old.samples, [], [{}])
            commit(path, old, [], contents)
    merge([a, b], tmp_path / "all.h5")
    with Cache(tmp_path / "all.h5") as cache:
        assert cache.samples.columns["scanner"].tolist() == ["SCANNER"] * 5 + [""] * 5
        assert cache.samples.columns["view"].tolist() == [""] * 5 + ["VIEW"] * 5


def test_what_only_one_cache_says_of_an_image_is_kept_in_columns_too_and_conflicts_are_refused(
    tmp_path,
) -> None:
    a, b = make(tmp_path / "a.h5", range(5)), make(tmp_path / "b.h5", range(5))

    def give(path: Path, **columns: str) -> None:
        with Cache(path) as old:
            samples = Samples(
                **{**vars(old.samples), "columns": {n: np.full(5, v) for n, v in columns.items()}}
            )
            contents = Contents(old.header.recipe, old.layers, old.header.selection, samples, [], [{}])
            commit(path, old, [], contents)

    give(a, age="40")
    give(b, sex="f")
    merge([a, b], tmp_path / "all.h5")
    with Cache(tmp_path / "all.h5") as cache:
        assert [set(values) for values in cache.samples.columns.values()] == [{"40"}, {"f"}]
    give(b, age="50")
    with pytest.raises(errors.MergeConflict, match=r"5 images: 0\.png: age 40 \(a\.h5\) ≠ 50 \(b\.h5\)"):
        merge([a, b], tmp_path / "other.h5")


def test_canaries_are_compared_even_if_the_first_cache_has_none(halves, tmp_path) -> None:
    c = make(tmp_path / "c.h5", range(20))
    with h5py.File(c, "r+") as file:
        del file["canary"], file["checksums/canary"]
    with h5py.File(halves[1], "r+") as file:
        file["canary/avg_pool"][...] *= 1.02
    with pytest.raises(errors.CanaryDrift, match=r"b\.h5 computes .* from those in .*a\.h5"):
        merge([c, *halves], tmp_path / "all.h5")


def test_vectors_of_different_length_are_not_merged(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(5))
    content = np.random.default_rng(1).integers(0, 256, (5, 32), dtype=np.uint8)
    contents = Contents(
        {"kind": "by hand"},
        ("avg_pool",),
        SELECTION,
        samples_of(content, ["a"] * 5),
        [],
        [{}],
    )
    commit(tmp_path / "b.h5", None, [block_of(content, np.ones((5, 7)))], contents)
    with pytest.raises(errors.RecipeMismatch, match=r"dimensions\.avg_pool differs: 12 ≠ 7"):
        merge([a, tmp_path / "b.h5"], tmp_path / "all.h5")


def test_a_new_cache_is_not_put_where_an_interrupted_extraction_waits(halves, tmp_path) -> None:
    with Staging(tmp_path / "all.h5") as staging:
        staging.begin({"kind": "by hand"})
        staging.add(block_of(CONTENT[:5], VECTORS[:5]))
    with pytest.raises(errors.OutputExists, match=r"interrupted extraction to .*all\.h5 waits in"):
        merge(halves, tmp_path / "all.h5")


def test_samples_far_out_of_order_cost_no_more_reading_and_find_their_vectors(tmp_path) -> None:
    caches = []
    for name, rows in (("a", range(400)), ("b", range(400, 900))):
        path = make(tmp_path / f"{name}.h5", rows)
        with Cache(path) as old:
            order = np.random.default_rng(3).permutation(len(rows))
            shuffled = {n: values[order] for n, values in vars(old.samples).items() if n != "columns"}
            contents = Contents(
                old.header.recipe, old.layers, old.header.selection, Samples(**shuffled), [], [{}]
            )
            commit(path, old, [], contents)
        caches.append(path)
    merge(caches, tmp_path / "all.h5")
    with Cache(tmp_path / "all.h5") as cache:
        np.testing.assert_array_equal(cache.read("vectors/avg_pool"), VECTORS)
        for path, vector in zip(cache.samples.path, cache.X, strict=True):
            np.testing.assert_array_equal(vector, VECTORS[int(path.removesuffix(".png"))])


def test_wrong_requests_to_merge_are_refused(halves, tmp_path) -> None:
    with pytest.raises(errors.UsageError, match="two caches or more"):
        merge([halves[0], halves[0]], tmp_path / "all.h5")
    with pytest.raises(errors.UsageError, match="none of the caches"):
        merge(halves, tmp_path / "all.h5", prefer=tmp_path / "c.h5")
    with pytest.raises(errors.OutputExists):
        merge(halves, halves[0])


@pytest.mark.parametrize("part", ["a.h5", "b.h5"])
def test_a_damaged_cache_is_not_merged(halves, tmp_path, part) -> None:
    with h5py.File(tmp_path / part, "r+") as file:
        file["vectors/avg_pool"][300, 3] += 1
    with pytest.raises(errors.CacheDamaged, match=rf"{part}: block 1 of vectors/avg_pool"):
        merge(halves, tmp_path / "all.h5")
    assert not (tmp_path / "all.h5").exists()


def test_parts_by_a_column_hold_every_sample_with_its_vector(halves, tmp_path) -> None:
    result = split(halves[0], tmp_path / "parts", by="label")
    assert [(part["value"], part["samples"], part["rows"]) for part in result["parts"]] == [
        ("covid", 250, 250),
        ("normal", 250, 250),
    ]
    parts = {}
    for part in result["parts"]:
        parts.update(vectors_by_path(Path(part["cache"])))
        with Cache(part["cache"]) as cache:
            assert verify(cache).intact
            assert set(cache.y) == {part["value"]}
    assert parts == vectors_by_path(halves[0])
    merge([Path(part["cache"]) for part in result["parts"]], tmp_path / "again.h5")
    assert vectors_by_path(tmp_path / "again.h5") == parts


def test_a_class_or_a_list_of_patients_is_split_from_the_rest(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(10), patient=[f"p{row // 2}" for row in range(10)])
    assert [part["samples"] for part in split(a, tmp_path / "one", label="covid")["parts"]] == [5, 5]
    (tmp_path / "patients.txt").write_text("p1\np3\n")
    (tmp_path / "patients.csv").write_text("patient,age\np1,50\np3,60\n")
    for name in ("patients.txt", "patients.csv"):
        result = split(a, tmp_path / name[-3:], patients=tmp_path / name)
        assert [(part["value"], part["samples"]) for part in result["parts"]] == [("listed", 4), ("rest", 6)]
        with Cache(result["parts"][0]["cache"]) as cache:
            assert set(cache.samples.patient) == {"p1", "p3"}


def test_parts_whose_names_would_be_alike_are_all_written(tmp_path) -> None:
    labels = ["a b", "a_b", "a_b-2", "A_B", "unknown", ""]
    a = make(tmp_path / "a.h5", range(6), label=labels)
    result = split(a, tmp_path / "parts", by="label")
    assert len({part["cache"].casefold() for part in result["parts"]}) == 6
    assert sum(part["samples"] for part in result["parts"]) == 6
    assert all(Path(part["cache"]).exists() for part in result["parts"])
    one, other = split(
        make(tmp_path / "b.h5", range(4), label=["rest", "x"] * 2), tmp_path / "two", label="rest"
    )["parts"]
    assert (one["samples"], other["samples"]) == (2, 2)


def test_a_part_keeps_no_mean_map_that_would_betray_the_others(halves, tmp_path) -> None:
    for part in split(halves[0], tmp_path / "parts", by="label")["parts"]:
        with Cache(part["cache"]) as cache:
            assert cache.mean_map() is None
            assert cache.map_sum() is None


def test_what_stands_in_two_parts_is_pointed_out(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(10), split=["train", "test"] * 5, patient=["p0"] * 4 + ["p1"] * 6)
    result = split(a, tmp_path / "parts", by="split")
    assert (result["shared_images"], result["shared_patients"]) == (0, 2)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "one of --by COLUMN, --class NAME and --patients FILE"),
        ({"by": "scanner"}, "no column 'scanner'; it has label, patient, split"),
        ({"by": "split"}, "is empty"),
        ({"label": "flu"}, "no class 'flu'; its classes are: covid, normal"),
        ({"by": "label", "label": "covid"}, "one of --by"),
    ],
)
def test_impossible_splits_are_refused(halves, tmp_path, how, message) -> None:
    with pytest.raises(errors.UsageError, match=message):
        split(halves[0], tmp_path / "parts", **how)
    assert not (tmp_path / "parts").exists()


def test_a_split_that_fails_leaves_no_part_behind(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(600), label=["a"] * 256 + ["b"] * 344)
    with h5py.File(a, "r+") as file:
        file["vectors/avg_pool"][599, 3] += 1  # the first part is sound
    with pytest.raises(errors.CacheDamaged, match="block 2 of vectors/avg_pool"):
        split(a, tmp_path / "parts", by="label")
    assert list((tmp_path / "parts").iterdir()) == []


def test_parts_overwrite_nothing(halves, tmp_path) -> None:
    split(halves[0], tmp_path / "parts", by="label")
    with pytest.raises(errors.OutputExists, match=r"a-covid\.h5 exists"):
        split(halves[0], tmp_path / "parts", by="label")


def test_patients_that_are_not_there_are_named(halves, tmp_path) -> None:
    (tmp_path / "patients.txt").write_text("nobody\n")
    with pytest.raises(errors.UsageError, match=r"1 of the 1 patients .* such as 'nobody'"):
        split(halves[0], tmp_path / "parts", patients=tmp_path / "patients.txt")


def test_a_difference_between_caches_is_told_field_by_field(halves, tmp_path) -> None:
    other = make(
        tmp_path / "c.h5", range(450, 460), recipe={"kind": "by hand", "size": [224, 224]}, label=["flu"] * 10
    )
    with Cache(halves[0]) as a, Cache(other) as b:
        found = compare(a, b)
    assert not found["same_recipe"]
    assert [item["sentence"] for item in found["fields"]] == ["size differs: (absent) ≠ [224, 224]"]
    assert found["images"] == {"both": 10, "first_only": 490, "second_only": 0}
    assert found["relabelled"] == 10
    assert found["layers"] == {"avg_pool": False}
    with Cache(halves[0]) as a, Cache(halves[1]) as b:
        found = compare(a, b)
        assert found["same_recipe"]
        assert found["canary_distance"] == 0


def test_info_counts_what_a_cache_holds(tmp_path) -> None:
    a = make(tmp_path / "a.h5", range(10), patient=["", "p1"] * 5, split=["train"] * 10)
    with Cache(a) as cache:
        found = describe(cache)
    assert (found["rows"], found["spare"], found["samples"], found["patients"]) == (10, 0, 10, 1)
    assert found["labels"] == {"covid": 5, "normal": 5}
    assert found["splits"] == {"train": 10}
    assert found["states"] == {"done": 10}
    assert len(as_bytes(CONTENT[:1].view("S32").ravel())[0]) == 32


def test_labels_of_a_file_take_the_place_of_the_caches_without_writing(halves, tmp_path) -> None:
    before = halves[0].read_bytes()
    (tmp_path / "labels.csv").write_text("path,label,age\n0.png,flu,50\n1.png,cold,60\n")
    with Cache(halves[0]) as cache:
        assert cache.relabel(tmp_path / "labels.csv") == 498
        assert cache.y[:4].tolist() == ["flu", "cold", "normal", "covid"]  # what is not named keeps its label
        assert cache.samples.columns["age"][:3].tolist() == ["50", "60", ""]
        np.testing.assert_array_equal(cache.X, VECTORS[:500])
    assert halves[0].read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nnone.png,flu\n", "names none of the 500 samples, such as 0.png"),
        ("name,label\n0.png,flu\n", "needs a column 'path'"),
        ("path\n0.png\n", "needs a column 'path' and others"),
        ("path,label\n0.png,flu\n0.png,cold\n", "line 3: 0.png stands already in line 2"),
        ("path,label\n0.png,flu,cold\n", "line 2: 3 fields"),
    ],
)
def test_faulty_label_files_are_refused(halves, tmp_path, text, message) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with Cache(halves[0]) as cache, pytest.raises(errors.SourceError, match=message):
        cache.relabel(tmp_path / "labels.csv")
