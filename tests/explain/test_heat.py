"""Promises about heat maps: a cell's heat lies where the cell lies in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.explain.grad_cam import grad_cam
from icehouse.explain.heat import enlarged, peak


def one_hot(height: int, width: int, row: int, column: int) -> np.ndarray:
    weights = np.zeros((height, width), dtype=np.float32)
    weights[row, column] = 1
    return weights


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 2), (6, 7)])
def test_the_heat_of_a_cell_is_centred_on_the_cell(row, column) -> None:
    weights = one_hot(7, 8, row, column)
    heat = enlarged(weights, 224, 256)
    assert (heat.shape, heat.dtype) == ((224, 256), np.float32)
    y, x = (place.mean() + 0.5 for place in np.nonzero(heat == heat.max()))
    assert (y, x) == pytest.approx((32 * (row + 0.5), 32 * (column + 0.5)), abs=4)
    assert peak(weights) == pytest.approx(((row + 0.5) / 7, (column + 0.5) / 8), abs=0.02)


def test_the_heat_of_a_place_is_the_sum_of_the_cells_around_it() -> None:
    heat = enlarged(np.ones((7, 7)), 70, 70)
    assert heat[35, 35] == pytest.approx(3.5**2)
    assert heat.max() == pytest.approx(3.5**2)
    assert heat[0, 0] < 4  # nothing comes from outside


def test_what_speaks_against_the_class_cools_nothing() -> None:
    weights = one_hot(7, 7, 3, 2)
    np.testing.assert_array_equal(
        enlarged(weights - 5 * one_hot(7, 7, 3, 3), 70, 70), enlarged(weights, 70, 70)
    )
    assert not enlarged(-weights, 70, 70).any()


def test_a_place_between_two_cells_can_be_the_peak() -> None:
    weights = one_hot(7, 7, 3, 2) + one_hot(7, 7, 3, 3)
    assert peak(weights) == pytest.approx((0.5, 3 / 7), abs=0.01)


def test_a_mirrored_picture_has_the_mirrored_heat() -> None:
    weights = np.random.default_rng(1).normal(0, 1, (6, 7))
    np.testing.assert_allclose(
        enlarged(weights[:, ::-1], 60, 75), enlarged(weights, 60, 75)[:, ::-1], atol=1e-6
    )
    y, x = peak(weights)
    assert peak(weights[:, ::-1]) == pytest.approx((y, 1 - x))


def test_heat_is_smooth_and_grows_with_the_weights() -> None:
    weights = np.random.default_rng(2).normal(0, 1, (7, 7))
    heat = enlarged(weights, 224, 224)
    np.testing.assert_allclose(enlarged(3 * weights, 224, 224), 3 * heat, rtol=1e-5, atol=1e-5)
    steps = np.abs(np.diff(heat, axis=0)).max()
    assert steps < 0.1 * np.ptp(heat)


def test_a_flat_map_has_its_peak_in_the_middle_and_a_single_cell_too() -> None:
    assert peak(np.zeros((7, 7))) == pytest.approx((0.5, 0.5))
    assert peak(np.ones((1, 1))) == pytest.approx((0.5, 0.5))


class TestGradCAM:
    """The classical way, for heads with a gradient."""

    def test_channels_count_by_their_gradient_and_what_speaks_against_is_cut_off(self) -> None:
        maps = np.zeros((4, 5, 3), dtype=np.float32)
        maps[1, 2, 0], maps[3, 3, 1], maps[2, 1, 2] = 10, 10, 10
        cam = grad_cam(maps, np.array([2.0, -2.0, 0.0]))
        assert (cam.shape, cam.dtype) == ((4, 5), np.float32)
        assert cam[1, 2] == pytest.approx(2 * 10 / 20)
        assert np.count_nonzero(cam) == 1

    def test_of_a_linear_score_the_cells_add_up_to_it(self) -> None:
        maps = np.random.default_rng(3).gamma(1, 1, (7, 7, 6)).astype(np.float32)
        gradient = np.arange(6) / 3
        assert grad_cam(maps, gradient).sum() == pytest.approx(maps.mean(axis=(0, 1)) @ gradient, rel=1e-5)
