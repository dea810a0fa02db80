"""Promises about the synthetic CT sequences: known truth, real files, the same for a seed."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from icehouse.extract import ct_phantoms
from icehouse.extract.ct_phantoms import Sequence
from PIL import Image


@pytest.fixture(scope="module")
def patient() -> Sequence:
    return ct_phantoms.draw("P1", [3, 1], diseased=False, slices=24, size=128)


def test_a_sequence_opens_and_closes_its_lungs_from_neck_to_abdomen(patient) -> None:
    assert patient.hounsfield.shape == (24, 128, 128)
    assert patient.hounsfield.dtype == np.int16
    assert not patient.open[[0, 1, 2, -3, -2, -1]].any()
    opened = np.flatnonzero(patient.open)
    assert 6 <= len(opened) <= 16
    assert (np.diff(opened) == 1).all()
    assert patient.lung[0] == patient.lung[-1] == 0
    assert 15_000 < patient.lung.max() < 50_000  # mm²
    assert 6 < patient.spacing < 20


def test_tissues_have_the_numbers_of_their_kind(patient) -> None:
    values = patient.hounsfield
    corner, whole = values[:, :8, :8], values[np.argmax(patient.lung)]
    assert (corner == -1024).all()
    assert values.min() == -1024
    assert 300 < values.max() <= 3071
    assert abs(np.median(values[:, 4:12, 60:68]) + 1000) < 15  # the air above the patient
    lung = whole[(whole > -960) & (whole < -700)]
    assert lung.size * patient.pixel**2 > 0.6 * patient.lung.max()
    assert -890 < np.median(lung) < -800
    liver = values[np.flatnonzero(patient.open)[-1] + 6]
    assert abs(np.median(liver[60:76, 36:52]) - 58) < 15


def test_the_same_seed_draws_the_same_patient_and_another_seed_another(patient) -> None:
    again = ct_phantoms.draw("P1", [3, 1], diseased=False, slices=24, size=128)
    other = ct_phantoms.draw("P1", [3, 2], diseased=False, slices=24, size=128)
    np.testing.assert_array_equal(again.hounsfield, patient.hounsfield)
    assert (other.hounsfield != patient.hounsfield).mean() > 0.5


def test_a_disease_makes_the_lungs_denser_and_leaves_the_truth_alone() -> None:
    denser = []
    for seed in range(3):
        well, sick = (
            ct_phantoms.draw("P1", [5, seed], diseased=diseased, slices=10, size=96)
            for diseased in (False, True)
        )
        np.testing.assert_array_equal(well.lung, sick.lung)
        inside = well.hounsfield < -700
        changed = np.abs(sick.hounsfield.astype(int) - well.hounsfield)[inside] > 200
        denser.append(changed.mean())
    assert np.min(denser) > 0.002
    assert np.max(denser) < 0.3


def test_written_sequences_are_a_scanners_raw_numbers_and_a_manifest_with_the_truth(tmp_path) -> None:
    counted: list[int] = []
    manifest = ct_phantoms.write_sequences(
        tmp_path / "set", 1, 2, seed=4, slices=8, size=64, progress=counted.append
    )
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "patient", "series", "slice", "open"]
    assert counted == list(range(1, 25))
    assert [row["label"] for row in rows] == ["normal"] * 8 + ["diseased"] * 16
    assert [row["slice"] for row in rows[:8]] == [str(number) for number in range(1, 9)]
    assert len({(row["patient"], row["series"]) for row in rows}) == 3
    drawn = ct_phantoms.draw("P002", [4, 2], diseased=True, slices=8, size=64)
    for number, row in enumerate(rows[8:16]):
        with Image.open(tmp_path / "set" / row["path"]) as image:
            assert image.format == "TIFF"
            pixels = np.asarray(image)
        assert pixels.dtype == np.uint16
        np.testing.assert_array_equal(pixels.astype(int) - 1024, drawn.hounsfield[number])
        assert row["open"] == ("yes" if drawn.open[number] else "no")
        assert row["path"].split("/")[:2] == ["diseased", "P002"]


def test_a_dicom_series_has_its_slices_in_no_order_and_a_localizer_among_them(patient, tmp_path) -> None:
    import pydicom

    files = ct_phantoms.write_dicom(patient, tmp_path / "dicom", seed=1)
    found = sorted((tmp_path / "dicom").iterdir())
    assert len(found) == 25
    assert sorted(files) != files
    (localizer,) = (pydicom.dcmread(path) for path in set(found) - set(files))
    assert "LOCALIZER" in localizer.ImageType
    slices = [pydicom.dcmread(path) for path in files]
    assert len({picture.SOPInstanceUID for picture in [*slices, localizer]}) == 25
    assert {picture.SeriesInstanceUID for picture in slices}.isdisjoint({localizer.SeriesInstanceUID})
    assert len({picture.SeriesInstanceUID for picture in slices}) == 1
    heights = [float(picture.ImagePositionPatient[2]) for picture in slices]
    np.testing.assert_allclose(np.diff(heights), -patient.spacing, atol=1e-3)
    for number, picture in enumerate(slices):
        assert (picture.Modality, picture.BitsStored, picture.InstanceNumber) == ("CT", 12, number + 1)
        stored = picture.pixel_array.astype(int) * int(picture.RescaleSlope) + int(picture.RescaleIntercept)
        np.testing.assert_array_equal(stored, patient.hounsfield[number])


def test_the_same_series_is_the_same_files(patient, tmp_path) -> None:
    first, second = (
        ct_phantoms.write_dicom(patient, tmp_path / name, seed=1)[3].read_bytes() for name in ("a", "b")
    )
    assert first == second


def test_a_nifti_volume_lies_where_the_dicom_series_of_it_does(patient, tmp_path) -> None:
    import nibabel
    import pydicom

    files = ct_phantoms.write_dicom(patient, tmp_path / "dicom")
    ct_phantoms.write_nifti(patient, tmp_path / "volume.nii.gz")
    volume = nibabel.load(tmp_path / "volume.nii.gz")
    values = np.asarray(volume.dataobj)
    assert volume.shape == (128, 128, 24)
    to_voxel = np.linalg.inv(volume.affine)
    for number, row, column in ((0, 5, 90), (11, 60, 40), (23, 100, 70)):
        picture = pydicom.dcmread(files[number])
        spacing, corner = picture.PixelSpacing, np.array(picture.ImagePositionPatient, dtype=float)
        x, y, z = corner + np.array([column * spacing[1], row * spacing[0], 0])
        # DICOM's axes point to the left and the back, NIfTI's to the right and the front
        at = to_voxel @ (-x, -y, z, 1)
        np.testing.assert_allclose(at, np.round(at), atol=1e-2)
        i, j, k = np.round(at)[:3].astype(int)
        assert values[i, j, k] == patient.hounsfield[number, row, column]


def test_a_folder_that_exists_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        ct_phantoms.write_sequences(tmp_path, 1, 0, seed=1, slices=2, size=64)
