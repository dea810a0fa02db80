"""Promises about anonymized caches: the file holds nothing that names anybody, and still serves."""

from __future__ import annotations

import csv
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors, run_rounds
from icehouse.cache.anonymize import Pseudonyms
from icehouse.cache.info import compare
from icehouse.cache.merge import merge
from icehouse.cache.split import split
from icehouse.cache.staging import Staging
from icehouse.cache.store import Cache
from icehouse.cache.verify import verify
from making import block_of, draw
from small_network import run, start, wait_for

NAMES = ("Quentin Featherstonehaugh", "Wilhelmina Xylander", "Bartholomew Ojukwu", "Zsófia Űrhajós")


@pytest.fixture
def named(tmp_path) -> tuple[Path, list[str]]:
    """Return a folder with images, a manifest full of names and a cache of it; and every text that names."""
    secrets = []
    rows = []
    for number in range(40):
        path = f"St-Elsewhere/{NAMES[number % 4].split()[1]}/scan-{number:03}-confidential.png"
        draw(tmp_path / path, number, bright=bool(number % 2), size=(16, 16))
        row = [
            path,
            "covid" if number % 2 else "normal",
            NAMES[number % 4],
            f"MRN-{7000 + number}",
            "grumpy-uncle",
        ]
        rows.append(row)
        secrets += [path, row[2], row[3], row[4]]
    (tmp_path / "St-Elsewhere" / "broken-by-Igor.png").write_text("no image")
    rows.append(["St-Elsewhere/broken-by-Igor.png", "covid", "Igor Frankenstein", "MRN-9999", "lab"])
    secrets += [*rows[-1][:1], "broken-by-Igor", "Igor Frankenstein", "MRN-9999"]
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", "label", "patient", "record", "remark"], *rows])
    assert run(tmp_path, data="manifest.csv").returncode == 3
    host = [socket.gethostname()] if len(socket.gethostname()) > 5 else []  # or it stands there by chance
    return tmp_path, [*secrets, *host, "St-Elsewhere", "Xylander", "record", "remark"]


def texts_in(path: Path) -> list[bytes]:
    """Return the file's bytes, and those with every second one taken out: UTF-16 would hide from a search."""
    content = path.read_bytes()
    return [content, content[::2], content[1::2]]


def assert_names_nobody(path: Path, secrets: list[str], contents: np.ndarray) -> None:
    for text in texts_in(path):
        for secret in secrets:
            assert secret.encode() not in text, secret
    whole = path.read_bytes()
    for row in contents:
        assert row.tobytes() not in whole
        assert row.tobytes().hex().encode() not in whole


def test_a_search_of_the_original_cache_would_find_the_names(named) -> None:
    folder, secrets = named
    whole = (folder / "features.h5").read_bytes()
    found = [secret for secret in secrets if secret.encode() in whole]
    assert set(secrets) - set(found) <= {socket.gethostname()}


def test_an_anonymized_extraction_names_nobody_and_gives_the_same_vectors(named) -> None:
    folder, secrets = named
    done = run(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5")
    assert done.returncode == 3, done.stderr
    with Cache(folder / "features.h5") as cache, Cache(folder / "anonymous.h5") as other:
        np.testing.assert_array_equal(cache.X, other.X)
        np.testing.assert_array_equal(cache.y, other.y)
        assert [len(set(c.samples.patient)) for c in (cache, other)] == [5, 5]
        assert len(set(zip(cache.samples.patient, other.samples.patient, strict=True))) == 5
        assert other.anonymized
        assert verify(other).intact
        assert other.failures[0].stage == "decode"
        assert other.failures[0].path in other.samples.path
        contents = cache.samples.content
    assert_names_nobody(folder / "anonymous.h5", secrets, contents)
    assert "confidential" not in done.stderr


def test_nothing_can_be_added_to_an_anonymized_cache(named) -> None:
    folder, _ = named
    run(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5")
    again = run(folder, data="manifest.csv", cache="anonymous.h5")
    assert again.returncode == 1
    assert "anonymous.h5 is anonymized" in again.stderr
    over = run(folder, "--anonymize", data="manifest.csv")
    assert over.returncode == 1
    assert "--anonymize makes a new cache" in over.stderr


def test_an_interrupted_anonymized_extraction_goes_on_where_it_was(named) -> None:
    folder, _ = named
    child = start(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5", seconds=0.3)
    wait_for(lambda: (folder / "anonymous.h5.partial" / "recipe.json").exists(), child)
    child.terminate()
    _, message = child.communicate(timeout=60)
    assert child.returncode == 130, message
    assert not (folder / "anonymous.h5").exists()
    assert run(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5").returncode == 3
    with Cache(folder / "features.h5") as cache, Cache(folder / "anonymous.h5") as other:
        np.testing.assert_array_equal(cache.X, other.X)


def test_merging_and_splitting_can_anonymize_too(named) -> None:
    folder, secrets = named
    with Cache(folder / "features.h5") as cache:
        contents = cache.samples.content
    parts = split(folder / "features.h5", folder / "parts", by="label", pseudonyms=Pseudonyms())["parts"]
    for part in parts:
        assert_names_nobody(Path(part["cache"]), [*secrets, "features.h5"], contents)
    plain = split(folder / "features.h5", folder / "plain", by="label")["parts"]
    merge([Path(part["cache"]) for part in plain], folder / "merged.h5", pseudonyms=Pseudonyms(["remark"]))
    kept = [secret for secret in secrets if secret not in ("remark", "grumpy-uncle", "lab")]
    assert_names_nobody(folder / "merged.h5", kept, contents)
    with Cache(folder / "merged.h5") as cache:
        assert list(cache.samples.columns) == ["remark"]


def test_equal_content_stays_equal_and_pseudonyms_differ_every_time(named) -> None:
    folder, _ = named
    first = split(folder / "features.h5", folder / "one", label="covid", pseudonyms=Pseudonyms())["parts"][0]
    second = split(folder / "features.h5", folder / "two", label="covid", pseudonyms=Pseudonyms())["parts"][0]
    with Cache(first["cache"]) as a, Cache(second["cache"]) as b:
        assert not set(a.samples.patient) & set(b.samples.patient)
        assert not set(a.samples.path) & set(b.samples.path)
        assert compare(a, b)["images"] is None  # whether they share images cannot be known


def test_an_anonymized_cache_can_be_classified(named) -> None:
    folder, _ = named
    run(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5")
    results = run_rounds(folder / "anonymous.h5", heads=["svm"], rounds=2, note=lambda text: None)
    assert results.document["grouped"]


def test_files_are_not_named_after_patients_who_shall_be_anonymous(named) -> None:
    folder, _ = named
    with pytest.raises(errors.UsageError, match="--by patient would name the files after"):
        split(folder / "features.h5", folder / "parts", by="patient", pseudonyms=Pseudonyms())
    with pytest.raises(errors.UsageError, match="--by remark would name the files after"):
        split(folder / "features.h5", folder / "parts", by="remark", pseudonyms=Pseudonyms())


def test_one_cache_is_anonymized_by_merging_it_alone(named) -> None:
    folder, secrets = named
    merge([folder / "features.h5"], folder / "anonymous.h5", pseudonyms=Pseudonyms())
    with Cache(folder / "features.h5") as cache, Cache(folder / "anonymous.h5") as other:
        np.testing.assert_array_equal(cache.X, other.X)
        assert_names_nobody(folder / "anonymous.h5", secrets, cache.samples.content)


def test_vectors_that_no_sample_names_are_not_passed_on(named) -> None:
    folder, _ = named
    lines = (folder / "manifest.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "manifest.csv").write_text("".join(lines[:30]), encoding="utf-8")
    assert run(folder, data="manifest.csv").returncode == 0
    merge([folder / "features.h5"], folder / "anonymous.h5", pseudonyms=Pseudonyms())
    with Cache(folder / "features.h5") as cache, Cache(folder / "anonymous.h5") as other:
        assert (cache.rows, other.rows) == (40, 29)
        assert other.map_sum() is None
        np.testing.assert_array_equal(cache.X, other.X)


def test_a_cache_is_anonymized_as_a_whole_or_not_at_all(named) -> None:
    folder, _ = named
    part = split(folder / "features.h5", folder / "one", label="covid", pseudonyms=Pseudonyms())["parts"][0]
    with pytest.raises(errors.CacheAnonymized, match="Some of these caches are anonymized"):
        merge([folder / "features.h5", Path(part["cache"])], folder / "mixed.h5")


def test_blocks_left_by_a_kill_just_after_the_cache_was_written_are_removed(named) -> None:
    folder, _ = named
    run(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5")
    with Cache(folder / "features.h5") as cache, Staging(folder / "anonymous.h5") as staging:
        staging.begin(cache.header.recipe)
        staging.add(block_of(cache.samples.content[:3], cache.X[:3]))
    assert (folder / "anonymous.h5.partial").exists()
    assert run(folder, "--anonymize", data="manifest.csv", cache="anonymous.h5").returncode == 1
    assert not (folder / "anonymous.h5.partial").exists()


def test_a_column_to_be_kept_is_looked_for_before_anything_is_computed(named) -> None:
    folder, _ = named
    done = run(folder, "--anonymize", "--keep-column", "agee", data="manifest.csv", cache="anonymous.h5")
    assert (done.returncode, "no column 'agee'" in done.stderr) == (2, True)
    assert not (folder / "anonymous.h5.partial").exists()


def test_a_column_to_be_kept_must_exist(named) -> None:
    folder, _ = named
    with pytest.raises(errors.UsageError, match="no column 'age' to be kept; the columns are: record, remark"):
        split(folder / "features.h5", folder / "parts", by="label", pseudonyms=Pseudonyms(["age"]))


def test_exports_can_be_anonymous(named, icehouse) -> None:
    folder, secrets = named
    for name in ("out.npz", "out.parquet"):
        done = icehouse("cache", "export", "features.h5", "-o", name, "--anonymize", "--json", cwd=folder)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == 40
        with Cache(folder / "features.h5") as cache:
            assert_names_nobody(folder / name, [*secrets, os.fspath(folder)], cache.samples.content)
