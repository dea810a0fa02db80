"""Promises about `icehouse cache`: each command as text and as JSON, and one sentence for damaged input."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from icehouse.cli import main


@pytest.fixture
def folder(make_cache, two_clouds, tmp_path) -> Path:
    """Return a folder with features.h5, other.h5 of further images, damaged.h5, truncated.h5 and text.h5."""
    vectors, labels = two_clouds
    patients = [f"p{row // 2}" for row in range(120)]
    splits = ["train", "test"] * 60
    make_cache(vectors, labels, patients, splits=splits)
    content = np.random.default_rng(8).integers(0, 256, (120, 32), dtype=np.uint8)
    make_cache(vectors + 1, labels, patients, content=content, name="other.h5")
    whole = (tmp_path / "features.h5").read_bytes()
    (tmp_path / "damaged.h5").write_bytes(whole)
    with h5py.File(tmp_path / "damaged.h5", "r+") as file:
        file["vectors/avg_pool"][3, 3] += 1
    (tmp_path / "truncated.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("no cache")
    return tmp_path


COMMANDS = {
    "info": ["features.h5"],
    "verify": ["features.h5"],
    "repair": ["features.h5"],
    "merge": ["features.h5", "other.h5", "-o", "new.h5", "--prefix"],
    "split": ["features.h5", "-o", "parts", "--by", "split"],
    "export": ["features.h5", "-o", "new.npz"],
    "import": ["vectors.npz", "-o", "new.h5", "--origin", "somebody's network"],
    "diff": ["features.h5", "other.h5"],
}


def arguments(command: str) -> list[str]:
    return ["cache", command, *COMMANDS[command]]


def test_every_command_is_tried_here() -> None:
    assert set(COMMANDS) == set(main.commands["cache"].commands)


@pytest.mark.parametrize(
    ("command", "shown", "key"),
    [
        ("info", "samples: 120 done|vectors: 120 (0 spare)", "samples"),
        ("verify", "features.h5: intact", "intact"),
        ("repair", "120 vectors kept, 0 lost", "rows_kept"),
        ("merge", "240 samples, 240 vectors of 2 caches", "kept_once"),
        ("split", "features-test.h5|Beware: 60 patients stand in more than one part", "parts"),
        ("export", "new.npz: 120 vectors of 16 (avg_pool)", "left_out"),
        ("import", "new.h5: 120 samples, 120 vectors of 16 (imported)", "classes"),
        ("diff", "The recipe is the same|0 in both, 120 in A only, 120 in B only", "same_recipe"),
    ],
)
def test_a_command_shows_its_result_as_text_or_as_one_json_document(
    folder, icehouse, command, shown, key
) -> None:
    X = np.random.default_rng(0).normal(size=(120, 16))
    np.savez(folder / "vectors.npz", X=X, y=np.array(["covid", "normal"] * 60))
    done = icehouse(*arguments(command), cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    for text in shown.split("|"):
        assert text in done.stdout
    for made in ("new.h5", "new.npz", "parts/features-test.h5", "parts/features-train.h5"):
        (folder / made).unlink(missing_ok=True)
    done = icehouse(*arguments(command), "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert key in json.loads(done.stdout)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "import"])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("truncated.h5", "truncated.h5 cannot be opened: it is truncated."),
        ("text.h5", "text.h5 cannot be opened: it is not an HDF5 file"),
        ("none.h5", "No cache at none.h5"),
    ],
)
def test_damaged_input_is_one_sentence_and_nothing_is_written(
    folder, monkeypatch, command, file, message
) -> None:
    before = sorted(folder.rglob("*"))
    words = [file if word == "features.h5" else word for word in arguments(command)]
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: {message}")
    assert done.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_verify_names_the_damaged_block_and_its_rows_and_ends_with_1(folder, icehouse) -> None:
    done = icehouse("cache", "verify", "damaged.h5", cwd=folder)
    assert done.returncode == 1
    assert "DAMAGED" in done.stdout
    assert "vectors/avg_pool" in done.stdout
    assert "0–119" in done.stdout
    document = json.loads(icehouse("cache", "verify", "damaged.h5", "--json", cwd=folder).stdout)
    assert document["damaged"] == [
        {"dataset": "vectors/avg_pool", "block": 0, "rows": [0, 119], "reason": "another SHA-256"}
    ]


def test_repair_says_what_is_lost_and_what_the_next_extract_does(folder, icehouse) -> None:
    done = icehouse("cache", "repair", "damaged.h5", cwd=folder)
    assert done.returncode == 0
    assert "0 vectors kept, 120 lost" in done.stdout
    assert "120 samples are pending; the next extract computes them:" in done.stdout
    assert "and 100 more" in done.stdout


@pytest.mark.parametrize("command", ["merge", "split", "export"])
def test_damaged_rows_are_never_passed_on(folder, icehouse, command) -> None:
    words = ["damaged.h5" if word == "features.h5" else word for word in arguments(command)]
    done = icehouse(*words, cwd=folder)
    assert done.returncode == 1
    assert "damaged.h5: block 0 of vectors/avg_pool does not match its checksum" in done.stderr
    assert not any((folder / name).exists() for name in ("new.h5", "new.npz", "parts/features-test.h5"))


def test_diff_names_the_field_and_both_values(folder, icehouse) -> None:
    with h5py.File(folder / "other.h5", "r+") as file:
        from icehouse.cache.recipe import fingerprints

        recipe = {"kind": "by hand", "weights": f"sha256:{'9a02' * 16}"}
        file.attrs["recipe"] = json.dumps(recipe)
        file.attrs["fingerprints"] = json.dumps(fingerprints(recipe, ("avg_pool",)))
    done = icehouse("cache", "diff", "features.h5", "other.h5", cwd=folder)
    assert done.returncode == 0
    assert "weights differs: (absent) ≠ 9a029a02…" in done.stdout


def test_keeping_a_column_without_anonymizing_is_wrong_usage(folder, icehouse) -> None:
    done = icehouse(*arguments("split"), "--keep-column", "age", cwd=folder)
    assert done.returncode == 2
    assert "--keep-column goes with --anonymize" in done.stderr
