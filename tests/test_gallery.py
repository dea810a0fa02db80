"""Promises of the images behind a run's numbers: pictures, heat maps of heads as they were, and reasons."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import icehouse
import numpy as np
import pytest
from icehouse import api, gallery, mapping
from icehouse.cache.store import Cache
from icehouse.classify.stored import read_run
from icehouse.extract import engines
from icehouse.finding import Found, find_images
from icehouse.report.judged import Judged
from icehouse.report.parts import Figure, Folded, Gallery, Picture, Section, Table, Words
from making import draw
from PIL import Image
from sklearn.naive_bayes import GaussianNB
from small_network import SmallNetwork

HEADS = ("logistic", "svm", "xgboost:n_estimators=5")
QUIET = {"note": lambda _: None, "controls": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with images/ of two classes, 24 pictures each, their cache, and a run of three heads."""
    folder = tmp_path_factory.mktemp("made")
    for number in range(24):
        draw(folder / "images" / "normal" / f"{number:02}.png", number)
        # One of ten is drawn like the other class, so that there is something to be wrong about.
        draw(folder / "images" / "covid" / f"{number:02}.png", number + 50, bright=number % 10 > 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))
        api.extract(folder / "images", folder / "features.h5", backbone="efficientnetlite0")
    icehouse.run_rounds(folder / "features.h5", HEADS, rounds=3, out=folder / "run", **QUIET)
    return folder


@pytest.fixture(autouse=True)
def _small_network(monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))


def judged(run: Path) -> Judged:
    return Judged(run.name, json.loads((run / "results.json").read_text()), read_run(run))


@pytest.fixture
def cache(made):
    with icehouse.open_cache(made / "features.h5") as cache:
        yield cache


@pytest.fixture
def found(cache) -> Found:
    return find_images(cache)


def words(section: Section) -> str:
    """Return all words of a section, those of folded parts too."""
    texts = []
    for part in section.parts:
        texts += [part.text] if isinstance(part, Words) else []
        texts += [words(Section("", part.parts))] if isinstance(part, Folded) else []
    return "\n".join(texts)


def pictures(section: Section, head: str) -> list[Picture]:
    folded = next(part for part in section.parts if isinstance(part, Folded) and part.title == head)
    return [picture for part in folded.parts if isinstance(part, Gallery) for picture in part.pictures]


def size_of(picture: Picture) -> tuple[int, int]:
    return Image.open(io.BytesIO(picture.data)).size


@pytest.fixture(scope="module")
def explained(made) -> Section:
    """Return the section of pictures with everything there that heat maps need."""
    with pytest.MonkeyPatch.context() as patch, icehouse.open_cache(made / "features.h5") as cache:
        patch.setattr(engines, "load", lambda _plan, batch_size, _pixels: SmallNetwork(batch_size))
        return gallery.example_sections(judged(made / "run"), cache, find_images(cache))[0]


def test_every_head_shows_pictures_with_heat_maps_of_heads_as_they_were_in_a_round(explained) -> None:
    for head in HEADS:
        of_head = pictures(explained, head)
        assert len(of_head) >= 8
        for picture in of_head:
            assert "heat map for" in picture.alt
            assert "head of round" in picture.caption
            assert size_of(picture) == (2 * gallery.PIXELS + 4, gallery.PIXELS)
    assert "48 frames of the cache" in words(explained)
    assert "Fitted again" not in words(explained)  # they answer as they did in the run


def test_a_heat_map_is_of_a_round_that_tested_the_image(made, explained) -> None:
    run = judged(made / "run")
    tested = {
        (path, number)
        for number, split in enumerate(run.stored.splits.test)
        for path in run.stored.file[split].tolist()
    }
    for picture in pictures(explained, "svm"):
        name, _, _, heat = picture.caption.splitlines()
        assert (name, int(re.search(r"head of round (\d+)", heat)[1]) - 1) in tested


def test_without_maps_no_network_is_loaded(made, cache, found, monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", None)  # calling it would fail
    shown, _ = gallery.example_sections(judged(made / "run"), cache, found, maps=False)
    assert {size_of(picture) for picture in pictures(shown, "svm")} == {(gallery.PIXELS, gallery.PIXELS)}
    assert "left out, as was asked for" in words(shown)


def test_images_that_are_gone_are_shown_as_the_cache_keeps_them_and_the_page_says_so(made, cache) -> None:
    nowhere = Found(cache, (), "The images are on the moon.")
    shown, _ = gallery.example_sections(judged(made / "run"), cache, nowhere)
    assert "There are no heat maps. They need the images themselves." in words(shown)
    assert "The images are on the moon." in words(shown)
    assert "16×16 grey values" in words(shown)
    assert {size_of(picture) for picture in pictures(shown, "svm")} == {(gallery.PIXELS, gallery.PIXELS)}


def test_without_the_cache_images_are_named_in_tables(made) -> None:
    shown, wrong = gallery.example_sections(judged(made / "run"), None, None)
    folded = [part for part in shown.parts if isinstance(part, Folded)]
    tables = [part for part in folded[0].parts if isinstance(part, Table)]
    assert tables[0].caption == "Most confident and right"
    assert all(str(row[0]).endswith(".png") for row in tables[0].rows)
    assert isinstance(wrong.parts[-1], Table)
    assert "cache is not there" in words(mapping.map_of_run(judged(made / "run"), None, None))


class Drifted(SmallNetwork):
    """A network whose vectors are a hundredth away from those of the cache."""

    def run(self, pixels):
        output = super().run(pixels)
        return type(output)({name: 1.01 * values for name, values in output.vectors.items()}, output.maps)


def test_a_network_that_computes_other_vectors_draws_no_heat_maps(made, cache, found, monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: Drifted(batch_size))
    shown, _ = gallery.example_sections(judged(made / "run"), cache, found)
    assert "There are no heat maps. The network computes other vectors here" in words(shown)
    assert {size_of(picture) for picture in pictures(shown, "svm")} == {(gallery.PIXELS, gallery.PIXELS)}


class NotPooled(SmallNetwork):
    """A network whose feature maps are not those that its vectors are the means of."""

    def run(self, pixels):
        output = super().run(pixels)
        return type(output)(output.vectors, 2 * output.maps)


def test_a_network_whose_vectors_are_no_means_of_its_maps_draws_none(made, cache, found, monkeypatch) -> None:
    monkeypatch.setattr(engines, "load", lambda _plan, batch_size, _pixels: NotPooled(batch_size))
    shown, _ = gallery.example_sections(judged(made / "run"), cache, found)
    assert "are not the means of its last feature maps" in words(shown)


def test_an_estimator_of_ones_own_has_no_heat_maps_and_the_others_have(made, cache, found, tmp_path) -> None:
    heads = ["logistic", ("mine", GaussianNB())]
    icehouse.run_rounds(cache, heads, rounds=2, out=tmp_path / "run", **QUIET)
    shown, _ = gallery.example_sections(judged(tmp_path / "run"), cache, found)
    assert "mine is an estimator of your own" in words(shown)
    assert all("heat map" in picture.alt for picture in pictures(shown, "logistic"))
    assert not any("heat map" in picture.alt for picture in pictures(shown, "mine"))


def test_a_run_on_other_vectors_says_that_the_cache_is_another_one(
    made, cache, found, tmp_path, make_cache
) -> None:
    vectors = np.random.default_rng(0).normal(0, 1, (40, 8)).astype(np.float32)
    other = make_cache(vectors, ["covid", "normal"] * 20)
    icehouse.run_rounds(other, ["logistic"], rounds=2, out=tmp_path / "run", **QUIET)
    run = judged(tmp_path / "run")
    shown, _ = gallery.example_sections(run, cache, found)
    assert "does not hold the vectors that run was made of" in words(shown)
    assert "does not hold the vectors" in words(mapping.map_of_run(run, cache, found))
    with Cache(other) as own:
        shown, _ = gallery.example_sections(run, own, Found(own, (made,)))
    assert "not computed by icehouse" in words(shown)


def test_the_map_shows_each_image_with_its_picture_and_name(made, cache, found) -> None:
    section = mapping.map_of_run(judged(made / "run"), cache, found)
    figures = [part for part in section.parts if isinstance(part, Figure)]
    assert [figure.name for figure in figures] == ["vectors-tsne", "vectors-pca"]
    for figure in figures:
        assert len(figure.thumbnails) == len(figure.names) == 48
        assert "48 images: 24 covid, 24 normal" in figure.alt
        pointed = sorted(data[0] for trace in figure.plot.data for data in trace.customdata)
        assert pointed == list(range(48))
    covid = figures[0].plot.data[0]
    assert covid.name == "covid"
    assert all(figures[0].names[data[0]].endswith("\ncovid") for data in covid.customdata)


def test_a_frame_of_a_volume_is_named_and_explained(tmp_path) -> None:
    for number in range(16):
        frames = [
            Image.open(draw(tmp_path / "drawn.png", 10 * number + frame, bright=number % 2 > 0)).copy()
            for frame in range(3)
        ]
        place = tmp_path / "data" / ("covid" if number % 2 else "normal")
        place.mkdir(parents=True, exist_ok=True)
        frames[0].save(place / f"{number}.tif", save_all=True, append_images=frames[1:])
    cache = icehouse.extract_features(tmp_path / "data", tmp_path / "v.h5", backbone="efficientnetlite0")
    icehouse.run_rounds(cache, ["logistic"], rounds=2, out=tmp_path / "run", **QUIET)
    shown, _ = gallery.example_sections(judged(tmp_path / "run"), cache, find_images(cache))
    for picture in pictures(shown, "logistic"):
        assert re.match(r"(covid|normal)/\d+\.tif, frame [123] of 3\n", picture.caption)
        assert "heat map for" in picture.alt


def test_a_cache_that_has_grown_still_shows_the_run_that_was_made_before(made, tmp_path) -> None:
    (tmp_path / "images").symlink_to(made / "images")
    more = tmp_path / "more" / "images"
    for folder in ("covid", "normal"):
        (more / folder).mkdir(parents=True)
        for file in (made / "images" / folder).iterdir():
            (more / folder / file.name).symlink_to(file)
    draw(more / "covid" / "0000.png", 999, bright=True)  # the first of all rows
    api.extract(more, tmp_path / "grown.h5", backbone="efficientnetlite0")
    with Cache(tmp_path / "grown.h5") as grown:
        shown, _ = gallery.example_sections(judged(made / "run"), grown, find_images(grown))
    assert all("heat map for" in picture.alt for picture in pictures(shown, "logistic"))
    assert "Fitted again" not in words(shown)
