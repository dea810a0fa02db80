"""Promises at the command line: exit codes, one JSON document, one clear sentence for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_network import run

LITE = ("--backbone", "efficientnetlite0")


@pytest.fixture
def cache_path(make_cache, two_clouds):
    return make_cache(*two_clouds)


def fails(done, code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_extract_prints_one_json_document_and_nothing_else(icehouse, image_folder, tmp_path) -> None:
    done = icehouse("extract", image_folder, "-o", "features.h5", *LITE, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    expected = "cache fingerprint samples images computed reused failed dimensions engine seconds stages"
    assert set(expected.split()) <= set(document)
    assert document["cache"] == "features.h5"
    assert (document["samples"], document["images"], document["computed"]) == (12, 12, 12)
    assert document["dimensions"] == {"avg_pool": 1280}
    assert set(document["stages"]) == {"loading", "decode", "network", "write"}
    assert document["images_per_second"] > 0
    info = json.loads(icehouse("cache", "info", "features.h5", "--json", cwd=tmp_path).stdout)
    assert info["fingerprints"]["avg_pool"] == document["fingerprint"]
    assert info["labels"] == {"covid": 6, "normal": 6}


def test_failed_images_end_with_3_and_a_short_table_and_everything_unusual_gets_a_line(
    image_folder, tmp_path
) -> None:
    (image_folder / "covid" / "text.png").write_text("hello")
    whole = (image_folder / "covid" / "0.png").read_bytes()
    (image_folder / "covid" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (image_folder / "covid" / "notes.txt").write_text("x")
    deep = np.random.default_rng(0).integers(0, 4096, (40, 40), dtype=np.uint16)
    Image.fromarray(deep).save(image_folder / "normal" / "deep.png")
    done = run(tmp_path, quiet=False)
    assert done.returncode == 3
    assert "covid/text.png" in done.stdout
    assert "not an image of a known format" in done.stdout
    assert "13 computed, 0 reused, 2 failed" in done.stdout
    assert "intensity: 1 file deeper than 8 bits by percentile:0.5,99.5" in done.stderr
    assert "1 file of unknown type .txt passed over, such as covid/notes.txt" in done.stderr
    again = run(tmp_path)
    assert (again.returncode, again.stderr) == (3, "")


def test_dry_run_says_what_would_happen_and_writes_nothing(icehouse, image_folder, tmp_path) -> None:
    done = icehouse("extract", image_folder, "-o", "features.h5", *LITE, "--dry-run", "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (document["samples"], document["compute"], document["reuse"]) == (12, 12, 0)
    assert document["seconds"] > 0
    assert document["bytes"] == 12 * (1280 * 4 + 256 + 32 + 6)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_classify_prints_tables_or_json(icehouse, cache_path, tmp_path) -> None:
    arguments = ("classify", cache_path, "--head", "svm", "--rounds", "2")
    done = icehouse(*arguments, "-o", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "average" in done.stdout
    assert "not a medical device" in done.stdout
    document = json.loads(icehouse(*arguments, "-o", "other", "--json", cwd=tmp_path).stdout)
    assert document["run"] == "other"
    assert set(document["heads"]) == {"svm"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("extract", "nowhere", "-o", "a.h5"), 1, ["no file or folder nowhere"]),
        (("extract", "empty", "-o", "a.h5"), 1, ["empty holds no images"]),
        (("extract", "images", "-o", "a.h5", "--backbone", "vgg99"), 2, ["no backbone 'vgg99'"]),
        (("extract", "images", "-o", "a.h5", "--weights", "no.h5"), 1, ["no weights file no.h5"]),
        (("extract", "images", "-o", "no/a.h5", *LITE), 1, ["There is no folder no"]),
        (("extract", "images", "-o", "text.csv", *LITE), 1, ["text.csv cannot be opened"]),
        (("extract", "text.csv", "-o", "a.h5"), 1, ["no column 'path'"]),
        (("extract", "images", "-o", "a.h5", "--batch-size", "0"), 2, ["--batch-size"]),
        (("extract", "images"), 2, ["Missing option"]),
        (("extract", "images", "-o", ".", *LITE), 2, ["'.' is a folder"]),
        (("extract", "images", "-o", "", *LITE), 2, ["'' is a folder"]),
        (("classify", "no.h5", "-o", "r"), 1, ["No cache at no.h5"]),
        (("classify", "text.csv", "-o", "r"), 1, ["not an HDF5 file"]),
        (("classify", "features.h5", "-o", "r", "--head", "swm"), 2, ["Did you mean 'svm'"]),
        (("classify", "features.h5", "-o", "r", "--head", "svm:D=1"), 2, ["no parameter 'D'"]),
        (("classify", "features.h5", "-o", "r", "--rounds", "0"), 2, ["--rounds"]),
        (("classify", "features.h5", "-o", "images"), 1, ["exists and is not a run"]),
        (("classify", "features.h5", "-o", "r", "--positive", "flu"), 2, ["no such class"]),
        (("cache", "info", "text.csv"), 1, ["not an HDF5 file"]),
        (("demo", "images"), 1, ["images exists already"]),
        (("nonsense",), 2, ["No such command"]),
    ],
)
def test_a_mistake_is_one_clear_sentence_with_its_exit_code(
    icehouse, image_folder, cache_path, tmp_path, arguments, code, words
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.csv").write_text("file,label\na.png,x\n")
    fails(icehouse(*arguments, cwd=tmp_path), code, *words)
    assert not (tmp_path / "a.h5").exists()
    assert not (tmp_path / "a.h5.partial").exists()


def test_debug_shows_the_traceback(icehouse, tmp_path) -> None:
    for arguments in (("--debug", "cache", "info", "no.h5"), ("cache", "info", "no.h5", "--debug")):
        done = icehouse(*arguments, cwd=tmp_path)
        assert "Traceback" in done.stderr
        assert "CacheNotFound" in done.stderr


def test_a_folder_without_write_permission_is_named(image_folder, cache_path, tmp_path) -> None:
    """Root may write anywhere, so as root the commands run without root's capabilities."""
    without_powers = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if without_powers and not shutil.which("setpriv"):
        pytest.skip("needs setpriv to do without root's capabilities")
    tmp_path.chmod(0o555)
    try:
        for arguments in (
            ("extract", "images", "-o", "new.h5", *LITE),
            ("classify", "features.h5", "-o", "run", "--head", "svm", "--rounds", "2"),
        ):
            command = [*without_powers, Path(sys.executable).parent / "icehouse", *arguments]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            fails(done, 1, "No permission to write")
    finally:
        tmp_path.chmod(0o755)


def test_the_lists_name_everything(icehouse) -> None:
    names = {backbone["name"] for backbone in json.loads(icehouse("backbones", "--json").stdout)}
    assert len(names) == 32
    assert {"inceptionv3", "vgg16", "densenet121", "efficientnetv2l", "nasnetmobile"} <= names
    assert {listing["backbone"] for listing in json.loads(icehouse("weights", "--json").stdout)} == names
    heads = [head["name"] for head in json.loads(icehouse("heads", "--json").stdout)]
    assert heads == ["mlp", "mlp-bn", "svm", "xgboost", "logistic", "knn", "lda", "forest", "pyramid", "dummy"]
    assert "2048" in icehouse("backbones").stdout
    assert "hidden=64-32" in icehouse("heads").stdout
    assert icehouse("--version").stdout.startswith("icehouse ")


def test_offline_the_missing_weights_are_named_with_what_works_instead(
    icehouse, image_folder, tmp_path
) -> None:
    env = {"KERAS_HOME": str(tmp_path / "keras"), "HTTPS_PROXY": "http://127.0.0.1:9", "no_proxy": ""}
    done = icehouse("extract", image_folder, "-o", "a.h5", "--weights", "imagenet", cwd=tmp_path, env=env)
    fails(
        done,
        1,
        "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "bcbd6486424b2319ff4ef7d526e38f63",
        str(tmp_path / "keras" / "models"),
        "--backbone efficientnetlite0",
    )
