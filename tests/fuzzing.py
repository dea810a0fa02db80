"""Opens damaged files of every format, one after the other; run as a program, so that a crash is seen.

    python fuzzing.py COUNT SKIP

prints `begin FORMAT NUMBER` before each file, and after it `end SECONDS MEGABYTES` with `pictures` or `failure`
and the reason; the memory is the largest of the process so far, above its start. The damage depends on format
and number alone.
"""

from __future__ import annotations

import gzip
import io
import random
import resource
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from making_volumes import compressed, dicom, items, nifti
from PIL import Image

ALLOWED_ABOVE_START = 4 * 2**30
"""Bytes of address space, so that a test gone wrong fills no machine; what is promised is far less."""


def seeds() -> dict[str, list[bytes]]:
    """Return whole files of each format."""
    generator = np.random.default_rng(1)
    rows, columns = np.mgrid[:40, :48]
    grey = (rows * 4 + columns + generator.integers(0, 6, (40, 48))).astype(np.uint8)
    colour = np.stack([grey, grey[::-1], 255 - grey], axis=-1)
    deep = grey.astype(np.uint16) * 250
    volume = np.stack([deep.astype(np.int16), deep.astype(np.int16) // 2, deep.astype(np.int16) // 3], axis=-1)
    affine = np.diag([-1.0, -1.0, 2.5, 1.0])
    images = {
        "PNG": [saved(grey, "PNG"), saved(colour, "PNG"), palette(colour)],
        "JPEG": [saved(grey, "JPEG"), saved(colour, "JPEG"), saved(colour, "JPEG", progressive=True)],
        "BMP": [saved(grey, "BMP"), saved(colour, "BMP")],
        "WebP": [saved(colour, "WEBP"), saved(colour, "WEBP", lossless=True)],
        "16-bit PNG": [saved(deep, "PNG"), deep_png(np.stack([deep, deep // 2, deep // 3], axis=-1))],
        "TIFF": [tiff(grey), tiff(colour), tiff(np.stack([grey, grey // 2]), photometric="minisblack")],
        "16-bit TIFF": [tiff(deep), tiff(np.stack([deep, deep // 2, deep // 3], axis=-1), photometric="rgb")],
        "float TIFF": [tiff(deep / np.float32(7)), tiff(deep / np.float32(7), tile=(16, 16))],
        "compressed TIFF": [
            tiff(deep, compression="deflate", predictor=True),
            saved(grey, "TIFF", compression="tiff_lzw"),
            saved(deep, "TIFF", compression="tiff_lzw"),
            saved(colour, "TIFF", compression="jpeg"),
            saved(grey, "TIFF", compression="packbits"),
        ],
        "NIfTI": [nifti(volume, affine), nifti(volume, affine, slope=2, intercept=-1024)],
        "NIfTI.gz": [gzip.compress(nifti(volume, affine), mtime=0)],
        "enhanced DICOM": [enhanced(np.moveaxis(volume, -1, 0))],
    }
    return images | {f"DICOM {syntax}": [content] for syntax, content in compressed().items()}


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def palette(colour: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(colour).quantize(16).save(buffer, "PNG", transparency=3)
    return buffer.getvalue()


def deep_png(pixels: np.ndarray) -> bytes:
    import png

    buffer = io.BytesIO()
    height, width = pixels.shape[:2]
    png.Writer(width, height, greyscale=False, bitdepth=16).write(buffer, pixels.reshape(height, -1).tolist())
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def enhanced(volume: np.ndarray) -> bytes:
    frames = []
    for number in range(len(volume)):
        rescale = items(RescaleSlope=1 + number, RescaleIntercept=-1000, RescaleType="HU")
        frames += items(
            PixelValueTransformationSequence=rescale,
            FrameVOILUTSequence=items(WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID"),
        )
    table = items(LUTDescriptor=[256, 0, 8], LUTData=bytes(range(256)))
    return dicom(
        volume,
        frames=len(volume),
        Modality="CT",
        PixelPaddingValue=0,
        VOILUTSequence=table,
        PerFrameFunctionalGroupsSequence=frames,
    )


def damaged(whole: bytes, generator: random.Random) -> bytes:
    """Return a file with a few bytes changed, moved, lost or added, most of them near its start."""
    data = bytearray(whole)

    def place() -> int:
        return int(len(data) * generator.random() ** generator.choice((1, 3, 8)))

    for _ in range(generator.choice((1, 1, 2, 4, 10))):
        if len(data) < 16:
            break
        at, other = place(), place()
        length = generator.choice((1, 2, 4, 8, 32))
        match generator.randrange(8):
            case 0 | 1:
                data[at] = generator.randrange(256)
            case 2:
                data[at] ^= 1 << generator.randrange(8)
            case 3:
                data[at : at + length] = bytes([generator.choice((0, 1, 127, 128, 255))]) * len(
                    data[at : at + length]
                )
            case 4:
                data[at : at + length], data[other : other + length] = (
                    data[other : other + length],
                    data[at : at + length],
                )
            case 5:
                data[at:at] = generator.randbytes(length)
            case 6:
                del data[at : at + length]
            case 7:
                if generator.random() < 0.4:
                    del data[max(16, place()) :]
                else:
                    data[at : at + 4] = generator.randrange(2**32).to_bytes(4, "little")
    return bytes(data)


def open_all(content: bytes) -> str:
    """Return how opening a file and decoding all its frames ended."""
    from icehouse import errors
    from icehouse.extract.decode import open_image

    try:
        opened = open_image(content)
        for number in range(opened.facts.frames):
            picture = opened.frame(number)
            if picture.window is not None:
                picture.window(picture.pixels)
    except errors.ImageError as failure:
        return f"failure {failure.reason}"
    return "pictures"


def damaged_file(name: str, number: int, whole: list[bytes]) -> bytes:
    """Return the damaged file of this number; every other one is damaged below its checksums."""
    generator = random.Random(f"{name} {number}")
    content = generator.choice(whole)
    if number % 2 and name.endswith(".gz"):
        return gzip.compress(damaged(gzip.decompress(content), generator), mtime=0)
    content = damaged(content, generator)
    return with_checksums(content) if number % 2 and "PNG" in name else content


def with_checksums(png: bytes) -> bytes:
    """Return a PNG file whose chunks have the checksums of what is in them, as far as they are told apart."""
    data = bytearray(png)
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")[: max(0, len(data) - end)]
        at = end + 4
    return bytes(data)


def header_of(content: bytes) -> str:
    """Return how reading the header of a DICOM file ended."""
    from icehouse import errors
    from icehouse.extract.dicom_header import read_header

    try:
        read_header(content)
    except errors.ImageError as failure:
        return f"failure {failure.reason}"
    return "header"


def peak() -> float:
    """Return the largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def main(count: int, skip: int) -> None:
    """Open `count` damaged files of each format, but the first `skip` of them all."""
    whole = seeds()
    for contents in whole.values():
        for content in contents:
            assert open_all(content) == "pictures", open_all(content)
    if sys.platform == "linux":
        limit = address_space() + ALLOWED_ABOVE_START
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = peak()
    plan = [(name, number) for name in whole for number in range(count)]
    for name, number in plan[skip:]:
        content = damaged_file(name, number, whole[name])
        print(f"begin {name} {number}", flush=True)
        began = time.perf_counter()
        outcome = open_all(content)
        if "DICOM" in name:
            header_of(content)
        seconds = time.perf_counter() - began
        print(f"end {seconds:.3f} {peak() - start:.0f} {outcome}".replace("\n", " "), flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
