"""Promises about frames, views and layers in rounds: views are trained on, those of a test image never."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors
from icehouse.cache.commit import commit
from icehouse.cache.store import Cache
from icehouse.cache.writing import Contents
from icehouse.classify import heads, rounds, splits
from icehouse.classify.fitting import Ready, one_round
from icehouse.classify.problem import Problem, from_cache
from icehouse.classify.protocol import TEST_VIEWS, Protocol, Round
from icehouse.classify.splits import Splits
from making import block_of, samples_of

FILES, FRAMES, VIEWS, DIMENSIONS = 40, 3, 4, 60


def make(
    path: Path, vectors: np.ndarray, labels: list[str], views: int = VIEWS, states: list[str] | None = None
) -> Path:
    """Write a cache of vectors, shape (files, frames, views, d), in which `views` of each are asked for."""
    files, frames, held, d = vectors.shape
    content = np.random.default_rng(4).integers(0, 256, (files, 32), dtype=np.uint8)
    file, frame, view = (axis.ravel() for axis in np.indices((files, frames, held)))
    rows = vectors.reshape(-1, d)
    block = block_of(content[file], rows, frame, view, more={"other": -rows[:, :5]})
    samples = samples_of(content, labels, states=states, frames=frames)
    selection = {"frames": "all", "views": views}
    contents = Contents({"kind": "by hand"}, ("avg_pool", "other"), selection, samples, [], [{}])
    commit(path, None, [block], contents)
    return path


def opened(path: Path, **how) -> Problem:
    with Cache(path) as cache:
        return from_cache(cache, **how)


def judged(problem: Problem, head: str = "svm", **how) -> dict:
    return rounds.run(problem, [heads.parse(head)], Protocol(**how), "f" * 64).document


@pytest.fixture
def random_images() -> tuple[np.ndarray, list[str]]:
    """Return vectors that have nothing to do with their labels, but are told apart in any frame and view."""
    generator = np.random.default_rng(8)
    images = generator.normal(size=(FILES, 1, 1, DIMENSIONS))
    vectors = images + 0.05 * generator.normal(size=(FILES, FRAMES, VIEWS, DIMENSIONS))
    return vectors, ["covid" if label else "normal" for label in generator.permutation(FILES) % 2]


def test_a_view_or_frame_of_a_test_image_is_never_trained_on(random_images, tmp_path) -> None:
    """Labels are by lot here: whoever has seen another view of an image knows it, and nobody else does."""
    problem = opened(make(tmp_path / "features.h5", *random_images))
    X, y = problem.vectors(np.arange(len(problem.y)))
    seen = heads.parse("svm:C=100").build(0).fit(X.copy(), y).score(problem.further[:, 0].copy(), problem.y)
    assert seen == 1
    for test_views in TEST_VIEWS:
        accuracy = judged(problem, "svm:C=100", rounds=8, test_views=test_views)["heads"]["svm:C=100"][
            "accuracy"
        ]
        assert accuracy["mean"] < 0.7
    tested = splits.repeated_hold_out(problem, rounds=20, test_size=0.3, seed=0).test
    by_file = tested.reshape(20, FILES, FRAMES)
    assert (by_file == by_file[:, :, :1]).all()


def test_views_train_but_never_test(random_images, tmp_path) -> None:
    path = make(tmp_path / "features.h5", *random_images)
    problem = opened(path)
    assert problem.X.shape == (FILES * FRAMES, DIMENSIONS)
    assert problem.further.shape == (FILES * FRAMES, VIEWS - 1, DIMENSIONS)
    rows = np.array([5, 2])
    X, y = problem.vectors(rows)
    np.testing.assert_array_equal(X[:2], problem.X[rows])
    np.testing.assert_array_equal(X[2:5], problem.further[5])
    np.testing.assert_array_equal(X[5:], problem.further[2])
    assert y.tolist() == [problem.y[5], problem.y[2], *[problem.y[5]] * 3, *[problem.y[2]] * 3]
    document = judged(problem, rounds=2)
    assert (document["views"], document["test_views"], document["rows"]) == (VIEWS, "first", FILES * FRAMES)
    judgements = sum(map(sum, document["confusion"]["svm"]["sum"]))
    assert judgements == 2 * FRAMES * np.ceil(0.3 * FILES)
    plain = judged(opened(make(tmp_path / "plain.h5", *random_images, views=1)), rounds=2)
    assert plain["splits"] == document["splits"]  # views decide nothing of the splits
    assert plain["heads"] != document["heads"]


@pytest.mark.parametrize("head", ["svm", "xgboost", "mlp:epochs=5"])
def test_the_mean_over_views_is_that_of_their_scores(random_images, tmp_path, head) -> None:
    problem = opened(make(tmp_path / "features.h5", *random_images))
    tested = np.arange(len(problem.y)) < 30
    parted = Splits("columns", ("own",), ~tested[None], tested[None], np.zeros((1, 0), dtype=bool))
    spec = heads.parse(head)
    first, mean = (
        one_round(Ready(problem, parted, 0, Protocol(test_views=way)), spec, Round(0, 0, 0))
        for way in TEST_VIEWS
    )
    assert not np.allclose(first.scores, mean.scores)
    one_by_one = [problem.X, *np.moveaxis(problem.further, 1, 0)]
    moved = [Problem(**{**vars(problem), "X": np.where(tested[:, None], X, problem.X)}) for X in one_by_one]
    alike = [one_round(Ready(each, parted, 0, Protocol()), spec, Round(0, 0, 0)).scores for each in moved]
    np.testing.assert_allclose(mean.scores, np.mean(alike, axis=0), atol=1e-6)
    np.testing.assert_array_equal(first.rows, mean.rows)


def test_where_there_is_one_view_its_mean_changes_nothing(random_images, tmp_path) -> None:
    problem = opened(make(tmp_path / "features.h5", *random_images, views=1))
    first, mean = (judged(problem, rounds=2, test_views=way) for way in TEST_VIEWS)
    assert first["heads"] == mean["heads"]
    with pytest.raises(errors.UsageError, match="test_views must be one of first, mean, not 'best'"):
        Protocol(test_views="best").check()


def test_another_layer_is_judged_on_the_same_splits(random_images, tmp_path) -> None:
    path = make(tmp_path / "features.h5", *random_images)
    first, other = opened(path), opened(path, layer="other")
    np.testing.assert_allclose(other.X, -first.X[:, :5])
    assert (first.layer, other.layer) == ("avg_pool", "other")
    one, two = judged(first, rounds=2), judged(other, rounds=2)
    assert (one["layer"], two["layer"]) == ("avg_pool", "other")
    assert one["splits"] == two["splits"]
    with pytest.raises(errors.UsageError, match="it has avg_pool, other"):
        opened(path, layer="mixed7")


def test_samples_that_are_not_selected_are_counted_and_stop_nothing(random_images, tmp_path) -> None:
    states = ["not-selected"] * 3 + ["done"] * (FILES - 3)
    problem = opened(make(tmp_path / "features.h5", *random_images, states=states))
    assert problem.left_out == {"not selected": 3}
    assert problem.notes == ("3 samples left out: not selected.",)
    assert len(problem.y) == (FILES - 3) * FRAMES
    assert problem.frame[:4].tolist() == [0, 1, 2, 0]


def test_the_vectors_are_read_and_taken_for_training_without_needless_copies(tmp_path) -> None:
    vectors = np.random.default_rng(0).normal(size=(600, 2, 4, 512)).astype(np.float32)
    path = make(tmp_path / "features.h5", vectors, ["a", "b"] * 300)
    del vectors
    whole = 600 * 2 * 4 * 512 * 4
    with Cache(path) as cache:
        cache.sample_of_row  # noqa: B018  (the index is not what is measured)
        tracemalloc.start()
        try:
            problem = from_cache(cache, positive="a")
            assert tracemalloc.get_traced_memory()[1] < 1.6 * whole
            tracemalloc.reset_peak()
            problem.vectors(np.arange(840))  # of 1,200
            assert tracemalloc.get_traced_memory()[1] < 1.75 * whole + problem.pixels.nbytes
        finally:
            tracemalloc.stop()
