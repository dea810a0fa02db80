"""Promises about what an inspection says: the most important first, in sentences, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from icehouse.extract import inspection
from icehouse.extract.decode import Preparation
from icehouse.extract.findings import findings
from icehouse.extract.sources import read_source
from icehouse.report.inspection import inspection_text, warnings
from making import draw
from PIL import Image


def inspected(data: Path) -> dict[str, Any]:
    source = read_source(data)
    looks = inspection.inspect(source, Preparation(64), tiles=False).looks
    found = {"data": str(data), **findings(source, looks, 64), "seconds": 1.0, "sheet": None}
    return {**found, "warnings": warnings(found)}


def untidy(folder: Path) -> Path:
    for number in range(30):
        draw(folder / "covid" / f"{number}.png", number, bright=True)
        picture = Image.open(draw(folder / "drawn.png", number))
        (folder / "normal").mkdir(exist_ok=True)
        picture.save(folder / "normal" / f"{number}.jpg")
    (folder / "drawn.png").rename(folder / "covid" / "copied.png")
    Image.open(folder / "covid" / "copied.png").save(folder / "normal" / "copied.bmp")
    (folder / "normal" / "torn.jpg").write_bytes((folder / "normal" / "1.jpg").read_bytes()[:200])
    Image.fromarray(np.zeros((20, 60), dtype=np.uint8)).save(folder / "normal" / "black.jpg")
    (folder / "notes.txt").write_text("x")
    return folder


def test_every_warning_says_what_and_what_to_do_the_most_important_first(tmp_path) -> None:
    found = inspected(untidy(tmp_path))
    starts = [
        "1 file of 64 cannot be read, such as normal/torn.jpg: ",
        "1 picture under several labels, such as covid/copied.png and normal/copied.bmp.",
        "The class and format go together (Cramér's V 0.9",
        "No patients are known",
        "1 file has one value in every pixel, such as normal/black.jpg.",
        "1 group of files that differ but hold the same pixels",
        "1 file more than twice as long as wide, such as normal/black.jpg.",
        "1 file of unknown type .txt passed over, such as notes.txt.",
    ]
    assert len(found["warnings"]) == len(starts)
    for warning, start in zip(found["warnings"], starts, strict=True):
        assert warning["what"].startswith(start), warning
        assert warning["what"].endswith(".")
        assert warning["do"].endswith(".")
    tie = found["warnings"][2]["what"]
    assert "covid all 31 PNG; normal 31 of 32 JPEG, 1 of 32 BMP." in tie
    assert "A classifier could tell the classes by traces of that" in tie


def test_the_text_tells_what_there_is_and_what_goes_with_the_class(tmp_path) -> None:
    text = inspection_text(inspected(untidy(tmp_path)))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"{tmp_path}: 64 files, 63 different images, 2 classes, no patients known (read in 1 s)" in lines
    assert "PNG L 8 8-bit 31" in lines
    assert "covid 31 31 31 –" in lines
    assert "normal 33 32 32 –" in lines
    assert any(line.startswith("format 0.9") and line.endswith("PNG 100% JPEG 97%") for line in lines)
    assert "Failed images" in lines


def test_clean_data_are_not_warned_of(tmp_path) -> None:
    rows = ["path,label,patient"]
    for number in range(24):
        draw(tmp_path / f"{number}.png", number)
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    found = inspected(tmp_path / "list.csv")
    assert found["warnings"] == []
    assert "Nothing to warn of." in inspection_text(found)


def test_patients_and_classes_that_will_not_do_are_warned_of(tmp_path) -> None:
    rows = ["path,label,patient,split"]
    for number in range(14):
        draw(tmp_path / f"{number}.png", number)
        label = "rare" if number < 2 else "common"
        rows.append(f"{number}.png,{label},{'p' if number < 4 else ''},{'test' if number == 3 else 'train'}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    said = [warning["what"] for warning in inspected(tmp_path / "list.csv")["warnings"]]
    assert said == [
        "1 patient in more than one split, such as p: what is tested was trained on.",
        "The split test has no file of rare.",
        "Class rare has 2 files that can be read: too few to train and test on.",
        "10 files without a patient, such as 4.png: each counts as a patient of its own.",
        "1 patient under several labels, such as p.",
    ]


def test_files_without_labels_can_be_inspected(tmp_path) -> None:
    draw(tmp_path / "a.png", 1)
    found = inspected(tmp_path)
    assert found["warnings"][0]["what"] == "No file has a label."
    assert "(no label)" in inspection_text(found)
