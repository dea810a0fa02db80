"""Promises about DICOM folders: slices in their order, what is no slice passed over, patients never named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pydicom
import pytest
from icehouse import errors, open_cache
from icehouse.cache.patient_key import FILE, PatientKey
from icehouse.extract import ct_phantoms, engines
from icehouse.extract.data import notes, read_data
from icehouse.extract.extraction import extract
from icehouse.extract.settings import Settings
from icehouse.extract.sources import Source
from icehouse.extract.summary import Summary
from making_volumes import AXIAL, dicom
from small_network import SmallNetwork

SLICES = 8


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))


def run(data: Path, cache: Path, **options: Any) -> Summary:
    source = read_data(data, PatientKey(cache.parent), 2)
    return extract(source, cache, Settings(backbone="efficientnetlite0", batch_size=4, **options))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    """Return a folder with one chest as dicom/, a folder of shuffled files, and as nifti/volume.nii.gz."""
    folder = tmp_path_factory.mktemp("volumes")
    sequence = ct_phantoms.draw("4711", [1, 1], diseased=True, slices=SLICES, size=64)
    (folder / "dicom" / "covid").mkdir(parents=True)
    ct_phantoms.write_dicom(sequence, folder / "dicom" / "covid", seed=3)
    (folder / "nifti").mkdir()
    ct_phantoms.write_nifti(sequence, folder / "nifti" / "volume.nii.gz")
    return folder


@pytest.fixture
def work(volumes, tmp_path) -> Path:
    shutil.copytree(volumes, tmp_path / "work")
    return tmp_path / "work"


def test_one_volume_as_shuffled_dicom_files_and_as_nifti_yields_equal_vectors(work) -> None:
    summary = run(work / "dicom", work / "dicom.h5")
    assert (summary.computed, summary.passed_over) == (SLICES, {"localizer": 1})
    assert run(work / "nifti", work / "nifti.h5").computed == SLICES
    assert summary.intensity == {"ct": {"files": SLICES, "policy": "lung"}}
    with open_cache(work / "dicom.h5") as dicom, open_cache(work / "nifti.h5") as nifti:
        np.testing.assert_array_equal(dicom.X, nifti.X)
        assert len(np.unique(dicom.X, axis=0)) == SLICES
        names = dicom.samples.path.tolist()
        assert names != sorted(names)  # the positions decide, not the names


@pytest.mark.parametrize("rule", ["middle", "every:3", "open-lung"])
def test_a_rule_takes_the_same_slices_of_a_series_and_of_a_volume(work, rule) -> None:
    series, volume = (run(work / kind, work / f"{kind}.h5", frames=rule) for kind in ("dicom", "nifti"))
    assert 0 < series.computed == volume.computed < SLICES
    assert (series.not_selected, series.sequences) == (SLICES - series.computed, 1)
    with open_cache(work / "dicom.h5") as dicom, open_cache(work / "nifti.h5") as nifti:
        np.testing.assert_array_equal(dicom.X, nifti.X)


def test_a_patient_becomes_a_pseudonym_and_nothing_in_the_cache_names_him(work) -> None:
    for file in (work / "dicom" / "covid").iterdir():
        header = pydicom.dcmread(file)
        header.PatientName, header.PatientID = "Mustermann^Max", "X4711X"
        header.PatientBirthDate, header.InstitutionName = "19500102", "Somewhere General"
        header.save_as(file)
    run(work / "dicom", work / "features.h5")
    with open_cache(work / "features.h5") as cache:
        (patient,) = set(cache.groups)
        assert patient.startswith("patient-")
        assert patient == PatientKey(work).pseudonym("patient", "X4711X", "")
    with h5py.File(work / "features.h5", locking=False) as file:
        held = json.dumps({name: str(value) for name, value in file.attrs.items()}).encode()
        stored: list[bytes] = []
        file.visititems(lambda _, item: stored.append(item[()].tobytes()) if hasattr(item, "dtype") else None)
    everything = held + b"".join(stored)
    for text in (b"Mustermann", b"X4711X", b"19500102", b"Somewhere"):
        assert text not in everything
    assert (work / FILE).exists()
    run(work / "dicom", work / "again.h5")
    with open_cache(work / "again.h5") as cache:
        assert set(cache.groups) == {patient}


def test_files_without_a_known_patient_are_grouped_by_study_and_series(work) -> None:
    for number, file in enumerate(sorted((work / "dicom" / "covid").iterdir())):
        header = pydicom.dcmread(file)
        header.PatientID = "Unknown"
        header.StudyInstanceUID = f"1.2.3.{number % 2}"
        header.SeriesInstanceUID = f"1.2.4.{number % 4}"
        header.save_as(file)
    run(work / "dicom", work / "features.h5")
    with open_cache(work / "features.h5") as cache:
        assert len(set(cache.groups)) == 2
        assert "" not in cache.groups


def test_one_series_stays_together_whatever_studies_its_files_name(work) -> None:
    for number, file in enumerate(sorted((work / "dicom" / "covid").iterdir())):
        header = pydicom.dcmread(file)
        header.PatientID, header.StudyInstanceUID = "Unknown", f"1.2.3.{number}"
        header.save_as(file)
    summary = run(work / "dicom", work / "features.h5", frames="middle")
    assert (summary.sequences, summary.computed) == (1, 1)
    with open_cache(work / "features.h5") as cache:
        assert len(set(cache.samples.patient)) == 1


def test_a_series_torn_apart_is_one_sequence_and_one_person_and_two_whole_ones_are_two(work) -> None:
    files = sorted((work / "dicom" / "covid").iterdir())
    headers = {file: pydicom.dcmread(file) for file in files}
    slices = [file for file in files if "LOCALIZER" not in headers[file].ImageType]
    for restart, expected in ((False, 1), (True, 2)):
        for file in slices:
            header, number = headers[file], int(pydicom.dcmread(file).InstanceNumber)
            late = number > SLICES // 2
            header.PatientID = ""
            header.StudyInstanceUID = header.SeriesInstanceUID = f"1.2.3.{int(late)}"
            header.InstanceNumber = number - SLICES // 2 if late and restart else number
            header.save_as(work / "dicom" / "covid" / f"again-{file.name}")
        for file in slices:
            file.unlink(missing_ok=True)
        torn = work / f"{expected}.h5"
        assert run(work / "dicom", torn, frames="middle").computed == expected
        with open_cache(torn) as cache:
            assert len(set(cache.samples.patient)) == expected
        for file in slices:
            (work / "dicom" / "covid" / f"again-{file.name}").rename(file)


def write(folder: Path, name: str, study: str, series: str, **elements: Any) -> None:
    """Write one small picture."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
    (folder / f"{name}.dcm").write_bytes(dicom(np.zeros((4, 4), np.uint16), **{**uids, **elements}))


def write_slices(folder: Path, uid: str, first: int, last: int, **elements: Any) -> None:
    """Write slices whose study and series have UIDs of the same beginning."""
    for number in range(first, last + 1):
        told = {"Modality": "NM", "PatientID": "Anonymous", "InstanceNumber": number, **elements}
        write(folder, f"{uid}-{number}", uid, f"{uid}.4", **told)


def at(height: float) -> dict[str, Any]:
    return {"ImageOrientationPatient": AXIAL, "ImagePositionPatient": (0.0, 0.0, height)}


def sorted_out(data: Path) -> Source:
    return read_data(data, PatientKey(data.parent), 2)


def parts(data: Path) -> tuple[int, int]:
    """Return how many series and how many patients a folder holds; nothing is written beside it."""
    samples = read_data(data, PatientKey(None), 2).samples
    return len({sample.header.series for sample in samples}), len({sample.patient for sample in samples})


EARLY, LATE = "9.1588608729.5", "9.1588608730.5"


def test_pieces_whose_uids_are_a_second_apart_are_one_series(tmp_path) -> None:
    write_slices(tmp_path / "d", EARLY, 1, 5)
    write_slices(tmp_path / "d", LATE, 6, 12)
    write_slices(tmp_path / "d", "9.1588608732.5", 13, 14)
    assert parts(tmp_path / "d") == (1, 1)


def test_the_real_series_that_an_anonymizer_tore_apart_is_one(shared) -> None:
    assert parts(shared / "data" / "ct_series" / "series6" / "dicom") == (1, 1)


def test_radiographs_that_are_numbered_one_after_another_stay_apart(tmp_path) -> None:
    for number in range(1, 21):
        write_slices(tmp_path / "d", f"9.15886087{number:02}.5", number, number, Modality="DX")
    assert parts(tmp_path / "d") == (20, 20)


@pytest.mark.parametrize(
    ("uid", "change"),
    [
        (LATE, {"Modality": "XA"}),
        (LATE, {"Rows": 2, "Columns": 8}),
        (LATE, {"PatientID": "4711"}),
        (LATE, {"NumberOfFrames": 2, "Rows": 2}),
        (LATE, at(5.0)),
        (LATE, {"StudyInstanceUID": EARLY}),
        (LATE, {"StudyInstanceUID": ""}),
        (LATE, {"StudyInstanceUID": "9.1588608731.5"}),
        ("9.1588608850.5", {}),
        ("9.1588608728.5", {}),
        ("9.1588608730.6", {}),
        ("9.1588608730.5.1", {}),
    ],
    ids=str,
)
def test_pieces_that_something_speaks_against_stay_apart(tmp_path, uid, change) -> None:
    write_slices(tmp_path / "d", EARLY, 1, 5)
    write_slices(tmp_path / "d", uid, 6, 12, **change)
    assert parts(tmp_path / "d")[0] == 2


@pytest.mark.parametrize(
    ("first", "last"), [(1, 5), (5, 9), (7, 9), (6, 6)], ids=["whole", "same number", "gap", "one slice"]
)
def test_pieces_whose_numbers_do_not_go_on_stay_apart(tmp_path, first, last) -> None:
    write_slices(tmp_path / "d", EARLY, 1, 5)
    write_slices(tmp_path / "d", LATE, first, last)
    assert parts(tmp_path / "d")[0] == 2


def test_two_pieces_that_both_go_on_from_one_are_joined_to_none(tmp_path) -> None:
    write_slices(tmp_path / "d", EARLY, 1, 5)
    write_slices(tmp_path / "d", LATE, 6, 12)
    write_slices(tmp_path / "d", "9.1588608731.5", 6, 9)
    assert parts(tmp_path / "d")[0] == 3


@pytest.mark.parametrize(
    ("start", "step", "expected"),
    [(-60.0, 5.0, 2), (-10.0, 5.0, 1), (-10.0, -5.0, 2), (40.0, 5.0, 2), (-12.5, 5.0, 2)],
    ids=["same positions", "goes on", "turns round", "far away", "in between"],
)
def test_known_positions_decide_whether_numbers_that_go_on_are_one_series(
    tmp_path, start, step, expected
) -> None:
    for number in range(1, 11):
        told = {"Modality": "CT", "PatientID": "4711"}
        first, second = at(-60.0 + 5 * (number - 1)), at(start + step * (number - 1))
        write(tmp_path / "d", f"a{number}", "1.2", "1.2.1", InstanceNumber=number, **told, **first)
        write(tmp_path / "d", f"b{number}", "1.2", "1.2.2", InstanceNumber=number + 10, **told, **second)
    assert parts(tmp_path / "d") == (expected, 1)


def patients_of(data: Path) -> dict[str, str]:
    return {Path(sample.path).stem: sample.patient for sample in sorted_out(data).samples}


def test_files_of_one_study_are_one_person_with_and_without_a_number_or_an_issuer(tmp_path) -> None:
    write(tmp_path / "d", "issued", "1.1", "1.1.1", PatientID="4711", IssuerOfPatientID="A")
    write(tmp_path / "d", "bare", "1.2", "1.2.1", PatientID="4711")
    write(tmp_path / "d", "nameless", "1.2", "1.2.2")
    write(tmp_path / "d", "other", "1.3", "1.3.1", PatientID="4712")
    found = patients_of(tmp_path / "d")
    assert found["issued"] == found["bare"] == found["nameless"] != found["other"]
    for name in ("bare", "nameless", "other"):
        (tmp_path / "d" / f"{name}.dcm").unlink()
    assert patients_of(tmp_path / "d") == {"issued": found["issued"]}


def test_equal_numbers_of_two_issuers_are_two_people_until_a_file_may_be_of_either(tmp_path) -> None:
    write(tmp_path / "d", "a", "1.1", "1.1.1", PatientID="4711", IssuerOfPatientID="A")
    write(tmp_path / "d", "b", "1.2", "1.2.1", PatientID="4711", IssuerOfPatientID="B")
    assert len(set(patients_of(tmp_path / "d").values())) == 2
    write(tmp_path / "d", "c", "1.3", "1.3.1", PatientID="4711")
    assert len(set(patients_of(tmp_path / "d").values())) == 1


def test_a_file_that_the_manifest_leaves_unnamed_is_of_whom_it_names_beside_it(tmp_path) -> None:
    told = {
        "named": ("ann", "1.1", "1.1.1", "4711"),
        "same series": ("", "1.9", "1.1.1", ""),
        "same study": ("", "1.1", "1.1.2", ""),
        "same number": ("", "1.2", "1.2.1", "4711"),
        "through the number": ("", "1.2", "1.2.2", ""),
        "bob": ("bob", "1.3", "1.3.1", "4712"),
        "eve": ("eve", "1.3", "1.3.2", "4713"),
        "of bob's series": ("", "1.3", "1.3.1", ""),
        "of either": ("", "1.3", "1.3.3", ""),
        "of either, too": ("", "1.3", "1.3.4", ""),
    }
    rows = ["path,patient"]
    for name, (patient, study, series, number) in told.items():
        write(tmp_path / "d", name, study, series, PatientID=number)
        rows.append(f'"d/{name}.dcm",{patient}')
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    found = patients_of(tmp_path / "manifest.csv")
    assert [found[name] for name in list(told)[:5]] == ["ann"] * 5
    assert (found["bob"], found["eve"], found["of bob's series"]) == ("bob", "eve", "bob")
    assert found["of either"] == found["of either, too"]
    assert found["of either"].startswith("patient-")


def test_a_column_names_the_series_of_sections_and_of_nothing_else(work, tmp_path) -> None:
    source = sorted_out(work / "dicom")
    (name,) = {sample.columns["series"] for sample in source.samples}
    uid = source.samples[0].header.series
    assert name.startswith("series-")
    assert uid not in name
    again = read_data(work / "dicom", PatientKey(tmp_path), 1)  # another key, the same name
    assert {sample.columns["series"] for sample in again.samples} == {name}
    assert all(not sample.columns for sample in sorted_out(work / "nifti").samples)
    radiograph = dicom(np.zeros((16, 16), dtype=np.uint16), Modality="CR", SeriesInstanceUID="1.2.3")
    (tmp_path / "x-rays").mkdir()
    (tmp_path / "x-rays" / "1.dcm").write_bytes(radiograph)
    assert all(not sample.columns for sample in sorted_out(tmp_path / "x-rays").samples)


def test_a_column_series_of_ones_own_stays(work) -> None:
    files = sorted(path.relative_to(work) for path in (work / "dicom" / "covid").iterdir())
    rows = [f"{path},{'mine' if number else ''}" for number, path in enumerate(files)]
    (work / "manifest.csv").write_text("path,series\n" + "\n".join(rows) + "\n")
    assert {sample.columns["series"] for sample in sorted_out(work / "manifest.csv").samples} == {"mine", ""}


def test_a_manifests_own_patients_and_order_come_first(work) -> None:
    files = sorted(path.relative_to(work) for path in (work / "dicom" / "covid").iterdir())
    rows = [f"{path},covid,mine" for path in reversed(files)]
    (work / "manifest.csv").write_text("path,label,patient\n" + "\n".join(rows) + "\n")
    run(work / "manifest.csv", work / "features.h5")
    with open_cache(work / "features.h5") as cache:
        assert set(cache.groups) == {"mine"}
        assert cache.samples.path.tolist() == sorted(cache.samples.path.tolist(), reverse=True)
    assert not (work / FILE).exists()


def test_dicom_files_without_a_suffix_are_found_and_what_is_passed_over_is_said(work) -> None:
    folder = work / "dicom" / "covid"
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"1.2.840.{number}")
    (folder / "notes").write_text("no picture")
    source = read_data(work / "dicom", PatientKey(None), 2)
    assert len(source.samples) == SLICES
    said = notes(source)
    assert any("1 file passed over" in text and text.endswith(": localizer") for text in said)
    assert any("of unknown type (no suffix) passed over, such as covid/notes" in text for text in said)


def test_a_folder_of_nothing_but_localizers_is_an_error_that_says_so(work) -> None:
    for file in (work / "dicom" / "covid").iterdir():
        if "LOCALIZER" not in pydicom.dcmread(file).ImageType:
            file.unlink()
    with pytest.raises(errors.SourceError, match=r"Every file was passed over \(localizer: 1\)"):
        read_data(work / "dicom", PatientKey(None), 2)


def test_a_damaged_dicom_file_is_a_failure_of_its_own(work) -> None:
    damaged = sorted((work / "dicom" / "covid").iterdir())[2]
    damaged.write_bytes(damaged.read_bytes()[:3000])
    summary = run(work / "dicom", work / "features.h5")
    assert summary.computed >= SLICES - 1
    assert [failure.path for failure in summary.failures] == [f"covid/{damaged.name}"]
