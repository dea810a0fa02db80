"""Promises about `icehouse inspect` and `icehouse doctor` at the command line."""

from __future__ import annotations

import json

from PIL import Image


def test_inspect_prints_what_there_is_and_draws_the_sheet(icehouse, image_folder, tmp_path) -> None:
    done = icehouse("inspect", image_folder, "--backbone", "efficientnetlite0", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "12 files, 12 different images, 2 classes" in done.stdout
    assert "No patients are known" in done.stdout
    assert "Contact sheet, as the network sees them: images-sheet.png" in done.stdout
    with Image.open(tmp_path / "images-sheet.png") as sheet:
        assert sheet.format == "PNG"


def test_an_older_sheet_stays_unless_told(icehouse, image_folder, tmp_path) -> None:
    (tmp_path / "images-sheet.png").write_text("mine")
    done = icehouse("inspect", image_folder, cwd=tmp_path)
    assert done.returncode == 0
    assert "No contact sheet" in done.stderr
    done = icehouse("inspect", image_folder, "--sheet", "images-sheet.png", cwd=tmp_path)
    assert done.returncode == 1
    assert "images-sheet.png exists already" in done.stderr
    assert (tmp_path / "images-sheet.png").read_text() == "mine"
    assert icehouse("inspect", image_folder, "--overwrite", "--quiet", cwd=tmp_path).returncode == 0
    assert (tmp_path / "images-sheet.png").read_bytes().startswith(b"\x89PNG")


def test_inspect_prints_one_json_document_and_ends_with_3_if_files_cannot_be_read(
    icehouse, image_folder, tmp_path
) -> None:
    (image_folder / "covid" / "text.png").write_text("hello")
    done = icehouse("inspect", image_folder, "--json", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "")
    found = json.loads(done.stdout)
    assert found["unreadable"][0]["path"] == "covid/text.png"
    assert found["warnings"][0]["what"].startswith("1 file of 13 cannot be read")
    assert found["sheet"] == "images-sheet.png"


def test_doctor_ends_with_1_if_something_fails_and_names_the_remedy(icehouse, tmp_path) -> None:
    env = {"KERAS_BACKEND": "none", "ICEHOUSE_WEIGHTS": str(tmp_path / "nowhere")}
    done = icehouse("doctor", tmp_path, "--json", env=env)
    assert done.returncode == 1, done.stderr
    failed = [check for check in json.loads(done.stdout) if check["status"] == "FAIL"]
    assert any("nowhere" in check["what"] and "unset ICEHOUSE_WEIGHTS" in check["remedy"] for check in failed)
    done = icehouse("doctor", "no-such-folder", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
