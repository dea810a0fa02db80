"""What a DICOM file says of itself before its pixels: to sort files into series, and to open one.

Values of pixels are the work of `dicom`. A patient's number is read here to be hashed, and is never stored.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import errors
from .guard import guarded

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = NATIVE = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
)
"""The transfer syntaxes (UIDs) whose pixels are not compressed one by one."""

MAX_INFLATED = 2**28
"""Bytes to which a deflated file may grow: 500 slices of CT, where mostly single pictures are deflated."""

_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_FIRST_VALUES = (b"UL", b"UI", b"OB", b"CS", b"SH", b"DA", b"TM", b"LO", b"ST", b"SQ")
_WANTED = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "IssuerOfPatientID",
    "ViewPosition",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "Laterality",
    "ImageLaterality",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BurnedInAnnotation",
    "DirectoryRecordSequence",
)
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SECTIONS = frozenset({"CT", "MR", "PT", "NM"})
_NO_PICTURES = {"SEG": "segmentation", "RTDOSE": "dose grid", "PR": "no pixels", "SR": "no pixels"}
_LOCALIZERS = frozenset({"LOCALIZER", "SCOUT"})
_REFORMATS = frozenset({"REFORMATTED", "REFORMAT", "MPR", "CPR", "MIP", "MINIP", "PROJECTION", "VRT", "SSD"})
_NOBODY = frozenset(
    {"unknown", "anonymous", "anonymized", "anonymised", "anonym", "anon", "none", "null", "na", "removed"}
)


@dataclass(frozen=True)
class Header:
    """What is said of one file.

    Parameters
    ----------
    study, series, instance : str
        UIDs; empty where the file has none.
    modality : str
    patient_id, issuer : str
        The patient's number and who gave it, to be hashed and nothing else; empty where they are not known, as
        where a placeholder such as "Anonymous" stands.
    size : tuple of int, optional
        Rows and columns.
    frames : int
    position : float, optional
        Where the slice lies along the normal of the image planes, in mm.
    orientation : tuple of float, optional
        The directions of a row and of a column, six cosines.
    instance_number : int, optional
    laterality, view : str
        Such as "L" and "PA", "AP", "LL", "LATERAL".
    burned_in : bool, optional
        Whether the file says that its pixels show who the patient is.
    passed_over : str, optional
        Why it is no picture of its series, such as "localizer"; None if it is one.
    """

    study: str
    series: str
    instance: str
    modality: str
    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    size: tuple[int, int] | None
    frames: int
    position: float | None
    orientation: tuple[float, ...] | None
    instance_number: int | None
    laterality: str
    view: str
    burned_in: bool | None
    passed_over: str | None


def looks_like_dicom(first_bytes: bytes) -> bool:
    """Tell whether a file whose first 132 bytes or more are these is DICOM by its mark."""
    return first_bytes[128:132] == b"DICM"


def is_bare_dicom(first_bytes: bytes) -> bool:
    """Tell whether a file without that mark plainly begins with the elements of a DICOM file.

    That is: with an element of group 2 or 8, the first ones there are, in little endian, of an even and short
    length. So wrote DICOM's predecessor, and so write programs that forget the preamble.
    """
    if len(first_bytes) < 8:
        return False
    group, element, kind, short, length = struct.unpack("<HH2sH", first_bytes[:8]) + struct.unpack(
        "<L", first_bytes[4:8]
    )
    if group not in (2, 8) or element > 0x60:
        return False
    return kind in _FIRST_VALUES and short % 2 == 0 if kind.isalpha() else length % 2 == 0 and length <= 64


def read_header(source: bytes | Path) -> Header:
    """Read what a DICOM file says of itself; its pixels are not read.

    Raises
    ------
    ImageError
        If it is no DICOM file, cannot be read or is damaged.
    MissingDependency
        If pydicom is not installed.
    """
    return guarded(_header, source)


def _header(source: bytes | Path) -> Header:
    if isinstance(source, bytes):
        return _header_of(read_elements(io.BytesIO(source), only=_WANTED))
    try:
        with source.open("rb") as file:
            return _header_of(read_elements(file, only=_WANTED))
    except OSError as error:
        raise errors.ImageError("read", error.strerror or str(error)) from None


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels of a file lie.

    Parameters
    ----------
    keyword, vr : str
        The element's name, and how its values are written.
    start : int
        The offset of its value.
    length : int, optional
        Bytes; None where the file does not say, as for compressed pixels.
    """

    keyword: str
    vr: str
    start: int
    length: int | None


@dataclass(frozen=True)
class Elements:
    """A file read up to its pixels.

    Parameters
    ----------
    dataset : pydicom.Dataset
    transfer_syntax, media : str
        The UIDs of how it is written, and of what kind of object it says to be.
    pixels : PixelElement, optional
    inflated : bytes, optional
        What `pixels` lies in where the file was deflated.
    """

    dataset: Any
    transfer_syntax: str
    media: str
    pixels: PixelElement | None
    inflated: bytes | None = None


def read_elements(file: BinaryIO, only: Sequence[str] = ()) -> Elements:
    """Read a file up to its pixels: all elements, or only those of these keywords.

    Raises
    ------
    ImageError
        If it is no DICOM file, or a deflated one that grows too much.
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

    first = file.read(132)
    if not looks_like_dicom(first):
        if not is_bare_dicom(first):
            raise errors.ImageError("decode", "not a DICOM file")
        file.seek(0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    media = text(meta, "MediaStorageSOPClassUID")
    syntax = text(meta, "TransferSyntaxUID") or _guessed_syntax(file)
    inflated = None
    if syntax == DEFLATED:
        inflated = _inflated(file.read())
        file = io.BytesIO(inflated)
    found: list[tuple[int, str | None, int]] = []

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if int(tag) in _PIXELS:
            found.append((int(tag), vr, length))
        return bool(found)

    tags = [tag for keyword in only if (tag := tag_for_keyword(keyword)) is not None]
    dataset = read_dataset(
        file, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=at_pixels, specific_tags=tags
    )
    pixels = None
    if found:
        tag, vr, length = found[-1]
        start = file.tell() + (12 if vr in EXPLICIT_VR_LENGTH_32 else 8)
        pixels = PixelElement(_PIXELS[tag], vr or "OW", start, None if length == 0xFFFFFFFF else length)
    return Elements(dataset, syntax, media, pixels, inflated)


def _guessed_syntax(file: BinaryIO) -> str:
    at = file.tell()
    first = file.read(6)
    file.seek(at)
    return EXPLICIT if first[4:6].isalpha() and first[4:6].isupper() else IMPLICIT


def _inflated(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(deflated, MAX_INFLATED + 1)
    if len(inflated) > MAX_INFLATED:
        raise errors.ImageError("decode", f"a deflated file that grows to more than {MAX_INFLATED} bytes")
    return inflated


def text(dataset: Any, keyword: str) -> str:
    """Return an element's text, or its first one; empty where there is none."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if value else None
    return "" if value is None else re.sub(r"[^ -~]", "", str(value)).strip()[:64]


def whole_number(dataset: Any, keyword: str, default: int | None = None) -> int | None:
    """Return an element's whole number, `default` where it has none.

    Raises
    ------
    ImageError
        If it is no whole number.
    """
    value = dataset.get(keyword)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise errors.ImageError("decode", f"{keyword} is {str(value)[:40]!r}, which is no number") from None


def numbers(dataset: Any, keyword: str) -> tuple[float, ...]:
    """Return an element's finite numbers; none where one of them is no number."""
    value = dataset.get(keyword)
    if value is None or isinstance(value, bytes):
        return ()
    values = [value] if isinstance(value, str | int | float) or not hasattr(value, "__iter__") else list(value)
    try:
        found = tuple(float(number) for number in values)
    except (TypeError, ValueError):
        return ()
    return found if all(map(math.isfinite, found)) else ()


def _header_of(elements: Elements) -> Header:
    dataset = elements.dataset
    orientation = numbers(dataset, "ImageOrientationPatient")
    rows, columns = (_leniently(dataset, keyword) for keyword in ("Rows", "Columns"))
    burned_in = text(dataset, "BurnedInAnnotation").upper()
    return Header(
        study=text(dataset, "StudyInstanceUID"),
        series=text(dataset, "SeriesInstanceUID"),
        instance=text(dataset, "SOPInstanceUID"),
        modality=modality_of(dataset),
        patient_id=_known(dataset, "PatientID"),
        issuer=_known(dataset, "IssuerOfPatientID"),
        size=(rows, columns) if rows and columns else None,
        frames=max(1, _leniently(dataset, "NumberOfFrames") or 1),
        position=_position(numbers(dataset, "ImagePositionPatient"), orientation),
        orientation=orientation if len(orientation) == 6 else None,
        instance_number=_leniently(dataset, "InstanceNumber"),
        laterality=(text(dataset, "ImageLaterality") or text(dataset, "Laterality")).upper(),
        view=text(dataset, "ViewPosition").upper(),
        burned_in={"YES": True, "NO": False}.get(burned_in),
        passed_over=_reason_to_pass_over(elements),
    )


def modality_of(dataset: Any) -> str:
    """Return the modality, such as "CT"; empty where what stands there is none."""
    found = text(dataset, "Modality").upper()
    return found if re.fullmatch("[A-Z0-9_]{1,16}", found) else ""


def _leniently(dataset: Any, keyword: str) -> int | None:
    try:
        return whole_number(dataset, keyword)
    except errors.ImageError:
        return None


def _known(dataset: Any, keyword: str) -> str:
    """Return who is meant, or nothing where a placeholder stands."""
    value = dataset.get(keyword)
    found = "" if value is None else str(value).strip("\0 ")
    letters = re.sub(r"[\W_]", "", found).casefold()
    return "" if letters in _NOBODY or not letters.strip("0x") else found


def _position(position: tuple[float, ...], orientation: tuple[float, ...]) -> float | None:
    """Project a slice's corner on the normal of its plane (DICOM PS3.3, C.7.6.2.1.1)."""
    if len(position) != 3 or len(orientation) != 6:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    length = float(np.linalg.norm(normal))
    return float(normal @ position) / length if 0.5 < length < 2 else None


def _reason_to_pass_over(elements: Elements) -> str | None:
    dataset = elements.dataset
    modality = modality_of(dataset)
    if elements.media == _MEDIA_DIRECTORY or "DirectoryRecordSequence" in dataset:
        return "DICOMDIR"
    if modality in _NO_PICTURES:
        return _NO_PICTURES[modality]
    if elements.pixels is None:  # a picture that lost its pixels is no report: decoding it says what is wrong
        return "no pixels" if "SOPClassUID" in dataset and "Rows" not in dataset else None
    value = dataset.get("ImageType") or []
    words = [str(word).upper().strip() for word in ([value] if isinstance(value, str) else value)]
    if _LOCALIZERS & set(words):
        return "localizer"
    if modality not in _SECTIONS:
        return None
    kind = text(dataset, "SOPClassUID") or elements.media
    if kind == _SECONDARY_CAPTURE or kind.startswith(_SECONDARY_CAPTURE + ".") or "SCREEN SAVE" in words:
        return "secondary capture"
    parts = {part for word in words[2:] for part in re.split(r"[^A-Z0-9]+", word)}
    return "reformat" if _REFORMATS & parts else None
