"""Promises about reading images: every colour mode and depth, and what damaged files do."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
from icehouse import errors
from icehouse.extract import intensity
from icehouse.extract.decode import Preparation, open_image
from icehouse.extract.picture import EIGHT_BIT, OTHER, Facts, Picture
from PIL import Image, ImageOps

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (20, 30, 3), dtype=np.uint16)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def deep_png(pixels: np.ndarray, *, grey: bool, alpha: bool) -> bytes:
    buffer = io.BytesIO()
    height, width = pixels.shape[:2]
    writer = png.Writer(width, height, greyscale=grey, alpha=alpha, bitdepth=16)
    writer.write(buffer, pixels.reshape(height, -1).tolist())
    return buffer.getvalue()


def decode(content: bytes) -> tuple[Facts, list[Picture]]:
    opened = open_image(content)
    return opened.facts, [opened.frame(number) for number in range(opened.facts.frames)]


def only_frame(content: bytes) -> np.ndarray:
    facts, (frame,) = decode(content)
    assert facts.frames == 1
    assert facts.bits == frame.bits
    return frame.pixels


def test_grey_and_colour_come_back_to_the_bit() -> None:
    np.testing.assert_array_equal(only_frame(saved(Image.fromarray(GREY))), GREY)
    np.testing.assert_array_equal(only_frame(saved(Image.fromarray(COLOUR))), COLOUR)
    np.testing.assert_array_equal(only_frame(saved(Image.fromarray(COLOUR), "BMP")), COLOUR)
    np.testing.assert_array_equal(only_frame(saved(Image.fromarray(COLOUR), "WEBP", lossless=True)), COLOUR)


def test_the_facts_tell_format_mode_size_and_depth() -> None:
    facts, _ = decode(saved(Image.fromarray(COLOUR), "JPEG"))
    assert facts == Facts("JPEG", "RGB", 30, 20, 8)
    facts, _ = decode(saved(Image.fromarray(DEEP)))
    assert (facts.format, facts.bits) == ("PNG", 16)


def test_black_and_white_becomes_0_and_255() -> None:
    assert set(np.unique(only_frame(saved(Image.fromarray(GREY > 127))))) == {0, 255}


def test_a_palette_becomes_its_colours() -> None:
    palette = Image.fromarray(COLOUR).quantize(16)
    np.testing.assert_array_equal(only_frame(saved(palette)), np.asarray(palette.convert("RGB")))


def test_transparency_is_laid_onto_black() -> None:
    alpha = np.full((20, 30, 1), 128, dtype=np.uint8)
    frame = only_frame(saved(Image.fromarray(np.concatenate([COLOUR, alpha], axis=-1))))
    np.testing.assert_allclose(frame, COLOUR * (128 / 255), rtol=1e-6)
    grey_alpha = np.stack([GREY, alpha[..., 0]], axis=-1)
    frame = only_frame(saved(_with_alpha(grey_alpha)))
    np.testing.assert_allclose(frame, np.stack([GREY * (128 / 255)] * 3, axis=-1), rtol=1e-6)


def _with_alpha(pixels: np.ndarray) -> Image.Image:
    grey, alpha = (Image.fromarray(np.ascontiguousarray(pixels[..., index])) for index in (0, 1))
    return Image.merge("LA", (grey, alpha))


def test_an_opaque_image_with_alpha_equals_the_one_without() -> None:
    opaque = np.concatenate([COLOUR, np.full((20, 30, 1), 255, dtype=np.uint8)], axis=-1)
    np.testing.assert_array_equal(only_frame(saved(Image.fromarray(opaque))), COLOUR)


def test_cmyk_jpegs_are_converted() -> None:
    frame = only_frame(saved(Image.new("CMYK", (30, 20), (0, 255, 255, 0)), "JPEG"))
    assert frame.shape == (20, 30, 3)
    assert (frame[..., 0] > 200).all()
    assert (frame[..., 1:] < 60).all()


def test_the_orientation_that_a_camera_noted_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    turned = only_frame(saved(Image.fromarray(GREY), "PNG", exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(GREY, -1))
    np.testing.assert_array_equal(
        only_frame(tiff(DEEP, extratags=[(274, "H", 1, 6, True)])), np.rot90(DEEP, -1)
    )


def test_16_bit_png_keeps_every_bit_in_grey_and_in_colour() -> None:
    np.testing.assert_array_equal(only_frame(saved(Image.fromarray(DEEP))), DEEP)
    np.testing.assert_array_equal(only_frame(deep_png(DEEP_COLOUR, grey=False, alpha=False)), DEEP_COLOUR)
    alpha = np.full((20, 30, 1), 65535, dtype=np.uint16)
    with_alpha = np.concatenate([DEEP_COLOUR, alpha], axis=-1)
    np.testing.assert_array_equal(only_frame(deep_png(with_alpha, grey=False, alpha=True)), DEEP_COLOUR)
    grey_alpha = np.stack([DEEP, alpha[..., 0]], axis=-1)
    np.testing.assert_array_equal(only_frame(deep_png(grey_alpha, grey=True, alpha=True)), DEEP)


@pytest.mark.parametrize(
    "pixels",
    [
        GREY,
        COLOUR,
        DEEP,
        DEEP_COLOUR,
        DEEP.astype(np.int16),
        DEEP.astype(np.uint32) * 60_000,
        DEEP / np.float32(7),
    ],
    ids=["8", "8 colour", "16", "16 colour", "signed 16", "32", "float"],
)
def test_tiff_keeps_every_depth(pixels) -> None:
    np.testing.assert_array_equal(only_frame(tiff(pixels)), pixels)
    np.testing.assert_array_equal(only_frame(tiff(pixels, compression="deflate")), pixels)


def test_lzw_tiff_is_read_too() -> None:
    np.testing.assert_array_equal(
        only_frame(saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw")), GREY
    )
    np.testing.assert_array_equal(
        only_frame(saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw")), DEEP
    )


def test_white_is_zero_tiff_is_inverted() -> None:
    np.testing.assert_array_equal(only_frame(tiff(DEEP, photometric="miniswhite")), 65535 - DEEP)
    by_pillow = saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    np.testing.assert_array_equal(only_frame(by_pillow), 65535 - DEEP)
    np.testing.assert_array_equal(only_frame(tiff(GREY, photometric="miniswhite")), 255 - GREY)


def test_a_grey_value_that_stands_for_transparent_is_laid_onto_black() -> None:
    for pixels in (GREY, DEEP):
        value = int(pixels[3, 4])
        frame = only_frame(saved(Image.fromarray(pixels), transparency=value))
        grey = frame[..., 0] if frame.ndim == 3 else frame
        np.testing.assert_array_equal(grey, np.where(pixels == value, 0, pixels))


def test_every_page_of_a_tiff_is_a_frame() -> None:
    pages = np.stack([DEEP, DEEP // 2, DEEP // 3])
    facts, frames = decode(tiff(pages, photometric="minisblack"))
    assert facts.frames == 3
    np.testing.assert_array_equal(np.stack([frame.pixels for frame in frames]), pages)


def test_pages_of_different_depths_are_each_scaled_by_their_own() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(DEEP, photometric="minisblack")
    _, pictures = decode(buffer.getvalue())
    assert [picture.bits for picture in pictures] == [8, 16]
    assert all(80 < Preparation(16).frame(picture).pixels.mean() < 170 for picture in pictures)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello, I am a text", "not an image of a known format"),
        (saved(Image.fromarray(COLOUR), "JPEG")[:400], "[Tt]runcated"),
        (saved(Image.fromarray(COLOUR))[:200], "truncated|broken|bad|cannot|Truncated"),
        (tiff(DEEP)[:60], "."),
        (b"II*\0" + b"\xff" * 40, "."),
        (b"GIF89a" + bytes(30), "not an image of a known format"),
    ],
    ids=["text", "jpeg", "png", "tiff", "tiff header", "gif"],
)
def test_a_damaged_file_is_an_error_with_a_reason(content, reason) -> None:
    with pytest.raises(errors.ImageError, match=reason) as caught:
        decode(content)
    assert caught.value.stage == "decode"
    assert caught.value.reason


def test_an_image_that_claims_to_be_enormous_is_refused_before_it_is_decoded() -> None:
    content = bytearray(saved(Image.fromarray(GREY)))
    content[16:24] = (60_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    with pytest.raises(errors.ImageError, match="3600000000 pixels"):
        decode(bytes(content))


def test_an_image_with_values_that_are_no_numbers_fails_by_name() -> None:
    pixels = np.full((20, 30), np.nan, dtype=np.float32)
    with pytest.raises(errors.ImageError, match="not a number") as caught:
        Preparation(16).frame(open_image(tiff(pixels)).frame(0))
    assert caught.value.stage == "intensity"


def test_the_two_photographs_of_scikit_learn_are_read() -> None:
    import sklearn.datasets

    for name in ("china.jpg", "flower.jpg"):
        content = (Path(sklearn.datasets.__file__).parent / "images" / name).read_bytes()
        facts, (picture,) = decode(content)
        frame = Preparation(224).frame(picture)
        assert (facts.width, facts.height) == (640, 427)
        assert frame.pixels.shape == (224, 224, 3)
        assert frame.thumbnail.shape == (256,)


def test_a_tiff_whose_pages_lead_in_a_circle_ends() -> None:
    content = bytearray(tiff(np.stack([GREY, GREY]), photometric="minisblack", metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        last = file.pages[1]
        number_of_tags, first = len(last.tags), file.pages[0].offset
    at = last.offset + 2 + 12 * number_of_tags
    assert content[at : at + 4] == bytes(4)
    content[at : at + 4] = first.to_bytes(4, "little")
    with pytest.raises(errors.ImageError, match="lead back to one another"):
        decode(bytes(content))


def test_a_tiff_that_claims_more_than_it_can_hold_is_refused_before_memory_is_taken() -> None:
    content = bytearray(tiff(DEEP, tile=(16, 16)))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        width = file.pages[0].tags["ImageWidth"].valueoffset
    content[width : width + 4] = (1_000_000).to_bytes(4, "little")
    with pytest.raises(errors.ImageError, match="that claims 40000000"):
        decode(bytes(content))


LOSSLESS = ("lzw", "packbits", "zstd", "lzma", "deflate")


@pytest.mark.parametrize("compression", [None, *LOSSLESS])
@pytest.mark.parametrize(
    ("dtype", "stored"),
    [
        (np.uint32, (0, 2**32 - 1)),
        (np.uint64, (0, 2**64 - 1)),
        (np.int8, (-128, 127)),
        (np.int16, (-(2**15), 2**15 - 1)),
        (np.int32, (-(2**31), 2**31 - 1)),
        (np.int64, (-(2**63), 2**63 - 1)),
    ],
)
def test_the_integers_of_a_tiff_keep_sign_and_range_under_every_compression(compression, dtype, stored) -> None:
    limits = np.iinfo(dtype)
    pixels = np.full((20, 30), limits.max // 2 + 1, dtype=dtype)  # 2³¹ of 32 bits
    pixels[0, :2] = limits.min, limits.max
    facts, (picture,) = decode(tiff(pixels, compression=compression))
    assert picture.pixels.dtype == dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (facts.kind, picture.kind, picture.stored) == (OTHER, OTHER, tuple(map(float, stored)))


@pytest.mark.parametrize("compression", [None, *LOSSLESS])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_of_every_width_become_float32(compression, dtype) -> None:
    pixels = (DEEP / np.float32(7)).astype(dtype)
    picture = open_image(tiff(pixels, compression=compression)).frame(0)
    assert (picture.pixels.dtype, picture.kind, picture.stored) == (np.float32, OTHER, None)
    np.testing.assert_array_equal(picture.pixels, pixels.astype(np.float32))


def test_a_float_beyond_float32_fails_by_name() -> None:
    picture = open_image(tiff(np.full((20, 30), 1e300))).frame(0)
    with pytest.raises(errors.ImageError, match="infinite") as caught:
        Preparation(16).frame(picture)
    assert caught.value.stage == "intensity"


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_numbers_that_make_no_picture_are_refused_as_they_are_decoded(compression, dtype) -> None:
    with pytest.raises(errors.ImageError, match=r"complex.*neither integers nor floats") as caught:
        decode(tiff(DEEP.astype(dtype), compression=compression))
    assert caught.value.stage == "decode"


def test_deep_colour_and_transparency_are_read_behind_every_compression() -> None:
    alpha = np.full((20, 30), 65535, dtype=np.uint16)
    half = np.full((20, 30), 32768, dtype=np.uint16)
    for compression in (None, *LOSSLESS):
        colour = tiff(DEEP_COLOUR, photometric="rgb", compression=compression, predictor=compression == "lzw")
        np.testing.assert_array_equal(only_frame(colour), DEEP_COLOUR)
        for kind, seen in (("unassalpha", DEEP * (32768 / 65535)), ("assocalpha", DEEP)):
            options = {"photometric": "minisblack", "extrasamples": [kind], "compression": compression}
            np.testing.assert_array_equal(only_frame(tiff(np.stack([DEEP, alpha], -1), **options)), DEEP)
            _, (picture,) = decode(tiff(np.stack([DEEP, half], -1), planarconfig="contig", **options))
            np.testing.assert_allclose(picture.pixels, seen, rtol=1e-6)
            assert picture.stored == (0, 65535)
    with pytest.raises(errors.ImageError, match="without a word that the second is transparency"):
        decode(tiff(np.stack([DEEP, half], -1), photometric="minisblack", extrasamples=["unspecified"]))


def test_one_transparent_pixel_leaves_the_range_of_a_deep_png_known() -> None:
    with_alpha = np.concatenate([DEEP_COLOUR, np.full((20, 30, 1), 65535, dtype=np.uint16)], axis=-1)
    with_alpha[3, 4, 3] = 0
    picture = open_image(deep_png(with_alpha, grey=False, alpha=True)).frame(0)
    assert picture.stored == (0, 65535)
    scaled = intensity.to_byte_range(picture, intensity.parse("full"))
    assert not scaled[3, 4].any()
    np.testing.assert_allclose(scaled[5], DEEP_COLOUR[5] / 257, rtol=1e-5)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_packed_12_bit_tiff_is_read(photometric) -> None:
    twelve = DEEP >> 4
    first, second = twelve[:, ::2], twelve[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1)
    content = bytearray(tiff(packed.reshape(20, 45).astype(np.uint8), photometric=photometric, metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        for name, value in (("ImageWidth", 30), ("BitsPerSample", 12)):
            at = file.pages[0].tags[name].valueoffset
            content[at : at + 2] = value.to_bytes(2, "little")
    facts, (picture,) = decode(bytes(content))
    assert (facts.bits, picture.bits, picture.stored, facts.kind) == (12, 12, (0, 4095), OTHER)
    np.testing.assert_array_equal(picture.pixels, twelve if photometric == "minisblack" else 4095 - twelve)


@pytest.mark.parametrize("options", [{"truncate": True}, {"truncate": True, "imagej": True}])
def test_planes_that_a_tiff_does_not_list_are_not_passed_over(options) -> None:
    content = tiff(np.stack([DEEP] * 5), photometric="minisblack", **options)
    with pytest.raises(errors.ImageError, match="5 planes that lists only the first"):
        decode(content)
    for pixels in (GREY, DEEP):
        with pytest.raises(errors.ImageError, match="5 planes and 1 samples"):
            decode(tiff(np.stack([pixels] * 5), volumetric=True, tile=(16, 16, 16)))
    assert open_image(tiff(np.stack([DEEP] * 5), imagej=True)).facts.frames == 5


@pytest.mark.parametrize("compression", [None, *LOSSLESS, "jpeg"])
def test_the_pages_of_an_8_bit_tiff_come_in_any_order_as_pillow_reads_them(compression) -> None:
    pages = np.stack([GREY, GREY // 2, GREY // 3, GREY // 4])
    content = tiff(pages, photometric="minisblack", compression=compression, extratags=[(274, "H", 1, 6, True)])
    opened = open_image(content)
    for number in (2, 0, 3, 3, 1, 0):
        picture = opened.frame(number)
        with Image.open(io.BytesIO(content)) as image:
            image.seek(number)
            expected = np.asarray(ImageOps.exif_transpose(image))
        assert (picture.kind, picture.stored) == (EIGHT_BIT, (0, 255))
        np.testing.assert_array_equal(picture.pixels, expected)


def test_a_page_that_failed_fails_again_and_leaves_the_others_readable() -> None:
    content = bytearray(tiff(np.stack([GREY, GREY // 2]), photometric="minisblack", compression="jpeg"))
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        at = file.pages[1].dataoffsets[0]
    content[at : at + 20] = bytes(20)
    opened = open_image(bytes(content))
    for _ in range(2):
        with pytest.raises(errors.ImageError):
            opened.frame(1)
        assert opened.frame(0).pixels.shape == GREY.shape


def test_libtiff_prints_nothing(capfd) -> None:
    content = bytearray(saved(Image.fromarray(GREY), "TIFF", compression="tiff_lzw"))
    content[400:410] = b"\xff" * 10
    with pytest.raises(errors.ImageError):
        decode(bytes(content))
    assert capfd.readouterr() == ("", "")
