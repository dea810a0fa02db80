"""NIfTI: from a file's bytes to its axial slices, shown as the DICOM of the same volume would be.

Rows run from anterior to posterior, columns from the patient's right to the left, and slices from inferior to
superior; a volume that lies askew is turned to the nearest of its own axes. Of several volumes in one file
(4-D), none is read: their frames would be one sequence, whose middle is the middle of nothing.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .picture import CT, EIGHT_BIT, OTHER, Facts, Opened, Picture, Pixels, check_size

MAX_INFLATED = 2**32
"""Bytes to which a compressed file may grow; a chest CT of 1,000 slices in float32 has a quarter of it."""

_GZIP = b"\x1f\x8b"
_MAGIC = {(348, 344): b"n+1\0", (540, 4): b"n+2\0"}  # by the header's size and where its mark stands
_APART = {(348, 344): b"ni1\0", (540, 4): b"ni2\0"}
_HEADER = 544  # bytes: the larger of the two headers, and whether extensions follow
_RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
_LARGEST_RATIO = 1032  # of Deflate (https://zlib.net/zlib_tech.html)
_PIECE = 2**16
_AIR = -500.0  # HU; air is -1000 and lung about -800, soft tissue above -100
_LEAST_AIR = 0.01  # share of the voxels
_LOWEST, _HIGHEST = -4096.0, 10000.0  # HU; 12 bits hold -1024 to 3071, fillings and extended scales more
_HIGH = 99.9  # percentile that stays below the highest: metal is brighter, but small
_LOOKED_AT = 2**15  # voxels, so that a share of 0.01 is known to 0.0006 (one standard deviation)


def looks_like_nifti(content: bytes) -> bool:
    """Tell whether a file is NIfTI by its mark, or is compressed by gzip, as no other format here is."""
    return content[:2] == _GZIP or _marked(content, _MAGIC) or _marked(content, _APART)


def _marked(content: bytes, marks: dict[tuple[int, int], bytes]) -> bool:
    sizes = {int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")}
    return any(size in sizes and content[at : at + 4] == mark for (size, at), mark in marks.items())


def open_nifti(content: bytes) -> Opened:
    """Open a NIfTI file (version 1 or 2, `.nii` or `.nii.gz`); its numbers are held once, as they are stored.

    No field of the header says what the numbers mean. They are taken for Hounsfield units (`ct`) where at least
    1 % of the voxels are air (below −500), none is below −4096, and the 99.9th percentile is at most 10,000;
    shares are those of up to 2**15 voxels, evenly spread. Else uint8 without scaling is `8-bit`, as is RGB,
    and the rest is `other`. An MR whose mean was taken off may pass for a CT if its numbers are that large.

    Raises
    ------
    ImageError
        If it is of a type that is not read, holds several volumes, is damaged, or holds more than its header
        says. What nibabel raises on damaged files comes through.
    """
    compressed = content[:2] == _GZIP
    header = _header_of(_unzipped(content).read(_HEADER) if compressed else content[:_HEADER])
    kind, shape, start = header.get_data_dtype(), _shape_of(header), int(header["vox_offset"])
    if kind != _RGB and (kind.kind not in "iuf" or kind.itemsize > 8):
        raise errors.ImageError("decode", f"NIfTI of the type {header.get_value_label('datatype')}")
    if start < int(header["sizeof_hdr"]):
        raise errors.ImageError("decode", f"a NIfTI file whose pixels begin at byte {start}, within its header")
    count = math.prod(shape)
    size = start + count * kind.itemsize
    whole = _inflated(content, size) if compressed else content
    if len(whole) < size:
        raise errors.ImageError("decode", f"{len(whole)} bytes where the NIfTI header says {size}")
    numbers = np.frombuffer(whole, dtype=kind, count=count, offset=start)
    volume = _upright(numbers.reshape(shape, order="F"), header.get_best_affine())
    if kind == _RGB:
        return _opened(volume, "RGB", 8, EIGHT_BIT, (0.0, 255.0), _colours)
    return _in_grey(volume, numbers, header.get_slope_inter())


def _header_of(first: bytes) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    if _marked(first, _APART):
        raise errors.ImageError("decode", "a NIfTI header alone; its pixels lie in another file")
    if not _marked(first, _MAGIC):
        raise errors.ImageError("decode", "not a NIfTI file")
    # Checks would repair what they can and print it; what matters of them is checked here.
    size, kind = (348, Nifti1Header) if first[344:348] == b"n+1\0" else (540, Nifti2Header)
    return kind(first[:size], check=False)


def _shape_of(header: Any) -> tuple[int, int, int]:
    sizes = [int(size) for size in header["dim"]]
    used = sizes[1 : 1 + sizes[0]] if 1 <= sizes[0] <= 7 else []
    if len(used) < 2 or min(used) < 1 or any(size > 1 for size in used[4:]):
        raise errors.ImageError("decode", f"NIfTI of the dimensions {sizes[1:]}, which are no volumes")
    across, down, slices, volumes = (*used[:4], 1, 1)[:4]
    if volumes > 1:
        raise errors.ImageError(
            "decode", f"a NIfTI file of {volumes} volumes; split it into one file per time point"
        )
    return across, down, slices


def _unzipped(content: bytes) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=io.BytesIO(content))


def _inflated(content: bytes, size: int) -> bytearray:
    """Return what `content` inflates to; refuse it unless that is of `size`, which the header inside tells."""
    if size > min(MAX_INFLATED, _LARGEST_RATIO * len(content)):
        raise errors.ImageError("decode", f"a compressed NIfTI file of {len(content)} bytes that claims {size}")
    whole = bytearray(size)
    done = 0
    with _unzipped(content) as file:
        while done < size and (piece := file.read(min(_PIECE, size - done))):
            whole[done : done + len(piece)] = piece
            done += len(piece)
        if done < size:
            raise errors.ImageError("decode", f"{done} bytes where the NIfTI header says {size}")
        if file.read(1):
            raise errors.ImageError(
                "decode", f"a NIfTI file that holds more than the {size} bytes of its header"
            )
    return whole


def _upright(volume: Pixels, affine: NDArray[np.float64]) -> Pixels:
    """Return (x, y, z) with its axes from left to right, posterior to anterior, inferior to superior."""
    from nibabel.orientations import apply_orientation, io_orientation

    axes = io_orientation(affine)
    if not np.isfinite(axes).all():
        raise errors.ImageError("decode", "NIfTI whose affine names no orientation")
    turned: Pixels = apply_orientation(volume, axes)
    return turned


def _in_grey(volume: Pixels, numbers: Pixels, scaling: tuple[float | None, float | None]) -> Opened:
    """Open a volume of one number a voxel; `numbers` are the same, in the order of the file."""
    slope, intercept = (1.0, 0.0) if scaling[0] is None else (scaling[0], scaling[1] or 0.0)
    changes = (slope, intercept) != (1.0, 0.0)
    dtype = numbers.dtype.newbyteorder("=")

    def values(stored: Pixels) -> Pixels:
        if changes:
            return (stored.astype(np.float64) * slope + intercept).astype(np.float32)
        return stored.astype(np.float32 if dtype.kind == "f" else dtype)

    extremes = np.array([np.fmin.reduce(numbers), np.fmax.reduce(numbers)])
    lowest = float(np.fmin.reduce(values(extremes)))
    plain = EIGHT_BIT if dtype == np.uint8 and not changes else OTHER
    kind = CT if lowest >= _LOWEST and _holds_air(values(_spread(numbers, volume.shape))) else plain
    stored = None
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        low, high = sorted(float(number) * slope + intercept for number in (limits.min, limits.max))
        stored = low, high
    return _opened(volume, str(dtype), 8 * dtype.itemsize, kind, stored, values)


def _spread(numbers: Pixels, shape: tuple[int, ...]) -> Pixels:
    """Return up to `_LOOKED_AT` voxels from all over a volume."""
    step = -(-len(numbers) // _LOOKED_AT)
    while step > 1 and math.gcd(step, math.prod(shape)) > 1:  # else only some of the columns would be met
        step += 1
    return numbers[::step]


def _holds_air(values: Pixels) -> bool:
    """Tell whether voxels are as those of a CT."""
    finite = values[np.isfinite(values)]
    if finite.size == 0 or np.count_nonzero(finite < _AIR) < _LEAST_AIR * finite.size:
        return False
    return float(np.percentile(finite, _HIGH)) <= _HIGHEST


def _colours(stored: Pixels) -> Pixels:
    return np.stack([stored[name] for name in ("R", "G", "B")], axis=-1)


def _opened(
    volume: Pixels,
    mode: str,
    bits: int,
    kind: str,
    stored: tuple[float, float] | None,
    values: Callable[[Pixels], Pixels],
) -> Opened:
    width, height, slices = volume.shape
    check_size(width, height)
    facts = Facts("NIfTI", mode, width, height, bits, slices, kind)

    def frame(number: int) -> Picture:
        plane = volume[::-1, ::-1, number].T  # rows to posterior, columns to the patient's left
        return Picture(np.ascontiguousarray(values(plane)), bits, kind, stored)

    return Opened(facts, frame)
