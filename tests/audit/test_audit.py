"""Promises about the audit: what it finds of what was planted, leaves alone, and says that it cannot see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from icehouse import errors, finding
from icehouse.audit.closest import closest
from icehouse.audit.looks import WAYS, looks
from icehouse.audit.tails import tail
from icehouse.audit_command import audit
from icehouse.auditing import audit_cache
from icehouse.cache.anonymize import Pseudonyms
from icehouse.cache.commit import commit
from icehouse.cache.staging import Block
from icehouse.cache.store import Cache
from icehouse.cache.writing import Contents
from icehouse.classify import origins, problem, splits
from icehouse.classify.kernels import gram
from icehouse.console import Group
from icehouse.report import audit as texts
from icehouse.report.audit_pictures import Shown
from icehouse.report.parts import Figure, Gallery, Words
from making import SELECTION, samples_of

COUNT, WIDTH = 240, 40


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Return smooth pictures of 16×16, each of its own."""
    generator = np.random.default_rng(seed)
    coarse = generator.normal(0, 40, (count, 6, 6))
    fine = coarse.repeat(3, axis=1).repeat(3, axis=2)[:, 1:17, 1:17]
    return np.clip(128 + fine + generator.normal(0, 3, fine.shape), 0, 255).astype(np.uint8)


class Data:
    """Vectors, pictures and samples of a cache that a test alters before it is written."""

    def __init__(self, count: int = COUNT, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        self.kind = np.arange(count) % 2
        self.vectors = generator.normal(0, 1, (count, WIDTH)).astype(np.float32)
        self.vectors[:, :6] += 2.5 * self.kind[:, None]
        self.pixels = pictures(count, seed)
        self.content = generator.integers(1, 256, (count, 32), dtype=np.uint8)
        self.labels = ["covid" if one else "normal" for one in self.kind]
        self.patients: list[str] | None = [f"p{seed}-{index}" for index in range(count)]
        self.splits: list[str] | None = None
        self.columns: dict[str, np.ndarray] = {}

    def copy(self, of: int, to: int, *, turned: bool = False, exact: bool = False) -> None:
        """Make one image a copy of another."""
        generator = np.random.default_rng([of, to])
        if exact:
            self.content[to] = self.content[of]
        picture = self.pixels[of].astype(float) + generator.normal(0, 1, (16, 16))
        self.pixels[to] = np.clip(np.rot90(picture) if turned else picture, 0, 255).astype(np.uint8)
        if not turned:
            self.vectors[to] = self.vectors[of] + 0.1 * generator.normal(0, 1, WIDTH)

    def write(
        self, path: Path, *, pixels: bool = True, recipe: str = "by hand", anonymized: bool = False
    ) -> Path:
        samples = samples_of(self.content, self.labels, self.patients, splits=self.splits)
        object.__setattr__(samples, "columns", self.columns)
        rows = np.sort(np.unique(self.content, axis=0, return_index=True)[1])
        block = Block(
            content=self.content[rows],
            frame=np.zeros(len(rows), dtype=np.int32),
            view=np.zeros(len(rows), dtype=np.int16),
            vectors={"avg_pool": self.vectors[rows]},
            pixels=self.pixels[rows].reshape(len(rows), 256),
            map_sum=None,
            facts={},
            canaries={},
            maker={},
        )
        contents = Contents({"kind": recipe}, ("avg_pool",), SELECTION, samples, [], [{"time": ""}])
        if anonymized:
            names = Pseudonyms()
            contents = names.contents(contents)
            object.__setattr__(block, "content", names.content(block.content))
        commit(path, None, [block], contents)
        if not pixels:  # as of imported vectors
            with h5py.File(path, "r+") as file:
                del file["pixels"], file["checksums/pixels"]
        return path


@pytest.fixture
def data() -> Data:
    return Data()


def pairs_of(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(pair["a"], pair["b"]) for pair in document["near_duplicates"]}


def test_of_clean_data_nothing_is_found_but_a_chance_pair_or_two(data, tmp_path) -> None:
    document = audit_cache(data.write(tmp_path / "a.h5"))
    assert document["exact_duplicates"] == document["leaks"] == document["patients_in_several_classes"] == []
    assert len(document["near_duplicates"]) <= 2
    assert document["notes"] == [
        "No splits are known, and no other cache was named: there is nothing to leak between."
    ]
    json.dumps(document, allow_nan=False)


def test_altered_copies_are_found_by_vectors_and_turned_ones_by_pixels(data, tmp_path) -> None:
    for number in range(8):
        data.copy(number, 100 + number, turned=number >= 4)
    document = audit_cache(data.write(tmp_path / "a.h5"))
    planted = {(f"{number}.png", f"{100 + number}.png") for number in range(8)}
    assert planted <= pairs_of(document)
    assert len(pairs_of(document) - planted) <= 2
    found = {pair["a"]: pair for pair in document["near_duplicates"]}
    assert found["0.png"]["similarity"] > 0.9
    assert found["0.png"]["way"] == "same"
    assert found["5.png"]["similarity"] < 0.5 < 0.9 < found["5.png"]["pixels"]
    assert found["5.png"]["way"] in ("turned by 90°", "turned by 270°")


def test_files_of_the_same_bytes_are_one_group_and_differing_labels_are_said(data, tmp_path) -> None:
    data.copy(0, 1, exact=True)
    data.copy(2, 4, exact=True)
    document = audit_cache(data.write(tmp_path / "a.h5"))
    first, second = document["exact_duplicates"]
    assert [one["path"] for one in first["samples"]] == ["0.png", "1.png"]
    assert first["labels_differ"]
    assert first["patients_differ"]
    assert not second["labels_differ"]
    assert first["content"] == data.content[0].tobytes().hex()
    assert ("0.png", "1.png") not in pairs_of(document)


def test_neighbours_of_one_patient_are_counted_and_not_listed_unless_labels_or_splits_differ(
    data, tmp_path
) -> None:
    data.splits = ["train"] * COUNT
    for number, (of, to) in enumerate(((0, 100), (2, 102), (4, 105))):
        data.copy(of, to)
        data.patients[to] = data.patients[of]
        if number == 1:
            data.splits[to] = "test"
    document = audit_cache(data.write(tmp_path / "a.h5"))
    assert ("0.png", "100.png") not in pairs_of(document)
    assert document["neighbours_within_patients"] >= 1
    assert {("2.png", "102.png"), ("4.png", "105.png")} <= pairs_of(document)


def test_copies_patients_and_near_duplicates_on_both_sides_of_a_split_are_leaks(data, tmp_path) -> None:
    data.splits = ["train"] * 120 + ["test"] * 120
    data.copy(0, 120, exact=True)
    data.copy(2, 122)
    data.patients[124] = data.patients[4]
    document = audit_cache(data.write(tmp_path / "a.h5"))
    kinds = {leak["kind"]: leak for leak in document["leaks"]}
    assert set(kinds) == {"content", "patient", "near duplicate"}
    assert kinds["patient"]["paths"] == {"test": ["124.png"], "train": ["4.png"]}
    assert (kinds["near duplicate"]["a"], kinds["near duplicate"]["b"]) == ("2.png", "122.png")
    assert all(leak["between"] == ["test", "train"] for leak in document["leaks"])


def test_what_an_external_set_shares_with_the_cache_is_a_leak(data, tmp_path) -> None:
    other = Data(80, seed=1)
    other.content[0], other.vectors[0], other.pixels[0] = data.content[0], data.vectors[0], data.pixels[0]
    other.vectors[1], other.pixels[1] = data.vectors[1] + 0.01, data.pixels[1]
    other.pixels[2] = data.pixels[2][:, ::-1]
    other.patients[3] = data.patients[3]
    other.copy(10, 11)  # within the other cache: no news
    document = audit_cache(data.write(tmp_path / "a.h5"), against=other.write(tmp_path / "b.h5"))
    leaks = document["leaks"]
    assert [leak["samples"][0]["path"] for leak in leaks if leak["kind"] == "content"] == ["0.png"]
    assert [leak["patient"] for leak in leaks if leak["kind"] == "patient"] == [data.patients[3]]
    near = {(leak["a"], leak["b"]) for leak in leaks if leak["kind"] == "near duplicate"}
    assert {("1.png", "1.png"), ("2.png", "2.png")} <= near
    assert len(near) <= 4
    assert all(pair["against"] for pair in document["near_duplicates"] if pair["b"] in ("1.png", "2.png"))


def test_vectors_of_another_recipe_are_compared_by_pixels_alone_and_that_is_said(data, tmp_path) -> None:
    other = Data(80, seed=1)
    other.pixels[2] = data.pixels[2]
    against = other.write(tmp_path / "b.h5", recipe="another")
    document = audit_cache(data.write(tmp_path / "a.h5"), against=against)
    assert "pixels alone" in " ".join(document["notes"])
    found = [pair for pair in document["near_duplicates"] if pair["against"]]
    assert ("2.png", "2.png") in {(pair["a"], pair["b"]) for pair in found}
    assert all(pair["vectors"] is None for pair in found)


def test_what_an_anonymized_cache_shares_cannot_be_known_and_that_is_said(data, tmp_path) -> None:
    against = data.write(tmp_path / "b.h5", anonymized=True)
    document = audit_cache(data.write(tmp_path / "a.h5"), against=against)
    assert "cannot be known" in " ".join(document["notes"])
    assert {leak["kind"] for leak in document["leaks"]} == {"near duplicate"}
    assert len(document["leaks"]) >= COUNT


def test_patients_in_several_classes_are_named_with_their_files(data, tmp_path) -> None:
    data.patients[1] = data.patients[0]
    document = audit_cache(data.write(tmp_path / "a.h5"))
    (one,) = document["patients_in_several_classes"]
    assert one == {"patient": "p0-0", "labels": {"covid": ["1.png"], "normal": ["0.png"]}}


def test_exchanged_labels_are_doubted_and_the_most_doubtful_stand_first(data, tmp_path) -> None:
    data.vectors[:, 6:12] += 2.5 * data.kind[:, None]
    exchanged = [3, 10, 57, 77, 90, 120, 141, 166, 201, 230]
    for row in exchanged:
        data.labels[row] = "covid" if data.labels[row] == "normal" else "normal"
    document = audit_cache(data.write(tmp_path / "a.h5"))
    listed = [one["path"] for one in document["label_suspects"]]
    right = [path in {f"{row}.png" for row in exchanged} for path in listed]
    assert sum(right) >= 7
    assert right[:5] == [True] * 5
    assert len(right) - sum(right) <= 2
    assert document["label_model"]["balanced_accuracy"] > 0.9


def test_an_image_of_another_kind_is_an_outlier_and_usual_ones_are_not(data, tmp_path) -> None:
    data.vectors[7] += 8 * np.random.default_rng(9).normal(0, 1, WIDTH)
    document = audit_cache(data.write(tmp_path / "a.h5"))
    assert [one["path"] for one in document["outliers"]] == ["7.png"]
    assert audit_cache(Data(seed=4).write(tmp_path / "b.h5"))["outliers"] == []


def test_the_class_that_goes_with_a_column_is_told_as_the_controls_of_a_run_tell_it(data, tmp_path) -> None:
    data.columns = {
        "source": np.where(data.kind, "A", "B"),
        "ward": np.array(["x", "y", "z"])[np.arange(COUNT) % 3],
    }
    path = data.write(tmp_path / "a.h5")
    found = {one["column"]: one for one in audit_cache(path)["confounding"]}
    assert found["source"]["alarm"]
    assert found["source"]["label_association"] == pytest.approx(1, abs=0.01)
    assert not found["ward"]["alarm"]
    with Cache(path) as cache:
        posed = problem.from_cache(cache)
    probed, _ = origins.origins(posed, splits.units(posed), [], gram(posed.X), seed=0)
    assert {one["column"]: one for one in probed} == found


def test_without_patients_near_duplicates_are_offered_as_groups_and_chains_are_cut(data, tmp_path) -> None:
    data.patients = None
    for to in (100, 102, 104):
        data.copy(0, to)
    document = audit_cache(data.write(tmp_path / "a.h5"))
    group = next(group for group in document["groups"] if len(group["samples"]) > 2)
    assert {one["path"] for one in group["samples"]} == {"0.png", "100.png", "102.png", "104.png"}
    assert "No patients are known" in " ".join(document["notes"])


@pytest.mark.parametrize("lacking", ["pixels", "labels", "patients", "everything"])
def test_what_is_lacking_is_said_and_the_rest_is_audited(data, tmp_path, lacking) -> None:
    data.copy(0, 100)
    if lacking in ("labels", "everything"):
        data.labels = [""] * COUNT
    if lacking in ("patients", "everything"):
        data.patients = None
    path = data.write(tmp_path / "a.h5", pixels=lacking not in ("pixels", "everything"))
    document = audit_cache(path)
    assert ("0.png", "100.png") in pairs_of(document)
    said = " ".join(document["notes"])
    for name, words in (("pixels", "no 16×16 pixels"), ("labels", "No labels"), ("patients", "No patients")):
        assert (words in said) == (lacking in (name, "everything")), name
    assert texts.audit_text(document)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_the_smallest_data_sets_are_audited_too(tmp_path, count) -> None:
    document = audit_cache(Data(count).write(tmp_path / "a.h5"))
    assert document["frames"] == count
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("value", [0.0, 1.0, 3e38])
def test_vectors_and_pictures_that_are_all_the_same_or_enormous_end_in_no_warning(
    data, tmp_path, value
) -> None:
    data.vectors[:] = value if value < 2 else value * np.sign(data.vectors)
    data.pixels[:] = 7
    document = audit_cache(data.write(tmp_path / "a.h5"))
    json.dumps(document, allow_nan=False)


def test_a_flood_of_equal_pictures_is_bounded(tmp_path) -> None:
    data = Data(300)
    data.vectors[:250], data.pixels[:250] = data.vectors[0], data.pixels[0]
    document = audit_cache(data.write(tmp_path / "a.h5"))
    assert len(document["near_duplicates"]) == 20_000
    assert any("are listed" in text for text in document["notes"])


def test_the_search_finds_the_pairs_that_a_whole_table_of_products_would(data) -> None:
    generator = np.random.default_rng(2)
    rows = generator.normal(0, 1, (2500, 8)).astype(np.float32)
    products = rows @ rows.T
    found = closest(rows, rows, at_least=14.0, most=10_000)
    first, second = np.nonzero(np.triu(products >= 14, 1))
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == set(
        zip(first.tolist(), second.tolist(), strict=True)
    )
    fewer = closest(rows, rows, at_least=14.0, most=50)
    assert fewer.lost
    assert not found.lost
    np.testing.assert_array_equal(fewer.product, found.product[:50])
    own = closest(rows, rows, at_least=14.0, most=10_000, own=1000)
    assert len(own.first) == np.sum(first < 1000)


def test_all_eight_ways_to_lay_a_picture_are_recognized_and_the_bound_never_lies_below() -> None:
    several = pictures(40)
    ways = [
        several[0],
        several[0][:, ::-1],
        several[0][::-1],
        several[0][::-1, ::-1],
        several[0].T,
        np.rot90(several[0], -1),
        np.rot90(several[0]),
        np.rot90(several[0].T, 2),
    ]
    seen = looks(np.concatenate([np.stack(ways), several[1:]]).reshape(-1, 256))
    every = np.arange(len(seen))
    first, second = (side.ravel() for side in np.meshgrid(every, every, indexing="ij"))
    similarity, way = seen.similarity(first, second)
    assert [WAYS[number] for number in way[:8]][:4] == ["same", "mirrored", "upside down", "turned by 180°"]
    assert sorted(way[:8].tolist()) == list(range(8))
    np.testing.assert_allclose(similarity[:8], 1, atol=1e-5)
    left, right = seen.bounds()
    assert np.all((left @ right.T).ravel() >= similarity - 1e-5)


def test_a_tail_of_an_exponential_distribution_is_found_in_spite_of_strangers() -> None:
    values = np.random.default_rng(0).exponential(2.0, 200_000)
    strangers = np.concatenate([values, np.full(100, 1e6)])
    for drawn in (values, strangers):
        found = tail(drawn, 2e-3)
        assert found.value(1e-5) == pytest.approx(2 * np.log(1e5), rel=0.12)
        assert found.beyond(found.value(1e-5)) == pytest.approx(1e-5)


@pytest.fixture
def command():
    group = click.group(cls=Group)(lambda: None)
    group.add_command(audit)
    return lambda *arguments: CliRunner().invoke(group, ["audit", *map(str, arguments)])


def test_strict_ends_with_exit_code_4_only_if_something_is_found(data, tmp_path, command) -> None:
    path = data.write(tmp_path / "a.h5")
    document = json.loads(command(path, "--json", "--quiet").stdout)
    assert command(path, "--strict", "--quiet").exit_code == (4 if document["anything"] else 0)
    data.copy(0, 1, exact=True)
    bad = data.write(tmp_path / "b.h5")
    assert command(bad, "--quiet").exit_code == 0
    result = command(bad, "--strict", "--quiet")
    assert result.exit_code == 4
    assert "0.png (normal), 1.png (covid)" in result.stdout


def test_outliers_alone_do_not_count_for_strict(data, tmp_path) -> None:
    data.vectors[7] += 8 * np.random.default_rng(9).normal(0, 1, WIDTH)
    data.labels[:] = [""] * COUNT
    document = audit_cache(data.write(tmp_path / "a.h5"))
    assert document["outliers"]
    assert document["anything"] == bool(document["near_duplicates"])


def test_mistakes_end_in_one_sentence(data, tmp_path, command) -> None:
    path = data.write(tmp_path / "a.h5")
    with pytest.raises(errors.UsageError, match="has no layer 'other'; it has avg_pool"):
        audit_cache(path, layer="other")
    (tmp_path / "page.html").write_text("mine")
    result = command(path, "-o", tmp_path / "page.html", "--quiet")
    assert result.exit_code == 1
    assert "--overwrite" in result.stderr
    assert (tmp_path / "page.html").read_text() == "mine"
    assert command(path, "--images", tmp_path).exit_code == 2


def test_labels_of_a_file_take_the_place_of_the_caches(data, tmp_path) -> None:
    (tmp_path / "labels.csv").write_text("path,patient\n0.png,one\n1.png,one\n")
    document = audit_cache(data.write(tmp_path / "a.h5"), labels=tmp_path / "labels.csv")
    assert [one["patient"] for one in document["patients_in_several_classes"]] == ["one"]
    assert "does not name 238 of the samples" in document["notes"][0]


def test_the_page_shows_pairs_side_by_side_and_says_what_it_cannot_show(data, tmp_path) -> None:
    data.copy(0, 101)
    data.columns = {"source": np.where(data.kind, "A", "B")}
    path = data.write(tmp_path / "a.h5")
    document = audit_cache(path)
    with Cache(path) as cache:
        thumbnails, lacking = finding.audit_thumbnails({False: cache}, None)
        sections = {section.title: section.parts for section in texts.sections(document, thumbnails)}
        kept = thumbnails([Shown(False, "0.png", 0), Shown(False, "absent.png", 0)])
    assert "16×16 pixels" in lacking[0]
    assert [(one.path, tile.shape) for one, tile in kept.items()] == [("0.png", (160, 160, 3))]
    gallery = next(part for part in sections["Near duplicates"] if isinstance(part, Gallery))
    assert gallery.pictures[0].caption.startswith("0.png\n101.png\n")
    assert gallery.pictures[0].alt
    assert gallery.pictures[0].data.startswith(b"RIFF")
    figures = [part for part in sections["How it was judged"] if isinstance(part, Figure)]
    assert {figure.name for figure in figures} == {"similarity-of-vectors", "similarity-of-pixels"}
    assert "pairs lie beyond it" in figures[0].alt
    alarms = [part for part in sections["What the class goes with"] if getattr(part, "kind", "") == "alarm"]
    assert "source" in alarms[0].text
    without = {section.title: section.parts for section in texts.sections(document, lambda wanted: {})}
    assert any(isinstance(part, Words) and "not shown" in part.text for part in without["Near duplicates"])


def test_two_audits_say_the_same(data, tmp_path) -> None:
    data.copy(0, 100)
    path = data.write(tmp_path / "a.h5")
    first, second = (audit_cache(path) for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_labels_that_the_vectors_cannot_tell_are_not_doubted(data, tmp_path) -> None:
    generator = np.random.default_rng(3)
    data.vectors[:] = generator.normal(0, 1, data.vectors.shape)
    document = audit_cache(data.write(tmp_path / "a.h5"))
    assert document["label_suspects"] == []
    assert any("hardly tell the classes" in text for text in document["notes"])
