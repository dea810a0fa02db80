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
from icehouse.extract import ct_phantoms, engines
from icehouse.extract.data import notes, read_data
from icehouse.extract.extraction import extract
from icehouse.extract.patients import FILE, PatientKey
from icehouse.extract.settings import Settings
from icehouse.extract.summary import Summary
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
