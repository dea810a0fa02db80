"""Promises about resizing: one float32 path, antialiased, the same for every depth."""

from __future__ import annotations

import numpy as np
from icehouse.extract.resize import resize, thumbnail
from PIL import Image

RNG = np.random.default_rng(0)


def test_grey_and_three_equal_channels_give_the_same_pixels() -> None:
    grey = RNG.integers(0, 256, (120, 90), dtype=np.uint8)
    np.testing.assert_array_equal(resize(grey, (64, 64)), resize(np.stack([grey] * 3, axis=-1), (64, 64)))


def test_it_agrees_with_pillow_in_8_bits_but_for_rounding() -> None:
    colour = RNG.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    by_pillow = np.asarray(Image.fromarray(colour).resize((64, 48), Image.Resampling.BICUBIC))
    difference = np.abs(resize(colour, (48, 64)) - by_pillow)
    assert difference.max() <= 1.0
    assert 0.1 < difference.mean() < 0.4  # 8 bits round, float32 does not


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = np.zeros((512, 512), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, (64, 64)) - 127.5).max() < 6  # the ends of the rows deviate most


def test_what_the_filter_overshoots_is_cut_back() -> None:
    edge = np.zeros((64, 64), dtype=np.float32)
    edge[:, 32:] = 255
    resized = resize(edge, (96, 96))
    assert resized.min() == 0
    assert resized.max() == 255


def test_8_and_16_bits_of_the_same_picture_give_the_same_pixels() -> None:
    grey = RNG.integers(0, 256, (120, 90), dtype=np.uint8)
    np.testing.assert_array_equal(resize(grey, (64, 64)), resize(grey.astype(np.float32), (64, 64)))


def test_the_thumbnail_is_the_mean_of_its_cells() -> None:
    pixels = np.repeat(np.arange(16, dtype=np.float32) * 10, 14)
    picture = np.broadcast_to(pixels[:, None, None], (224, 224, 3)).astype(np.float32)
    np.testing.assert_array_equal(thumbnail(picture).reshape(16, 16)[:, 0], np.arange(16) * 10)
