"""Promises about views: drawn from the content, the same everywhere, and what each amount means."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from icehouse import errors
from icehouse.extract import views
from icehouse.extract.views import parse

CONTENT = hashlib.sha256(b"a picture").digest()
RNG = np.random.default_rng(0)
PICTURE = RNG.uniform(0, 255, (40, 60, 3)).astype(np.float32)


def blob(y: float, x: float) -> np.ndarray:
    """Return a soft dot on black, as three equal channels."""
    rows, columns = np.mgrid[0:101, 0:101]
    grey = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 20)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)


def centre_of(picture: np.ndarray) -> np.ndarray:
    grey = picture[..., 0].astype(np.float64)
    rows, columns = np.mgrid[0 : grey.shape[0], 0 : grey.shape[1]]
    return np.array([(grey * rows).sum(), (grey * columns).sum()]) / grey.sum()


def test_view_0_is_the_picture_itself() -> None:
    assert parse(views.DEFAULT).view(PICTURE, CONTENT, 0, 0) is PICTURE


def test_the_same_content_frame_number_and_seed_draw_the_same_view_and_others_another() -> None:
    draw = parse(views.DEFAULT)
    first = draw.view(PICTURE, CONTENT, 0, 1)
    np.testing.assert_array_equal(first, draw.view(PICTURE.copy(), CONTENT, 0, 1))
    others = [
        draw.view(PICTURE, CONTENT, 0, 2),
        draw.view(PICTURE, CONTENT, 1, 1),
        draw.view(PICTURE, hashlib.sha256(b"another").digest(), 0, 1),
        parse(f"{views.DEFAULT},seed:1").view(PICTURE, CONTENT, 0, 1),
    ]
    assert all(np.abs(first - other).mean() > 5 for other in others)


def test_views_are_those_that_were_drawn_when_this_was_written() -> None:
    """Golden: pixels of three views; should they change, `views.AUGMENTER` needs another number."""
    draw = parse(views.DEFAULT)
    found = [float(draw.view(blob(30, 60), CONTENT, 0, number)[::10, ::10].sum()) for number in (1, 2, 3)]
    np.testing.assert_allclose(found, [482.6707, 676.3422, 337.9616], rtol=1e-4)


def test_flips_mirror_about_half_of_the_views() -> None:
    draw = parse("flip-horizontal")
    found = [draw.view(PICTURE, CONTENT, 0, number) for number in range(1, 201)]
    plain = sum(np.allclose(view, PICTURE) for view in found)
    mirrored = sum(np.allclose(view, PICTURE[:, ::-1], atol=1e-3) for view in found)
    assert plain + mirrored == 200
    assert 70 < mirrored < 130


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("shift:0.1", 0, 15), ("zoom:0.2", 0, 7), ("rotate:30", 0, 15.6), ("rotate:0", 0, 0)],
)
def test_nothing_moves_farther_than_asked(text, least, most) -> None:
    """The dot lies 30 pixels beside the centre: 30 degrees move it by 2 · 30 · sin 15° = 15.5 pixels."""
    draw, start = parse(text), np.array([50.0, 80.0])
    moved = [
        float(np.linalg.norm(centre_of(draw.view(blob(*start), CONTENT, 0, number)) - start))
        for number in range(1, 40)
    ]
    assert least <= min(moved)
    assert max(moved) <= most + 0.01
    assert max(moved) >= most * 0.6


def test_what_comes_in_at_an_edge_repeats_the_nearest_pixel() -> None:
    bright = np.full((32, 32, 3), 200, dtype=np.float32)
    view = parse("rotate:360,shift:0.5").view(bright, CONTENT, 0, 1)
    np.testing.assert_allclose(view, 200, rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    ["", "flip", "rotate", "rotate:400", "zoom:1", "shift:-1", "rotate:nan", "flips,flip-vertical", "seed:0.5"],
)
def test_an_augmentation_that_is_not_known_or_out_of_bounds_is_refused(text) -> None:
    with pytest.raises(errors.UsageError, match="--augment"):
        parse(text)


def test_one_augmentation_has_one_spelling_in_the_recipe() -> None:
    assert parse("rotate:360,flips").recipe() == parse("flip-vertical,flip-horizontal,rotate:360.0").recipe()
    assert parse("rotate:0,zoom:0.1").recipe() == parse("zoom:0.10").recipe()
    assert parse("zoom:0.1").recipe() != parse("zoom:0.1,seed:3").recipe()
