"""Promises about looking before computing: what there is, what is doubtful, what goes with the class."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from icehouse.cache.patient_key import PatientKey
from icehouse.extract import inspection
from icehouse.extract.data import read_data
from icehouse.extract.decode import Preparation
from icehouse.extract.findings import findings
from icehouse.extract.inspection import CONSTANT, IS_BLACK, IS_FLAT, IS_WHITE, NOT_READ, Inspection
from icehouse.extract.sources import Source
from icehouse.report.inspection import warnings
from making import draw
from PIL import Image

PREPARATION = Preparation(64)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)


def read_source(data: Path) -> Source:
    return read_data(data, PatientKey(None), 2)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def inspect(data: Path, **options: Any) -> Inspection:
    return inspection.inspect(read_source(data), PREPARATION, **options)


def found_in(data: Path) -> dict[str, Any]:
    source = read_source(data)
    looks = inspection.inspect(source, PREPARATION).looks
    return findings(source, looks, PREPARATION.size)


def marks_of(data: Path) -> dict[str, list[str]]:
    return {Path(look.sample.path).stem: look.marks for look in inspect(data).looks}


def test_every_file_is_counted_by_what_it_is(image_folder) -> None:
    save(image_folder / "covid" / "colour.jpg", np.dstack([NOISE] * 3))
    save(image_folder / "covid" / "deep.png", NOISE.astype(np.uint16) * 200)
    (image_folder / "covid" / "notes.txt").write_text("x")
    found = found_in(image_folder)
    assert (found["files"], found["images"], found["frames"]) == (14, 14, 14)
    kinds = {
        (kind["format"], kind["mode"], kind["bits"], kind["kind"]): kind["files"] for kind in found["kinds"]
    }
    assert kinds == {
        ("PNG", "L", 8, "8-bit"): 12,
        ("JPEG", "RGB", 8, "8-bit"): 1,
        ("PNG", "I;16", 16, "other"): 1,
    }
    sizes = found["sizes"]
    assert (sizes["smallest"], sizes["median"], sizes["largest"]) == ((60, 40), (56, 48), (56, 48))
    assert sizes["distinct"] == 2
    assert {label: own["files"] for label, own in found["classes"].items()} == {"covid": 8, "normal": 6}
    assert found["unknown"] == {".txt": ["covid/notes.txt"]}


def test_copies_are_found_by_content_and_by_pixels(tmp_path) -> None:
    one = save(tmp_path / "a" / "one.png", NOISE)
    shutil.copy(one, tmp_path / "a" / "same bytes.png")
    save(tmp_path / "a" / "as bmp.bmp", NOISE)
    save(tmp_path / "b" / "as colour.png", np.dstack([NOISE] * 3))
    save(tmp_path / "b" / "deep.png", NOISE.astype(np.uint16))
    save(tmp_path / "b" / "other.png", NOISE[::-1])
    copies = found_in(tmp_path)["copies"]
    assert copies["content"] == [["a/one.png", "a/same bytes.png"]]
    assert copies["pixels"] == [["a/as bmp.bmp", "a/one.png", "a/same bytes.png", "b/as colour.png"]]
    assert copies["several_labels"] == copies["pixels"]


def test_what_stands_in_several_splits_under_several_labels_or_patients_is_named(tmp_path) -> None:
    for name in "abcd":
        save(tmp_path / f"{name}.png", NOISE if name in "ab" else np.roll(NOISE, ord(name)))
    (tmp_path / "list.csv").write_text(
        "path,label,patient,split\na.png,covid,p1,train\nb.png,normal,p2,test\n"
        "c.png,covid,p1,test\nd.png,covid,p2,test\n"
    )
    found = found_in(tmp_path / "list.csv")
    copies = [found["copies"][f"several_{name}"] for name in ("labels", "splits", "patients")]
    assert copies == [[["a.png", "b.png"]]] * 3
    assert found["patients"]["several_splits"] == ["p1"]
    assert found["patients"]["several_labels"] == ["p2"]
    assert found["splits"] == {"test": {"covid": 2, "normal": 1}, "train": {"covid": 1}}


def test_what_is_constant_flat_or_saturated_is_marked(tmp_path) -> None:
    half = np.where(np.arange(60) < 30, 255, NOISE).astype(np.uint8)
    save(tmp_path / "constant.png", np.full((40, 60), 7, dtype=np.uint8))
    save(tmp_path / "flat.png", (NOISE % 3).astype(np.uint8) + 90)
    save(tmp_path / "white.png", half)
    save(tmp_path / "black.png", np.where(np.arange(60) < 40, 0, NOISE).astype(np.uint8))
    save(tmp_path / "good.png", np.where(np.arange(60) < 30, 0, NOISE).astype(np.uint8))
    save(tmp_path / "deep.png", np.where(half == 255, 65535, half.astype(np.uint16) * 200).astype(np.uint16))
    save(tmp_path / "deep constant.png", np.full((40, 60), 7, dtype=np.uint16))
    (tmp_path / "torn.png").write_bytes((tmp_path / "good.png").read_bytes()[:300])
    assert marks_of(tmp_path) == {
        "constant": [CONSTANT],
        "flat": [IS_FLAT],
        "white": [IS_WHITE],
        "black": [IS_BLACK],
        "good": [],
        "deep": [IS_WHITE],
        "deep constant": [CONSTANT],
        "torn": [NOT_READ],
    }


def test_a_file_that_cannot_be_read_is_listed_and_the_others_are_read(image_folder) -> None:
    (image_folder / "covid" / "text.png").write_text("hello")
    (image_folder / "normal" / "empty.png").write_bytes(b"")
    found = found_in(image_folder)
    assert [(item["path"], item["stage"]) for item in found["unreadable"]] == [
        ("covid/text.png", "decode"),
        ("normal/empty.png", "read"),
    ]
    assert found["classes"]["covid"] == {"files": 7, "read": 6, "patients": 0, "frames": 6}


def test_what_an_extraction_would_refuse_is_listed_too(tmp_path) -> None:
    pixels = NOISE.astype(np.float32)
    tifffile.imwrite(tmp_path / "good.tif", pixels)
    pixels[3, 4] = np.nan
    tifffile.imwrite(tmp_path / "nan.tif", pixels)
    (failure,) = found_in(tmp_path)["unreadable"]
    assert (failure["path"], failure["stage"]) == ("nan.tif", "intensity")


def test_a_class_that_a_format_or_a_column_gives_away_is_said_to_be_tied_to_it(tmp_path) -> None:
    rows = ["path,label,scanner,operator,age"]
    for number in range(40):
        covid = number % 2
        suffix = "png" if covid else "jpg"
        save(tmp_path / f"{number}.{suffix}", np.roll(NOISE, number))
        age = number + 50 * covid
        rows.append(
            f"{number}.{suffix},{'covid' if covid else 'normal'},{'AB'[covid]},{'xyz'[number % 3]},{age}"
        )
    (tmp_path / "list.csv").write_text("\n".join(rows))
    ties = {tie["name"]: tie for tie in found_in(tmp_path / "list.csv")["ties"]}
    assert set(ties) == {"format", "column scanner", "column age"}
    assert ties["format"]["v"] == 1
    assert ties["format"]["by_class"] == {"covid": {"PNG": 20}, "normal": {"JPEG": 20}}
    assert ties["column age"]["by_class"]["normal"] == {"≤ 19.5": 10, "> 19.5 to 44.5": 10}


def test_sizes_that_nearly_all_differ_are_compared_by_their_longer_side(tmp_path) -> None:
    for number in range(30):
        large = number % 2
        side = 40 + number + 100 * large
        save(
            tmp_path / ("covid" if large else "normal") / f"{number}.png", np.resize(NOISE, (side, 30 + number))
        )
    assert [tie["name"] for tie in found_in(tmp_path)["ties"]] == ["longer side"]


def test_equal_classes_are_not_tied_to_anything(tmp_path) -> None:
    for number in range(60):
        suffix = ("png", "bmp", "jpg")[number % 3]
        save(tmp_path / "ab"[number % 2] / f"{number}.{suffix}", np.roll(NOISE, number))
    assert found_in(tmp_path)["ties"] == []


def test_the_sheet_shows_some_of_each_class_spread_evenly_and_of_volumes_some_frames(tmp_path) -> None:
    for number in range(100):
        draw(tmp_path / "many" / f"{number:03}.png", number)
    volume = np.stack(
        [np.full((20, 20), 10 * number, dtype=np.uint8) + NOISE[:20, :20] // 9 for number in range(9)]
    )
    tifffile.imwrite(
        draw(tmp_path / "few" / "0.png", 1).with_name("volume.tif"), volume, photometric="minisblack"
    )
    found = inspect(tmp_path)
    assert [Path(tile.look.sample.path).stem for tile in found.classes["many"]] == [
        f"{number:03}" for number in (6, 18, 31, 43, 56, 68, 81, 93)
    ]
    few = [(Path(tile.look.sample.path).name, tile.frame) for tile in found.classes["few"]]
    assert few == [("0.png", 0), *(("volume.tif", frame) for frame in (1, 3, 5, 7))]
    tile = found.classes["few"][-1]
    assert tile.pixels.shape == (64, 64, 3)
    assert tile.pixels.mean() == pytest.approx(volume[7].mean(), abs=1)  # what the network sees of that frame
    assert inspect(tmp_path, tiles=False).classes == {}


def test_of_the_doubtful_files_the_worst_are_shown(tmp_path) -> None:
    for number in range(40):
        draw(tmp_path / f"a{number:02}.png", number)
        white = np.where(np.arange(60) < 30, 255, np.roll(NOISE, number)).astype(np.uint8)
        save(tmp_path / f"b{number:02}.png", white)
    (tmp_path / "c.png").write_text("hello")
    save(tmp_path / "d.png", np.zeros((9, 9), dtype=np.uint8))
    for number in range(10):
        draw(tmp_path / f"e{number}.png", 100 + number)
    doubtful = inspect(tmp_path).doubtful
    assert [tile.look.marks for tile in doubtful] == [[NOT_READ], [CONSTANT], *[[IS_WHITE]] * 14]
    assert doubtful[0].pixels is None


def test_pixels_are_let_go_file_by_file(tmp_path) -> None:
    large = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    peaks = []
    for count in (10, 30):
        for number in range(count):
            save(tmp_path / str(count) / f"{number}.bmp", np.roll(large, number))
        source = read_source(tmp_path / str(count))
        tracemalloc.start()
        inspection.inspect(source, PREPARATION)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 8 * large.size  # which threads happen to hold; 20 more files were read


def test_looking_loads_no_framework_and_tells_how_far_it_is(image_folder) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from icehouse.extract import findings, inspection, sources, decode\n"
        "source, told = sources.read_source(Path(sys.argv[1])), []\n"
        "inspection.inspect(source, decode.Preparation(32), progress=lambda *now: told.append(now))\n"
        "print(told[0], told[-1], {'keras', 'tensorflow', 'openvino', 'torch', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, image_folder], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "(1, 12) (12, 12) set()", done.stderr


def test_real_x_rays_say_by_themselves_that_class_and_source_are_confounded(shared) -> None:
    source = read_data(shared / "data" / "cxr" / "manifest.csv", PatientKey(None), 2, limit=60)
    looks = inspection.inspect(source, Preparation(224)).looks
    found = findings(source, looks, 224)
    assert found["ties"][0]["name"] == "column source"
    assert found["ties"][0]["v"] > 0.99
    assert found["unreadable"] == []
    assert found["constant"] == []


def dicom(path: Path, view: str, **more: Any) -> None:
    import pydicom

    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality, dataset.ViewPosition, dataset.PhotometricInterpretation = "DX", view, "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.PixelRepresentation = *NOISE.shape, 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    pixels = np.roll(NOISE, int(path.stem)).astype(np.uint16) * 16
    dataset.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def test_the_headers_of_dicom_files_tell_views_annotations_and_what_is_passed_over(tmp_path) -> None:
    for number in range(24):
        dicom(tmp_path / "ab"[number % 2] / f"{number:02}.dcm", "AP" if number % 2 else "PA")
    dicom(tmp_path / "a" / "24.dcm", "LL")
    dicom(tmp_path / "a" / "25.dcm", "PA", BurnedInAnnotation="YES")
    dicom(tmp_path / "a" / "26.dcm", "PA", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    found = found_in(tmp_path)
    assert found["dicom"]["views"] == {"PA": 13, "AP": 12, "LL": 1}
    assert found["dicom"]["lateral"] == ["a/24.dcm"]
    assert found["dicom"]["burned_in"] == ["a/25.dcm"]
    assert found["passed_over"] == {"localizer": ["a/26.dcm"]}
    assert found["classes"]["a"]["read"] == 14
    assert [tie["name"] for tie in found["ties"]] == ["view position"]
    said = [warning["what"] for warning in warnings({**found})]
    assert any(
        sentence.startswith("AP and PA views are mixed (a 0 AP and 13 PA; b 12 AP and 0 PA)")
        for sentence in said
    )
