"""Promises about NIfTI: a volume looks as the DICOM of it does, whichever way its axes run."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import nifti as reader
from icehouse.extract.decode import open_image
from icehouse.extract.dicom_header import read_header
from icehouse.extract.picture import Picture
from making_volumes import AXIAL, dicom, nifti

RNG = np.random.default_rng(0)
VOLUME = RNG.integers(
    0, 4096, (5, 20, 30), dtype=np.int16
)  # slices from below, rows to the back, columns to the left
SPACING = (2.5, 0.7, 0.8)
CORNER = (-60.0, -80.0, 30.0)  # of the first slice's first pixel: left, back, up
TO_RIGHT_FRONT_UP = np.diag([-1.0, -1.0, 1.0, 1.0])
AS_IT_IS = np.array(
    [[SPACING[2], 0, 0, CORNER[0]], [0, SPACING[1], 0, CORNER[1]], [0, 0, SPACING[0], CORNER[2]], [0, 0, 0, 1]]
)


def frames(content: bytes) -> list[Picture]:
    opened = open_image(content)
    return [opened.frame(number) for number in range(opened.facts.frames)]


def turned(axes: tuple[int, ...], flips: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the volume as (x, y, z) with its axes exchanged and reversed, and the affine that says so."""
    stored = VOLUME.transpose(2, 1, 0)
    affine = TO_RIGHT_FRONT_UP @ AS_IT_IS
    for axis in flips:
        stored = np.flip(stored, axis)
        affine = affine.copy()
        affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
        affine[:3, axis] *= -1
    return np.asfortranarray(stored.transpose(axes)), affine[:, [*axes, 3]]


@pytest.mark.parametrize(
    ("axes", "flips"),
    [
        ((0, 1, 2), ()),
        ((0, 1, 2), (0, 1)),
        ((0, 1, 2), (2,)),
        ((0, 1, 2), (0, 1, 2)),
        ((1, 2, 0), (1,)),
        ((2, 0, 1), (0, 2)),
    ],
    ids=["as dicom", "neurological", "from above", "all", "sagittal", "coronal"],
)
def test_a_volume_gives_the_same_pictures_as_dicom_slices_and_as_nifti(tmp_path, axes, flips) -> None:
    names = RNG.permutation(len(VOLUME)).tolist()
    common = {
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3.4",
        "ImageOrientationPatient": AXIAL,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
    }
    for number, name in enumerate(names):
        place = [CORNER[0], CORNER[1], CORNER[2] + number * SPACING[0]]
        content = dicom(VOLUME[number], **common, ImagePositionPatient=place, InstanceNumber=name)
        (tmp_path / f"IM{name}").write_bytes(content)
    scout = dicom(VOLUME[0].T, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **common)
    (tmp_path / "IM00").write_bytes(scout)

    headers = [(read_header(file), file) for file in sorted(tmp_path.iterdir())]
    kept = [(header.position, file) for header, file in headers if header.passed_over is None]
    assert len(kept) == len(VOLUME)
    slices = [frames(file.read_bytes())[0] for _, file in sorted(kept)]

    stored, affine = turned(axes, flips)
    for pictures in (
        frames(nifti((stored - 1024).astype(np.int16), affine)),
        frames(nifti(stored, affine, slope=1, intercept=-1024)),
        frames(gzip.compress(nifti((stored - 1024.0).astype(np.float32), affine))),
    ):
        assert len(pictures) == len(slices)
        for picture, of_dicom in zip(pictures, slices, strict=True):
            np.testing.assert_array_equal(picture.pixels, of_dicom.pixels)
            assert picture.kind == of_dicom.kind == "ct"
    np.testing.assert_array_equal([picture.pixels for picture in slices], VOLUME - 1024.0)


def test_a_file_of_several_volumes_is_refused_with_the_remedy_and_one_of_a_single_one_is_read() -> None:
    stored, affine = turned((0, 1, 2), ())
    with pytest.raises(errors.ImageError, match="2 volumes; split it into one file per time point"):
        open_image(nifti(np.stack([stored, stored + 1], axis=-1), affine))
    np.testing.assert_array_equal(
        [picture.pixels for picture in frames(nifti(stored[..., np.newaxis], affine))], VOLUME
    )


def kind_of(numbers: np.ndarray) -> str:
    return open_image(nifti(numbers, TO_RIGHT_FRONT_UP @ AS_IT_IS)).facts.kind


def test_a_volume_is_a_ct_by_its_air_and_not_by_an_outlier() -> None:
    tissue = RNG.normal(40, 20, (64, 64, 12)).astype(np.float32)
    chest, outlier, metal = tissue.copy(), tissue.copy(), tissue.copy()
    chest[20:40, 20:40, :6] = -850
    outlier[3, 3, 3] = -1000
    metal[20:40, 20:40, :6] = -850
    metal[5, 5, 5] = 30000
    assert [kind_of(volume) for volume in (chest, metal, tissue, outlier)] == ["ct", "ct", "other", "other"]
    assert kind_of((chest * 16).astype(np.int16)) == "other"  # air at -13600
    assert kind_of(tissue - tissue.mean() - 250) == "other"  # an MR whose mean was taken off
    wide = chest.copy()
    wide[40:] = 20000
    assert kind_of(wide) == "other"


def test_the_air_of_a_large_volume_is_found_wherever_it_lies() -> None:
    large = np.zeros((128, 128, 32), dtype=np.int16)
    columns = large.copy()
    columns[1::32] = -900  # 3 % of the voxels, which steps of 16 or 32 would all miss
    assert [kind_of(volume) for volume in (large, columns)] == ["other", "ct"]


@pytest.mark.parametrize("dtype", ["u1", "i1", "<i2", "<u2", "<i4", "<f4", "<f8", "<i8"])
def test_every_type_of_number_keeps_its_values(dtype) -> None:
    stored = (VOLUME.transpose(2, 1, 0) % 100).astype(dtype)
    opened = open_image(nifti_of(stored))
    picture = opened.frame(1)
    np.testing.assert_array_equal(picture.pixels, VOLUME[1] % 100)
    assert opened.facts.bits == picture.bits == 8 * stored.dtype.itemsize
    assert opened.facts.mode == str(stored.dtype)
    assert picture.kind == ("8-bit" if dtype == "u1" else "other")
    if stored.dtype.kind == "f":
        assert picture.stored is None
    else:
        limits = np.iinfo(stored.dtype)
        assert picture.stored == (float(limits.min), float(limits.max))


def nifti_of(stored: np.ndarray, version: type = nibabel.Nifti1Image) -> bytes:
    image = version(stored, TO_RIGHT_FRONT_UP @ AS_IT_IS, dtype=stored.dtype)
    return image.to_bytes()


def test_version_2_and_big_endian_files_are_read() -> None:
    stored = VOLUME.transpose(2, 1, 0)
    np.testing.assert_array_equal(frames(nifti_of(stored, nibabel.Nifti2Image))[3].pixels, VOLUME[3])
    header = nibabel.Nifti1Header(endianness=">")
    image = nibabel.Nifti1Image(stored, TO_RIGHT_FRONT_UP @ AS_IT_IS, header)
    content = image.to_bytes()
    assert content[:4] == (348).to_bytes(4, "big")
    np.testing.assert_array_equal(frames(content)[3].pixels, VOLUME[3])


def test_scaling_is_applied_and_widens_what_the_bits_can_hold() -> None:
    stored = (VOLUME.transpose(2, 1, 0) % 256).astype(np.uint8)
    picture = frames(nifti(stored, TO_RIGHT_FRONT_UP @ AS_IT_IS, slope=0.5, intercept=-2))[0]
    np.testing.assert_array_equal(picture.pixels, (VOLUME[0] % 256) * 0.5 - 2)
    assert (picture.kind, picture.stored) == ("other", (-2.0, 125.5))


def test_colours_are_8_bit_pictures() -> None:
    colour = RNG.integers(0, 256, (30, 20, 5, 3), dtype=np.uint8)
    stored = np.ascontiguousarray(colour).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    opened = open_image(nifti_of(stored))
    assert (opened.facts.mode, opened.facts.bits, opened.facts.kind) == ("RGB", 8, "8-bit")
    np.testing.assert_array_equal(opened.frame(4).pixels, colour[:, :, 4].swapaxes(0, 1))


def test_a_file_of_nibabel_itself_is_read_once_it_is_split() -> None:
    path = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    with pytest.raises(errors.ImageError, match="2 volumes"):
        open_image(path.read_bytes())
    image = nibabel.four_to_three(nibabel.load(path))[1]
    opened = open_image(image.to_bytes())
    assert (opened.facts.width, opened.facts.height, opened.facts.frames) == (128, 96, 24)
    volume = nibabel.as_closest_canonical(image).get_fdata()
    for number in (0, 12, 23):
        np.testing.assert_array_equal(opened.frame(number).pixels, volume[::-1, ::-1, number].T)


PLAIN = nifti(*turned((0, 1, 2), ()))


def with_bytes(at: int, replacement: bytes) -> bytes:
    return PLAIN[:at] + replacement + PLAIN[at + len(replacement) :]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PLAIN[:1000], "1000 bytes where the NIfTI header says 6352"),
        (gzip.compress(PLAIN)[:-9], "end-of-stream|bytes where"),
        (gzip.compress(PLAIN[:-2]), "6350 bytes where the NIfTI header says 6352"),
        (gzip.compress(PLAIN + b"more"), "holds more than the 6352 bytes"),
        (gzip.compress(with_bytes(42, b"\xff\x7f\xff\x7f\xff\x7f")), "bytes that claims 7036"),
        (with_bytes(344, b"ni1\0"), "its pixels lie in another file"),
        (with_bytes(40, b"\x01\0"), "which are no volumes"),
        (with_bytes(42, b"\xff\xff"), "which are no volumes"),
        (with_bytes(108, np.float32(8).tobytes()), "within its header"),
        (nifti_of(VOLUME.astype(np.complex64)), "of the type complex64"),
        (gzip.compress(b"a text"), "not a NIfTI file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_says_what_is_not_so_is_refused_with_a_reason(content, reason) -> None:
    with pytest.raises(errors.ImageError, match=reason):
        frames(content)


def test_a_bomb_is_refused_before_it_fills_the_memory(monkeypatch) -> None:
    content = gzip.compress(nifti(np.zeros((64, 64, 64), np.int16), np.eye(4)))
    assert len(frames(content)) == 64
    monkeypatch.setattr(reader, "MAX_INFLATED", 2**16)
    with pytest.raises(errors.ImageError, match="claims 524640"):
        frames(content)


@pytest.mark.parametrize("kind", ["dicom", "nifti", "nifti.gz"])
def test_a_volume_is_held_once_and_one_frame_beside_it(kind) -> None:
    volume = np.zeros((500, 64, 64), dtype=np.int16)
    volume[::7] = 3
    if kind == "dicom":
        content, once = dicom(volume, frames=500), 0
    else:
        content = nifti(volume.transpose(2, 1, 0), np.eye(4), slope=2)
        once = volume.nbytes if kind == "nifti.gz" else 0
        content = gzip.compress(content) if kind == "nifti.gz" else content
    open_image(content).frame(0)  # what is imported and cached counts for no file
    tracemalloc.start()
    opened = open_image(content)
    for number in range(0, 500, 50):
        opened.frame(number)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < once + 0.2 * volume.nbytes
