"""Promises about a cache as a section: what it counts is what the cache holds."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse.cache.info import describe
from icehouse.cache.store import Cache
from icehouse.report.contents import contents
from making_runs import clouds_cache, figures_of, table_of, text_of, words_of


@pytest.fixture
def cache(tmp_path):
    """An opened cache of 60 samples with splits and columns; those of covid are of one hospital."""
    splits = ["test" if number % 5 == 0 else "train" for number in range(60)]
    path = clouds_cache(tmp_path / "features.h5", ["covid<b>", "normal"], 60, splits=splits)
    table = [f"{number}.png,{'A<i>' if number % 2 == 0 else 'B'},{number}" for number in range(60)]
    (tmp_path / "more.csv").write_text("\n".join(["path,hospital,age", *table]))
    with Cache(path) as opened:
        opened.relabel(tmp_path / "more.csv")
        yield opened


def test_classes_and_patients_are_counted(cache) -> None:
    section = contents(describe(cache), cache)
    classes = figures_of(section)["cache-classes"]
    assert [list(bars.x) for bars in classes.plot.data] == [[30, 30], [15, 15]]
    assert "covid<b>: 30 samples, 15 patients." in classes.alt
    assert "<b>" not in classes.plot.to_json()
    patients = figures_of(section)["cache-patients"].plot.data[0]
    assert dict(zip(patients.x, patients.y, strict=True)) == {1: 0, 2: 30}
    assert "60 samples of 60 frames; 60 vectors: avg_pool of 16 numbers." in words_of(section)


def test_columns_of_few_values_are_held_against_the_classes(cache) -> None:
    section = contents(describe(cache), cache)
    drawn = figures_of(section)
    assert [name for name in drawn if "column" in name] == ["cache-column-1"]  # not each one's age
    figure = drawn["cache-column-1"]
    assert "covid<b>: 30 A<i>" in figure.alt
    shares = np.array([bar.x for bar in figure.plot.data])
    np.testing.assert_array_equal(shares.sum(axis=0), [100, 100])
    assert "<i>" not in figure.plot.to_json()
    split = table_of(section, "Samples by class and split")
    assert [[text_of(cell) for cell in row] for row in split.rows] == [
        ["train", "24", "24"],
        ["test", "6", "6"],
    ]


def test_recipe_provenance_and_failures_are_told_without_the_cache(cache) -> None:
    info = describe(cache) | {
        "complete": False,
        "failures": [{"path": "<x>.png", "stage": "decode", "reason": "cut short"}],
        "provenance": [{"time": "2026-01-01", "rows": "many", "computed_by": "me", "note": {"a": 1}}, {}],
    }
    section = contents(info, number=2)
    assert section.title == "Cache 2"
    assert list(figures_of(section)) == ["cache-2-classes"]
    assert table_of(section, "Files that did not become").rows == (("<x>.png", "decode", "cut short"),)
    assert ("kind", "by hand") in table_of(section, "What decides").rows
    assert text_of(table_of(section, "Commits").rows[1][0]) == "?"
    assert "not complete" in words_of(section, "alarm")
