"""Promises about occlusion: what speaks for a class is found where it is, whatever kind of head is asked."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from icehouse.bundle import portable
from icehouse.classify import heads
from icehouse.explain.heat import peak
from icehouse.explain.occlusion import above_others, occlusion, occlusions

CELLS, CHANNELS = 7, 16
HEADS = {
    "mlp": "mlp:epochs=12",
    "mlp-bn": "mlp-bn:hidden=64,epochs=60",
    "svm": "svm",
    "xgboost": "xgboost:n_estimators=30,colsample_bynode=0.5",
    "logistic": "logistic",
    "knn": "knn:n_neighbors=9",
    "lda": "lda",
    "forest": "forest:n_estimators=40",
    "pyramid": "pyramid:epochs=40,learning_rate=0.01",
}
GENERATOR = np.random.default_rng(5)
MEAN = GENERATOR.gamma(1, 1, (5, 6, CHANNELS)).astype(np.float32)
MAPS = (MEAN + GENERATOR.normal(0, 1, (9, 5, 6, CHANNELS))).astype(np.float32)
LINEAR = GENERATOR.normal(0, 1, (CHANNELS, 2))


def linear(vectors: np.ndarray) -> np.ndarray:
    return vectors @ LINEAR


def curved(vectors: np.ndarray) -> np.ndarray:
    """Answer as no linear head does, for three classes."""
    first = np.tanh(vectors @ LINEAR[:, 0])
    return np.column_stack([first, np.maximum(vectors @ LINEAR[:, 1], 0), first**2])


@lru_cache
def pictures(count: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return maps (count, 7, 7, 16), their classes, and the cell around which a class's channels are raised.

    Class 0 has no such place.
    """
    generator = np.random.default_rng(seed)
    maps = generator.gamma(1.0, 1.0, (count, CELLS, CELLS, CHANNELS)).astype(np.float32)
    y = np.arange(count) % classes
    cells = generator.integers(1, CELLS - 1, (count, 2))
    for picture, label, (row, column) in zip(maps, y, cells, strict=True):
        if label:
            picture[row - 1 : row + 2, column - 1 : column + 2, 4 * label : 4 * label + 4] += 2
            picture[row, column, 4 * label : 4 * label + 4] += 2
    return maps, y, cells


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", HEADS)
def test_the_place_that_speaks_for_a_class_is_found_by_every_head(kind, classes) -> None:
    trained, y, _ = pictures(150, classes, 0)
    X = trained.mean(axis=(1, 2))
    centre, scale = X.mean(axis=0), X.std(axis=0)
    spec = heads.parse(HEADS[kind])
    scorer = portable.scorer_of(spec, spec.estimator(1).fit((X - centre) / scale, y))
    maps, labels, cells = pictures(30, classes, 1)
    shown = labels > 0
    weights = occlusions(
        maps[shown],
        trained.mean(axis=0),
        lambda vectors: scorer.margins((vectors - centre) / scale),
        labels[shown],
    )
    peaks = np.array([peak(each) for each in weights]) * CELLS - 0.5
    found = np.abs(peaks - cells[shown]).max(axis=1) < 1.5
    assert found.mean() > (0.6 if kind == "knn" else 0.9)


def test_the_head_of_the_classes_frequencies_looks_nowhere() -> None:
    X = np.zeros((30, CHANNELS), dtype=np.float32)
    spec = heads.parse("dummy")
    scorer = portable.scorer_of(spec, spec.estimator(0).fit(X, np.arange(30) % 3))
    weights = occlusion(MAPS[0], MEAN, scorer.margins, 1)
    np.testing.assert_allclose(weights, 0, atol=1e-6)


def test_of_a_linear_head_the_weights_are_exact_and_sum_to_the_whole() -> None:
    weights = occlusions(MAPS, MEAN, linear, [1] * len(MAPS))
    direction = LINEAR[:, 1] - LINEAR[:, 0]
    exact = (MAPS - MEAN) @ direction / (5 * 6)
    np.testing.assert_allclose(weights, exact, atol=1e-5)
    whole = above_others(linear(MAPS.mean(axis=(1, 2))), 1) - above_others(
        linear(MEAN.mean(axis=(0, 1))[None]), 1
    )
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), whole, atol=1e-4)


def test_of_two_classes_one_gains_what_the_other_loses() -> None:
    np.testing.assert_allclose(
        occlusion(MAPS[0], MEAN, linear, 0), -occlusion(MAPS[0], MEAN, linear, 1), atol=1e-6
    )


def test_a_picture_that_is_the_mean_has_no_place_that_adds_anything() -> None:
    np.testing.assert_allclose(occlusion(MEAN, MEAN, curved, 2), 0, atol=1e-6)


def test_what_is_added_to_all_scores_changes_nothing() -> None:
    plain = occlusion(MAPS[0], MEAN, curved, 1)
    shifted = occlusion(MAPS[0], MEAN, lambda vectors: curved(vectors) + 7, 1)
    np.testing.assert_allclose(plain, shifted, atol=1e-5)


def test_pictures_together_get_what_each_gets_alone_for_the_class_it_is_asked_for() -> None:
    targets = [0, 1, 2, 2, 1, 0, 1, 1, 2]
    together = occlusions(MAPS, MEAN, curved, targets)
    alone = [occlusion(one, MEAN, curved, target) for one, target in zip(MAPS, targets, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert occlusions(MAPS[:0], MEAN, curved, []).shape == (0, 5, 6)


def test_the_mirrored_picture_counts_as_much_place_by_place() -> None:
    turned = np.ascontiguousarray(MAPS[::-1])
    both = occlusions(MAPS, MEAN, curved, [1] * 9, turned)
    first, second = (occlusions(maps, MEAN, curved, [1] * 9) for maps in (MAPS, turned))
    np.testing.assert_allclose(both, (first + second[:, :, ::-1]) / 2, atol=1e-6)


def test_a_head_is_never_given_more_vectors_at_once_than_memory_is_meant_for() -> None:
    wide = np.ones((40, 4, 4, 2048), dtype=np.float32)
    given = []

    def margins(vectors: np.ndarray) -> np.ndarray:
        given.append(vectors.nbytes)
        return np.zeros((len(vectors), 2))

    assert occlusions(wide, wide[0], margins, [0] * 40).shape == (40, 4, 4)
    assert max(given) <= 16 * 2**20
    assert len(given) < 40  # several pictures at once


def test_maps_of_many_cells_are_asked_about_in_as_many_sets_as_they_need() -> None:
    maps = np.random.default_rng(1).normal(0, 1, (20, 20, 3)).astype(np.float32)
    weights = occlusion(maps, np.zeros_like(maps), lambda vectors: vectors[:, :2] * 400, 0)
    np.testing.assert_allclose(weights, maps[:, :, 0] - maps[:, :, 1], atol=1e-3)
