"""The compressed pixels of DICOM: one frame's stream becomes an array of the numbers that were compressed.

Each transfer syntax has one decoder, whatever else is installed: the JPEG family is read by imagecodecs
(libjpeg-turbo, CharLS, OpenJPEG), and so are the runs of bytes of RLE Lossless. Of pydicom's own plugins, those
whose licences allow it read no 12-bit JPEG, and GDCM ends the whole process on many damaged JPEG streams.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import errors
from .picture import Pixels

_START_OF_SCAN = 0xDA
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # F7 is JPEG-LS's
_LOSSLESS_MARKERS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG2000_START = b"\xff\x4f\xff\x51"
_LEAST_TILE = 14  # bytes: the two markers, SOT and SOD, without which no tile of JPEG 2000 is
_LONGEST_RUN = 128
_JPEG_END = b"\xff\xd9"  # after a stream that was cut, CharLS 2.4 looks for it forever


@dataclass(frozen=True)
class Layout:
    """What the header of a file says of the numbers in each of its frames.

    Parameters
    ----------
    rows, columns, samples : int
        Their shape.
    allocated, stored, high : int
        Bits from one number to the next where they are not compressed, how many of them count, and the highest
        of these.
    signed : bool
    colours : str
        The photometric interpretation.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    colours: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), or (rows, columns, 3) in colour."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def shift(self) -> int:
        """How many bits lie below those that count."""
        return self.high + 1 - self.stored


@dataclass(frozen=True)
class Decompressed:
    """The numbers of a frame as they came out of its stream.

    Parameters
    ----------
    numbers : ndarray, shape (h, w) or (h, w, 3)
    bits, shift : int
        Which of their bits count: so many, from this one on.
    colours : str
        The photometric interpretation of what came out; some decoders undo the transform to YCbCr.
    """

    numbers: Pixels
    bits: int
    shift: int
    colours: str


Decoder = Callable[[bytes, Layout], Decompressed]


def decoder_of(transfer_syntax: str) -> Decoder:
    """Return what decodes frames of a compressed transfer syntax, named by its UID.

    Raises
    ------
    ImageError
        If icehouse reads no such files.
    """
    decoder = _DECODERS.get(transfer_syntax)
    if decoder is None:
        raise errors.ImageError("decode", f"DICOM with a transfer syntax that is not read: {transfer_syntax}")
    return decoder


def _jpeg(stream: bytes, layout: Layout) -> Decompressed:
    """Decode JPEG, lossy or lossless, of any precision."""
    import imagecodecs

    found = _checked(_jpeg_header(stream), layout)
    shift = layout.shift if found.precision > layout.high else 0
    if layout.samples == 1:
        numbers = imagecodecs.jpeg8_decode(stream)
        return Decompressed(numbers, layout.stored, shift, layout.colours)
    spaces = imagecodecs.JPEG8.CS
    ycbcr = _holds_ycbcr(found, layout.colours)
    space = spaces.YCbCr if ycbcr else spaces.RGB
    wanted = space if found.lossless else spaces.RGB  # libjpeg converts no colours of lossless streams
    numbers = imagecodecs.jpeg8_decode(stream, colorspace=space, outcolorspace=wanted)
    return Decompressed(numbers, layout.stored, shift, "YBR_FULL" if ycbcr and found.lossless else "RGB")


def _jpeg_ls(stream: bytes, layout: Layout) -> Decompressed:
    import imagecodecs

    found = _checked(_jpeg_header(stream), layout)
    numbers = imagecodecs.jpegls_decode(stream + _JPEG_END)
    if layout.samples == 3 and numbers.shape == (3, layout.rows, layout.columns):
        numbers = np.moveaxis(numbers, 0, -1)
    return Decompressed(numbers, found.precision, 0, layout.colours)


def _jpeg_2000(stream: bytes, layout: Layout) -> Decompressed:
    import imagecodecs

    stream = stream[max(stream.find(_JPEG2000_START), 0) :]  # some lie in a JP2 file, which DICOM forbids
    found = _checked(_jpeg2000_header(stream), layout)
    numbers = imagecodecs.jpeg2k_decode(stream, numthreads=1)
    undone = layout.colours in ("YBR_RCT", "YBR_ICT")
    return Decompressed(numbers, found.precision, 0, "RGB" if undone else layout.colours)


def _rle(stream: bytes, layout: Layout) -> Decompressed:
    """Decode RLE Lossless (DICOM PS3.5, annex G): the bytes of the numbers, the high ones first, lie apart."""
    width, rest = divmod(layout.allocated, 8)
    count = width * layout.samples
    if rest or len(stream) < 64:
        raise errors.ImageError("decode", "RLE without a header, or of numbers that are no whole bytes")
    segments, *starts = struct.unpack("<16L", stream[:64])
    if segments != count:
        raise errors.ImageError("decode", f"RLE of {segments} segments instead of {count}")
    ends = [*starts[1:count], len(stream)]
    planes = np.empty((layout.samples, width, layout.rows * layout.columns), dtype=np.uint8)
    for number in range(count):
        planes[divmod(number, width)] = _unpacked(stream, starts[number], ends[number], planes.shape[-1])
    numbers = np.ascontiguousarray(planes.swapaxes(1, 2)).view(f">u{width}")[..., 0].astype(f"u{width}")
    return Decompressed(numbers.T.reshape(layout.shape), layout.stored, layout.shift, layout.colours)


def _unpacked(stream: bytes, start: int, end: int, pixels: int) -> Pixels:
    """Return the bytes of one segment; some writers let the last run go on for a while."""
    import imagecodecs

    if not 64 <= start <= end <= len(stream):
        raise errors.ImageError("decode", "RLE whose segments lie outside the data")
    unpacked = imagecodecs.packbits_decode(stream[start:end], out=bytearray(pixels + 2 * _LONGEST_RUN))
    if len(unpacked) < pixels:
        raise errors.ImageError("decode", f"RLE of {len(unpacked)} bytes where {pixels} belong")
    return np.frombuffer(unpacked, dtype=np.uint8, count=pixels)


_DECODERS: dict[str, Decoder] = {
    "1.2.840.10008.1.2.4.50": _jpeg,  # baseline
    "1.2.840.10008.1.2.4.51": _jpeg,  # extended, up to 12 bits
    "1.2.840.10008.1.2.4.57": _jpeg,  # lossless
    "1.2.840.10008.1.2.4.70": _jpeg,  # lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": _jpeg_ls,  # lossless
    "1.2.840.10008.1.2.4.81": _jpeg_ls,  # near-lossless
    "1.2.840.10008.1.2.4.90": _jpeg_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _jpeg_2000,  # lossy or lossless
    "1.2.840.10008.1.2.5": _rle,
}


@dataclass(frozen=True)
class _Stream:
    """What a stream itself says before its pixels."""

    precision: int
    shape: tuple[int, int, int]
    components: bytes = b""
    lossless: bool = False
    adobe_transform: int | None = None
    jfif: bool = False


def _checked(found: _Stream, layout: Layout) -> _Stream:
    """Refuse a stream of another shape than the header's before anything is allocated for it."""
    expected = (layout.rows, layout.columns, layout.samples)
    if found.shape != expected:
        raise errors.ImageError(
            "decode", f"compressed pixels of the shape {found.shape}, where the header says {expected}"
        )
    return found


def _jpeg_header(stream: bytes) -> _Stream:
    """Read the markers of JPEG or JPEG-LS up to the first scan (ITU-T T.81, annex B; T.87, annex C)."""
    frames: list[tuple[int, bytes]] = []
    adobe, jfif = None, False
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF and stream[at + 1] != _START_OF_SCAN:
        marker = stream[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        segment = stream[at + 4 : at + 2 + length]
        if marker in _FRAME_MARKERS:
            frames.append((marker, segment))
        elif marker == 0xEE and segment[:5] == b"Adobe" and len(segment) >= 12:
            adobe = segment[11]
        elif marker == 0xE0 and segment[:5] == b"JFIF\0":
            jfif = True
        at += 2 + length
    if len(frames) != 1 or len(frames[0][1]) < 6:
        raise errors.ImageError("decode", "compressed pixels without a JPEG header, or with several")
    marker, segment = frames[0]
    precision, rows, columns, count = struct.unpack(">BHHB", segment[:6])
    lossless = marker in _LOSSLESS_MARKERS
    return _Stream(precision, (rows, columns, count), segment[6::3], lossless, adobe, jfif)


def _holds_ycbcr(found: _Stream, colours: str) -> bool:
    """Tell whether a stream's colours are YCbCr: by its own marks where it has any, as libjpeg does."""
    if found.adobe_transform is not None:
        return found.adobe_transform == 1
    if found.jfif:
        return True
    return found.components not in (b"RGB", b"rgb") and colours.startswith("YBR")


def _jpeg2000_header(stream: bytes) -> _Stream:
    """Read the SIZ marker of JPEG 2000 (ITU-T T.800, annex A.5.1)."""
    if len(stream) < 49 or not stream.startswith(_JPEG2000_START):
        raise errors.ImageError("decode", "compressed pixels without a JPEG 2000 header")
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, count, depth = struct.unpack(
        ">8LHB", stream[8:43]
    )
    if not tile_width or not tile_height:
        raise errors.ImageError("decode", "JPEG 2000 with tiles of no size")
    across, down = -((tile_left - width) // tile_width), -((tile_top - height) // tile_height)
    if across * down > max(1, len(stream) // _LEAST_TILE):
        raise errors.ImageError("decode", f"JPEG 2000 of {across}×{down} tiles in {len(stream)} bytes")
    return _Stream(depth % 128 + 1, (height - top, width - left, count))
