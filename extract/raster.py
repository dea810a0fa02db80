"""PNG, JPEG, BMP, WebP and TIFF: from a file's bytes to its frames, in the depth that the file has.

Which library reads a file depends on the file alone, never on what is installed: Pillow where it keeps every
bit, pypng for 16-bit PNG in colour (Pillow would cut it to 8 bits), tifffile for TIFF deeper than 8 bits.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps, _imaging

from .. import errors
from .picture import EIGHT_BIT, OTHER, Facts, Opened, Picture, Pixels, check_size

_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112  # the tag of EXIF and of TIFF
_LARGEST_RATIO = 1032  # of Deflate (https://zlib.net/zlib_tech.html)
_PLAIN_TIFF_COMPRESSIONS = (1, 8, 32946)  # none, Deflate twice: what tifffile decodes by itself


def open_raster(content: bytes) -> Opened:
    """Open a file of one of these formats; its frames are upright, transparency is composited onto black.

    Whatever Pillow, pypng and tifffile raise on damaged files comes through.
    """
    return _open_tiff(content) if content[:4] in _TIFF_MAGIC else _open_with_pillow(content)


def _open_with_pillow(content: bytes) -> Opened:
    with Image.open(io.BytesIO(content), formats=_PILLOW_FORMATS) as image:
        check_size(image.width, image.height)
        bits = max(_png_bit_depth(content), 8) if image.format == "PNG" else 8
        deep_colour = bits == 16 and image.mode not in ("I;16", "I")
        mode = f"{_png_colour_type(content)};16" if deep_colour else image.mode
        kind = EIGHT_BIT if bits == 8 else OTHER
        facts = Facts(str(image.format), mode, image.width, image.height, bits, kind=kind)

    def frame(_number: int) -> Picture:
        with Image.open(io.BytesIO(content), formats=_PILLOW_FORMATS) as image:
            if deep_colour:
                pixels = _upright(_png16(content), image.getexif().get(_ORIENTATION, 1))
            else:
                image.load()
                pixels = _to_pixels(ImageOps.exif_transpose(image))
        return _picture(pixels, bits)

    return Opened(facts, frame)


def _picture(pixels: Pixels, bits: int) -> Picture:
    """Return pixels as a picture; the bits stored are those of its numbers unless they are floats."""
    if bits <= 8:
        return Picture(pixels, bits, EIGHT_BIT, (0.0, 255.0))
    floats = pixels.dtype.kind == "f"
    signed = pixels.dtype.kind == "i" and bits == 32
    least, most = (-(2.0**31), 2.0**31 - 1) if signed else (0.0, 2.0**bits - 1)
    return Picture(pixels, bits, OTHER, None if floats else (least, most))


def _to_pixels(image: Image.Image) -> Pixels:
    """Return a loaded Pillow image as grey or RGB, deep images in their own numbers."""
    if image.mode in ("I;16", "I;16L", "I;16B", "I", "F"):
        pixels = np.asarray(image)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        if "transparency" in image.info:  # one grey value stands for transparent
            pixels = np.where(pixels == image.info["transparency"], 0, pixels).astype(pixels.dtype)
        return pixels
    if image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        return _composited(np.asarray(image.convert("RGBA")), opaque=255)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGB"))


def _composited(pixels: Pixels, opaque: int) -> Pixels:
    """Lay grey or colour with alpha onto black; exactly the colour itself where nothing is transparent."""
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    if colour.shape[-1] == 1:
        colour = colour[..., 0]
        alpha = alpha[..., 0]
    if np.all(alpha == opaque):
        return np.ascontiguousarray(colour)
    composited: Pixels = colour.astype(np.float32) * (alpha.astype(np.float32) / opaque)
    return composited


def _png_bit_depth(content: bytes) -> int:
    return content[24]  # IHDR is the first chunk by the PNG standard: depth at byte 24, colour type at 25


def _png_colour_type(content: bytes) -> str:
    return {2: "RGB", 4: "LA", 6: "RGBA"}[content[25]]


def _png16(content: bytes) -> Pixels:
    """Read a 16-bit PNG in colour or with alpha, all bits kept."""
    import png

    width, height, rows, info = png.Reader(bytes=content).asDirect()
    planes = int(info["planes"])
    pixels = np.array([np.frombuffer(row, dtype=np.uint16) for row in rows])
    pixels = pixels.reshape(height, width, planes)
    return _composited(pixels, opaque=65535) if info["alpha"] else pixels


def _open_tiff(content: bytes) -> Opened:
    import tifffile

    file = tifffile.TiffFile(io.BytesIO(content))
    pages = _full_pages(file)
    if not pages:
        raise errors.ImageError("decode", "a TIFF without a full-size page")
    first = pages[0][1].keyframe
    check_size(first.imagewidth, first.imagelength)
    mode = getattr(first.photometric, "name", str(first.photometric))
    bits = _tiff_bits(first)
    kind = EIGHT_BIT if bits == 8 else OTHER
    facts = Facts("TIFF", mode, first.imagewidth, first.imagelength, bits, len(pages), kind)
    one_at_a_time = threading.Lock()  # tifffile moves about in the file as it reads

    def frame(number: int) -> Picture:
        index, page = pages[number]
        check_size(page.keyframe.imagewidth, page.keyframe.imagelength)
        with one_at_a_time:
            pixels = _tiff_page(content, index, page)
        return _picture(pixels, _tiff_bits(page.keyframe))

    return Opened(facts, frame)


def _full_pages(file: Any) -> list[tuple[int, Any]]:
    """Return the pages that are no thumbnails, with their numbers; damaged ones may lead back to themselves."""
    pages, seen = [], set()
    for index, page in enumerate(file.pages):
        if page.offset in seen:
            raise errors.ImageError("decode", "a TIFF whose pages lead back to one another")
        seen.add(page.offset)
        if not page.keyframe.is_reduced:
            pages.append((index, page))
    return pages


def _tiff_bits(page: Any) -> int:
    return max(int(page.bitspersample), 8)


def _tiff_page(content: bytes, index: int, page: Any) -> Pixels:
    shape = page.keyframe
    if shape.bitspersample <= 8:
        return _tiff_page_by_pillow(content, index)
    if int(shape.compression) not in _PLAIN_TIFF_COMPRESSIONS:
        if shape.samplesperpixel > 1:
            raise errors.ImageError(
                "decode",
                f"TIFF in colour, {shape.bitspersample} bits, with {shape.compression.name} compression",
            )
        pixels = _tiff_page_by_pillow(content, index)
    else:
        most = len(content) * (1 if int(shape.compression) == 1 else _LARGEST_RATIO)
        if shape.nbytes > most:
            raise errors.ImageError("decode", f"a TIFF of {len(content)} bytes that claims {shape.nbytes}")
        pixels = page.asarray()
        if shape.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        tag = page.tags.get(_ORIENTATION)
        pixels = _upright(pixels, tag.value if tag is not None else 1)
    if pixels.ndim == 2:
        white_is_zero = int(shape.photometric) == 0
        return _inverted(pixels) if white_is_zero else pixels
    if int(shape.photometric) == 2 and pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        opaque = np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" else 1
        return pixels if pixels.shape[-1] == 3 else _composited(pixels, opaque=opaque)
    raise errors.ImageError("decode", f"a TIFF page of shape {pixels.shape}, which is neither grey nor RGB")


@functools.cache
def _silence_libtiff() -> None:
    """Take away the function with which Pillow's libtiff prints errors; Pillow reports them once more."""
    with contextlib.suppress(
        OSError, AttributeError
    ):  # it is out of reach where it is part of Pillow's own library
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(ctypes.c_void_p(None))


def _tiff_page_by_pillow(content: bytes, index: int) -> Pixels:
    _silence_libtiff()
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        image.seek(index)
        image.load()
        return _to_pixels(ImageOps.exif_transpose(image))


def _upright(pixels: Pixels, orientation: Any) -> Pixels:
    """Apply the orientation that EXIF or TIFF notes, as Pillow does for the files that it reads."""
    turns: dict[int, Callable[[Pixels], Pixels]] = {
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: a.swapaxes(0, 1)[:, ::-1],
        7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
        8: lambda a: a.swapaxes(0, 1)[::-1],
    }
    turn = turns.get(int(orientation))
    return turn(pixels) if turn else pixels


def _inverted(pixels: Pixels) -> Pixels:
    """Return a white-is-zero image as black-is-zero."""
    if pixels.dtype.kind == "u":
        flipped: Pixels = np.iinfo(pixels.dtype).max - pixels
    else:
        flipped = pixels.max() + pixels.min() - pixels
    return flipped
