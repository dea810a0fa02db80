"""Promises about p-values that say whether a vector resembles those trained on."""

from __future__ import annotations

from collections.abc import Callable

import icehouse
import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import archive, novelty
from icehouse.classify.problem import Problem, from_cache
from making import problem_of


def patients(count: int, seed: int = 0, sizes: int = 4, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of patients whose rows resemble each other, and whose row each is."""
    generator = np.random.default_rng([seed, 7])
    owner = np.repeat(np.arange(count), generator.integers(1, sizes + 1, count))
    spread = 1 / np.sqrt(1 + np.arange(width))
    centre = generator.normal(0, 1, (count, width)) * spread
    X = 3 + centre[owner] + generator.normal(0, 0.3, (len(owner), width)) * spread
    return X.astype(np.float32), owner


def problem(X: np.ndarray, owner: np.ndarray) -> Problem:
    return problem_of(owner % 2, np.array([f"p{number}" for number in owner]), X=X)


def alarms(p: np.ndarray, owner: np.ndarray, level: float) -> float:
    """Return the share of alarms, every patient counting alike."""
    _, unit = np.unique(owner, return_inverse=True)
    return float(np.average(p < level, weights=1 / np.bincount(unit)[unit]))


@pytest.mark.parametrize("count", [40, 120])
def test_as_many_new_patients_raise_an_alarm_as_the_p_value_says(count) -> None:
    shares = []
    for seed in range(5):
        X, owner = patients(count + 200, seed)
        known = owner < count
        fitted = novelty.fit(problem(X[known], owner[known]), seed=seed)
        assert fitted is not None
        p = fitted.p_values(X[~known])
        shares.append([alarms(p, owner[~known], level) for level in (0.05, 0.2)])
    assert 0.02 < np.mean(shares, axis=0)[0] < 0.07
    assert 0.11 < np.mean(shares, axis=0)[1] < 0.23


def test_vectors_of_another_kind_raise_one_in_or_beside_the_directions_that_training_knows() -> None:
    X, owner = patients(100)
    X[:, 20:] = 3  # training varies in twenty directions of forty
    fitted = novelty.fit(problem(X, owner), seed=0)
    assert fitted is not None
    along, beside = X.copy(), X.copy()
    along[:, 0] += 30
    beside[:, 30] += 8
    huge = np.full((1, 40), 3e38, dtype=np.float32)
    for odd in (along, beside, huge):
        np.testing.assert_allclose(fitted.p_values(odd), fitted.smallest)


def test_what_was_trained_on_is_never_novel() -> None:
    X, owner = patients(60)
    fitted = novelty.fit(problem(X, owner), seed=0)
    assert fitted is not None
    assert fitted.p_values(X).min() > 0.99


def test_a_patient_with_many_rows_counts_as_one() -> None:
    """Otherwise the many near-copies of one patient, far from all others, would hide that others are near."""
    X, owner = patients(40)
    far = X[:1] + np.random.default_rng(1).normal(0, 0.01, (400, 40)).astype(np.float32)
    far[:, 0] += 6
    both = problem(np.concatenate([X, far]), np.append(owner, np.full(400, 40)))
    fitted = novelty.fit(both, seed=0)
    assert fitted is not None
    assert fitted.units == 41
    assert fitted.at_least[0] == pytest.approx(41)
    odd = X.copy()
    odd[:, 1] -= 12
    assert fitted.p_values(odd).max() < 3 / 42


def test_rows_beyond_the_limit_are_left_out_evenly_over_patients(monkeypatch) -> None:
    monkeypatch.setattr(novelty, "ROWS", 100)
    X, owner = patients(60, sizes=9)
    fitted = novelty.fit(problem(X, owner), seed=0)
    assert fitted is not None
    assert fitted.units == 60
    assert 60 <= len(fitted.reference) <= 100
    X, owner = patients(150, sizes=3)
    fitted = novelty.fit(problem(X, owner), seed=0)
    assert fitted is not None
    assert fitted.units == len(fitted.reference) == 100


def test_half_precision_and_any_number_of_threads_or_blocks_give_the_same(monkeypatch) -> None:
    X, owner = patients(50)
    X = X.astype(np.float16)
    first = novelty.fit(problem(X, owner), seed=3, jobs=1)
    second = novelty.fit(problem(X, owner), seed=3, jobs=3)
    assert first is not None
    assert second is not None
    for name in ("mean", "basis", "scales", "reference", "distances", "at_least"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    new, _ = patients(20, seed=9)
    whole = first.p_values(new)
    monkeypatch.setattr(novelty, "_BLOCK", 7)
    np.testing.assert_allclose(first.p_values(new), whole, atol=1 / first.units)


def test_too_few_patients_or_equal_vectors_have_no_p_values_and_it_is_said_why() -> None:
    said: list[str] = []
    X, owner = patients(9)
    assert novelty.fit(problem(X, owner), seed=0, note=said.append) is None
    assert "takes 10 patients" in said[0]
    X, owner = patients(30)
    assert novelty.fit(problem(np.full_like(X, 2), owner), seed=0, note=said.append) is None
    assert "all training vectors are equal" in said[1]
    X, owner = patients(12)
    assert novelty.fit(problem(X, owner), seed=0, note=said.append) is not None
    assert "cannot fall below 0.08" in said[2]


@pytest.fixture
def stored(tmp_path) -> Callable[..., novelty.Novelty]:
    """Return a function that writes a reference, changed in one place, and reads it again."""
    X, owner = patients(40)
    fitted = novelty.fit(problem(X, owner), seed=0)
    assert fitted is not None

    def through(name: str = "", values: np.ndarray | None = None, units: int = 40) -> novelty.Novelty:
        _, arrays = fitted.stored()
        if values is not None:
            arrays[f"novelty/{name}"] = values
        archive.write(tmp_path / "a.head", {"novelty": {"units": units}}, arrays)
        return novelty.Novelty.restored(archive.read(tmp_path / "a.head"), 40)

    through.fitted = fitted  # type: ignore[attr-defined]
    return through


def test_a_reference_is_the_same_after_a_bundle(stored) -> None:
    new, _ = patients(30, seed=5)
    np.testing.assert_array_equal(stored().p_values(new), stored.fitted.p_values(new))


def test_an_altered_reference_is_refused(stored) -> None:
    rows, columns = stored.fitted.reference.shape
    for name, values in (
        ("mean", np.zeros(39, dtype=np.float32)),
        ("basis", np.zeros((40, novelty.DIMENSIONS + 1), dtype=np.float32)),
        ("scales", np.full(columns, np.nan, dtype=np.float32)),
        ("reference", np.zeros((rows, columns + 1), dtype=np.float32)),
        ("distances", stored.fitted.distances[::-1]),
        ("distances", stored.fitted.distances - 100),
        ("at_least", stored.fitted.at_least[::-1]),
        ("at_least", stored.fitted.at_least + 5),
    ):
        with pytest.raises(errors.BundleDamaged):
            stored(name, values)
    with pytest.raises(errors.BundleDamaged):
        stored(units=0)


def test_the_reference_follows_no_order_of_the_images(stored) -> None:
    assert (np.diff(stored.fitted.reference[:, 0]) >= 0).all()


def test_a_cache_of_images_without_patients_has_a_reference_too(make_cache, two_clouds) -> None:
    with icehouse.open_cache(make_cache(*two_clouds)) as cache:
        fitted = novelty.fit(from_cache(cache), seed=0)
    assert fitted is not None
    assert fitted.units == 120
