"""PNG, JPEG, BMP, WebP and TIFF: from a file's bytes to its frames, in the depth that the file has.

Which library reads a file depends on the file alone, never on what is installed: Pillow where it keeps every
bit, pypng for 16-bit PNG in colour (Pillow would cut it to 8 bits), tifffile for TIFF that is deeper than
8 bits, signed, or simply grey or RGB. The other TIFF of 8 bits (palettes, JPEG, CMYK, transparency, black and
white) is Pillow's.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, _imaging

from .. import errors
from .picture import EIGHT_BIT, OTHER, Facts, Opened, Picture, Pixels, check_size

_PILLOW_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112  # the tag of EXIF and of TIFF
_SIMPLE = ((0, 1), (1, 1), (2, 3))  # photometric and samples a pixel of grey, twice, and RGB
_NEITHER = (3, 5, 6, 8, 9, 10)  # photometric of palettes, CMYK, YCbCr and Lab
_JPEG = (6, 7, 34892)  # YCbCr behind these becomes RGB as it is decoded
_LARGEST_RATIOS = {1: 1, 5: 4096, 8: 1032, 32946: 1032, 32773: 64, 34925: 32768, 50000: 32768}
"""How far no compression, LZW (a code stands for one entry of its table of 4096), Deflate twice
(https://zlib.net/zlib_tech.html), PackBits (2 bytes are 128), LZMA and ZSTD (a block of 128 KiB takes 4 bytes)
can shrink a page: a damaged file that claims more is refused before memory is taken."""
_LARGEST_RATIO = 32768


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
    """Return pixels as a picture; its numbers are integers in the file, though compositing makes floats."""
    return Picture(pixels, bits, EIGHT_BIT if bits <= 8 else OTHER, (0.0, 2.0**bits - 1))


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
    _refuse_hidden_planes(file)
    first = pages[0][1].keyframe
    check_size(first.imagewidth, first.imagelength)
    mode = getattr(first.photometric, "name", str(first.photometric))
    kind = EIGHT_BIT if _is_eight_bit(first) else OTHER
    facts = Facts("TIFF", mode, first.imagewidth, first.imagelength, _tiff_bits(first), len(pages), kind)
    by_pillow = _PillowPages(content)
    one_at_a_time = threading.Lock()  # both libraries move about in the file as they read

    def frame(number: int) -> Picture:
        index, page = pages[number]
        shape = page.keyframe
        check_size(shape.imagewidth, shape.imagelength)
        with one_at_a_time:
            pixels = by_pillow.page(index, shape) if _is_for_pillow(shape) else _tiff_page(page, len(content))
        return _tiff_picture(pixels, shape)

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


def _refuse_hidden_planes(file: Any) -> None:
    """Raise for a stack of which the file lists the first plane alone, as tifffile and ImageJ can write it."""
    if len(file.pages) > 1:
        return
    planes = 1
    if file.is_imagej:
        planes = int((file.imagej_metadata or {}).get("images", 1))
    elif file.is_shaped:
        written: dict[str, Any] = (file.shaped_metadata or ({},))[0]
        if written.get("truncated"):
            planes = math.prod(written["shape"]) // max(1, math.prod(file.pages[0].shape))
    if planes > 1:
        raise errors.ImageError(
            "decode", f"a TIFF of {planes} planes that lists only the first: write each as a page of its own"
        )


def _tiff_bits(shape: Any) -> int:
    bits = shape.bitspersample  # several numbers where the samples differ
    return max(8, *bits) if isinstance(bits, tuple) else max(8, int(bits))


def _is_eight_bit(shape: Any) -> bool:
    return shape.dtype is not None and shape.dtype.kind in "bu" and shape.dtype.itemsize == 1


def _is_for_pillow(shape: Any) -> bool:
    """Whether a page is of 8 bits or fewer, and not simply grey or RGB behind a lossless compression."""
    simple = shape.bitspersample == 8 and (int(shape.photometric), shape.samplesperpixel) in _SIMPLE
    lossless = int(shape.compression) in _LARGEST_RATIOS
    return _is_eight_bit(shape) and shape.imagedepth == 1 and not (simple and lossless)


def _tiff_picture(pixels: Pixels, shape: Any) -> Picture:
    """Return a page's pixels as a picture; its numbers are the page's, though compositing makes floats."""
    bits = _tiff_bits(shape)
    if _is_eight_bit(shape):
        return Picture(pixels, bits, EIGHT_BIT, (0.0, 255.0))
    if shape.dtype.kind == "f":
        return Picture(pixels, bits, OTHER)
    if shape.dtype.kind == "i":
        return Picture(pixels, bits, OTHER, (float(-(2 ** (bits - 1))), float(2 ** (bits - 1) - 1)))
    return Picture(pixels, bits, OTHER, (0.0, float(2**bits - 1)))


def _tiff_page(page: Any, length: int) -> Pixels:
    """Decode one page by tifffile; `length` is how many bytes the file has."""
    shape = page.keyframe
    colours = _colours(shape)
    claimed = shape.imagewidth * shape.imagelength * shape.samplesperpixel * shape.bitspersample // 8
    if claimed > length * _LARGEST_RATIOS.get(int(shape.compression), _LARGEST_RATIO):
        raise errors.ImageError("decode", f"a TIFF of {length} bytes that claims {claimed}")
    if shape.is_tiled:
        check_size(shape.tilewidth, shape.tilelength * shape.tiledepth)
    pixels = page.asarray(maxworkers=1)
    pixels = pixels.astype(np.float32 if shape.dtype.kind == "f" else shape.dtype, copy=False)
    if shape.planarconfig == 2 and shape.samplesperpixel > 1:
        pixels = np.moveaxis(pixels, 0, -1)
    tag = page.tags.get(_ORIENTATION)
    pixels = _upright(pixels, tag.value if tag is not None else 1)
    if int(shape.photometric) == 0:
        colour = pixels if pixels.ndim == 2 else pixels[..., :1]
        colour[...] = _inverted(colour, _tiff_bits(shape))
    if shape.samplesperpixel == colours:
        return pixels
    if shape.extrasamples and int(shape.extrasamples[0]) != 2:  # multiplied by it already, or no transparency
        return np.ascontiguousarray(pixels[..., 0] if colours == 1 else pixels[..., :colours])
    opaque = 1 if shape.dtype.kind == "f" else (2 ** _tiff_bits(shape) - 1) >> (shape.dtype.kind == "i")
    return _composited(pixels, opaque=opaque)


def _colours(shape: Any) -> int:
    """Return 1 for a grey page, 3 for RGB, transparency left out; raise for one that is neither."""
    name = getattr(shape.photometric, "name", str(shape.photometric))
    if isinstance(shape.bitspersample, tuple):
        raise errors.ImageError("decode", f"a TIFF whose samples differ in bits: {shape.bitspersample}")
    if shape.dtype is None or shape.dtype.kind not in "buif":
        what = shape.dtype or f"{shape.bitspersample} bits in sample format {int(shape.sampleformat)}"
        raise errors.ImageError("decode", f"a TIFF of {what}, which are neither integers nor floats")
    photometric = int(shape.photometric)
    if photometric == 2 or (photometric == 6 and int(shape.compression) in _JPEG):
        colours = 3
    else:
        colours = 0 if photometric in _NEITHER else 1
    extra = shape.samplesperpixel - colours
    if not colours or extra not in (0, 1) or shape.imagedepth != 1:
        depth = f"{shape.imagedepth} planes and " if shape.imagedepth != 1 else ""
        raise errors.ImageError(
            "decode",
            f"a TIFF page of {depth}{shape.samplesperpixel} samples a pixel ({name}, {shape.bitspersample} "
            "bits), which is neither grey nor RGB",
        )
    if colours == 1 and extra and (not shape.extrasamples or int(shape.extrasamples[0]) not in (1, 2)):
        raise errors.ImageError(
            "decode", "a TIFF page of 2 samples a pixel, without a word that the second is transparency"
        )
    return colours


@functools.cache
def _silence_libtiff() -> None:
    """Take away the function with which Pillow's libtiff prints errors; Pillow reports them once more."""
    with contextlib.suppress(
        OSError, AttributeError
    ):  # it is out of reach where it is part of Pillow's own library
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(ctypes.c_void_p(None))


class _PillowPages:
    """The pages of one TIFF as Pillow reads them; opened once, for a page is found by way of the others."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._image: Image.Image | None = None

    def page(self, index: int, shape: Any) -> Pixels:
        """Decode one page; of two threads only one may."""
        _silence_libtiff()
        image, self._image = self._image, None  # after an error it is opened anew: it may hold half a page
        try:
            image = image or Image.open(io.BytesIO(self._content), formats=("TIFF",))
            image.seek(index)
        except UnidentifiedImageError:
            kind = getattr(shape.photometric, "name", shape.photometric)
            raise errors.ImageError(
                "decode",
                f"a TIFF of a kind that is not read: {kind}, {shape.samplesperpixel} samples a pixel, "
                f"{shape.bitspersample} bits",
            ) from None
        image.load()
        pixels = _to_pixels(ImageOps.exif_transpose(image))
        self._image = image
        return pixels


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


def _inverted(pixels: Pixels, bits: int) -> Pixels:
    """Return white-is-zero numbers as black-is-zero."""
    if pixels.dtype.kind == "u":
        flipped: Pixels = pixels.dtype.type(2**bits - 1) - pixels
    elif pixels.dtype.kind == "i":
        flipped = ~pixels  # −1 − x: the least number becomes the largest
    else:
        flipped = pixels.max() + pixels.min() - pixels
    return flipped
