"""Synthetic chest CT sequences whose truth is known, as TIFF, DICOM and NIfTI: for the demo and the tests.

An axial sequence goes from the neck over the open lungs to the abdomen. It is no anatomy and proves nothing
about patients. What it is cut from is the matter of `ct_anatomy`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .ct_anatomy import LEAST, Chest
from .phantoms import DISEASED, NORMAL, write_table

SLICES = 40
"""Of a sequence, unless told."""


@dataclass(frozen=True)
class Sequence:
    """One patient's axial slices, from the neck down.

    Parameters
    ----------
    patient : str
    diseased : bool
    hounsfield : ndarray of int16, shape (slices, size, size)
        Rows from front to back, columns from the patient's right to the left.
    lung : ndarray of float64, shape (slices,)
        Area of both lungs in mm², opacities counted in.
    spacing : float
        Millimetres from slice to slice.
    pixel : float
        Millimetres from pixel to pixel.
    """

    patient: str
    diseased: bool
    hounsfield: NDArray[np.int16]
    lung: NDArray[np.float64]
    spacing: float
    pixel: float

    @property
    def open(self) -> NDArray[np.bool_]:
        """Whether each slice shows the lung open: its area is above half of the largest."""
        truth: NDArray[np.bool_] = self.lung > self.lung.max() / 2
        return truth


def draw(patient: str, seed: list[int], *, diseased: bool, slices: int = SLICES, size: int = 256) -> Sequence:
    """Draw one patient's sequence.

    Parameters
    ----------
    patient : str
    seed : list of int
        What is drawn depends on it alone, and on the sizes.
    diseased : bool
        With opacities in the lungs.
    slices : int
        How many, evenly spaced from the neck to the upper abdomen.
    size : int
        Height and width in pixels, for a field of view of about 40 cm.
    """
    chest = Chest(np.random.default_rng(seed), size, diseased)
    levels = np.linspace(chest.top, chest.bottom, slices)
    spacing = float(levels[1] - levels[0]) if slices > 1 else chest.bottom - chest.top
    hounsfield = np.empty((slices, size, size), dtype=np.int16)
    lung = np.empty(slices)
    for number, level in enumerate(levels.tolist()):
        picture, lungs = chest.cut(level, spacing)
        hounsfield[number] = picture
        lung[number] = float(lungs.sum()) * chest.pixel**2
    return Sequence(patient, diseased, hounsfield, lung, spacing, chest.pixel)


def write_sequences(
    folder: Path,
    normal: int,
    diseased: int,
    seed: int,
    *,
    slices: int = SLICES,
    size: int = 256,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write sequences as COVID-CTset has them, a 16-bit grey TIFF for each slice, and return their manifest.

    The numbers are a scanner's raw ones: Hounsfield units plus 1024.

    Parameters
    ----------
    folder : Path
        Made anew; gets `<label>/<patient>/<series>/<slice>.tif` and `manifest.csv` with the columns path,
        label, patient, series, slice (from 1, from the neck down) and open (yes or no, the truth).
    normal, diseased : int
        How many patients of each, one series of each patient.
    seed : int
    slices, size : int
        As of `draw`.
    progress : callable
        Called with the number of slices written.
    """
    folder.mkdir(parents=True)
    rows: list[dict[str, str]] = []
    for number, label in enumerate([NORMAL] * normal + [DISEASED] * diseased, start=1):
        patient, series = f"P{number:03d}", "SR_1"
        drawn = draw(patient, [seed, number], diseased=label == DISEASED, slices=slices, size=size)
        (folder / label / patient / series).mkdir(parents=True)
        for at, (pixels, is_open) in enumerate(zip(drawn.hounsfield, drawn.open, strict=True), start=1):
            path = f"{label}/{patient}/{series}/IM{at:05d}.tif"
            Image.fromarray((pixels - LEAST).astype(np.uint16)).save(folder / path)
            row = {"path": path, "label": label, "patient": patient, "series": series}
            rows.append({**row, "slice": str(at), "open": "yes" if is_open else "no"})
            progress(len(rows))
    return write_table(folder / "manifest.csv", list(rows[0]), rows)


def write_dicom(sequence: Sequence, folder: Path, seed: int = 0) -> list[Path]:
    """Write a sequence as a DICOM series, with a localizer among its files, and return the slices' files.

    12 bits stored with an intercept of −1024; the files' names are in no order, InstanceNumber runs from the
    neck down. UIDs depend on the patient and the seed alone.

    Parameters
    ----------
    sequence : Sequence
    folder : Path
        Made if need be.
    seed : int
        Of the files' names.

    Returns
    -------
    list of Path
        From the neck down, without the localizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = len(sequence.hounsfield)
    names = (np.random.default_rng(seed).permutation(count + 1) + 1).tolist()
    files = [folder / f"{name:06d}.dcm" for name in names]
    half = sequence.pixel * (sequence.hounsfield.shape[2] - 1) / 2
    for number, pixels in enumerate(sequence.hounsfield):
        position = (-half, -half, -sequence.spacing * number)
        axes, pixel = (1, 0, 0, 0, 1, 0), (sequence.pixel, sequence.pixel)
        kind = ["ORIGINAL", "PRIMARY", "AXIAL"]
        _write_slice(files[number], sequence, seed, (2, number + 1), kind, pixels, (position, axes, pixel))
    from_the_front = sequence.hounsfield.mean(axis=1).astype(np.int16)
    place = ((-half, 0.0, 0.0), (1, 0, 0, 0, 0, -1), (sequence.spacing, sequence.pixel))
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    _write_slice(files[count], sequence, seed, (1, 1), kind, from_the_front, place)
    return files[:count]


_Place = tuple[tuple[float, ...], tuple[int, ...], tuple[float, float]]  # corner, axes, size of a pixel


def _write_slice(
    file: Path,
    sequence: Sequence,
    seed: int,
    number: tuple[int, int],
    kind: list[str],
    hounsfield: NDArray[np.int16],
    place: _Place,
) -> None:
    """Write one picture of a series; `number` is that of the series and that within it."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def uid(*of: object) -> str:
        return str(generate_uid(entropy_srcs=["icehouse phantom", sequence.patient, str(seed), str(of)]))

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, uid("instance", number)
    data.StudyInstanceUID, data.SeriesInstanceUID = uid("study"), uid("series", number[0])
    data.FrameOfReferenceUID = uid("frame")
    data.Modality, data.ImageType, data.Manufacturer = "CT", kind, "icehouse phantom"
    data.PatientName, data.PatientID = f"Phantom^{sequence.patient}", sequence.patient
    data.PatientPosition, data.BodyPartExamined = "HFS", "CHEST"
    data.StudyID, data.SeriesNumber, data.InstanceNumber = "1", *number
    corner, axes, pixel = place
    data.ImagePositionPatient = [f"{value:.4f}" for value in corner]
    data.ImageOrientationPatient = list(axes)
    data.PixelSpacing = [f"{value:.6f}" for value in pixel]
    data.SliceThickness = f"{sequence.spacing:.4f}"
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = str(LEAST), "1", "HU"
    data.WindowCenter, data.WindowWidth = "40", "400"
    data.set_pixel_data((hounsfield - LEAST).astype(np.uint16), "MONOCHROME2", 12, generate_instance_uid=False)
    data.save_as(file, enforce_file_format=True)


def write_nifti(sequence: Sequence, file: Path) -> None:
    """Write a sequence as one NIfTI volume in Hounsfield units, where `write_dicom` has it in space.

    As converters of DICOM leave it: columns from the patient's right to the left, rows from back to front,
    slices from the feet up.
    """
    import nibabel

    size = sequence.hounsfield.shape[2]
    volume = sequence.hounsfield[::-1, ::-1].transpose(2, 1, 0)
    half, depth = sequence.pixel * (size - 1) / 2, sequence.spacing * (len(sequence.hounsfield) - 1)
    affine = np.diag([-sequence.pixel, sequence.pixel, sequence.spacing, 1.0])
    affine[:3, 3] = half, -half, -depth
    to_image: Any = nibabel.Nifti1Image  # nibabel's own types leave its functions out
    image = to_image(np.ascontiguousarray(volume), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, file)
