"""Promises about intensity: which numbers become black and white, and that nothing passes through 8 bits."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import intensity
from icehouse.extract.intensity import parse, to_byte_range
from icehouse.extract.picture import CT, EIGHT_BIT, KINDS, OTHER, X_RAY, Picture

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (20, 30), dtype=np.uint16)
HOUNSFIELD = np.linspace(-1024, 2000, 600).reshape(20, 30).astype(np.float32)


def ct(pixels: np.ndarray = HOUNSFIELD, **options: object) -> Picture:
    return Picture(pixels, 12, CT, (-1024.0, 3071.0), **options)


def other(pixels: np.ndarray) -> Picture:
    return Picture(pixels, 16, OTHER, (0.0, 65535.0))


def test_deep_images_are_scaled_between_their_percentiles_and_never_rounded() -> None:
    scaled = to_byte_range(other(DEEP), intensity.DEFAULT)
    assert scaled.dtype == np.float32
    assert len(np.unique(scaled)) > 400  # of 600 pixels; 8 bits would leave 256 at most
    low, high = np.percentile(DEEP, [0.5, 99.5])
    inside = (low < DEEP) & (high > DEEP)
    np.testing.assert_allclose(scaled[inside], (DEEP[inside] - low) / (high - low) * 255, rtol=1e-4, atol=1e-3)
    assert scaled.min() == 0
    assert scaled.max() == 255


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.uint64, np.float64])
def test_large_numbers_that_differ_little_keep_their_contrast(dtype) -> None:
    pixels = (np.arange(600).reshape(20, 30) + 4_000_000_000).astype(dtype)
    scaled = to_byte_range(Picture(pixels, 32, OTHER), parse("window:4000000300,600"))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, np.arange(600).reshape(20, 30) * (255 / 600), rtol=1e-5)


def test_a_constant_deep_image_is_black_and_one_bright_dot_on_black_is_kept() -> None:
    constant = np.full((100, 100), 700, dtype=np.uint16)
    assert not to_byte_range(other(constant), intensity.DEFAULT).any()
    constant[5, 5] = 900
    assert to_byte_range(other(constant), intensity.DEFAULT)[5, 5] == 255


def test_8_bit_images_stay_as_they_are() -> None:
    picture = Picture(RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8), 8, EIGHT_BIT, (0.0, 255.0))
    assert to_byte_range(picture, intensity.DEFAULT) is picture.pixels


@pytest.mark.parametrize(
    ("policy", "black", "white"),
    [
        ("lung", -1350, 150),
        ("mediastinum", -160, 240),
        ("bone", -500, 1300),
        ("window:100,50", 75, 125),
        ("max", 0, 2000),
        ("full", -1024, 3071),
    ],
)
def test_each_policy_says_which_number_is_black_and_which_is_white(policy, black, white) -> None:
    scaled = to_byte_range(ct(), parse(policy))
    expected = np.clip((HOUNSFIELD - black) / (white - black), 0, 1) * 255
    np.testing.assert_allclose(scaled, expected, rtol=1e-5, atol=1e-3)


def test_a_ct_is_shown_in_the_lung_window_by_default_whatever_window_its_header_names() -> None:
    with_window = ct(window=lambda pixels: np.zeros(pixels.shape, dtype=np.float32))
    np.testing.assert_array_equal(
        to_byte_range(with_window, intensity.DEFAULT), to_byte_range(ct(), parse("lung"))
    )


def test_an_x_ray_is_shown_as_its_file_says_and_else_by_percentiles() -> None:
    half = Picture(DEEP, 12, X_RAY, (0.0, 4095.0), window=lambda pixels: np.full(pixels.shape, 7, np.float32))
    assert (to_byte_range(half, intensity.DEFAULT) == 7).all()
    without = half._replace(window=None)
    np.testing.assert_array_equal(
        to_byte_range(without, intensity.DEFAULT), to_byte_range(other(DEEP), intensity.DEFAULT)
    )


def test_the_files_own_window_is_an_error_where_it_is_asked_for_and_there_is_none() -> None:
    with pytest.raises(errors.ImageError, match="neither a VOI LUT nor a window"):
        to_byte_range(other(DEEP), parse("voi"))


def test_three_windows_become_the_three_channels() -> None:
    scaled = to_byte_range(ct(), parse("lung/mediastinum/window:400,1800"))
    assert scaled.shape == (20, 30, 3)
    for channel, policy in enumerate(("lung", "mediastinum", "bone")):
        np.testing.assert_array_equal(scaled[..., channel], to_byte_range(ct(), parse(policy)))
    colour = Picture(np.zeros((4, 4, 3), dtype=np.uint8), 8, EIGHT_BIT, (0.0, 255.0))
    with pytest.raises(errors.ImageError, match="colour"):
        to_byte_range(colour, parse("window:1,2/window:1,2/window:1,2"))


def test_padding_counts_for_nothing_and_is_black_even_where_black_is_white() -> None:
    pixels = DEEP.copy()
    padding = np.zeros(pixels.shape, dtype=bool)
    padding[:4] = True
    pixels[padding] = 65535
    picture = other(pixels)._replace(padding=padding)
    low, high = np.percentile(pixels[4:], [0.5, 99.5])
    upright = to_byte_range(picture, intensity.DEFAULT)
    np.testing.assert_allclose(
        upright[4:], np.clip((pixels[4:] - low) / (high - low), 0, 1) * 255, rtol=1e-4, atol=1e-3
    )
    inverted = to_byte_range(picture._replace(inverted=True), intensity.DEFAULT)
    np.testing.assert_array_equal(inverted[4:], 255 - upright[4:])
    assert not upright[:4].any()
    assert not inverted[:4].any()


def test_what_a_file_cannot_give_is_refused_with_the_remedy() -> None:
    with pytest.raises(errors.ImageError, match=r"not in Hounsfield units.*--intensity window:"):
        to_byte_range(other(DEEP), parse("lung"))
    floats = Picture(HOUNSFIELD, 32, OTHER)
    with pytest.raises(errors.ImageError, match="floats, of which no full range is known"):
        to_byte_range(floats, parse("full"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fuller",
        "window",
        "window:1",
        "window:1,0",
        "window:1,nan",
        "percentile:9,3",
        "lung/bone",
        "max/max/max",
    ],
)
def test_a_policy_that_is_not_known_is_refused_with_all_that_are(text) -> None:
    with pytest.raises(errors.UsageError, match="percentile:LOW,HIGH"):
        parse(text)


def test_one_policy_has_one_spelling_in_the_recipe() -> None:
    assert intensity.recipe(parse("window:-600.0,1500")) == intensity.recipe(parse("window:-600,1.5e3"))
    assert intensity.recipe(parse(None)) == intensity.DEFAULT
    assert set(intensity.DEFAULT) == set(KINDS)
