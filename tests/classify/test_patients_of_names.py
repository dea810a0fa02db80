"""Promises about patients guessed from the names of files: conservative, told, and never used to split."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import product

import numpy as np
import pytest
from icehouse import open_cache
from icehouse.classify import splits
from icehouse.classify.names import guess
from icehouse.classify.problem import from_cache

TWO = ("covid", "normal")


def files(pattern: str, *numbers: range | str | tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the paths that a pattern makes, of class `c` and numbers `i`, `j`, each with its class."""
    names = "ij"[: len(numbers)]
    return [
        (pattern.format(c=label, **dict(zip(names, values, strict=True))), label)
        for label in TWO
        for values in product(*numbers)
    ]


def guessed(rows: list[tuple[str, str]]) -> np.ndarray | None:
    paths, labels = (np.array(column) for column in zip(*rows, strict=True))
    return guess(paths, labels)


@pytest.mark.parametrize(
    "rows",
    [
        files("{c}/patient{i}_{j}.png", range(10), range(3)),
        files("{c}/Patient_{i}-slice{j:03d}.png", range(10), range(3)),
        files("{c}/person{i}_virus_{j}.jpeg", range(1, 9), range(1, 4)),
        files("{c}/person_id_{i}_{j}.png", range(9), range(2)),
        files("{c}/P{i:03d}-scan{j}.png", range(10), range(1, 3)),
        files("{c}/sub-{i:02d}_ses-1_{j}.nii", range(9), range(2)),
        files("{c}/case {i} ({j}).png", range(9), range(2)),
        files("{c}/{i:08d}_{j:03d}.png", range(10), range(3)),
        files("{c}/{i}_{j}.jpg", range(9), range(2)),
        files("{c}/IM-{i:04d}-{j:04d}.jpeg", range(9), range(2)),
        files("{c}/S0929{i}-gr2_lrg-{j}.jpg", range(9), "abc"),
        files("{c}/ryct.20200{i}.fig1{j}.jpg", range(9), "ab"),
        files("{c}/{i}/{j}.png", range(10), range(3)),
        files("data/{c}/P{i}/IM{j:04d}.dcm", range(10), range(3)),
        files("{c}/137covid_patient{i}/SR_2/IM{j:05d}.tif", range(4), range(5)),
    ],
    ids=lambda rows: rows[0][0],
)
def test_files_named_for_patients_are_put_together_patient_by_patient(rows) -> None:
    names = guessed(rows).tolist()
    images = names.index(next(name for name in names if name != names[0]))
    assert images > 1
    firsts = names[::images]  # patients follow each other, the same number of images each
    assert names == [name for name in firsts for _ in range(images)]
    half = len(firsts) // 2  # one class, then the other
    assert "" not in firsts
    assert len(set(firsts[:half])) == len(set(firsts[half:])) == half


@pytest.mark.parametrize(
    "rows",
    [
        files("{c}/img{i}.png", range(200)),
        files("{c}/IMG_{i:04d}.JPG", range(200)),
        files("{c}/{c}-{i}.png", range(200)),
        files("{c}/{c} ({i}).png", range(200)),
        files("{c}/COVID-19_{i}.png", range(50)),
        files("{c}/NORMAL2({i}).png", range(50)),
        files("{c}/{i}.png", range(50)),
        files("{i}/{c}/{i}_{j}.png", ("train", "test"), range(50)),
        files("fold{i}/{c}/{j}.png", range(8), range(20)),
        files("{c}/batch_{i}/{j}.png", range(8), range(20)),
        files("{c}/scanner{i}_{j}.png", range(8), range(20)),
        files("{c}/{i}/{j}.png", range(5), range(20)),
        files("{c}/{i}/{j}.png", range(2010, 2020), range(20)),
        files("{c}/2020-0{i}-{j:02d}.png", range(1, 7), range(1, 20)),
        files("{c}/IMG_202003{i:02d}_{j:06d}.png", range(1, 7), range(1, 20)),
        files("{c}/patient_{i}.png", range(50)),
        files("{c}/{i}_{j}.png", ("frontal", "lateral", "pa", "ap"), range(20)),
        files("{c}/paper-p{i}-{j}.png", range(10, 20), range(110, 114)),
        [*files("{c}/{i}.png", range(50)), ("covid/1 (2).png", "covid"), ("normal/7 (2).png", "normal")],
    ],
    ids=lambda rows: rows[0][0],
)
def test_running_numbers_classes_and_parts_of_the_data_are_no_patients(rows) -> None:
    assert guessed(rows) is None


def test_a_long_number_is_one_person_in_all_classes_and_a_short_one_is_not() -> None:
    assert len(set(guessed(files("{c}/{i:08d}_{j:03d}.png", range(10), range(3))))) == 10
    assert len(set(guessed(files("{c}/patient{i}_{j}.png", range(10), range(3))))) == 20


def pairs(names) -> int:
    """Return how many pairs of files have the same name, which is not empty."""
    return sum(count * (count - 1) // 2 for name, count in Counter(names).items() if name)


@pytest.mark.parametrize(("data", "found", "right"), [("cxr", 0.9, 0.99), ("covid_ct", 0.6, 0.5)])
def test_most_patients_of_real_data_are_guessed_where_nobody_names_them(shared, data, found, right) -> None:
    with (shared / "data" / data / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = guessed([(row["path"], row["label"]) for row in rows])
    truth = [row["patient"] for row in rows]
    both = pairs([f"{name}|{patient}" if name else "" for name, patient in zip(names, truth, strict=True)])
    assert both / pairs(truth) > found
    assert both / pairs(names) > right


def test_guessed_patients_warn_tie_blocks_and_split_nothing(make_cache, two_clouds, tmp_path) -> None:
    from dataclasses import replace

    from icehouse.cache.commit import commit
    from icehouse.cache.writing import Contents
    from making import SELECTION, block_of, samples_of

    vectors, labels = two_clouds
    content = np.random.default_rng(5).integers(0, 256, (120, 32), dtype=np.uint8)
    paths = np.array([f"{label}/patient{number // 6}_{number % 6}.png" for number, label in enumerate(labels)])
    samples = replace(samples_of(content, labels), path=paths)
    contents = Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}])
    commit(tmp_path / "features.h5", None, [block_of(content, vectors)], contents)
    with open_cache(tmp_path / "features.h5") as cache:
        problem = from_cache(cache)
    assert problem.guessed
    assert not problem.grouped
    assert len(np.unique(problem.groups)) == 120
    assert len(np.unique(problem.blocks)) == 40
    assert len(np.unique(splits.units(problem))) == 120
    (note,) = problem.notes
    assert "such as normal/patient0_0.png and normal/patient0_2.png" in note
    assert (
        "Add a column 'patient' to the manifest, or give it with --labels FILE; vectors are not computed"
        in note
    )
    (tmp_path / "patients.csv").write_text(
        "path,patient\n" + "".join(f"{path},{path[:-6]}\n" for path in paths)
    )
    with open_cache(tmp_path / "features.h5") as cache:
        cache.relabel(tmp_path / "patients.csv")
        told = from_cache(cache)
    assert (told.guessed, told.grouped, told.notes) == (False, True, ())
