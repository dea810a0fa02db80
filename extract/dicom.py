"""DICOM: from a file's bytes to its frames, in the values that the file gives them.

Values are those after the modality LUT (Hounsfield units in a CT); the file's own window and its padding go
with each frame and are not applied, for whether they count is the intensity policy's to say. How compressed
pixels are decoded is in `dicom_codecs`, what the numbers mean in `dicom_values`.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import errors
from .dicom_codecs import Decompressed, Layout, decoder_of
from .dicom_header import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    NATIVE,
    Elements,
    PixelElement,
    modality_of,
    read_elements,
    text,
    whole_number,
)
from .dicom_values import Meaning, Palette, meaning_of, padding_of, palette_of
from .picture import CT, EIGHT_BIT, OTHER, X_RAY, Facts, Opened, Picture, Pixels, check_size

_X_RAYS = frozenset({"CR", "DX", "MG", "RG", "XA", "RF", "IO", "PX"})
_GREY = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
_END_OF_STREAM = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike

Read = Callable[[int], Decompressed]


def open_dicom(content: bytes) -> Opened:
    """Open a DICOM file; its frames are decoded one by one, in any thread.

    A frame is of the kind `ct` in CT with a rescale to Hounsfield units, `x-ray` in radiographs deeper than 8
    bits or with a window of their own, `8-bit` where values are 0–255, and else `other`. Palettes become
    colours of 8 bits. A file of several frames keeps their order.

    Raises
    ------
    ImageError
        If it holds no pixels, is damaged, or is of a kind that is not read. What pydicom and imagecodecs raise
        on damaged files comes through.
    """
    elements = read_elements(io.BytesIO(content))
    if elements.pixels is None:
        raise errors.ImageError("decode", "DICOM without pixels")
    dataset, pixels = elements.dataset, elements.pixels
    layout = _layout_of(dataset, pixels)
    frames = whole_number(dataset, "NumberOfFrames", 1) or 1
    body = content if elements.inflated is None else elements.inflated
    if elements.transfer_syntax in NATIVE:
        read = _native(body, elements, layout, frames)
    else:
        read = _compressed(body, elements, layout, frames)
    return _opened(elements, layout, frames, read)


def _layout_of(dataset: Any, pixels: PixelElement) -> Layout:
    rows, columns = whole_number(dataset, "Rows", 0) or 0, whole_number(dataset, "Columns", 0) or 0
    check_size(columns, rows)
    samples = whole_number(dataset, "SamplesPerPixel", 1) or 1
    colours = text(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    if (colours not in (*_GREY, _PALETTE) or samples != 1) and (colours not in _COLOUR or samples != 3):
        raise errors.ImageError("decode", f"DICOM of {samples} samples a pixel, {colours[:40]}")
    if pixels.keyword in _FLOATS:
        depth = _FLOATS[pixels.keyword]
        return Layout(rows, columns, samples, depth, depth, depth - 1, True, colours)
    allocated = whole_number(dataset, "BitsAllocated", 0) or 0
    stored = whole_number(dataset, "BitsStored", allocated) or allocated
    high = whole_number(dataset, "HighBit", stored - 1)
    assert high is not None
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= high + 1 <= allocated:
        raise errors.ImageError("decode", f"DICOM of {stored} bits up to the {high}th in {allocated}")
    signed = whole_number(dataset, "PixelRepresentation", 0) == 1
    return Layout(rows, columns, samples, allocated, stored, high, signed, colours)


def _native(body: bytes, elements: Elements, layout: Layout, frames: int) -> Read:
    """Return what reads a frame that is not compressed; nothing but that frame is copied."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    pixels = elements.pixels
    assert pixels is not None
    half = layout.colours == "YBR_FULL_422"  # two pixels share their colours
    bits = layout.rows * layout.columns * (2 if half else layout.samples) * layout.allocated
    needed = (bits * frames + 7) // 8
    rest = len(body) - pixels.start
    present = rest if pixels.length is None else min(rest, pixels.length)
    if frames < 1 or present < needed:
        raise errors.ImageError("decode", f"{present} bytes of pixels where {frames} frames take {needed}")
    if half and layout.columns % 2:
        raise errors.ImageError("decode", "YBR_FULL_422 of an odd width")
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": layout.samples,
        "bits_allocated": layout.allocated,
        "bits_stored": layout.stored,
        "pixel_representation": int(layout.signed),
        "photometric_interpretation": layout.colours,
        "planar_configuration": whole_number(elements.dataset, "PlanarConfiguration", 0) or 0,
        "number_of_frames": frames,
        "pixel_keyword": pixels.keyword,
        "pixel_vr": pixels.vr,
        "correct_unused_bits": False,
    }
    # The words of a deflated file are little endian, and are inflated by now.
    syntax = EXPLICIT if elements.transfer_syntax == DEFLATED else elements.transfer_syntax
    decoder = get_decoder(UID(syntax))
    view = memoryview(body)[pixels.start : pixels.start + present]
    colours = "YBR_FULL" if half else layout.colours

    def read(number: int) -> Decompressed:
        found, _ = decoder.as_array(view, index=number, raw=True, validate=False, **options)
        native = found.astype(found.dtype.newbyteorder("="), copy=False)
        return Decompressed(native, layout.stored, layout.shift, colours)

    return read


def _compressed(body: bytes, elements: Elements, layout: Layout, frames: int) -> Read:
    pixels = elements.pixels
    assert pixels is not None
    decode = decoder_of(elements.transfer_syntax)
    streams = _streams(body, pixels.start, frames, elements.dataset.get("ExtendedOffsetTable"))

    def read(number: int) -> Decompressed:
        stream = b"".join(body[start:end] for start, end in streams[number])
        found = decode(stream, layout)
        if found.numbers.shape != layout.shape:
            raise errors.ImageError("decode", f"compressed pixels that yield the shape {found.numbers.shape}")
        return found

    return read


def _streams(body: bytes, start: int, frames: int, extended: Any) -> list[list[tuple[int, int]]]:
    """Return where the fragments of each frame's stream begin and end (DICOM PS3.5, A.4)."""
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    buffer = io.BytesIO(body)
    buffer.seek(start)
    offsets = parse_basic_offsets(buffer)
    if isinstance(extended, bytes) and len(extended) == 8 * frames:
        offsets = list(struct.unpack(f"<{frames}Q", extended))
    _, items = parse_fragments(buffer)
    if not 1 <= frames <= len(items):
        raise errors.ImageError("decode", f"{len(items)} compressed fragments for {frames} frames")
    fragments = []
    for at in items:
        length = int.from_bytes(body[at + 4 : at + 8], "little")
        fragments.append((at + 8, min(at + 8 + length, len(body))))
    if len(items) == frames:
        return [[fragment] for fragment in fragments]
    if frames == 1:
        return [fragments]
    if len(offsets) == frames:
        first_ones = set(offsets)
        begins = [at - items[0] in first_ones for at in items]
    else:
        ended = [_END_OF_STREAM in body[max(begin, end - 10) : end] for begin, end in fragments]
        begins = [True, *ended[:-1]]
    if sum(begins) != frames or not begins[0]:
        raise errors.ImageError("decode", f"compressed fragments of which nobody can tell {frames} frames")
    streams: list[list[tuple[int, int]]] = []
    for fragment, first in zip(fragments, begins, strict=True):
        if first:
            streams.append([])
        streams[-1].append(fragment)
    return streams


def _opened(elements: Elements, layout: Layout, frames: int, read: Read) -> Opened:
    assert elements.pixels is not None
    dataset = elements.dataset
    little_endian = elements.transfer_syntax != BIG_ENDIAN
    modality = modality_of(dataset)
    mode = f"{modality} {layout.colours}".strip()
    size = layout.columns, layout.rows
    if layout.colours not in _GREY:
        palette = palette_of(dataset, little_endian) if layout.colours == _PALETTE else None
        bits = 8 if palette else layout.stored
        kind = EIGHT_BIT if bits == 8 else OTHER
        facts = Facts("DICOM", mode, *size, bits, frames, kind)
        return Opened(facts, lambda number: _in_colour(read(number), bits, layout.signed, palette))
    meanings = [meaning_of(dataset, number, little_endian) for number in range(frames)]
    floats = elements.pixels.keyword in _FLOATS
    kind = _kind_of(modality, layout, floats, meanings)
    inverted = layout.colours == "MONOCHROME1" or text(dataset, "PresentationLUTShape").upper() == "INVERSE"
    padding = None if floats else padding_of(dataset, layout.allocated, layout.signed)
    show = partial(_in_grey, layout, kind, inverted, floats, padding)
    facts = Facts("DICOM", mode, *size, layout.stored, frames, kind)
    return Opened(facts, lambda number: show(read(number), meanings[number]))


def _kind_of(modality: str, layout: Layout, floats: bool, meanings: list[Meaning]) -> str:
    if modality == "CT" and all(meaning.hounsfield for meaning in meanings):
        return CT
    plain = layout.stored == 8 and not layout.signed and not floats
    if modality in _X_RAYS and (layout.stored > 8 or meanings[0].window is not None):
        return X_RAY
    return EIGHT_BIT if plain and not any(meaning.changes for meaning in meanings) else OTHER


def _in_grey(
    layout: Layout,
    kind: str,
    inverted: bool,
    floats: bool,
    padding: tuple[int, int] | None,
    found: Decompressed,
    meaning: Meaning,
) -> Picture:
    if floats:
        values = meaning.values(found.numbers.astype(np.float32, copy=False))
        return Picture(values, layout.stored, kind, None, meaning.window, None, inverted)
    stored = _stored(found, layout.signed)
    held = (-(2.0 ** (layout.stored - 1)), 2.0 ** (layout.stored - 1) - 1) if layout.signed else None
    limits = meaning.range(held or (0.0, 2.0**layout.stored - 1))
    nothing = _padded(found, stored, padding) if padding is not None else None
    return Picture(meaning.values(stored), layout.stored, kind, limits, meaning.window, nothing, inverted)


def _padded(found: Decompressed, stored: Pixels, padding: tuple[int, int]) -> Pixels | None:
    """Tell where nothing was measured; what stands for that may use bits that count nowhere else."""
    low, high = padding
    mask: Pixels = (stored >= low) & (stored <= high)
    words = found.numbers
    if found.bits < 8 * words.itemsize:
        words = words.view(f"{'i' if low < 0 else 'u'}{words.itemsize}")
        mask |= (words >= low) & (words <= high)
    return mask if mask.any() else None


def _stored(found: Decompressed, signed: bool) -> Pixels:
    """Return the numbers that the bits which count stand for; bits of overlays and rubbish are cut off."""
    numbers = found.numbers
    if numbers.dtype.kind == "i" and signed and not found.shift and found.bits >= 8 * numbers.itemsize:
        return numbers
    width = max(numbers.itemsize, -(-found.bits // 8))
    width = next(size for size in (1, 2, 4, 8) if size >= width)
    words = numbers.view(f"u{numbers.itemsize}").astype(f"u{width}", copy=False)
    unused = 8 * width - found.bits
    if not signed and not found.shift and not unused:
        return words
    counting: Pixels = (words >> found.shift) << unused
    return (counting.view(f"i{width}") if signed else counting) >> unused


def _in_colour(found: Decompressed, bits: int, signed: bool, palette: Palette | None) -> Picture:
    from pydicom.pixels.processing import convert_color_space

    pixels = _stored(found, signed and palette is not None)
    if palette is not None:
        return Picture(palette.colours(pixels), 8, EIGHT_BIT, (0.0, 255.0))
    if found.colours.startswith("YBR"):
        if pixels.dtype != np.uint8:
            raise errors.ImageError("decode", f"{found.colours} of {bits} bits")
        pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
    kind = EIGHT_BIT if bits == 8 else OTHER
    return Picture(np.ascontiguousarray(pixels), bits, kind, (0.0, 2.0**bits - 1))
