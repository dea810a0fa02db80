"""Promises about heat maps: what is seen is what was computed, and whatever a file is called can be written."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from icehouse.report import heat_files, overlay
from icehouse.report.canvas import Canvas
from icehouse.report.explanation import Explanation
from PIL import Image

SIDE = 640
"""Pixels of a panel: a picture of that size is shown as it is."""


def shown(weights: np.ndarray | None = None, pixels: np.ndarray | None = None) -> Explanation:
    generator = np.random.default_rng(0)
    if weights is None:
        weights = np.zeros((7, 7), dtype=np.float32)
        weights[2, 5], weights[6, 0] = 2.5, -1.5
    if pixels is None:
        pixels = generator.integers(60, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    return Explanation(
        path="covid/1.png",
        content=bytes(32),
        frame=0,
        frames=1,
        label="covid",
        probabilities={"covid": 0.9, "normal": 0.1},
        predicted="covid",
        explained="covid",
        score=1.25,
        ood=0.5,
        method="occlusion",
        bundle="model.head",
        pixels=pixels,
        weights=weights,
        heat=weights,
        peak=(2.5 / 7, 5.5 / 7) if weights.max() > 0 else None,
    )


def array_of(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def panels(of: Explanation) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture and the heat over it, cut out of an overlay."""
    found = array_of(overlay.overlay(of))
    top, left = 2 * 88, 2 * 24
    right = left + SIDE + 2 * 16
    return found[top : top + SIDE, left : left + SIDE], found[top : top + SIDE, right : right + SIDE]


def test_the_picture_stands_untouched_beside_the_heat_which_is_where_the_weights_are() -> None:
    one = shown()
    picture, heat = panels(one)
    np.testing.assert_array_equal(picture, one.pixels)
    changed = np.abs(heat.astype(int) - picture).sum(axis=-1)
    cell = SIDE // 7
    assert changed[2 * cell : 3 * cell, 5 * cell : 6 * cell].mean() > 100
    assert changed[5 * cell :, : 3 * cell].max() == 0  # what speaks against the class has no colour
    assert changed[: 4 * cell, : 2 * cell].max() == 0


def test_a_ring_marks_the_peak() -> None:
    one = shown()
    _, heat = panels(one)
    y, x = (round(share * SIDE) for share in one.peak)
    assert (heat[y, x + 16 : x + 21] > 240).all(axis=-1).any()
    assert (heat[y, x + 10 : x + 26] < 15).all(axis=-1).any()


def test_where_nothing_speaks_for_the_class_nothing_is_coloured() -> None:
    one = shown(weights=np.full((7, 7), -0.5, dtype=np.float32))
    picture, heat = panels(one)
    np.testing.assert_array_equal(picture, heat)


def test_the_scale_grows_lighter_evenly() -> None:
    light = overlay._TABLE.astype(float) @ [0.2126, 0.7152, 0.0722]
    assert len(light) == 256
    assert (np.diff(light) > 0).all()


def test_pictures_that_are_not_square_keep_their_shape() -> None:
    for height, width in ((100, 300), (300, 100)):
        pixels = np.full((height, width, 3), 90, dtype=np.uint8)
        one = shown(pixels=pixels)
        assert array_of(overlay.overlay(one)).shape[1] == array_of(overlay.overlay(shown())).shape[1]
        bare = array_of(overlay.bare_overlay(pixels, one.heat, 150, one.peak))
        assert bare.shape[:2] == (round(150 * height / width), 150)
        assert max(overlay.tile(one, 99).size) == 99


def test_a_bare_overlay_is_a_small_webp_picture() -> None:
    pixels = np.repeat(np.add.outer(np.arange(224), np.arange(224))[..., None] // 2, 3, axis=2).astype(np.uint8)
    data = overlay.bare_overlay(pixels, shown().heat, 224)
    assert data[:4] + data[8:12] == b"RIFFWEBP"
    assert len(data) < 10_000
    ringed = array_of(overlay.bare_overlay(pixels, shown().heat, 224, (0.2, 0.2)))
    assert not np.array_equal(array_of(data), ringed)


NAMES = [
    "x" * 5000,
    "two\nlines",
    "\u202egnp.exe",
    "\u05e9\u05dc\u05d5\u05dd",
    "\U0001f600",
    "",
    " ",
    "\ud800",
    "a " * 900,
]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_things_are_called_the_sheet_is_drawn_and_no_wider(name) -> None:
    def called(name: str) -> Explanation:
        one = shown(pixels=np.zeros((8, 8, 3), dtype=np.uint8))
        more = {"label": name, "predicted": name, "explained": name, "probabilities": {name: 0.5}}
        return replace(one, path=name, bundle=name, **more)

    one = called(name)
    drawn, plain = array_of(overlay.overlay(one)), array_of(overlay.overlay(called("a")))
    assert drawn.shape[1] == plain.shape[1]
    assert (drawn[:, :8] == 255).all()  # nothing runs over the margins
    assert (drawn[:, -8:] == 255).all()
    heat_files._sheet([heat_files._tile_of(one)], name, name)


def test_letters_that_no_font_has_are_spelled_and_none_is_invisible() -> None:
    def written(text: str) -> np.ndarray:
        canvas = Canvas(Image.new("RGB", (600, 40), "white"))
        canvas.text(5, 5, text, 20)
        return np.asarray(canvas.image)

    np.testing.assert_array_equal(written("\u202ea"), written("\\u202ea"))
    np.testing.assert_array_equal(written("a\nb"), written("a\\nb"))
    np.testing.assert_array_equal(written("\ue000"), written("\\ue000"))  # no font has one for private use
    assert not np.array_equal(written("a\u00e4"), written("a"))
