"""DICOM and NIfTI files written by hand, element by element."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    generate_uid,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def dicom(
    pixels: np.ndarray,
    *,
    syntax: str = ExplicitVRLittleEndian,
    streams: Sequence[bytes] | None = None,
    bits: int | None = None,
    frames: int | None = None,
    leave_out: Sequence[str] = (),
    preamble: bool = True,
    **elements: object,
) -> bytes:
    """Return a DICOM file of `pixels`, or of compressed `streams` of their shape.

    Parameters
    ----------
    pixels : ndarray
        Of shape (h, w), (n, h, w) with `frames=n`, (h, w, 3), or (n, h, w, 3).
    **elements
        By keyword; they replace what stands here.
    """
    shape = pixels.shape if frames is None else pixels.shape[1:]
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = shape[2] if len(shape) == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if len(shape) == 3 else "MONOCHROME2"
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    if frames is not None:
        dataset.NumberOfFrames = frames
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in elements.items():
        setattr(dataset, keyword, list(value) if isinstance(value, tuple) else value)
    for keyword in leave_out:
        delattr(dataset, keyword)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if streams is not None:
        dataset.PixelData = encapsulate(list(streams))
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    elif "FloatPixelData" not in dataset:
        raw = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset.PixelData = raw + b"\0" * (len(raw) % 2)
        dataset["PixelData"].VR = "OB" if dataset.BitsAllocated == 8 else "OW"
    buffer = io.BytesIO()
    if not preamble:
        dataset.save_as(buffer, implicit_vr=False, little_endian=True)
        return buffer.getvalue()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def items(**elements: object) -> list[Dataset]:
    """Return a sequence of one item."""
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def nifti(pixels: np.ndarray, affine: np.ndarray, *, slope: float | None = None, intercept: float = 0) -> bytes:
    """Return a NIfTI-1 file of (x, y, z) or (x, y, z, t); with a slope, `pixels` are the numbers stored."""
    import nibabel

    image = nibabel.Nifti1Image(pixels, affine)
    if slope is not None:
        image.header.set_slope_inter(slope, intercept)
        header = image.header.copy()
        header.set_data_offset(352)
        return header.binaryblock + bytes(4) + pixels.tobytes(order="F")
    return image.to_bytes()


def compressed(seed: int = 0) -> dict[str, bytes]:
    """Return one DICOM file of each transfer syntax that is read, of 40 by 48 pixels."""
    import imagecodecs

    rows, columns = np.mgrid[:40, :48]
    noise = np.random.default_rng(seed).integers(0, 6, (40, 48))
    deep = (rows * 60 + columns * 20 + noise).astype(np.uint16)  # 12 bits
    grey = (deep >> 4).astype(np.uint8)
    colour = np.stack([grey, grey[::-1], 255 - grey], axis=-1)
    signed = deep.astype(np.int16) - 1024
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}
    window = {"WindowCenter": 40, "WindowWidth": 400, "PixelPaddingValue": 0}
    encode = imagecodecs.jpeg8_encode
    return {
        "implicit": dicom(deep, syntax="1.2.840.10008.1.2", bits=12, **ct, **window),
        "explicit": dicom(signed, Modality="CR", **window),
        "big endian": dicom(deep, syntax=ExplicitVRBigEndian, bits=12, **ct),
        "deflated": dicom(deep, syntax=DeflatedExplicitVRLittleEndian, bits=12, **ct),
        "JPEG baseline": dicom(colour, syntax=JPEGBaseline8Bit, streams=[encode(colour)]),
        "JPEG extended": dicom(
            deep, syntax=JPEGExtended12Bit, bits=12, streams=[encode(deep, bitspersample=12)], **ct
        ),
        "JPEG lossless": dicom(
            deep,
            syntax=JPEGLossless,
            bits=12,
            streams=[encode(deep, lossless=True, predictor=4, bitspersample=12)],
            **ct,
        ),
        "JPEG lossless SV1": dicom(
            deep,
            syntax=JPEGLosslessSV1,
            bits=12,
            frames=None,
            streams=[encode(deep, lossless=True, predictor=1, bitspersample=12)],
            **ct,
        ),
        "JPEG-LS": dicom(deep, syntax=JPEGLSLossless, streams=[imagecodecs.jpegls_encode(deep)], **ct),
        "JPEG-LS near-lossless": dicom(
            deep, syntax=JPEGLSNearLossless, streams=[imagecodecs.jpegls_encode(deep, level=2)], **ct
        ),
        "JPEG 2000": dicom(
            deep,
            syntax=JPEG2000Lossless,
            streams=[imagecodecs.jpeg2k_encode(deep, level=0, reversible=True, codecformat="j2k")],
            **ct,
        ),
        "RLE": dicom(deep, syntax=RLELossless, bits=12, streams=[rle(deep)], **ct),
    }


def rle(pixels: np.ndarray) -> bytes:
    """Return 16-bit grey pixels as RLE Lossless."""
    import imagecodecs

    halves = [
        imagecodecs.packbits_encode(part.astype(np.uint8).tobytes()) for part in (pixels >> 8, pixels & 255)
    ]
    halves = [half + b"\0" * (len(half) % 2) for half in halves]
    starts = [64, 64 + len(halves[0])]
    return np.array([2, *starts, *[0] * 13], dtype="<u4").tobytes() + b"".join(halves)
