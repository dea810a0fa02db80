"""Promises of the map of the vectors: what is alike is near, always the same, and pictures within a budget."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from icehouse.report import thumbnails
from icehouse.report.parts import Figure, Words
from icehouse.report.vectors_map import Points, drawn, tells_apart, vectors_map
from PIL import Image


def points(count: int = 60, **more) -> Points:
    """Return two clouds, far apart."""
    generator = np.random.default_rng(0)
    y = np.arange(count) % 2
    vectors = (generator.normal(0, 1, (count, 24)) + 8 * y[:, None]).astype(np.float32)
    label = np.array(["covid", "normal"])[y]
    given = {"names": tuple(map(str, range(count))), "thumbnails": (b"RIFF",) * count, "total": count}
    return Points(vectors, label, **{**given, **more})


def figures(mapped: Points) -> dict[str, Figure]:
    return {part.name: part for part in vectors_map(mapped).parts if isinstance(part, Figure)}


def places(figure: Figure) -> np.ndarray:
    """Return where each point is, in the order of the points."""
    found = {}
    for trace in figure.plot.data:
        for x, y, data in zip(trace.x, trace.y, trace.customdata, strict=True):
            found[data[0]] = (x, y)
    return np.array([found[number] for number in sorted(found)])


def test_what_is_alike_lies_together_in_both_maps() -> None:
    for figure in figures(points()).values():
        assert "Of those of a known class, 100% have a nearest point of the same." in figure.alt
        assert [trace.name for trace in figure.plot.data] == ["covid", "normal"]
        assert len({trace.marker.symbol for trace in figure.plot.data}) == 2


def test_the_same_vectors_give_the_same_map() -> None:
    first, second = figures(points()), figures(points())
    for name in first:
        np.testing.assert_array_equal(places(first[name]), places(second[name]))


def test_a_column_that_goes_with_the_class_has_a_map_of_its_own() -> None:
    scanner = np.array(["B", "A", ""] * 20)
    found = figures(points(origin=("scanner", scanner)))
    assert list(found) == ["vectors-tsne", "vectors-tsne-by-origin", "vectors-pca"]
    figure = found["vectors-tsne-by-origin"]
    assert figure.title.endswith("coloured by scanner")
    assert [trace.name for trace in figure.plot.data] == ["A", "B", "unknown"]
    np.testing.assert_array_equal(places(figure), places(found["vectors-tsne"]))


def test_rare_values_share_a_colour_so_that_the_others_can_be_told_apart() -> None:
    many = np.array([f"s{number % 4}" if number < 40 else f"rare{number}" for number in range(60)])
    figure = figures(points(origin=("site", many)))["vectors-tsne-by-origin"]
    assert len(figure.plot.data) == 8
    assert figure.plot.data[-1].name == "others (17)"
    assert len(places(figure)) == 60
    assert tells_apart(many)
    assert not tells_apart(np.array([str(number) for number in range(60)]))
    assert not tells_apart(np.full(60, ""))


@pytest.mark.parametrize("count", [3, 5, 11])
def test_few_vectors_are_shown_without_neighbourhoods(count) -> None:
    assert list(figures(points(count))) == ["vectors-pca"]


def test_what_cannot_be_shown_is_said() -> None:
    (said,) = vectors_map(points(2)).parts
    assert said == Words("2 vectors are too few for a map.")
    mapped = points()
    (said,) = vectors_map(replace(mapped, vectors=np.ones_like(mapped.vectors))).parts
    assert said == Words("All vectors are the same.")


def test_vectors_of_one_number_and_equal_vectors_have_a_map_too() -> None:
    mapped = points()
    for vectors in (mapped.vectors[:, :1], np.repeat(mapped.vectors[:2], 30, axis=0)):
        for figure in figures(replace(mapped, vectors=vectors)).values():
            assert np.isfinite(places(figure)).all()


def test_of_very_many_images_some_of_every_class_are_drawn_always_the_same() -> None:
    label = np.array(["common"] * 9000 + ["usual"] * 1000 + ["rare"] * 12)
    rows = drawn(label)
    assert 2900 < len(rows) <= 3000
    assert np.array_equal(rows, np.unique(rows))
    counts = dict(zip(*np.unique(label[rows], return_counts=True), strict=True))
    assert counts["rare"] == 10
    assert counts["usual"] == pytest.approx(300, abs=6)
    assert np.array_equal(rows, drawn(label))
    some = points(60, total=5000)
    assert "60 images, drawn from 5,000 by the share of each class" in figures(some)["vectors-pca"].caption


def test_thumbnails_shrink_until_they_are_within_their_budget() -> None:
    generator = np.random.default_rng(0)
    tiles = [generator.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(20)]
    sizes = []
    for budget in (10**6, 40_000, 15_000):
        files = thumbnails.within(tiles, budget)
        assert sum(map(len, files)) <= budget
        sizes.append(Image.open(io.BytesIO(files[0])).size[0])
    assert sizes[0] == 64
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 64
