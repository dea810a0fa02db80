"""Promises of fitting a run's heads again: the same head, whatever the run asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import icehouse
import numpy as np
import pytest
from icehouse import errors
from icehouse.cache.store import Cache
from icehouse.classify import cached, refitting
from icehouse.classify.fitting import Ready
from icehouse.classify.stored import read_run
from making import write_cache

QUIET = {"note": lambda _: None, "controls": False}
HEADS = ("mlp:epochs=2", "svm", "xgboost:n_estimators=3", "forest:n_estimators=3")


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> Path:
    """Return a cache of two layers, 120 vectors of 40 patients in two classes."""
    folder = tmp_path_factory.mktemp("features")
    generator = np.random.default_rng(3)
    y = np.repeat(np.arange(40) % 2, 3)
    X = generator.normal(0, 1, (120, 16)) + 1.2 * y[:, None] * (np.arange(16) < 4)
    labels = ["covid" if label else "normal" for label in y]
    patients = [f"p{number // 3}" for number in range(120)]
    more = {"block_1": generator.normal(0, 1, (120, 6)).astype(np.float32)}
    return write_cache(folder / "features.h5", X.astype(np.float32), labels, patients, more=more)


@pytest.mark.parametrize(
    "asked",
    [
        {"rounds": 2},
        {"folds": 2, "reduce": 5, "balance": "subsample"},
        {"rounds": 2, "validation": 0.2, "seeds": 2},
        {"rounds": 2, "tune": True},
        {"rounds": 2, "layer": ["avg_pool", "block_1"], "grouped": False},
    ],
    ids=lambda asked: "-".join(asked),
)
def test_a_head_fitted_again_answers_as_it_did_in_its_round(features, tmp_path, asked) -> None:
    heads = HEADS if "tune" not in asked else ("logistic",)
    icehouse.run_rounds(features, heads, out=tmp_path / "run", **asked, **QUIET)
    run = read_run(tmp_path / "run")
    protocol = refitting.protocol_of(run.plan)
    with Cache(features) as cache:
        assert cached.is_of(cache, run)
        rows = cached.rows_of(cache, run.content, run.frame)
        X = cached.vectors_of(cache, cached.layers_of(run), rows)
        further = cached.further_of(cache, "avg_pool", rows, run.plan["views"])
    problem = refitting.problem_of(run, X, further)
    for record in run.records():
        ready = Ready(problem, run.splits, record.split, protocol)
        spec = refitting.check_head(run, record.head)
        again = refitting.refit(ready, spec, record, record.rows)
        assert again.apart <= refitting.SAME, (record.head, record.number)
        other = replace(record, scores=record.scores + 0.25)  # what is told is the distance, not that it ran
        assert refitting.refit(ready, spec, other, record.rows[:5]).apart == pytest.approx(0.25, abs=1e-5)


def test_few_rounds_are_chosen_that_tested_all_rows_between_them(features, tmp_path) -> None:
    icehouse.run_rounds(features, ["logistic"], rounds=8, out=tmp_path / "run", **QUIET)
    records = read_run(tmp_path / "run").records()
    tested = np.unique(np.concatenate([record.rows for record in records]))
    chosen = refitting.rounds_for(records, tested[:12].tolist())
    assert np.array_equal(np.sort(np.concatenate([rows for _, rows in chosen])), tested[:12])
    assert all(np.isin(rows, record.rows).all() for record, rows in chosen)
    assert len(chosen) < len(records)
    assert len(refitting.rounds_for(records, records[4].rows.tolist())) == 1


def test_an_estimator_of_ones_own_is_not_to_be_had_again(features, tmp_path) -> None:
    from sklearn.svm import SVC

    icehouse.run_rounds(features, [("svm", SVC())], rounds=2, out=tmp_path / "run", **QUIET)
    with pytest.raises(errors.UsageError, match="svm is an estimator of your own"):
        refitting.check_head(read_run(tmp_path / "run"), "svm")


def test_rows_of_a_run_are_found_in_a_cache_of_another_order(features, tmp_path) -> None:
    icehouse.run_rounds(features, ["logistic"], rounds=2, out=tmp_path / "run", **QUIET)
    run = read_run(tmp_path / "run")
    order = np.random.default_rng(0).permutation(120)[:100]
    with Cache(features) as cache:
        X, content = cache.X, cache.samples.content
        labels = cache.samples.label[order].tolist()
    with Cache(write_cache(tmp_path / "other.h5", X[order], labels, content=content[order])) as other:
        rows = cached.rows_of(other, run.content, run.frame)
        held = np.flatnonzero(rows >= 0)
        assert set(held.tolist()) == set(order.tolist())
        np.testing.assert_array_equal(cached.vectors_of(other, ("avg_pool",), rows[held]), X[held])
