"""Promises about resizing: one float32 path, antialiased, the same for every depth."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.extract.resize import resize, thumbnail
from PIL import Image

RNG = np.random.default_rng(0)


def test_grey_and_three_equal_channels_give_the_same_pixels() -> None:
    grey = RNG.integers(0, 256, (120, 90), dtype=np.uint8)
    np.testing.assert_array_equal(resize(grey, 64), resize(np.stack([grey] * 3, axis=-1), 64))


def test_it_agrees_with_pillow_in_8_bits_but_for_rounding() -> None:
    colour = RNG.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    by_pillow = np.asarray(Image.fromarray(colour).resize((64, 64), Image.Resampling.BICUBIC))
    difference = np.abs(resize(colour, 64) - by_pillow)
    assert difference.max() <= 1.0
    assert 0.1 < difference.mean() < 0.4  # 8 bits round, float32 does not


def test_fine_stripes_average_out_instead_of_aliasing() -> None:
    stripes = np.zeros((512, 512), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, 64) - 127.5).max() < 6  # the ends of the rows deviate most


def test_what_the_filter_overshoots_is_cut_back() -> None:
    edge = np.zeros((64, 64), dtype=np.float32)
    edge[:, 32:] = 255
    resized = resize(edge, 96)
    assert resized.min() == 0
    assert resized.max() == 255


def test_8_and_16_bits_of_the_same_picture_give_the_same_pixels() -> None:
    grey = RNG.integers(0, 256, (120, 90), dtype=np.uint8)
    np.testing.assert_array_equal(resize(grey, 64), resize(grey.astype(np.float32), 64))


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (7, 1000), (64, 64), (64, 65)])
def test_pad_keeps_the_whole_picture_and_its_shape_on_black(shape) -> None:
    padded = resize(np.full(shape, 200, dtype=np.uint8), 64, "pad")[..., 0]
    rows, columns = np.flatnonzero(padded.any(axis=1)), np.flatnonzero(padded.any(axis=0))
    sides = max(1, round(64 * shape[0] / max(shape))), max(1, round(64 * shape[1] / max(shape)))
    assert (len(rows), len(columns)) == sides
    assert abs(rows[0] - (63 - rows[-1])) <= 1
    assert abs(columns[0] - (63 - columns[-1])) <= 1
    np.testing.assert_allclose(padded[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 200, atol=1e-3)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (65, 64)])
def test_crop_is_the_middle_of_the_picture_in_its_own_shape(shape) -> None:
    picture = np.zeros(shape, dtype=np.uint8)
    short = min(shape)
    top, left = (shape[0] - short) // 2, (shape[1] - short) // 2
    picture[top : top + short, left : left + short] = 200
    assert resize(picture, 64, "crop")[2:-2, 2:-2].min() > 199


def test_native_leaves_every_pixel_as_it_is() -> None:
    deep = RNG.uniform(0, 255, (33, 47)).astype(np.float32)
    native = resize(deep, None)
    assert native.shape == (33, 47, 3)
    np.testing.assert_array_equal(native[..., 1], deep)


def test_the_thumbnail_is_the_mean_of_its_cells() -> None:
    pixels = np.repeat(np.arange(16, dtype=np.float32) * 10, 14)
    picture = np.broadcast_to(pixels[:, None, None], (224, 224, 3)).astype(np.float32)
    np.testing.assert_array_equal(thumbnail(picture).reshape(16, 16)[:, 0], np.arange(16) * 10)
